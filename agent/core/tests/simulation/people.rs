//! What people order, what breaks, and the store that keeps the orders.

use crate::world::*;
use hokku_core::{
    check,
    desired::{AppWish, PhaseWish, ReleaseWish},
    event::Event,
    plan::plan,
};
use hokku_model::{AppId, DynoId, DynoName, Micros, ProcessType, dyno::DynoRecord};
use std::{collections::BTreeMap, time::Duration};

fn kind(s: &str) -> ProcessType {
    s.parse().expect("a process type")
}

impl World {
    pub fn op(&mut self) {
        if self.calm() {
            return self.soothe();
        }
        let again = 1 + self.dice.below(60);
        self.at(again, Happening::Op);
        let apps: Vec<AppId> = self.apps.keys().copied().collect();
        let Some(app) = self.dice.pick(&apps).copied() else {
            return self.create();
        };
        match self.dice.below(100) {
            0..4 if apps.len() < 3 => self.create(),
            0..40 => self.deploy(app, None),
            40..46 => self.rollback(app),
            46..66 => self.scale(app),
            66..80 => self.restart(app),
            80..90 => self.ask_to_stop(app),
            90..93 => self.one_off(app),
            93..96 => self.change(app, |a| a.wish.maintenance ^= true),
            96 => self.drain_time(app),
            97 if apps.len() > 1 => self.destroy(app),
            98..100 => self.certs(app),
            _ => {}
        }
    }

    /// WebSockets may stay for long, or for shorter than the agent's own time.
    fn drain_time(&mut self, app: AppId) {
        let seconds = [None, Some(5), Some(60), Some(90)];
        let chosen = seconds[self.dice.below(4) as usize];
        self.change(app, |a| a.wish.routing.drain_ms = chosen.map(|s| s * 1000));
    }

    /// The last order: no maintenance page, and let what runs now come to rest.
    fn soothe(&mut self) {
        let apps: Vec<AppId> = self.apps.keys().copied().collect();
        for app in apps {
            self.change(app, |a| a.wish.maintenance = false);
        }
        let ill = self.procs.values().filter(|p| !p.ill.is_empty());
        let ill: Vec<DynoId> = ill.map(|p| p.record.id).collect();
        for dyno in ill {
            self.recover(dyno);
        }
        self.router_back();
        self.connect();
    }

    pub fn fault(&mut self) {
        if self.calm() {
            return;
        }
        let again = 1 + self.dice.below(240);
        self.at(again, Happening::Fault);
        match self.dice.below(6) {
            4.. => self.illness(),
            0 => self.agent_dies(),
            1 => self.router_dies(),
            2 => {
                self.note(|| "the connection breaks".into());
                self.disconnect();
                let late = if self.dice.chance(10) {
                    700
                } else {
                    self.dice.below(60)
                };
                self.at(late, Happening::Connect);
            }
            _ => {
                let alive = self
                    .procs
                    .values()
                    .filter(|p| p.ended.is_none() && p.launched.is_some());
                let alive: Vec<DynoId> = alive.map(|p| p.record.id).collect();
                if let Some(d) = self.dice.pick(&alive).copied() {
                    self.crash(d);
                }
            }
        }
    }

    pub fn change(&mut self, app: AppId, f: impl FnOnce(&mut App)) {
        let now = self.now;
        if let Some(a) = self.apps.get_mut(&app) {
            f(a);
            a.changed = now;
        }
        self.generation += 1;
        let late = self.dice.below(2);
        self.at(late, Happening::Read(self.lives));
    }

    fn create(&mut self) {
        self.names += 1;
        let (n, now) = (self.names, self.now);
        let name = format!("app{n}").parse().expect("a name");
        self.note(|| format!("op: create app{n}"));
        let app = App {
            wish: AppWish {
                formation: BTreeMap::from([(kind("web"), 1)]),
                hosts: vec![format!("app{n}.test")],
                ..AppWish::new(name)
            },
            next: 1,
            quality: BTreeMap::new(),
            succeeded: Default::default(),
            changed: now,
            candidate_since: now,
        };
        let id = AppId(u128::from(n));
        self.apps.insert(id, app);
        self.change(id, |_| {});
    }

    fn deploy(&mut self, app: AppId, like: Option<u32>) {
        let now = self.now;
        let (d, slugless) = (self.dice.below(100), self.dice.chance(2));
        let kinds = match self.dice.below(10) {
            0 => vec!["worker"],
            1 => vec!["web", "release"],
            _ => vec!["web", "worker", "release"],
        };
        let phase = PhaseWish {
            steps: self.draw_phase(&kinds),
            ..PhaseWish::default()
        };
        let drawn = match d {
            0..58 => Quality::Good,
            58..72 => Quality::CrashesAtBoot,
            72..80 => Quality::NeverListens,
            80..91 => Quality::Flaky,
            91..95 => Quality::FailsItsCheck,
            _ => Quality::WontStart,
        };
        let mut shown = (0, drawn);
        self.change(app, |a| {
            let version = a.next;
            let quality = like
                .and_then(|v| a.quality.get(&v))
                .copied()
                .unwrap_or(drawn);
            a.next += 1;
            a.quality.insert(version, quality);
            a.candidate_since = now;
            a.wish.candidate = Some(ReleaseWish {
                version,
                slug: (!slugless).then(|| "ab".repeat(32).parse().expect("a digest")),
                process_types: kinds
                    .iter()
                    .map(|k| (kind(k), format!("run {k}")))
                    .collect(),
                files: vec![],
                app_json: Default::default(),
                phase,
                created_at: now,
            });
            shown = (version, quality);
        });
        self.note(|| format!("op: deploy v{} of {app}: {:?}, {kinds:?}", shown.0, shown.1));
    }

    fn rollback(&mut self, app: AppId) {
        let old: Vec<u32> = self.apps[&app].succeeded.iter().copied().collect();
        if let Some(v) = self.dice.pick(&old).copied() {
            self.deploy(app, Some(v));
        }
    }

    fn scale(&mut self, app: AppId) {
        let of = if self.dice.chance(70) {
            "web"
        } else {
            "worker"
        };
        let n = self.dice.below(4) as u32;
        self.note(|| format!("op: scale {of}={n} of {app}"));
        self.change(app, |a| {
            a.wish.formation.insert(kind(of), n);
        });
        // A slot that was taken away and given back may be filled anew.
        if let Some(agent) = &mut self.agent {
            agent.candidate_starts.retain(|s| s.0 != app);
        }
    }

    fn restart(&mut self, app: AppId) {
        let now = self.now;
        let what = self.dice.below(3);
        self.note(|| format!("op: restart {what} of {app}"));
        self.change(app, |a| match what {
            0 => a.wish.restarts.all = now,
            1 => {
                a.wish.restarts.by_type.insert(kind("web"), now);
            }
            _ => {
                a.wish.restarts.by_dyno.insert("web.1".into(), now);
            }
        });
    }

    fn ask_to_stop(&mut self, app: AppId) {
        let Some(agent) = &mut self.agent else { return };
        let of = agent
            .observed
            .dynos
            .values()
            .filter(|d| d.record.app == app);
        let of: Vec<(DynoId, u32, String)> = of
            .map(|d| (d.record.id, d.record.version, d.record.name.to_string()))
            .collect();
        if let Some((dyno, version, name)) = self.dice.pick(&of).cloned() {
            agent.candidate_starts.remove(&(app, version, name));
            if let Some(p) = self.procs.get_mut(&dyno) {
                p.asked = true;
            }
            self.learn(&[Event::StopAsked { dyno }]);
        }
    }

    fn one_off(&mut self, app: AppId) {
        if self.agent.is_none() {
            return;
        }
        let (id, n) = (
            DynoId(u128::from(self.dice.roll())),
            self.dice.below(9000) as u32 + 1000,
        );
        let record = DynoRecord {
            id,
            name: DynoName::new(kind("run"), n),
            app,
            app_name: self.apps[&app].wish.name.clone(),
            version: 1,
            slug: None,
            port: None,
            command: "bash".into(),
            started_at: self.now,
            oneoff: true,
            purpose: Default::default(),
            quota: Default::default(),
            care: Default::default(),
        };
        self.spawn(record);
    }

    /// Somebody gives a certificate, or takes one away. Once in a while the store was put back from a backup: then the
    /// router has newer ones than are known of.
    fn certs(&mut self, app: AppId) {
        self.certs = (self.now.0 as u64).max(self.certs + 1);
        let certs = self.certs;
        self.note(|| format!("op: certificates are now {certs}"));
        if self.dice.chance(10) && self.router.alive {
            self.router.certs.1 = self.now.0 as u64 + GRID as u64 / 2;
        }
        self.change(app, |_| {});
    }

    fn destroy(&mut self, app: AppId) {
        self.note(|| format!("op: destroy {app}"));
        self.apps.remove(&app);
        self.change(app, |_| {});
    }

    pub fn commit_end(&mut self, _life: u64, app: AppId, version: u32, good: bool) {
        let Some(a) = self.apps.get(&app) else { return };
        if a.wish.candidate.as_ref().map(|c| c.version) != Some(version) {
            return; // Compare and set: it was superseded or ended already.
        }
        self.note(|| format!("store: v{version} of {app} promoted: {good}"));
        let mut twice = false;
        self.change(app, |a| {
            let candidate = a.wish.candidate.take();
            if good {
                twice = !a.succeeded.insert(version);
                a.wish.current = candidate;
            }
        });
        if twice {
            self.fail(format!("promoted-twice: v{version}"));
        }
    }

    /// Looks at the whole from outside, now and then: everything that was begun has to end.
    pub fn audit(&mut self) {
        self.at(30, Happening::Audit);
        let now = self.now;
        let Some(agent) = &self.agent else { return };
        let settled =
            |since: Micros, s: u64| now.since(since.max(agent.since)) > Duration::from_secs(s);
        let mut wrong = None;
        for a in self.apps.values() {
            if let Some(c) = &a.wish.candidate
                && settled(a.candidate_since.max(a.changed), 150)
            {
                wrong = Some(format!(
                    "unending: {} v{} has been a candidate for long",
                    a.wish.name, c.version
                ));
            }
        }
        let connected = self.router.connected.then_some(self.router.connected_since);
        for p in self.procs.values().filter(|p| p.ended.is_none()) {
            let r = &p.record;
            let app = self.apps.get(&r.app);
            let is = |w: &Option<ReleaseWish>| w.as_ref().is_some_and(|c| c.version == r.version);
            let wanted = app.is_some_and(|a| {
                let n = a.wish.formation.get(&r.name.kind).copied().unwrap_or(0);
                let current = a.wish.current.as_ref().map(|c| c.version);
                let served = self.procs.values().any(|p| {
                    p.good() && p.record.app == r.app && Some(p.record.version) == current
                });
                // The release before serves on while nothing of the promoted one is up.
                (!served && r.name.kind.is_web())
                    || r.oneoff
                    || ((is(&a.wish.current) || is(&a.wish.candidate)) && r.name.index <= n)
            });
            let changed = app.map_or(p.launched.unwrap_or(now), |a| a.changed);
            let (since, bound) = match connected {
                Some(since) => (since, 230),
                None if app.is_none() => (now, 0),
                None => continue,
            };
            let long = if app.is_none() {
                connected.is_some() && settled(since.max(self.gone_since(r.app)), 230)
            } else {
                settled(since.max(changed), bound)
            };
            if !wanted && long {
                wrong = Some(format!(
                    "lingering: {} v{} of {}",
                    r.name, r.version, r.app_name
                ));
            }
        }
        if let Some(w) = wrong {
            self.fail(w);
        }
    }

    /// When an app that is gone was last seen wanted: not kept, so the last change of anything stands in for it.
    fn gone_since(&self, _app: AppId) -> Micros {
        self.apps
            .values()
            .map(|a| a.changed)
            .max()
            .unwrap_or(self.now)
    }

    /// After a while in peace everything is as wanted, exactly, and there is nothing left to do.
    pub fn at_rest(&mut self) {
        let now = self.now;
        let Some(agent) = &self.agent else {
            return self.fail("unrest: the agent is gone".into());
        };
        let mut p = plan(&agent.desired, &agent.observed, now);
        if let Some(m) = self.mutant {
            m(&agent.desired, &agent.observed, now, &mut p);
        }
        let mut wrong: Vec<String> = check::unrest(&agent.desired, &agent.observed);
        if !p.actions.is_empty() {
            wrong.push(format!("the plan is {:?}", p.actions));
        }
        if !agent.observed.ended.is_empty() || self.procs.values().any(|p| p.folder) {
            wrong.push("hoard: ends of release commands that nobody forgets".into());
        }
        for (id, app) in &self.apps {
            if let Some(c) = &app.wish.candidate {
                wrong.push(format!("v{} is still a candidate", c.version));
            }
            let Some(current) = &app.wish.current else {
                continue;
            };
            let mut web = vec![];
            for (kind, n) in &app.wish.formation {
                if current.slug.is_none() || !current.process_types.contains_key(kind) {
                    continue;
                }
                for i in 1..=*n {
                    let name = DynoName::new(kind.clone(), i);
                    let live = self.procs.values().filter(|p| {
                        let r = &p.record;
                        p.ended.is_none() && r.app == *id && r.name == name && !r.oneoff
                    });
                    let live: Vec<_> = live.collect();
                    let order = app.wish.restarts.newest_for(kind, i);
                    match live[..] {
                        [one]
                            if one.record.version == current.version
                                && one.record.started_at >= order =>
                        {
                            if kind.is_web() {
                                web.push(one.record.id);
                            }
                        }
                        _ => wrong.push(format!(
                            "{} has {} processes of {name} as wanted",
                            app.wish.name,
                            live.len()
                        )),
                    }
                }
            }
            let routed = self.router.table.apps.get(id);
            let mut routed: Vec<DynoId> = routed
                .iter()
                .flat_map(|a| a.targets.iter().map(|t| t.dyno))
                .collect();
            routed.sort();
            web.sort();
            if routed != web {
                wrong.push(format!(
                    "{} routes to {} of {} web dynos",
                    app.wish.name,
                    routed.len(),
                    web.len()
                ));
            }
        }
        if self
            .router
            .table
            .apps
            .keys()
            .any(|a| !self.apps.contains_key(a))
        {
            wrong.push("a destroyed app is still routed".into());
        }
        if self.router.certs.0 != self.certs {
            let has = self.router.certs.0;
            wrong.push(format!(
                "the router has certificates {has} of {}",
                self.certs
            ));
        }
        let alive = self.procs.values().filter(|p| p.ended.is_none()).count();
        let known = agent.observed.dynos.len();
        if alive != known {
            wrong.push(format!("{alive} processes live and {known} are known"));
        }
        if !wrong.is_empty() {
            self.fail(format!("unrest: {}", wrong.join("; ")));
        }
    }
}
