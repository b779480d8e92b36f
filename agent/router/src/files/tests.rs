//! Requests and the answers to them, on a real folder.

use super::*;
use http::HeaderMap;
use std::path::Path;

struct Site {
    dir: tempfile::TempDir,
    roots: Roots,
    files: Files,
}

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join(DIGEST).join("public");
        std::fs::create_dir_all(root.join("docs/.hidden")).unwrap();
        std::fs::create_dir_all(root.join(".well-known")).unwrap();
        std::fs::create_dir_all(root.join("empty")).unwrap();
        for (name, text) in [
            ("index.html", "<h1>home</h1>"),
            ("docs/index.html", "<h1>docs</h1>"),
            ("docs/.hidden/x", "hidden"),
            (".env", "SECRET=1"),
            (".well-known/x.txt", "known"),
            ("digits.txt", "0123456789"),
            ("app.js", "plain script"),
            ("app.js.br", "br form"),
            ("app.js.gz", "gz form"),
            ("style.css", "plain style"),
            ("style.css.zst", "zst form"),
            ("logo.png", "png"),
            ("logo.png.br", "never"),
            ("app.html", "<h1>single page</h1>"),
        ] {
            std::fs::write(root.join(name), text).unwrap();
        }
        std::fs::write(root.join("big.bin"), vec![7; 100_000]).unwrap();
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        std::os::unix::fs::symlink("../../outside", root.join("out")).unwrap();
        Site {
            files: Files {
                root: root.to_str().unwrap().into(),
                index: "index.html".into(),
                fallback: None,
                pass: false,
            },
            roots: Roots::default(),
            dir,
        }
    }

    fn root(&self) -> &Path {
        Path::new(&self.files.root)
    }

    fn ask(&mut self, method: &str, path: &str, pairs: &[(&'static str, &str)]) -> Served {
        let fields: HeaderMap = pairs
            .iter()
            .map(|(k, v)| {
                (
                    HeaderName::from_static(k),
                    HeaderValue::from_str(v).unwrap(),
                )
            })
            .collect();
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(p, q)| (p, Some(q)));
        let request = Request {
            method,
            host: "a.test",
            path,
            query,
            client: [127, 0, 0, 1].into(),
            https: false,
            fields: &fields,
        };
        let rest = path.strip_prefix("/assets").unwrap_or(path);
        serve(&mut self.roots, &self.files, rest, &request)
    }

    fn get(&mut self, path: &str, pairs: &[(&'static str, &str)]) -> (u16, String, Reply) {
        match self.ask("GET", path, pairs) {
            Served::Reply(reply) => (reply.status().as_u16(), text(reply.body()), reply),
            Served::Pass => panic!("{path} was passed on"),
            Served::Fail(c) => panic!("{path} failed with {}", c.code),
        }
    }
}

fn text(own: &Own) -> String {
    let bytes = match own {
        Own::Bytes(bytes) => bytes.to_vec(),
        Own::File { file, offset, len } => {
            let mut bytes = vec![0; *len as usize];
            file.read_exact_at(&mut bytes, *offset).unwrap();
            bytes
        }
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

fn head<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply
        .headers()
        .get(name)
        .map_or("", |v| v.to_str().unwrap())
}

#[test]
fn files_indexes_and_folders() {
    let mut site = Site::new();
    for (path, body, kind) in [
        ("/", "<h1>home</h1>", "text/html; charset=utf-8"),
        ("/index.html", "<h1>home</h1>", "text/html; charset=utf-8"),
        ("/docs/", "<h1>docs</h1>", "text/html; charset=utf-8"),
        ("/digits.txt?v=1", "0123456789", "text/plain; charset=utf-8"),
        (
            "/assets/digits.txt",
            "0123456789",
            "text/plain; charset=utf-8",
        ),
        ("/%64igits.txt", "0123456789", "text/plain; charset=utf-8"),
        ("/.well-known/x.txt", "known", "text/plain; charset=utf-8"),
        ("/logo.png", "png", "image/png"),
    ] {
        let (status, got, reply) = site.get(path, &[("accept-encoding", "identity")]);
        assert_eq!((status, got.as_str()), (200, body), "{path}");
        assert_eq!(head(&reply, "content-type"), kind);
        assert_eq!(head(&reply, "accept-ranges"), "bytes");
        assert!(head(&reply, "etag").starts_with("\"0123456789abcdef-"));
        assert!(head(&reply, "last-modified").ends_with(" GMT"));
    }
    for (path, to) in [
        ("/docs", "/docs/"),
        ("/docs?a=b", "/docs/?a=b"),
        ("/assets", "/assets/"),
        ("/assets/docs", "/assets/docs/"),
    ] {
        let (status, _, reply) = site.get(path, &[]);
        assert_eq!((status, head(&reply, "location")), (301, to), "{path}");
    }
}

#[test]
fn what_is_not_there_or_not_the_publics() {
    let mut site = Site::new();
    for path in [
        "/none",
        "/none/",
        "/empty/",
        "/digits.txt/",
        "/digits.txt/x",
        "/.env",
        "/%2eenv",
        "/docs/.hidden/x",
        "/out",
        "/../outside",
        "/%2e%2e/outside",
        "/..%2foutside",
        "/..\\outside",
        "/digits.txt%00",
        "//docs",
        "/%",
        "/docs/..",
    ] {
        let (status, body, reply) = site.get(path, &[("accept", "application/json")]);
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("not_found") && head(&reply, "cache-control").contains("no-store"));
    }
    site.files.pass = true;
    for (method, path) in [
        ("GET", "/none"),
        ("GET", "/.env"),
        ("GET", "/../x"),
        ("POST", "/digits.txt"),
    ] {
        assert!(
            matches!(site.ask(method, path, &[]), Served::Pass),
            "{path}"
        );
    }
    site.files.pass = false;
    for method in ["POST", "OPTIONS", "DELETE", "get"] {
        let Served::Reply(reply) = site.ask(method, "/digits.txt", &[]) else {
            panic!("no reply")
        };
        assert_eq!(
            (reply.status().as_u16(), head(&reply, "allow")),
            (405, "GET, HEAD")
        );
    }
    site.files.root = site.dir.path().join("nowhere").to_str().unwrap().into();
    assert_eq!(site.get("/", &[]).0, 404);
}

#[test]
fn single_page_apps_fall_back() {
    let mut site = Site::new();
    site.files.fallback = Some("/app.html".into());
    for path in ["/users/7", "/none/", "/empty/"] {
        let (status, body, reply) = site.get(path, &[]);
        assert_eq!(
            (status, body.as_str()),
            (200, "<h1>single page</h1>"),
            "{path}"
        );
        assert_eq!(head(&reply, "content-type"), "text/html; charset=utf-8");
    }
    assert_eq!(site.get("/digits.txt", &[]).1, "0123456789");
    assert_eq!(site.get("/.env", &[]).0, 404);
    site.files.fallback = Some("../../outside".into());
    assert_eq!(site.get("/users/7", &[]).0, 404);
}

#[test]
fn conditions_and_ranges() {
    let mut site = Site::new();
    let (_, _, whole) = site.get("/digits.txt", &[]);
    let (tag, date) = (
        head(&whole, "etag").to_owned(),
        head(&whole, "last-modified").to_owned(),
    );
    let weak = format!("W/{tag}");
    for (pairs, status, body) in [
        (&[("if-none-match", tag.as_str())][..], 304, ""),
        (&[("if-none-match", weak.as_str())], 304, ""),
        (&[("if-modified-since", date.as_str())], 304, ""),
        (
            &[("if-none-match", "\"x\""), ("if-modified-since", &date)],
            200,
            "0123456789",
        ),
        (&[("if-match", "\"x\"")], 412, ""),
        (&[("range", "bytes=2-4")], 206, "234"),
        (&[("range", "bytes=-3")], 206, "789"),
        (&[("range", "bytes=0-1,2-3")], 206, "0123"),
        (&[("range", "bytes=0-1,5-6")], 200, "0123456789"),
        (&[("range", "bytes=10-")], 416, ""),
        (&[("range", "bytes=2-4"), ("if-range", &tag)], 206, "234"),
        (&[("range", "bytes=2-4"), ("if-range", &date)], 206, "234"),
        (
            &[("range", "bytes=2-4"), ("if-range", "\"x\"")],
            200,
            "0123456789",
        ),
        (&[("range", "bytes=2-4"), ("if-none-match", &tag)], 304, ""),
    ] {
        let (got, text, reply) = site.get("/digits.txt", pairs);
        assert_eq!((got, text.as_str()), (status, body), "{pairs:?}");
        assert_eq!(head(&reply, "etag"), tag);
        match status {
            206 => assert!(head(&reply, "content-range").ends_with("/10")),
            416 => assert_eq!(head(&reply, "content-range"), "bytes */10"),
            304 => assert_eq!(head(&reply, "content-type"), ""),
            _ => {}
        }
    }
    let Served::Reply(reply) = site.ask("HEAD", "/digits.txt", &[("range", "bytes=2-4")]) else {
        panic!("no reply")
    };
    assert_eq!((reply.status().as_u16(), reply.body().len()), (200, 10));
}

#[test]
fn compressed_forms_that_lie_beside() {
    let mut site = Site::new();
    for (path, accepts, body, encoding) in [
        ("/app.js", "gzip, deflate, br, zstd", "br form", "br"),
        ("/app.js", "gzip, zstd", "gz form", "gzip"),
        ("/app.js", "br;q=0.1, gzip;q=0.2", "gz form", "gzip"),
        ("/app.js", "zstd", "plain script", ""),
        ("/app.js", "identity, br;q=0.5", "plain script", ""),
        ("/style.css", "gzip, br, zstd", "zst form", "zstd"),
        ("/style.css", "gzip, br", "plain style", ""),
        ("/logo.png", "br", "png", ""),
    ] {
        let (status, got, reply) = site.get(path, &[("accept-encoding", accepts)]);
        assert_eq!((status, got.as_str()), (200, body), "{path} {accepts}");
        assert_eq!(head(&reply, "content-encoding"), encoding);
        let vary = if path == "/logo.png" {
            ""
        } else {
            "Accept-Encoding"
        };
        assert_eq!(head(&reply, "vary"), vary);
        assert_ne!(head(&reply, "content-type"), "application/x-brotli");
    }
    let tag = |site: &mut Site, accepts| {
        let (_, _, reply) = site.get("/app.js", &[("accept-encoding", accepts)]);
        head(&reply, "etag").to_owned()
    };
    let (br, gz, plain) = (
        tag(&mut site, "br"),
        tag(&mut site, "gzip"),
        tag(&mut site, ""),
    );
    assert!(
        br != gz && gz != plain && br != plain,
        "strong tags of different bytes differ"
    );
    // a part of the form that the client has a part of
    let pairs = [
        ("accept-encoding", "br"),
        ("range", "bytes=3-"),
        ("if-range", br.as_str()),
    ];
    let (status, body, reply) = site.get("/app.js", &pairs);
    assert_eq!(
        (status, body.as_str(), head(&reply, "content-encoding")),
        (206, "form", "br")
    );
}

#[test]
fn long_files_are_not_read() {
    let mut site = Site::new();
    let (_, body, reply) = site.get("/big.bin", &[]);
    assert!(matches!(
        reply.body(),
        Own::File {
            offset: 0,
            len: 100_000,
            ..
        }
    ));
    assert_eq!(body.len(), 100_000);
    let (status, _, reply) = site.get("/big.bin", &[("range", "bytes=50000-99998")]);
    assert_eq!(status, 206);
    assert!(matches!(
        reply.body(),
        Own::File {
            offset: 50_000,
            len: 49_999,
            ..
        }
    ));
}

#[test]
fn tags_are_the_same_on_every_machine() {
    let (mut one, mut two) = (Site::new(), Site::new());
    let tag = |site: &mut Site| head(&site.get("/app.js", &[]).2, "etag").to_owned();
    assert_eq!(tag(&mut one), tag(&mut two));
    // of no slug
    let plain = one.dir.path().join("plain");
    std::fs::rename(one.root(), &plain).unwrap();
    one.files.root = plain.to_str().unwrap().into();
    let before = tag(&mut one);
    std::fs::write(plain.join("app.js"), "another, longer script").unwrap();
    assert_ne!(before, tag(&mut one));
}
