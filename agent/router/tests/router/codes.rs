//! Every code the router fails requests with.

use crate::rig::*;
use hokku_model::route::AppState;
use hokku_router::Limits;

#[tokio::test]
async fn states_without_dynos() {
    let mut rig = Rig::new(short()).await;
    let r = rig.get("/").await;
    assert_eq!(
        (r.status, r.body().contains("H99")),
        (503, true),
        "no table yet"
    );
    let d = saying("up").await;
    for (state, code, status, level) in [
        (AppState::Blank, "H81", 502, "at=info"),
        (AppState::Stopped, "H14", 503, "at=error"),
        (AppState::Crashed, "H10", 503, "at=error"),
        (AppState::Maintenance, "H80", 503, "at=info"),
    ] {
        rig.app(state, &[]).await;
        let mut c = rig.client().await;
        let r = c.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        rig.expect_code(&r, code, status).await;
        assert_eq!(
            r.header("content-type").unwrap(),
            "text/html; charset=utf-8"
        );
        rig.log_line(Some(APP), &[level, code]).await;
        let r = c
            .ask("GET / HTTP/1.1\r\nHost: a.test\r\nAccept: application/json\r\n\r\n")
            .await;
        assert!(
            r.body().starts_with('{') && r.body().contains(code),
            "{r:?}"
        );
        c.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(c.head_reply().await.status, status);
    }
    rig.app(AppState::Maintenance, &[(1, d.addr)]).await;
    assert_eq!(
        rig.get("/").await.status,
        503,
        "maintenance holds though dynos run"
    );
    rig.app(AppState::Crashed, &[(1, d.addr)]).await;
    assert_eq!(
        rig.get("/").await.body(),
        "up",
        "a dyno that serves, serves"
    );
}

#[tokio::test]
async fn requests_wait_for_a_booting_dyno() {
    let mut rig = Rig::new(Limits {
        boot: ms(400),
        ..short()
    })
    .await;
    rig.running(&[]).await;
    let d = saying("booted").await;
    let addr = rig.addr;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(async move {
                let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
                let mut c = Client {
                    stream,
                    read: Vec::new(),
                };
                c.ask("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
                    .await
                    .body()
            })
        })
        .collect();
    tokio::time::sleep(ms(50)).await;
    rig.running(&[(1, d.addr)]).await;
    for w in waiting {
        assert_eq!(w.await.unwrap(), "booted");
    }

    rig.running(&[]).await;
    let r = rig.get("/").await;
    rig.expect_code(&r, "H20", 503).await;
    let mut c = rig.client().await;
    c.send("GET /crashes HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    rig.app(AppState::Crashed, &[]).await;
    let r = c.reply().await;
    rig.expect_code(&r, "H10", 503).await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let mut rig = Rig::new(Limits {
        queue: 1,
        boot: ms(600),
        ..short()
    })
    .await;
    rig.running(&[]).await;
    let mut first = rig.client().await;
    first
        .send("GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    // whichever of the two came first waits
    let mut second = rig.client().await;
    second
        .send("GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    let (a, b) = tokio::join!(first.reply(), second.reply());
    let mut codes = [a.body().contains("H11"), b.body().contains("H11")];
    codes.sort();
    assert_eq!(codes, [false, true], "{a:?} {b:?}");
    rig.log_line(Some(APP), &["code=H11 desc=\"Backlog too deep\""])
        .await;
    rig.log_line(Some(APP), &["code=H20"]).await;
}

#[tokio::test]
async fn apps_that_fail() {
    let mut rig = Rig::new(short()).await;
    let closes = dyno(|mut c, _| async move {
        c.head().await;
    })
    .await;
    let babbles = dyno(|mut c, _| async move {
        c.head().await;
        c.send("I am no HTTP server\r\n\r\n").await;
    })
    .await;
    let breaks_off_head = dyno(|mut c, _| async move {
        c.head().await;
        c.send("HTTP/1.1 200 OK\r\nContent-Le").await;
    })
    .await;
    let switches_unasked = dyno(|mut c, _| async move {
        c.head().await;
        c.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            .await;
        c.waits_for_end().await;
    })
    .await;
    for (d, code) in [
        (&closes, "H13"),
        (&babbles, "H17"),
        (&breaks_off_head, "H18"),
        (&switches_unasked, "H17"),
    ] {
        rig.running(&[(d.addr.port().into(), d.addr)]).await;
        let r = rig.get("/").await;
        rig.expect_code(&r, code, 503).await;
    }
    rig.log_line(
        Some(APP),
        &[
            "code=H18 desc=\"Server Request Interrupted\" sock=backend method=GET",
            "dyno=web.1",
        ],
    )
    .await;

    let breaks_off_body = dyno(|mut c, _| async move {
        c.head().await;
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .await;
    })
    .await;
    rig.running(&[(9, breaks_off_body.addr)]).await;
    let mut c = rig.client().await;
    c.send("GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(c.head().await.unwrap().status, 200);
    assert_eq!(
        c.exactly(10).await,
        None,
        "the client can tell that it is not whole"
    );
    rig.log_line(Some(APP), &["code=H18", "path=\"/half\"", " bytes=4 "])
        .await;
}

#[tokio::test]
async fn apps_and_clients_that_are_slow() {
    let limits = Limits {
        first_byte: ms(150),
        idle: ms(150),
        head: ms(150),
        keep_alive: ms(600),
        ..short()
    };
    let mut rig = Rig::new(limits).await;
    let silent = dyno(|mut c, _| async move {
        c.head().await;
        c.waits_for_end().await;
    })
    .await;
    rig.running(&[(1, silent.addr)]).await;
    let r = rig.get("/").await;
    rig.expect_code(&r, "H12", 503).await;

    let stalls = dyno(|mut c, _| async move {
        c.head().await;
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .await;
        c.waits_for_end().await;
    })
    .await;
    rig.running(&[(2, stalls.addr)]).await;
    let mut c = rig.client().await;
    c.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(c.head().await.unwrap().status, 200);
    assert_eq!(c.exactly(10).await, None);
    rig.log_line(Some(APP), &["code=H15 desc=\"Idle connection\""])
        .await;

    // bytes now and then hold it open, longer than the limits
    let drips = dyno(|mut c, _| async move {
        c.head().await;
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await;
        for _ in 0..8 {
            tokio::time::sleep(ms(50)).await;
            c.send("x").await;
        }
        c.waits_for_end().await;
    })
    .await;
    rig.running(&[(3, drips.addr)]).await;
    assert_eq!(rig.get("/").await.body(), "xxxxxxxx");

    let floods = dyno(|mut c, _| async move {
        c.head().await;
        let piece = "x".repeat(1_000_000);
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            .await;
        for _ in 0..100 {
            c.send(&piece).await;
        }
    })
    .await;
    rig.running(&[(4, floods.addr)]).await;
    let mut never_reads = rig.client().await;
    never_reads
        .send("GET /flood HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    rig.log_line(
        Some(APP),
        &[
            "at=warning code=H28",
            "sock=client",
            "path=\"/flood\"",
            " status=499 ",
        ],
    )
    .await;

    let mut stops_uploading = rig.client().await;
    let d = mirror().await;
    rig.running(&[(5, d.addr)]).await;
    stops_uploading
        .send("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    assert_eq!(stops_uploading.reply().await.status, 499);
    rig.log_line(Some(APP), &["code=H28", "path=\"/up\""]).await;

    let mut slow_head = rig.client().await;
    slow_head.send("GET / HT").await;
    assert!(slow_head.is_closed().await);
    let mut idle = rig.client().await;
    assert_eq!(
        idle.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .await
            .status,
        200
    );
    assert!(idle.is_closed().await, "after keep_alive");
}

#[tokio::test]
async fn clients_that_leave() {
    let mut rig = Rig::new(short()).await;
    let silent = dyno(|mut c, _| async move {
        c.head().await;
        c.waits_for_end().await;
    })
    .await;
    rig.running(&[(1, silent.addr)]).await;
    let mut c = rig.client().await;
    c.send("GET /leaves HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    until("the dyno has it", || silent.count() == 1).await;
    drop(c);
    let line = rig.log_line(Some(APP), &["path=\"/leaves\""]).await;
    assert!(
        line.contains(
            "at=warning code=H27 desc=\"Client Request Interrupted\" sock=client method=GET"
        ),
        "{line}"
    );
    assert!(
        line.contains(" dyno=web.1 ") && line.contains(" status=499 "),
        "{line}"
    );

    let mut c = rig.client().await;
    c.send("POST /half HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhalf")
        .await;
    until("the dyno has it", || silent.count() == 2).await;
    drop(c);
    rig.log_line(Some(APP), &["path=\"/half\"", "code=H27"])
        .await;

    let mut c = rig.client().await;
    let r = c
        .ask("POST /chunks HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .await;
    assert_eq!(r.status, 400, "{r:?}");
    rig.log_line(Some(APP), &["path=\"/chunks\"", "code=H26"])
        .await;
}
