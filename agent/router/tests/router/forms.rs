//! Old and rare forms of HTTP/1: 1.0 clients, interim answers, expectations, trailers.

use crate::rig::*;

#[tokio::test]
async fn http_1_0_clients() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, _| async move {
        while let Some(r) = c.next_message().await {
            match r.head.split(' ').nth(1).unwrap() {
                "/chunks" => c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n").await,
                "/hints" => c.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await,
                _ => c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await,
            }
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let r = c.ask("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert!(
        r.head.starts_with("HTTP/1.0 200 OK\r\n") && r.body() == "ok",
        "{r:?}"
    );
    assert_eq!(r.header("connection"), None);
    assert!(c.is_closed().await);

    let mut c = rig.client().await;
    for path in ["/", "/hints", "/"] {
        let r = c
            .ask(&format!(
                "GET {path} HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n"
            ))
            .await;
        assert_eq!(r.header("connection").as_deref(), Some("keep-alive"));
        assert!(
            r.head.starts_with("HTTP/1.0 200") && r.body() == "ok",
            "no interim answer: {r:?}"
        );
    }
    // of unknown length: the end of the connection is the end of the body
    let r = c
        .ask("GET /chunks HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
        .await;
    assert_eq!(
        (r.body().as_str(), r.header("transfer-encoding")),
        ("abc", None)
    );
    assert!(c.is_closed().await);

    let mut c = rig.client().await;
    let r = c.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(r.status, 404, "no host, and no app for such: {r:?}");
}

#[tokio::test]
async fn interim_answers_are_passed_on() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, _| async move {
        c.head().await;
        c.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n").await;
        c.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x\r\nX: y\r\n\r\n").await;
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        c.waits_for_end().await;
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    c.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(
        c.head().await.unwrap().status,
        102,
        "100 is the router's own business"
    );
    let hints = c.head().await.unwrap();
    assert_eq!(
        (
            hints.status,
            hints.header("link").unwrap().as_str(),
            hints.header("connection")
        ),
        (103, "</a.css>; rel=preload", None)
    );
    assert_eq!(c.reply().await.body(), "ok");
}

#[tokio::test]
async fn expectations() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, n| async move {
        c.head().await;
        if n == 0 {
            // does not want the body
            c.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
                .await;
        } else {
            let body = c.exactly(4).await.unwrap();
            assert_eq!(body, b"body");
            c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
        c.waits_for_end().await;
    })
    .await;
    let ask =
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    // without a dyno nobody is told to go on
    let mut c = rig.client().await;
    assert_eq!(c.ask(ask).await.status, 503);
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let r = c.ask(ask).await;
    assert_eq!((r.status, r.body()), (401, "no".into()));
    assert_eq!(r.header("connection").as_deref(), Some("close"));
    assert!(c.is_closed().await, "the body may or may not follow");
    let mut c = rig.client().await;
    c.send(ask).await;
    assert_eq!(c.head().await.unwrap().status, 100);
    assert_eq!(c.ask("body").await.body(), "ok");
    // who does not wait is not told
    let mut c = rig.client().await;
    c.send(&format!("{ask}body")).await;
    assert_eq!(c.head().await.unwrap().status, 200);
}

#[tokio::test]
async fn trailers_pass_both_ways_without_what_could_do_harm() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, _| async move {
        while let Some(r) = c.next_message().await {
            let trailers = r.trailers.replace("\r\n", "|");
            c.send(&format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{trailers}\r\n0\r\nX-Sum: 7\r\nContent-Length: 1\r\n\r\n",
                trailers.len()
            ))
            .await;
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    for _ in 0..2 {
        let r = c
            .ask("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Mine: 1\r\nHost: evil\r\nX-Forwarded-For: evil\r\n\r\n")
            .await;
        assert_eq!(r.body().to_lowercase(), "x-mine: 1|");
        assert_eq!(r.trailers.to_lowercase(), "x-sum: 7\r\n");
    }
}

#[tokio::test]
async fn an_upload_much_larger_than_memory_for_it_is_streamed() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, _| async move {
        let head = c.head().await.unwrap();
        let mut left: usize = head.header("content-length").unwrap().parse().unwrap();
        let mut sum = 0u64;
        while left > 0 {
            let part = c.exactly(left.min(100_000)).await.unwrap();
            left -= part.len();
            sum += part.iter().map(|b| u64::from(*b)).sum::<u64>();
        }
        let text = sum.to_string();
        c.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        ))
        .await;
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let n = 20_000_000;
    c.send(&format!(
        "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {n}\r\n\r\n"
    ))
    .await;
    let piece = "x".repeat(1_000_000);
    for _ in 0..n / piece.len() {
        c.send(&piece).await;
    }
    assert_eq!(
        c.reply().await.body(),
        (n as u64 * u64::from(b'x')).to_string()
    );
}
