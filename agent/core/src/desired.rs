//! What should be: derived from the store after each commit, read by the plan, changed by nobody else.

use hokku_model::{
    AppId, AppName, Micros, ProcessType, app::Restarts, health::AppJson, limits::Quota,
    release::SlugDigest, route::Front, routing::Routing,
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
    /// What serves.
    pub current: Option<ReleaseWish>,
    /// What is being rolled out: its web dynos are started beside the current ones; promoted when all answer,
    /// abandoned when one fails.
    pub candidate: Option<ReleaseWish>,
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
            current: None,
            candidate: None,
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
    /// When it was made.
    pub created_at: Micros,
}
