//! The live table: host to app to dynos; and the register of dynos that outlives single tables.
//!
//! A new table is published first, then the dynos it lacks are closed. So a request either got its dyno before (and is
//! counted) or finds it closed and looks again in the new table.

use crate::dyno::Dyno;
use crate::gate::Gate;
use hokku_model::route::{AppState, RouteTable};
use hokku_model::routing::Routing;
use hokku_model::{AppId, AppName, DynoId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use tokio::sync::Notify;

/// What requests are routed by. Never changed once published.
#[derive(Default)]
pub(crate) struct Table {
    pub version: u64,
    hosts: HashMap<Box<str>, Arc<App>>,
}

/// One app of the table.
pub(crate) struct App {
    pub id: AppId,
    pub name: AppName,
    pub release: Option<u32>,
    pub state: AppState,
    /// How its requests are handled.
    pub routing: Routing,
    pub targets: Vec<Arc<Dyno>>,
    /// Requests that wait for a target; shared with the app's entry in later tables.
    pub waiting: Arc<AtomicU32>,
    /// Counts the app's requests where their number is limited; shared likewise.
    pub gate: Arc<Gate>,
}

impl Table {
    /// The app of a host name (lower case, without port).
    pub fn find(&self, host: &str) -> Option<&Arc<App>> {
        self.hosts.get(host)
    }
}

/// Dynos and queue counters by id, carried from table to table. Owned by the control loop.
pub(crate) struct Register {
    live: HashMap<DynoId, Arc<Dyno>>,
    leaving: Vec<Arc<Dyno>>,
    waiting: BTreeMap<AppId, Arc<AtomicU32>>,
    gates: BTreeMap<AppId, Arc<Gate>>,
    empty: Arc<Notify>,
}

impl Register {
    /// `empty` is rung when a closed dyno has nothing in flight any more.
    pub fn new(empty: Arc<Notify>) -> Register {
        Register {
            live: HashMap::new(),
            leaving: Vec::new(),
            waiting: BTreeMap::new(),
            gates: BTreeMap::new(),
            empty,
        }
    }

    /// Makes the table to publish. Publish it, then call [`Register::close_missing`] with the same route table.
    pub fn build(&mut self, routes: &RouteTable) -> Table {
        let mut hosts: HashMap<Box<str>, Arc<App>> = HashMap::new();
        for (id, app) in &routes.apps {
            let targets = app.targets.iter().map(|t| self.dyno(t)).collect();
            let entry = Arc::new(App {
                id: *id,
                name: app.name.clone(),
                release: app.release,
                state: app.state,
                routing: app.routing.clone(),
                targets,
                waiting: self.waiting.entry(*id).or_default().clone(),
                gate: self.gates.entry(*id).or_default().clone(),
            });
            for host in &app.hosts {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                if let Some(first) = hosts.get(host.as_str()) {
                    tracing::warn!(
                        "host {host} is claimed by {} and by {}: it stays with {}",
                        first.name,
                        app.name,
                        first.name
                    );
                    continue;
                }
                hosts.insert(host.into(), entry.clone());
            }
        }
        self.waiting.retain(|id, _| routes.apps.contains_key(id));
        self.gates.retain(|id, _| routes.apps.contains_key(id));
        Table {
            version: routes.version,
            hosts,
        }
    }

    fn dyno(&mut self, target: &hokku_model::route::Target) -> Arc<Dyno> {
        if let Some(known) = self.live.get(&target.dyno) {
            if known.addr == target.addr {
                known.open();
                return known.clone();
            }
            known.close();
            self.leaving.push(known.clone());
        }
        let fresh = Dyno::new(target, self.empty.clone());
        self.live.insert(target.dyno, fresh.clone());
        fresh
    }

    /// Closes the dynos that are not in the published table.
    pub fn close_missing(&mut self, routes: &RouteTable) {
        let wanted: HashSet<DynoId> = routes
            .apps
            .values()
            .flat_map(|a| &a.targets)
            .map(|t| t.dyno)
            .collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::route::{AppRoutes, Target};

    fn routes(version: u64, apps: u32, dynos: u32) -> RouteTable {
        let app = |a: u32| AppRoutes {
            hosts: vec![
                format!("app{a}.example.com"),
                format!("WWW.app{a}.example.com."),
            ],
            release: Some(1),
            targets: (0..dynos)
                .map(|d| Target {
                    dyno: DynoId(u128::from(a) << 32 | u128::from(d)),
                    name: format!("web.{}", d + 1).parse().unwrap(),
                    addr: format!("127.0.0.1:{}", 5000 + d).parse().unwrap(),
                })
                .collect(),
            ..AppRoutes::new(format!("app{a}").parse().unwrap(), AppState::Running)
        };
        RouteTable {
            version,
            apps: (0..apps).map(|a| (AppId(u128::from(a)), app(a))).collect(),
            ..RouteTable::default()
        }
    }

    #[test]
    fn a_thousand_apps_are_found_by_exact_host() {
        let mut register = Register::new(Arc::default());
        let table = register.build(&routes(1, 1000, 1));
        for a in 0..1000 {
            assert_eq!(
                table.find(&format!("app{a}.example.com")).unwrap().id,
                AppId(a)
            );
            assert_eq!(
                table.find(&format!("www.app{a}.example.com")).unwrap().id,
                AppId(a)
            );
        }
        for host in [
            "app1000.example.com",
            "app1.example.co",
            "example.com",
            "",
            "xapp1.example.com",
        ] {
            assert!(table.find(host).is_none(), "{host}");
        }
    }

    #[test]
    fn dynos_keep_their_count_and_leave_closed() {
        let mut register = Register::new(Arc::default());
        let (one, two) = (routes(1, 1, 2), routes(2, 1, 1));
        let first = register.build(&one);
        register.close_missing(&one);
        let app = first.find("app0.example.com").unwrap();
        let held = app.targets[0].claim().unwrap();
        let leaving = app.targets[1].claim().unwrap();
        let second = register.build(&two);
        register.close_missing(&two);
        assert!(Arc::ptr_eq(
            &second.find("app0.example.com").unwrap().targets[0],
            &app.targets[0]
        ));
        assert!(app.targets[1].claim().is_none(), "it left the table");
        assert_eq!(register.in_flight(app.targets[1].id), 1);
        drop(leaving);
        assert_eq!(register.in_flight(app.targets[1].id), 0);
        assert_eq!(register.in_flight(held.dyno().id), 1);
    }

    #[test]
    fn a_host_claimed_twice_stays_with_the_first() {
        let mut register = Register::new(Arc::default());
        let mut twice = routes(1, 2, 1);
        twice.apps.get_mut(&AppId(1)).unwrap().hosts =
            vec!["app0.example.com".into(), "own.example.com".into()];
        let table = register.build(&twice);
        assert_eq!(table.find("app0.example.com").unwrap().id, AppId(0));
        assert_eq!(table.find("own.example.com").unwrap().id, AppId(1));
    }
}
