//! The steps of a certificate's order, as far as they are remembered: see the room `acme`.

use super::{
    Ops, OpsError, Result, cert, certificate,
    managed::{ANSWER, Answer, MANAGED, PROOF, Proof, clear_challenges, proof_place},
    name,
};
use crate::store::{Doc, Tx};
use hokku_model::{
    AppId, Micros,
    cert::{AcmeOrder, Endpoint, Issued, Managed, Trouble, Window},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// One document per directory: the account's sealed key.
const ACCOUNT: &str = "acme-account";

/// Characters of a server's words that are kept.
const REASON: usize = 1000;

/// The agent's account at a certificate authority.
#[derive(Clone, Serialize, Deserialize)]
struct Account {
    sealed_key: String,
    id: Option<String>,
}

fn order_place(host: &str) -> String {
    format!("private key of the order for {host}")
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

/// What ACME issued.
struct Issue<'a> {
    app: AppId,
    host: &'a str,
    chain: &'a str,
    key: &'a str,
    /// Name of the certificate that this one replaces.
    before: Option<&'a str>,
}

impl Ops {
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

    /// Stores what ACME issued, in the place of what it issued before.
    fn put_issued(&self, tx: &Tx, issue: Issue) -> Result<Endpoint> {
        let now = Micros::now();
        let old = match issue.before {
            Some(name) => tx.get::<Endpoint>(cert::ENDPOINT, name)?,
            None => None,
        };
        let (id, created_at) = match &old {
            Some(doc) => (doc.body.id.clone(), doc.body.created_at),
            None => (uuid::Uuid::new_v4().to_string(), now),
        };
        let name = match &old {
            Some(doc) => doc.key.clone(),
            None => name::made_up()?.to_string(),
        };
        let endpoint = Endpoint {
            sealed_key: self.seal_key(&cert::place(&id), issue.key)?,
            id,
            name,
            app: issue.app,
            only: vec![issue.host.to_owned()],
            chain: issue.chain.to_owned(),
            facts: certificate::read(issue.chain)
                .map_err(|e| OpsError::Internal(anyhow::anyhow!(e)))?,
            acm: true,
            created_at,
            updated_at: now,
        };
        match old {
            Some(mut doc) => {
                doc.body = endpoint.clone();
                tx.replace(cert::ENDPOINT, &mut doc)?;
            }
            None => tx.insert(cert::ENDPOINT, &endpoint.name, &endpoint)?,
        }
        cert::touch(tx)?;
        Ok(endpoint)
    }
}
