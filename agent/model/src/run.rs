//! One-off dynos that people run: what is remembered of them, and how the API shows it.

use crate::{DynoId, DynoName, Micros, api::UserRef, dyno::Exit};
use serde::{Deserialize, Serialize};

/// One `app run`, from before its start until it is one of too many that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Unique for ever.
    pub dyno: DynoId,
    /// `run.4711`
    pub name: DynoName,
    /// As it is shown.
    pub command: String,
    /// Who started it.
    pub user: String,
    /// The release it runs in.
    pub version: u32,
    /// Was it started to be attached to?
    pub attached: bool,
    /// Has it a terminal?
    pub terminal: bool,
    /// When it was started.
    pub at: Micros,
    /// When its end was seen, and how it ended; `None` while it runs.
    #[serde(default)]
    pub ended: Option<(Micros, Exit)>,
}

/// `GET /hokku/apps/:app/runs`, and the answer to `POST /hokku/apps/:app/runs/:dyno/attachments`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OneOff {
    /// The dyno's id.
    pub id: String,
    /// `run.4711`
    pub name: String,
    /// The command.
    pub command: String,
    /// `starting`, `up`, `stopping` or `complete`.
    pub state: String,
    /// Who started it.
    pub user: UserRef,
    /// Number of the release it runs in.
    pub release: u32,
    /// Was it started to be attached to? Then its output is in no log.
    pub attachable: bool,
    /// Has it a terminal?
    pub terminal: bool,
    /// When it was started.
    pub created_at: String,
    /// When it ended; null while it runs.
    pub ended_at: Option<String>,
    /// The exit status as a shell shows it, 0 to 255; null while it runs.
    pub status: Option<i32>,
    /// How it ended, in words; empty while it runs.
    #[serde(default)]
    pub end: String,
    /// Where to attach to it (an absolute URL path, WebSocket); null when that was not asked for.
    pub attach_url: Option<String>,
}
