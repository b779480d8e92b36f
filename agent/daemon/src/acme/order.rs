//! One attempt for one name, from where the last one stood.

use super::{Acme, client::Web};
use crate::{config::Challenge, sys};
use anyhow::Context;
use hokku_core::acme;
use hokku_model::{
    Micros,
    cert::{AcmeOrder, Managed, Served, Window},
};
use instant_acme::{
    Account, AccountBuilder, AuthorizationStatus, CertificateIdentifier, ChallengeStatus,
    ChallengeType, Error, Identifier, Key, NewOrder, Order, OrderStatus, Problem,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::time::{Duration, Instant};

/// The router has to confirm an answer within this.
const ROUTER: Duration = Duration::from_secs(30);

/// Between two looks at an order, unless the server says otherwise.
const POLL: Duration = Duration::from_secs(1);

/// The server decides about a proof, or makes a certificate, within this in one attempt.
const SERVER: Duration = Duration::from_secs(90);

/// Why an attempt ended without a certificate.
struct Failed {
    reason: String,
    /// The order can be gone on with.
    keep: bool,
}

impl Failed {
    fn over(reason: impl Into<String>) -> Failed {
        let reason = reason.into();
        Failed {
            reason,
            keep: false,
        }
    }

    fn later(reason: impl Into<String>) -> Failed {
        let reason = reason.into();
        Failed { reason, keep: true }
    }
}

/// Trouble on the way; the order itself may be good.
impl From<anyhow::Error> for Failed {
    fn from(e: anyhow::Error) -> Failed {
        Failed::later(format!("{e:#}"))
    }
}

impl From<crate::ops::OpsError> for Failed {
    fn from(e: crate::ops::OpsError) -> Failed {
        Failed::later(e.to_string())
    }
}

impl From<Error> for Failed {
    fn from(e: Error) -> Failed {
        let reason = words(&e);
        match e {
            // The server knows this order and says no, or does not know it.
            Error::Api(p) if !transient(&p) => Failed::over(reason),
            _ => Failed::later(reason),
        }
    }
}

fn transient(p: &Problem) -> bool {
    let kind = p.r#type.as_deref().unwrap_or_default();
    p.status.is_some_and(|s| s >= 500)
        || ["rateLimited", "serverInternal", "badNonce"]
            .iter()
            .any(|k| kind.ends_with(k))
}

/// What the server, or the way to it, said.
fn words(e: &Error) -> String {
    match e {
        Error::Api(p) => problem(p),
        Error::Other(e) => {
            let mut text = e.to_string();
            let mut source = e.source();
            while let Some(s) = source {
                text = format!("{text}: {s}");
                source = s.source();
            }
            format!("the certificate authority can't be reached: {text}")
        }
        e => e.to_string(),
    }
}

fn problem(p: &Problem) -> String {
    let kind = p.r#type.as_deref().unwrap_or_default();
    let kind = kind.rsplit(':').next().unwrap_or_default();
    let detail = p.detail.as_deref().unwrap_or("no reason was given");
    format!("the certificate authority says: {detail} ({kind})")
}

/// Takes a name's order to its end, or notes why that failed.
pub(super) async fn attempt(room: &Acme, m: Managed) {
    sys::fault::point("acme-begin");
    let web = match Web::new(&room.config.acme) {
        Ok(web) => web,
        Err(e) => return note(room, &m, Failed::from(e), None).await,
    };
    let result = run(room, &m, &web).await;
    if let Err(failed) = result {
        note(room, &m, failed, web.retry_at()).await;
    }
}

async fn note(room: &Acme, m: &Managed, failed: Failed, retry_at: Option<Micros>) {
    let old = m
        .order
        .as_ref()
        .is_some_and(|o| Micros::now().since(o.since) > acme::ORDER);
    let keep = failed.keep && !old;
    // The ways of proof are tried in turn: what the one before said may be the one that helps.
    const BEFORE: &str = "; the attempt before: ";
    let before = m
        .trouble
        .as_ref()
        .and_then(|t| t.reason.split(BEFORE).next());
    let reason = match before.filter(|b| *b != failed.reason) {
        Some(before) => format!("{}{BEFORE}{before}", failed.reason),
        None => failed.reason,
    };
    let noted = room
        .ops
        .order_failed(&m.host, &reason, retry_at, keep)
        .await;
    if let Err(e) = noted {
        tracing::error!(host = m.host, "the failure of an order can't be noted: {e}");
    }
}

async fn run(room: &Acme, m: &Managed, web: &Web) -> Result<(), Failed> {
    let account = account(room, web).await?;
    let fresh = KeyPair::generate().context("no key can be made")?;
    let (state, key) = room
        .ops
        .begin_order(&m.host, &fresh.serialize_pem())
        .await?;
    let mut order = open(room, m, &account, &state).await?;
    let url = order.url().to_owned();
    if state.url.as_deref() != Some(&url) {
        room.ops.order_made(&m.host, state.since, &url).await?;
    }
    sys::fault::point("acme-ordered");
    let until = Instant::now() + SERVER;
    loop {
        match order.state().status {
            OrderStatus::Pending => prove(room, m, &state, &mut order, until).await?,
            OrderStatus::Ready => {
                sys::fault::point("acme-ready");
                let csr = request(&m.host, &key)?;
                order.finalize_csr(&csr).await?;
                sys::fault::point("acme-finalized");
            }
            OrderStatus::Processing => again(&mut order, until).await?,
            OrderStatus::Valid => {
                let chain = order
                    .certificate()
                    .await?
                    .ok_or_else(|| Failed::later("the certificate is not there yet"))?;
                sys::fault::point("acme-issued");
                room.ops.order_done(&m.host, state.since, &chain).await?;
                return Ok(());
            }
            OrderStatus::Invalid => return Err(Failed::over(why(&mut order).await)),
        }
    }
}

/// The agent's account. Its key is in the store before the server hears of it; a server that knows the key already
/// gives the same account again (RFC 8555, section 7.3).
async fn account(room: &Acme, web: &Web) -> Result<Account, Failed> {
    let config = &room.config.acme;
    let directory = &config.directory;
    let (_, fresh) = Key::generate_pkcs8()?;
    let fresh = data_encoding::BASE64.encode(fresh.secret_pkcs8_der());
    let (key, id) = room.ops.acme_account(directory, &fresh).await?;
    let der = data_encoding::BASE64
        .decode(key.as_bytes())
        .context("the stored account key is damaged")?;
    let builder = || -> AccountBuilder { Account::builder_with_http(Box::new(web.clone())) };
    let der = PrivatePkcs8KeyDer::from(der);
    if let Some(id) = id {
        let account = builder().from_parts(id, der, directory.clone()).await;
        return account.map_err(|e| Failed::later(words(&e)));
    }
    let pair = (
        Key::from_pkcs8_der(der.clone_key())?,
        PrivateKeyDer::Pkcs8(der),
    );
    let later = |e: Error| Failed::later(words(&e));
    let made = builder().create_from_key(pair, directory.clone()).await;
    let (account, _) = made.map_err(later)?;
    if let Some(email) = &config.email {
        let contact = format!("mailto:{email}");
        account.update_contacts(&[&contact]).await.map_err(later)?;
    }
    room.ops
        .set_acme_account(directory, Some(account.id()))
        .await?;
    tracing::info!(
        directory,
        id = account.id(),
        "there is an account at the certificate authority"
    );
    Ok(account)
}

/// The order under way, or a new one.
async fn open(
    room: &Acme,
    m: &Managed,
    account: &Account,
    state: &AcmeOrder,
) -> Result<Order, Failed> {
    if let Some(url) = &state.url {
        return Ok(account.order(url.clone()).await?);
    }
    let names = [Identifier::Dns(m.host.clone())];
    match account.new_order(&NewOrder::new(&names)).await {
        Ok(order) => Ok(order),
        Err(Error::Api(p))
            if p.r#type
                .as_deref()
                .is_some_and(|t| t.ends_with("accountDoesNotExist")) =>
        {
            let directory = &room.config.acme.directory;
            room.ops.set_acme_account(directory, None).await?;
            Err(Failed::later(problem(&p)))
        }
        Err(e) => Err(e.into()),
    }
}

/// Proves that the name leads here, and waits for what the server says.
async fn prove(
    room: &Acme,
    m: &Managed,
    state: &AcmeOrder,
    order: &mut Order,
    until: Instant,
) -> Result<(), Failed> {
    let ways = room.config.challenges();
    let way = acme::way(&ways, m).context("acme.challenges is empty")?;
    let kind = match way {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut authorizations = order.authorizations();
    while let Some(one) = authorizations.next().await {
        let mut one = one?;
        if one.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(mut challenge) = one.challenge(kind.clone()) else {
            return Err(Failed::over(format!(
                "the certificate authority does not offer {kind:?} for {}",
                m.host
            )));
        };
        // Told ready by an agent before this one.
        if challenge.status != ChallengeStatus::Pending {
            continue;
        }
        let proof = challenge.key_authorization();
        match way {
            Challenge::Http01 => {
                let (token, answer) = (challenge.token.clone(), proof.as_str().to_owned());
                room.ops
                    .put_answer(&m.host, state.since, &token, &answer)
                    .await?;
                confirmed(room, |s| s.challenges.get(&token) == Some(&answer)).await?;
            }
            Challenge::TlsAlpn01 => {
                let (chain, key) = proof_certificate(&m.host, proof.digest().as_ref())?;
                let version = room
                    .ops
                    .put_proof(&m.host, state.since, &chain, &key)
                    .await?;
                confirmed(room, |s| s.certs >= version).await?;
            }
        }
        sys::fault::point("acme-proof");
        challenge.set_ready().await?;
    }
    again(order, until).await
}

/// Waits until the router has it.
async fn confirmed(room: &Acme, has: impl Fn(&Served) -> bool) -> Result<(), Failed> {
    let mut served = room.served.clone();
    match tokio::time::timeout(ROUTER, served.wait_for(has)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Failed::later(
            "the router has not taken the answer to the challenge: is it running?",
        )),
    }
}

/// Looks at the order again after a pause.
async fn again(order: &mut Order, until: Instant) -> Result<(), Failed> {
    if Instant::now() > until {
        return Err(Failed::later(format!(
            "the certificate authority has not decided within {} s",
            SERVER.as_secs()
        )));
    }
    tokio::time::sleep(POLL).await;
    order.refresh().await?;
    Ok(())
}

/// Why an order failed: what the server says of the challenges, else of the order.
async fn why(order: &mut Order) -> String {
    let of_order = order.state().error.as_ref().map(problem);
    let mut authorizations = order.authorizations();
    while let Some(one) = authorizations.next().await {
        let Ok(mut one) = one else { continue };
        // What is known of it is from before the proof.
        if one.refresh().await.is_err() {
            continue;
        }
        if let Some(p) = one.challenges.iter().find_map(|c| c.error.as_ref()) {
            return problem(p);
        }
    }
    of_order
        .unwrap_or_else(|| "the certificate authority gave the order up without a reason".into())
}

/// The signing request (RFC 2986) for a name.
fn request(host: &str, key: &str) -> anyhow::Result<Vec<u8>> {
    let key = KeyPair::from_pem(key).context("the stored key is damaged")?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}

/// The certificate that proves a name by TLS-ALPN-01 (RFC 8737, section 3), and its key.
fn proof_certificate(host: &str, digest: &[u8]) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Asks the server when it wants a certificate to be renewed (RFC 9773).
pub(super) async fn ask_window(room: &Acme, m: Managed) {
    let now = Micros::now();
    let asked = window(room, &m).await;
    let kept = m.issued.as_ref().and_then(|i| i.window);
    let (window, ask_at) = match asked {
        Ok(Some((window, pause))) => (Some(window), Some(now.plus(pause))),
        Ok(None) => (None, None),
        Err(e) => {
            tracing::debug!(host = m.host, "no renewal window: {e:#}");
            (kept, Some(now.plus(acme::ASK_AGAIN)))
        }
    };
    if let Err(e) = room.ops.set_window(&m.host, window, ask_at).await {
        tracing::error!(host = m.host, "the time of renewal can't be noted: {e}");
    }
}

/// `None`: this server does not say.
async fn window(room: &Acme, m: &Managed) -> anyhow::Result<Option<(Window, Duration)>> {
    let Some(chain) = room.ops.issued_chain(m).await? else {
        return Ok(None);
    };
    let web = Web::new(&room.config.acme)?;
    let account = account(room, &web)
        .await
        .map_err(|e| anyhow::anyhow!(e.reason))?;
    let der = CertificateDer::from_pem_slice(chain.as_bytes())?;
    let Ok(id) = CertificateIdentifier::try_from(&der) else {
        return Ok(None);
    };
    match account.renewal_info(&id).await {
        Ok((info, pause)) => {
            let at = |t: i128| Micros(i64::try_from(t / 1000).unwrap_or_default());
            let w = info.suggested_window;
            let window = Window {
                start: at(w.start.unix_timestamp_nanos()),
                end: at(w.end.unix_timestamp_nanos()),
            };
            let pause = pause.clamp(Duration::from_secs(60), Duration::from_secs(24 * 3600));
            Ok(Some((window, pause)))
        }
        Err(Error::Unsupported(_)) => Ok(None),
        Err(e) => anyhow::bail!("{}", words(&e)),
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
