//! What is: in memory only, rebuilt by looking at the machine when the agent starts.

use hokku_model::{
    AppId, DynoId, DynoName, Micros, dyno::DynoRecord, dyno::Exit, route::RouteTable,
};
use std::collections::{BTreeMap, BTreeSet};

/// Everything known of this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Dynos from the order to start until they are gone.
    pub dynos: BTreeMap<DynoId, Dyno>,
    /// How the last dynos of a slot ended, for the back-off. Dropped with the release or after a healthy while.
    pub slots: BTreeMap<(AppId, DynoName), Slot>,
    /// What the router has.
    pub router: Router,
    /// Rollouts whose end was ordered and is not yet seen in Desired.
    pub ending: BTreeMap<AppId, u32>,
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
}

/// Where a dyno stands. A half-done thing is a state that holds its own data.
#[derive(Clone, Debug, PartialEq)]
pub enum DynoState {
    /// Ordered; for web until the first answer, for others until its process has run for a moment.
    Starting {
        /// When ordered.
        since: Micros,
    },
    /// At work.
    Up {
        /// When it answered.
        since: Micros,
    },
    /// Out of the table; what is in flight may finish.
    Draining {
        /// When the router was asked.
        since: Micros,
    },
    /// Has got SIGTERM.
    Stopping {
        /// When.
        since: Micros,
        /// Has it been killed since? When.
        killed: Option<Micros>,
    },
}

/// The past of one slot (`web.1` of an app).
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// The release that crashed.
    pub version: u32,
    /// Crashes in a row without a healthy while between them.
    pub crashes: u32,
    /// When the last one was.
    pub last: Micros,
    /// How.
    pub exit: Exit,
    /// In words, for `ps` and for the reason of an abandoned rollout.
    pub text: String,
}

/// What the router has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Router {
    /// Is the connection up?
    pub connected: bool,
    /// The last table sent on this connection.
    pub sent: Option<RouteTable>,
    /// The version it reported to serve by.
    pub applied: u64,
    /// Dynos it was asked to drain and has not reported.
    pub draining: BTreeSet<DynoId>,
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
