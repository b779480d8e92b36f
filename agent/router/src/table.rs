//! The live table: host and path to app to dynos; and the register of dynos and rules that outlives single tables.
//!
//! A new table is published first, then the dynos it lacks are closed. So a request either got its dyno before (and is
//! counted) or finds it closed and looks again in the new table.

mod register;
#[cfg(test)]
mod tests;

pub(crate) use register::Register;

use crate::dyno::Dyno;
use crate::gate::Gate;
use crate::hosts::Hosts;
use crate::nets::Nets;
use crate::rules::Rules;
use hokku_model::route::{AppRoutes, AppState, Front, RouteTable, Target};
use hokku_model::routing::Routing;
use hokku_model::{AppId, AppName};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// What requests are routed by. Never changed once published.
#[derive(Default)]
pub(crate) struct Table {
    pub version: u64,
    /// What stands in front of the router.
    pub front: Front,
    /// The networks of [`Front::trusted`].
    pub trusted: Nets,
    /// Each app once, also those without hosts; by id.
    pub apps: Vec<Arc<App>>,
    hosts: Hosts<Arc<App>>,
    default_app: Option<Arc<App>>,
}

/// One app of the table.
pub(crate) struct App {
    pub id: AppId,
    pub name: AppName,
    pub release: Option<u32>,
    pub state: AppState,
    /// How its requests are handled, as told.
    pub routing: Arc<Routing>,
    /// The same, ready for use.
    pub rules: Arc<Rules>,
    /// [`Front::health_path`]: never redirected.
    pub health_path: Option<Arc<str>>,
    pub targets: Vec<Arc<Dyno>>,
    /// Groups of targets that get a part of the requests.
    pub shares: Vec<Group>,
    /// Requests that wait for a target; shared with the app's entry in later tables.
    pub waiting: Arc<AtomicU32>,
    /// Counts the app's requests where their number is limited; shared likewise.
    pub gate: Arc<Gate>,
    /// Its row among the figures.
    pub slot: u32,
}

/// A group of targets that gets a part of an app's requests.
pub(crate) struct Group {
    /// It gets the requests whose number of 0 to 999 is below this, but not below the group's before.
    pub below: u16,
    pub targets: Vec<Arc<Dyno>>,
}

impl Table {
    /// The app that a request is for: by its exact host, else by a wildcard, else the default app; for a host with
    /// several paths by the longest that covers `path` (see [`crate::path`] for how paths are compared). `host` in lower
    /// case and without port, `path` as sent, without query.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<App>> {
        self.hosts.find(host, path).or(self.default_app.as_ref())
    }

    /// Do this peer's connections begin with a PROXY header?
    pub fn sends_proxy_header(&self, peer: std::net::IpAddr) -> bool {
        self.front.proxy_protocol && self.trusted.contains(peer)
    }
}

/// Every target of a table, those of shares too.
pub(crate) fn all_targets(routes: &RouteTable) -> impl Iterator<Item = &Target> {
    routes.apps.values().flat_map(targets_of)
}

fn targets_of(app: &AppRoutes) -> impl Iterator<Item = &Target> {
    let shared = app.shares.iter().flat_map(|s| &s.targets);
    app.targets.iter().chain(shared)
}

#[cfg(test)]
pub(crate) fn for_test(routing: Routing) -> App {
    let name: AppName = "my-app".parse().unwrap_or_else(|_| unreachable!("a name"));
    let rules = Arc::new(crate::rules::compile(&routing, &Arc::default()).0);
    App {
        id: AppId(1),
        name,
        release: Some(1),
        state: AppState::Running,
        routing: rules.routing().clone(),
        rules,
        health_path: None,
        targets: Vec::new(),
        shares: Vec::new(),
        waiting: Arc::default(),
        gate: Arc::default(),
        slot: 0,
    }
}
