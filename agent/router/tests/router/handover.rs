//! Another router takes over: nothing is lost, and the agent hears of drains when all generations are done.

use crate::rig::*;
use futures_util::{SinkExt, StreamExt};
use hokku_model::DynoId;
use hokku_model::route::{RouterOrder, RouterReport};
use hokku_router::{Limits, Router};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Stops routers that have handed over, as their process would end.
async fn end(elders: Vec<Router>) {
    tokio::task::spawn_blocking(|| elders.into_iter().for_each(Router::stop))
        .await
        .unwrap();
}

async fn finishes(elder: &Router) {
    tokio::time::timeout(PATIENCE, elder.finished())
        .await
        .expect("the elder finishes by itself");
}

async fn echo() -> Dyno {
    dyno(|c, _| async move {
        let Ok(mut ws) = accept_async(c.stream).await else {
            return;
        };
        while let Some(Ok(m)) = ws.next().await {
            if m.is_text() && ws.send(m).await.is_err() {
                return;
            }
        }
    })
    .await
}

type Socket = WebSocketStream<TcpStream>;

async fn open(rig: &Rig) -> Socket {
    let stream = TcpStream::connect(rig.addr).await.unwrap();
    client_async("ws://a.test/socket", stream).await.unwrap().0
}

async fn next(ws: &mut Socket) -> Message {
    let next = tokio::time::timeout(PATIENCE, ws.next());
    next.await.expect("in time").expect("open").expect("sound")
}

async fn echoes(ws: &mut Socket) {
    ws.send(Message::text("still there?")).await.unwrap();
    assert_eq!(next(ws).await.into_text().unwrap().as_str(), "still there?");
}

async fn goes_away(ws: &mut Socket) {
    match next(ws).await {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("expected a close frame, got {other:?}"),
    }
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_in_ten_hand_overs() {
    let mut rig = Rig::new(short()).await;
    let d = saying("ok").await;
    rig.running(&[(1, d.addr)]).await;
    let (stop, answered, kept) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|i| {
            let (addr, stop, answered, kept) =
                (rig.addr, stop.clone(), answered.clone(), kept.clone());
            tokio::spawn(async move {
                let connect = || async {
                    let stream = TcpStream::connect(addr).await.unwrap();
                    let read = Vec::new();
                    Client { stream, read }
                };
                let mut c = connect().await;
                while !stop.load(SeqCst) {
                    let r = c.ask(ASK).await;
                    assert_eq!(r.status, 200, "{r:?}");
                    answered.fetch_add(1, SeqCst);
                    let told = r.header("connection").as_deref() == Some("close");
                    kept.fetch_add(usize::from(told), SeqCst);
                    if i % 2 == 0 || told {
                        c = connect().await;
                    }
                }
            })
        })
        .collect();
    let (mut elders, mut slowest) = (Vec::new(), Duration::ZERO);
    for _ in 0..10 {
        let seen = answered.load(SeqCst);
        until("requests run", || answered.load(SeqCst) > seen + 100).await;
        let begun = Instant::now();
        elders.push(rig.hand_over().await);
        slowest = slowest.max(begun.elapsed());
    }
    let seen = answered.load(SeqCst);
    until("requests run", || answered.load(SeqCst) > seen + 100).await;
    stop.store(true, SeqCst);
    for c in clients {
        c.await.expect("no client failed");
    }
    assert!(kept.load(SeqCst) > 0, "kept connections were told to go");
    for elder in elders {
        finishes(&elder).await;
        end(vec![elder]).await;
    }
    println!("{answered:?} requests in 10 hand-overs, slowest {slowest:?}, {kept:?} told to go");
}

#[tokio::test]
async fn what_waits_in_the_queue_is_served_by_the_heir_and_the_elder_finishes() {
    let mut rig = Rig::new(short()).await;
    let go = Arc::new(Notify::new());
    let d = slow(go.clone()).await;
    rig.running(&[(1, d.addr)]).await;
    let mut before = rig.client().await;
    before.send(ASK).await;
    until("the dyno has it", || d.count() == 1).await;
    let elder = rig.hand_over().await;
    let mut after = rig.client().await;
    after.send(ASK).await;
    until("the dyno has both", || d.count() == 2).await;
    go.notify_waiters();
    let r = before.reply().await;
    assert_eq!(r.header("connection").as_deref(), Some("close"), "{r:?}");
    assert!(before.is_closed().await);
    let r = after.reply().await;
    assert_eq!((r.status, r.header("connection")), (200, None));
    finishes(&elder).await;
    end(vec![elder]).await;
}

#[tokio::test]
async fn an_idle_connection_gets_one_more_answer_by_the_table_of_now() {
    let mut rig = Rig::new(short()).await;
    let (old, new) = (saying("old").await, saying("new").await);
    rig.running(&[(1, old.addr)]).await;
    let mut idle = rig.client().await;
    assert_eq!(idle.ask(ASK).await.body(), "old");
    let elder = rig.hand_over().await;
    rig.running(&[(2, new.addr)]).await;
    let r = idle.ask(ASK).await;
    assert_eq!(
        (r.body().as_str(), r.header("connection").as_deref()),
        ("new", Some("close"))
    );
    finishes(&elder).await;
    end(vec![elder]).await;
}

#[tokio::test]
async fn drained_is_reported_when_all_generations_are_done() {
    let mut rig = Rig::new(short()).await;
    let go = Arc::new(Notify::new());
    let (old, new) = (slow(go.clone()).await, saying("new").await);
    rig.running(&[(1, old.addr)]).await;
    let mut running = rig.client().await;
    running.send(ASK).await;
    until("the dyno has it", || old.count() == 1).await;
    let elders = vec![rig.hand_over().await, rig.hand_over().await];
    rig.running(&[(2, new.addr)]).await;
    for (dyno, deadline_ms) in [(DynoId(1), 60_000), (DynoId(9), 0)] {
        rig.order(RouterOrder::Drain { dyno, deadline_ms }).await;
    }
    // ordered later, agreed on by all sooner: the first is still in flight two generations back
    let drained = |n| RouterReport::Drained { dyno: DynoId(n) };
    assert_eq!(rig.report().await, drained(9));
    go.notify_one();
    assert_eq!(running.reply().await.body(), "done");
    assert_eq!(rig.report().await, drained(1));
    for elder in elders {
        finishes(&elder).await;
        end(vec![elder]).await;
    }
}

#[tokio::test]
async fn an_elder_that_dies_holds_no_drain() {
    let mut rig = Rig::new(short()).await;
    let stuck = slow(Arc::new(Notify::new())).await;
    rig.running(&[(1, stuck.addr)]).await;
    let mut running = rig.client().await;
    running.send(ASK).await;
    until("the dyno has it", || stuck.count() == 1).await;
    let elder = rig.hand_over().await;
    rig.running(&[]).await;
    rig.drain(1, ms(60_000)).await;
    end(vec![elder]).await;
    let report = RouterReport::Drained { dyno: DynoId(1) };
    assert_eq!(rig.report().await, report);
}

#[tokio::test]
async fn sockets_survive_until_the_drain_time_of_their_app() {
    let mut rig = Rig::new(short()).await;
    let d = echo().await;
    rig.running(&[(1, d.addr)]).await;
    rig.table.apps.get_mut(&APP).unwrap().routing.drain_ms = Some(400);
    rig.apply().await;
    let mut ws = open(&rig).await;
    let begun = Instant::now();
    let elder = rig.hand_over().await;
    // a table that still has the dyno changes nothing of that
    rig.apply().await;
    echoes(&mut ws).await;
    let mut fresh = open(&rig).await;
    goes_away(&mut ws).await;
    assert!(begun.elapsed() >= ms(400), "{:?}", begun.elapsed());
    while ws.next().await.is_some_and(|m| m.is_ok()) {}
    finishes(&elder).await;
    end(vec![elder]).await;
    echoes(&mut fresh).await;
}

#[tokio::test]
async fn the_deadline_of_a_drain_reaches_the_elder() {
    let limits = Limits {
        drain: Duration::from_secs(3600),
        ..short()
    };
    let mut rig = Rig::new(limits).await;
    let d = echo().await;
    rig.running(&[(1, d.addr)]).await;
    let mut ws = open(&rig).await;
    let elder = rig.hand_over().await;
    rig.running(&[]).await;
    rig.drain(1, ms(200)).await;
    rig.drain(1, ms(60_000)).await;
    echoes(&mut ws).await;
    goes_away(&mut ws).await;
    while ws.next().await.is_some_and(|m| m.is_ok()) {}
    let report = RouterReport::Drained { dyno: DynoId(1) };
    assert_eq!(rig.report().await, report);
    finishes(&elder).await;
    end(vec![elder]).await;
}

#[tokio::test]
async fn only_so_many_generations_are_kept() {
    let limits = Limits {
        drain: Duration::from_secs(3600),
        ..short()
    };
    let mut rig = Rig::new(limits).await;
    let d = echo().await;
    rig.running(&[(1, d.addr)]).await;
    let (mut sockets, mut elders) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        sockets.push(open(&rig).await);
        elders.push(rig.hand_over().await);
    }
    finishes(&elders[0]).await;
    tokio::join!(goes_away(&mut sockets[0]), end(vec![elders.remove(0)]));
    for ws in &mut sockets[1..] {
        echoes(ws).await;
    }
    // the newest stops, and with it all that it took over from
    let (goodbye, ()) = tokio::join!(
        async {
            for ws in &mut sockets[1..] {
                goes_away(ws).await;
            }
        },
        async {
            tokio::join!(rig.stop(), async {
                for elder in elders {
                    finishes(&elder).await;
                    end(vec![elder]).await;
                }
            });
        }
    );
    goodbye
}

#[tokio::test]
async fn an_heir_that_fails_changes_nothing() {
    let mut rig = Rig::new(short()).await;
    let d = saying("ok").await;
    rig.running(&[(1, d.addr)]).await;
    let socket = rig.dir.path().join("handover.sock");
    let said = [
        "",
        "rubbish\n",
        "{\"heir\":\"failed\",\"why\":\"a test\"}\n",
        "{\"heir\":\"running\"}\n",
        "{\"heir\":\"ready\",\"pid\":1}\n",
    ];
    for words in said {
        let mut heir = UnixStream::connect(&socket).await.unwrap();
        heir.readable().await.unwrap();
        heir.write_all(words.as_bytes()).await.unwrap();
        if words.contains("ready") {
            // the elder gives its table, and the agent has to wait
            let mut c = Client {
                stream: TcpStream::connect(rig.addr).await.unwrap(),
                read: Vec::new(),
            };
            assert_eq!(c.ask(ASK).await.body(), "ok", "it serves on meanwhile");
        }
        drop(heir);
        rig.connect_agent().await;
        rig.apply().await;
        assert_eq!(rig.get("/").await.body(), "ok");
    }
    let elder = rig.hand_over().await;
    assert_eq!(rig.get("/").await.body(), "ok");
    finishes(&elder).await;
    end(vec![elder]).await;
}

#[tokio::test]
async fn an_heir_that_cannot_start_leaves_the_elder_alone() {
    let mut rig = Rig::new(short()).await;
    let d = saying("ok").await;
    rig.running(&[(1, d.addr)]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(rig.dir.path(), short());
    config.listen.push(taken.local_addr().unwrap());
    config.take_over = true;
    let failed = tokio::task::spawn_blocking(|| hokku_router::start(config).err());
    let why = failed
        .await
        .unwrap()
        .expect("the port is taken")
        .to_string();
    assert!(why.contains("cannot be listened on"), "{why}");
    assert_eq!(rig.get("/").await.body(), "ok");
    rig.connect_agent().await;
}
