//! Each step of the plan, by scripts of facts and what the plan says to them.

mod node;

use hokku_core::{action::Action, event::Event, limits, plan::explain};
use hokku_model::{AppId, Micros};
use node::*;

#[test]
fn nothing_is_done_before_the_store_was_read() {
    let mut n = Node::running(1, &[("web", 2)]);
    n.desired = Default::default();
    assert!(n.plan().actions.is_empty());
    n.desired.generation = 5;
    assert!(
        !n.plan().actions.is_empty(),
        "an empty store that was read destroys"
    );
}

#[test]
fn first_deploy() {
    let mut n = Node::new(&[("web", 1), ("worker", 0)]);
    n.tell(Event::RouterCame { version: 41 });
    assert_eq!(n.obey(), ["route Blank []"]);
    assert_eq!(
        n.observed.router.newest, 42,
        "numbers go on from the router's"
    );
    n.confirm();
    n.wish().candidate = Some(release(1, &["web", "worker"]));
    assert_eq!(n.obey(), ["start web.1 v1"]);
    assert_eq!(n.says(), [""; 0]);
    n.tell(Event::Running {
        dyno: n.id("web.1"),
        pid: 7,
    });
    assert_eq!(n.says(), [""; 0]);
    n.tell(Event::Answering {
        dyno: n.id("web.1"),
    });
    assert_eq!(n.obey(), ["promote v1"]);
    assert_eq!(n.says(), [""; 0], "not twice");
    n.wish().current = n.wish().candidate.take();
    assert_eq!(n.obey(), ["route Running [web.1 v1]"]);
    n.confirm();
    let p = n.plan();
    assert!(p.actions.is_empty() && p.wake_at.is_none(), "{p:?}");
}

#[test]
fn redeploy_step_by_step() {
    let mut n = Node::running(1, &[("web", 2), ("worker", 1)]);
    n.wish().candidate = Some(release(2, &["web", "worker"]));
    assert_eq!(n.obey(), ["start web.1 v2", "start web.2 v2"]);
    n.up(n.id("web.1"));
    assert_eq!(n.says(), [""; 0], "one of two is not enough");
    n.up(n.id("web.2"));
    assert_eq!(n.obey(), ["promote v2"]);
    n.wish().current = n.wish().candidate.take();
    assert_eq!(
        n.obey(),
        [
            "route Running [web.1 v2, web.2 v2]",
            "start worker.1 v2",
            "stop worker.1 v1"
        ]
    );
    assert_eq!(n.says(), [""; 0], "the router has not confirmed");
    n.confirm();
    assert_eq!(n.obey(), ["drain web.1 v1 30s", "drain web.2 v1 30s"]);
    n.tell(Event::Drained {
        dyno: n.id_of("web.1", 1),
    });
    assert_eq!(n.obey(), ["stop web.1 v1"]);
    n.pass(30.0);
    // Together with the worker, which got its SIGTERM at the same grid point.
    assert_eq!(n.obey(), ["kill web.1 v1", "kill worker.1 v1"]);
    n.pass(8.0);
    assert_eq!(n.obey(), ["stop web.2 v1"], "the router never said Drained");
    n.rest();
    assert_eq!(n.observed.dynos.len(), 3);
}

#[test]
fn a_lost_end_is_asked_for_again() {
    let mut n = Node::running(1, &[("web", 1)]);
    n.wish().candidate = Some(release(2, &["web"]));
    n.obey();
    n.up(n.id("web.1"));
    assert_eq!(n.obey(), ["promote v2"]);
    assert_eq!(n.plan().wake_at, Some(n.now.plus(limits::END_AGAIN)));
    n.tell(Event::EndFailed {
        app: APP,
        version: 2,
    });
    assert_eq!(n.says(), [""; 0], "not at once");
    n.pass(1.0);
    assert_eq!(n.obey(), ["promote v2"]);
    n.pass(10.0);
    n.exit(n.id("web.1"), 1);
    assert_eq!(n.obey(), ["abandon v2"], "it failed meanwhile");
}

#[test]
fn a_failing_candidate_is_abandoned_with_a_reason() {
    type Fail = fn(&mut Node);
    let table: [(Fail, &[&str]); 4] = [
        (
            |n| n.exit(n.id("web.2"), 3),
            &[
                "web.2 of v2",
                "exit status 3",
                "v1 stays",
                "app logs -d web.2",
            ],
        ),
        (
            |n| n.exit(n.id("web.2"), 0),
            &["web.2 of v2", "exit status 0"],
        ),
        (
            |n| {
                n.tell(Event::Running {
                    dyno: n.id("web.2"),
                    pid: 7,
                });
                n.pass(60.2);
                let dyno = n.id("web.2");
                n.tell(Event::BootTimedOut {
                    dyno,
                    listening: vec![3000],
                });
            },
            &[
                "web.2 of v2",
                "within 60 seconds",
                "port 3000 instead",
                "0.0.0.0:$PORT (500",
            ],
        ),
        (
            |n| {
                let dyno = n.id("web.2");
                n.tell(Event::StartFailed {
                    dyno,
                    error: "no space left".into(),
                });
            },
            &["web.2 of v2", "could not be started: no space left."],
        ),
    ];
    for (fail, words) in table {
        let mut n = Node::running(1, &[("web", 2)]);
        n.wish().candidate = Some(release(2, &["web"]));
        n.obey();
        n.up(n.id("web.1"));
        fail(&mut n);
        let p = n.plan();
        let reason = p.actions.iter().find_map(|(a, _)| match a {
            Action::Abandon { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        let reason = reason.expect("abandoned");
        for w in words {
            assert!(reason.contains(w), "{w:?} is not in {reason:?}");
        }
        n.obey();
        assert_eq!(n.says(), [""; 0], "no dyno of a candidate is started again");
        n.wish().candidate = None;
        let said = n.says();
        assert!(said.contains(&"drain web.1 v2 30s".to_string()), "{said:?}");
        assert!(!said.iter().any(|s| s.contains("v1")), "{said:?}");
        n.rest();
        assert_eq!(n.observed.dynos.len(), 2);
    }
}

#[test]
fn a_newer_candidate_takes_the_place_of_an_unfinished_one() {
    let mut n = Node::running(1, &[("web", 1)]);
    n.wish().candidate = Some(release(2, &["web"]));
    n.obey();
    n.up(n.id("web.1"));
    n.obey();
    n.wish().candidate = Some(release(3, &["web"]));
    assert_eq!(n.obey(), ["drain web.1 v2 30s", "start web.1 v3"]);
    n.rest();
    n.wish().current = n.wish().candidate.take();
    n.rest();
    assert_eq!(n.observed.dynos.len(), 1);
}

#[test]
fn what_decides_on_a_promotion() {
    // Wanted formation, process types of the candidate, what is started for it, seconds until it may be promoted.
    type Case = (
        &'static [(&'static str, u32)],
        &'static [&'static str],
        &'static [&'static str],
        f64,
    );
    let table: [Case; 5] = [
        (
            &[("web", 1), ("worker", 1)],
            &["web", "worker"],
            &["start web.1 v2"],
            0.0,
        ),
        (
            &[("web", 0), ("worker", 2)],
            &["web", "worker"],
            &["start worker.1 v2", "start worker.2 v2"],
            1.0,
        ),
        (
            &[("web", 1), ("worker", 1)],
            &["worker"],
            &["start worker.1 v2"],
            1.0,
        ),
        (&[("web", 0)], &["web", "worker"], &["promote v2"], 0.0),
        (&[("release", 1)], &["release"], &["promote v2"], 0.0),
    ];
    for (formation, kinds, started, wait) in table {
        let mut n = Node::new(formation);
        n.wish().candidate = Some(release(2, kinds));
        assert_eq!(n.obey(), started, "{formation:?}");
        if started == ["promote v2"] {
            continue;
        }
        let ids: Vec<_> = n.observed.dynos.keys().copied().collect();
        ids.into_iter().for_each(|d| n.up(d));
        if wait > 0.0 {
            assert_eq!(n.says(), [""; 0]);
            assert_eq!(n.plan().wake_at, Some(n.now.plus(limits::GATE)));
            n.pass(wait);
        }
        assert_eq!(n.says(), ["promote v2"], "{formation:?}");
    }
    let mut n = Node::running(1, &[("web", 1)]);
    n.wish().candidate = Some(release(2, &["web"]));
    n.wish().candidate.as_mut().expect("one").slug = None;
    assert_eq!(
        n.says(),
        ["promote v2"],
        "without a slug there is nothing to run"
    );
}

#[test]
fn back_off() {
    let mut n = Node::running(1, &[("worker", 1)]);
    let waits = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 300.0, 300.0];
    for (i, wait) in waits.into_iter().enumerate() {
        n.exit(n.id("worker.1"), 0);
        n.pass(wait * 0.89);
        if wait > 0.0 {
            assert_eq!(n.says(), [""; 0], "crash {i}");
            assert!(n.plan().wake_at.is_some_and(|w| w > n.now));
        }
        n.pass(wait * 0.22);
        assert_eq!(n.obey(), ["start worker.1 v1"], "crash {i}");
        n.up(n.id("worker.1"));
    }
    n.pass(60.0);
    n.exit(n.id("worker.1"), 1);
    assert_eq!(
        n.obey(),
        ["start worker.1 v1"],
        "a healthy minute starts the count anew"
    );
    for _ in 0..3 {
        n.exit(n.id("worker.1"), 1);
        n.pass(10.0);
        n.obey();
    }
    n.exit(n.id("worker.1"), 1);
    assert_eq!(n.says(), [""; 0]);
    n.pass(0.5);
    n.wish().restarts.all = n.now;
    assert_eq!(n.obey(), ["start worker.1 v1"], "so does a restart order");
    n.pass(0.5);
    n.exit(n.id("worker.1"), 1);
    assert_eq!(
        n.says(),
        ["start worker.1 v1"],
        "and the crashes before it are not counted"
    );
}

#[test]
fn a_crashed_web_dyno_leaves_the_table_and_comes_back() {
    let mut n = Node::running(1, &[("web", 2)]);
    n.exit(n.id("web.1"), 1);
    assert_eq!(n.obey(), ["route Running [web.2 v1]", "start web.1 v1"]);
    n.exit(n.id("web.1"), 1);
    n.exit(n.id("web.2"), 1);
    n.obey();
    n.exit(n.id("web.2"), 1);
    assert_eq!(n.says(), ["route Crashed []"]);
    let crashed = explain::crashed(&n.desired, &n.observed, APP, n.now);
    assert_eq!(
        crashed
            .iter()
            .map(|c| c.name.to_string())
            .collect::<Vec<_>>(),
        ["web.1", "web.2"]
    );
    assert!(
        crashed[0].due > n.now && crashed[0].text.contains("2 times in a row"),
        "{crashed:?}"
    );
    n.pass(2.0);
    n.rest();
    assert_eq!(n.observed.dynos.len(), 2);
}

#[test]
fn scaling() {
    let mut n = Node::running(1, &[("web", 3), ("worker", 2)]);
    n.wish().formation = [(kind("web"), 1), (kind("worker"), 1)].into();
    assert_eq!(n.obey(), ["route Running [web.1 v1]", "stop worker.2 v1"]);
    n.confirm();
    assert_eq!(n.obey(), ["drain web.2 v1 30s", "drain web.3 v1 30s"]);
    n.wish().formation = [(kind("web"), 2), (kind("worker"), 2)].into();
    assert_eq!(
        n.obey(),
        ["start web.2 v1"],
        "the worker before is not yet gone"
    );
    n.exit(n.id("worker.2"), 143);
    assert_eq!(n.obey(), ["start worker.2 v1"]);
    n.rest();
    assert_eq!(n.observed.dynos.len(), 4);
    n.wish().formation = [(kind("web"), 0)].into();
    assert_eq!(
        n.obey(),
        ["route Stopped []", "stop worker.1 v1", "stop worker.2 v1"]
    );
    n.rest();
    assert!(n.observed.dynos.is_empty());
    n.wish().formation = [(kind("worker"), u32::MAX)].into();
    assert_eq!(n.says().len(), limits::MOST_PER_TYPE as usize);
}

#[test]
fn scaling_during_a_rollout() {
    let mut n = Node::running(1, &[("web", 2)]);
    n.wish().candidate = Some(release(2, &["web"]));
    n.obey();
    n.up(n.id_of("web.1", 2));
    n.wish().formation = [(kind("web"), 1)].into();
    assert_eq!(
        n.obey(),
        [
            "drain web.2 v2 30s",
            "promote v2",
            "route Running [web.1 v1]"
        ]
    );
    n.wish().formation = [(kind("web"), 3)].into();
    n.wish().current = n.wish().candidate.take();
    // web.1 of v2 is up, web.2 and web.3 are not: the old ones serve until they are, also the one that was to leave
    // and has not left yet.
    assert_eq!(
        n.obey(),
        [
            "route Running [web.1 v1, web.2 v1]",
            "start web.2 v2",
            "start web.3 v2"
        ]
    );
    n.up(n.id("web.2"));
    n.exit(n.id("web.3"), 1);
    let said = n.says();
    assert!(
        said.contains(&"route Running [web.1 v2, web.2 v2]".to_string()),
        "{said:?}"
    );
    n.rest();
    assert_eq!(n.observed.dynos.len(), 3);
}

#[test]
fn restart_of_web_starts_beside_and_of_workers_after() {
    let mut n = Node::running(1, &[("web", 1), ("worker", 1)]);
    let (web, worker) = (n.id("web.1"), n.id("worker.1"));
    n.pass(5.0);
    n.wish().restarts.all = n.now;
    assert_eq!(n.obey(), ["start web.1 v1", "stop worker.1 v1"]);
    n.exit(worker, 143);
    assert_eq!(n.obey(), ["start worker.1 v1"]);
    // The replacement fails: the old one serves on.
    n.exit(n.id("web.1"), 1);
    assert_eq!(n.obey(), ["start web.1 v1"]);
    n.exit(n.id("web.1"), 1);
    assert_eq!(n.says(), [""; 0], "backs off");
    assert!(n.observed.dynos[&web].serves());
    n.pass(1.2);
    assert_eq!(n.obey(), ["start web.1 v1"]);
    n.up(n.id("web.1"));
    assert_eq!(n.obey(), ["route Running [web.1 v1]"]);
    n.confirm();
    assert_eq!(n.obey(), ["drain web.1 v1 30s"]);
    assert!(!n.observed.dynos[&web].stays());
    n.rest();
}

#[test]
fn an_order_from_the_future_restarts_nothing_yet() {
    let mut n = Node::running(1, &[("web", 1)]);
    n.wish().restarts.all = n.now.plus(limits::GRACE);
    assert_eq!(n.says(), [""; 0]);
}

#[test]
fn stop_on_request() {
    let mut n = Node::running(1, &[("web", 2), ("worker", 1)]);
    let (web, worker) = (n.id("web.1"), n.id("worker.1"));
    n.tell(Event::StopAsked { dyno: web });
    n.tell(Event::StopAsked { dyno: worker });
    assert_eq!(
        n.obey(),
        [
            "route Running [web.2 v1]",
            "start web.1 v1",
            "stop worker.1 v1"
        ]
    );
    n.confirm();
    assert_eq!(n.obey(), ["drain web.1 v1 30s"]);
    n.exit(worker, 143);
    assert_eq!(n.obey(), ["start worker.1 v1"]);
    assert!(n.observed.slots.is_empty(), "an ordered end is no crash");
}

#[test]
fn one_offs_are_only_stopped() {
    let mut n = Node::running(1, &[]);
    let r = n.record(APP, name("run.1234"), 1);
    n.tell(Event::Ordered { record: r });
    n.pass(7200.0);
    assert_eq!(n.says(), [""; 0]);
    n.up(n.id("run.1234"));
    n.tell(Event::StopAsked {
        dyno: n.id("run.1234"),
    });
    assert_eq!(n.obey(), ["stop run.1234 v1"]);
    n.pass(30.0);
    assert_eq!(n.obey(), ["kill run.1234 v1"]);
    n.exit(n.id("run.1234"), 137);
    assert_eq!(n.says(), [""; 0]);
    assert!(n.observed.slots.is_empty());
}

#[test]
fn a_destroyed_app_leaves_with_all_it_has() {
    let mut n = Node::running(1, &[("web", 1), ("worker", 1)]);
    let r = n.record(APP, name("run.1234"), 1);
    n.tell(Event::Ordered { record: r });
    n.desired.apps.clear();
    assert_eq!(n.obey(), ["route ", "stop run.1234 v1", "stop worker.1 v1"]);
    n.confirm();
    assert_eq!(n.obey(), ["drain web.1 v1 30s"]);
    n.rest();
    assert!(n.observed.dynos.is_empty());
}

#[test]
fn with_the_router_away() {
    let mut n = Node::running(1, &[("web", 1)]);
    n.tell(Event::RouterWent);
    n.wish().candidate = Some(release(2, &["web"]));
    n.obey();
    n.up(n.id("web.1"));
    assert_eq!(n.obey(), ["promote v2"]);
    n.wish().current = n.wish().candidate.take();
    n.pass(100_000.0);
    assert_eq!(
        n.says(),
        [""; 0],
        "the router may still send requests to v1"
    );
    n.wish().candidate = Some(release(3, &["web"]));
    n.obey();
    n.up(n.id("web.1"));
    n.obey();
    n.wish().current = n.wish().candidate.take();
    assert_eq!(
        n.says(),
        ["stop web.1 v2"],
        "the router was never told of v2, and nothing can be in flight to it"
    );
    let mut d = Node::running(1, &[("web", 1)]);
    d.tell(Event::RouterWent);
    d.desired.apps.clear();
    d.pass(299.0);
    assert_eq!(d.says(), [""; 0]);
    assert_eq!(
        d.plan().wake_at,
        Some(d.now.plus(std::time::Duration::from_secs(1)))
    );
    d.pass(1.0);
    assert_eq!(d.says(), ["stop web.1 v1"], "destroying always ends");
    n.tell(Event::RouterCame { version: 77 });
    let p = n.plan();
    let version = p.actions.iter().find_map(|(a, _)| match a {
        Action::Route { table } => Some(table.version),
        _ => None,
    });
    assert_eq!(version, Some(78));
}

#[test]
fn a_router_that_comes_back_drains_again_and_one_that_is_silent_is_asked_again() {
    let mut n = Node::running(1, &[("web", 2)]);
    n.wish().formation = [(kind("web"), 1)].into();
    assert_eq!(n.obey(), ["route Running [web.1 v1]"]);
    n.pass(10.0);
    assert_eq!(
        n.obey(),
        ["route Running [web.1 v1]"],
        "not confirmed in ten seconds"
    );
    n.confirm();
    assert_eq!(n.obey(), ["drain web.2 v1 30s"]);
    n.pass(12.0);
    n.tell(Event::RouterWent);
    assert_eq!(n.says(), [""; 0]);
    n.tell(Event::RouterCame { version: 3 });
    assert_eq!(n.obey(), ["route Running [web.1 v1]"]);
    n.tell(Event::Routed { version: 2 });
    assert_eq!(
        n.says(),
        [""; 0],
        "a late report of the old connection confirms nothing"
    );
    n.confirm();
    assert_eq!(n.obey(), ["drain web.2 v1 18s"]);
    n.tell(Event::RouterWent);
    n.pass(26.0);
    assert_eq!(
        n.says(),
        ["stop web.2 v1"],
        "the router has cut what was left"
    );
}

#[test]
fn the_drain_time_of_an_app_is_kept_from_the_order_on() {
    let mut n = Node::running(1, &[("web", 2)]);
    n.wish().routing.drain_ms = Some(4 * 3_600_000);
    n.obey();
    n.confirm();
    n.wish().formation = [(kind("web"), 1)].into();
    n.obey();
    n.confirm();
    assert_eq!(n.obey(), ["drain web.2 v1 14400s"]);
    // neither another time, a deploy nor another router moves the deadline
    n.pass(3600.0);
    n.wish().routing.drain_ms = None;
    n.wish().candidate = Some(release(2, &["web"]));
    n.obey();
    n.confirm();
    n.up(n.id("web.1"));
    n.obey();
    n.wish().current = n.wish().candidate.take();
    n.obey();
    n.confirm();
    assert_eq!(n.obey(), ["drain web.1 v1 30s"]);
    n.tell(Event::Drained {
        dyno: n.id_of("web.1", 1),
    });
    assert_eq!(n.obey(), ["stop web.1 v1"]);
    n.tell(Event::RouterWent);
    n.tell(Event::RouterCame { version: 3 });
    n.obey();
    n.confirm();
    assert_eq!(n.obey(), ["drain web.2 v1 10800s"]);
    n.desired.apps.clear();
    n.obey();
    n.confirm();
    let web2 = n.id_of("web.2", 1);
    n.pass(10_807.0);
    let stops = |said: Vec<String>| said.contains(&"stop web.2 v1".to_string());
    assert!(!stops(n.says()), "its sockets are being closed");
    n.tell(Event::Drained { dyno: web2 });
    assert!(stops(n.says()), "nothing is in flight any more");
}

#[test]
fn an_agent_lost_between_promotion_and_table_does_not_empty_the_routes() {
    let mut n = Node::new(&[("web", 1)]);
    n.wish().current = Some(release(2, &["web"]));
    for (version, routed) in [(1, true), (2, false)] {
        let record = n.record(APP, name("web.1"), version);
        n.tell(Event::Adopted {
            record,
            routed,
            pid: 7,
        });
    }
    n.tell(Event::RouterCame { version: 9 });
    assert_eq!(n.obey(), ["route Running [web.1 v1]"]);
    n.confirm();
    assert_eq!(n.says(), [""; 0]);
    n.tell(Event::Answering {
        dyno: n.id_of("web.1", 2),
    });
    assert_eq!(n.obey(), ["route Running [web.1 v2]"]);
    n.confirm();
    assert_eq!(n.obey(), ["drain web.1 v1 30s"]);
    n.wish().formation = [(kind("web"), 2)].into();
    assert_eq!(
        n.says(),
        ["start web.2 v2"],
        "once handed over there is no way back"
    );
}

#[test]
fn a_release_that_breaks_right_after_its_promotion_leaves_the_old_one_serving() {
    let mut n = Node::running(1, &[("web", 1)]);
    n.wish().candidate = Some(release(2, &["web"]));
    n.obey();
    n.up(n.id("web.1"));
    n.obey();
    n.wish().current = n.wish().candidate.take();
    n.exit(n.id_of("web.1", 2), 1);
    assert_eq!(n.obey(), ["start web.1 v2"]);
    n.exit(n.id_of("web.1", 2), 1);
    assert_eq!(n.says(), [""; 0]);
    let why = explain::why_dyno(&n.desired, &n.observed, n.id_of("web.1", 1), n.now);
    assert_eq!(
        why,
        "web.1 of v1 serves until the dynos of the new release are known to be up."
    );
    n.pass(1.2);
    n.rest();
    assert_eq!(n.observed.dynos.len(), 1);
}

#[test]
fn adopted_dynos_that_should_not_be_there_drain_too() {
    let mut n = Node::new(&[("web", 1)]);
    n.wish().current = Some(release(2, &["web"]));
    let record = n.record(APP, name("web.1"), 1);
    n.tell(Event::Adopted {
        record,
        routed: false,
        pid: 7,
    });
    assert_eq!(n.obey(), ["start web.1 v2"]);
    n.pass(29.0);
    assert_eq!(n.says(), [""; 0], "it may have been draining");
    n.tell(Event::RouterCame { version: 9 });
    n.obey();
    n.confirm();
    assert_eq!(n.says(), ["drain web.1 v1 30s"]);
}

#[test]
fn states_of_an_app_without_targets() {
    type Change = fn(&mut Node);
    let table: [(Change, &str); 5] = [
        (|n| n.wish().maintenance = true, "route Maintenance []"),
        (|n| n.wish().formation.clear(), "route Stopped []"),
        (|n| n.wish().current = None, "route Blank []"),
        (
            |n| n.wish().current = Some(release(2, &["worker"])),
            "route Stopped []",
        ),
        (
            |n| {
                let dyno = n.id("web.1");
                n.tell(Event::StopAsked { dyno });
            },
            "route Running []",
        ),
    ];
    for (change, want) in table {
        let mut n = Node::running(1, &[("web", 1)]);
        change(&mut n);
        assert!(
            n.says().contains(&want.to_string()),
            "{want}: {:?}",
            n.says()
        );
    }
    let mut n = Node::running(1, &[("web", 1)]);
    n.wish().maintenance = true;
    n.rest();
    assert_eq!(n.observed.dynos.len(), 1, "maintenance stops nothing");
}

#[test]
fn a_start_that_nobody_reports_on_is_given_up() {
    let mut n = Node::new(&[("web", 1)]);
    n.wish().candidate = Some(release(1, &["web"]));
    n.obey();
    assert_eq!(n.plan().wake_at, Some(n.now.plus(limits::BOOT_BACKSTOP)));
    n.pass(900.0);
    assert_eq!(n.obey(), ["kill web.1 v1"]);
    assert_eq!(n.obey(), ["abandon v1"]);
    n.pass(10.0);
    assert!(
        n.says().contains(&"kill web.1 v1".to_string()),
        "killed again while it is there"
    );
}

#[test]
fn apps_with_like_names_and_numbers_never_touch_each_other() {
    let mut n = Node::running(1, &[("web", 1)]);
    let mut other = n.desired.apps[&APP].clone();
    other.name = "shop1".parse().expect("a name");
    n.desired.apps.insert(AppId(10), other);
    assert_eq!(n.obey()[1..], ["start web.1 v1"]);
    n.rest();
    n.desired.apps.remove(&AppId(10));
    n.rest();
    assert_eq!(n.observed.dynos.len(), 1);
    assert!(n.observed.dynos.values().all(|d| d.record.app == APP));
}

#[test]
fn the_log_of_a_life() {
    let mut n = Node::new(&[("web", 1)]);
    n.wish().current = Some(release(1, &["web"]));
    n.obey();
    n.up(n.id("web.1"));
    n.exit(n.id("web.1"), 1);
    n.obey();
    let dyno = n.id("web.1");
    n.tell(Event::Running { dyno, pid: 8 });
    n.pass(60.4);
    n.tell(Event::BootTimedOut {
        dyno,
        listening: vec![8080, 9090],
    });
    n.observed.slots.clear(); // Only the log matters here.
    n.tell(Event::KillOrdered { dyno });
    n.tell(Event::Exited {
        dyno,
        exit: hokku_model::dyno::Exit::Signal(9),
    });
    n.obey();
    n.up(n.id("web.1"));
    n.wish().formation.clear();
    n.pass(40.0);
    n.obey();
    n.pass(30.0);
    n.obey();
    n.tell(Event::Exited {
        dyno: n.id("web.1"),
        exit: hokku_model::dyno::Exit::Signal(9),
    });
    let got: Vec<String> = n
        .notes
        .iter()
        .map(|n| format!("heroku[{}]: {}", n.dyno, n.text))
        .collect();
    let want = [
        "Starting process with command `run web`",
        "State changed from starting to up",
        "Process exited with status 1",
        "State changed from up to crashed",
        "Starting process with command `run web`",
        "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds of launch. It listens on ports 8080, 9090 instead: it has to listen on 0.0.0.0:$PORT (5002).",
        "Stopping process with SIGKILL",
        "Process exited with status 137",
        "State changed from starting to crashed",
        "Starting process with command `run web`",
        "State changed from starting to up",
        "State changed from up to down",
        "Stopping all processes with SIGTERM",
        "Error R12 (Exit timeout) -> Process failed to exit within 30 seconds of SIGTERM",
        "Stopping process with SIGKILL",
        "Process exited with status 137",
    ];
    let want: Vec<String> = want.iter().map(|w| format!("heroku[web.1]: {w}")).collect();
    assert_eq!(got, want);
}

#[test]
fn why() {
    let mut n = Node::running(1, &[("web", 2)]);
    let says = |n: &Node, of: &str| explain::why(&n.desired, &n.observed, APP, &name(of), n.now);
    assert_eq!(says(&n, "web.1"), "");
    assert_eq!(says(&n, "web.3"), "web is scaled to 2.");
    assert_eq!(says(&n, "cron.1"), "v1 of shop has no process type cron.");
    n.exit(n.id("web.1"), 1);
    n.obey();
    assert_eq!(
        says(&n, "web.1"),
        "web.1 of v1 was ordered 0 s ago; its process does not run yet."
    );
    n.tell(Event::Running {
        dyno: n.id("web.1"),
        pid: 7,
    });
    n.pass(12.0);
    assert_eq!(
        says(&n, "web.1"),
        "web.1 of v1 has run for 12 s and has not answered on $PORT (5003) yet; it is given up in 48 s."
    );
    n.exit(n.id("web.1"), 1);
    let s = says(&n, "web.1");
    assert!(
        s.starts_with("web.1 crashed 2 times in a row, last 0 s ago: it ended (exit status 1) 12 s after its start, before it answered on its port; it is started again in "),
        "{s}"
    );
    n.wish().candidate = Some(release(2, &["web"]));
    n.obey();
    n.up(n.id_of("web.2", 2));
    assert_eq!(
        says(&n, "web.2"),
        "web.2 of v2 is up and waits for the others of its release: 1 of 2 are up."
    );
    let mut n = Node::running(1, &[("web", 2)]);
    n.wish().formation = [(kind("web"), 1)].into();
    n.obey();
    assert_eq!(
        says(&n, "web.2"),
        "web=1 is wanted, web.2 is one too many: it leaves the routes, then drains, then stops."
    );
    n.confirm();
    n.obey();
    n.pass(3.0);
    assert_eq!(
        says(&n, "web.2"),
        "web.2 of v1 left the routes 3 s ago; it gets SIGTERM when what is in flight has ended, in 27 s at the latest."
    );
    n.tell(Event::Drained {
        dyno: n.id("web.2"),
    });
    n.obey();
    assert_eq!(
        says(&n, "web.2"),
        "web.2 of v1 got SIGTERM 0 s ago; it is killed in 30 s if it does not exit."
    );
    assert_eq!(
        explain::why(&n.desired, &n.observed, AppId(9), &name("web.1"), Micros(0)),
        "There is no such app on this node."
    );
}

#[test]
fn every_action_has_a_reason() {
    let mut n = Node::running(1, &[("web", 2), ("worker", 1)]);
    n.wish().candidate = Some(release(2, &["web"]));
    n.wish().restarts.all = n.now.plus(limits::GATE);
    n.pass(2.0);
    n.exit(n.id("web.1"), 1);
    let p = n.plan();
    assert!(p.actions.len() > 3);
    for (a, reason) in p.actions {
        assert!(reason.len() > 10, "{a:?}: {reason:?}");
    }
}

#[test]
fn certificates_are_sent_when_they_change_and_to_each_router_that_comes() {
    let mut n = Node::running(1, &[("web", 1)]);
    assert_eq!(
        n.says(),
        [""; 0],
        "a node without certificates has none to send"
    );
    n.desired.certs = 70;
    assert_eq!(n.obey(), ["certify 70"]);
    assert_eq!(n.says(), [""; 0]);
    n.pass(10.0);
    assert_eq!(n.obey(), ["certify 71"], "not confirmed in ten seconds");
    n.tell(Event::Certified { version: 71 });
    assert_eq!(n.observed.router.certs.confirmed(), 70);
    n.pass(60.0);
    assert_eq!(n.says(), [""; 0]);
    n.desired.certs = 90;
    assert_eq!(n.obey(), ["certify 90"]);
    n.tell(Event::RouterWent);
    n.tell(Event::Certified { version: 90 });
    assert_eq!(
        n.observed.router.certs.confirmed(),
        0,
        "that router is gone"
    );
    n.tell(Event::RouterCame { version: 2 });
    let said = n.obey();
    assert!(said.contains(&"certify 91".to_owned()), "{said:?}");
    n.tell(Event::Certified { version: 200 });
    let said = n.says();
    assert!(
        said.contains(&"certify 201".to_owned()),
        "it has newer ones: {said:?}"
    );
}

#[test]
fn a_release_phase_step_by_step() {
    use hokku_core::desired::PhaseWish;
    use hokku_model::{
        DynoId,
        dyno::Exit,
        phase::{Claim, Step},
    };
    let mut n = Node::running(1, &[("web", 1)]);
    let step = |name: &str| Step {
        name: name.into(),
        command: format!("run {name}"),
    };
    let mut two = release(2, &["web", "release"]);
    two.phase = PhaseWish {
        steps: vec![step("predeploy"), step("release")],
        ..PhaseWish::default()
    };
    n.wish().candidate = Some(two);
    assert_eq!(n.obey(), ["claim 0 v2"]);
    assert_eq!(n.says(), [""; 0], "the store has not answered");
    n.pass(10.0);
    assert_eq!(n.says(), ["claim 0 v2"], "it may be lost");
    let claim = |step: usize, dyno: u128| Claim {
        version: 2,
        step,
        dyno: DynoId(dyno),
        name: name(&format!("release.{dyno}")),
    };
    n.wish().claim = Some(claim(0, 100));
    assert_eq!(n.obey(), ["run release.100 v2"]);
    n.tell(Event::Running {
        dyno: DynoId(100),
        pid: 7,
    });
    assert_eq!(n.says(), [""; 0], "nothing is started beside it");
    n.tell(Event::Exited {
        dyno: DynoId(100),
        exit: Exit::Code(0),
    });
    assert_eq!(n.obey(), ["conclude true"]);
    assert_eq!(n.says(), [""; 0]);
    n.wish().claim = None;
    n.wish().candidate.as_mut().unwrap().phase.done = 1;
    assert_eq!(n.obey(), ["claim 1 v2", "forget"], "the next one, at once");

    // A newer release takes its place: its command is seen to its end first.
    n.wish().claim = Some(claim(1, 101));
    assert_eq!(n.obey(), ["run release.101 v2"]);
    let mut three = release(3, &["web", "release"]);
    three.phase.steps = vec![step("release")];
    n.wish().candidate = Some(three);
    assert_eq!(n.says(), [""; 0]);
    n.pass(limits::RELEASE.as_secs_f64());
    assert_eq!(n.obey(), ["stop release.101 v2"], "its time is over");
    n.tell(Event::Exited {
        dyno: DynoId(101),
        exit: Exit::Code(0),
    });
    assert_eq!(n.obey(), ["conclude false"], "it was stopped");
    n.wish().claim = None;
    assert_eq!(n.obey(), ["claim 0 v3", "forget"]);

    // One whose claim's release is gone before its dyno began never begins.
    n.wish().claim = Some(Claim {
        version: 3,
        ..claim(0, 102)
    });
    n.wish().candidate = Some(release(4, &["web"]));
    assert_eq!(
        n.obey(),
        ["conclude false", "start web.1 v4"],
        "a release without a phase does not wait"
    );

    // A failure abandons.
    n.wish().claim = None;
    let mut five = release(5, &["web", "release"]);
    five.phase.steps = vec![step("release")];
    five.phase.failed = Some("ended (exit status 1) after 2 s".into());
    n.wish().candidate = Some(five);
    let said: Vec<_> = n.plan().actions;
    let reason = said.iter().find_map(|(a, _)| match a {
        Action::Abandon { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(
        reason.unwrap(),
        "The release command of v5 ended (exit status 1) after 2 s. v1 stays as it is. See its output with \
         `app releases:output v5 -a shop`; fix it and push again, or run it again with `app releases:retry -a shop`."
    );
}
