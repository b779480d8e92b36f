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
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
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
const MAX_MESSAGE: usize = 1 << 20;

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
    let dyno = state
        .control
        .attach(dyno)
        .await
        .map_err(|e| Fault::new(StatusCode::GONE, format!("Can't attach to this dyno: {e:#}.")))?;
    let socket = socket
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| bridge(socket, dyno));
    Ok(socket)
}

/// Passes bytes both ways until the process ends or the client goes away; then the shim sees the connection closed.
/// Each side waits for the other: nothing is gathered here.
async fn bridge(socket: WebSocket, dyno: ShimConn) {
    let ShimConn { mut tx, rx, .. } = dyno;
    let (mut to_client, mut from_client) = socket.split();
    if tx.send(&Frame::Attach).await.is_err() {
        end(&mut to_client, Exit::Lost).await;
        return;
    }
    let told = tokio::select! {
        told = output(&mut to_client, rx) => told,
        () = input(&mut from_client, tx) => false,
    };
    if told {
        // reads on until the client has closed, so that its own bytes on the way can't cut off the last message
        let close = async { while let Some(Ok(_)) = from_client.next().await {} };
        let _ = tokio::time::timeout(LAST_WORDS, close).await;
    }
}

/// Returns when the client is gone.
async fn input(from: &mut SplitStream<WebSocket>, mut to: FrameSender) {
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
