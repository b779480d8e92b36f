//! Whole lives of a node against the invariants: slow boots, hangs, crashes, ignored SIGTERM, bad releases, failing
//! actions, pushes during pushes, loss of the agent and of the router.
//!
//! `HOKKU_SIM_SEED=42` replays one life with everything that happens in it; `HOKKU_SIM_LIVES=100000` runs more.

mod agent;
mod dice;
mod health;
mod health_mutants;
mod mutants;
mod node;
mod people;
mod phase;
mod phase_mutants;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use world::World;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn lives() {
    if let Some(seed) = number("HOKKU_SIM_SEED") {
        let mut w = World::new(seed, None);
        w.loud = true;
        let wrong = w.live();
        assert!(wrong.is_none(), "seed {seed}: {wrong:?}");
        return;
    }
    let lives = number("HOKKU_SIM_LIVES").unwrap_or(2000);
    let next = AtomicU64::new(0);
    let (served, plans) = (AtomicU64::new(0), AtomicU64::new(0));
    let run = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= lives {
                return;
            }
            let mut w = World::new(seed, None);
            if let Some(wrong) = w.live() {
                next.store(lives, Ordering::Relaxed);
                let mut again = World::new(seed, None);
                again.traced = true;
                again.live();
                let trace = again.trace();
                panic!("seed {seed}: {wrong}\n{trace}\nReplay: HOKKU_SIM_SEED={seed}");
            }
            served.fetch_add(w.served, Ordering::Relaxed);
            plans.fetch_add(w.plans, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(run);
        }
    });
    let (served, plans) = (served.into_inner(), plans.into_inner());
    println!("{lives} lives, {served} requests, {plans} plans");
    assert!(
        served > lives * 10,
        "only {served} requests were served: the lives test nothing"
    );
}
