//! Bodies pass as they come, both ways, with chunks, trailers and 100-continue.

use crate::rig::*;
use hokku_router::Limits;

#[tokio::test]
async fn events_arrive_one_by_one() {
    let mut rig = Rig::new(short()).await;
    let (tell, told) = tokio::sync::mpsc::channel::<()>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let d = dyno(move |mut c, _| {
        let told = told.clone();
        async move {
            c.head().await;
            c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
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
    c.send("GET /events HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(
        c.head().await.unwrap().header("content-type").unwrap(),
        "text/event-stream"
    );
    for i in 0..5 {
        assert_eq!(
            c.chunk().await.unwrap(),
            format!("data: {i}\n\n").as_bytes()
        );
        tell.send(()).await.unwrap();
    }
    assert!(c.chunk().await.unwrap().is_empty());
}

#[tokio::test]
async fn uploads_are_streamed_while_the_answer_runs() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, _| async move {
        let head = c.head().await.unwrap();
        assert_eq!(head.header("transfer-encoding").unwrap(), "chunked");
        c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        // each piece goes back as soon as it came
        while let Some(part) = c.chunk().await {
            c.send(&format!(
                "{:x}\r\n{}\r\n",
                part.len(),
                String::from_utf8_lossy(&part)
            ))
            .await;
            if part.is_empty() {
                break;
            }
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    c.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(c.head().await.unwrap().status, 200);
    for word in ["one", "two", "three"] {
        c.send(&format!("{:x}\r\n{word}\r\n", word.len())).await;
        assert_eq!(c.chunk().await.unwrap(), word.as_bytes());
    }
    c.send("0\r\n\r\n").await;
    assert!(c.chunk().await.unwrap().is_empty());
}

#[tokio::test]
async fn bodies_of_all_forms_arrive_whole() {
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let big = "x".repeat(300_000);
    for method in ["POST", "GET", "DELETE", "PATCH"] {
        let plain = format!(
            "{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{big}",
            big.len()
        );
        let r = c.ask(&plain).await;
        assert!(
            r.body().ends_with(&big) && r.body().contains("content-length: 300000"),
            "{method}"
        );
        let chunks: String = ["abc", "defghijk"]
            .iter()
            .map(|p| format!("{:x};ext=1\r\n{p}\r\n", p.len()))
            .collect();
        let chunked = format!(
            "{method} / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n{chunks}0\r\nX-Sum: 7\r\n\r\n"
        );
        let r = c.ask(&chunked).await;
        assert!(r.body().ends_with("\r\n\r\nabcdefghijk"), "{method} {r:?}");
        assert!(
            r.body().contains("transfer-encoding: chunked") && !r.body().contains("content-length"),
            "{r:?}"
        );
    }
    let none = c
        .ask("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert!(none.body().contains("content-length: 0"), "{none:?}");
    assert_eq!(
        d.count(),
        1,
        "every body was read to its end, so the connection could be kept"
    );
}

#[tokio::test]
async fn answers_of_all_forms_arrive_whole() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let d = dyno(|mut c, _| async move {
        while let Some(r) = c.next_message().await {
            let path = r.head.split(' ').nth(1).unwrap().to_owned();
            match path.as_str() {
                "/trailers" => {
                    assert_eq!(r.header("te").unwrap(), "trailers");
                    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n").await;
                }
                "/204" => c.send("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n").await,
                "/304" => c.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"x\"\r\n\r\n").await,
                "/reason" => c.send("HTTP/1.1 299 Quite Fine\r\nContent-Length: 0\r\n\r\n").await,
                "/early" => c.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await,
                "/both" => c.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await,
                "/cookies" => c.send("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: X-Gone\r\nX-Gone: 1\r\nContent-Length: 0\r\n\r\n").await,
                _ => {
                    c.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
                    return;
                }
            }
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let r = c
        .ask("GET /trailers HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\n\r\n")
        .await;
    assert_eq!(
        (r.body().as_str(), r.trailers.to_lowercase().as_str()),
        ("abc", "x-sum: 7\r\n"),
        "{r:?}"
    );
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let r = c.ask(&get("/204")).await;
    assert_eq!(
        (
            r.status,
            r.header("x-a").unwrap().as_str(),
            r.header("content-length")
        ),
        (204, "1", None)
    );
    let r = c.ask(&get("/304")).await;
    assert_eq!(
        (r.status, r.header("etag").unwrap().as_str()),
        (304, "\"x\"")
    );
    assert!(
        c.ask(&get("/reason"))
            .await
            .head
            .starts_with("HTTP/1.1 299 Quite Fine\r\n")
    );
    assert_eq!(c.ask(&get("/early")).await.body(), "ok");
    let r = c.ask(&get("/both")).await;
    assert_eq!(
        (r.body().as_str(), r.header("content-length")),
        ("ok", None)
    );
    let r = c.ask(&get("/cookies")).await;
    assert_eq!(
        (r.header("set-cookie").unwrap().as_str(), r.header("x-gone")),
        ("a=1|b=2", None)
    );
    assert_eq!(d.count(), 1);
    assert_eq!(c.ask(&get("/end")).await.body(), "until the end");
    assert_eq!(
        c.ask(&get("/204")).await.status,
        204,
        "the client's connection is still good"
    );
}

#[tokio::test]
async fn a_hundred_continue() {
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    c.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(c.head().await.unwrap().status, 100);
    let r = c.ask("body").await;
    assert!(
        r.body().ends_with("body") && !r.body().contains("expect"),
        "{r:?}"
    );
}

#[tokio::test]
async fn a_slow_upload_outlives_the_first_byte_limit() {
    let mut rig = Rig::new(Limits {
        first_byte: ms(150),
        idle: ms(2000),
        ..short()
    })
    .await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    c.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\n")
        .await;
    for _ in 0..6 {
        tokio::time::sleep(ms(80)).await;
        c.send("x").await;
    }
    assert!(c.reply().await.body().ends_with("xxxxxx"));
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let mut rig = Rig::new(short()).await;
    for polite in [true, false] {
        let d = dyno(move |mut c, _| async move {
            c.head().await;
            c.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").await;
            if polite {
                c.waits_for_end().await;
            }
            // else: closing with unread bytes resets the connection
        })
        .await;
        rig.running(&[(d.addr.port().into(), d.addr)]).await;
        let mut c = rig.client().await;
        c.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n")
            .await;
        c.send(&"x".repeat(900_000)).await;
        let r = c.reply().await;
        assert_eq!(
            (r.status, r.body()),
            (413, "big".into()),
            "polite: {polite}"
        );
    }
    rig.log_line(Some(APP), &["status=413"]).await;
}

/// Preface and empty SETTINGS (RFC 9113, section 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Reads frames up to one of this type; panics when the connection ends before it.
async fn frame(c: &mut Client, wanted: u8) {
    loop {
        let head = c.exactly(9).await.expect("the frame before the end");
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        c.exactly(len).await.expect("a whole frame");
        if head[3] == wanted {
            return;
        }
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_sent_away_and_closed() {
    let limits = hokku_router::Limits {
        keep_alive: ms(100),
        ..short()
    };
    let rig = Rig::new(limits).await;
    let mut c = rig.client().await;
    let begun = std::time::Instant::now();
    tokio::io::AsyncWriteExt::write_all(&mut c.stream, HTTP2)
        .await
        .unwrap();
    frame(&mut c, GOAWAY).await;
    assert!(begun.elapsed() >= ms(100), "{:?}", begun.elapsed());
    // nothing is acknowledged: the client may be gone
    c.waits_for_end().await;
}

#[tokio::test]
async fn http2_connections_are_sent_to_the_router_that_takes_over() {
    let mut rig = Rig::new(short()).await;
    let mut c = rig.client().await;
    tokio::io::AsyncWriteExt::write_all(&mut c.stream, HTTP2)
        .await
        .unwrap();
    // the connection is served
    frame(&mut c, SETTINGS).await;
    let elder = rig.hand_over().await;
    frame(&mut c, GOAWAY).await;
    drop(c);
    elder.finished().await;
    tokio::task::spawn_blocking(|| elder.stop()).await.unwrap();
}
