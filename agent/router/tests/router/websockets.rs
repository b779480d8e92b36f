//! WebSockets and other upgrades through the router.

use crate::rig::*;
use futures_util::{SinkExt, StreamExt};
use hokku_model::DynoId;
use hokku_model::route::RouterReport;
use hokku_router::Limits;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

/// Sends every message back.
async fn echo() -> Dyno {
    dyno(|c, _| async move {
        let Ok(mut ws) = accept_async(c.stream).await else {
            return;
        };
        while let Some(Ok(m)) = ws.next().await {
            if (m.is_text() || m.is_binary()) && ws.send(m).await.is_err() {
                return;
            }
        }
    })
    .await
}

async fn open(rig: &Rig) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(rig.addr).await.unwrap();
    client_async("ws://a.test/socket", stream).await.unwrap().0
}

async fn next(
    ws: &mut WebSocketStream<TcpStream>,
) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
    tokio::time::timeout(PATIENCE, ws.next())
        .await
        .expect("a message in time")
}

#[tokio::test]
async fn messages_of_all_sizes_pass_both_ways() {
    let mut rig = Rig::new(short()).await;
    let d = echo().await;
    rig.running(&[(1, d.addr)]).await;
    let mut ws = open(&rig).await;
    for size in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
        ws.send(Message::binary(vec![7; size])).await.unwrap();
        assert_eq!(
            next(&mut ws).await.unwrap().unwrap().into_data().len(),
            size
        );
    }
    ws.close(None).await.unwrap();
    while next(&mut ws).await.is_some_and(|m| m.is_ok()) {}
    let line = rig.log_line(Some(APP), &["path=\"/socket\""]).await;
    assert!(
        line.contains("at=info method=GET") && line.contains(" status=101 "),
        "{line}"
    );
}

#[tokio::test]
async fn a_silent_socket_outlives_the_idle_limits() {
    let limits = Limits {
        first_byte: ms(60),
        idle: ms(60),
        keep_alive: ms(60),
        head: ms(60),
        boot: ms(60),
        ..short()
    };
    let mut rig = Rig::new(limits).await;
    let d = echo().await;
    rig.running(&[(1, d.addr)]).await;
    let mut ws = open(&rig).await;
    tokio::time::sleep(ms(400)).await;
    ws.send(Message::text("still there?")).await.unwrap();
    assert_eq!(
        next(&mut ws)
            .await
            .unwrap()
            .unwrap()
            .into_text()
            .unwrap()
            .as_str(),
        "still there?"
    );
}

#[tokio::test]
async fn other_protocols_and_half_closed_tunnels() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|mut c, _| async move {
        let r = c.head().await.unwrap();
        assert_eq!((r.header("upgrade").unwrap().as_str(), r.header("connection").unwrap().as_str()), ("thing/1", "upgrade"));
        // with the first bytes of the new protocol in the same piece
        c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: thing/1\r\n\r\nhello").await;
        assert_eq!(c.exactly(8).await.unwrap(), b"earlybye");
        assert!(c.is_closed().await);
        c.send("after the end").await;
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    c.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: thing/1\r\n\r\nearly").await;
    let r = c.head().await.unwrap();
    assert_eq!(
        (r.status, r.header("upgrade").unwrap().as_str()),
        (101, "thing/1")
    );
    assert_eq!(c.exactly(5).await.unwrap(), b"hello");
    c.send("bye").await;
    tokio::io::AsyncWriteExt::shutdown(&mut c.stream)
        .await
        .unwrap();
    assert_eq!(c.exactly(13).await.unwrap(), b"after the end");
    assert!(c.is_closed().await);
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let mut rig = Rig::new(short()).await;
    let d = saying("no sockets here").await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let r = c
        .ask("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!((r.status, r.body()), (200, "no sockets here".into()));
    assert_eq!(
        c.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.status,
        200,
        "the connection goes on"
    );
}

#[tokio::test]
async fn sockets_stay_on_the_old_dyno_until_the_deadline_and_get_a_close_frame() {
    let mut rig = Rig::new(short()).await;
    let (old, new) = (echo().await, saying("new").await);
    rig.running(&[(1, old.addr)]).await;
    let mut sockets = vec![open(&rig).await, open(&rig).await, open(&rig).await];
    rig.running(&[(2, new.addr)]).await;
    assert_eq!(rig.get("/").await.body(), "new");
    let begun = std::time::Instant::now();
    rig.drain(1, ms(300)).await;
    for ws in &mut sockets {
        ws.send(Message::text("on the old one")).await.unwrap();
        assert_eq!(
            next(ws)
                .await
                .unwrap()
                .unwrap()
                .into_text()
                .unwrap()
                .as_str(),
            "on the old one"
        );
    }
    for ws in &mut sockets {
        match next(ws).await.unwrap().unwrap() {
            Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Away),
            other => panic!("expected a close frame, got {other:?}"),
        }
        assert!(begun.elapsed() >= ms(300), "not before the deadline");
        while next(ws).await.is_some_and(|m| m.is_ok()) {}
    }
    assert_eq!(
        rig.report().await,
        RouterReport::Drained { dyno: DynoId(1) }
    );
    rig.log_line(Some(APP), &["path=\"/socket\"", "at=info", " status=101 "])
        .await;
}

#[tokio::test]
async fn a_socket_that_ignores_the_close_frame_is_cut() {
    let mut rig = Rig::new(short()).await;
    let d = dyno(|c, _| async move {
        let mut ws = accept_async(c.stream).await.unwrap();
        // half a frame: no close frame can be put in
        use tokio::io::AsyncWriteExt;
        ws.get_mut()
            .write_all(&[0x82, 126, 0x40, 0, 1, 2, 3])
            .await
            .unwrap();
        while let Some(Ok(_)) = ws.next().await {}
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let mut ws = open(&rig).await;
    rig.running(&[]).await;
    rig.drain(1, ms(50)).await;
    assert_eq!(
        rig.report().await,
        RouterReport::Drained { dyno: DynoId(1) }
    );
    assert!(
        !matches!(next(&mut ws).await, Some(Ok(Message::Close(_)))),
        "not in the middle of a frame"
    );
}

#[tokio::test]
async fn the_router_says_goodbye_when_it_stops() {
    let mut rig = Rig::new(short()).await;
    let d = echo().await;
    rig.running(&[(1, d.addr)]).await;
    let mut ws = open(&rig).await;
    let (m, ()) = tokio::join!(next(&mut ws), rig.stop());
    match m.unwrap().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("expected a close frame, got {other:?}"),
    }
}
