//! What to do next: a pure function from what should be and what is to actions with reasons.
//!
//! What it does: the order of the steps below, nothing else. Each step looks at states, never at what just happened.
//! What it never does: remember, wait, look at a clock, emit B together with A when B must follow A.
//! Who calls it: the agent's one loop, after each event and at `wake_at`.
//! Where its tests are: `tests/steps.rs` (tables per step), `tests/properties.rs`, `tests/simulation/` (whole lives).
//!
//! ## When the router is away
//! Dynos live on and rollouts go on, but nothing that the router may still send requests to is stopped, since it can't
//! be told: [`crate::observed::Router::known`] holds those dynos, narrowed only when the router confirms a table
//! without them. A web dyno outside that set is stopped once the router has been away, and the dyno has stood as it
//! does, for the time of a drain. Dynos of a destroyed app are stopped after [`crate::limits::DESTROYED_AWAY`] even
//! if routed, so that destroying always ends.

pub mod build;
mod certs;
mod crew;
pub mod explain;
mod health;
mod phase;
mod restart;
mod rollout;
mod route;
mod scale;
mod stop;
mod sweep;
pub mod why;

use crate::{
    action::{Action, Plan},
    desired::Desired,
    limits,
    observed::{Dyno, Observed},
};
use crew::Crew;
use hokku_model::Micros;

/// What to do now, why, and when to look again. Empty actions when all is well.
///
/// Before the store was first read (`generation` 0 and no apps) nothing is known of what should be, and nothing is
/// done: an empty wish must not stop every dyno of the node.
pub fn plan(desired: &Desired, observed: &Observed, now: Micros) -> Plan {
    let mut draft = Draft::new(now);
    if desired.generation == 0 && desired.apps.is_empty() {
        return draft.done();
    }
    let crews = muster(desired, observed, now);
    for crew in &crews {
        phase::carry_on(crew, observed, &mut draft);
        rollout::steer(crew, observed, &mut draft);
        scale::fill(crew, &mut draft);
        health::cure(crew, observed, &mut draft);
        stop::retire(crew, observed, &mut draft);
    }
    phase::forget(desired, observed, &mut draft);
    sweep::retire_destroyed(desired, observed, &mut draft);
    route::publish(desired, &crews, observed, &mut draft);
    certs::publish(desired, observed, &mut draft);
    draft.done()
}

/// The crews of all wanted apps.
fn muster<'a>(desired: &'a Desired, observed: &'a Observed, now: Micros) -> Vec<Crew<'a>> {
    let dynos = sorted(observed.dynos.values());
    desired
        .apps
        .iter()
        .map(|(app, wish)| {
            let from = dynos.partition_point(|d| d.record.app < *app);
            let len = dynos[from..].partition_point(|d| d.record.app == *app);
            Crew::muster(*app, wish, dynos[from..from + len].to_vec(), observed, now)
        })
        .collect()
}

/// Dynos by app, release and name; those of one slot stay in the order of their ids.
fn sorted<'a>(dynos: impl Iterator<Item = &'a Dyno>) -> Vec<&'a Dyno> {
    let mut dynos: Vec<&Dyno> = dynos.collect();
    dynos.sort_by(|a, b| {
        let (a, b) = (&a.record, &b.record);
        (a.app, a.version, &a.name).cmp(&(b.app, b.version, &b.name))
    });
    dynos
}

/// A plan in the making.
struct Draft {
    now: Micros,
    plan: Plan,
}

impl Draft {
    fn new(now: Micros) -> Draft {
        Draft {
            now,
            plan: Plan::default(),
        }
    }

    fn act(&mut self, action: Action, reason: impl Into<String>) {
        self.plan.actions.push((action, reason.into()));
    }

    /// Look again at this time; a time that has come is no reason to wait.
    fn wake(&mut self, at: Micros) {
        if at > self.now && self.plan.wake_at.is_none_or(|w| at < w) {
            self.plan.wake_at = Some(at);
        }
    }

    /// Is it time? If not, it will be looked at again then.
    fn due(&mut self, at: Micros) -> bool {
        self.wake(at);
        at <= self.now
    }

    fn done(mut self) -> Plan {
        if !self.plan.actions.is_empty() {
            self.wake(self.now.plus(limits::PLAN_AGAIN));
        }
        self.plan
    }
}
