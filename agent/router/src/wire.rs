//! What is known about a client connection by the thread's sweep, and by all requests on it.

use crate::clock;
use crate::config::Limits;
use crate::tls::Handshake;
use nix::sys::socket::{Shutdown, shutdown};
use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a client connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Between requests.
    Idle,
    /// A head has begun.
    Head,
    /// A request runs: it has deadlines of its own.
    Busy,
    /// The answer is out, and the client still sends.
    Linger,
    /// HTTP/2, or a tunnel: no limit of this list applies.
    Free,
}

/// One client connection.
pub(crate) struct Wire {
    fd: Cell<RawFd>,
    state: Cell<State>,
    since: Cell<u64>,
    /// The client, or what a trusted proxy says about it.
    pub peer: SocketAddr,
    pub peer_text: String,
    /// What `X-Forwarded-Port` says when no trusted peer knows better.
    pub port: u16,
    /// How TLS was agreed on, where it ends here.
    pub tls: Option<Handshake>,
}

impl Wire {
    /// `peer` is the client as a PROXY header tells it, or else who connected; `port` where it connected to.
    pub fn new(fd: RawFd, peer: SocketAddr, port: u16, tls: Option<Handshake>) -> Rc<Wire> {
        Rc::new(Wire {
            fd: Cell::new(fd),
            state: Cell::new(State::Idle),
            since: Cell::new(clock::ms()),
            peer,
            peer_text: peer.ip().to_canonical().to_string(),
            port,
            tls,
        })
    }

    /// Begins another state at this time.
    pub fn enter(&self, state: State, now: u64) {
        self.state.set(state);
        self.since.set(now);
    }

    pub fn is_idle(&self) -> bool {
        self.state.get() == State::Idle
    }

    /// The socket is about to be closed.
    pub fn forget(&self) {
        self.fd.set(-1);
    }

    /// Is the connection silent for longer than its state allows?
    pub fn is_overdue(&self, now: u64, limits: &Limits) -> bool {
        let limit = match self.state.get() {
            State::Idle => limits.keep_alive,
            State::Head => limits.head,
            State::Linger => limits.close_grace,
            State::Busy | State::Free => return false,
        };
        u128::from(now.saturating_sub(self.since.get())) > limit.as_millis()
    }

    /// Ends the connection: pending reads and writes return at once.
    pub fn shut(&self) {
        self.shut_as(Shutdown::Both);
    }

    /// Takes no more requests: what has arrived is still read, and answered.
    pub fn shut_reading(&self) {
        self.shut_as(Shutdown::Read);
    }

    fn shut_as(&self, how: Shutdown) {
        let fd = self.fd.get();
        if fd >= 0 {
            // an error means that the peer was faster
            let _ = shutdown(fd, how);
        }
    }
}

/// Counts one connection of a thread as long as it lives.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
