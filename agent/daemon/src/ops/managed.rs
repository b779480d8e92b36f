//! Certificates that the agent gets by itself: which names, the state of their orders, the answers to challenges.
//!
//! When what is done is `hokku_core::acme`'s; who does it is the room `acme`.

use super::{Actor, Ops, OpsError, Result, app, cert, domain};
use crate::{config::Config, store::Tx};
use hokku_model::{AppId, Micros, app::App, cert::Managed, route::Cert};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One document per host name.
pub(super) const MANAGED: &str = "acme-name";
/// HTTP-01: one document per token.
pub(super) const ANSWER: &str = "acme-answer";
/// TLS-ALPN-01: one document per host name.
pub(super) const PROOF: &str = "acme-proof";

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    pub host: String,
    pub answer: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Proof {
    pub chain: String,
    pub sealed_key: String,
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

pub(super) fn clear_challenges(tx: &Tx, host: &str) -> Result<()> {
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

pub(super) fn proof_place(host: &str) -> String {
    format!("private key of the proof for {host}")
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
}
