//! Tunnels: a connection that switched protocols, passed on byte by byte in both directions until it ends or is ended.
//!
//! Buffers are held only for bytes that the other side does not take yet: a silent tunnel holds none.

use crate::body::Down;
use crate::flight::{Flight, Phase, Ticket, Verdict};
use crate::headers;
use crate::pool::AppIo;
use crate::websocket::{CLOSE_TO_APP, CLOSE_TO_CLIENT, Frames};
use crate::wire::{ClientIo, Io};
use bytes::Bytes;
use hokku_model::code;
use http::{Response, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes moved per read.
const PIECE: usize = 64 * 1024;
/// Reads per turn of one direction, so that a busy tunnel does not starve the thread.
const TURNS: u32 = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// Passes the app's 101 on and runs the tunnel that begins with it.
pub(crate) fn switch(
    mut response: Response<Incoming>,
    mut ticket: Ticket,
    on_client: OnUpgrade,
) -> Response<Down> {
    let on_app = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    ticket.status(parts.status.as_u16());
    let protocol = parts.headers.get(header::UPGRADE);
    let websocket = protocol.is_some_and(|p| p.as_bytes().eq_ignore_ascii_case(b"websocket"));
    headers::prepare_response(&mut parts.headers, true);
    parts.version = Version::HTTP_11;
    ticket.flight.enter(Phase::Tunnel);
    ticket.flight.wire.set_free();
    tokio::task::spawn_local(run(ticket, on_client, on_app, websocket));
    Response::from_parts(parts, Down::empty())
}

async fn run(mut ticket: Ticket, on_client: OnUpgrade, on_app: OnUpgrade, websocket: bool) {
    let flight = ticket.flight.clone();
    let both = async { Ok::<_, hyper::Error>((on_client.await?, on_app.await?)) };
    let Ok(Ok((client, app))) = flight.until(both).await else {
        return;
    };
    let (Some((mut client, from_client)), Some((mut app, from_app))) =
        (open::<ClientIo>(client), open::<AppIo>(app))
    else {
        return ticket.fail(code::H99);
    };
    keep_alive(client.stream.socket());
    let mut down = Direction::new(from_app, websocket, CLOSE_TO_CLIENT);
    let mut up = Direction::new(from_client, websocket, CLOSE_TO_APP);
    let end = poll_fn(|cx| {
        poll_tunnel(
            cx,
            &flight,
            (&mut client.stream, &mut up),
            (&mut app.stream, &mut down),
        )
    })
    .await;
    ticket.add_bytes(usize::try_from(down.passed).unwrap_or(usize::MAX));
    match end {
        End::Done => ticket.conclude(),
        End::Client => ticket.fail(code::H27),
        End::App => ticket.fail(code::H18),
        End::Verdict(v) => ticket.fail(v.code()),
    }
}

fn open<T>(upgraded: Upgraded) -> Option<(T, Bytes)>
where
    TokioIo<T>: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let parts = upgraded.downcast::<TokioIo<T>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

/// Tunnels may be silent for hours: let the kernel find out when the client's machine is gone.
fn keep_alive(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    // without them a dead client is only found when something is sent
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &60);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &15);
}

/// How a tunnel ended.
enum End {
    Done,
    Client,
    App,
    Verdict(Verdict),
}

/// One direction's state.
struct Direction {
    /// Bytes the reader has not taken yet.
    pending: Vec<u8>,
    frames: Option<Frames>,
    close_frame: &'static [u8],
    /// Our close frame was put in; what else comes is thrown away.
    muted: bool,
    ended: bool,
    shut: bool,
    passed: u64,
}

impl Direction {
    fn new(first: Bytes, websocket: bool, close_frame: &'static [u8]) -> Direction {
        let mut frames = websocket.then(Frames::default);
        if let Some(f) = &mut frames {
            f.pass(&first);
        }
        let passed = first.len() as u64;
        Direction {
            pending: first.into(),
            frames,
            close_frame,
            muted: false,
            ended: false,
            shut: false,
            passed,
        }
    }

    /// Ends the direction politely, as soon as it can be understood by the reader.
    fn say_goodbye(&mut self) {
        if self.muted || self.ended {
            return;
        }
        match &self.frames {
            Some(f) if f.has_closed() => {}
            Some(f) if f.at_boundary() => {
                self.pending.extend_from_slice(self.close_frame);
                self.muted = true;
            }
            Some(_) => {}
            None => self.ended = true,
        }
    }

    fn has_closed(&self) -> bool {
        self.ended || self.frames.as_ref().is_some_and(Frames::has_closed)
    }

    fn is_finished(&self) -> bool {
        self.ended && self.pending.is_empty() && self.shut
    }
}

/// Which socket failed.
enum Failed {
    Reading,
    Writing,
}

fn poll_tunnel(
    cx: &mut Context<'_>,
    flight: &Flight,
    (client, up): (&mut Io, &mut Direction),
    (app, down): (&mut TcpStream, &mut Direction),
) -> Poll<End> {
    if let Some(verdict) = flight.verdict() {
        return Poll::Ready(End::Verdict(verdict));
    }
    flight.wake_here(cx);
    let before = up.passed + down.passed;
    let mut again = false;
    for _ in 0..2 {
        if flight.is_closing() {
            up.say_goodbye();
            down.say_goodbye();
        }
        match poll_direction(cx, client, app, up) {
            Ok(more) => again |= more,
            Err(Failed::Reading) => return Poll::Ready(End::Client),
            Err(Failed::Writing) => return Poll::Ready(End::App),
        }
        match poll_direction(cx, app, client, down) {
            Ok(more) => again |= more,
            Err(Failed::Reading) => return Poll::Ready(End::App),
            Err(Failed::Writing) => return Poll::Ready(End::Client),
        }
        if !flight.is_closing() {
            break;
        }
    }
    if up.passed + down.passed > before {
        flight.touch();
    }
    // WebSockets know no half-closed state
    let hung_up = up.frames.is_some() && (up.is_finished() || down.is_finished());
    let parted = flight.is_closing()
        && down.pending.is_empty()
        && up.has_closed()
        && (down.muted || down.has_closed());
    if parted || hung_up || (up.is_finished() && down.is_finished()) {
        return Poll::Ready(End::Done);
    }
    if again {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// Moves what can be moved; true when there may be more at once.
fn poll_direction(
    cx: &mut Context<'_>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    d: &mut Direction,
) -> Result<bool, Failed> {
    let (mut from, mut to) = (Pin::new(from), Pin::new(to));
    for _ in 0..TURNS {
        while !d.pending.is_empty() {
            match to.as_mut().poll_write(cx, &d.pending) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(n)) if n > 0 => drop(d.pending.drain(..n)),
                Poll::Ready(_) => return Err(Failed::Writing),
            }
        }
        d.pending = Vec::new();
        // TLS may hold bytes that the socket did not take
        match to.as_mut().poll_flush(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(_)) => return Err(Failed::Writing),
            Poll::Ready(Ok(())) => {}
        }
        if d.ended {
            // an error means that the other side has closed already
            d.shut = d.shut || to.as_mut().poll_shutdown(cx).is_ready();
            return Ok(false);
        }
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let mut piece = ReadBuf::new(scratch);
            match from.as_mut().poll_read(cx, &mut piece) {
                Poll::Pending => Ok(false),
                Poll::Ready(Err(_)) => Err(Failed::Reading),
                Poll::Ready(Ok(())) if piece.filled().is_empty() => {
                    d.ended = true;
                    Ok(true)
                }
                Poll::Ready(Ok(())) => d.pass(cx, piece.filled(), to.as_mut()).map(|()| true),
            }
        });
        if !read? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Direction {
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: Pin<&mut impl AsyncWrite>,
    ) -> Result<(), Failed> {
        if let Some(f) = &mut self.frames {
            f.pass(bytes);
        }
        if self.muted {
            return Ok(());
        }
        self.passed += bytes.len() as u64;
        let written = match to.poll_write(cx, bytes) {
            Poll::Ready(Ok(n)) => n,
            Poll::Pending => 0,
            Poll::Ready(Err(_)) => return Err(Failed::Writing),
        };
        self.pending.extend_from_slice(&bytes[written..]);
        Ok(())
    }
}
