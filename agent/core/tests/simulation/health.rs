//! Health checks of the simulated dynos: one of each purpose for the web dynos of every second release.

use crate::world::*;
use hokku_core::event::Event;
use hokku_model::{
    AppId, DynoId,
    health::{Ask, Care, Check, Purpose},
};

pub const STARTUP: usize = 0;
pub const READINESS: usize = 1;
pub const LIVENESS: usize = 2;

/// Failures in a row that count.
const ATTEMPTS: u32 = 2;

impl World {
    /// Good, flaky and other releases with an even number have checks, and those that fail them.
    pub fn care(&self, app: AppId, version: u32, web: bool) -> Care {
        let quality = self.apps.get(&app).and_then(|a| a.quality.get(&version));
        let checked = version.is_multiple_of(2) || quality == Some(&Quality::FailsItsCheck);
        if !web || !checked {
            return Care::default();
        }
        let check = |purpose| Check {
            name: "up".into(),
            purpose,
            ask: Ask::Tcp,
            port: None,
            attempts: ATTEMPTS,
            timeout_ms: 1000,
            wait_ms: 1000,
            delay_ms: 0,
            warn: false,
            on_failure: None,
        };
        let checks = [Purpose::Startup, Purpose::Readiness, Purpose::Liveness].map(check);
        Care {
            checks: checks.into(),
            ..Care::default()
        }
    }

    /// What tells the agent that the dyno is up.
    pub fn up_by(&self, dyno: DynoId) -> Vec<Event> {
        if !self.procs[&dyno].record.care.gated() {
            return vec![Event::Answering { dyno }];
        }
        let good = |check| Event::Checked {
            dyno,
            check,
            outcome: Ok(()),
        };
        vec![good(STARTUP), good(READINESS)]
    }

    /// Some or all web dynos of an app fail a check, each in its own moment, and recover later.
    pub fn illness(&mut self) {
        let apps: Vec<AppId> = self.apps.keys().copied().collect();
        let Some(app) = self.dice.pick(&apps).copied() else {
            return;
        };
        let all = self.dice.chance(50);
        let check = if self.dice.chance(50) {
            READINESS
        } else {
            LIVENESS
        };
        let live = self.procs.values().filter(|p| {
            p.ended.is_none()
                && p.answered.is_some()
                && p.record.app == app
                && p.record.care.gated()
        });
        let live: Vec<DynoId> = live.map(|p| p.record.id).collect();
        let shortly = self.dice.chance(50);
        self.note(|| format!("illness {check} of {app}, all: {all}"));
        for dyno in live {
            if !all && self.dice.chance(50) {
                continue;
            }
            let now = self.now;
            if let Some(p) = self.procs.get_mut(&dyno) {
                p.ill.insert(check, now);
            }
            let late = self.dice.below(4);
            self.at(late, Happening::Probe(self.lives, dyno, check));
            let end = 4 + self.dice.below(if shortly { 20 } else { 300 });
            self.at(end, Happening::Recover(dyno));
        }
    }

    /// The check is made; while it fails it is made again.
    pub fn probe(&mut self, life: u64, dyno: DynoId, check: usize) {
        let p = &self.procs[&dyno];
        if life != self.lives || p.ended.is_some() || !p.record.care.gated() {
            return;
        }
        let ill = p.ill.contains_key(&check);
        let outcome = if ill { Err("it is ill".into()) } else { Ok(()) };
        self.tell(Event::Checked {
            dyno,
            check,
            outcome,
        });
        if ill {
            self.at(2, Happening::Probe(life, dyno, check));
        }
    }

    pub fn recover(&mut self, dyno: DynoId) {
        let p = &self.procs[&dyno];
        if p.answered.is_none() || p.ended.is_some() {
            return;
        }
        if let Some(p) = self.procs.get_mut(&dyno) {
            p.ill.clear();
        }
    }
}
