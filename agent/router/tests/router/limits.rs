//! What an app may say about its requests: times, sizes, rates, how many at once.

use crate::rig::*;
use hokku_model::AppId;
use hokku_model::route::AppState;
use hokku_model::routing::Routing;
use hokku_router::Limits;
use std::sync::Arc;
use tokio::sync::Semaphore;

async fn say(rig: &mut Rig, change: impl FnOnce(&mut Routing)) {
    change(&mut rig.table.apps.get_mut(&AppId(APP.0)).unwrap().routing);
    rig.apply().await;
}

#[tokio::test]
async fn times_of_the_app_replace_the_routers() {
    let mut rig = Rig::new(Limits {
        pool_idle: ms(200),
        ..short()
    })
    .await;
    let silent = dyno(|mut c, _| async move {
        if c.head().await.is_some_and(|h| h.head.contains("/half")) {
            c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                .await;
        }
        c.waits_for_end().await;
    })
    .await;
    rig.running(&[(1, silent.addr)]).await;
    say(&mut rig, |r| {
        r.settings.first_byte_ms = Some(100);
        r.settings.idle_ms = Some(100);
    })
    .await;
    let r = rig.get("/").await;
    rig.expect_code(&r, "H12", 503).await;
    let mut c = rig.client().await;
    c.send("GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(c.head().await.unwrap().status, 200);
    assert_eq!(c.exactly(10).await, None);
    rig.log_line(Some(APP), &["code=H15", "path=\"/half\""])
        .await;

    say(&mut rig, |r| r.queue_ms = Some(100)).await;
    rig.table
        .apps
        .get_mut(&AppId(APP.0))
        .unwrap()
        .targets
        .clear();
    rig.apply().await;
    let r = rig.get("/none").await;
    rig.expect_code(&r, "H20", 503).await;
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    say(&mut rig, |r| r.settings.body_limit = Some(10)).await;
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\n";
    let mut c = rig.client().await;
    let r = c
        .ask(&format!("{head}Content-Length: 10\r\n\r\n0123456789"))
        .await;
    assert!(r.body().ends_with("0123456789"), "{r:?}");
    let r = c
        .ask(&format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"
        ))
        .await;
    assert!(r.body().ends_with("0123456789"), "{r:?}");
    let before = d.count();
    let mut c = rig.client().await;
    let r = c
        .ask(&format!(
            "{head}Content-Length: 11\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    assert_eq!(r.status, 413, "and not told to send it");
    assert!(c.is_closed().await);
    assert_eq!(d.count(), before, "the app was not asked");
    for pieces in [
        vec!["b\r\n0123456789a\r\n0\r\n\r\n"],
        vec!["5\r\n01234\r\n", "6\r\n56789a\r\n"],
    ] {
        let mut c = rig.client().await;
        c.send(&format!("{head}Transfer-Encoding: chunked\r\n\r\n"))
            .await;
        for p in &pieces {
            c.send(p).await;
        }
        assert_eq!(c.reply().await.status, 413, "{pieces:?}");
        assert!(c.is_closed().await);
    }
    rig.log_line(Some(APP), &["code=H26", " status=413 "]).await;
}

#[tokio::test]
async fn clients_that_send_or_take_too_slowly() {
    let mut rig = Rig::new(Limits {
        rate_window: ms(300),
        ..short()
    })
    .await;
    let d = mirror().await;
    let floods = dyno(|mut c, _| async move {
        c.head().await;
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            .await;
        let piece = "x".repeat(1_000_000);
        for _ in 0..100 {
            c.send(&piece).await;
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    say(&mut rig, |r| r.settings.min_rate = Some(1000)).await;
    let head = "POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n";
    let mut c = rig.client().await;
    c.send(head).await;
    // bytes now and then, which no idle limit would stop
    let drip = async {
        for _ in 0..400 {
            c.stream.writable().await.unwrap();
            let _ = c.stream.try_write(b"x");
            tokio::time::sleep(ms(10)).await;
            if c.stream.try_read(&mut [0; 8192]).is_ok() {
                return true;
            }
        }
        false
    };
    assert!(drip.await, "it is answered");
    rig.log_line(Some(APP), &["code=H28", "path=\"/slow\"", " status=499 "])
        .await;

    // fast enough
    let mut c = rig.client().await;
    let r = c.ask(&format!("{head}{}", "x".repeat(100_000))).await;
    assert_eq!(r.status, 200);
    let mut c = rig.client().await;
    c.send("POST /steady HTTP/1.1\r\nHost: a.test\r\nContent-Length: 60000\r\n\r\n")
        .await;
    for _ in 0..60 {
        c.send(&"x".repeat(1000)).await;
        tokio::time::sleep(ms(10)).await;
    }
    assert_eq!(c.reply().await.status, 200);

    rig.table.apps.get_mut(&AppId(APP.0)).unwrap().targets[0].addr = floods.addr.into();
    rig.apply().await;
    let mut never_reads = rig.client().await;
    never_reads
        .send("GET /flood HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    rig.log_line(Some(APP), &["code=H28", "path=\"/flood\""])
        .await;
}

/// Answers as often as it is let.
async fn gated(gate: Arc<Semaphore>) -> Dyno {
    dyno(move |mut c, _| {
        let gate = gate.clone();
        async move {
            while c.next_message().await.is_some() {
                gate.acquire().await.unwrap().forget();
                c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn no_more_requests_at_once_than_the_app_takes() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let gate = Arc::new(Semaphore::new(0));
    let d = gated(gate.clone()).await;
    rig.running(&[(1, d.addr)]).await;
    say(&mut rig, |r| r.connections = Some(2)).await;
    let get = "GET /many HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut c = rig.client().await;
        c.send(get).await;
        clients.push(c);
    }
    until("two are with the app", || d.count() == 2).await;
    // one of those that wait leaves: its place in the queue is free again
    drop(clients.pop());
    gate.add_permits(5);
    for c in &mut clients {
        assert_eq!(c.reply().await.body(), "ok");
    }
    assert_eq!(d.count(), 2, "never more connections than that");
    gate.add_permits(1);
    assert_eq!(rig.get("/after").await.body(), "ok");
}

#[tokio::test]
async fn no_dyno_gets_more_than_its_share_and_a_new_one_takes_what_waits() {
    let mut rig = Rig::with(|c| c.threads = 2, short()).await;
    let gate = Arc::new(Semaphore::new(0));
    let (a, b, c) = (
        gated(gate.clone()).await,
        gated(gate.clone()).await,
        gated(gate.clone()).await,
    );
    rig.running(&[(1, a.addr), (2, b.addr)]).await;
    say(&mut rig, |r| r.dyno_connections = Some(2)).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = rig.client().await;
        client
            .send("GET /many HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .await;
        clients.push(client);
    }
    until("both are full", || (a.count(), b.count()) == (2, 2)).await;
    let three = [(1, a.addr), (2, b.addr), (3, c.addr)];
    let more = app("my-app", &["a.test"], AppState::Running, &three);
    rig.table.apps.get_mut(&AppId(APP.0)).unwrap().targets = more.targets;
    rig.apply().await;
    until("the new one has the rest", || c.count() == 2).await;
    assert_eq!((a.count(), b.count()), (2, 2));
    gate.add_permits(6);
    for client in &mut clients {
        assert_eq!(client.reply().await.body(), "ok");
    }
}

#[tokio::test]
async fn waiting_too_long_is_told_early() {
    let mut rig = Rig::new(short()).await;
    let gate = Arc::new(Semaphore::new(0));
    let d = gated(gate.clone()).await;
    rig.running(&[(1, d.addr)]).await;
    say(&mut rig, |r| {
        r.connections = Some(1);
        r.queue_ms = Some(150);
    })
    .await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut first = rig.client().await;
    first.send(&get("/first")).await;
    until("the app has it", || d.count() == 1).await;
    let begun = std::time::Instant::now();
    let r = rig.get("/second").await;
    rig.expect_code(&r, "H11", 503).await;
    assert!(begun.elapsed() >= ms(140), "it waited as long as it may");
    tokio::time::sleep(ms(1500)).await;
    gate.add_permits(1);
    assert_eq!(first.reply().await.body(), "ok");
    // the app is known to be slow by now: no use in waiting
    first.send(&get("/third")).await;
    tokio::time::sleep(ms(50)).await;
    let begun = std::time::Instant::now();
    let r = rig.get("/fourth").await;
    assert!(r.body().contains("H11"), "{r:?}");
    assert!(begun.elapsed() < ms(120), "at once: {:?}", begun.elapsed());
    gate.add_permits(1);
    assert_eq!(first.reply().await.body(), "ok");
}
