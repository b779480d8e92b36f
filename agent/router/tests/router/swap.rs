//! Changing the dynos under load: nothing fails, nobody is disconnected.

use crate::rig::*;
use hokku_model::DynoId;
use hokku_model::route::{RouterOrder, RouterReport};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_dynos_are_replaced() {
    let mut rig = Rig::new(short()).await;
    let mut dynos = vec![saying("v0").await, saying("v0").await];
    rig.running(&[(1, dynos[0].addr), (2, dynos[1].addr)]).await;
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|i| {
            let (addr, stop, answered) = (rig.addr, stop.clone(), answered.clone());
            tokio::spawn(async move {
                let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
                let mut c = Client {
                    stream,
                    read: Vec::new(),
                };
                let ask = match i % 2 {
                    0 => "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
                    _ => "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody",
                };
                while !stop.load(SeqCst) {
                    // the connection is one and the same all the time
                    let r = c.ask(ask).await;
                    assert_eq!(r.status, 200, "{r:?}");
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for round in 0..20u128 {
        let seen = answered.load(SeqCst);
        until("requests run", || answered.load(SeqCst) > seen + 50).await;
        let fresh = vec![saying("next").await, saying("next").await];
        let ids = [10 + round * 2, 11 + round * 2];
        let gone: Vec<_> = rig.table.apps[&APP]
            .targets
            .iter()
            .map(|t| t.dyno)
            .collect();
        rig.running(&[(ids[0], fresh[0].addr), (ids[1], fresh[1].addr)])
            .await;
        for dyno in gone {
            rig.order(RouterOrder::Drain {
                dyno,
                deadline_ms: 60_000,
            })
            .await;
            assert_eq!(rig.report().await, RouterReport::Drained { dyno });
        }
        // what is drained is stopped, hard
        dynos = fresh;
    }
    stop.store(true, SeqCst);
    for c in clients {
        c.await.expect("no client failed");
    }
    assert!(answered.load(SeqCst) > 1000, "{answered:?}");
    drop(dynos);
}

#[tokio::test]
async fn idle_connections_to_a_dyno_that_left_are_closed_by_the_time_it_is_applied() {
    let mut rig = Rig::new(short()).await;
    let closed = Arc::new(AtomicUsize::new(0));
    let seen = closed.clone();
    let d = dyno(move |mut c, _| {
        let seen = seen.clone();
        async move {
            while c.next_message().await.is_some() {
                c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
            seen.fetch_add(1, SeqCst);
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    for _ in 0..4 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    rig.running(&[]).await;
    until("the idle connections are closed", || {
        closed.load(SeqCst) == d.count()
    })
    .await;
    rig.order(RouterOrder::Drain {
        dyno: DynoId(1),
        deadline_ms: 0,
    })
    .await;
    assert_eq!(
        rig.report().await,
        RouterReport::Drained { dyno: DynoId(1) }
    );
}

#[tokio::test]
async fn load_is_spread() {
    let mut rig = Rig::new(short()).await;
    let dynos = [saying("1").await, saying("2").await, saying("3").await];
    rig.running(&[(1, dynos[0].addr), (2, dynos[1].addr), (3, dynos[2].addr)])
        .await;
    let mut counts = [0; 3];
    let mut c = rig.client().await;
    for _ in 0..300 {
        let r = c.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        counts[r.body().parse::<usize>().unwrap() - 1] += 1;
    }
    assert!(counts.iter().all(|n| *n > 50), "{counts:?}");
}

#[tokio::test]
async fn requests_in_flight_finish_when_the_router_stops() {
    let limits = hokku_router::Limits {
        stop: ms(5000),
        ..short()
    };
    let mut rig = Rig::new(limits).await;
    let d = dyno(|mut c, _| async move {
        c.next_message().await;
        tokio::time::sleep(ms(200)).await;
        c.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")
            .await;
        c.is_closed().await;
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut idle = rig.client().await;
    let mut c = rig.client().await;
    c.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    until("the dyno has it", || d.count() == 1).await;
    let begun = std::time::Instant::now();
    let (r, ()) = tokio::join!(c.reply(), rig.stop());
    assert_eq!(
        (r.body().as_str(), r.header("connection").as_deref()),
        ("last", Some("close"))
    );
    assert!(idle.is_closed().await && c.is_closed().await);
    assert!(begun.elapsed() < ms(4000), "it waits no longer than needed");
    rig.log_line(Some(APP), &["status=200"]).await;
}
