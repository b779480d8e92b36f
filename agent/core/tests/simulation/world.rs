//! One node and its people: the store, the processes, the router and the agent's loop, in simulated time. All times
//! lie on a grid of half a second, so that ties are common.

use crate::dice::Dice;
use hokku_core::{
    action::Plan,
    desired::{AppWish, Desired},
    event::Event,
    observed::Observed,
};
use hokku_model::{
    AppId, DynoId, Micros,
    dyno::{DynoRecord, Exit},
    phase::Outcome,
    route::RouteTable,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub const GRID: i64 = 500_000;
/// So long are faults and orders thrown at the node; then it is left in peace.
pub const CHAOS: Micros = Micros(START.0 + 420_000_000);
/// By then it has to be at rest.
pub const END: Micros = Micros(CHAOS.0 + 1_500_000_000);
/// The time limit of release commands.
pub const RELEASE: Duration = Duration::from_secs(40);
pub const START: Micros = Micros(1_000_000_000_000);

/// A fault put into the plan's output, to see that an invariant notices.
pub type Mutant = fn(&Desired, &Observed, Micros, &mut Plan);

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub enum Happening {
    Op,
    Fault,
    Audit,
    Request,
    /// To the agent of this life; lost when it has died since.
    Tell(u64, Event),
    /// The agent's alarm; only the newest counts.
    Wake(u64, u64),
    /// The agent reads the store.
    Read(u64),
    AgentBack,
    // Processes.
    Launch(DynoId),
    Answer(DynoId),
    GiveUp(u64, DynoId),
    Crash(DynoId),
    /// One more try of a check of the dyno, by the agent of this life.
    Probe(u64, DynoId, usize),
    /// It passes its checks again.
    Recover(DynoId),
    Gone(DynoId, i32),
    // The router, by the connection the message was sent on.
    Table(u64, RouteTable),
    Certs(u64, u64, u64),
    Drain(u64, DynoId, Duration),
    FlightOver(u64, u64),
    DrainOver(DynoId),
    RouterBack,
    Connect,
    // The store.
    End(u64, AppId, u32, bool),
    Claim(AppId, u32, usize),
    Conclude(AppId, DynoId, Outcome),
}

/// How the dynos of a release behave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quality {
    Good,
    CrashesAtBoot,
    NeverListens,
    Flaky,
    WontStart,
    /// Answers, and fails its startup check.
    FailsItsCheck,
}

pub struct App {
    pub wish: AppWish,
    pub next: u32,
    pub quality: BTreeMap<u32, Quality>,
    pub succeeded: BTreeSet<u32>,
    pub changed: Micros,
    pub candidate_since: Micros,
}

pub struct Proc {
    pub record: DynoRecord,
    pub launched: Option<Micros>,
    pub answered: Option<Micros>,
    pub ended: Option<Micros>,
    pub crashed: bool,
    pub exit: Option<Exit>,
    /// Is there something of it on disk that the next agent finds? Only of release commands, until it is forgotten.
    pub folder: bool,
    pub term: Option<Micros>,
    pub ignores_term: bool,
    pub hangs: bool,
    /// Its checks that fail now, and since when.
    pub ill: BTreeMap<usize, Micros>,
    pub asked: bool,
    /// When it was last taken out of the router's table.
    pub left: Micros,
    /// The life of the agent that ordered to drain it, and the deadline of that life's first order.
    pub drain: Option<(u64, Micros)>,
}

impl Proc {
    pub fn good(&self) -> bool {
        self.ended.is_none() && self.answered.is_some() && self.term.is_none()
    }
}

#[derive(Default)]
pub struct RouterSim {
    pub alive: bool,
    pub connected: bool,
    pub connection: u64,
    pub connected_since: Micros,
    pub table: RouteTable,
    /// Which certificates it has, and the version they came as; only in memory.
    pub certs: (u64, u64),
    pub flights: BTreeMap<u64, DynoId>,
    pub drains: BTreeMap<DynoId, Micros>,
    /// When the newest message on its way arrives: messages do not overtake each other.
    pub mail: Micros,
    /// Lives of the router; flights die with it.
    pub life: u64,
}

impl RouterSim {
    pub fn routes(&self, dyno: DynoId) -> bool {
        self.alive && self.files(dyno)
    }

    /// Is the dyno in the table that the router keeps in its file, whether it lives or not?
    pub fn files(&self, dyno: DynoId) -> bool {
        let mut targets = self.table.apps.values().flat_map(|a| &a.targets);
        targets.any(|t| t.dyno == dyno)
    }
}

pub struct Agent {
    pub desired: Desired,
    pub observed: Observed,
    pub since: Micros,
    pub alarm: u64,
    pub candidate_starts: BTreeSet<(AppId, u32, String)>,
    pub ends: BTreeMap<(AppId, u32), Micros>,
}

pub struct World {
    pub now: Micros,
    pub dice: Dice,
    queue: BTreeMap<(Micros, u64), Happening>,
    seq: u64,
    pub apps: BTreeMap<AppId, App>,
    pub generation: u64,
    /// Version of the certificates in the store.
    pub certs: u64,
    pub procs: BTreeMap<DynoId, Proc>,
    pub router: RouterSim,
    pub agent: Option<Agent>,
    pub lives: u64,
    pub mutant: Option<Mutant>,
    pub names: u64,
    pub flights: u64,
    pub served: u64,
    pub plans: u64,
    trace: VecDeque<String>,
    /// Print what happens, or keep the end of it; saying it all costs more than living it.
    pub loud: bool,
    pub traced: bool,
    /// Only these invariants count: to see that one of them notices a fault without the help of the others.
    pub only: Option<&'static str>,
    /// The first thing that went wrong: `name: details`.
    pub wrong: Option<String>,
}

impl World {
    pub fn new(seed: u64, mutant: Option<Mutant>) -> World {
        let mut w = World {
            now: START,
            dice: Dice::new(seed),
            queue: BTreeMap::new(),
            seq: 0,
            apps: BTreeMap::new(),
            generation: 0,
            certs: 0,
            procs: BTreeMap::new(),
            router: RouterSim {
                alive: true,
                ..RouterSim::default()
            },
            agent: None,
            lives: 0,
            mutant,
            names: 0,
            flights: 0,
            served: 0,
            plans: 0,
            trace: VecDeque::new(),
            loud: false,
            traced: false,
            only: None,
            wrong: None,
        };
        w.agent_back();
        for h in [Happening::Op, Happening::Fault, Happening::Audit] {
            w.at(0, h);
        }
        w.at(2, Happening::Request);
        w
    }

    /// A whole life; what went wrong in it, if anything.
    pub fn live(&mut self) -> Option<String> {
        while let Some(((at, _), h)) = self.queue.pop_first() {
            if at > END {
                break;
            }
            self.now = at;
            self.happen(h);
            if self.wrong.is_some() {
                return self.wrong.clone();
            }
        }
        self.now = END;
        self.at_rest();
        self.wrong.clone()
    }

    /// Is the node left in peace by now?
    pub fn calm(&self) -> bool {
        self.now >= CHAOS
    }

    /// In `half` half seconds from now.
    pub fn at(&mut self, half: u64, h: Happening) {
        self.seq += 1;
        let at = Micros(self.now.0 + half as i64 * GRID);
        self.queue.insert((at, self.seq), h);
    }

    pub fn at_time(&mut self, at: Micros, h: Happening) {
        let half = (at.0 - self.now.0).max(0);
        self.at(((half + GRID - 1) / GRID) as u64, h);
    }

    /// A message to the router on the connection of now.
    pub fn post(&mut self, h: Happening) {
        let late = self.dice.below(2) as i64;
        let at = self.router.mail.max(Micros(self.now.0 + late * GRID));
        self.router.mail = at;
        self.at_time(at, h);
    }

    /// Tells the agent of today, a little later.
    pub fn tell(&mut self, event: Event) {
        let late = if self.dice.chance(20) {
            self.dice.below(3)
        } else {
            0
        };
        self.at(late, Happening::Tell(self.lives, event));
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.loud {
            let t = (self.now.0 - START.0) as f64 / 1e6;
            println!("{t:8.1} {}", text());
        } else if self.traced {
            if self.trace.len() > 60 {
                self.trace.pop_front();
            }
            let t = (self.now.0 - START.0) as f64 / 1e6;
            self.trace.push_back(format!("{t:8.1} {}", text()));
        }
    }

    pub fn trace(&self) -> String {
        self.trace.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    pub fn fail(&mut self, text: String) {
        self.note(|| format!("WRONG {text}"));
        if self.only.is_none_or(|o| text.starts_with(o)) {
            self.wrong.get_or_insert(text);
        }
    }

    fn happen(&mut self, h: Happening) {
        match h {
            Happening::Op => self.op(),
            Happening::Fault => self.fault(),
            Happening::Audit => self.audit(),
            Happening::Request => self.requests(),
            Happening::Tell(life, event) if life == self.lives => self.learn(&[event]),
            Happening::Wake(life, alarm) if life == self.lives => self.wake(alarm),
            Happening::Read(life) if life == self.lives => self.read(),
            Happening::Tell(..) | Happening::Wake(..) | Happening::Read(..) => {}
            Happening::AgentBack => self.agent_back(),
            Happening::Launch(d) => self.launch(d),
            Happening::Answer(d) => self.answer(d),
            Happening::GiveUp(life, d) => self.give_up(life, d),
            Happening::Crash(d) => self.crash(d),
            Happening::Probe(life, d, check) => self.probe(life, d, check),
            Happening::Recover(d) => self.recover(d),
            Happening::Gone(d, signal) => self.gone(d, signal),
            Happening::Table(c, t) => self.take_table(c, t),
            Happening::Certs(c, certs, version) => self.take_certs(c, certs, version),
            Happening::Drain(c, d, deadline) => self.take_drain(c, d, deadline),
            Happening::FlightOver(life, id) => self.flight_over(life, id),
            Happening::DrainOver(d) => self.drain_over(d),
            Happening::RouterBack => self.router_back(),
            Happening::Connect => self.connect(),
            Happening::Claim(app, version, step) => self.commit_claim(app, version, step),
            Happening::Conclude(app, dyno, outcome) => self.commit_conclude(app, dyno, outcome),
            Happening::End(life, app, version, good) => self.commit_end(life, app, version, good),
        }
    }
}
