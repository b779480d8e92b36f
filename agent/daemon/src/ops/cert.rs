//! Certificates of apps: given by people, or got by ACME.

use super::{Actor, Ops, OpsError, Result, app, certificate, domain, managed, name};
use crate::{config::Config, store::Tx};
use anyhow::Context;
use hokku_model::{
    AppId, Micros,
    app::App,
    cert::Endpoint,
    route::{Cert, CertTable},
};
use zeroize::Zeroizing;

/// One document per certificate, by its name.
pub(super) const ENDPOINT: &str = "sni-endpoint";
const VERSION: &str = "certs-version";

/// Certificates that people may give one app.
const MOST: usize = 100;

/// What was given, and what is to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The certificate.
    pub endpoint: Endpoint,
    /// What was put right, or may surprise.
    pub remarks: Vec<String>,
}

/// The version of all usable certificates; 0 when there never were any.
pub(super) fn version(tx: &Tx) -> Result<u64> {
    Ok(tx.get::<u64>(VERSION, "1")?.map_or(0, |d| d.body))
}

/// To be called whenever what the router gets may have changed. Versions are times, so that they count on after the
/// store was put back from a backup. A node without certificates keeps its 0.
pub(super) fn touch(tx: &Tx) -> Result<()> {
    let now = u64::try_from(Micros::now().0).unwrap_or_default();
    match tx.get::<u64>(VERSION, "1")? {
        Some(mut doc) => {
            doc.body = now.max(doc.body + 1);
            tx.replace(VERSION, &mut doc)?;
        }
        None if has_any(tx)? => tx.insert(VERSION, "1", &now)?,
        None => {}
    }
    Ok(())
}

fn has_any(tx: &Tx) -> Result<bool> {
    Ok(!tx.list::<Endpoint>(ENDPOINT)?.is_empty() || managed::has_challenges(tx)?)
}

pub(super) fn all(tx: &Tx) -> Result<Vec<Endpoint>> {
    let docs = tx.list::<Endpoint>(ENDPOINT)?;
    Ok(docs.into_iter().map(|d| d.body).collect())
}

/// Removes all certificates of an app that goes away.
pub(super) fn forget(tx: &Tx, app: AppId) -> Result<()> {
    for e in all(tx)?.into_iter().filter(|e| e.app == app) {
        tx.delete(ENDPOINT, &e.name)?;
    }
    touch(tx)
}

/// An app's host names without path prefixes, the one that it has by itself first.
pub(super) fn hosts(config: &Config, app: &App) -> Vec<String> {
    let mut hosts = vec![config.default_host(app.name.as_str()).to_ascii_lowercase()];
    for host in app.domains.iter().map(|d| domain::name_of(d)) {
        if !hosts.iter().any(|h| h == host) {
            hosts.push(host.to_owned());
        }
    }
    hosts
}

/// The hosts of its app for which a certificate is shown: no app can speak for another's names.
pub(super) fn served(endpoint: &Endpoint, hosts: &[String]) -> Vec<String> {
    let covered = hosts.iter().filter(|h| {
        certificate::covers(&endpoint.facts.names, h)
            && (endpoint.only.is_empty() || endpoint.only.contains(h))
    });
    covered.cloned().collect()
}

/// What goes into the seal of a private key: it is of use nowhere else.
pub(super) fn place(endpoint: &str) -> String {
    format!("private key of certificate {endpoint}")
}

fn missing() -> OpsError {
    OpsError::not_found("sni_endpoint", "Couldn't find that SNI endpoint.")
}

impl Ops {
    /// Gives an app a certificate. `only` limits it to these of the app's domains.
    ///
    /// # Errors
    /// `NotFound`; `Invalid`, in words, when certificate or key can't be used or `only` names no domain of the app;
    /// `Conflict` when the app has 100.
    pub async fn add_cert(
        &self,
        actor: &Actor,
        app: AppId,
        chain: &str,
        key: &str,
        only: &[String],
    ) -> Result<Given> {
        let now = Micros::now();
        let checked = certificate::check(chain, key, now).map_err(OpsError::invalid)?;
        let id = uuid::Uuid::new_v4().to_string();
        let sealed_key = self.seal_key(&place(&id), &checked.key)?;
        let (app_name, given) = self
            .store()
            .write(|tx| {
                let app = app::load(tx, app)?.body;
                let hosts = hosts(self.config(), &app);
                let only = chosen(&hosts, only)?;
                let mine = all(tx)?.into_iter().filter(|e| e.app == app.id && !e.acm);
                if mine.count() >= MOST {
                    return Err(OpsError::conflict(format!(
                        "{} has {MOST} certificates already; remove one that is not used any more.",
                        app.name
                    )));
                }
                let name = loop {
                    let name = name::made_up()?.to_string();
                    if tx.get::<Endpoint>(ENDPOINT, &name)?.is_none() {
                        break name;
                    }
                };
                let endpoint = Endpoint {
                    id: id.clone(),
                    name,
                    app: app.id,
                    only,
                    chain: checked.chain.clone(),
                    sealed_key: sealed_key.clone(),
                    facts: checked.facts.clone(),
                    acm: false,
                    created_at: now,
                    updated_at: now,
                };
                tx.insert(ENDPOINT, &endpoint.name, &endpoint)?;
                touch(tx)?;
                let remarks = remarks(&checked.remarks, &endpoint, &hosts, &app);
                Ok((app.name, Given { endpoint, remarks }))
            })
            .await?;
        let names = given.endpoint.facts.names.join(" ");
        tracing::info!(app = %app_name, user = %actor.user, cert = %given.endpoint.name, names, "certificate added");
        Ok(given)
    }

    /// Puts another certificate and key in the place of one.
    ///
    /// # Errors
    /// As [`Ops::add_cert`]; `Conflict` for one that the agent renews.
    pub async fn update_cert(
        &self,
        actor: &Actor,
        app: AppId,
        which: &str,
        chain: &str,
        key: &str,
    ) -> Result<Given> {
        let now = Micros::now();
        let checked = certificate::check(chain, key, now).map_err(OpsError::invalid)?;
        let id = self.cert(app, which).await?.id;
        let sealed_key = self.seal_key(&place(&id), &checked.key)?;
        let given = self
            .store()
            .write(|tx| {
                let app = app::load(tx, app)?.body;
                let mut doc = find(tx, app.id, &id)?;
                if doc.body.acm {
                    return Err(managed_one(&doc.body.name));
                }
                let e = &mut doc.body;
                e.chain = checked.chain.clone();
                e.sealed_key = sealed_key.clone();
                e.facts = checked.facts.clone();
                e.updated_at = now;
                tx.replace(ENDPOINT, &mut doc)?;
                touch(tx)?;
                let hosts = hosts(self.config(), &app);
                let remarks = remarks(&checked.remarks, &doc.body, &hosts, &app);
                let endpoint = doc.body;
                Ok(Given { endpoint, remarks })
            })
            .await?;
        tracing::info!(user = %actor.user, cert = %given.endpoint.name, "certificate replaced");
        Ok(given)
    }

    /// An app's certificates, oldest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn certs(&self, app: AppId) -> Result<Vec<Endpoint>> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                let mut mine = all(tx)?;
                mine.retain(|e| e.app == app);
                mine.sort_by_key(|e| e.created_at);
                Ok(mine)
            })
            .await
    }

    /// One certificate of an app, by its name or id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cert(&self, app: AppId, which: &str) -> Result<Endpoint> {
        self.store().read(|tx| Ok(find(tx, app, which)?.body)).await
    }

    /// Removes a certificate.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for one that the agent renews.
    pub async fn remove_cert(&self, actor: &Actor, app: AppId, which: &str) -> Result<Endpoint> {
        let endpoint = self
            .store()
            .write(|tx| {
                let endpoint = find(tx, app, which)?.body;
                if endpoint.acm {
                    return Err(managed_one(&endpoint.name));
                }
                tx.delete(ENDPOINT, &endpoint.name)?;
                touch(tx)?;
                Ok(endpoint)
            })
            .await?;
        tracing::info!(user = %actor.user, cert = %endpoint.name, "certificate removed");
        Ok(endpoint)
    }

    /// Limits a certificate to one more domain of its app, or shows it for all again (`None`).
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the certificate does not cover the domain.
    pub async fn attach_cert(&self, app: AppId, host: &str, which: &str) -> Result<Endpoint> {
        let host = domain::name_of(&domain::parse(host)?).to_owned();
        self.store()
            .write(|tx| {
                let app = app::load(tx, app)?.body;
                chosen(&hosts(self.config(), &app), std::slice::from_ref(&host))?;
                let mut doc = find(tx, app.id, which)?;
                let e = &mut doc.body;
                if !certificate::covers(&e.facts.names, &host) {
                    return Err(OpsError::invalid(format!(
                        "The certificate {} is for {}, not for {host}.",
                        e.name,
                        certificate::shown(&e.facts.names)
                    )));
                }
                if !e.only.is_empty() && !e.only.contains(&host) {
                    e.only.push(host.clone());
                    tx.replace(ENDPOINT, &mut doc)?;
                    touch(tx)?;
                }
                Ok(doc.body)
            })
            .await
    }

    /// The hosts of its app for which a certificate is shown.
    pub fn cert_hosts(&self, app: &App, endpoint: &Endpoint) -> Vec<String> {
        served(endpoint, &hosts(self.config(), app))
    }

    /// All usable certificates with their keys, for the router and nobody else.
    ///
    /// # Errors
    /// Only of the store; a key that can't be opened is left out with a line in the agent's log.
    pub async fn cert_table(&self) -> Result<CertTable> {
        self.store()
            .read(|tx| {
                let mut table = CertTable {
                    version: version(tx)?,
                    certs: managed::challenge_certs(self, tx)?,
                };
                let apps = tx.list::<App>(app::APP)?;
                for e in all(tx)? {
                    let Some(app) = apps.iter().find(|a| a.body.id == e.app) else {
                        continue;
                    };
                    let names = served(&e, &hosts(self.config(), &app.body));
                    if names.is_empty() {
                        continue;
                    }
                    match self.open_key(&place(&e.id), &e.sealed_key) {
                        Ok(key) => table.certs.push(Cert {
                            names,
                            chain: e.chain,
                            key: key.as_str().to_owned(),
                            challenge: false,
                        }),
                        Err(error) => {
                            tracing::error!(cert = %e.name, "a certificate is not used: {error}");
                        }
                    }
                }
                Ok(table)
            })
            .await
    }

    pub(super) fn seal_key(&self, place: &str, key: &str) -> Result<String> {
        let sealed = self.inner.keyring.seal(place, key.as_bytes())?;
        Ok(data_encoding::BASE64.encode(&sealed))
    }

    pub(super) fn open_key(&self, place: &str, sealed: &str) -> Result<Zeroizing<String>> {
        let sealed = data_encoding::BASE64
            .decode(sealed.as_bytes())
            .with_context(|| format!("the sealed {place} is damaged"))?;
        let plain = self.inner.keyring.open(place, &sealed)?;
        let text = String::from_utf8(plain.to_vec());
        Ok(Zeroizing::new(
            text.map_err(|_| anyhow::anyhow!("the {place} is no text"))?,
        ))
    }
}

fn find(tx: &Tx, app: AppId, which: &str) -> Result<crate::store::Doc<Endpoint>> {
    app::load(tx, app)?;
    let docs = tx.list::<Endpoint>(ENDPOINT)?;
    docs.into_iter()
        .find(|d| d.body.app == app && (d.body.name == which || d.body.id == which))
        .ok_or_else(missing)
}

fn managed_one(name: &str) -> OpsError {
    OpsError::conflict(format!(
        "{name} was got by the agent, which renews it. Ask for a new one with: app certs:auto:refresh; switch it off with: app certs:auto:disable"
    ))
}

/// The named ones of an app's hosts.
fn chosen(hosts: &[String], wanted: &[String]) -> Result<Vec<String>> {
    let mut only = vec![];
    for w in wanted {
        let host = match hosts.contains(w) {
            true => w.clone(),
            false => domain::name_of(&domain::parse(w)?).to_owned(),
        };
        if !hosts.contains(&host) {
            return Err(OpsError::invalid(format!(
                "{host} is no domain of the app. Add it first: app domains:add {host}"
            )));
        }
        only.push(host);
    }
    Ok(only)
}

fn remarks(of_cert: &[String], endpoint: &Endpoint, hosts: &[String], app: &App) -> Vec<String> {
    let mut remarks = of_cert.to_vec();
    let names = certificate::shown(&endpoint.facts.names);
    if served(endpoint, hosts).is_empty() {
        remarks.push(format!(
            "The certificate is for {names}, and none of the domains of {} is among them: it is not shown to anybody yet. Add the domain with: app domains:add",
            app.name
        ));
    }
    for host in &endpoint.only {
        if !certificate::covers(&endpoint.facts.names, host) {
            remarks.push(format!(
                "The certificate is not for {host}, only for {names}."
            ));
        }
    }
    remarks
}
