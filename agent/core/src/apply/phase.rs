//! Facts about release phases.

use crate::{
    limits,
    observed::{Claiming, Dyno, DynoState, Ended, Observed},
    words::spell,
};
use hokku_model::{
    AppId, DynoId, Micros,
    dyno::{Exit, Purpose},
    phase::Outcome,
};
use std::time::Duration;

impl Observed {
    pub(super) fn claim_ordered(&mut self, app: AppId, version: u32, step: usize, now: Micros) {
        let again = now.plus(limits::END_AGAIN);
        let claiming = Claiming {
            version,
            step,
            again,
        };
        self.claiming.insert(app, claiming);
    }

    pub(super) fn conclude_ordered(
        &mut self,
        app: AppId,
        dyno: DynoId,
        outcome: &Outcome,
        now: Micros,
    ) {
        let again = now.plus(limits::END_AGAIN);
        let ended = self.ended.entry(dyno).or_insert_with(|| Ended {
            app,
            outcome: outcome.clone(),
            again,
        });
        ended.again = again;
    }

    /// Keeps the end of a release command until the store has it.
    pub(super) fn release_ended(&mut self, d: &Dyno, outcome: Outcome) {
        let r = &d.record;
        if r.purpose == Purpose::Release {
            self.ended.entry(r.id).or_insert(Ended {
                app: r.app,
                outcome,
                again: Micros(0),
            });
        }
    }
}

/// How a release command ended. One that was told to stop did not end well, whatever its status is.
pub(super) fn outcome(d: &Dyno, exit: Exit, limit: Duration, now: Micros) -> Outcome {
    let stopped = matches!(d.state, DynoState::Stopping { .. });
    let took = now.since(d.record.started_at);
    match exit {
        Exit::Code(0) if !stopped && !d.stop_asked => Ok(()),
        _ if d.stop_asked => Err(format!("was stopped after {} ({exit})", spell(took))),
        _ if stopped && took >= limit => Err(format!(
            "took longer than the {} it may take, and was stopped",
            spell(limit)
        )),
        Exit::Lost => Err(
            "is gone with no exit status left behind, so nobody knows how far it came".to_owned(),
        ),
        _ => Err(format!("ended ({exit}) after {}", spell(took))),
    }
}
