//! Whatever facts come in whatever order, nothing panics, and a plan is sound by itself.

mod node;

use hokku_core::{
    action::Action,
    check,
    event::Event,
    observed::Observed,
    plan::{explain, plan},
};
use hokku_model::{
    AppId, DynoId, Micros,
    dyno::{DynoRecord, Exit},
    route::RouteTable,
};
use node::{APP, Node, kind, name, release};
use proptest::prelude::*;
use std::{collections::BTreeSet, time::Duration};

fn record() -> impl Strategy<Value = DynoRecord> {
    let names = prop::sample::select(vec!["web.1", "web.2", "web.3", "worker.1", "run.9"]);
    (0u128..8, names, 0u32..4, 0i64..100, 0u128..3).prop_map(|(id, n, version, at, app)| {
        DynoRecord {
            id: DynoId(id),
            name: name(n),
            app: AppId(app),
            app_name: "shop".parse().expect("a name"),
            version,
            slug: None,
            port: n.starts_with("web").then_some(5000 + id as u16),
            command: "x".into(),
            started_at: Micros(at * 1_000_000),
            oneoff: n.starts_with("run"),
            purpose: Default::default(),
            quota: Default::default(),
            care: Default::default(),
        }
    })
}

fn event() -> impl Strategy<Value = Event> {
    let dyno = (0u128..8).prop_map(DynoId);
    let end = (0u128..3, 0u32..4).prop_map(|(a, v)| (AppId(a), v));
    prop_oneof![
        record().prop_map(|record| Event::Ordered { record }),
        (record(), any::<bool>()).prop_map(|(record, routed)| Event::Adopted {
            record,
            routed,
            pid: 1
        }),
        dyno.clone()
            .prop_map(|dyno| Event::Running { dyno, pid: 1 }),
        dyno.clone().prop_map(|dyno| Event::StartFailed {
            dyno,
            error: "x".into()
        }),
        dyno.clone().prop_map(|dyno| Event::Answering { dyno }),
        (dyno.clone(), prop::collection::vec(any::<u16>(), 0..3))
            .prop_map(|(dyno, listening)| Event::BootTimedOut { dyno, listening }),
        (dyno.clone(), any::<i32>()).prop_map(|(dyno, c)| Event::Exited {
            dyno,
            exit: Exit::Code(c & 255)
        }),
        dyno.clone().prop_map(|dyno| Event::StopOrdered { dyno }),
        dyno.clone().prop_map(|dyno| Event::KillOrdered { dyno }),
        (dyno.clone(), 0u64..100_000).prop_map(|(dyno, ms)| Event::DrainOrdered {
            dyno,
            deadline: std::time::Duration::from_millis(ms),
        }),
        dyno.clone().prop_map(|dyno| Event::Drained { dyno }),
        dyno.clone().prop_map(|dyno| Event::StopAsked { dyno }),
        dyno.clone().prop_map(|dyno| Event::ReplaceOrdered { dyno }),
        (dyno, 0usize..4, any::<bool>()).prop_map(|(dyno, check, good)| Event::Checked {
            dyno,
            check,
            outcome: if good { Ok(()) } else { Err("bad".into()) },
        }),
        (0u64..9).prop_map(|version| Event::TableSent {
            table: RouteTable {
                version,
                ..RouteTable::default()
            }
        }),
        any::<u64>().prop_map(|version| Event::Routed { version }),
        (0u64..9).prop_map(|version| Event::RouterCame { version }),
        (0u64..9).prop_map(|version| Event::CertsSent { certs: 0, version }),
        any::<u64>().prop_map(|version| Event::Certified { version }),
        Just(Event::RouterWent),
        end.clone()
            .prop_map(|(app, version)| Event::PromoteOrdered { app, version }),
        end.clone()
            .prop_map(|(app, version)| Event::AbandonOrdered { app, version }),
        end.prop_map(|(app, version)| Event::EndFailed { app, version }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_facts_in_any_order(
        events in prop::collection::vec((event(), -5i64..40), 0..40),
        web in 0u32..4, worker in 0u32..3,
        current in prop::option::of(0u32..4), candidate in prop::option::of(0u32..4),
        order in 0i64..200,
    ) {
        let mut n = Node::new(&[("web", web), ("worker", worker)]);
        n.wish().current = current.map(|v| release(v, &["web", "worker"]));
        n.wish().candidate = candidate.map(|v| release(v, &["web"]));
        n.wish().restarts.by_type.insert(kind("web"), Micros(order * 1_000_000));
        let mut observed = Observed::default();
        let mut now = Micros(100_000_000);
        for (e, seconds) in events {
            now = Micros(now.0 + seconds * 1_000_000); // Clocks are set back, too.
            observed.apply(&e, now);
            let _ = check::check(&n.desired, &observed, now);
            for of in ["web.1", "worker.1", "run.9"] {
                explain::why(&n.desired, &observed, APP, &name(of), now);
            }
            explain::crashed(&n.desired, &observed, APP, now);
            let p = plan(&n.desired, &observed, now);
            prop_assert_eq!(&p, &plan(&n.desired, &observed, now));
            prop_assert!(p.wake_at.is_none_or(|w| w > now), "wakes in the past");
            prop_assert!(p.actions.is_empty() || p.wake_at.is_some());
            let mut dynos = BTreeSet::new();
            let mut starts = BTreeSet::new();
            for (a, reason) in &p.actions {
                prop_assert!(!reason.is_empty());
                match a {
                    Action::Drain { dyno, .. } | Action::Stop { dyno } | Action::Kill { dyno } => {
                        prop_assert!(observed.dynos.contains_key(dyno));
                        prop_assert!(dynos.insert(*dyno), "two orders for one dyno: {:?}", p.actions);
                    }
                    Action::Start { app, name, version } => {
                        prop_assert!(starts.insert((*app, name.clone(), *version)));
                    }
                    Action::Route { table } => prop_assert!(
                        table.version > observed.router.applied || table.version == u64::MAX
                    ),
                    _ => {}
                }
            }
        }
    }
}

/// A node with 200 dynos of 20 apps, half of them in a rollout. Debug builds are far slower than what ships; the
/// bound only catches work that grows with the square.
#[test]
fn a_big_node_is_planned_quickly() {
    let mut n = Node::new(&[("web", 5), ("worker", 5)]);
    n.wish().current = Some(release(1, &["web", "worker"]));
    let wish = n.desired.apps[&APP].clone();
    for app in 2..=20 {
        n.desired.apps.insert(AppId(app), wish.clone());
    }
    n.tell(Event::RouterCame { version: 1 });
    n.rest();
    assert_eq!(n.observed.dynos.len(), 200);
    for (_, wish) in n.desired.apps.iter_mut().take(10) {
        wish.candidate = Some(release(2, &["web"]));
    }
    n.obey();
    let rounds = 50;
    let begin = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(n.plan());
    }
    let each = begin.elapsed() / rounds;
    println!("{each:?} for a plan of {} dynos", n.observed.dynos.len());
    assert!(each < Duration::from_millis(50), "{each:?}");
}
