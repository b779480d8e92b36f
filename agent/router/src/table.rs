//! The live table: host and path to app to dynos; and the register of dynos and rules that outlives single tables.
//!
//! A new table is published first, then the dynos it lacks are closed. So a request either got its dyno before (and is
//! counted) or finds it closed and looks again in the new table.

use crate::affinity::Key;
use crate::dyno::Dyno;
use crate::hosts::{Claims, Hosts, Refused};
use crate::nets::Nets;
use crate::rules::{self, Rules, Verifier};
use hokku_model::route::{AppRoutes, AppState, Front, RouteTable, Target};
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
    /// What stands in front of the router.
    pub front: Front,
    /// The networks of [`Front::trusted`].
    pub trusted: Nets,
    apps: Vec<Arc<App>>,
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
}

/// A group of targets that gets a part of an app's requests.
pub(crate) struct Group {
    /// It gets the requests whose number of 0 to 999 is below this, but not below the group's before.
    pub below: u16,
    /// The release whose dynos these are.
    pub release: Option<u32>,
    pub targets: Vec<Arc<Dyno>>,
}

impl Table {
    /// The app that a request is for: by its exact host, else by a wildcard, else the default app; for a host with
    /// several paths by the longest that covers `path` (see [`crate::path`] for how paths are compared). `host` in lower
    /// case and without port, `path` as sent, without query.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<App>> {
        self.hosts.find(host, path).or(self.default_app.as_ref())
    }

    /// The app of a host's root.
    pub fn find_by_host(&self, host: &str) -> Option<&Arc<App>> {
        self.find(host, "/")
    }

    /// All apps, by id.
    pub fn apps(&self) -> &[Arc<App>] {
        &self.apps
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

/// Dynos, rules and queue counters by id, carried from table to table. Owned by the control loop.
pub(crate) struct Register {
    live: HashMap<DynoId, Arc<Dyno>>,
    leaving: Vec<Arc<Dyno>>,
    waiting: BTreeMap<AppId, Arc<AtomicU32>>,
    rules: BTreeMap<AppId, Arc<Rules>>,
    verifier: Arc<Verifier>,
    empty: Arc<Notify>,
    key: Key,
}

impl Register {
    /// `empty` is rung when a closed dyno has nothing in flight any more. `key`: for the cookies of affinity.
    pub fn new(empty: Arc<Notify>, key: Key) -> Register {
        Register {
            live: HashMap::new(),
            leaving: Vec::new(),
            waiting: BTreeMap::new(),
            rules: BTreeMap::new(),
            verifier: Arc::new(Verifier::new()),
            empty,
            key,
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
                release: share.release,
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

#[cfg(test)]
pub(crate) fn for_test(routing: Routing) -> App {
    let name: AppName = "my-app".parse().unwrap_or_else(|_| unreachable!("a name"));
    let rules = Arc::new(rules::compile(&routing, &Arc::new(Verifier::new())).0);
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::routing::Settings;
    use proptest::prelude::*;

    fn register() -> Register {
        Register::new(Arc::default(), Key::fresh())
    }

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
        let mut register = register();
        let table = register.build(&routes(1, 1000, 1));
        for a in 0..1000 {
            assert_eq!(
                table
                    .find_by_host(&format!("app{a}.example.com"))
                    .unwrap()
                    .id,
                AppId(a)
            );
            assert_eq!(
                table
                    .find_by_host(&format!("www.app{a}.example.com"))
                    .unwrap()
                    .id,
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
            assert!(table.find_by_host(host).is_none(), "{host}");
        }
    }

    #[test]
    fn dynos_keep_their_count_and_leave_closed() {
        let mut register = register();
        let (one, two) = (routes(1, 1, 2), routes(2, 1, 1));
        let first = register.build(&one);
        register.close_missing(&one);
        let app = first.find_by_host("app0.example.com").unwrap();
        let held = app.targets[0].claim().unwrap();
        let leaving = app.targets[1].claim().unwrap();
        let second = register.build(&two);
        register.close_missing(&two);
        assert!(Arc::ptr_eq(
            &second.find_by_host("app0.example.com").unwrap().targets[0],
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
        let mut register = register();
        let mut twice = routes(1, 2, 1);
        twice.apps.get_mut(&AppId(1)).unwrap().hosts =
            vec!["app0.example.com".into(), "own.example.com".into()];
        let table = register.build(&twice);
        assert_eq!(table.find_by_host("app0.example.com").unwrap().id, AppId(0));
        assert_eq!(table.find_by_host("own.example.com").unwrap().id, AppId(1));
    }

    #[test]
    fn the_default_app_takes_what_nobody_claims() {
        let mut register = register();
        let mut all = routes(1, 3, 0);
        all.apps.get_mut(&AppId(1)).unwrap().hosts = vec![
            "*.own.test".into(),
            "app0.example.com/shop".into(),
            "a.*".into(),
        ];
        let of = |t: &Table, host: &str, path: &str| t.find(host, path).map(|a| a.id.0);
        let table = register.build(&all);
        assert_eq!(of(&table, "app0.example.com", "/shop/x"), Some(1));
        assert_eq!(of(&table, "app0.example.com", "/shops"), Some(0));
        assert_eq!(of(&table, "x.own.test", "/"), Some(1));
        assert_eq!(of(&table, "127.0.0.1", "/"), None);
        all.default_app = Some(AppId(2));
        let table = register.build(&all);
        assert_eq!(of(&table, "127.0.0.1", "/"), Some(2));
        assert_eq!(of(&table, "x.own.test", "/"), Some(1));
        assert_eq!(of(&table, "x.y.own.test", "/"), Some(2));
        all.default_app = Some(AppId(77));
        assert_eq!(of(&register.build(&all), "127.0.0.1", "/"), None);
        assert_eq!(table.apps().len(), 3);
    }

    #[test]
    fn rules_are_kept_as_long_as_the_routing_stays() {
        let mut register = register();
        let mut all = routes(1, 2, 1);
        let rules = |t: &Table, n: u32| {
            let host = format!("app{n}.example.com");
            t.find_by_host(&host).unwrap().rules.clone()
        };
        let first = register.build(&all);
        all.apps.get_mut(&AppId(0)).unwrap().routing.https_only = true;
        all.apps.get_mut(&AppId(1)).unwrap().release = Some(2);
        let second = register.build(&all);
        assert!(!Arc::ptr_eq(&rules(&first, 0), &rules(&second, 0)));
        assert!(rules(&second, 0).routing().https_only);
        assert!(Arc::ptr_eq(&rules(&first, 1), &rules(&second, 1)));
        all.apps.clear();
        register.build(&all);
        assert!(register.rules.is_empty());
    }

    #[test]
    fn dynos_of_shares_are_dynos_like_others() {
        let mut register = register();
        let mut one = routes(1, 1, 3);
        let app = one.apps.get_mut(&AppId(0)).unwrap();
        let targets = app.targets.split_off(1);
        let share = |permille, n: usize| hokku_model::route::Share {
            permille,
            release: Some(2),
            targets: vec![targets[n].clone()],
        };
        app.shares = vec![share(300, 0), share(900, 1)];
        let first = register.build(&one);
        register.close_missing(&one);
        let app = first.find_by_host("app0.example.com").unwrap();
        let below: Vec<_> = app.shares.iter().map(|g| g.below).collect();
        assert_eq!(below, [300, 1000]);
        let of_share = app.shares[0].targets[0].clone();
        let claim = of_share.claim().unwrap();
        let mut without = routes(2, 1, 1);
        let second = register.build(&without);
        register.close_missing(&without);
        assert!(of_share.is_closed());
        assert_eq!(register.in_flight(of_share.id), 1);
        drop(claim);
        // promoted: the share's dyno is now a main one, and the same
        without.apps.get_mut(&AppId(0)).unwrap().targets = vec![targets[1].clone()];
        let third = register.build(&without);
        let main = &third.find_by_host("app0.example.com").unwrap().targets[0];
        assert!(!main.is_closed() && main.id == targets[1].dyno);
        assert_eq!(main.tag, app.shares[1].targets[0].tag);
        assert_eq!(
            second
                .find_by_host("app0.example.com")
                .unwrap()
                .targets
                .len(),
            1
        );
    }

    #[test]
    fn what_fronts_the_router_is_trusted_as_told() {
        let mut all = routes(1, 1, 0);
        all.front.trusted = vec!["10.0.0.0/8".into(), "nonsense".into()];
        all.front.health_path = Some("/up".into());
        let table = register().build(&all);
        assert!(table.trusted.contains("10.1.2.3".parse().unwrap()));
        assert!(!table.trusted.contains("127.0.0.1".parse().unwrap()));
        let app = table.find_by_host("app0.example.com").unwrap();
        assert_eq!(app.health_path.as_deref(), Some("/up"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn another_app_changes_nothing(
            other_hosts in proptest::collection::vec("(\\*\\.)?[ab]\\.(test|com)(/[ab%2f.]{0,4})?", 0..4),
            other_rule in "[/ab.%2f]{0,6}",
            other_list in "[0-9./a]{0,10}",
            path in "(/[ab.]{0,3}){0,4}",
            host in "[abc]\\.mine",
        ) {
            let mine = |all: &mut RouteTable| {
                let app = all.apps.get_mut(&AppId(1)).unwrap();
                app.hosts = vec!["a.mine".into(), "a.mine/b".into(), "*.mine".into()];
                app.routing.rules = vec![hokku_model::routing::PathRule {
                    path: "/a".into(),
                    settings: Settings { allow: vec!["10.0.0.0/8".into()], ..Settings::default() },
                }];
            };
            let mut alone = routes(1, 2, 0);
            alone.apps.remove(&AppId(0));
            mine(&mut alone);
            let mut both = routes(1, 2, 0);
            mine(&mut both);
            let other = both.apps.get_mut(&AppId(0)).unwrap();
            other.hosts = other_hosts;
            other.routing.https_only = true;
            other.routing.rules = vec![hokku_model::routing::PathRule {
                path: other_rule,
                settings: Settings { allow: vec![other_list], ..Settings::default() },
            }];
            let decided = |table: Table| {
                let app = table.find(&host, &path).unwrap();
                let request = crate::request::Request {
                    method: "GET",
                    host: &host,
                    path: &path,
                    query: None,
                    client: [192, 0, 2, 1].into(),
                    https: false,
                    fields: &http::HeaderMap::new(),
                };
                let what = match rules::decide(app, &request) {
                    rules::Decision::Reply(reply) => reply.status().to_string(),
                    rules::Decision::Forward(f) => f.path.into_owned(),
                    _ => String::new(),
                };
                (app.id, what)
            };
            prop_assert_eq!(decided(register().build(&alone)), decided(register().build(&both)));
        }
    }
}
