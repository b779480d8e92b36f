//! What is: in memory only, rebuilt by looking at the machine when the agent starts. Changed only by
//! [`Observed::apply`] (in `apply/`).

use crate::limits::{self, Waits};
use hokku_model::{
    AppId, DynoId, DynoName, Micros,
    dyno::DynoRecord,
    health::{Check, Purpose},
    phase::Outcome,
    route::RouteTable,
};
use std::collections::{BTreeMap, BTreeSet};

/// Everything known of this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Dynos from the order to start until they are gone.
    pub dynos: BTreeMap<DynoId, Dyno>,
    /// How the last dynos of a slot (app, release, name) ended, for the back-off and for the end of a rollout.
    /// The release is part of the key: `web.1` of the candidate must not overwrite the past of the current `web.1`.
    pub slots: BTreeMap<(AppId, u32, DynoName), Slot>,
    /// When dynos of an app were replaced because of their liveness checks, for the budget of such replacements.
    pub cures: BTreeMap<AppId, Cures>,
    /// What the router has.
    pub router: Router,
    /// Rollouts whose end was ordered and is not yet seen in Desired.
    pub ending: BTreeMap<AppId, Ending>,
    /// Steps of release phases whose claim was ordered and is not yet seen in Desired.
    pub claiming: BTreeMap<AppId, Claiming>,
    /// Ends of release commands, until the store has them.
    pub ended: BTreeMap<DynoId, Ended>,
    /// The operator's waits; set when the loop starts and when the settings change.
    pub waits: Waits,
}

/// One dyno.
#[derive(Clone, Debug, PartialEq)]
pub struct Dyno {
    /// Why it exists.
    pub record: DynoRecord,
    /// Where it stands.
    pub state: DynoState,
    /// The shim's process id; 0 until it runs.
    pub pid: i32,
    /// Set when someone asked for it to be stopped (`ps:stop`).
    pub stop_asked: bool,
    /// How its checks stand, in the order of [`hokku_model::health::Care::checks`].
    pub standings: Vec<Standing>,
    /// When it was ordered to be replaced, because its liveness check fails.
    pub replaced: Option<Micros>,
}

impl Dyno {
    /// One that was just ordered.
    pub(crate) fn new(record: DynoRecord, state: DynoState, pid: i32) -> Dyno {
        Dyno {
            standings: vec![Standing::Unknown; record.care.checks.len()],
            record,
            state,
            pid,
            stop_asked: false,
            replaced: None,
        }
    }

    /// Have all the checks passed that have to before it is up?
    pub fn started(&self) -> bool {
        let mut checks = self.record.care.checks.iter().zip(&self.standings);
        checks.all(|(c, s)| !c.gates() || s.passed())
    }

    /// May it get requests, as far as its checks tell? Before the first try: yes.
    pub fn healthy(&self) -> bool {
        self.ailing().is_none()
    }

    /// The first check that keeps requests from it, and what is wrong.
    pub fn ailing(&self) -> Option<(&Check, &str)> {
        let checks = self.record.care.checks.iter().zip(&self.standings);
        let mut ailing = checks.filter_map(|(c, s)| match s {
            Standing::Bad { text, .. } if !c.warn && c.purpose != Purpose::Startup => {
                Some((c, text.as_str()))
            }
            _ => None,
        });
        ailing.next()
    }

    /// Why it has to be replaced: what follows its name.
    pub fn dying(&self) -> Option<String> {
        let checks = self.record.care.checks.iter().zip(&self.standings);
        let mut dying = checks.filter_map(|(c, s)| match s {
            Standing::Bad { text, .. } if !c.warn && c.purpose == Purpose::Liveness => {
                Some(format!("fails its liveness check {:?}: {text}", c.name))
            }
            _ => None,
        });
        dying.next()
    }
    /// Is it a member of the formation that gets requests? One-offs never do, whatever their name.
    pub fn takes_requests(&self) -> bool {
        !self.record.oneoff && self.record.name.kind.is_web()
    }

    /// Neither failed nor on its way out: starting or up, and nobody asked for it to be stopped.
    pub fn stays(&self) -> bool {
        !self.stop_asked
            && matches!(
                self.state,
                DynoState::Starting { .. } | DynoState::Up { .. }
            )
    }

    /// Is it at work, and nobody asked for it to be stopped?
    pub fn serves(&self) -> bool {
        !self.stop_asked && matches!(self.state, DynoState::Up { .. })
    }
}

/// How one health check of a dyno stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// No try has ended yet.
    Unknown,
    /// The last try passed.
    Good {
        /// Since when all passed.
        since: Micros,
    },
    /// The last tries failed, and not often enough to count.
    Doubtful {
        /// How many.
        times: u32,
        /// Had it passed before?
        passed: bool,
        /// What was wrong the last time.
        text: String,
    },
    /// So many tries failed in a row that it counts.
    Bad {
        /// Since it counts.
        since: Micros,
        /// What was wrong the last time.
        text: String,
    },
}

impl Standing {
    /// Has it passed, and is not known to fail?
    pub fn passed(&self) -> bool {
        matches!(
            self,
            Standing::Good { .. } | Standing::Doubtful { passed: true, .. }
        )
    }
}

/// When dynos of one app were replaced because of their liveness checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cures {
    /// Without a calm while between, oldest first; at most [`Cures::REMEMBERED`].
    pub recent: Vec<Micros>,
}

impl Cures {
    /// More than these make no difference to the pause.
    pub const REMEMBERED: usize = 12;

    /// When the last one was.
    pub fn last(&self) -> Micros {
        self.recent.last().copied().unwrap_or_default()
    }

    /// Was it so calm since that the next one is the first again?
    pub fn forgotten(&self, now: Micros) -> bool {
        now.since(self.last()) >= limits::CURES_CALM
    }
}

/// Where a dyno stands. A half-done thing is a state that holds its own data. From `Draining` on there is no way
/// back: a slot that is wanted again gets a new dyno.
#[derive(Clone, Debug, PartialEq)]
pub enum DynoState {
    /// For web until the first answer, for others until the process runs; with checks, until those have passed.
    Starting {
        /// When ordered; when launched, from the moment the process runs (the boot limit counts from there).
        since: Micros,
    },
    /// At work.
    Up {
        /// When it answered (web), ran (others), or was adopted.
        since: Micros,
    },
    /// Out of the table; what is in flight may finish.
    Draining {
        /// When the router was asked.
        since: Micros,
        /// When it cuts what is left. Kept from the first order on: neither another drain time of the app nor a router
        /// that connects anew moves it.
        until: Micros,
    },
    /// Out of the table and nothing in flight: may be stopped.
    Drained {
        /// When the router said so.
        since: Micros,
    },
    /// Has got SIGTERM.
    Stopping {
        /// When.
        since: Micros,
        /// Has it been killed since? When (the last time).
        killed: Option<Micros>,
    },
    /// Did not come up in time: everything of it is to be killed, without grace (R10). Counts as a crash.
    Failed {
        /// When it was given up.
        since: Micros,
        /// Has it been killed since? When (the last time).
        killed: Option<Micros>,
    },
}

impl DynoState {
    /// As `ps` shows it, and since when.
    pub fn shown(&self) -> (&'static str, Micros) {
        match *self {
            DynoState::Starting { since } => ("starting", since),
            DynoState::Up { since } => ("up", since),
            DynoState::Draining { since, .. }
            | DynoState::Drained { since }
            | DynoState::Stopping { since, .. } => ("stopping", since),
            DynoState::Failed { since, .. } => ("crashed", since),
        }
    }
}

/// The past of one slot: `web.1` of one release of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// When its dynos crashed in a row without a healthy while between, oldest first; at most [`Slot::REMEMBERED`].
    /// Times, not a count, so that the plan can leave out those from before a restart order.
    pub recent: Vec<Micros>,
    /// How the last one ended, in words, for `ps` and for the reason of an abandoned rollout:
    /// "exited with status 1 3 s after its start".
    pub text: String,
}

impl Slot {
    /// More crashes than this make no difference to the back-off.
    pub const REMEMBERED: usize = 12;

    /// When the last crash was.
    pub fn last(&self) -> Micros {
        self.recent.last().copied().unwrap_or_default()
    }

    /// Crashes in a row not from before this restart order. One at the same moment counts, so that no tie can make
    /// a start that crashes at once go without back-off.
    pub fn crashes_after(&self, order: Micros) -> u32 {
        self.recent.iter().filter(|t| **t >= order).count() as u32
    }
}

/// An end of a rollout that was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which release.
    pub version: u32,
    /// When to order it again if Desired still shows the candidate.
    pub again: Micros,
}

/// A claim that was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claiming {
    /// Of which release.
    pub version: u32,
    /// Which step.
    pub step: usize,
    /// When to order it again if Desired does not show it.
    pub again: Micros,
}

/// The end of a release command.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Whose.
    pub app: AppId,
    /// How.
    pub outcome: Outcome,
    /// When to order again that it be written down, if Desired does not show it.
    pub again: Micros,
}

/// What the router has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Router {
    /// Is the connection up?
    pub connected: bool,
    /// When it came up or went.
    pub since: Micros,
    /// The last table sent on this connection; `None` while there is none.
    pub sent: Option<RouteTable>,
    /// When it was sent.
    pub sent_at: Micros,
    /// The version it reported to serve by.
    pub applied: u64,
    /// The highest version ever sent or reported: the next table gets one more, so that a late report of an older
    /// connection can't be taken for a confirmation.
    pub newest: u64,
    /// Certificates sent on this connection and what it said of them.
    pub certs: Certs,
    /// Dynos that it may send requests to: those of every table it could be serving from. A dyno leaves this set
    /// only when the router has confirmed a table without it.
    pub known: BTreeSet<DynoId>,
    /// Dynos it was asked to drain on this connection and has not reported.
    pub draining: BTreeSet<DynoId>,
}

/// What the router has of the certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Certs {
    /// The last ones sent on this connection: which of Desired's, and the version they were sent as.
    pub sent: Option<(u64, u64)>,
    /// When they were sent.
    pub sent_at: Micros,
    /// The version it reported on this connection; 0 for none.
    pub applied: u64,
    /// The highest version ever reported or sent: a router ignores what is not newer than its own.
    pub newest: u64,
}

impl Certs {
    /// Which of Desired's certificates it has confirmed; 0 for none.
    pub fn confirmed(&self) -> u64 {
        match self.sent {
            Some((certs, version)) if version == self.applied => certs,
            _ => 0,
        }
    }
}

impl Router {
    /// Whether a router that comes back still has its certificates, only it can say.
    pub(crate) fn forget_certs(&mut self) {
        self.certs.sent = None;
        self.certs.applied = 0;
    }

    /// Does it serve by the last table sent on this connection?
    pub fn confirmed(&self) -> bool {
        self.connected
            && self
                .sent
                .as_ref()
                .is_some_and(|t| t.version == self.applied)
    }
}

/// A line for the app's log that follows from an event, such as `heroku[web.1]: State changed from starting to up`.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Whose log.
    pub app: AppId,
    /// `web.1`
    pub dyno: String,
    /// In Heroku's words.
    pub text: String,
}
