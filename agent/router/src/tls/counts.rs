//! How handshakes ended. Counted, because scanners fail by the thousand and a line each would bury the log.

use rustls::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Handshakes since the router's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsCounts {
    /// With a new session.
    pub full: u64,
    /// With a session that the client had kept.
    pub resumed: u64,
    /// Failed ones by cause, in the words of [`TlsCounts::CAUSES`].
    pub failed: [u64; 9],
}

impl TlsCounts {
    /// Causes of failures, as labels: `timeout` (handshake not done in time), `left` (the client closed), `plain` (HTTP
    /// without TLS, answered with a page), `not-tls` (something else), `rejected` (the client's alert, most often because
    /// it does not trust the certificate), `incompatible` (no common version, suite or key exchange), `protocol` (no
    /// common ALPN protocol), `no-challenge` (`acme-tls/1` for a name without a challenge), `malformed`.
    pub const CAUSES: [&str; 9] = [
        "timeout",
        "left",
        "plain",
        "not-tls",
        "rejected",
        "incompatible",
        "protocol",
        "no-challenge",
        "malformed",
    ];
}

/// Why there is no connection; the order is that of [`TlsCounts::CAUSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Timeout,
    Left,
    Plain,
    NotTls,
    Rejected,
    Incompatible,
    Protocol,
    NoChallenge,
    Malformed,
}

impl Cause {
    pub(super) fn of(error: &io::Error) -> Cause {
        match error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
            None => Cause::Left,
            Some(Error::AlertReceived(_)) => Cause::Rejected,
            Some(Error::PeerIncompatible(_)) => Cause::Incompatible,
            Some(Error::NoApplicationProtocol) => Cause::Protocol,
            // the resolver has a certificate for everybody else
            Some(Error::General(_)) => Cause::NoChallenge,
            Some(_) => Cause::Malformed,
        }
    }
}

#[derive(Default)]
pub(super) struct Counts {
    full: AtomicU64,
    resumed: AtomicU64,
    failed: [AtomicU64; 9],
}

impl Counts {
    pub fn done(&self, resumed: bool) {
        let count = if resumed { &self.resumed } else { &self.full };
        count.fetch_add(1, Relaxed);
    }

    pub fn failed(&self, cause: Cause) -> Cause {
        self.failed[cause as usize].fetch_add(1, Relaxed);
        cause
    }

    pub fn read(&self) -> TlsCounts {
        TlsCounts {
            full: self.full.load(Relaxed),
            resumed: self.resumed.load(Relaxed),
            failed: std::array::from_fn(|i| self.failed[i].load(Relaxed)),
        }
    }
}
