//! Draining: when it is reported, what runs on, what is cut.

use crate::rig::*;
use hokku_model::DynoId;
use hokku_model::route::RouterReport;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

const DRAINED: RouterReport = RouterReport::Drained { dyno: DynoId(1) };

/// Answers when `go` rings.
async fn slow(go: Arc<Notify>) -> Dyno {
    dyno(move |mut c, _| {
        let go = go.clone();
        async move {
            while c.next_message().await.is_some() {
                go.notified().await;
                c.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
                    .await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn reported_at_once_when_nothing_is_in_flight() {
    let mut rig = Rig::new(short()).await;
    let d = saying("x").await;
    rig.running(&[(1, d.addr)]).await;
    assert_eq!(rig.get("/").await.status, 200);
    rig.running(&[]).await;
    let begun = Instant::now();
    rig.drain(1, ms(60_000)).await;
    assert_eq!(rig.report().await, DRAINED);
    rig.drain(999, ms(60_000)).await;
    assert_eq!(
        rig.report().await,
        RouterReport::Drained { dyno: DynoId(999) },
        "never heard of: nothing in flight"
    );
    assert!(begun.elapsed() < ms(2000));
}

#[tokio::test]
async fn what_is_in_flight_is_shown_without_queries_the_longest_first() {
    let mut rig = Rig::new(short()).await;
    let go = Arc::new(Notify::new());
    let one = slow(go.clone()).await;
    rig.running(&[(1, one.addr)]).await;
    let mut running = Vec::new();
    for n in 0..7 {
        let mut c = rig.client().await;
        let head = format!(
            "POST /report/{n}?secret=1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"
        );
        c.send(&head).await;
        until("the dyno has it", || one.count() == n + 1).await;
        running.push(c);
    }
    rig.show(1).await;
    let RouterReport::InFlight {
        dyno,
        count,
        requests,
    } = rig.report().await
    else {
        panic!("no answer");
    };
    assert_eq!((dyno, count, requests.len()), (DynoId(1), 7, 5));
    let all: std::collections::BTreeSet<_> = requests.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(all.len(), 5, "{requests:?}");
    for p in &requests {
        assert!(
            p.method == "POST" && p.path.starts_with("/report/"),
            "{p:?}"
        );
        assert!(!p.path.contains('?'), "{p:?}");
    }
    assert!(requests.is_sorted_by_key(|p| std::cmp::Reverse(p.ms)));
    // of another dyno there is nothing
    rig.show(2).await;
    let none = RouterReport::InFlight {
        dyno: DynoId(2),
        count: 0,
        requests: vec![],
    };
    assert_eq!(rig.report().await, none);
}

#[tokio::test]
async fn reported_when_the_last_request_has_finished() {
    let mut rig = Rig::new(short()).await;
    let go = Arc::new(Notify::new());
    let (old, new) = (slow(go.clone()).await, saying("new").await);
    rig.running(&[(1, old.addr)]).await;
    let mut running = rig.client().await;
    running.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    until("the dyno has it", || old.count() == 1).await;
    rig.running(&[(2, new.addr)]).await;
    rig.drain(1, ms(60_000)).await;
    // new requests go elsewhere while the old one runs
    for _ in 0..10 {
        assert_eq!(rig.get("/").await.body(), "new");
    }
    go.notify_one();
    assert_eq!(running.reply().await.body(), "done");
    assert_eq!(rig.report().await, DRAINED);
    assert_eq!(
        running
            .ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .await
            .body(),
        "new",
        "same client connection"
    );
    assert_eq!(old.count(), 1);
}

#[tokio::test]
async fn cut_at_the_deadline() {
    let mut rig = Rig::new(short()).await;
    let stuck = slow(Arc::new(Notify::new())).await;
    let streams = dyno(|mut c, _| async move {
        c.head().await;
        c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            .await;
        c.is_closed().await;
    })
    .await;
    rig.running(&[(1, stuck.addr)]).await;
    let mut waiting = rig.client().await;
    waiting
        .send("GET /waiting HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    until("the dyno has it", || stuck.count() == 1).await;
    rig.running(&[(2, streams.addr)]).await;
    let mut streaming = rig.client().await;
    streaming
        .send("GET /streaming HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    assert_eq!(streaming.head().await.unwrap().status, 200);
    assert_eq!(streaming.chunk().await.unwrap(), b"x");
    rig.running(&[]).await;

    let begun = Instant::now();
    rig.drain(1, ms(100)).await;
    assert_eq!(rig.report().await, DRAINED);
    assert!(begun.elapsed() >= ms(100));
    let r = waiting.reply().await;
    rig.expect_code(&r, "H18", 503).await;
    rig.drain(2, ms(0)).await;
    assert_eq!(
        rig.report().await,
        RouterReport::Drained { dyno: DynoId(2) }
    );
    assert_eq!(streaming.chunk().await, None, "cut off, and it shows");
    rig.log_line(Some(APP), &["path=\"/streaming\"", "code=H18"])
        .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_hold_a_dyno() {
    let mut rig = Rig::new(short()).await;
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
    rig.running(&[(1, floods.addr)]).await;
    let mut c = rig.client().await;
    c.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(c.head().await.unwrap().status, 200);
    rig.running(&[]).await;
    rig.drain(1, ms(50)).await;
    assert_eq!(rig.report().await, DRAINED);
}

#[tokio::test]
async fn a_drain_survives_the_agent_and_a_dyno_may_come_back() {
    let mut rig = Rig::new(short()).await;
    let go = Arc::new(Notify::new());
    let d = slow(go.clone()).await;
    rig.running(&[(1, d.addr)]).await;
    let mut running = rig.client().await;
    running.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    until("the dyno has it", || d.count() == 1).await;
    rig.running(&[]).await;
    rig.drain(1, ms(60_000)).await;
    // answered after the drain was taken
    rig.apply().await;
    rig.lose_agent();
    rig.connect_agent().await;
    go.notify_one();
    assert_eq!(running.reply().await.body(), "done");
    assert_eq!(rig.report().await, DRAINED);
    // the same dyno, back in the table, is used again
    rig.running(&[(1, d.addr)]).await;
    go.notify_one();
    assert_eq!(rig.get("/").await.body(), "done");
}
