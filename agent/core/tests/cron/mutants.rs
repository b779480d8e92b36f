//! Each thing that must hold is broken by a deliberate fault of the agent.

use super::{live, world::Fault};

#[track_caller]
fn shown(fault: Fault, words: &[&str]) {
    match live(0..100, fault) {
        Ok(_) => panic!("{fault:?} is not noticed"),
        Err(said) => assert!(words.iter().any(|w| said.contains(w)), "{fault:?}: {said}"),
    }
}

#[test]
fn faults_are_noticed() {
    shown(
        Fault::StartsFirst,
        &["ran twice", "the history has", "at once"],
    );
    shown(Fault::ClaimsHalf, &["are accounted for"]);
    shown(Fault::ForgetsUnstarted, &["never ended"]);
    shown(Fault::ForgetsEarly, &["ran twice"]);
    shown(Fault::IgnoresOthers, &["at once"]);
}
