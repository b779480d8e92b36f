use super::super::get;
use super::*;
use hokku_buildpacks::site::Redirect;
use proptest::prelude::*;

fn site(site: Site) -> (tempfile::TempDir, Served) {
    let d = tempfile::tempdir().unwrap();
    let w = |p: &str, t: &str| {
        let f = d.path().join(p);
        fs::create_dir_all(f.parent().unwrap()).unwrap();
        fs::write(f, t).unwrap();
    };
    w("index.html", "home");
    w("docs/index.html", "docs");
    w("about.html", "about");
    w("a b.txt", "0123456789");
    w(".env", "SECRET");
    w(".well-known/x", "well");
    w("404.html", "lost");
    w("empty/x.js", "");
    std::os::unix::fs::symlink("/etc/passwd", d.path().join("out")).unwrap();
    std::os::unix::fs::symlink("about.html", d.path().join("in.html")).unwrap();
    let s = Served::new(
        d.path(),
        Site {
            root: ".".into(),
            ..site
        },
    )
    .unwrap();
    (d, s)
}

fn text(a: Answer) -> String {
    match a.body {
        Body::Text(t) => t,
        Body::File {
            mut file,
            from,
            len,
        } => {
            use std::io::{Read, Seek, SeekFrom};
            file.seek(SeekFrom::Start(from)).unwrap();
            let mut s = String::new();
            file.take(len).read_to_string(&mut s).unwrap();
            s
        }
    }
}

fn header(a: &Answer, name: &str) -> String {
    a.headers
        .iter()
        .find(|(k, _)| k == name)
        .map(|(_, v)| v.clone())
        .unwrap_or_default()
}

#[test]
fn files_folders_and_traps() {
    let (_d, s) = site(Site::default());
    for (path, status, body) in [
        ("/", 200, "home"),
        ("/index.html?x=1", 200, "home"),
        ("/docs/", 200, "docs"),
        ("/docs", 301, ""),
        ("//docs", 301, ""),
        ("/a%20b.txt", 200, "0123456789"),
        ("/in.html", 200, "about"),
        ("/about", 404, "lost"),
        ("/.env", 404, "lost"),
        ("/docs/../.env", 404, "lost"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "lost"),
        ("/../../etc/passwd", 404, "lost"),
        ("/..%2f..%2fetc/passwd", 404, "lost"),
        ("/out", 404, "lost"),
        ("/.well-known/x", 200, "well"),
        ("/empty/", 404, "lost"),
        ("/about.html/", 404, "lost"),
        ("/a%00", 400, ""),
        ("/%zz", 400, ""),
        ("/a\\b", 400, ""),
        ("nope", 400, ""),
    ] {
        let a = get(&s, path, &[]);
        assert_eq!(a.status, status, "{path}");
        if !body.is_empty() {
            assert_eq!(text(a), body, "{path}");
        }
    }
    assert_eq!(
        header(&get(&s, "//docs?q=1", &[]), "Location"),
        "/docs/?q=1"
    );
    assert_eq!(
        header(&get(&s, "/empty/x.js", &[]), "Content-Type"),
        "text/javascript; charset=utf-8"
    );
}

#[test]
fn conditions_and_ranges() {
    let (d, s) = site(Site::default());
    let a = get(&s, "/a%20b.txt", &[]);
    let (tag, date) = (header(&a, "ETag"), header(&a, "Last-Modified"));
    assert_eq!(
        get(
            &s,
            "/a%20b.txt",
            &[("if-none-match", &format!("\"x\", W/{tag}"))]
        )
        .status,
        304
    );
    assert_eq!(
        get(
            &s,
            "/a%20b.txt",
            &[("if-none-match", "\"x\""), ("if-modified-since", &date)]
        )
        .status,
        200
    );
    assert_eq!(
        get(&s, "/a%20b.txt", &[("if-modified-since", &date)]).status,
        304
    );
    assert_eq!(
        get(
            &s,
            "/a%20b.txt",
            &[("if-modified-since", "Sun, 06 Nov 2094 08:49:37 GMT")]
        )
        .status,
        200
    );
    for (h, status, body) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=7-", 206, "789"),
        ("bytes=-3", 206, "789"),
        ("bytes=-99", 206, "0123456789"),
        ("bytes=5-999", 206, "56789"),
        ("bytes=10-", 416, ""),
        ("bytes=-0", 416, ""),
        ("bytes=4-2", 200, "0123456789"),
        ("bytes=0-1,3-4", 200, "0123456789"),
        ("lines=1-2", 200, "0123456789"),
        ("bytes=x-2", 200, "0123456789"),
    ] {
        let a = get(&s, "/a%20b.txt", &[("range", h)]);
        assert_eq!(a.status, status, "{h}");
        if status != 416 {
            assert_eq!(text(a), body, "{h}");
        }
    }
    assert_eq!(
        get(
            &s,
            "/a%20b.txt",
            &[("range", "bytes=0-1"), ("if-range", "\"old\"")]
        )
        .status,
        200
    );
    assert_eq!(
        get(
            &s,
            "/a%20b.txt",
            &[("range", "bytes=0-1"), ("if-range", &tag)]
        )
        .status,
        206
    );
    assert_eq!(get(&s, "/empty/x.js", &[("range", "bytes=0-")]).status, 416);
    // same length, other content, other tag; and an unpacked slug's fixed time is not given out
    fs::write(d.path().join("a b.txt"), "9876543210").unwrap();
    let f = File::options()
        .write(true)
        .open(d.path().join("a b.txt"))
        .unwrap();
    f.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(315_532_800))
        .unwrap();
    let b = get(&s, "/a%20b.txt", &[]);
    assert_ne!(header(&b, "ETag"), tag);
    assert!(!header(&b, "Last-Modified").contains("1980"));
}

#[test]
fn static_json() {
    let (_d, s) = site(Site {
        clean_urls: true,
        routes: [
            ("/app/**".to_owned(), "index.html".to_owned()),
            ("/app/x/*".into(), "about.html".into()),
        ]
        .into(),
        redirects: [(
            "/old".to_owned(),
            Redirect {
                url: "/new".into(),
                status: Some(302),
            },
        )]
        .into(),
        headers: [(
            "/**".to_owned(),
            [("Cache-Control".to_owned(), "no-store".to_owned())].into(),
        )]
        .into(),
        https_only: true,
        error_page: Some("about.html".into()),
        ..Site::default()
    });
    assert_eq!(text(get(&s, "/about", &[])), "about");
    assert_eq!(text(get(&s, "/app/any/thing", &[])), "home");
    assert_eq!(text(get(&s, "/app/x/y", &[])), "about");
    let a = get(&s, "/old", &[]);
    assert_eq!((a.status, header(&a, "Location").as_str()), (302, "/new"));
    let a = get(&s, "/nope", &[]);
    assert_eq!(
        (a.status, header(&a, "Cache-Control").as_str()),
        (404, "no-store")
    );
    let a = get(
        &s,
        "/a?b",
        &[("x-forwarded-proto", "http"), ("host", "h.org")],
    );
    assert_eq!(
        (a.status, header(&a, "Location").as_str()),
        (301, "https://h.org/a?b")
    );
    assert_eq!(get(&s, "/", &[("x-forwarded-proto", "https")]).status, 200);
}

#[test]
fn dates() {
    assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(http_date(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 GMT");
}

proptest! {
    #[test]
    fn no_path_leads_out(p in "(/|\\.|%2e|%2f|\\.\\.|a|etc|passwd|out){0,12}") {
        let (d, s) = site(Site::default());
        let a = get(&s, &format!("/{p}"), &[]);
        if let Body::File { .. } = a.body {
            let t = text(a);
            prop_assert!(!t.contains("root:") && !t.contains("SECRET"), "{}", d.path().display());
        }
    }

    #[test]
    fn any_range_lies_inside(h in "bytes=[0-9]{0,3}-[0-9]{0,3}", len in 0u64..200) {
        if let Some(Ok((from, to))) = range(&h, len) {
            prop_assert!(from <= to && to < len);
        }
    }
}

#[test]
fn one_host_for_all() {
    let (_d, s) = site(Site {
        canonical_host: Some("www.example.org".into()),
        ..Site::default()
    });
    let to = |headers: &[(&str, &str)]| {
        let a = get(&s, "/a?b", headers);
        (a.status == 301).then(|| header(&a, "Location"))
    };
    assert_eq!(
        to(&[("host", "example.org"), ("x-forwarded-proto", "https")]).as_deref(),
        Some("https://www.example.org/a?b")
    );
    assert_eq!(
        to(&[("host", "old.example.org:8080")]).as_deref(),
        Some("http://www.example.org/a?b")
    );
    assert_eq!(to(&[("host", "WWW.example.org:8080")]), None);
    // checks of the platform name no host
    assert_eq!(to(&[]), None);
    let (_d, s) = site(Site {
        canonical_host: Some("${NO_SUCH_VARIABLE_HERE}".into()),
        ..Site::default()
    });
    assert_eq!(get(&s, "/", &[("host", "any.org")]).status, 200);
}
