//! The WebSocket of `app run`: input, output, window size and signals of one one-off dyno.

use super::{
    ApiState,
    fault::{Fault, Result},
    link::To,
};
use crate::sys::shim::{FrameReceiver, FrameSender, ShimConn};
use axum::{
    extract::{
        Path, Query, State,
        ws::{
            CloseFrame, Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
        },
    },
    response::Response,
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use hokku_model::{
    DynoId,
    api::AttachMessage,
    dyno::Exit,
    shim::{Frame, MAX_FRAME},
};
use http::StatusCode;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// The largest message taken from a client.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// A ping is sent so often, so that a client that is gone without a word is found out.
const PING: Duration = Duration::from_secs(30);

/// The client has this long to read the end before the connection is closed.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
pub(super) struct Permission {
    #[serde(default)]
    secret: String,
}

pub(super) async fn open(
    State(state): State<ApiState>,
    Path((_app, dyno)): Path<(String, String)>,
    Query(permission): Query<Permission>,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let dyno: DynoId = dyno
        .parse()
        .map_err(|e| Fault::not_found("dyno", format!("{e}")))?;
    if state.links.unseal(&permission.secret)? != (To::Attach { dyno }) {
        return Err(Fault::not_found("dyno", "This link is for another dyno."));
    }
    let socket = socket.map_err(|_| {
        Fault::new(
            StatusCode::UPGRADE_REQUIRED,
            "To attach to a dyno, open this path as a WebSocket.",
        )
    })?;
    let dyno = state.control.attach(dyno).await.map_err(|e| {
        Fault::new(
            StatusCode::GONE,
            format!("Can't attach to this dyno: {e:#}."),
        )
    })?;
    let socket = socket
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| bridge(socket, dyno));
    Ok(socket)
}

/// Passes bytes both ways until the process ends or the client goes away; then the shim sees the connection closed.
/// Each side waits for the other: nothing is gathered here.
async fn bridge(socket: WebSocket, mut dyno: ShimConn) {
    let (mut to_client, from_client) = socket.split();
    if dyno.tx.send(&Frame::Attach).await.is_err() {
        end(&mut to_client, Exit::Lost).await;
        return;
    }
    carry(to_client, from_client, dyno).await;
}

/// The same for a connection to a process that runs already.
pub(super) async fn carry(
    mut to_client: SplitSink<WebSocket, Message>,
    mut from_client: SplitStream<WebSocket>,
    dyno: ShimConn,
) {
    let ShimConn { mut tx, rx, .. } = dyno;
    let told = tokio::select! {
        told = output(&mut to_client, rx) => told,
        () = input(&mut from_client, &mut tx) => false,
    };
    if !told {
        // an agent that is killed says nothing, and the client may attach again
        let _ = tx.send(&Frame::HangUp).await;
    }
    if told {
        // reads on until the client has closed, so that its own bytes on the way can't cut off the last message
        let close = async { while let Some(Ok(_)) = from_client.next().await {} };
        let _ = tokio::time::timeout(LAST_WORDS, close).await;
    }
}

/// Returns when the client is gone.
async fn input(from: &mut SplitStream<WebSocket>, to: &mut FrameSender) {
    while let Some(Ok(message)) = from.next().await {
        let frames = match message {
            Message::Binary(bytes) => bytes
                .chunks(MAX_FRAME)
                .map(|c| Frame::Stdin(c.to_vec()))
                .collect(),
            Message::Text(text) => match serde_json::from_str(text.as_str()) {
                Ok(AttachMessage::Resize { rows, cols }) => vec![Frame::Resize(rows, cols)],
                Ok(AttachMessage::StdinEof) => vec![Frame::StdinEof],
                Ok(AttachMessage::Signal { number }) if (1..=64).contains(&number) => {
                    vec![Frame::Signal(number)]
                }
                // newer clients may say more
                _ => vec![],
            },
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => vec![],
        };
        for frame in frames {
            if to.send(&frame).await.is_err() {
                // the process has ended; its last words are on their way
                return std::future::pending().await;
            }
        }
    }
}

/// Returns true when the end was told to the client.
async fn output(to: &mut SplitSink<WebSocket, Message>, mut from: FrameReceiver) -> bool {
    let mut ping = tokio::time::interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let message = tokio::select! {
            frame = from.recv() => match frame {
                Ok(Some(Frame::Stdout(bytes))) => tagged(1, &bytes),
                Ok(Some(Frame::Stderr(bytes))) => tagged(2, &bytes),
                Ok(Some(Frame::Exited(exit))) => return end(to, exit).await,
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => return end(to, Exit::Lost).await,
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if to.send(message).await.is_err() {
            return false;
        }
    }
}

fn tagged(kind: u8, bytes: &[u8]) -> Message {
    let mut out = BytesMut::with_capacity(bytes.len() + 1);
    out.put_u8(kind);
    out.put_slice(bytes);
    Message::Binary(out.freeze())
}

async fn end(to: &mut SplitSink<WebSocket, Message>, exit: Exit) -> bool {
    let last = AttachMessage::Exit {
        status: exit.status(),
        text: exit.to_string(),
    };
    let Ok(text) = serde_json::to_string(&last) else {
        return false;
    };
    let close = Message::Close(Some(CloseFrame {
        code: axum::extract::ws::close_code::NORMAL,
        reason: "".into(),
    }));
    to.send(Message::Text(text.into())).await.is_ok() && to.send(close).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::shim::{Found, connect};
    use axum::{Router, routing::any};
    use std::path::Path as FsPath;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, UnixListener, UnixStream},
        sync::mpsc,
    };
    use tokio_tungstenite::tungstenite::Message as Wire;

    type Client = tokio_tungstenite::WebSocketStream<
        tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>,
    >;

    /// A folder as a shim leaves it, with this process in the shim's place.
    async fn folder(dir: &FsPath) -> UnixListener {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let ticks = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .nth(19)
            .unwrap();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let who = hokku_model::shim::ShimPid {
            pid: std::process::id() as i32,
            start_ticks: ticks.parse().unwrap(),
            boot_id: boot.trim().into(),
        };
        let json = serde_json::to_vec(&who).unwrap();
        std::fs::write(dir.join("shim.json"), json).unwrap();
        UnixListener::bind(dir.join("ctl.sock")).unwrap()
    }

    /// A client and a shim with the bridge between them.
    async fn pair() -> (tempfile::TempDir, Client, UnixStream) {
        let dir = tempfile::tempdir().unwrap();
        let shim = folder(dir.path()).await;
        let Found::Alive(conn) = connect(dir.path()).await.unwrap() else {
            panic!("not found alive");
        };
        let (shim, _) = shim.accept().await.unwrap();
        let (tx, rx) = mpsc::channel(1);
        tx.send(conn).await.unwrap();
        let rx = std::sync::Arc::new(tokio::sync::Mutex::new(rx));
        let app = Router::new().route(
            "/",
            any(move |socket: WebSocketUpgrade| async move {
                let conn = rx.lock().await.recv().await.unwrap();
                socket
                    .max_message_size(MAX_MESSAGE)
                    .on_upgrade(move |s| bridge(s, conn))
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let (client, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        (dir, client, shim)
    }

    /// Frames as the shim's side reads them.
    async fn frame(shim: &mut UnixStream, buf: &mut Vec<u8>) -> Option<Frame> {
        loop {
            if let Some(f) = Frame::decode(buf).unwrap() {
                return Some(f);
            }
            if shim.read_buf(buf).await.unwrap() == 0 {
                return None;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bytes_pass_unchanged_and_the_exit_is_the_last_message() {
        let (_dir, mut client, mut shim) = pair().await;
        let mut buf = vec![];
        assert_eq!(frame(&mut shim, &mut buf).await, Some(Frame::Attach));
        let noise: Vec<u8> = (0..MAX_FRAME * 3 + 7)
            .map(|i| (i * 31 % 256) as u8)
            .collect();
        client
            .send(Wire::Binary(noise.clone().into()))
            .await
            .unwrap();
        let mut got = vec![];
        while got.len() < noise.len() {
            match frame(&mut shim, &mut buf).await {
                Some(Frame::Stdin(b)) => got.extend(b),
                f => panic!("{f:?}"),
            }
        }
        assert!(got == noise);
        for (text, wanted) in [
            (
                r#"{"is":"resize","rows":50,"cols":132}"#,
                Frame::Resize(50, 132),
            ),
            (r#"{"is":"signal","number":2}"#, Frame::Signal(2)),
            (r#"{"is":"stdin-eof"}"#, Frame::StdinEof),
        ] {
            // what can't be understood is passed over
            client
                .send(Wire::Text(r#"{"is":"signal","number":999}"#.into()))
                .await
                .unwrap();
            client.send(Wire::Text("x".into())).await.unwrap();
            client.send(Wire::Text(text.into())).await.unwrap();
            assert_eq!(frame(&mut shim, &mut buf).await, Some(wanted));
        }
        for f in [
            Frame::Stdout(b"\0\xff\r\n".to_vec()),
            Frame::Stderr(b"e".to_vec()),
            Frame::Exited(Exit::Code(3)),
        ] {
            shim.write_all(&f.encode()).await.unwrap();
        }
        let mut messages = vec![];
        while let Some(Ok(m)) = client.next().await {
            messages.push(m);
        }
        assert_eq!(messages[0], Wire::Binary(b"\x01\0\xff\r\n".to_vec().into()));
        assert_eq!(messages[1], Wire::Binary(b"\x02e".to_vec().into()));
        let exit = r#"{"is":"exit","status":3,"text":"exit status 3"}"#;
        assert_eq!(messages[2], Wire::Text(exit.into()));
        assert!(matches!(&messages[3..], [Wire::Close(_)]), "{messages:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_goes_away_is_a_hang_up_for_the_shim() {
        let (_dir, client, mut shim) = pair().await;
        let mut buf = vec![];
        assert_eq!(frame(&mut shim, &mut buf).await, Some(Frame::Attach));
        drop(client);
        assert_eq!(frame(&mut shim, &mut buf).await, Some(Frame::HangUp));
        assert_eq!(frame(&mut shim, &mut buf).await, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_shim_that_goes_away_is_told_as_lost() {
        let (_dir, mut client, shim) = pair().await;
        drop(shim);
        let Some(Ok(Wire::Text(text))) = client.next().await else {
            panic!("no end");
        };
        assert!(text.contains("\"status\":137"), "{text}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_does_not_read_stops_the_dyno_and_not_its_own_input() {
        let (_dir, mut client, mut shim) = pair().await;
        let mut buf = vec![];
        assert_eq!(frame(&mut shim, &mut buf).await, Some(Frame::Attach));
        let (mut from, mut to) = shim.split();
        let output = Frame::Stdout(vec![7; MAX_FRAME]).encode();
        let mut sent = 0usize;
        let stalled = loop {
            let write = to.write_all(&output);
            match tokio::time::timeout(std::time::Duration::from_millis(300), write).await {
                Ok(w) => w.unwrap(),
                Err(_) => break true,
            }
            sent += 1;
            if sent > 1000 {
                break false;
            }
        };
        assert!(stalled, "64 MB were gathered somewhere");
        client
            .send(Wire::Binary(b"in".to_vec().into()))
            .await
            .unwrap();
        let mut got = vec![];
        while got.len() < 7 {
            from.read_buf(&mut got).await.unwrap();
        }
        assert_eq!(
            Frame::decode(&mut got).unwrap(),
            Some(Frame::Stdin(b"in".to_vec()))
        );
    }
}
