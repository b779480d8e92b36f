//! A one-off dyno, or a command in a running one, on this terminal or on these pipes: bytes both ways over a WebSocket, and the exit status at the end.
//!
//! Binary messages carry stdin to the dyno and, with a first byte of 1 or 2, its stdout and stderr back; text messages are
//! [`AttachMessage`]s. Nothing is read from the socket that can't be written out, and nothing from stdin that can't be
//! sent, so memory stays bounded however much flows.

use crate::client::Client;
use crate::fail::{Fail, Result};
use crate::terminal;
use bytes::Bytes;
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use hokku_model::api::AttachMessage;
use reqwest::StatusCode;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

/// The most that is read from stdin at once, in bytes.
const CHUNK: usize = 64 << 10;
/// The largest message taken from the server, in bytes.
const LARGEST: usize = 16 << 20;
/// Messages under way in each direction.
const DEPTH: usize = 8;
/// Something is said this often, so that nothing between takes the connection for dead.
const PING: Duration = Duration::from_secs(25);
/// This many Ctrl-C within [`IMPATIENCE`], and no answer: the person wants to leave.
const CTRL_C: usize = 4;
const IMPATIENCE: Duration = Duration::from_secs(1);

/// An open connection to a dyno.
pub type Session = WebSocketStream<reqwest::Upgraded>;

/// Opens the connection at `address`.
///
/// # Errors
/// The server can't be reached, refused, or does not speak WebSocket there.
pub fn connect(client: &Client, address: &str) -> Result<Session> {
    client.wait(async {
        let key = generate_key();
        let request = client
            .follow(address)?
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", &key);
        let response = client.accept(client.deliver(request).await?).await?;
        let accepted = response.headers().get("sec-websocket-accept").and_then(|v| v.to_str().ok());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || accepted != Some(&derive_accept_key(key.as_bytes())) {
            return Err(Fail::new(format!(
                "{} did not open a connection to the dyno. Something between may not let WebSockets through.",
                client.server()
            )));
        }
        let stream = response.upgrade().await.map_err(|e| Fail::new(format!("The connection to the dyno broke: {e}.")))?;
        let limits = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(limits)).await)
    })
}

/// Says what is to be run in the dyno, and waits until it runs.
///
/// # Errors
/// It does not: the server says why.
pub fn order(
    client: &Client,
    session: &mut Session,
    dyno: &str,
    order: hokku_model::exec::ExecRequest,
) -> Result<()> {
    client.wait(async {
        let wanted = text(&AttachMessage::Exec { order });
        session
            .send(wanted)
            .await
            .map_err(|e| Fail::new(format!("The connection to {dyno} broke: {e}.")))?;
        loop {
            match session.next().await {
                Some(Ok(Message::Text(line))) => match serde_json::from_str(&line) {
                    Ok(AttachMessage::Started) => return Ok(()),
                    Ok(AttachMessage::Refused { text }) => {
                        return Err(Fail::refused(0, crate::output::clean(&text)));
                    }
                    _ => {}
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    let text =
                        format!("The connection to {dyno} was closed before the command ran.");
                    return Err(Fail::new(text));
                }
                Some(Ok(_)) => {}
            }
        }
    })
}

/// Passes the command's standard output to `take`, on a thread of its own, until it has ended: its exit status, and what
/// `take` gave. Standard error is shown; standard input is empty.
///
/// # Errors
/// As [`converse`].
pub fn fetch<T: Send + 'static>(
    client: &Client,
    session: Session,
    dyno: &str,
    take: impl FnOnce(Pieces) -> T + Send + 'static,
) -> Result<(i32, T)> {
    let (output, received) = channel::<(u8, Bytes)>(DEPTH);
    let taking = std::thread::spawn(move || {
        take(Pieces {
            received,
            piece: Bytes::new(),
        })
    });
    let (sent, input) = channel(1);
    drop(sent);
    let ended = client.wait(talk(session, dyno, false, input, output));
    let taken = taking
        .join()
        .map_err(|_| Fail::new("The output can't be taken."))?;
    let (status, _) = ended?;
    Ok((status, taken))
}

/// A command's standard output, to be read.
pub struct Pieces {
    received: Receiver<(u8, Bytes)>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.received.blocking_recv() {
                Some((1, data)) => self.piece = data,
                Some((_, data)) => {
                    let _ = io::stderr().write_all(&data);
                }
                None => return Ok(0),
            }
        }
        let n = buf.len().min(self.piece.len());
        buf[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        // what is not wanted any more still has to come through, or the command's end would not
        while let Some((stream, data)) = self.received.blocking_recv() {
            if stream == 2 {
                let _ = io::stderr().write_all(&data);
            }
        }
    }
}

/// Talks until the dyno ends; its exit status comes back. With `tty`, this terminal is the dyno's.
///
/// # Errors
/// The connection broke before the dyno said how it ended; somebody ended this program (128 plus the signal).
pub fn converse(client: &Client, session: Session, dyno: &str, tty: bool) -> Result<i32> {
    let raw = if tty {
        Some(terminal::Raw::enter()?)
    } else {
        None
    };
    let (output, written) = write_output();
    let ended = client.wait(async {
        let ended = talk(session, dyno, tty, read_stdin(), output).await;
        // What was received is out once the thread has ended. A person who leaves does not wait for a slow reader.
        let leaves = matches!(&ended, Err(e) if e.status > 128);
        if !leaves {
            let _ = tokio::task::spawn_blocking(move || written.join()).await;
        }
        ended
    });
    drop(raw);
    let (status, text) = ended?;
    // 130 and 143 are what the person did; the rest of the signals deserve a word.
    if tty && status > 128 && ![130, 143].contains(&status) && !text.is_empty() {
        crate::output::warning(&format!("{dyno}: {}", crate::output::clean(&text)));
    }
    Ok(status)
}

fn text(message: &AttachMessage) -> Message {
    Message::text(serde_json::to_string(message).unwrap_or_default())
}

fn lost(dyno: &str, why: &str) -> Fail {
    Fail::new(format!(
        "The connection to {dyno} was lost{why}; how it ended is not known.\nLook with: app ps, and app logs --dyno-name {dyno}"
    ))
}

async fn talk(
    session: Session,
    dyno: &str,
    tty: bool,
    mut input: Receiver<Bytes>,
    output: Sender<(u8, Bytes)>,
) -> Result<(i32, String)> {
    let (mut sink, stream) = session.split();
    let (orders, mut ordered) = channel::<Message>(DEPTH);
    let heard = Cell::new(0_u64);
    if tty {
        resize(&orders).await;
    }

    let sending = async {
        let mut open = true;
        let mut impatience = Impatience::default();
        loop {
            let message = tokio::select! {
                Some(order) = ordered.recv() => order,
                piece = input.recv(), if open => match piece {
                    Some(piece) if tty && impatience.grows(&piece, Instant::now(), heard.get()) => {
                        return Fail { status: 130, text: format!("Left {dyno}, which does not answer."), http: 0 };
                    }
                    Some(piece) => Message::Binary(piece),
                    None => {
                        open = false;
                        text(&AttachMessage::StdinEof)
                    }
                },
            };
            if let Err(e) = sink.send(message).await {
                // What the dyno said last may still be on its way; the receiving side knows better how this ended.
                tokio::time::sleep(Duration::from_secs(2)).await;
                return lost(dyno, &format!(" ({e})"));
            }
        }
    };
    let receiving = receive(stream, output, &heard, dyno);
    let watching = watch(&orders, tty);

    tokio::select! {
        ended = receiving => ended,
        fail = sending => Err(fail),
        signal = watching => {
            let text = format!("Stopped; {dyno} is hung up on.");
            Err(Fail { status: 128 + signal, text, http: 0 })
        }
    }
}

/// Passes output on until the dyno says how it ended.
async fn receive(
    mut stream: SplitStream<Session>,
    output: Sender<(u8, Bytes)>,
    heard: &Cell<u64>,
    dyno: &str,
) -> Result<(i32, String)> {
    loop {
        let message = match stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(e)) => return Err(lost(dyno, &format!(" ({e})"))),
            None => return Err(lost(dyno, "")),
        };
        match message {
            Message::Binary(data) => {
                heard.set(heard.get() + 1);
                if let Some(stream @ (1 | 2)) = data.first().copied()
                    && output.send((stream, data.slice(1..))).await.is_err()
                {
                    return Err(Fail::new("The output can't be written."));
                }
            }
            Message::Text(line) => {
                if let Ok(AttachMessage::Exit { status, text }) = serde_json::from_str(&line) {
                    return Ok((status, text));
                }
            }
            Message::Close(_) => return Err(lost(dyno, "")),
            _ => {}
        }
    }
}

async fn resize(orders: &Sender<Message>) {
    if let Some((rows, cols)) = terminal::size() {
        let _ = orders
            .send(text(&AttachMessage::Resize { rows, cols }))
            .await;
    }
}

/// Watches window and signals; ends with the signal that ends this program. Without a terminal, the first Ctrl-C and the
/// first TERM are the dyno's, the second ones are ours.
async fn watch(orders: &Sender<Message>, tty: bool) -> i32 {
    let open = |kind: SignalKind| signal(kind).ok();
    let (mut window, mut hangup) = (
        open(SignalKind::window_change()),
        open(SignalKind::hangup()),
    );
    let (mut interrupt, mut terminate, mut quit) = (
        open(SignalKind::interrupt()),
        open(SignalKind::terminate()),
        open(SignalKind::quit()),
    );
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
    let mut passed_on = [false; 32];
    loop {
        let number = tokio::select! {
            () = next(&mut window) => {
                if tty {
                    resize(orders).await;
                }
                continue;
            }
            _ = ping.tick() => {
                let _ = orders.try_send(Message::Ping(Bytes::new()));
                continue;
            }
            () = next(&mut hangup) => return libc::SIGHUP,
            () = next(&mut interrupt) => libc::SIGINT,
            () = next(&mut terminate) => libc::SIGTERM,
            () = next(&mut quit) => libc::SIGQUIT,
        };
        let again = std::mem::replace(&mut passed_on[number as usize & 31], true);
        if tty
            || again
            || orders
                .try_send(text(&AttachMessage::Signal { number }))
                .is_err()
        {
            return number;
        }
    }
}

async fn next(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Tells when somebody presses Ctrl-C again and again, and nothing comes back.
#[derive(Default)]
struct Impatience {
    pressed: Vec<Instant>,
    heard: u64,
}

impl Impatience {
    fn grows(&mut self, piece: &[u8], now: Instant, heard: u64) -> bool {
        if heard != self.heard {
            self.pressed.clear();
            self.heard = heard;
        }
        self.pressed.retain(|t| now.duration_since(*t) < IMPATIENCE);
        self.pressed
            .extend(piece.iter().filter(|b| **b == 0x03).map(|_| now));
        self.pressed.len() >= CTRL_C
    }
}

/// A thread of its own reads stdin: a read can't be called off, and must not hold up the end of the program.
fn read_stdin() -> Receiver<Bytes> {
    let (pieces, received) = channel(DEPTH);
    let reader = move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(n)
                    if pieces
                        .blocking_send(Bytes::copy_from_slice(&buffer[..n]))
                        .is_ok() => {}
                Ok(_) => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    // Without the thread the channel is closed, which is an empty stdin.
    let _ = std::thread::Builder::new()
        .name("stdin".into())
        .spawn(reader);
    received
}

/// A thread of its own writes, so that a slow reader here stops neither signals nor stdin.
fn write_output() -> (Sender<(u8, Bytes)>, std::thread::JoinHandle<()>) {
    let (pieces, mut received) = channel::<(u8, Bytes)>(DEPTH);
    let thread = std::thread::spawn(move || {
        while let Some((stream, data)) = received.blocking_recv() {
            match stream {
                1 => crate::output::bytes(&data),
                _ => {
                    let _ = io::stderr().write_all(&data);
                }
            }
        }
    });
    (pieces, thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impatience_needs_silence() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut i = Impatience::default();
        assert!(!i.grows(b"\x03\x03", at(0), 0));
        assert!(!i.grows(b"x\x03", at(100), 0));
        assert!(i.grows(b"\x03", at(200), 0));
        let mut answered = Impatience::default();
        assert!(!answered.grows(b"\x03\x03\x03", at(0), 0));
        assert!(!answered.grows(b"\x03", at(100), 1), "something came back");
        let mut slow = Impatience::default();
        for ms in [0, 600, 1200, 1800, 2400] {
            assert!(!slow.grows(b"\x03", at(ms), 0));
        }
    }
}
