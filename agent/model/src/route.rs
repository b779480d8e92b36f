//! The route table, and the messages between the agent and the router.
//!
//! The agent connects to the router's Unix socket (`router.sock`, mode 0600) and both send one JSON document a line.
//! The router keeps the last table in a file of its own, so that it serves after a restart while the agent is away.

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
}

/// One app's part of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppRoutes {
    /// For the log line and the pages.
    pub name: AppName,
    /// Host names, lower case, without port, that lead here. Exact match.
    pub hosts: Vec<String>,
    /// The release whose dynos these are; told to those who ask which release is served.
    pub release: Option<u32>,
    /// Where requests go. Empty: the router waits a little if `starting`, then answers H10, H14 or H81.
    pub targets: Vec<Target>,
    /// How the app stands when there is no target.
    pub state: AppState,
    /// Are answers of text types compressed for clients that take it? Tables from before there was the choice: yes.
    #[serde(default = "yes")]
    pub compress: bool,
}

fn yes() -> bool {
    true
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
    pub addr: SocketAddr,
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
    /// Report `Drained` for this dyno as soon as nothing is in flight to it; cut what is left at the deadline.
    Drain {
        /// Which dyno. It is no longer in the table.
        dyno: DynoId,
        /// Milliseconds until what is left is closed; WebSockets are closed first, each with a close frame.
        deadline_ms: u64,
    },
}

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
    /// Nothing is in flight to this dyno any more.
    Drained {
        /// Which dyno.
        dyno: DynoId,
    },
}

/// The path at which the router itself tells a loopback client which release of the Host's app it serves:
/// `{"app":"name","release":"v3"}`. Used at the end of a push.
pub const RELEASE_PATH: &str = "/.well-known/hokku/release";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_of_older_tables_are_compressed() {
        let old = r#"{"name":"my-app","hosts":[],"release":null,"targets":[],"state":"running"}"#;
        let mut app: AppRoutes = serde_json::from_str(old).unwrap();
        assert!(app.compress);
        app.compress = false;
        let stored = serde_json::to_string(&app).unwrap();
        assert_eq!(serde_json::from_str::<AppRoutes>(&stored).unwrap(), app);
    }
}
