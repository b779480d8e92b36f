//! Above the soft limit, and killed at the hard one.

mod node;

use hokku_core::{event::Event, limits, memory};
use hokku_model::dyno::Exit;
use node::*;

#[test]
fn the_lines_are_herokus() {
    let [running, error] = memory::r14(1028 << 20, 995 << 20);
    assert_eq!(running, "Process running mem=1028M(103.3%)");
    assert_eq!(error, "Error R14 (Memory quota exceeded)");
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
