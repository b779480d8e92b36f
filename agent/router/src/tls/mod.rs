//! TLS towards the client: certificates, handshakes, and what is known about a connection afterwards.
//!
//! `cert` reads and checks one certificate, `shelf` holds all of them by name and is replaced as a whole, `server` makes
//! the configuration that every thread shares, `accept` runs one handshake. Private keys are here and in `certs.json`
//! (mode 0600), nowhere else. What it never does: fetch certificates, or read HTTP. Called by `conn` (a handshake per
//! connection) and `control` (new certificates). Tests: beside the code, and with real clients in `tests/router/tls`.
//!
//! A client that names no host, or one that no certificate is for, gets the certificate that is named `*`; when there is
//! none, one that the router signed itself at its start. So it sees a certificate with a speaking name and not a
//! connection that breaks.

mod accept;
mod cert;
mod counts;
mod server;
mod shelf;
#[cfg(test)]
mod tests;

pub(crate) use accept::{Alpn, Handshake, accept};
pub use counts::TlsCounts;

use arc_swap::ArcSwap;
use counts::Counts;
use hokku_model::route::CertTable;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use shelf::Shelf;
use std::sync::{Arc, Mutex, PoisonError};

/// Everything that handshakes need, shared by all threads.
pub(crate) struct Tls {
    shelf: Arc<ArcSwap<Shelf>>,
    provider: Arc<CryptoProvider>,
    config: Arc<ServerConfig>,
    counts: Counts,
    /// Held while certificates are read; new ones are read one table after the other.
    taking: Mutex<()>,
}

/// What became of a table of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The version in force now.
    pub version: u64,
    /// Certificates of it that can't be used: names and reason.
    pub refused: Vec<String>,
    /// Was the table newer than the one before?
    pub fresh: bool,
}

impl Tls {
    /// Ready for handshakes, with no certificate but the self-signed one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new() -> anyhow::Result<Tls> {
        let provider = Arc::new(server::provider());
        let own = cert::self_signed(&provider)?;
        let shelf = Arc::new(ArcSwap::from_pointee(Shelf::empty(Arc::new(own))));
        let config = server::config(provider.clone(), shelf.clone())?;
        Ok(Tls {
            shelf,
            provider,
            config: Arc::new(config),
            counts: Counts::default(),
            taking: Mutex::new(()),
        })
    }

    /// Takes a table if it is newer: new handshakes use it from now on, connections go on. Unchanged certificates are
    /// not read again. Blocks for as long as reading takes (some 100 us a certificate).
    pub fn take(&self, table: &CertTable) -> Taken {
        let _one = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.shelf.load_full();
        if table.version <= old.version {
            return Taken {
                version: old.version,
                refused: old.refused.clone(),
                fresh: false,
            };
        }
        let now = jiff::Timestamp::now().as_second();
        let next = Shelf::build(table, &old, now, &self.provider);
        let refused = next.refused.clone();
        self.shelf.store(Arc::new(next));
        Taken {
            version: table.version,
            refused,
            fresh: true,
        }
    }

    /// Did a request come on the wrong connection? So it is when its host differs from the one that the connection was
    /// opened for (`sni`) and the certificate shown there is not for that host either. The answer then is 421 (RFC 9110,
    /// section 15.5.20): clients join HTTP/2 connections of hosts that share a certificate and an address. Both names in
    /// lower case, `host` without port.
    pub fn is_misdirected(&self, sni: Option<&str>, host: &str) -> bool {
        match sni {
            Some(sni) if sni != host => !self.shelf.load().shown_to(sni).is_for(host),
            // clients without a name did not choose by it
            _ => false,
        }
    }

    /// Handshakes so far, of all threads.
    pub fn counts(&self) -> TlsCounts {
        self.counts.read()
    }
}
