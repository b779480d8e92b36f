//! Tunnels: a connection that switched protocols, passed on byte by byte in both directions until it ends or is ended.
//!
//! Buffers are held only for bytes that the other side does not take yet: a silent tunnel holds none.

use crate::app::h1::Lease;
use crate::buffers::Buf;
use crate::client::Conn;
use crate::clock;
use crate::flight::{Flight, Phase, Ticket, Verdict};
use crate::io::Io;
use crate::websocket::{CLOSE_TO_APP, CLOSE_TO_CLIENT, Frames};
use crate::wire::State;
use hokku_model::code;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::IoSlice;
use std::task::{Context, Poll};

/// Bytes moved per read.
const PIECE: usize = 64 * 1024;
/// Reads per turn of one direction, so that a busy tunnel does not starve the thread.
const TURNS: u32 = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// A request whose protocol was switched.
pub(crate) struct Tunnel {
    ticket: Ticket,
    app: Lease,
    down: Direction,
    websocket: bool,
}

impl Tunnel {
    /// `early`: what the app sent after its 101.
    pub fn new(ticket: Ticket, app: Lease, early: Buf, websocket: bool) -> Tunnel {
        ticket.flight.enter(Phase::Tunnel);
        Tunnel {
            ticket,
            app,
            down: Direction::new(early.data(), websocket, CLOSE_TO_CLIENT),
            websocket,
        }
    }

    /// Runs until it ends or is ended.
    pub async fn run(self: Box<Self>, mut client: Conn) {
        let Tunnel {
            mut ticket,
            app,
            mut down,
            websocket,
        } = *self;
        client.wire.enter(State::Free, clock::ms());
        let mut up = Direction::new(client.buf.data(), websocket, CLOSE_TO_APP);
        client.buf = Buf::default();
        keep_alive(&client.io);
        let flight = ticket.flight.clone();
        let end =
            poll_fn(|cx| poll_tunnel(cx, &flight, (&client.io, &mut up), (&app.io, &mut down)))
                .await;
        ticket.add_bytes(usize::try_from(down.passed).unwrap_or(usize::MAX));
        match end {
            End::Done => ticket.conclude(),
            End::Client => ticket.fail(code::H27),
            End::App => ticket.fail(code::H18),
            End::Verdict(v) => ticket.fail(v.code()),
        }
    }
}

/// Tunnels may be silent for hours: let the kernel find out when the client's machine is gone.
fn keep_alive(io: &Io) {
    use nix::sys::socket::{setsockopt, sockopt};
    use std::os::fd::BorrowedFd;
    // SAFETY: the socket is open as long as `io` lives, which outlives this call
    let socket = unsafe { BorrowedFd::borrow_raw(io.fd()) };
    // without them a dead client is only found when something is sent
    let _ = setsockopt(&socket, sockopt::KeepAlive, &true);
    let _ = setsockopt(&socket, sockopt::TcpKeepIdle, &60);
    let _ = setsockopt(&socket, sockopt::TcpKeepInterval, &15);
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
    fn new(first: &[u8], websocket: bool, close_frame: &'static [u8]) -> Direction {
        let mut frames = websocket.then(Frames::default);
        if let Some(f) = &mut frames {
            f.pass(first);
        }
        let passed = first.len() as u64;
        Direction {
            pending: first.to_vec(),
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
    (client, up): (&Io, &mut Direction),
    (app, down): (&Io, &mut Direction),
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
    from: &Io,
    to: &Io,
    d: &mut Direction,
) -> Result<bool, Failed> {
    for _ in 0..TURNS {
        while !d.pending.is_empty() {
            match to.poll_write(cx, &[IoSlice::new(&d.pending)]) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(_)) => return Err(Failed::Writing),
                Poll::Ready(Ok(n)) => drop(d.pending.drain(..n)),
            }
        }
        d.pending = Vec::new();
        match to.poll_flush(cx) {
            Poll::Ready(Ok(())) | Poll::Pending => {}
            Poll::Ready(Err(_)) => return Err(Failed::Writing),
        }
        if d.ended {
            if !d.shut {
                // an error means that the other side has closed already
                d.shut = to.poll_shutdown(cx).is_ready();
            }
            return Ok(false);
        }
        match from.poll_readable(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(_)) => return Err(Failed::Reading),
            Poll::Ready(Ok(())) => {}
        }
        let more = SCRATCH.with_borrow_mut(|scratch| match from.poll_read(cx, scratch) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => {
                d.ended = true;
                Ok(true)
            }
            Poll::Ready(Ok(n)) => d.pass(cx, &scratch[..n], to).map(|()| true),
            Poll::Ready(Err(_)) => Err(Failed::Reading),
        })?;
        if !more {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Direction {
    fn pass(&mut self, cx: &mut Context<'_>, bytes: &[u8], to: &Io) -> Result<(), Failed> {
        if let Some(f) = &mut self.frames {
            f.pass(bytes);
        }
        if self.muted {
            return Ok(());
        }
        self.passed += bytes.len() as u64;
        let written = match to.poll_write(cx, &[IoSlice::new(bytes)]) {
            Poll::Ready(Ok(n)) => n,
            Poll::Pending => 0,
            Poll::Ready(Err(_)) => return Err(Failed::Writing),
        };
        self.pending.extend_from_slice(&bytes[written..]);
        Ok(())
    }
}
