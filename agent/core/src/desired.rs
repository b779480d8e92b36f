//! What should be: derived from the store after each commit, read by the plan, changed by nobody else.

use hokku_model::{
    AppId, AppName, Micros, ProcessType,
    app::Restarts,
    health::AppJson,
    limits::Quota,
    phase::{Claim, Step},
    release::SlugDigest,
    route::Front,
    routing::Routing,
};
use std::collections::BTreeMap;

/// The wishes for one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Grows with each commit of the store.
    pub generation: u64,
    /// The apps.
    pub apps: BTreeMap<AppId, AppWish>,
    /// Takes the requests for hosts that no app claims.
    pub default_app: Option<AppId>,
    /// What the router is told about itself.
    pub front: Front,
    /// Version of all usable certificates: the time of their last change in microseconds. 0: there never were any.
    pub certs: u64,
}

/// The wishes for one app.
#[derive(Clone, Debug, PartialEq)]
pub struct AppWish {
    /// For the routes and the lines of the log.
    pub name: AppName,
    /// Wanted dynos per process type; types that the release does not have are ignored.
    pub formation: BTreeMap<ProcessType, u32>,
    /// What a new dyno of a type may use; types that are not in it have no limits.
    pub quotas: BTreeMap<ProcessType, Box<Quota>>,
    /// One-off dynos that people may run at once; `None`: as many as the agent takes.
    pub most_runs: Option<u32>,
    /// What serves.
    pub current: Option<ReleaseWish>,
    /// What is being rolled out: its web dynos are started beside the current ones; promoted when all answer,
    /// abandoned when one fails.
    pub candidate: Option<ReleaseWish>,
    /// The command of a release phase that may run now: of the candidate, or still of one that it superseded.
    pub claim: Option<Claim>,
    /// Dynos ordered to start before the newest order that names them are replaced, with the care of a rollout.
    pub restarts: Restarts,
    /// Maintenance page on.
    pub maintenance: bool,
    /// Lower-case host names, the default one first.
    pub hosts: Vec<String>,
    /// How requests are handled: the current release's `hokku.toml` under what the app's owner set.
    pub routing: Routing,
}

impl AppWish {
    /// An app without releases, dynos and hosts.
    pub fn new(name: AppName) -> AppWish {
        AppWish {
            name,
            formation: BTreeMap::new(),
            quotas: BTreeMap::new(),
            most_runs: None,
            current: None,
            candidate: None,
            claim: None,
            restarts: Restarts::default(),
            maintenance: false,
            hosts: Vec::new(),
            routing: Routing::default(),
        }
    }
}

/// The part of a release that the plan looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseWish {
    /// Its number.
    pub version: u32,
    /// What to run; a release without a slug runs nothing.
    pub slug: Option<SlugDigest>,
    /// Commands by process type.
    pub process_types: BTreeMap<ProcessType, String>,
    /// Folders of it that the router serves by itself, as its `hokku.toml` names them.
    pub files: Vec<String>,
    /// How its dynos are watched and stopped.
    pub app_json: AppJson,
    /// What has to run before it may serve.
    pub phase: PhaseWish,
    /// When it was made.
    pub created_at: Micros,
}

/// The release phase of a release: what has to run, and how far it has come. Nothing of the release is started before
/// all of it ended well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhaseWish {
    /// In order.
    pub steps: Vec<Step>,
    /// So many of them ended well.
    pub done: usize,
    /// Why the next one failed, in words that follow its name.
    pub failed: Option<String>,
}

impl PhaseWish {
    /// May the release's dynos start?
    pub fn over(&self) -> bool {
        self.failed.is_none() && self.done >= self.steps.len()
    }
}
