//! The route table, and the messages between the agent and the router.
//!
//! The agent connects to the router's Unix socket (`router.sock`, mode 0600) and both send one JSON document a line.
//! The router keeps the last table in a file of its own, so that it serves after a restart while the agent is away.

use crate::address::Address;
use crate::routing::Routing;
use crate::{AppId, AppName, DynoId, DynoName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Everything the router has to know. A newer table replaces the older one as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows with every change; the router ignores tables older than its own.
    pub version: u64,
    /// The apps, by id.
    pub apps: BTreeMap<AppId, AppRoutes>,
    /// Takes the requests for hosts that no app claims.
    #[serde(default)]
    pub default_app: Option<AppId>,
    /// What stands in front of the router.
    #[serde(default)]
    pub front: Front,
}

/// What stands in front of the router, and what it answers by itself whatever the Host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Front {
    /// Networks (`10.0.0.0/8`) whose `X-Forwarded-*` and PROXY headers are believed. Nobody else's are.
    pub trusted: Vec<String>,
    /// Do connections of trusted peers begin with a PROXY header (v1 or v2)? Then one without it is closed, as the
    /// specification demands.
    pub proxy_protocol: bool,
    /// Where load balancers ask about health, besides [`HEALTH_PATH`].
    pub health_path: Option<String>,
    /// The app that has to have targets for a good answer; none: all that run have to.
    pub health_app: Option<AppId>,
    /// ACME's HTTP-01: token to key authorization, answered below `/.well-known/acme-challenge/`.
    pub challenges: BTreeMap<String, String>,
}

impl Default for Front {
    fn default() -> Front {
        Front {
            trusted: vec!["127.0.0.0/8".into(), "::1/128".into()],
            proxy_protocol: false,
            health_path: None,
            health_app: None,
            challenges: BTreeMap::new(),
        }
    }
}

/// The path at which the router itself answers load balancers, whatever the Host header.
pub const HEALTH_PATH: &str = "/.well-known/hokku/health";

/// Certificates, told apart from the routes because they change seldom and are secret. A newer table replaces the older.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CertTable {
    /// Grows with every change.
    pub version: u64,
    /// In any order; for a name that several have, the one that is valid longest counts.
    pub certs: Vec<Cert>,
}

/// One certificate with its key.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Cert {
    /// Host names it is for, lower case, `*.example.com` for one level. The name `*` besides, or alone, makes it the one
    /// for clients that name no host, or one that no certificate is for; of several the newest.
    pub names: Vec<String>,
    /// The chain, leaf first, as PEM.
    pub chain: String,
    /// The private key as PEM (PKCS#8, SEC1 or PKCS#1).
    pub key: String,
    /// Only for ACME's TLS-ALPN-01 (RFC 8737): never shown to a client that does not ask for `acme-tls/1`.
    #[serde(default)]
    pub challenge: bool,
}

impl std::fmt::Debug for Cert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cert")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// One app's part of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppRoutes {
    /// For the log line and the pages.
    pub name: AppName,
    /// Host names, lower case, without port, that lead here. `*.example.com` stands for one more label; a name may be
    /// followed by a path prefix, `example.com/shop`. Exact names go before wildcards, longer prefixes before shorter.
    pub hosts: Vec<String>,
    /// The release whose dynos these are; told to those who ask which release is served.
    pub release: Option<u32>,
    /// Where requests go. Empty: the router waits a little if `starting`, then answers H10, H14 or H81.
    pub targets: Vec<Target>,
    /// How the app stands when there is no target.
    pub state: AppState,
    /// Further groups of targets, each with a share of the requests; what they leave goes to `targets`.
    #[serde(default)]
    pub shares: Vec<Share>,
    /// How requests are handled.
    #[serde(default)]
    pub routing: Routing,
}

impl AppRoutes {
    /// An app without hosts and targets.
    pub fn new(name: AppName, state: AppState) -> AppRoutes {
        AppRoutes {
            name,
            hosts: Vec::new(),
            release: None,
            targets: Vec::new(),
            state,
            shares: Vec::new(),
            routing: Routing::default(),
        }
    }
}

/// A group of targets that gets a part of an app's requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Of a thousand requests, so many.
    pub permille: u16,
    /// The release whose dynos these are.
    pub release: Option<u32>,
    /// Where they go. Empty: the share is not taken.
    pub targets: Vec<Target>,
}

/// Why an app may have no target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppState {
    /// Dynos serve or are about to: a request may wait for a target, up to the boot limit (H20).
    #[default]
    Running,
    /// Nothing was ever deployed: H81.
    Blank,
    /// `web` is scaled to zero: H14.
    Stopped,
    /// Every web dyno crashed and waits for its back-off: H10.
    Crashed,
    /// Maintenance mode: H80.
    Maintenance,
}

/// One address of one dyno.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Which dyno.
    pub dyno: DynoId,
    /// Its name for the log line.
    pub name: DynoName,
    /// Where it listens.
    pub addr: Address,
}

/// Agent to router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum RouterOrder {
    /// Take this table if it is newer than yours; answer [`RouterReport::Applied`] either way.
    Table {
        /// The whole table.
        table: RouteTable,
    },
    /// Take these certificates if they are newer than yours; answer [`RouterReport::CertsApplied`] either way.
    Certs {
        /// All of them.
        certs: CertTable,
    },
    /// Report `Drained` for this dyno as soon as nothing is in flight to it; cut what is left at the deadline.
    Drain {
        /// Which dyno. It is no longer in the table.
        dyno: DynoId,
        /// Milliseconds until what is left is closed; WebSockets are closed first, each with a close frame.
        deadline_ms: u64,
    },
    /// Report `InFlight` for this dyno. A router that does not know this says nothing.
    ShowInFlight {
        /// Which dyno.
        dyno: DynoId,
    },
}

/// A request on its way, as it is shown to who owns the app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passing {
    /// `GET`
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Milliseconds since its head was whole.
    pub ms: u64,
}

/// So many requests are shown of one dyno.
pub const PASSING_MAX: usize = 5;

/// Router to agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum RouterReport {
    /// First message on each connection.
    Hello {
        /// The router's process id.
        pid: u32,
        /// Version of the table it serves from; 0 when it has none.
        version: u64,
        /// Where it takes requests.
        listen: Vec<SocketAddr>,
    },
    /// New requests are routed by this table from now on.
    Applied {
        /// Its version.
        version: u64,
    },
    /// New connections get these certificates from now on.
    CertsApplied {
        /// Version of the table they came in.
        version: u64,
        /// Those that can't be used, in words: name and reason.
        refused: Vec<String>,
    },
    /// Nothing is in flight to this dyno any more.
    Drained {
        /// Which dyno.
        dyno: DynoId,
    },
    /// What is in flight to a dyno now.
    InFlight {
        /// Which dyno.
        dyno: DynoId,
        /// How many requests.
        count: usize,
        /// Those that have been for longest, at most [`PASSING_MAX`], the longest first.
        requests: Vec<Passing>,
    },
}

/// The path at which the router itself tells a loopback client which release of the Host's app it serves:
/// `{"app":"name","release":"v3"}`. Used at the end of a push.
pub const RELEASE_PATH: &str = "/.well-known/hokku/release";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_older_agents_are_read() {
        let old = r#"{"version":3,"apps":{}}"#;
        let table: RouteTable = serde_json::from_str(old).unwrap();
        assert_eq!(table.front, Front::default());
        let old = r#"{"name":"my-app","hosts":[],"release":null,"targets":[],"state":"running","compress":true}"#;
        let app: AppRoutes = serde_json::from_str(old).unwrap();
        assert_eq!(
            app,
            AppRoutes::new("my-app".parse().unwrap(), AppState::Running)
        );
    }

    #[test]
    fn keys_are_not_shown() {
        let cert = Cert {
            names: vec!["a.test".into()],
            chain: "CHAIN".into(),
            key: "KEY".into(),
            challenge: false,
        };
        let shown = format!("{cert:?}");
        assert!(
            shown.contains("a.test") && !shown.contains("KEY"),
            "{shown}"
        );
    }
}
