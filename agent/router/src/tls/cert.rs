//! One certificate: read from PEM and checked, so that a bad one is found when it is given and not when a client comes.

use anyhow::Context;
use hokku_model::route::Cert;
use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The name that marks the certificate for clients that name no host, or an unknown one.
pub(super) const DEFAULT: &str = "*";

/// More certificates than this in one chain are refused: the client has to read them in every handshake.
const CHAIN_MAX: usize = 10;

/// A certificate that can be shown.
pub(crate) struct Usable {
    /// What it was given for: lower case, `*.` before a wildcard's, or [`DEFAULT`].
    pub names: Vec<Box<str>>,
    /// What the leaf itself says it is for.
    alternatives: Vec<Box<str>>,
    pub key: Arc<CertifiedKey>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970; the last second that counts.
    pub not_after: i64,
    pub algorithm: SignatureAlgorithm,
    /// Only for `acme-tls/1`.
    pub challenge: bool,
}

impl Usable {
    /// Would a client that asks for `host` (lower case) accept it?
    pub fn is_for(&self, host: &str) -> bool {
        self.alternatives.iter().any(|a| covers(a, host))
    }
}

/// Tells a certificate of a table from others without keeping its text.
pub(super) fn digest(cert: &Cert) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let names = cert.names.iter().map(String::as_str);
    for part in names.chain([cert.chain.as_str(), &cert.key]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(&[u8::from(cert.challenge)]);
    *hasher.finalize().as_bytes()
}

/// Is a certificate with these dates good at `now`? In words if not.
pub(super) fn in_time(not_before: i64, not_after: i64, now: i64) -> Result<(), String> {
    if now > not_after {
        return Err(format!("it expired on {}. Renew it", date(not_after)));
    }
    if now < not_before {
        return Err(format!(
            "it is not valid before {}. Is the clock right?",
            date(not_before)
        ));
    }
    Ok(())
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}

/// Reads a certificate and its key. The other words say why it can't be used and what to do.
pub(super) fn read(cert: &Cert, now: i64, provider: &CryptoProvider) -> Result<Usable, String> {
    let chain = chain(&cert.chain)?;
    let key = private_key(&cert.key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|e| format!("its private key can't be used: {e}. RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) and Ed25519 keys can"))?;
    let leaf = &chain[0];
    let (rest, leaf) = X509Certificate::from_der(leaf)
        .map_err(|e| format!("its first certificate can't be read: {e}"))?;
    if !rest.is_empty() {
        return Err("bytes follow its first certificate within the same PEM block".into());
    }
    let matches = key
        .public_key()
        .is_some_and(|public| public.as_ref() == leaf.public_key().raw);
    if !matches {
        return Err(
            "the private key does not belong to the first certificate of the chain. The host's own certificate comes first"
                .into(),
        );
    }
    let (not_before, not_after) = (
        leaf.validity().not_before.timestamp(),
        leaf.validity().not_after.timestamp(),
    );
    in_time(not_before, not_after, now)?;
    let alternatives = alternatives(&leaf)?;
    let names: Vec<Box<str>> = cert
        .names
        .iter()
        .map(|n| n.trim_end_matches('.').to_ascii_lowercase().into())
        .collect();
    if names.is_empty() {
        return Err("it was given for no name".into());
    }
    let fits = |name: &str| name == DEFAULT || alternatives.iter().any(|a| covers(a, name));
    if let Some(name) = names.iter().find(|n| !fits(n)) {
        return Err(match alternatives.is_empty() {
            true => "it names no host in its subject alternative names".into(),
            false => format!("it is not for {name} but for {}", alternatives.join(", ")),
        });
    }
    Ok(Usable {
        names,
        alternatives,
        not_before,
        not_after,
        algorithm: key.algorithm(),
        challenge: cert.challenge,
        key: Arc::new(CertifiedKey::new(chain, key)),
    })
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut chain = Vec::new();
    for item in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        chain.push(item.map_err(|e| format!("its chain is not PEM: {e}"))?);
    }
    match chain.len() {
        0 => Err("its chain holds no certificate: a block \"BEGIN CERTIFICATE\" is missing".into()),
        n if n > CHAIN_MAX => Err(format!(
            "its chain has {n} certificates; at most {CHAIN_MAX} are taken"
        )),
        _ => Ok(chain),
    }
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    // blocks of other kinds, such as EC PARAMETERS, are passed over
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| match e {
        _ if pem.contains("ENCRYPTED") => {
            "its private key is locked with a passphrase. Unlock it: openssl pkey -in KEY -out OPEN".into()
        }
        PemError::NoItemsFound => {
            "a private key is missing: a block \"BEGIN PRIVATE KEY\", \"BEGIN RSA PRIVATE KEY\" or \"BEGIN EC PRIVATE KEY\""
                .to_owned()
        }
        // without the error's own text, which may hold a piece of the key
        _ => "its private key is not PEM".into(),
    })
}

fn alternatives(leaf: &X509Certificate<'_>) -> Result<Vec<Box<str>>, String> {
    let found = leaf
        .subject_alternative_name()
        .map_err(|e| format!("its subject alternative names can't be read: {e}"))?;
    let names = found.iter().flat_map(|s| &s.value.general_names);
    Ok(names
        .filter_map(|n| match n {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
            _ => None,
        })
        .collect())
}

/// Does a certificate's name stand for `name` (RFC 6125, section 6.4.3)? A `*` stands for exactly one label, the first. A
/// wildcard itself is covered by the same wildcard only. Both in lower case.
fn covers(pattern: &str, name: &str) -> bool {
    if pattern == name {
        return true;
    }
    match (pattern.strip_prefix("*."), name.split_once('.')) {
        (Some(parent), Some((label, rest))) => parent == rest && label != "*" && !label.is_empty(),
        _ => false,
    }
}

/// What clients see when no certificate is for their host.
///
/// # Errors
/// When the system gives no random numbers.
pub(super) fn self_signed(provider: &CryptoProvider) -> anyhow::Result<Usable> {
    let name = "no-certificate.hokku.invalid";
    let why = "making the router's own certificate";
    let key = rcgen::KeyPair::generate().context(why)?;
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).context(why)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(
        rcgen::DnType::CommonName,
        "hokku has no certificate for this host",
    );
    let made = params.self_signed(&key).context(why)?;
    let cert = Cert {
        names: vec![DEFAULT.into()],
        chain: made.pem(),
        key: key.serialize_pem(),
        challenge: false,
    };
    // its dates are rcgen's: as good as for ever, whatever the clock says
    read(
        &cert,
        params.not_before.unix_timestamp().saturating_add(1),
        provider,
    )
    .map_err(|e| anyhow::anyhow!("{why}: {e}"))
}
