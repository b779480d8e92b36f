//! Above the soft limit, and killed at the hard one.

mod node;

use hokku_core::{event::Event, limits, memory};
use hokku_model::{dyno::Exit, route::Passing};
use node::*;

#[test]
fn the_lines_are_herokus() {
    let [running, error] = memory::r14(1028 << 20, 995 << 20);
    assert_eq!(running, "Process running mem=1028M(103.3%)");
    assert_eq!(error, "Error R14 (Memory quota exceeded)");
}

#[test]
fn the_requests_in_flight_are_named() {
    let of = |path: &str, ms| Passing {
        method: "GET".into(),
        path: path.into(),
        ms,
    };
    assert_eq!(
        memory::in_flight(0, &[]),
        "Memory quota exceeded with no requests in flight"
    );
    assert_eq!(
        memory::in_flight(1, &[of("/report\u{1b}[2J", 3210)]),
        "Memory quota exceeded with 1 request in flight: GET /report[2J (3.2 s)"
    );
    assert_eq!(
        memory::in_flight(9, &[of("/a", 900), of("/b", 0)]),
        "Memory quota exceeded with 9 requests in flight: GET /a (0.9 s), GET /b (0.0 s), and 7 more"
    );
}

#[test]
fn an_end_for_want_of_memory_is_told_from_a_crash() {
    let mut n = Node::running(1, &[("web", 1)]);
    let dyno = n.id("web.1");
    n.pass(5.0);
    n.notes.clear();
    n.tell(Event::Exited {
        dyno,
        exit: Exit::Memory(900 << 20),
    });
    let said: Vec<&str> = n.notes.iter().map(|n| n.text.as_str()).collect();
    assert_eq!(
        said,
        [
            "Error R15 (Memory quota vastly exceeded)",
            "Process exited with status 137: killed: out of memory, its limit is 900M",
            "State changed from up to crashed"
        ]
    );
    let slot = n.observed.slots.values().next().unwrap();
    assert_eq!(
        slot.text,
        "ended (killed: out of memory, its limit is 900M) after 5 s"
    );
}

#[test]
fn one_dyno_at_a_time_is_replaced_for_its_memory_and_not_soon_after_its_start() {
    let mut n = Node::running(1, &[("web", 2)]);
    let (one, two) = (n.id("web.1"), n.id("web.2"));
    let asks = |n: &Node, d| memory::to_replace(&n.observed, d, n.now);
    n.pass(limits::MEMORY_RESTART.as_secs_f64());
    assert!(!asks(&n, one), "nobody asked for it");
    for d in n.observed.dynos.values_mut() {
        d.record.quota.memory_restart = true;
    }
    assert!(asks(&n, one) && asks(&n, two));
    // web.1 goes; the other has to wait until its successor is up
    let now = n.now;
    n.wish().restarts.by_dyno.insert("web.1".into(), now);
    assert!(n.obey().contains(&"start web.1 v1".to_owned()));
    assert!(!asks(&n, one) && !asks(&n, two));
    n.rest();
    let new = n.id("web.1");
    assert!(new != one && asks(&n, two) && !asks(&n, new), "too young");
}
