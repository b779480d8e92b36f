//! The side of the apps: connections to dynos, HTTP/1.1 by our own codec (`h1`) or HTTP/2 without TLS (`h2c`).
//!
//! What it does: connects (`dial`), and hears an answer's head. What it never does: choose a dyno, or decide what the client gets.
//! Who calls it: `exchange` and `pool`. Tests: `tests/router/{retry,h2c,limits,unix}.rs`.

pub(crate) mod dial;
pub(crate) mod h1;
pub(crate) mod h2c;

use crate::http1::head::Head;
use crate::http1::scan::Fault;
use crate::source::Source;
use nix::sys::socket::{Shutdown, shutdown};
use std::cell::Cell;
use std::os::fd::RawFd;

/// What is left of a connection to a dyno for those who may have to end it.
pub(crate) struct AppWire(Cell<RawFd>);

impl AppWire {
    pub fn new(fd: RawFd) -> AppWire {
        AppWire(Cell::new(fd))
    }

    /// Ends the connection: pending reads and writes return at once.
    pub fn shut(&self) {
        let fd = self.0.get();
        if fd >= 0 {
            // an error means that the app was faster
            let _ = shutdown(fd, Shutdown::Both);
        }
    }

    /// The socket is about to be closed.
    pub fn forget(&self) {
        self.0.set(-1);
    }
}

/// An answer whose head is here.
pub(crate) struct Heard<'l> {
    pub head: Head,
    pub body: Source<'l>,
    /// How long the body is, where that is known.
    pub length: Option<u64>,
    /// Can the connection be used again after it?
    pub reusable: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The connection ended before its first byte.
    Silence,
    /// It ended in the middle of the head.
    Torn,
    /// What came is no answer, or not one that everybody reads alike.
    Malformed(Fault),
    /// The app has not even seen the request.
    Unseen,
}
