//! Release phases: the store's claims and ends, and what the commands really did.

use crate::world::*;
use hokku_core::event::Event;
use hokku_model::{
    AppId, DynoId, DynoName,
    dyno::{DynoRecord, Exit, Purpose},
    phase::{Claim, Outcome, Step},
};

impl World {
    /// None, one or two commands.
    pub fn draw_phase(&mut self, kinds: &[&str]) -> Vec<Step> {
        let n: usize = match self.dice.below(4) {
            0 => 2,
            1 | 2 if kinds.contains(&"release") => 1,
            _ => 0,
        };
        let step = |i: usize| Step {
            name: ["predeploy", "release"][2 - n + i].to_owned(),
            command: format!("step {i}"),
        };
        (0..n).map(step).collect()
    }

    pub fn claim(&mut self, app: AppId, version: u32, step: usize) {
        self.learn_quietly(Event::ClaimOrdered { app, version, step });
        let late = self.dice.below(3);
        if self.calm() || !self.dice.chance(5) {
            self.at(late, Happening::Claim(app, version, step));
        }
    }

    /// Compare and set: the step is the next one of the candidate, and nothing of the app is claimed.
    pub fn commit_claim(&mut self, app: AppId, version: u32, step: usize) {
        let dyno = DynoId(u128::from(self.dice.roll()));
        let n = 1000 + self.dice.below(9000) as u32;
        let Some(a) = self.apps.get(&app) else { return };
        let next = a.wish.candidate.as_ref().is_some_and(|c| {
            c.version == version && c.phase.failed.is_none() && c.phase.done == step
        });
        if !next || a.wish.claim.is_some() {
            return;
        }
        self.note(|| format!("store: step {step} of v{version} of {app} is claimed for {dyno}"));
        self.change(app, |a| {
            a.wish.claim = Some(Claim {
                version,
                step,
                dyno,
                name: DynoName::new("release".parse().expect("a type"), n),
            });
        });
    }

    pub fn run_step(&mut self, app: AppId, claim: Claim) {
        let launched = |p: &Proc| p.launched.is_some() || p.folder;
        if self.procs.get(&claim.dyno).is_some_and(launched) {
            return self.fail(format!("phase-twice: {} began before", claim.name));
        }
        let others = |p: &Proc| {
            p.record.app == app && p.record.purpose == Purpose::Release && p.ended.is_none()
        };
        if self.procs.values().any(others) {
            return self.fail(format!("phase-twice: {} beside another", claim.name));
        }
        let Some(a) = self.apps.get(&app) else { return };
        let record = DynoRecord {
            id: claim.dyno,
            name: claim.name,
            app,
            app_name: a.wish.name.clone(),
            version: claim.version,
            slug: None,
            port: None,
            command: format!("step {}", claim.step),
            started_at: self.now,
            oneoff: true,
            purpose: Purpose::Release,
            quota: Default::default(),
            care: Default::default(),
        };
        self.spawn(record);
    }

    pub fn conclude(&mut self, app: AppId, dyno: DynoId, outcome: Outcome) {
        let well = matches!(
            self.procs.get(&dyno).and_then(|p| p.exit),
            Some(Exit::Code(0))
        );
        if outcome.is_ok() && !well {
            return self.fail(format!("phase-lied: {dyno} did not end well"));
        }
        let ended = |p: &Proc| p.ended.is_some() || p.launched.is_none();
        if !self.procs.get(&dyno).is_none_or(ended) {
            return self.fail(format!("phase-lied: {dyno} has not ended"));
        }
        self.learn_quietly(Event::ConcludeOrdered {
            app,
            dyno,
            outcome: outcome.clone(),
        });
        let late = self.dice.below(3);
        if self.calm() || !self.dice.chance(5) {
            self.at(late, Happening::Conclude(app, dyno, outcome));
        }
    }

    pub fn commit_conclude(&mut self, app: AppId, dyno: DynoId, outcome: Outcome) {
        let claim = self.apps.get(&app).and_then(|a| a.wish.claim.clone());
        let Some(claim) = claim.filter(|c| c.dyno == dyno) else {
            return;
        };
        self.note(|| format!("store: {} of v{}: {outcome:?}", claim.name, claim.version));
        self.change(app, |a| {
            a.wish.claim = None;
            if let Some(c) = &mut a.wish.candidate
                && c.version == claim.version
            {
                match outcome {
                    Ok(()) => c.phase.done += 1,
                    Err(text) => c.phase.failed = Some(text),
                }
            }
        });
    }

    pub fn forget(&mut self, dyno: DynoId) {
        let claimed = |a: &App| a.wish.claim.as_ref().is_some_and(|c| c.dyno == dyno);
        if self.apps.values().any(claimed) {
            return self.fail(format!(
                "phase-forgotten: {dyno} before the store had its end"
            ));
        }
        self.learn_quietly(Event::Forgotten { dyno });
        if let Some(p) = self.procs.get_mut(&dyno) {
            p.folder = false;
        }
    }

    /// What a new agent finds on disk of release commands that ended and whose end nobody has written down for sure.
    pub fn left_behind(&mut self) -> Vec<Event> {
        let mut events = vec![];
        for p in self.procs.values() {
            if p.folder && p.ended.is_some() {
                let (record, dyno) = (p.record.clone(), p.record.id);
                events.push(Event::Adopted {
                    record,
                    routed: false,
                    pid: 0,
                });
                let exit = p.exit.unwrap_or(Exit::Lost);
                events.push(Event::Exited { dyno, exit });
            }
        }
        events
    }

    /// All commands of the release's phase have really ended well.
    pub fn phase_passed(&self, app: AppId, version: u32) -> bool {
        let a = &self.apps[&app];
        let candidate = a.wish.candidate.as_ref();
        let Some(c) = candidate.filter(|c| c.version == version) else {
            return true;
        };
        let well = self.procs.values().filter(|p| {
            let r = &p.record;
            (r.app, r.version, &r.purpose) == (app, version, &Purpose::Release)
                && p.exit == Some(Exit::Code(0))
        });
        well.count() == c.phase.steps.len()
    }
}
