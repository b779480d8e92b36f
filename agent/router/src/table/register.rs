//! What outlives single tables: dynos with their counts, queues, compiled rules.

use super::{App, Group, Table, all_targets};
use crate::affinity::Key;
use crate::dyno::Dyno;
use crate::gate::Gate;
use crate::hosts::{Claims, Refused};
use crate::metrics::Metrics;
use crate::nets::Nets;
use crate::rules::{self, Rules, Verifier};
use hokku_model::route::{AppRoutes, RouteTable, Target};
use hokku_model::{AppId, DynoId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use tokio::sync::Notify;

/// Dynos, rules and queue counters by id, carried from table to table. Owned by the control loop.
pub(crate) struct Register {
    live: HashMap<DynoId, Arc<Dyno>>,
    leaving: Vec<Arc<Dyno>>,
    waiting: BTreeMap<AppId, Arc<AtomicU32>>,
    gates: BTreeMap<AppId, Arc<Gate>>,
    pub(super) rules: BTreeMap<AppId, Arc<Rules>>,
    verifier: Arc<Verifier>,
    empty: Arc<Notify>,
    key: Key,
    metrics: Arc<Metrics>,
}

impl Register {
    /// `empty` is rung when a closed dyno has nothing in flight any more. `key`: for the cookies of affinity.
    pub fn new(empty: Arc<Notify>, key: Key, metrics: Arc<Metrics>) -> Register {
        Register {
            live: HashMap::new(),
            leaving: Vec::new(),
            waiting: BTreeMap::new(),
            gates: BTreeMap::new(),
            rules: BTreeMap::new(),
            verifier: Arc::<Verifier>::default(),
            empty,
            key,
            metrics,
        }
    }

    /// Makes the table to publish. Publish it, then call [`Register::close_missing`] with the same route table.
    pub fn build(&mut self, routes: &RouteTable) -> Table {
        let (trusted, refused) = Nets::read(&routes.front.trusted);
        for text in refused {
            tracing::warn!(
                "{text} is no network and is not trusted: it has to look like 10.0.0.0/8"
            );
        }
        let health_path: Option<Arc<str>> = routes.front.health_path.as_deref().map(Into::into);
        let mut claims = Claims::new();
        let mut apps = Vec::with_capacity(routes.apps.len());
        self.metrics.keep(|id| routes.apps.contains_key(&id));
        for (id, app) in &routes.apps {
            let rules = self.rules_of(*id, app);
            let entry = Arc::new(App {
                id: *id,
                name: app.name.clone(),
                release: app.release,
                state: app.state,
                routing: rules.routing().clone(),
                rules,
                health_path: health_path.clone(),
                targets: app.targets.iter().map(|t| self.dyno(t)).collect(),
                shares: self.shares(app),
                waiting: self.waiting.entry(*id).or_default().clone(),
                gate: self.gates.entry(*id).or_default().clone(),
                slot: self.metrics.slot(*id, &app.name),
            });
            for host in &app.hosts {
                match claims.add(host, entry.clone()) {
                    Ok(()) => {}
                    Err(Refused::Taken(first)) => tracing::warn!(
                        "host {host} is claimed by {} and by {}: it stays with {}",
                        first.name,
                        app.name,
                        first.name
                    ),
                    Err(Refused::Unusable(why)) => {
                        tracing::warn!("host {host} of {} is not routed: {why}", app.name);
                    }
                }
            }
            apps.push(entry);
        }
        let default_app = routes.default_app.and_then(|id| {
            let found = apps.iter().find(|a| a.id == id).cloned();
            if found.is_none() {
                tracing::warn!(
                    "the default app, {id}, is not in the table: requests for unknown hosts get 404"
                );
            }
            found
        });
        self.waiting.retain(|id, _| routes.apps.contains_key(id));
        self.gates.retain(|id, _| routes.apps.contains_key(id));
        self.rules.retain(|id, _| routes.apps.contains_key(id));
        Table {
            version: routes.version,
            front: routes.front.clone(),
            trusted,
            apps,
            hosts: claims.done(),
            default_app,
        }
    }

    /// The app's rules: those of the table before as long as nothing changed.
    fn rules_of(&mut self, id: AppId, app: &AppRoutes) -> Arc<Rules> {
        if let Some(known) = self.rules.get(&id)
            && **known.routing() == app.routing
        {
            return known.clone();
        }
        let (fresh, refused) = rules::compile(&app.routing, &self.verifier);
        for text in refused {
            tracing::warn!("routing of {}: {text}", app.name);
        }
        let fresh = Arc::new(fresh);
        self.rules.insert(id, fresh.clone());
        fresh
    }

    fn shares(&mut self, app: &AppRoutes) -> Vec<Group> {
        let (mut all, mut taken) = (Vec::with_capacity(app.shares.len()), 0u16);
        for share in &app.shares {
            let below = taken.saturating_add(share.permille);
            if below > 1000 {
                tracing::warn!(
                    "the shares of {} are more than the whole: the last ones get what is left",
                    app.name
                );
            }
            taken = below.min(1000);
            all.push(Group {
                below: taken,
                targets: share.targets.iter().map(|t| self.dyno(t)).collect(),
            });
        }
        all
    }

    fn dyno(&mut self, target: &Target) -> Arc<Dyno> {
        if let Some(known) = self.live.get(&target.dyno) {
            if known.addr == target.addr {
                known.open();
                return known.clone();
            }
            known.close();
            self.leaving.push(known.clone());
        }
        let fresh = Dyno::new(target, self.empty.clone(), &self.key);
        self.live.insert(target.dyno, fresh.clone());
        fresh
    }

    /// Closes the dynos that are not in the published table.
    pub fn close_missing(&mut self, routes: &RouteTable) {
        let wanted: HashSet<DynoId> = all_targets(routes).map(|t| t.dyno).collect();
        let gone: Vec<DynoId> = self
            .live
            .keys()
            .filter(|id| !wanted.contains(id))
            .copied()
            .collect();
        for dyno in gone.iter().filter_map(|id| self.live.remove(id)) {
            dyno.close();
            self.leaving.push(dyno);
        }
        self.forget_empty();
    }

    /// No more requests for this dyno, whatever the table says.
    pub fn close(&mut self, id: DynoId) {
        if let Some(dyno) = self.live.get(&id) {
            dyno.close();
        }
    }

    /// Requests in flight to a dyno, over all addresses it ever had.
    pub fn in_flight(&self, id: DynoId) -> u64 {
        let all = self
            .live
            .get(&id)
            .into_iter()
            .chain(self.leaving.iter().filter(|d| d.id == id));
        all.map(|d| d.in_flight()).sum()
    }

    /// Drops what has left and has nothing in flight.
    pub fn forget_empty(&mut self) {
        self.leaving.retain(|d| d.in_flight() > 0);
    }
}
impl Table {
    /// Opens the gates as wide as this table says. Once it is the one that requests are decided by: who is let in at once
    /// looks there.
    pub fn set_gates(&self) {
        for app in &self.apps {
            app.gate.set_limit(limit(app));
        }
    }
}

/// Requests at once: what the app was given, or what its dynos take together. Without a dyno requests wait for one, not for
/// a place.
fn limit(app: &App) -> Option<u32> {
    let shared = app.shares.iter().map(|g| g.targets.len()).sum::<usize>();
    let dynos = u32::try_from(app.targets.len() + shared).unwrap_or(u32::MAX);
    let together = (app.routing.dyno_connections)
        .filter(|_| dynos > 0)
        .map(|n| n.saturating_mul(dynos));
    app.routing.connections.into_iter().chain(together).min()
}
