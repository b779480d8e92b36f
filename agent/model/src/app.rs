//! An app: the unit a team pushes, configures and scales.

use crate::{
    AppId, AppName, Micros, ProcessType, fence::Fence, limits::TypeLimits, phase::Claim, said::Said,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is stored of an app, apart from its config vars (kept apart, encrypted) and its releases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Stays the same for the app's life.
    pub id: AppId,
    /// Unique on the fleet; may change.
    pub name: AppName,
    /// The Unix user id that the app's processes run as under a root install; unique per app, never given twice.
    pub uid: u32,
    /// Wanted number of dynos per process type. `release` is never in it.
    pub formation: BTreeMap<ProcessType, u32>,
    /// The release that serves; `None` before the first one was promoted.
    pub current: Option<u32>,
    /// The release being rolled out, until it is promoted or abandoned.
    pub candidate: Option<u32>,
    /// The number the next release gets; releases are never renumbered.
    pub next_version: u32,
    /// Restart orders: a dyno whose start is older than the newest order that names it is replaced.
    pub restarts: Restarts,
    /// Requests are answered with the maintenance page.
    #[serde(default)]
    pub maintenance: bool,
    /// What its owner says of requests, over the release's `hokku.toml`.
    #[serde(default)]
    pub routing: Said,
    /// Host names that lead to the app besides `<name>.<apps domain>`.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Does the agent get certificates for the custom domains by itself? `None`: as the node's settings say.
    #[serde(default)]
    pub acm: Option<bool>,
    /// What the network lets it reach, and who may reach it.
    #[serde(default)]
    pub fence: Fence,
    /// The buildpacks that the operator chose, or that the first build detected (pinned), in order.
    #[serde(default)]
    pub buildpacks: Vec<String>,
    /// What dynos of a process type may use; a type that is not in it has no limits of its own.
    #[serde(default)]
    pub limits: BTreeMap<ProcessType, TypeLimits>,
    /// Process types whose number of dynos follows their load.
    #[serde(default)]
    pub autoscale: BTreeMap<ProcessType, crate::autoscale::Plan>,
    /// The command of a release phase that may run now; no other one of the app may.
    #[serde(default)]
    pub phase: Option<Claim>,
    /// When the app was made.
    pub created_at: Micros,
    /// When anything of this record last changed.
    pub updated_at: Micros,
    /// When a release was last promoted.
    #[serde(default)]
    pub released_at: Option<Micros>,
}

/// Who ordered which dynos to be replaced, as times; see [`Restarts::newest_for`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restarts {
    /// All dynos of the app.
    pub all: Micros,
    /// Dynos of one process type.
    #[serde(default)]
    pub by_type: BTreeMap<ProcessType, Micros>,
    /// One dyno, by its name as text (`web.1`).
    #[serde(default)]
    pub by_dyno: BTreeMap<String, Micros>,
}

impl Restarts {
    /// The newest order that names this slot; a dyno started before it has to be replaced.
    pub fn newest_for(&self, kind: &ProcessType, index: u32) -> Micros {
        let t = self.by_type.get(kind).copied().unwrap_or_default();
        let d = self
            .by_dyno
            .get(&format!("{kind}.{index}"))
            .copied()
            .unwrap_or_default();
        self.all.max(t).max(d)
    }
}
