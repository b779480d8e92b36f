//! The agent's loop: apply, check, plan, act. Actions may vanish or fail; the agent may be lost at any time.

use crate::health::*;
use crate::world::*;
use hokku_core::{
    action::Action,
    check,
    desired::Desired,
    event::Event,
    limits,
    observed::{DynoState, Observed, Standing},
    plan::plan,
};
use hokku_model::{AppId, DynoId, DynoName, Micros, dyno::DynoRecord};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

impl World {
    pub fn agent_back(&mut self) {
        if self.agent.is_some() {
            return;
        }
        self.lives += 1;
        self.note(|| "agent starts".into());
        self.agent = Some(Agent {
            desired: Desired::default(),
            observed: Observed {
                waits: limits::Waits {
                    release: RELEASE,
                    ..Default::default()
                },
                ..Observed::default()
            },
            since: self.now,
            alarm: 0,
            candidate_starts: BTreeSet::new(),
            ends: BTreeMap::new(),
        });
        let mut adopted = vec![];
        for p in self.procs.values_mut() {
            if p.launched.is_none() && p.ended.is_none() {
                p.ended = Some(self.now); // The order died with the agent that gave it.
            }
            if p.ended.is_none() {
                p.asked = false;
                // Nothing tells this agent that the one before had sent SIGTERM: if the process ends, then by itself.
                p.crashed |= p.term.take().is_some();
                adopted.push(p.record.clone());
            }
        }
        let mut events = self.left_behind();
        for record in adopted {
            let (id, answered) = (record.id, self.procs[&record.id].answered.is_some());
            let web = record.port.is_some();
            let routed = self.router.files(id);
            events.push(Event::Adopted {
                record,
                routed,
                pid: 7,
            });
            if web && answered {
                let late = self.dice.below(3);
                for event in self.up_by(id) {
                    self.at(late, Happening::Tell(self.lives, event));
                }
                for check in 1..3 {
                    self.at(late + 1, Happening::Probe(self.lives, id, check));
                }
            } else if web {
                self.at(120, Happening::GiveUp(self.lives, id));
            }
        }
        // As the agent does: the wishes are read first, all that is there is adopted, and only then is planned.
        self.fetch();
        self.apply(&events);
        self.turn();
        let late = self.dice.below(6);
        self.at(late, Happening::Connect);
    }

    pub fn agent_dies(&mut self) {
        if self.agent.take().is_some() {
            self.note(|| "agent is killed".into());
            self.lives += 1;
            self.router.connected = false;
            self.router.connection += 1;
            let late = 1 + self.dice.below(40);
            self.at(late, Happening::AgentBack);
        }
    }

    /// The agent reads the newest wishes, and plans.
    pub fn read(&mut self) {
        self.fetch();
        self.turn();
    }

    fn fetch(&mut self) {
        let desired = Desired {
            generation: self.generation,
            apps: self
                .apps
                .iter()
                .map(|(id, a)| (*id, a.wish.clone()))
                .collect(),
            certs: self.certs,
            ..Desired::default()
        };
        if let Some(a) = &mut self.agent {
            a.desired = desired;
        }
    }

    pub fn learn(&mut self, events: &[Event]) {
        self.apply(events);
        self.turn();
    }

    /// Of an order that is given right now: what follows is planned afterwards.
    pub fn learn_quietly(&mut self, event: Event) {
        self.apply(&[event]);
    }

    fn apply(&mut self, events: &[Event]) {
        let now = self.now;
        for e in events {
            self.note(|| format!("  event {e:?}"));
            let Some(a) = &mut self.agent else { return };
            a.observed.apply(e, now);
            let wrong = check::check(&a.desired, &a.observed, now);
            if let Some(w) = wrong.into_iter().next() {
                self.fail(w);
            }
        }
    }

    pub fn wake(&mut self, alarm: u64) {
        if self.agent.as_ref().is_some_and(|a| a.alarm == alarm) {
            self.turn();
        }
    }

    /// Plans and acts until nothing more is to be done now.
    fn turn(&mut self) {
        for _ in 0..30 {
            let Some(a) = &self.agent else { return };
            if self.wrong.is_some() {
                return;
            }
            let mut p = plan(&a.desired, &a.observed, self.now);
            if let Some(m) = self.mutant {
                m(&a.desired, &a.observed, self.now, &mut p);
            }
            self.plans += 1;
            if p.wake_at.is_some_and(|w| w <= self.now) {
                return self.fail(format!("woken-at-once: {:?} at {:?}", p.wake_at, self.now));
            }
            if !p.actions.is_empty() && p.wake_at.is_none() && self.mutant.is_none() {
                return self.fail("no-second-look: actions without a time to look again".into());
            }
            let mut acted = false;
            for (action, reason) in p.actions {
                if !self.calm() && self.dice.chance(6) {
                    self.note(|| format!("  vanished {action:?}"));
                    continue;
                }
                acted = true;
                self.note(|| format!("  action {action:?} ({reason})"));
                self.act(action);
            }
            if !acted {
                let Some(a) = &mut self.agent else { return };
                a.alarm += 1;
                let (life, alarm) = (self.lives, a.alarm);
                if let Some(at) = p.wake_at {
                    self.at_time(at, Happening::Wake(life, alarm));
                }
                return;
            }
        }
        self.fail("endless: thirty plans at one moment and still something to do".into());
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { app, name, version } => self.start(app, name, version),
            Action::Route { table } => {
                self.apply(&[Event::TableSent {
                    table: table.clone(),
                }]);
                if self.calm() || !self.dice.chance(4) {
                    self.post(Happening::Table(self.router.connection, table));
                }
            }
            Action::Certify { version } => {
                let Some(a) = &self.agent else { return };
                let certs = a.desired.certs;
                self.apply(&[Event::CertsSent { certs, version }]);
                if self.calm() || !self.dice.chance(4) {
                    self.post(Happening::Certs(self.router.connection, certs, version));
                }
            }
            Action::Drain { dyno, deadline } => {
                self.apply(&[Event::DrainOrdered { dyno, deadline }]);
                let (life, until) = (self.lives, self.now.plus(deadline));
                if let Some(p) = self.procs.get_mut(&dyno)
                    && p.drain.is_none_or(|(l, _)| l != life)
                {
                    p.drain = Some((life, until));
                }
                if self.calm() || !self.dice.chance(4) {
                    self.post(Happening::Drain(self.router.connection, dyno, deadline));
                }
            }
            Action::Stop { dyno } => self.stop(dyno),
            Action::Kill { dyno } => self.kill(dyno),
            Action::Replace { dyno } => self.replace(dyno),
            Action::Claim { app, version, step } => self.claim(app, version, step),
            Action::RunStep { app, claim } => self.run_step(app, claim),
            Action::Conclude { app, dyno, outcome } => self.conclude(app, dyno, outcome),
            Action::Forget { dyno } => self.forget(dyno),
            Action::Promote { app, version } => self.order_end(app, version, true),
            Action::Abandon {
                app,
                version,
                reason,
            } => {
                if reason.is_empty() || !reason.contains(&format!("v{version} ")) {
                    self.fail(format!("abandoned-without-reason: {reason:?}"));
                }
                self.order_end(app, version, false);
            }
        }
    }

    fn start(&mut self, app: AppId, name: DynoName, version: u32) {
        let now = self.now;
        let web = name.kind.is_web();
        let same: Vec<&Proc> = self
            .procs
            .values()
            .filter(|p| {
                let r = &p.record;
                p.ended.is_none()
                    && !r.oneoff
                    && r.app == app
                    && r.name == name
                    && r.version == version
            })
            .collect();
        if !web && !same.is_empty() {
            return self.fail(format!(
                "twice: {name} v{version} is started while one runs"
            ));
        }
        // Each restart order within the time of a drain may leave one behind that is on its way out.
        if same.iter().filter(|p| p.term.is_none()).count() >= 10 {
            return self.fail(format!("too-many: {name} v{version}"));
        }
        let Some(a) = &mut self.agent else { return };
        let Some(wish) = a.desired.apps.get(&app) else {
            return self.fail(format!(
                "unwanted-start: {name} of an app that is not wanted"
            ));
        };
        let release = [&wish.current, &wish.candidate]
            .into_iter()
            .flatten()
            .find(|r| r.version == version);
        let Some(release) = release else {
            return self.fail(format!("unwanted-start: {name} v{version}"));
        };
        if wish.current.as_ref().map(|r| r.version) != Some(version)
            && !a.candidate_starts.insert((app, version, name.to_string()))
        {
            return self.fail(format!(
                "candidate-restarted: {name} v{version} is started again"
            ));
        }
        let live = a.observed.dynos.values();
        let port = (5000..6000u16)
            .find(|p| !live.clone().any(|d| d.record.port == Some(*p)))
            .filter(|_| web);
        let id = DynoId(u128::from(self.dice.roll()));
        let record = DynoRecord {
            id,
            name: name.clone(),
            app,
            app_name: wish.name.clone(),
            version,
            slug: release.slug.clone(),
            port,
            command: release.process_types[&name.kind].clone(),
            started_at: now,
            oneoff: false,
            purpose: Default::default(),
            quota: Default::default(),
            care: self.care(app, version, web),
        };
        self.spawn(record);
    }

    /// Gives birth to a process, of the formation or not.
    pub fn spawn(&mut self, record: DynoRecord) {
        let id = record.id;
        let calm = self.calm();
        let proc = Proc {
            record: record.clone(),
            launched: None,
            answered: None,
            ended: None,
            crashed: false,
            exit: None,
            folder: false,
            term: None,
            ignores_term: !calm && self.dice.chance(15),
            hangs: false,
            ill: BTreeMap::new(),
            asked: false,
            left: Micros(0),
            drain: None,
        };
        self.procs.insert(id, proc);
        self.apply(&[Event::Ordered { record }]);
        let late = if self.dice.chance(50) {
            0
        } else {
            self.dice.below(5)
        };
        self.at(late, Happening::Launch(id));
    }

    fn stop(&mut self, dyno: DynoId) {
        let now = self.now;
        self.not_routed(dyno, "stopped");
        let Some(p) = self.procs.get(&dyno) else {
            return self.fail(format!("unknown-stopped: {dyno}"));
        };
        let (app, left) = (p.record.app, p.left);
        let flying = self.router.flights.values().any(|d| *d == dyno);
        let own = self.agent.as_ref().and_then(|a| a.desired.apps.get(&app));
        let own = own.and_then(|w| w.routing.drain_ms);
        let patience = match p.drain {
            Some((life, until)) if life == self.lives => now >= until,
            _ => now.since(left) >= own.map_or(limits::DRAIN, Duration::from_millis),
        };
        if flying && !patience && self.apps.contains_key(&app) && p.ended.is_none() {
            return self.fail(format!(
                "cut-in-flight: {} v{}",
                p.record.name, p.record.version
            ));
        }
        self.apply(&[Event::StopOrdered { dyno }]);
        let lost = !self.calm() && self.dice.chance(4);
        let late = if self.dice.chance(50) {
            0
        } else {
            self.dice.below(20)
        };
        if let Some(p) = self.procs.get_mut(&dyno)
            && !lost
            && p.ended.is_none()
        {
            p.term.get_or_insert(now);
            if !p.ignores_term {
                self.at(late, Happening::Gone(dyno, 15));
            }
        }
    }

    /// Only what fails its liveness check may be replaced, and only if it is current.
    fn replace(&mut self, dyno: DynoId) {
        let known = self
            .agent
            .as_ref()
            .and_then(|a| a.observed.dynos.get(&dyno));
        let Some(d) = known else {
            return self.fail(format!("cured-unknown: {dyno}"));
        };
        let bad = matches!(d.standings.get(LIVENESS), Some(Standing::Bad { .. }));
        if !bad || !d.serves() {
            let text = format!("cured-healthy: {} v{}", d.record.name, d.record.version);
            return self.fail(text);
        }
        if let Some(p) = self.procs.get_mut(&dyno) {
            p.asked = true;
        }
        self.apply(&[Event::ReplaceOrdered { dyno }]);
    }

    fn kill(&mut self, dyno: DynoId) {
        let now = self.now;
        self.not_routed(dyno, "killed");
        let state = self
            .agent
            .as_ref()
            .and_then(|a| a.observed.dynos.get(&dyno));
        match state.map(|d| &d.state) {
            Some(DynoState::Stopping { since, .. }) if now.since(*since) < limits::GRACE => {
                return self.fail(format!("killed-without-grace: {dyno}"));
            }
            Some(DynoState::Up { .. } | DynoState::Draining { .. } | DynoState::Drained { .. }) => {
                return self.fail(format!("killed-without-grace: {dyno} never got SIGTERM"));
            }
            _ => {}
        }
        self.apply(&[Event::KillOrdered { dyno }]);
        if self.calm() || !self.dice.chance(8) {
            let late = self.dice.below(3);
            if let Some(p) = self.procs.get_mut(&dyno) {
                p.term.get_or_insert(now);
            }
            self.at(late, Happening::Gone(dyno, 9));
        }
    }

    /// Nothing that runs and gets requests is stopped; save for destroyed apps when the router is away for long.
    fn not_routed(&mut self, dyno: DynoId, what: &str) {
        let Some(p) = self.procs.get(&dyno) else {
            return;
        };
        let exempt = !self.apps.contains_key(&p.record.app) && !self.router.connected;
        if p.ended.is_none() && self.router.routes(dyno) && !exempt {
            let text = format!(
                "{what}-while-routed: {} v{}",
                p.record.name, p.record.version
            );
            self.fail(text);
        }
    }

    fn order_end(&mut self, app: AppId, version: u32, good: bool) {
        let now = self.now;
        if good {
            self.ready_to_promote(app, version);
            if self.apps.contains_key(&app) && !self.phase_passed(app, version) {
                self.fail(format!(
                    "phase-skipped: v{version} is promoted before its release phase is over"
                ));
            }
        }
        let Some(a) = &mut self.agent else { return };
        if let Some(last) = a.ends.insert((app, version), now)
            && now.since(last) < limits::END_RETRY
        {
            return self.fail(format!("ended-twice: v{version}"));
        }
        self.apply(&[if good {
            Event::PromoteOrdered { app, version }
        } else {
            Event::AbandonOrdered { app, version }
        }]);
        let late = self.dice.below(4);
        match self.dice.below(if self.calm() { 1 } else { 20 }) {
            18 => {} // The order is lost, and nobody says so.
            19 => self.at(
                late,
                Happening::Tell(self.lives, Event::EndFailed { app, version }),
            ),
            _ => self.at(late, Happening::End(self.lives, app, version, good)),
        }
    }

    fn ready_to_promote(&mut self, app: AppId, version: u32) {
        let Some(a) = &self.agent else { return };
        let wish = &a.desired.apps[&app];
        let Some(release) = wish.candidate.as_ref().filter(|c| c.version == version) else {
            return self.fail(format!("promoted-astray: v{version} is no candidate"));
        };
        let wanted =
            |t: &hokku_model::ProcessType| match (&release.slug, release.process_types.get(t)) {
                (Some(_), Some(_)) => wish.formation.get(t).copied().unwrap_or(0),
                _ => 0,
            };
        let web = hokku_model::ProcessType::web();
        let by_web = wanted(&web) > 0;
        let mut missing = None;
        for kind in release
            .process_types
            .keys()
            .filter(|k| k.is_web() == by_web && !k.is_release())
        {
            for i in 1..=wanted(kind) {
                let ready = self.procs.values().any(|p| {
                    let r = &p.record;
                    let it = (r.app, r.version, r.name.index) == (app, version, i)
                        && r.name.kind == *kind;
                    // News of an end may be on its way.
                    let there = p.ended.is_none_or(|t| self.now.since(t).as_secs() < 2);
                    let since = if by_web { p.answered } else { p.launched };
                    let long = if by_web { 0 } else { 1 };
                    it && there && since.is_some_and(|s| self.now.since(s).as_secs() >= long)
                });
                if !ready {
                    missing = Some(format!("promoted-early: v{version} without {kind}.{i}"));
                }
            }
        }
        if let Some(m) = missing {
            self.fail(m);
        }
    }
}
