use super::*;
use crate::affinity::Key;
use crate::rules;
use hokku_model::DynoId;
use hokku_model::routing::Settings;
use proptest::prelude::*;

fn register() -> Register {
    Register::new(Arc::default(), Key::fresh(), crate::metrics::Metrics::new())
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
            table.find(&format!("app{a}.example.com"), "/").unwrap().id,
            AppId(a)
        );
        assert_eq!(
            table
                .find(&format!("www.app{a}.example.com"), "/")
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
        assert!(table.find(host, "/").is_none(), "{host}");
    }
}

#[test]
fn dynos_keep_their_count_and_leave_closed() {
    let mut register = register();
    let (one, two) = (routes(1, 1, 2), routes(2, 1, 1));
    let first = register.build(&one);
    register.close_missing(&one);
    let app = first.find("app0.example.com", "/").unwrap();
    let held = app.targets[0].claim().unwrap();
    let leaving = app.targets[1].claim().unwrap();
    let second = register.build(&two);
    register.close_missing(&two);
    assert!(Arc::ptr_eq(
        &second.find("app0.example.com", "/").unwrap().targets[0],
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
    assert_eq!(table.find("app0.example.com", "/").unwrap().id, AppId(0));
    assert_eq!(table.find("own.example.com", "/").unwrap().id, AppId(1));
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
    assert_eq!(table.apps.len(), 3);
}

#[test]
fn rules_are_kept_as_long_as_the_routing_stays() {
    let mut register = register();
    let mut all = routes(1, 2, 1);
    let rules = |t: &Table, n: u32| {
        let host = format!("app{n}.example.com");
        t.find(&host, "/").unwrap().rules.clone()
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
    let app = first.find("app0.example.com", "/").unwrap();
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
    let main = &third.find("app0.example.com", "/").unwrap().targets[0];
    assert!(!main.is_closed() && main.id == targets[1].dyno);
    assert_eq!(main.tag, app.shares[1].targets[0].tag);
    assert_eq!(
        second.find("app0.example.com", "/").unwrap().targets.len(),
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
    let app = table.find("app0.example.com", "/").unwrap();
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
