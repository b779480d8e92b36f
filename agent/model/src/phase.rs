//! The release phase: commands that run once, in the new release, before anything switches to it (Dev Center "Release
//! Phase"; Dokku's `predeploy` in front of it, `scripts.postdeploy` of the first deploy behind it).

use crate::{DynoId, DynoName, Micros};
use serde::{Deserialize, Serialize};

/// One command of a release phase, fixed when the release is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `predeploy`, `release` or `postdeploy`.
    pub name: String,
    /// A line for the shell.
    pub command: String,
}

/// Who may run a step: one of an app at a time, written to the store before its dyno starts. A dyno of this id exists
/// at most once, so the command runs at most once, whenever the agent is killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Of which release.
    pub version: u32,
    /// The step's place in the release's phase, from 0.
    pub step: usize,
    /// The dyno that is to run it.
    pub dyno: DynoId,
    /// `release.4711`
    pub name: DynoName,
}

/// How a step ended: well, or why not, in words that follow the step's name ("ended (exit status 1) after 2 s").
pub type Outcome = Result<(), String>;

/// A step that was claimed, for the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// The step's name.
    pub step: String,
    /// Whose log holds its output.
    pub dyno: DynoId,
    /// `release.4711`
    pub name: DynoName,
    /// When it was claimed.
    pub at: Micros,
    /// When its end was written down, and how it was; `None` while it runs.
    #[serde(default)]
    pub ended: Option<(Micros, Outcome)>,
}
