//! Health checks in the plan: what gates a start, who gets requests, who is replaced and when.

mod node;

use hokku_core::{event::Event, limits, observed::DynoState, plan::why};
use hokku_model::{
    ProcessType,
    health::{Ask, Care, Check, Purpose},
};
use node::*;

const STARTUP: usize = 0;
const READINESS: usize = 1;
const LIVENESS: usize = 2;

fn care() -> Care {
    let check = |purpose| Check {
        name: "up".into(),
        purpose,
        ask: Ask::Tcp,
        port: None,
        attempts: 2,
        timeout_ms: 1000,
        wait_ms: 1000,
        delay_ms: 0,
        warn: false,
        on_failure: None,
    };
    Care {
        checks: [Purpose::Startup, Purpose::Readiness, Purpose::Liveness]
            .map(check)
            .into(),
        ..Care::default()
    }
}

/// A node with checks whose formation runs.
fn checked(formation: &[(&str, u32)]) -> Node {
    let mut n = Node::new(formation);
    for kind in ["web", "worker"] {
        n.app_json.care.insert(node::kind(kind), care());
    }
    n.wish().current = Some(release(1, &["web", "worker"]));
    n.tell(Event::RouterCame { version: 0 });
    n.rest();
    n
}

fn fails(n: &mut Node, of: &str, check: usize) {
    let dyno = n.id(of);
    for _ in 0..2 {
        n.checked(dyno, check, Err("it answered 503."));
    }
}

#[test]
fn a_candidate_is_up_when_all_that_gates_passed() {
    let mut n = checked(&[("web", 1)]);
    n.wish().candidate = Some(release(2, &["web"]));
    assert_eq!(n.obey(), ["start web.1 v2"]);
    let dyno = n.id("web.1");
    n.tell(Event::Running { dyno, pid: 7 });
    n.tell(Event::Answering { dyno });
    assert_eq!(n.says(), [""; 0], "an answer alone is not enough");
    n.checked(dyno, STARTUP, Err("it answered 500."));
    n.checked(dyno, STARTUP, Ok(()));
    assert_eq!(n.says(), [""; 0], "ready it is not");
    n.checked(dyno, READINESS, Ok(()));
    assert_eq!(n.obey(), ["promote v2"]);
}

#[test]
fn a_candidate_that_fails_its_check_is_abandoned_with_the_words_of_the_check() {
    for check in [STARTUP, READINESS] {
        let mut n = checked(&[("web", 1)]);
        n.wish().candidate = Some(release(2, &["web"]));
        n.obey();
        let dyno = n.id("web.1");
        n.tell(Event::Running { dyno, pid: 7 });
        n.checked(dyno, check, Err("it answered 400."));
        assert_eq!(n.says(), [""; 0], "one of two attempts");
        n.checked(dyno, check, Err("it answered 400."));
        assert_eq!(n.says(), ["abandon v2", "kill web.1 v2"]);
        let plan = n.plan();
        let reason = plan.actions.iter().find_map(|(a, _)| match a {
            hokku_core::action::Action::Abandon { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        let reason = reason.expect("a reason");
        assert!(
            reason.starts_with("web.1 of v2 failed its ")
                && reason
                    .contains("check \"up\" 2 times in a row: it answered 400. v1 stays as it is."),
            "{reason}"
        );
    }
}

#[test]
fn readiness_takes_out_of_the_routes_and_back() {
    let mut n = checked(&[("web", 2)]);
    let dyno = n.id("web.1");
    n.checked(dyno, READINESS, Err("it answered 503."));
    assert_eq!(n.says(), [""; 0], "once is not enough");
    n.checked(dyno, READINESS, Ok(()));
    fails(&mut n, "web.1", READINESS);
    assert_eq!(n.obey(), ["route Running [web.2 v1]"]);
    n.confirm();
    assert_eq!(n.says(), [""; 0], "it stays, and is not drained");
    let said = &why::why(&n.desired, &n.observed, APP, &name("web.1"), n.now)[0];
    assert_eq!(said.state, "up");
    assert_eq!(
        said.because,
        "web.1 of v1 fails its readiness check \"up\"; it gets no requests until it passes: it answered 503."
    );
    assert!(
        said.checks[READINESS].contains("fails: it answered 503."),
        "{said:?}"
    );
    n.checked(dyno, READINESS, Ok(()));
    assert_eq!(n.obey(), ["route Running [web.1 v1, web.2 v1]"]);
    let last: Vec<&str> = n
        .notes
        .iter()
        .rev()
        .take(2)
        .map(|n| n.text.as_str())
        .collect();
    assert_eq!(last[0], "Readiness check \"up\" passes again");
    assert!(
        last[1].starts_with("Readiness check \"up\" failed 2 times in a row: it answered 503 ("),
        "{last:?}"
    );
}

#[test]
fn when_the_checks_of_all_fail_all_get_requests() {
    let mut n = checked(&[("web", 2)]);
    fails(&mut n, "web.1", READINESS);
    n.obey();
    n.confirm();
    fails(&mut n, "web.2", READINESS);
    assert_eq!(n.obey(), ["route Running [web.1 v1, web.2 v1]"]);
    let said = &why::why(&n.desired, &n.observed, APP, &name("web.2"), n.now)[0];
    assert!(said.because.contains("no other dyno is better"), "{said:?}");
}

#[test]
fn a_check_that_only_warns_changes_nothing() {
    let mut n = Node::new(&[("web", 2)]);
    let mut care = care();
    for c in &mut care.checks {
        c.warn = true;
    }
    n.app_json.care.insert(ProcessType::web(), care);
    n.wish().current = Some(release(1, &["web"]));
    n.tell(Event::RouterCame { version: 0 });
    n.rest();
    for check in [STARTUP, READINESS, LIVENESS] {
        fails(&mut n, "web.1", check);
    }
    assert_eq!(n.says(), [""; 0]);
    let warned = n
        .notes
        .iter()
        .filter(|n| n.text.contains("only warns"))
        .count();
    assert_eq!(warned, 3);
}

#[test]
fn liveness_replaces_a_web_dyno_with_care() {
    let mut n = checked(&[("web", 2)]);
    let old = n.id("web.1");
    fails(&mut n, "web.1", LIVENESS);
    assert_eq!(n.obey(), ["replace web.1 v1", "route Running [web.2 v1]"]);
    n.confirm();
    assert_eq!(n.obey(), ["start web.1 v1"]);
    let new = n.id("web.1");
    assert_ne!(old, new);
    assert_eq!(
        n.says(),
        [""; 0],
        "the old one stays until the new one is up"
    );
    n.up(new);
    assert_eq!(
        n.obey(),
        ["drain web.1 v1 30s", "route Running [web.1 v1, web.2 v1]"]
    );
    n.rest();
    assert!(!n.observed.dynos.contains_key(&old) && n.observed.dynos.contains_key(&new));
}

#[test]
fn liveness_stops_a_worker_before_its_replacement_starts() {
    let mut n = checked(&[("worker", 1)]);
    fails(&mut n, "worker.1", LIVENESS);
    assert_eq!(n.obey(), ["replace worker.1 v1"]);
    assert_eq!(n.obey(), ["stop worker.1 v1"]);
    n.exit(n.id("worker.1"), 143);
    assert_eq!(n.obey(), ["start worker.1 v1"]);
}

#[test]
fn a_broken_dependency_does_not_restart_everything() {
    let mut n = checked(&[("web", 10)]);
    let mut replaced = 0;
    let begin = n.now;
    while n.now.since(begin).as_secs() < 600 {
        for i in 1..=10 {
            let id = n.id(&format!("web.{i}"));
            if matches!(n.observed.dynos[&id].state, DynoState::Up { .. }) {
                n.checked(id, LIVENESS, Err("the database is away."));
            }
        }
        let said = n.obey();
        let now = said.iter().filter(|s| s.starts_with("replace")).count();
        assert!(now <= 1, "{said:?}");
        replaced += now;
        if n.observed.router.connected {
            n.confirm();
        }
        let ids: Vec<_> = n.observed.dynos.keys().copied().collect();
        for id in ids {
            match n.observed.dynos[&id].state {
                DynoState::Starting { .. } => n.up(id),
                DynoState::Draining { .. } => n.tell(Event::Drained { dyno: id }),
                DynoState::Stopping { .. } => n.exit(id, 143),
                _ => {}
            }
        }
        let routed = n.observed.router.sent.as_ref().expect("a table").apps[&APP]
            .targets
            .len();
        assert!(routed > 0);
        n.pass(1.0);
    }
    assert!((5..=9).contains(&replaced), "{replaced} in ten minutes");
    n.pass(limits::CURES_CALM.as_secs_f64());
    n.plan();
}

#[test]
fn a_replacement_that_does_not_come_up_costs_nothing() {
    let mut n = checked(&[("web", 1)]);
    let old = n.id("web.1");
    fails(&mut n, "web.1", LIVENESS);
    n.obey();
    assert_eq!(n.obey(), ["start web.1 v1"]);
    let new = n.id("web.1");
    n.tell(Event::Running { dyno: new, pid: 7 });
    n.checked(new, STARTUP, Err("it answered 503."));
    n.checked(new, STARTUP, Err("it answered 503."));
    n.exit(new, 137);
    for _ in 0..100 {
        n.obey();
        n.confirm();
        n.pass(0.5);
    }
    assert!(n.observed.dynos[&old].serves());
    let table = n.observed.router.sent.as_ref().expect("a table");
    assert_eq!(table.apps[&APP].targets[0].dyno, old);
}

#[test]
fn each_type_has_its_own_signal_and_grace() {
    let mut n = Node::new(&[("worker", 1)]);
    let own = Care {
        stop_signal: Some(3),
        grace_ms: Some(90_000),
        ..Care::default()
    };
    n.app_json.care.insert(kind("worker"), own);
    n.wish().current = Some(release(1, &["worker"]));
    n.tell(Event::RouterCame { version: 0 });
    n.rest();
    n.wish().formation.insert(kind("worker"), 0);
    assert_eq!(n.obey(), ["stop worker.1 v1"]);
    n.pass(89.0);
    assert_eq!(n.says(), [""; 0]);
    let said = &why::why(&n.desired, &n.observed, APP, &name("worker.1"), n.now)[0];
    assert_eq!(
        (said.state, said.next.as_str()),
        ("stopping", "it gets SIGKILL")
    );
    assert_eq!(said.at.map(|t| t.since(n.now).as_secs()), Some(1));
    n.pass(1.0);
    assert_eq!(n.obey(), ["kill worker.1 v1"]);
    let said: Vec<&str> = n.notes.iter().map(|n| n.text.as_str()).collect();
    assert!(
        said.contains(&"Stopping all processes with SIGQUIT"),
        "{said:?}"
    );
    assert!(
        said.contains(
            &"Error R12 (Exit timeout) -> Process failed to exit within 90 seconds of SIGQUIT"
        ),
        "{said:?}"
    );
}
