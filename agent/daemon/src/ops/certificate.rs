//! Reads what people upload as certificate and key, and says in words what is wrong with it.

use hokku_model::{Micros, cert::CertFacts};
use rustls::{
    Error, InconsistentKeys,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Bytes of PEM taken for a chain, and for a key.
const MOST_PEM: usize = 100 * 1024;

/// Certificates in a chain.
const MOST_CERTS: usize = 10;

/// A certificate and its key that belong together.
#[derive(Clone, PartialEq)]
pub(super) struct Checked {
    /// Leaf first, each signed by the next.
    pub chain: String,
    /// As given, without what stood around it.
    pub key: String,
    /// What the leaf says.
    pub facts: CertFacts,
    /// What was put right, or may surprise.
    pub remarks: Vec<String>,
}

/// Checks a chain and its key.
///
/// # Errors
/// In words: what is wrong and what to do.
pub(super) fn check(chain: &str, key: &str, now: Micros) -> Result<Checked, String> {
    let key = private_key(key)?;
    let (ders, mut remarks) = ordered(chain)?;
    let leaf = parse(&ders[0])?;
    let facts = facts(&leaf, &ders[0]);
    if facts.expires_at <= now {
        return Err(format!(
            "The certificate for {} expired on {}. Upload one that is valid.",
            shown(&facts.names),
            date(facts.expires_at)
        ));
    }
    if facts.names.is_empty() {
        return Err("The certificate names no host: it has no subject alternative name of the kind DNS, and nothing else is looked at by browsers. Have it issued again with its host names.".into());
    }
    if facts.starts_at > now {
        remarks.push(format!(
            "The certificate is valid from {} on.",
            date(facts.starts_at)
        ));
    }
    if facts.self_signed {
        remarks.push("The certificate is signed by itself: browsers warn of it.".into());
    } else if ders.len() == 1 {
        remarks.push("The chain has the certificate alone. If it was signed by an intermediate authority, upload that one's certificate behind it, or some clients will refuse it.".into());
    }
    let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
        "The private key can't be read: what stands between its BEGIN and END lines is damaged."
            .to_owned()
    })?;
    let signer = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(der)
        .map_err(|_| "The private key is of a kind that is not supported. RSA keys of 2048 to 8192 bits, ECDSA keys on P-256, P-384 and P-521, and Ed25519 keys are.".to_owned())?;
    match CertifiedKey::new(ders.clone(), signer).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err(format!(
                "The private key does not belong to the certificate for {}. Upload the key that its signing request was made with.",
                shown(&facts.names)
            ));
        }
        Err(e) => return Err(format!("The certificate can't be used: {e}.")),
    }
    let chain = ders.iter().map(|d| pem("CERTIFICATE", d)).collect();
    Ok(Checked {
        chain,
        key,
        facts,
        remarks,
    })
}

/// What the leaf of a chain says.
///
/// # Errors
/// It can't be read.
pub(super) fn read(chain: &str) -> Result<CertFacts, String> {
    let (ders, _) = ordered(chain)?;
    Ok(facts(&parse(&ders[0])?, &ders[0]))
}

/// Is `host` one of these names, or below one with a star?
pub(super) fn covers(names: &[String], host: &str) -> bool {
    names.iter().any(|n| {
        n == host
            || n.strip_prefix("*.").is_some_and(|base| {
                host.split_once('.')
                    .is_some_and(|(label, rest)| rest == base && label != "*")
            })
    })
}

/// A few names for a sentence.
pub(super) fn shown(names: &[String]) -> String {
    match names {
        [] => "no name".into(),
        names if names.len() <= 3 => names.join(", "),
        names => format!("{} and {} more", names[..3].join(", "), names.len() - 3),
    }
}

fn private_key(text: &str) -> Result<String, String> {
    if text.len() > MOST_PEM {
        return Err(format!("The private key is longer than {MOST_PEM} bytes."));
    }
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err("The private key is protected by a password, which nobody would be there to type. Remove it, and upload what this writes:\n  openssl pkey -in server.key -out server-without-password.key".into());
    }
    const BEGIN: &str = "-----BEGIN ";
    let mut keys = vec![];
    for (at, _) in text.match_indices(BEGIN) {
        let rest = &text[at..];
        let Some((label, _)) = rest[BEGIN.len()..].split_once("-----") else {
            continue;
        };
        if !matches!(label, "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY") {
            continue;
        }
        let end = format!("-----END {label}-----");
        if let Some(len) = rest.find(&end) {
            keys.push(format!("{}\n", &rest[..len + end.len()]));
        }
    }
    match keys.len() {
        1 => Ok(keys.remove(0)),
        0 if text.contains("BEGIN CERTIFICATE") => Err("The private key's file holds a certificate. The order is: the certificate first, then its key.".into()),
        0 => Err("There is no private key in PEM form. Expected a file with a line such as -----BEGIN PRIVATE KEY-----.".into()),
        n => Err(format!("There are {n} private keys. Upload the one that belongs to the certificate.")),
    }
}

/// The certificates, leaf first and each signed by the next, whatever order they came in.
fn ordered(chain: &str) -> Result<(Vec<CertificateDer<'static>>, Vec<String>), String> {
    if chain.len() > MOST_PEM {
        return Err(format!(
            "The certificate chain is longer than {MOST_PEM} bytes."
        ));
    }
    let mut given = vec![];
    for der in CertificateDer::pem_slice_iter(chain.as_bytes()) {
        let der = der.map_err(|_| {
            "The certificate can't be read: what stands between its BEGIN and END lines is damaged."
                .to_owned()
        })?;
        if !given.contains(&der) {
            given.push(der);
        }
    }
    if given.is_empty() {
        return Err(if chain.contains("PRIVATE KEY") {
            "The certificate's file holds a private key. The order is: the certificate first, then its key.".into()
        } else {
            "There is no certificate in PEM form. Expected a file with a line such as -----BEGIN CERTIFICATE-----. A DER file is converted by:\n  openssl x509 -inform der -in server.cer -out server.crt".into()
        });
    }
    if given.len() > MOST_CERTS {
        return Err(format!(
            "The chain has {} certificates; {MOST_CERTS} are the most. Upload the one for your hosts and those that lead to its root.",
            given.len()
        ));
    }
    let parsed = given.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    // The leaf is the one that signed none of the others; of several, the first that is no authority.
    let signs_other = |i: usize| {
        parsed.iter().enumerate().any(|(j, c)| {
            j != i && c.issuer().as_raw() == parsed[i].subject().as_raw() && !alike(&parsed[i], c)
        })
    };
    let leaves: Vec<usize> = (0..parsed.len()).filter(|i| !signs_other(*i)).collect();
    let leaf = leaves
        .iter()
        .find(|i| !parsed[**i].is_ca())
        .or(leaves.first())
        .copied()
        .unwrap_or(0);
    let mut order = vec![leaf];
    while let Some(last) = order.last().map(|i| &parsed[*i]) {
        if alike(last, last) {
            break; // A root: signed by itself.
        }
        let next = (0..parsed.len()).find(|i| {
            !order.contains(i) && parsed[*i].subject().as_raw() == last.issuer().as_raw()
        });
        match next {
            Some(i) => order.push(i),
            None => break,
        }
    }
    let mut remarks = vec![];
    let left = parsed.len() - order.len();
    if order.iter().enumerate().any(|(at, i)| at != *i) {
        remarks.push("The order of the chain was put right.".into());
    }
    if left > 0 {
        remarks.push(format!(
            "{left} certificate{} that the chain does not need {} left out.",
            if left == 1 { "" } else { "s" },
            if left == 1 { "was" } else { "were" }
        ));
    }
    drop(parsed);
    Ok((
        order.into_iter().map(|i| given[i].clone()).collect(),
        remarks,
    ))
}

/// Issuer of one and subject of the other are the same name.
fn alike(a: &X509Certificate, b: &X509Certificate) -> bool {
    a.subject().as_raw() == b.issuer().as_raw() && a.subject().as_raw() == b.subject().as_raw()
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der.as_ref()) {
        Ok((_, cert)) => Ok(cert),
        Err(e) => Err(format!("One of the certificates is none (X.509): {e}.")),
    }
}

fn facts(cert: &X509Certificate, der: &CertificateDer) -> CertFacts {
    let mut names: Vec<String> = vec![];
    if let Ok(Some(alt)) = cert.subject_alternative_name() {
        for name in &alt.value.general_names {
            if let GeneralName::DNSName(n) = name {
                let n = n.to_ascii_lowercase();
                if !names.contains(&n) {
                    names.push(n);
                }
            }
        }
    }
    let at = |t: x509_parser::time::ASN1Time| Micros(t.timestamp().saturating_mul(1_000_000));
    CertFacts {
        names,
        starts_at: at(cert.validity().not_before),
        expires_at: at(cert.validity().not_after),
        issuer: cert.issuer().to_string(),
        subject: cert.subject().to_string(),
        self_signed: cert.issuer().as_raw() == cert.subject().as_raw(),
        fingerprint: data_encoding::HEXLOWER.encode(&Sha256::digest(der.as_ref())),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

fn date(at: Micros) -> String {
    jiff::Timestamp::from_microsecond(at.0)
        .unwrap_or_default()
        .strftime("%Y-%m-%d")
        .to_string()
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
pub(super) mod tests;
