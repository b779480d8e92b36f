//! The configuration of all handshakes, and how a client's greeting finds its certificate.
//!
//! AES-128-GCM-SHA256 goes first and our order counts: the SHA-384 suite that clients put first made handshakes a seventh
//! dearer. One ticket per TLS 1.3 handshake, because clients use one. The keys of tickets are shared by all threads, and
//! new at each start of the router.

use super::shelf::Shelf;
use anyhow::Context;
use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use std::sync::Arc;

pub(super) const H2: &[u8] = b"h2";
pub(super) const HTTP11: &[u8] = b"http/1.1";
/// What a client offers that is told to speak HTTP/1.0.
const HTTP10: &[u8] = b"http/1.0";
pub(super) const ACME: &[u8] = b"acme-tls/1";

/// Sessions kept for TLS 1.2 clients that know no tickets.
const SESSIONS: usize = 1024;

/// aws-lc-rs with our order of suites.
pub(super) fn provider() -> CryptoProvider {
    use aws_lc_rs::cipher_suite as suite;
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// The one configuration.
///
/// # Errors
/// When the system gives no random numbers.
pub(super) fn config(
    provider: Arc<CryptoProvider>,
    shelf: Arc<ArcSwap<Shelf>>,
) -> anyhow::Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .context("setting up TLS 1.2 and 1.3")?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(shelf)));
    config.ignore_client_order = true;
    config.send_tls13_tickets = 1;
    config.ticketer = aws_lc_rs::Ticketer::new().context("making keys for session tickets")?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.alpn_protocols = [H2, HTTP11, HTTP10, ACME].map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

struct Resolver(Arc<ArcSwap<Shelf>>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shelf = self.0.load();
        let name = hello.server_name();
        let found = if is_challenge(&hello) {
            shelf.challenge(name)
        } else {
            shelf.choose(name, hello.signature_schemes())
        };
        found.map(|u| u.key.clone())
    }
}

/// Will `acme-tls/1` be the protocol? Only when none that goes before it is offered.
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let Some(offered) = hello.alpn() else {
        return false;
    };
    let mut acme = false;
    for protocol in offered {
        match protocol {
            H2 | HTTP11 | HTTP10 => return false,
            ACME => acme = true,
            _ => {}
        }
    }
    acme
}
