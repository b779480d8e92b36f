//! The processes and the router of the node.

use crate::health::*;
use crate::world::*;
use hokku_core::event::Event;
use hokku_model::{
    DynoId, Micros,
    dyno::{Exit, Purpose},
    route::{AppState, RouteTable},
};
use std::{collections::BTreeSet, time::Duration};

impl World {
    fn quality(&self, dyno: DynoId) -> Quality {
        let r = &self.procs[&dyno].record;
        let q = self
            .apps
            .get(&r.app)
            .and_then(|a| a.quality.get(&r.version));
        match q {
            Some(q) if !self.calm() => *q,
            _ => Quality::Good,
        }
    }

    pub fn launch(&mut self, dyno: DynoId) {
        let (calm, now) = (self.calm(), self.now);
        let quality = self.quality(dyno);
        let p = &self.procs[&dyno];
        if p.ended.is_some() || p.launched.is_some() {
            return;
        }
        let step = p.record.purpose == Purpose::Release;
        let (web, oneoff) = (p.record.port.is_some(), p.record.oneoff);
        let wont = quality == Quality::WontStart && !oneoff;
        if (!oneoff || step) && (wont || (!calm && self.dice.chance(1))) {
            self.end(dyno, true);
            return self.tell(Event::StartFailed {
                dyno,
                error: "no such file".into(),
            });
        }
        if let Some(p) = self.procs.get_mut(&dyno) {
            p.launched = Some(now);
            p.folder = step;
        }
        // The agent always hears that it runs; only how late varies.
        self.tell(Event::Running { dyno, pid: 7 });
        if step && !calm && self.dice.chance(10) {
            return; // It hangs.
        }
        if oneoff {
            let late = self.dice.below(if step { 40 } else { 200 });
            return self.at(late, Happening::Crash(dyno));
        }
        if web {
            self.at(120, Happening::GiveUp(self.lives, dyno));
        }
        match quality {
            Quality::CrashesAtBoot => {
                let late = self.dice.below(8);
                return self.at(late, Happening::Crash(dyno));
            }
            Quality::Flaky => {
                let late = match self.dice.below(3) {
                    0 => self.dice.below(10),
                    1 => 10 + self.dice.below(80),
                    _ => 100 + self.dice.below(400),
                };
                self.at(late, Happening::Crash(dyno));
            }
            _ => {}
        }
        if web {
            if quality == Quality::FailsItsCheck {
                for late in [2, 4] {
                    self.at(late, Happening::Probe(self.lives, dyno, STARTUP));
                }
                if let Some(p) = self.procs.get_mut(&dyno) {
                    p.ill.insert(STARTUP, now);
                }
                return;
            }
            let hangs = quality == Quality::NeverListens || (!calm && self.dice.chance(2));
            if let Some(p) = self.procs.get_mut(&dyno) {
                p.hangs = hangs;
            }
            if !hangs {
                let late = if self.dice.chance(60) {
                    self.dice.below(4)
                } else {
                    self.dice.below(60)
                };
                self.at(late, Happening::Answer(dyno));
            }
        }
        if !calm && self.dice.chance(5) {
            let late = self.dice.below(400);
            self.at(late, Happening::Crash(dyno));
        }
    }

    pub fn answer(&mut self, dyno: DynoId) {
        let now = self.now;
        if let Some(p) = self.procs.get_mut(&dyno)
            && p.ended.is_none()
        {
            p.answered = Some(now);
            for event in self.up_by(dyno) {
                self.tell(event);
            }
        }
    }

    /// The prober's limit is over.
    pub fn give_up(&mut self, life: u64, dyno: DynoId) {
        let p = &self.procs[&dyno];
        if life == self.lives && p.ended.is_none() && p.answered.is_none() {
            self.tell(Event::BootTimedOut {
                dyno,
                listening: vec![8080],
            });
        }
    }

    pub fn crash(&mut self, dyno: DynoId) {
        if self.procs[&dyno].ended.is_none() && (!self.calm() || self.procs[&dyno].record.oneoff) {
            let own = self.procs[&dyno].term.is_none();
            self.end(dyno, own);
            let step = self.procs[&dyno].record.purpose == Purpose::Release;
            let exit = match self.dice.below(if step { 8 } else { 3 }) {
                1 => Exit::Code(1),
                2 => Exit::Signal(11),
                _ => Exit::Code(0),
            };
            if let Some(p) = self.procs.get_mut(&dyno) {
                p.exit = Some(exit);
            }
            self.tell(Event::Exited { dyno, exit });
        }
    }

    pub fn gone(&mut self, dyno: DynoId, signal: i32) {
        if self.procs[&dyno].ended.is_none() {
            self.end(dyno, false);
            let exit = Exit::Signal(signal);
            if let Some(p) = self.procs.get_mut(&dyno) {
                p.exit = Some(exit);
            }
            self.tell(Event::Exited { dyno, exit });
        }
    }

    fn end(&mut self, dyno: DynoId, crashed: bool) {
        let now = self.now;
        self.note(|| format!("  process of {dyno} ends, crashed: {crashed}"));
        if let Some(p) = self.procs.get_mut(&dyno) {
            p.ended = Some(now);
            p.crashed = crashed;
        }
        // Connections to a dead process break; a drain of it is over.
        let over: Vec<u64> = self.flights_to(dyno);
        for id in over {
            self.flight_over(self.router.life, id);
        }
    }

    fn flights_to(&self, dyno: DynoId) -> Vec<u64> {
        let flights = self.router.flights.iter().filter(|(_, d)| **d == dyno);
        flights.map(|(id, _)| *id).collect()
    }

    pub fn take_table(&mut self, connection: u64, table: RouteTable) {
        let r = &mut self.router;
        if connection != r.connection || !r.connected {
            return;
        }
        if table.version > r.table.version {
            let old = std::mem::replace(&mut r.table, table);
            self.compare(&old);
        } else if !self.calm() {
            // Only a table sent again because its confirmation was late may be old news.
            let (had, got) = (self.router.table.version, table.version);
            if got < had {
                self.fail(format!("version-back: table {got} after {had}"));
            }
        }
        let version = self.router.table.version;
        self.report(Event::Routed { version });
    }

    pub fn take_certs(&mut self, connection: u64, certs: u64, version: u64) {
        let r = &mut self.router;
        if connection != r.connection || !r.connected {
            return;
        }
        if version > r.certs.1 {
            if certs < r.certs.0 {
                let text = format!("certs-back: {certs} after {}", r.certs.0);
                return self.fail(text);
            }
            r.certs = (certs, version);
        }
        let version = self.router.certs.1;
        self.report(Event::Certified { version });
    }

    fn compare(&mut self, old: &RouteTable) {
        let now = self.now;
        let mut wrong = vec![];
        for (id, routes) in &self.router.table.apps {
            let mut versions = BTreeSet::new();
            for t in &routes.targets {
                let Some(p) = self.procs.get(&t.dyno) else {
                    wrong.push(format!("unknown-routed: {}", t.dyno));
                    continue;
                };
                let r = &p.record;
                versions.insert(r.version);
                if p.answered.is_none() {
                    wrong.push(format!("unready-routed: {} v{}", r.name, r.version));
                }
                let Some(app) = self.apps.get(id) else {
                    continue;
                };
                if !app.succeeded.contains(&r.version) {
                    wrong.push(format!(
                        "candidate-routed: {} v{} was never promoted",
                        r.name, r.version
                    ));
                }
            }
            if versions.len() > 1 {
                wrong.push(format!("two-releases-routed: {versions:?}"));
            }
            wrong.extend(self.emptied(id, old));
        }
        for t in old.apps.values().flat_map(|a| &a.targets) {
            if let Some(p) = self.procs.get_mut(&t.dyno)
                && !self
                    .router
                    .table
                    .apps
                    .values()
                    .any(|a| a.targets.iter().any(|n| n.dyno == t.dyno))
            {
                p.left = now;
            }
        }
        if let Some(w) = wrong.into_iter().next() {
            self.fail(w);
        }
    }

    /// An app with good targets lost them all, and neither an order nor its own crashes took them.
    fn emptied(&self, id: &hokku_model::AppId, old: &RouteTable) -> Option<String> {
        let (new, old) = (self.router.table.apps.get(id)?, old.apps.get(id)?);
        let (app, agent) = (self.apps.get(id)?, self.agent.as_ref()?);
        let seen = agent.desired.apps.get(id)?;
        let recent =
            |t: Option<Micros>| t.is_some_and(|t| self.now.since(t) < Duration::from_secs(4));
        let serves = |d: &DynoId| {
            self.procs
                .get(d)
                .is_some_and(|p| p.ended.is_none() || recent(p.ended))
        };
        if new.targets.iter().any(|t| serves(&t.dyno)) {
            return None;
        }
        use AppState::{Blank, Maintenance, Stopped};
        if matches!(new.state, Maintenance | Stopped | Blank) {
            return None; // Ordered so when the table was sent, and changed since.
        }
        for wish in [&app.wish, seen] {
            let web = hokku_model::ProcessType::web();
            let runs = wish
                .current
                .as_ref()
                .is_some_and(|r| r.slug.is_some() && r.process_types.contains_key(&web));
            if wish.maintenance || !runs || wish.formation.get(&web).copied().unwrap_or(0) == 0 {
                return None;
            }
        }
        let n = seen.formation[&hokku_model::ProcessType::web()]
            .min(app.wish.formation[&hokku_model::ProcessType::web()]);
        let lost = old
            .targets
            .iter()
            .filter_map(|t| self.procs.get(&t.dyno))
            .find(|p| p.good() && !p.asked && p.record.name.index <= n)?;
        Some(format!(
            "emptied: {} lost its last good target {} v{}",
            new.name, lost.record.name, lost.record.version
        ))
    }

    pub fn take_drain(&mut self, connection: u64, dyno: DynoId, deadline: Duration) {
        if connection != self.router.connection || !self.router.connected {
            return;
        }
        if self.router.routes(dyno) {
            return self.fail(format!("drained-while-routed: {dyno}"));
        }
        if self.flights_to(dyno).is_empty() {
            return self.report(Event::Drained { dyno });
        }
        let first = self.router.drains.get(&dyno).copied();
        let end = self
            .now
            .plus(deadline)
            .min(first.unwrap_or(Micros(i64::MAX)));
        self.router.drains.insert(dyno, end);
        self.at_time(end, Happening::DrainOver(dyno));
    }

    pub fn drain_over(&mut self, dyno: DynoId) {
        if self
            .router
            .drains
            .get(&dyno)
            .is_some_and(|end| *end <= self.now)
        {
            for id in self.flights_to(dyno) {
                self.flight_over(self.router.life, id);
            }
        }
    }

    pub fn flight_over(&mut self, life: u64, id: u64) {
        if life != self.router.life {
            return;
        }
        if let Some(dyno) = self.router.flights.remove(&id)
            && self.flights_to(dyno).is_empty()
            && self.router.drains.remove(&dyno).is_some()
        {
            self.report(Event::Drained { dyno });
        }
    }

    /// The router reports, if anyone listens; now and then a report is lost.
    fn report(&mut self, event: Event) {
        if self.router.connected && (self.calm() || !self.dice.chance(4)) {
            self.tell(event);
        }
    }

    pub fn requests(&mut self) {
        if self.calm() {
            return;
        }
        let again = 1 + self.dice.below(4);
        self.at(again, Happening::Request);
        if !self.router.alive {
            return;
        }
        let picks: Vec<_> = self
            .router
            .table
            .apps
            .iter()
            .map(|(id, a)| (*id, a.targets.iter().map(|t| t.dyno).collect::<Vec<_>>()))
            .collect();
        for (app, targets) in picks {
            let Some(dyno) = self.dice.pick(&targets).copied() else {
                continue;
            };
            let p = &self.procs[&dyno];
            if !p.good() {
                if !p.crashed && self.apps.contains_key(&app) {
                    let text = format!(
                        "request-lost: to {} v{}, which did not crash by itself",
                        p.record.name, p.record.version
                    );
                    return self.fail(text);
                }
                continue;
            }
            self.served += 1;
            self.flights += 1;
            let id = self.flights;
            self.router.flights.insert(id, dyno);
            let late = match self.dice.below(20) {
                0 => 20 + self.dice.below(1000),
                1..4 => 4 + self.dice.below(30),
                _ => self.dice.below(4),
            };
            self.at(late, Happening::FlightOver(self.router.life, id));
        }
    }

    pub fn router_dies(&mut self) {
        if !self.router.alive {
            return;
        }
        self.note(|| "router dies".into());
        self.router.alive = false;
        self.router.life += 1;
        self.router.flights.clear();
        self.router.drains.clear();
        self.router.certs = (0, 0);
        self.disconnect();
        let late = if self.dice.chance(10) {
            700
        } else {
            1 + self.dice.below(40)
        };
        self.at(late, Happening::RouterBack);
    }

    pub fn disconnect(&mut self) {
        self.router.connection += 1;
        if self.router.connected {
            self.router.connected = false;
            self.at(0, Happening::Tell(self.lives, Event::RouterWent));
        }
    }

    pub fn router_back(&mut self) {
        if self.router.alive {
            return;
        }
        self.router.alive = true;
        if self.dice.chance(10) {
            self.router.table = RouteTable::default(); // It lost its file.
        }
        let late = self.dice.below(4);
        self.at(late, Happening::Connect);
    }

    pub fn connect(&mut self) {
        if self.agent.is_some() && self.router.alive && !self.router.connected {
            self.router.connected = true;
            self.router.connection += 1;
            self.router.connected_since = self.now;
            let version = self.router.table.version;
            self.at(
                0,
                Happening::Tell(self.lives, Event::RouterCame { version }),
            );
        }
    }
}
