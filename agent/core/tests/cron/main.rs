//! Whole lives of an agent that looks after cron and is killed at every step, against what must hold of ticks: each is
//! decided once; what is decided to run has one process, and one line in the history.

mod mutants;
mod world;

use world::{Fault, World};

/// Lives of one kind of fault, by seed.
fn live(seeds: std::ops::Range<u64>, fault: Fault) -> Result<World, String> {
    let mut last = None;
    for seed in seeds {
        let world = World::live(seed, fault).map_err(|e| format!("seed {seed}: {e}"))?;
        last = Some(world);
    }
    last.ok_or_else(|| "no life".into())
}

#[test]
fn killed_at_any_step_every_tick_is_decided_once_and_runs_once() {
    let world = live(0..100, Fault::None).unwrap();
    assert!(world.deaths > 0 && world.processes.len() > 5);
}
