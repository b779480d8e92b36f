//! Certificates: those that people give, and those that the agent gets and renews by itself (ACME).

use crate::{AppId, Micros};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a certificate says of itself; nothing of it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertFacts {
    /// DNS names it is for, lower case, wildcards among them.
    pub names: Vec<String>,
    /// Not valid before.
    pub starts_at: Micros,
    /// Not valid after.
    pub expires_at: Micros,
    /// Who signed it, as text.
    pub issuer: String,
    /// For whom, as text.
    pub subject: String,
    /// Has it signed itself?
    pub self_signed: bool,
    /// SHA-256 of the leaf in hex.
    pub fingerprint: String,
}

/// A certificate of an app. The private key is kept apart, sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// A UUID that stays through updates.
    pub id: String,
    /// Unique on the node, such as `calm-river-12345`.
    pub name: String,
    /// Whose.
    pub app: AppId,
    /// Only for these of the app's hosts; empty: for every one that the certificate covers.
    #[serde(default)]
    pub only: Vec<String>,
    /// The chain as PEM, leaf first.
    pub chain: String,
    /// The private key, sealed, in base64.
    pub sealed_key: String,
    /// What the leaf says.
    pub facts: CertFacts,
    /// Got by ACME, and renewed by the agent.
    #[serde(default)]
    pub acm: bool,
    /// When first given.
    pub created_at: Micros,
    /// When last replaced.
    pub updated_at: Micros,
}

/// A host name whose certificate the agent gets and renews.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Managed {
    /// The host name, lower case, ASCII.
    pub host: String,
    /// Whose.
    pub app: AppId,
    /// The order under way; it survives the agent.
    #[serde(default)]
    pub order: Option<AcmeOrder>,
    /// What was issued last.
    #[serde(default)]
    pub issued: Option<Issued>,
    /// Why the last attempt failed; gone after a good one.
    #[serde(default)]
    pub trouble: Option<Trouble>,
    /// Somebody asked for a new certificate now (`certs:auto:refresh`).
    #[serde(default)]
    pub asked_at: Option<Micros>,
    /// Since when it is managed.
    pub created_at: Micros,
}

/// An ACME order under way (RFC 8555, section 7.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeOrder {
    /// Its address; `None` until the server has told it.
    pub url: Option<String>,
    /// The new certificate's private key, sealed, in base64; made before anything is ordered.
    pub sealed_key: String,
    /// When it was begun.
    pub since: Micros,
}

/// What was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Name of the [`Endpoint`] that holds it.
    pub endpoint: String,
    /// Valid from.
    pub starts_at: Micros,
    /// Valid until.
    pub expires_at: Micros,
    /// When the server wants it renewed (RFC 9773), if it says.
    #[serde(default)]
    pub window: Option<Window>,
    /// When to ask for the window (again).
    #[serde(default)]
    pub ask_at: Option<Micros>,
}

/// A suggested time of renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Not before.
    pub start: Micros,
    /// Not after.
    pub end: Micros,
}

/// Attempts that failed in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How many.
    pub failures: u32,
    /// When the last one failed.
    pub at: Micros,
    /// Why, in words.
    pub reason: String,
    /// The server said not to come back before this (`Retry-After`).
    #[serde(default)]
    pub retry_at: Option<Micros>,
}

/// What the router has confirmed, told by the loop to whoever waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// ACME's HTTP-01 answers in the table it serves by.
    pub challenges: BTreeMap<String, String>,
    /// Version of the wanted certificates that it has; 0 for none.
    pub certs: u64,
    /// Certificates it could not use, in words: names and reason.
    pub refused: Vec<String>,
}
