//! Requests and answers that two readers could understand differently, and what is too large.

use crate::rig::*;
use hokku_model::route::AppState;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a.test\r\n";

#[tokio::test]
async fn what_could_smuggle_is_refused_and_the_connection_closed() {
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    for text in [
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding\r\n : chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n\tb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX(Y): a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\x01b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\nHost: a.test\n\n",
        "GET / HTTP/3.0\r\nHost: a.test\r\n\r\n",
        "GET /\r\n\r\n",
    ] {
        let mut c = rig.client().await;
        let next = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let r = c.ask(&format!("{text}{next}")).await;
        assert_eq!(r.status, 400, "{text:?} {r:?}");
        // HTTP/1.0 closes unless it is said otherwise
        let close = (!text.contains("HTTP/1.0")).then_some("close");
        assert_eq!(r.header("connection").as_deref(), close, "{text:?}");
        assert!(c.is_closed().await, "{text:?}");
    }
    assert_eq!(d.count(), 0, "the app has seen none of them");
    rig.log_line(None, &["code=H26", " status=400 "]).await;
}

#[tokio::test]
async fn bodies_that_are_not_what_they_claim() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, _| async move { c.waits_for_end().await }).await;
    rig.running(&[(1, d.addr)]).await;
    let extension = "x".repeat(3000);
    for body in [
        "zz\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        &format!("3;{extension}\r\nabc\r\n0\r\n\r\n"),
        "0\r\nX : y\r\n\r\n",
        "0\r\nno trailer\r\n\r\n",
    ] {
        let mut c = rig.client().await;
        let r = c
            .ask(&format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{body}"))
            .await;
        assert_eq!(r.status, 400, "{body:?} {r:?}");
        assert!(c.is_closed().await, "{body:?}");
    }
    rig.log_line(Some(APP), &["code=H26", " status=400 "]).await;
}

#[tokio::test]
async fn pipelined_requests_are_judged_one_by_one() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let get = |p: &str| format!("GET {p} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let post = format!("{HEAD}Content-Length: 5\r\n\r\nhello");
    let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let bad = format!("{HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n");
    c.send(
        &[&get("/1"), &post, &chunked, &get("/4"), &bad, &get("/6")]
            .map(|s| s.to_owned())
            .concat(),
    )
    .await;
    assert!(c.reply().await.body().starts_with("GET /1 "));
    assert!(c.reply().await.body().ends_with("\r\n\r\nhello"));
    assert!(c.reply().await.body().ends_with("\r\n\r\nhi"));
    assert!(c.reply().await.body().starts_with("GET /4 "));
    assert_eq!(c.reply().await.status, 400);
    assert!(c.is_closed().await, "nothing after the bad one");

    // many at once, in order, also when they come in odd pieces
    let mut c = rig.client().await;
    let all: String = (0..300).map(|i| get(&format!("/{i}"))).collect();
    for piece in all.as_bytes().chunks(777) {
        c.send(&String::from_utf8_lossy(piece)).await;
    }
    for i in 0..300 {
        let body = c.reply().await.body();
        assert!(body.starts_with(&format!("GET /{i} ")), "{i}: {body}");
    }
}

#[tokio::test]
async fn sizes_of_requests() {
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let line = |n: usize| {
        format!(
            "GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "x".repeat(n - 14)
        )
    };
    let field = |n: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n",
            "x".repeat(n - 3)
        )
    };
    let fields = |n: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n",
            "A: b\r\n".repeat(n - 1)
        )
    };
    let name = |n: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\n{}: b\r\n\r\n",
            "n".repeat(n)
        )
    };
    for (text, status) in [
        (line(8192), 200),
        (line(8193), 414),
        (field(8192), 200),
        (field(8193), 431),
        (fields(1000), 200),
        (fields(1001), 431),
        (name(1000), 200),
        (name(1001), 431),
    ] {
        let r = rig.client().await.ask(&text).await;
        assert_eq!(r.status, status, "{} {:?}", text.len(), &text[..60]);
    }
    let r = rig.client().await.ask(&fields(1000)).await;
    assert_eq!(header(&r.body(), "a").unwrap().split('|').count(), 999);
    rig.log_line(None, &["code=H26", " status=431 "]).await;
}

#[tokio::test]
async fn answers_are_judged_like_requests() {
    let mut rig = Rig::new(short()).await;
    for (answer, code, status) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "H17",
            503,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "H17",
            503,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
            "H17",
            503,
        ),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "H17", 503),
        (
            "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok",
            "H17",
            503,
        ),
        (
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
            "H17",
            503,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "H17",
            503,
        ),
        ("HTTP/1.1 2000 OK\r\n\r\n", "H17", 503),
    ] {
        let d = dyno(move |mut c, _| async move {
            c.head().await;
            c.send(answer).await;
            c.waits_for_end().await;
        })
        .await;
        rig.running(&[(d.addr.port().into(), d.addr)]).await;
        let r = rig.get("/").await;
        assert_eq!(
            (r.status, r.body().contains(code)),
            (status, true),
            "{answer:?} {r:?}"
        );
    }
}

#[tokio::test]
async fn sizes_of_answers() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, _| async move {
        while let Some(r) = c.next_message().await {
            let x = |n: usize| "x".repeat(n);
            let lines = match r.head.split(' ').nth(1).unwrap() {
                "/long" => format!("200 OK\r\nX: {}", x(500_000)),
                "/too-long" => format!("200 OK\r\nX: {}", x(530_000)),
                "/cookie" => format!("200 OK\r\nSet-Cookie: {}", x(8192)),
                "/large-cookie" => format!("200 OK\r\nSet-Cookie: {}", x(8193)),
                _ => format!("200 {}\r\nX: y", x(8200)),
            };
            c.send(&format!("HTTP/1.1 {lines}\r\nContent-Length: 2\r\n\r\nok"))
                .await;
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    for path in ["/long", "/cookie"] {
        assert_eq!(rig.get(path).await.body(), "ok", "{path}");
    }
    for path in ["/too-long", "/large-cookie", "/status"] {
        let r = rig.get(path).await;
        rig.expect_code(&r, "H25", 502).await;
        rig.log_line(Some(APP), &["code=H25 desc=\"HTTP Restriction\"", path])
            .await;
    }
}

#[tokio::test]
async fn an_app_that_says_more_than_it_announced_is_not_believed() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let d = dyno(|mut c, _| async move {
        c.next_message().await;
        // a second answer that nobody asked for
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await;
        c.waits_for_end().await;
    })
    .await;
    rig.app(AppState::Running, &[(1, d.addr)]).await;
    let mut c = rig.client().await;
    for _ in 0..5 {
        let r = c.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(r.body(), "ok");
    }
    assert_eq!(d.count(), 5, "such a connection is not used again");
}
