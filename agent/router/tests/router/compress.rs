//! Answers are compressed when, and only when, they may be; what arrives is what the app sent.

use crate::rig::*;
use hokku_model::AppId;
use hokku_model::routing::Compress;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use tokio::process::Command as AsyncCommand;

/// Some page of about `n` bytes, another one for each `seed`.
fn page(n: usize, seed: u64) -> String {
    let mut text = format!("<h1>{seed}</h1>\n");
    let mut x = seed.wrapping_mul(2) + 1;
    while text.len() < n {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(99);
        text.push_str(
            ["<p>", "some words ", "and more ", "of a page", "</p>\n"][(x >> 60) as usize % 5],
        );
        text.push_str(&format!("{:x}", x >> 48));
    }
    text
}

fn open(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tool = Command::new(encoding)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = tool.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let feeder = std::thread::spawn(move || to.write_all(&bytes));
    let mut out = Vec::new();
    tool.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    feeder.join().unwrap().unwrap();
    assert!(tool.wait().unwrap().success(), "a sound {encoding} stream");
    out
}

fn ask(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{more}\r\n")
}

const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

/// Answers with these header lines and this body: with its length, or in chunks of `chunk` bytes.
async fn answering(lines: &'static str, body: String, chunk: Option<usize>) -> Dyno {
    let body = std::sync::Arc::new(body);
    dyno(move |mut c, _| {
        let body = body.clone();
        async move {
            while let Some(r) = c.next_message().await {
                let head = if r.head.starts_with("HEAD") {
                    ""
                } else {
                    &body
                };
                match chunk {
                    None => {
                        let n = body.len();
                        c.send(&format!(
                            "HTTP/1.1 200 OK\r\n{lines}Content-Length: {n}\r\n\r\n{head}"
                        ))
                        .await;
                    }
                    Some(chunk) => {
                        c.send(&format!(
                            "HTTP/1.1 200 OK\r\n{lines}Transfer-Encoding: chunked\r\n\r\n"
                        ))
                        .await;
                        for part in body.as_bytes().chunks(chunk) {
                            let part = String::from_utf8_lossy(part);
                            c.send(&format!("{:x}\r\n{part}\r\n", part.len())).await;
                        }
                        c.send("0\r\n\r\n").await;
                    }
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn whole_bodies_keep_a_length_and_open_with_real_tools() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let text = page(20_000, 1);
    let d = answering(
        "Content-Type: text/html\r\nETag: \"v1\"\r\nVary: Cookie\r\nAccept-Ranges: bytes\r\nContent-MD5: x\r\nDigest: y\r\n",
        text.clone(),
        None,
    )
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    for encoding in ["gzip", "zstd"] {
        // new, seen before, and out of the cache
        for round in 0..4 {
            let r = c
                .ask(&ask("/", &format!("Accept-Encoding: {encoding}\r\n")))
                .await;
            assert_eq!(r.header("content-encoding").unwrap(), encoding);
            assert_eq!(
                r.header("content-length").unwrap(),
                r.bytes.len().to_string()
            );
            assert!(r.bytes.len() < text.len() / 2, "{}", r.bytes.len());
            assert_eq!(r.header("vary").unwrap(), "Cookie, Accept-Encoding");
            assert_eq!(r.header("etag").unwrap(), "W/\"v1\"");
            for gone in [
                "transfer-encoding",
                "accept-ranges",
                "content-md5",
                "digest",
            ] {
                assert_eq!(r.header(gone), None, "{gone}");
            }
            assert!(
                open(encoding, &r.bytes) == text.as_bytes(),
                "{encoding} {round}"
            );
            let bytes = format!(" bytes={} ", r.bytes.len());
            rig.log_line(Some(APP), &[&bytes, " status=200 "]).await;
        }
    }
    let r = c.ask(&ask("/", "")).await;
    assert_eq!((r.body(), r.header("content-encoding")), (text, None));
    assert_eq!(r.header("vary").unwrap(), "Cookie, Accept-Encoding");
    assert_eq!(r.header("etag").unwrap(), "\"v1\"");
    assert_eq!(r.header("accept-ranges").unwrap(), "bytes");
    assert_eq!(d.count(), 1, "the app's connection was kept");
}

/// curl opens brotli with Debian's own library. It comes once the background has made it; until then, and to who takes
/// nothing else, other forms go out.
#[tokio::test]
async fn brotli_comes_for_pages_that_come_again() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let text = page(40_000, 5);
    let d = answering(HTML, text.clone(), None).await;
    rig.running(&[(1, d.addr)]).await;
    let curl = async |accepts: &str| {
        let url = format!("http://a.test:{}/", rig.addr.port());
        let to = format!("a.test:{}:127.0.0.1", rig.addr.port());
        let accepts = format!("Accept-Encoding: {accepts}");
        let args = ["-sS", "--compressed", "--resolve", &to, "-H", &accepts];
        let done = AsyncCommand::new("curl")
            .args(args)
            .args(["-w", "\n%header{content-encoding} %{size_download}", &url])
            .output()
            .await
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let out = String::from_utf8(done.stdout).unwrap();
        let (body, said) = out.rsplit_once('\n').unwrap();
        assert!(body == text, "what the app sent");
        let (encoding, size) = said.split_once(' ').unwrap();
        (encoding.to_owned(), size.parse::<usize>().unwrap())
    };
    let (first, gzip) = curl("gzip, br").await;
    assert_eq!(first, "gzip");
    let mut brotli = None;
    for _ in 0..200 {
        match curl("gzip, br").await {
            (encoding, size) if encoding == "br" => {
                brotli = Some(size);
                break;
            }
            (encoding, _) => assert_eq!(encoding, "gzip"),
        }
    }
    let brotli = brotli.expect("brotli out of the cache");
    assert!(brotli < gzip, "{brotli} {gzip}");
    assert_eq!(curl("br").await, ("br".into(), brotli));
    assert_eq!(curl("br;q=0.5, gzip").await.0, "gzip");
    assert_eq!(curl("br, zstd").await.0, "zstd");
    assert_eq!(curl("br;q=0").await, (String::new(), text.len()));
}

#[tokio::test]
async fn bodies_of_all_lengths_and_pieces_arrive_whole() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let mut c = rig.client().await;
    for (i, (n, chunk)) in [
        (860, None),
        (5_000, Some(7_000)),
        (5_000, Some(100)),
        (100_000, None),
        (262_000, Some(30_000)),
        (300_000, None),
        (1_500_000, Some(50_000)),
        (3_000_000, None),
    ]
    .into_iter()
    .enumerate()
    {
        let text = page(n, i as u64);
        let d = answering(HTML, text.clone(), chunk).await;
        rig.running(&[(i as u128 + 1, d.addr)]).await;
        for encoding in ["gzip", "zstd"] {
            let r = c
                .ask(&ask("/", &format!("Accept-Encoding: {encoding}\r\n")))
                .await;
            assert_eq!(r.header("content-encoding").unwrap(), encoding, "{n}");
            let chunked = r.header("transfer-encoding").is_some();
            assert!(chunked != r.header("content-length").is_some());
            assert!(chunked || n < 270_000);
            assert!(
                open(encoding, &r.bytes) == text.as_bytes(),
                "{n} {encoding}"
            );
            assert!(r.bytes.len() < n / 2 + 200, "{n} {}", r.bytes.len());
            rig.log_line(Some(APP), &[&format!(" bytes={} ", r.bytes.len())])
                .await;
        }
        assert_eq!(d.count(), 1, "{n}: the app's connection was kept");
    }
}

#[tokio::test]
async fn what_must_not_be_touched_is_not() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let text = page(4_000, 3);
    let other = "Accept-Encoding: br, deflate\r\n";
    let both = "Accept-Encoding: gzip, zstd\r\n";
    for (i, (lines, body, asks, vary)) in [
        (
            "Content-Type: text/html\r\nContent-Encoding: br\r\n",
            text.clone(),
            both,
            None,
        ),
        ("Content-Type: image/png\r\n", text.clone(), both, None),
        ("", text.clone(), both, None),
        (
            "Content-Type: text/html\r\nCache-Control: private, no-transform\r\n",
            text.clone(),
            both,
            None,
        ),
        (
            "Content-Type: text/html\r\nContent-Range: bytes 0-1/9\r\n",
            text.clone(),
            both,
            None,
        ),
        (
            "Content-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n",
            text.clone(),
            both,
            None,
        ),
        (HTML, page(900, 1)[..859].to_owned(), both, None),
        (HTML, text.clone(), other, Some("Accept-Encoding")),
        (HTML, text.clone(), "", Some("Accept-Encoding")),
        (
            HTML,
            text.clone(),
            "Accept-Encoding: identity, gzip;q=0.1\r\n",
            Some("Accept-Encoding"),
        ),
        (
            HTML,
            text.clone(),
            "Accept-Encoding: gzip;q=0, zstd;q=0\r\n",
            Some("Accept-Encoding"),
        ),
        (
            HTML,
            text.clone(),
            "Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n",
            Some("Accept-Encoding"),
        ),
    ]
    .into_iter()
    .map(|(l, b, a, v): (&'static str, String, &str, Option<&str>)| (l, b, a, v))
    .enumerate()
    {
        let d = answering(lines, body.clone(), None).await;
        rig.running(&[(i as u128 + 1, d.addr)]).await;
        let r = rig.client().await.ask(&ask("/", asks)).await;
        assert_eq!(r.body(), body, "{lines} {asks}");
        assert_eq!(r.header("content-length").unwrap(), body.len().to_string());
        assert_eq!(r.header("vary").as_deref(), vary, "{lines} {asks}");
        let encoding = r.header("content-encoding");
        assert_eq!(encoding.is_some(), lines.contains("Content-Encoding"));
    }
}

#[tokio::test]
async fn answers_without_a_body_or_with_a_part_of_one() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let text = page(4_000, 3);
    let part = text.clone();
    let d = dyno(move |mut c, _| {
        let part = part.clone();
        async move {
            while let Some(r) = c.next_message().await {
                let n = part.len();
                match r.head.split(' ').nth(1).unwrap() {
                    "/304" => c.send("HTTP/1.1 304 Not Modified\r\nContent-Type: text/html\r\nETag: \"a\"\r\n\r\n").await,
                    "/204" => c.send("HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\n\r\n").await,
                    "/206" => c.send(&format!("HTTP/1.1 206 Partial Content\r\n{HTML}ETag: \"a\"\r\nContent-Length: {n}\r\n\r\n{part}")).await,
                    "/500" => c.send(&format!("HTTP/1.1 500 Oh\r\n{HTML}Content-Length: {n}\r\n\r\n{part}")).await,
                    "/empty" => c.send(&format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")).await,
                    "/early" => c.send(&format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n{HTML}Content-Length: {n}\r\n\r\n{part}")).await,
                    "/close" => {
                        c.send(&format!("HTTP/1.0 200 OK\r\n{HTML}\r\n{part}")).await;
                        return;
                    }
                    _ => c.send(&format!("HTTP/1.1 200 OK\r\n{HTML}ETag: \"a\"\r\nContent-Length: {n}\r\n\r\n")).await,
                }
            }
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let gzip = "Accept-Encoding: gzip\r\n";
    let r = c.ask(&ask("/206", gzip)).await;
    assert_eq!((r.status, r.body()), (206, text.clone()));
    assert_eq!(r.header("etag").unwrap(), "\"a\"");
    for path in ["/500", "/early"] {
        let r = c.ask(&ask(path, gzip)).await;
        assert!(open("gzip", &r.bytes) == text.as_bytes(), "{path}");
    }
    let r = c.ask(&ask("/204", gzip)).await;
    assert_eq!((r.status, r.header("vary")), (204, None));
    let r = c.ask(&ask("/empty", gzip)).await;
    assert_eq!(
        (r.body().as_str(), r.header("content-encoding")),
        ("", None)
    );
    let r = c
        .ask(&ask(
            "/304",
            "Accept-Encoding: gzip\r\nIf-None-Match: W/\"a\"\r\n",
        ))
        .await;
    assert_eq!(
        (
            r.header("etag").unwrap().as_str(),
            r.header("vary").unwrap().as_str()
        ),
        ("W/\"a\"", "Accept-Encoding")
    );
    let r = c
        .ask(&ask(
            "/304",
            "Accept-Encoding: gzip\r\nIf-None-Match: \"a\"\r\n",
        ))
        .await;
    assert_eq!(r.header("etag").unwrap(), "\"a\"");
    c.send("HEAD /head HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n")
        .await;
    let r = c.head_reply().await;
    assert_eq!(r.header("content-length").unwrap(), text.len().to_string());
    assert_eq!(
        (
            r.header("content-encoding"),
            r.header("vary").unwrap().as_str()
        ),
        (None, "Accept-Encoding")
    );
    let r = c.ask(&ask("/close", gzip)).await;
    assert!(open("gzip", &r.bytes) == text.as_bytes());
}

#[tokio::test]
async fn an_app_may_switch_it_off() {
    let mut rig = Rig::new(short()).await;
    let text = page(4_000, 3);
    let d = answering(HTML, text.clone(), None).await;
    rig.running(&[(1, d.addr)]).await;
    let app = rig.table.apps.get_mut(&AppId(APP.0)).unwrap();
    app.routing.settings.compress = Some(Compress::Off);
    rig.apply().await;
    let r = rig
        .client()
        .await
        .ask(&ask("/", "Accept-Encoding: gzip\r\n"))
        .await;
    assert_eq!(
        (r.body(), r.header("content-encoding"), r.header("vary")),
        (text, None, None)
    );
}

/// Decodes what came so far.
fn peek(encoding: &str, bytes: &[u8]) -> String {
    let mut reader: Box<dyn Read> = match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        _ => Box::new(zstd::stream::Decoder::new(bytes).unwrap()),
    };
    let (mut out, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = reader.read(&mut part) {
        out.extend_from_slice(&part[..n]);
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn compressed_events_arrive_one_by_one() {
    for (encoding, kind) in [
        ("gzip", "text/event-stream"),
        ("zstd", "text/event-stream"),
        ("gzip", "text/plain"),
        ("zstd", "application/x-ndjson"),
    ] {
        let mut rig = Rig::new(short()).await;
        let (tell, told) = tokio::sync::mpsc::channel::<()>(1);
        let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
        let d = dyno(move |mut c, _| {
            let told = told.clone();
            async move {
                c.head().await;
                c.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
                ))
                .await;
                for i in 0..5 {
                    c.send(&format!("9\r\ndata: {i}\n\n\r\n")).await;
                    // the next one only after the client has this one
                    told.lock().await.recv().await;
                }
                c.send("0\r\n\r\n").await;
            }
        })
        .await;
        rig.running(&[(1, d.addr)]).await;
        let mut c = rig.client().await;
        c.send(&ask("/events", &format!("Accept-Encoding: {encoding}\r\n")))
            .await;
        let head = c.head().await.unwrap();
        assert_eq!(head.header("content-encoding").unwrap(), encoding);
        let (mut bytes, mut wanted) = (Vec::new(), String::new());
        for i in 0..5 {
            wanted.push_str(&format!("data: {i}\n\n"));
            while peek(encoding, &bytes) != wanted {
                let part = c.chunk().await.unwrap();
                assert!(!part.is_empty());
                bytes.extend(part);
            }
            tell.send(()).await.unwrap();
        }
        loop {
            let part = c.chunk().await.unwrap();
            if part.is_empty() {
                break;
            }
            bytes.extend(part);
        }
        assert_eq!(open(encoding, &bytes), wanted.as_bytes());
    }
}

#[tokio::test]
async fn trailers_still_pass() {
    let mut rig = Rig::new(short()).await;
    for n in [2_000, 400_000] {
        let text = page(n, 5);
        let body = text.clone();
        let d = dyno(move |mut c, _| {
            let body = body.clone();
            async move {
                c.next_message().await;
                c.send(&format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-Sum: 7\r\n\r\n", body.len())).await;
                c.waits_for_end().await;
            }
        })
        .await;
        rig.running(&[(n as u128, d.addr)]).await;
        let r = rig
            .client()
            .await
            .ask(&ask("/", "Accept-Encoding: gzip\r\nTE: trailers\r\n"))
            .await;
        assert_eq!(r.trailers.to_lowercase(), "x-sum: 7\r\n");
        assert!(open("gzip", &r.bytes) == text.as_bytes());
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    let mut rig = Rig::new(short()).await;
    for n in [2_000, 400_000] {
        let d = dyno(move |mut c, _| async move {
            c.next_message().await;
            let body = page(n, 5);
            c.send(&format!(
                "HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
                n * 2
            ))
            .await;
        })
        .await;
        rig.running(&[(n as u128, d.addr)]).await;
        let mut c = rig.client().await;
        c.send(&ask(&format!("/{n}"), "Accept-Encoding: gzip\r\n"))
            .await;
        c.waits_for_end().await;
        rig.log_line(Some(APP), &[" code=H18 ", &format!("path=\"/{n}\"")])
            .await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_work() {
    let mut rig = Rig::new(short()).await;
    let (gone, mut heard) = tokio::sync::mpsc::channel::<()>(1);
    let d = dyno(move |mut c, _| {
        let gone = gone.clone();
        async move {
            c.next_message().await;
            c.send(&format!(
                "HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
            ))
            .await;
            c.waits_for_end().await;
            let _ = gone.send(()).await;
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    c.send(&ask("/", "Accept-Encoding: zstd\r\n")).await;
    c.head().await.unwrap();
    drop(c);
    tokio::time::timeout(PATIENCE, heard.recv())
        .await
        .expect("the app's connection is closed")
        .unwrap();
    rig.log_line(Some(APP), &[" code=H27 "]).await;
}

/// What a client of no one's making sees, over HTTP/1.1 and HTTP/2.
#[tokio::test]
async fn curl_reads_it() {
    let mut rig = Rig::new(short()).await;
    for (n, chunk) in [(20_000, None), (700_000, Some(20_000))] {
        let text = page(n, 9);
        let d = answering(HTML, text.clone(), chunk).await;
        rig.running(&[(n as u128, d.addr)]).await;
        for version in ["--http1.1", "--http1.0", "--http2-prior-knowledge"] {
            let out = AsyncCommand::new("curl")
                .args(["-sS", "--compressed", version, "-H", "Host: a.test"])
                .args(["-H", "Accept-Encoding: gzip", "-D", "-"])
                .arg(format!("http://{}/", rig.addr))
                .output()
                .await
                .unwrap();
            let all = String::from_utf8(out.stdout).unwrap();
            let (head, body) = all.split_once("\r\n\r\n").expect("a head");
            assert!(
                head.to_ascii_lowercase().contains("content-encoding: gzip"),
                "{version}: {head}"
            );
            assert!(body == text, "{version} {n}");
        }
    }
}

#[tokio::test]
async fn any_body_in_any_pieces_arrives_whole() {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    // the path says what to answer: length, seed, piece, pieces between pauses
    let d = dyno(|mut c, _| async move {
        while let Some(r) = c.next_message().await {
            let path = r.head.split(' ').nth(1).unwrap().to_owned();
            let n: Vec<usize> = path[1..].split('-').map(|n| n.parse().unwrap()).collect();
            let text = &page(n[0], n[1] as u64)[..n[0]];
            c.send(&format!(
                "HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n"
            ))
            .await;
            for (i, part) in text.as_bytes().chunks(n[2]).enumerate() {
                let part = String::from_utf8_lossy(part);
                c.send(&format!("{:x}\r\n{part}\r\n", part.len())).await;
                if i % n[3] == n[3] - 1 {
                    tokio::time::sleep(ms(1)).await;
                }
            }
            c.send("0\r\n\r\n").await;
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let mut runner = proptest::test_runner::TestRunner::default();
    let cases = (
        prop_oneof![0usize..3000, 0usize..400_000],
        0usize..20,
        1usize..60_000,
        1usize..50,
        any::<bool>(),
    );
    for _ in 0..40 {
        let (length, seed, piece, pause, zstd) = cases.new_tree(&mut runner).unwrap().current();
        // not more than some hundred pieces
        let piece = piece.max(length / 300 + 1);
        let path = format!("/{length}-{seed}-{piece}-{pause}");
        let encoding = if zstd { "zstd" } else { "gzip" };
        let r = c
            .ask(&ask(&path, &format!("Accept-Encoding: {encoding}\r\n")))
            .await;
        let text = &page(length, seed as u64)[..length];
        match r.header("content-encoding") {
            Some(said) => {
                assert_eq!(said, encoding, "{path}");
                assert!(open(encoding, &r.bytes) == text.as_bytes(), "{path}");
            }
            None => assert!(length < 860 && r.body() == text, "{path}"),
        }
    }
    assert_eq!(d.count(), 1);
}

#[tokio::test]
async fn with_too_many_streams_the_next_goes_as_it_is() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let d = dyno(|mut c, _| async move {
        c.next_message().await;
        c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        c.waits_for_end().await;
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut open = Vec::new();
    for i in 0..129 {
        let mut c = rig.client().await;
        c.send(&ask("/", "Accept-Encoding: gzip\r\n")).await;
        let head = c.head().await.unwrap();
        assert_eq!(head.header("content-encoding").is_some(), i < 128, "{i}");
        assert_eq!(head.header("vary").unwrap(), "Accept-Encoding");
        assert_eq!(c.chunk().await.unwrap() == b"hello", i == 128);
        open.push(c);
    }
    // one leaves, one may come
    open.remove(0);
    rig.log_line(Some(APP), &[" code=H27 "]).await;
    let mut c = rig.client().await;
    c.send(&ask("/", "Accept-Encoding: gzip\r\n")).await;
    assert!(c.head().await.unwrap().header("content-encoding").is_some());
}

/// While one client takes a long body, compressed, another one's small requests are answered between its pieces.
#[tokio::test]
async fn a_long_body_does_not_hold_up_others() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let big = std::sync::Arc::new(page(20_000_000, 4));
    let body = big.clone();
    let d = dyno(move |mut c, _| {
        let body = body.clone();
        async move {
            while let Some(r) = c.next_message().await {
                let text = if r.head.starts_with("GET /big") {
                    body.as_str()
                } else {
                    "small"
                };
                c.send(&format!(
                    "HTTP/1.1 200 OK\r\n{HTML}Content-Length: {}\r\n\r\n",
                    text.len()
                ))
                .await;
                c.send(text).await;
            }
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let (mut long, mut quick) = (rig.client().await, rig.client().await);
    long.send(&ask("/big", "Accept-Encoding: gzip\r\n")).await;
    long.head().await.unwrap();
    let rest = tokio::spawn(async move {
        let mut bytes = Vec::new();
        loop {
            let part = long.chunk().await.unwrap();
            if part.is_empty() {
                return bytes;
            }
            bytes.extend(part);
        }
    });
    let mut answered = 0;
    while !rest.is_finished() {
        assert_eq!(quick.ask(&ask("/", "")).await.body(), "small");
        answered += 1;
    }
    let bytes = rest.await.unwrap();
    assert!(answered > 20, "{answered}");
    assert!(open("gzip", &bytes) == big.as_bytes());
}
