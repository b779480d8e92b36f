//! Certificates that the agent gets by itself: which names, the state of their orders, the answers to challenges.
//!
//! When what is done is `hokku_core::acme`'s; who does it is the room `acme`.

use super::{
    Actor, Ops, OpsError, Result, app,
    cert::{self, Issue},
    domain,
};
use crate::{
    config::Config,
    store::{Doc, Tx},
};
use hokku_model::{
    AppId, Micros,
    app::App,
    cert::{AcmeOrder, Endpoint, Issued, Managed, Trouble, Window},
    route::Cert,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// One document per host name.
const MANAGED: &str = "acme-name";
/// HTTP-01: one document per token.
const ANSWER: &str = "acme-answer";
/// TLS-ALPN-01: one document per host name.
const PROOF: &str = "acme-proof";
/// One document per directory: the account's sealed key.
const ACCOUNT: &str = "acme-account";

/// Characters of a server's words that are kept.
const REASON: usize = 1000;

#[derive(Clone, Serialize, Deserialize)]
struct Answer {
    host: String,
    answer: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Proof {
    chain: String,
    sealed_key: String,
}

/// The agent's account at a certificate authority.
#[derive(Clone, Serialize, Deserialize)]
struct Account {
    sealed_key: String,
    id: Option<String>,
}

/// Does the agent get certificates for this app's domains?
pub(super) fn is_on(config: &Config, app: &App) -> bool {
    app.acm.unwrap_or(config.acme.all)
}

/// The host names of an app that can be proven by ways that need no DNS: no wildcards.
fn provable(app: &App) -> impl Iterator<Item = &str> {
    let names = app.domains.iter().map(|d| domain::name_of(d));
    names.filter(|n| !n.starts_with("*."))
}

/// Makes the managed names those that are wanted, after domains, apps or settings changed. What belongs to names that
/// are no longer wanted goes: orders, answers, certificates.
pub(super) fn sync(tx: &Tx, config: &Config) -> Result<()> {
    let mut wanted: BTreeMap<String, AppId> = BTreeMap::new();
    for app in tx.list::<App>(app::APP)? {
        if is_on(config, &app.body) {
            for host in provable(&app.body) {
                wanted.entry(host.to_owned()).or_insert(app.body.id);
            }
        }
    }
    let there = tx.list::<Managed>(MANAGED)?;
    let mut gone = BTreeSet::new();
    for doc in &there {
        if wanted.get(&doc.body.host) == Some(&doc.body.app) {
            wanted.remove(&doc.body.host);
            continue;
        }
        tx.delete(MANAGED, &doc.key)?;
        clear_challenges(tx, &doc.body.host)?;
        gone.extend(doc.body.issued.iter().map(|i| i.endpoint.clone()));
    }
    let mut touched = false;
    for name in gone {
        touched |= tx.delete(cert::ENDPOINT, &name)?;
    }
    for (host, app) in wanted {
        let new = Managed {
            host: host.clone(),
            app,
            order: None,
            issued: None,
            trouble: None,
            asked_at: None,
            created_at: Micros::now(),
        };
        tx.insert(MANAGED, &host, &new)?;
    }
    if touched {
        cert::touch(tx)?;
    }
    Ok(())
}

/// HTTP-01 answers by token, for the router.
pub(super) fn answers(tx: &Tx) -> Result<BTreeMap<String, String>> {
    let docs = tx.list::<Answer>(ANSWER)?;
    Ok(docs.into_iter().map(|d| (d.key, d.body.answer)).collect())
}

pub(super) fn has_challenges(tx: &Tx) -> Result<bool> {
    Ok(!tx.list::<Proof>(PROOF)?.is_empty())
}

/// TLS-ALPN-01 certificates, for the router.
pub(super) fn challenge_certs(ops: &Ops, tx: &Tx) -> Result<Vec<Cert>> {
    let mut certs = vec![];
    for doc in tx.list::<Proof>(PROOF)? {
        certs.push(Cert {
            key: ops
                .open_key(&proof_place(&doc.key), &doc.body.sealed_key)?
                .as_str()
                .to_owned(),
            names: vec![doc.key],
            chain: doc.body.chain,
            challenge: true,
        });
    }
    Ok(certs)
}

fn clear_challenges(tx: &Tx, host: &str) -> Result<()> {
    for doc in tx.list::<Answer>(ANSWER)? {
        if doc.body.host == host {
            tx.delete(ANSWER, &doc.key)?;
        }
    }
    if tx.delete(PROOF, host)? {
        cert::touch(tx)?;
    }
    Ok(())
}

fn order_place(host: &str) -> String {
    format!("private key of the order for {host}")
}

fn proof_place(host: &str) -> String {
    format!("private key of the proof for {host}")
}

fn account_place(directory: &str) -> String {
    format!("account key for {directory}")
}

fn gone(host: &str) -> OpsError {
    OpsError::not_found("domain", format!("{host} is no longer managed."))
}

/// The name, as long as its order is still this one: an order that was given up must not write any more.
fn of_order(tx: &Tx, host: &str, since: Micros) -> Result<Doc<Managed>> {
    let doc = tx.get::<Managed>(MANAGED, host)?;
    doc.filter(|d| d.body.order.as_ref().is_some_and(|o| o.since == since))
        .ok_or_else(|| gone(host))
}

impl Ops {
    /// Makes the managed names fit the settings; to be called when the agent starts.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn sync_managed(&self) -> Result<()> {
        self.store().write(|tx| sync(tx, self.config())).await
    }

    /// Does the agent get certificates for this app's domains?
    pub fn acm(&self, app: &App) -> bool {
        is_on(self.config(), app)
    }

    /// Switches it on or off for an app. Off removes the certificates that were got.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the settings agree to no authority's terms.
    pub async fn set_acm(&self, actor: &Actor, app: AppId, on: bool) -> Result<App> {
        if on && !self.config().acme.agree {
            return Err(OpsError::conflict(format!(
                "This agent gets no certificates by itself, because nobody has agreed to the terms of {}. Put into the agent's settings, and restart it:\n  [acme]\n  agree = true\n  email = \"you@example.org\"",
                self.config().acme.directory
            )));
        }
        let app = self
            .store()
            .write::<_, OpsError>(|tx| {
                let mut app = app::load(tx, app)?;
                if app.body.acm != Some(on) {
                    app.body.acm = Some(on);
                    app::save(tx, &mut app)?;
                    sync(tx, self.config())?;
                }
                Ok(app.body)
            })
            .await?;
        tracing::info!(app = %app.name, user = %actor.user, on, "automatic certificates");
        Ok(app)
    }

    /// Tries again at once what failed, and gets anew what is there, save what the server asked to wait for.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is not on.
    pub async fn refresh_acm(&self, actor: &Actor, app: AppId) -> Result<Vec<Managed>> {
        let now = Micros::now();
        let (name, names) = self
            .store()
            .write(|tx| {
                let app = app::load(tx, app)?.body;
                if !is_on(self.config(), &app) {
                    return Err(OpsError::conflict(format!(
                        "Automatic certificates are off for {0}. Switch them on with: app certs:auto:enable -a {0}",
                        app.name
                    )));
                }
                let mut names = vec![];
                for mut doc in tx.list::<Managed>(MANAGED)? {
                    if doc.body.app != app.id {
                        continue;
                    }
                    doc.body.asked_at = Some(now);
                    doc.body.trouble = doc.body.trouble.take().filter(|t| t.retry_at > Some(now));
                    tx.replace(MANAGED, &mut doc)?;
                    names.push(doc.body);
                }
                Ok((app.name, names))
            })
            .await?;
        tracing::info!(app = %name, user = %actor.user, "certificates are to be got anew");
        Ok(names)
    }

    /// All managed names.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn managed(&self) -> Result<Vec<Managed>> {
        let docs = self.store().read(|tx| tx.list::<Managed>(MANAGED)).await?;
        Ok(docs.into_iter().map(|d| d.body).collect())
    }

    /// Begins an order, or gives the one that is under way: its private key is in the store before the server hears
    /// of anything, so that nothing that is issued can be lost.
    ///
    /// # Errors
    /// `NotFound` when the name is no longer managed.
    pub async fn begin_order(
        &self,
        host: &str,
        key: &str,
    ) -> Result<(AcmeOrder, Zeroizing<String>)> {
        let sealed_key = self.seal_key(&order_place(host), key)?;
        let order = self
            .store()
            .write(|tx| {
                let mut doc = tx
                    .get::<Managed>(MANAGED, host)?
                    .ok_or_else(|| gone(host))?;
                if let Some(order) = &doc.body.order {
                    return Ok::<_, OpsError>(order.clone());
                }
                let order = AcmeOrder {
                    url: None,
                    sealed_key: sealed_key.clone(),
                    since: Micros::now(),
                };
                doc.body.order = Some(order.clone());
                tx.replace(MANAGED, &mut doc)?;
                Ok(order)
            })
            .await?;
        let key = self.open_key(&order_place(host), &order.sealed_key)?;
        Ok((order, key))
    }

    /// The server has told the order's address.
    ///
    /// # Errors
    /// `NotFound` when this order is no longer wanted.
    pub async fn order_made(&self, host: &str, since: Micros, url: &str) -> Result<()> {
        self.store()
            .write(|tx| {
                let mut doc = of_order(tx, host, since)?;
                if let Some(order) = &mut doc.body.order {
                    order.url = Some(url.to_owned());
                }
                Ok(tx.replace(MANAGED, &mut doc)?)
            })
            .await
    }

    /// Lets the router answer a token (HTTP-01).
    ///
    /// # Errors
    /// `NotFound` when this order is no longer wanted.
    pub async fn put_answer(
        &self,
        host: &str,
        since: Micros,
        token: &str,
        answer: &str,
    ) -> Result<()> {
        self.store()
            .write(|tx| {
                of_order(tx, host, since)?;
                let body = Answer {
                    host: host.to_owned(),
                    answer: answer.to_owned(),
                };
                tx.delete(ANSWER, token)?;
                Ok(tx.insert(ANSWER, token, &body)?)
            })
            .await
    }

    /// Lets the router show a certificate to those who ask for `acme-tls/1` (TLS-ALPN-01); gives the version of the
    /// certificates that has it.
    ///
    /// # Errors
    /// `NotFound` when this order is no longer wanted.
    pub async fn put_proof(
        &self,
        host: &str,
        since: Micros,
        chain: &str,
        key: &str,
    ) -> Result<u64> {
        let sealed_key = self.seal_key(&proof_place(host), key)?;
        self.store()
            .write(|tx| {
                of_order(tx, host, since)?;
                let body = Proof {
                    chain: chain.to_owned(),
                    sealed_key: sealed_key.clone(),
                };
                tx.delete(PROOF, host)?;
                tx.insert(PROOF, host, &body)?;
                cert::touch(tx)?;
                cert::version(tx)
            })
            .await
    }

    /// The certificate is there: it is used from now on, and the order is over.
    ///
    /// # Errors
    /// `NotFound` when this order is no longer wanted.
    pub async fn order_done(&self, host: &str, since: Micros, chain: &str) -> Result<Endpoint> {
        let endpoint = self
            .store()
            .write(|tx| {
                let mut doc = of_order(tx, host, since)?;
                let m = &mut doc.body;
                let sealed = m.order.take().map(|o| o.sealed_key).unwrap_or_default();
                let key = self.open_key(&order_place(host), &sealed)?;
                let before = m.issued.as_ref().map(|i| i.endpoint.clone());
                let endpoint = self.put_issued(
                    tx,
                    Issue {
                        app: m.app,
                        host,
                        chain,
                        key: &key,
                        before: before.as_deref(),
                    },
                )?;
                m.issued = Some(Issued {
                    endpoint: endpoint.name.clone(),
                    starts_at: endpoint.facts.starts_at,
                    expires_at: endpoint.facts.expires_at,
                    window: None,
                    ask_at: Some(Micros::now()),
                });
                m.trouble = None;
                m.asked_at = None;
                tx.replace(MANAGED, &mut doc)?;
                clear_challenges(tx, host)?;
                Ok::<_, OpsError>(endpoint)
            })
            .await?;
        tracing::info!(host, cert = %endpoint.name, "certificate issued");
        Ok(endpoint)
    }

    /// An attempt failed. `keep_order`: the order itself is good, the next attempt goes on with it.
    ///
    /// # Errors
    /// Only of the store; a name that is no longer managed is no error.
    pub async fn order_failed(
        &self,
        host: &str,
        reason: &str,
        retry_at: Option<Micros>,
        keep_order: bool,
    ) -> Result<()> {
        let reason: String = reason.chars().take(REASON).collect();
        self.store()
            .write(|tx| {
                let Some(mut doc) = tx.get::<Managed>(MANAGED, host)? else {
                    return Ok(());
                };
                let failures = doc.body.trouble.as_ref().map_or(0, |t| t.failures);
                doc.body.trouble = Some(Trouble {
                    failures: failures.saturating_add(1),
                    at: Micros::now(),
                    reason: reason.clone(),
                    retry_at,
                });
                doc.body.asked_at = None;
                if !keep_order {
                    doc.body.order = None;
                    clear_challenges(tx, host)?;
                }
                Ok::<_, OpsError>(tx.replace(MANAGED, &mut doc)?)
            })
            .await?;
        tracing::warn!(host, "no certificate yet: {reason}");
        Ok(())
    }

    /// What the server says about the time of renewal; ask again at `ask_at`, or never.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn set_window(
        &self,
        host: &str,
        window: Option<Window>,
        ask_at: Option<Micros>,
    ) -> Result<()> {
        self.store()
            .write(|tx| {
                let Some(mut doc) = tx.get::<Managed>(MANAGED, host)? else {
                    return Ok(());
                };
                let Some(issued) = &mut doc.body.issued else {
                    return Ok(());
                };
                issued.window = window;
                issued.ask_at = ask_at;
                Ok(tx.replace(MANAGED, &mut doc)?)
            })
            .await
    }

    /// The certificate that a managed name has now.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn issued_chain(&self, m: &Managed) -> Result<Option<String>> {
        let Some(issued) = &m.issued else {
            return Ok(None);
        };
        let read = |tx: &Tx| tx.get::<Endpoint>(cert::ENDPOINT, &issued.endpoint);
        Ok(self.store().read(read).await?.map(|d| d.body.chain))
    }

    /// The account at a directory: its key in base64 and, once the server has told it, its address. A new key is made
    /// with `fresh` when there is none.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn acme_account(
        &self,
        directory: &str,
        fresh: &str,
    ) -> Result<(Zeroizing<String>, Option<String>)> {
        let place = account_place(directory);
        let sealed_key = self.seal_key(&place, fresh)?;
        let account = self
            .store()
            .write(|tx| {
                if let Some(doc) = tx.get::<Account>(ACCOUNT, directory)? {
                    return Ok::<_, OpsError>(doc.body);
                }
                let account = Account {
                    sealed_key: sealed_key.clone(),
                    id: None,
                };
                tx.insert(ACCOUNT, directory, &account)?;
                Ok(account)
            })
            .await?;
        Ok((self.open_key(&place, &account.sealed_key)?, account.id))
    }

    /// The server has told the account's address, or no longer knows it (`None`).
    ///
    /// # Errors
    /// Only of the store.
    pub async fn set_acme_account(&self, directory: &str, id: Option<&str>) -> Result<()> {
        self.store()
            .write(|tx| {
                let Some(mut doc) = tx.get::<Account>(ACCOUNT, directory)? else {
                    return Ok(());
                };
                doc.body.id = id.map(str::to_owned);
                Ok(tx.replace(ACCOUNT, &mut doc)?)
            })
            .await
    }
}
