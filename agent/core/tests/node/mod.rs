//! A node for tests of single steps: wishes, facts and a clock, with short words for them. It obeys the plan as the
//! loop does (each order is applied as a fact), but nothing happens by itself.

#![allow(dead_code)] // Each test file uses its part.

use hokku_core::{
    action::{Action, Plan},
    check,
    desired::{AppWish, Desired, ReleaseWish},
    event::Event,
    observed::{Note, Observed},
    plan::plan,
};
use hokku_model::{
    AppId, DynoId, DynoName, Micros, ProcessType,
    dyno::{DynoRecord, Exit, Purpose},
    health::AppJson,
};
use std::{collections::BTreeMap, time::Duration};

pub const APP: AppId = AppId(1);

pub struct Node {
    pub desired: Desired,
    pub observed: Observed,
    pub now: Micros,
    pub notes: Vec<Note>,
    /// How new dynos are cared for.
    pub app_json: AppJson,
    next: u128,
}

pub fn kind(s: &str) -> ProcessType {
    s.parse().expect("a process type")
}

pub fn name(s: &str) -> DynoName {
    s.parse().expect("a dyno name")
}

pub fn release(version: u32, kinds: &[&str]) -> ReleaseWish {
    ReleaseWish {
        version,
        slug: Some("0a".repeat(32).parse().expect("a digest")),
        process_types: kinds
            .iter()
            .map(|k| (kind(k), format!("run {k}")))
            .collect(),
        files: vec![],
        app_json: AppJson::default(),
        phase: Default::default(),
        created_at: Micros(0),
    }
}

impl Node {
    /// An app `shop` with this formation, nothing deployed, no router.
    pub fn new(formation: &[(&str, u32)]) -> Node {
        let wish = AppWish {
            formation: formation.iter().map(|(k, n)| (kind(k), *n)).collect(),
            hosts: vec!["shop.test".into()],
            ..AppWish::new("shop".parse().expect("a name"))
        };
        Node {
            desired: Desired {
                generation: 1,
                apps: BTreeMap::from([(APP, wish)]),
                ..Desired::default()
            },
            observed: Observed::default(),
            now: Micros(1_000_000_000_000),
            notes: vec![],
            app_json: AppJson::default(),
            next: 0,
        }
    }

    /// `v<version>` with `web` and `worker` is current, all is up and the router confirmed it.
    pub fn running(version: u32, formation: &[(&str, u32)]) -> Node {
        let mut n = Node::new(formation);
        n.wish().current = Some(release(version, &["web", "worker"]));
        n.tell(Event::RouterCame { version: 0 });
        n.rest();
        n
    }

    pub fn wish(&mut self) -> &mut AppWish {
        self.desired.generation += 1;
        self.desired.apps.get_mut(&APP).expect("the app")
    }

    pub fn tell(&mut self, e: Event) {
        self.notes.extend(self.observed.apply(&e, self.now));
        let wrong = check::check(&self.desired, &self.observed, self.now);
        assert!(wrong.is_empty(), "after {e:?}: {wrong:?}");
    }

    pub fn pass(&mut self, seconds: f64) {
        self.now = self.now.plus(Duration::from_secs_f64(seconds));
    }

    pub fn plan(&self) -> Plan {
        plan(&self.desired, &self.observed, self.now)
    }

    /// What the plan says, in short words, sorted.
    pub fn says(&self) -> Vec<String> {
        let mut said: Vec<String> = self
            .plan()
            .actions
            .iter()
            .map(|(a, _)| self.short(a))
            .collect();
        said.sort();
        said
    }

    fn short(&self, a: &Action) -> String {
        let of = |d: &DynoId| {
            self.observed.dynos.get(d).map_or("?".into(), |d| {
                format!("{} v{}", d.record.name, d.record.version)
            })
        };
        match a {
            Action::Start { name, version, .. } => format!("start {name} v{version}"),
            Action::Route { table } => {
                let one = |a: &hokku_model::route::AppRoutes| {
                    let t: Vec<String> = a.targets.iter().map(|t| of(&t.dyno)).collect();
                    format!("{:?} [{}]", a.state, t.join(", "))
                };
                let apps: Vec<String> = table.apps.values().map(one).collect();
                format!("route {}", apps.join("; "))
            }
            Action::Certify { version } => format!("certify {version}"),
            Action::Drain { dyno, deadline } => {
                format!("drain {} {}s", of(dyno), deadline.as_secs())
            }
            Action::Stop { dyno } => format!("stop {}", of(dyno)),
            Action::Replace { dyno } => format!("replace {}", of(dyno)),
            Action::Kill { dyno } => format!("kill {}", of(dyno)),
            Action::Promote { version, .. } => format!("promote v{version}"),
            Action::Abandon { version, .. } => format!("abandon v{version}"),
            Action::Claim { version, step, .. } => format!("claim {step} v{version}"),
            Action::RunStep { claim, .. } => format!("run {} v{}", claim.name, claim.version),
            Action::Conclude { outcome, .. } => format!("conclude {}", outcome.is_ok()),
            Action::Forget { .. } => "forget".into(),
        }
    }

    /// Obeys one plan: every order is given. Returns it in short words.
    pub fn obey(&mut self) -> Vec<String> {
        let said = self.says();
        for (a, _) in self.plan().actions {
            match a {
                Action::Start { app, name, version } => self.order(app, name, version),
                Action::Route { table } => self.tell(Event::TableSent { table }),
                Action::Drain { dyno, deadline } => {
                    self.tell(Event::DrainOrdered { dyno, deadline })
                }
                Action::Certify { version } => {
                    let certs = self.desired.certs;
                    self.tell(Event::CertsSent { certs, version });
                }
                Action::Stop { dyno } => self.tell(Event::StopOrdered { dyno }),
                Action::Replace { dyno } => self.tell(Event::ReplaceOrdered { dyno }),
                Action::Kill { dyno } => self.tell(Event::KillOrdered { dyno }),
                Action::Promote { app, version } => {
                    self.tell(Event::PromoteOrdered { app, version })
                }
                Action::Abandon { app, version, .. } => {
                    self.tell(Event::AbandonOrdered { app, version })
                }
                Action::Claim { app, version, step } => {
                    self.tell(Event::ClaimOrdered { app, version, step })
                }
                Action::RunStep { app, claim } => {
                    let mut record = self.record(app, claim.name, claim.version);
                    (record.id, record.purpose) = (claim.dyno, Purpose::Release);
                    self.tell(Event::Ordered { record });
                }
                Action::Conclude { app, dyno, outcome } => {
                    self.tell(Event::ConcludeOrdered { app, dyno, outcome })
                }
                Action::Forget { dyno } => self.tell(Event::Forgotten { dyno }),
            }
        }
        said
    }

    fn order(&mut self, app: AppId, name: DynoName, version: u32) {
        let record = self.record(app, name, version);
        self.tell(Event::Ordered { record });
    }

    pub fn record(&mut self, app: AppId, name: DynoName, version: u32) -> DynoRecord {
        self.next += 1;
        DynoRecord {
            id: DynoId(self.next),
            app,
            app_name: "shop".parse().expect("a name"),
            version,
            slug: None,
            port: name.kind.is_web().then_some(5000 + self.next as u16),
            command: format!("run {}", name.kind),
            started_at: self.now,
            oneoff: !matches!(name.kind.as_str(), "web" | "worker" | "clock"),
            purpose: Default::default(),
            quota: Default::default(),
            care: self.app_json.care_of(&name.kind),
            name,
        }
    }

    /// The newest dyno of this name.
    pub fn id(&self, of: &str) -> DynoId {
        let of = name(of);
        let mut ids = self.observed.dynos.values().filter(|d| d.record.name == of);
        ids.next_back().expect("a dyno of the name").record.id
    }

    /// The dyno of this name and release.
    pub fn id_of(&self, of: &str, version: u32) -> DynoId {
        let of = name(of);
        let mut ids = self.observed.dynos.values();
        ids.find(|d| d.record.name == of && d.record.version == version)
            .expect("a dyno")
            .record
            .id
    }

    /// A check of it was made.
    pub fn checked(&mut self, dyno: DynoId, check: usize, outcome: Result<(), &str>) {
        self.tell(Event::Checked {
            dyno,
            check,
            outcome: outcome.map_err(str::to_owned),
        });
    }

    /// It runs and, if web, answers; all its checks pass.
    pub fn up(&mut self, dyno: DynoId) {
        self.tell(Event::Running { dyno, pid: 7 });
        for check in 0..self.observed.dynos[&dyno].standings.len() {
            self.checked(dyno, check, Ok(()));
        }
        if self.observed.dynos[&dyno].takes_requests() {
            self.tell(Event::Answering { dyno });
        }
    }

    pub fn exit(&mut self, dyno: DynoId, code: i32) {
        self.tell(Event::Exited {
            dyno,
            exit: Exit::Code(code),
        });
    }

    /// The router confirms what it was sent last.
    pub fn confirm(&mut self) {
        let version = self.observed.router.sent.as_ref().expect("a table").version;
        self.tell(Event::Routed { version });
    }

    /// Lets everything go well until the plan is empty.
    pub fn rest(&mut self) {
        for _ in 0..50 {
            self.obey();
            if self.observed.router.connected {
                self.confirm();
            }
            let ids: Vec<DynoId> = self.observed.dynos.keys().copied().collect();
            for id in ids {
                use hokku_core::observed::DynoState::*;
                match self.observed.dynos[&id].state {
                    Starting { .. } => self.up(id),
                    Draining { .. } => self.tell(Event::Drained { dyno: id }),
                    Stopping { .. } | Failed { .. } => self.exit(id, 143),
                    _ => {}
                }
            }
            if self.plan().actions.is_empty() {
                return;
            }
        }
        panic!("no rest: {:?}", self.says());
    }
}
