//! Dynos: what is to be started, and how one ends.

use crate::{
    AppId, AppName, DynoId, DynoName, Micros,
    health::Care,
    limits::{Quota, spell_bytes},
    release::SlugDigest,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a dyno exists; fixed when it starts and kept on disk beside it, so that a restarted agent can adopt it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DynoRecord {
    /// Unique for ever.
    pub id: DynoId,
    /// `web.1`, `run.4711`.
    pub name: DynoName,
    /// Whose it is.
    pub app: AppId,
    /// The app's name when the dyno started.
    pub app_name: AppName,
    /// The release it runs.
    pub version: u32,
    /// The slug of that release; kept from being swept while the dyno lives. `None` for builds.
    pub slug: Option<SlugDigest>,
    /// The loopback port it has to listen on; `None` unless it is a web dyno.
    pub port: Option<u16>,
    /// The Procfile command, or the one-off's argv joined for display.
    pub command: String,
    /// When the order to start was given. Restart orders newer than this replace the dyno.
    pub started_at: Micros,
    /// Formation member, or a one-off that is never restarted.
    pub oneoff: bool,
    /// What a one-off is for.
    #[serde(default)]
    pub purpose: Purpose,
    /// What it may use; fixed at its start.
    #[serde(default)]
    pub quota: Box<Quota>,
    /// How it is watched and stopped, by its release's `app.json`.
    #[serde(default)]
    pub care: Care,
}

impl DynoRecord {
    /// What it is called in the app's log and in `$DYNO`: its name, or of a cron entry's run `cron.NAME`.
    pub fn label(&self) -> String {
        match &self.purpose {
            Purpose::Cron { entry, .. } => format!("cron.{entry}"),
            _ => self.name.to_string(),
        }
    }
}

/// What a one-off dyno was started for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Somebody's `app run`.
    #[default]
    Run,
    /// The release phase of a release, before anything switches to it.
    Release,
    /// Counts the jobs that wait, for autoscaling; nobody asks for it afterwards.
    Count,
    /// One run of a cron entry.
    Cron {
        /// The entry's name.
        entry: String,
        /// The number of the run in the entry's history, from 1.
        run: u64,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// By itself, with this status, 0 to 255.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed with everything inside, because it used more memory than this many bytes; 0: the machine had no more.
    Memory(u64),
    /// Killed with everything inside, because it wrote more than this many bytes to its scratch disk.
    Disk(u64),
    /// Nobody saw it: the machine or the shim was gone before the status was written.
    Lost,
}

impl Exit {
    /// The status a shell would show: the code, or 128 plus the signal. What was killed, or lost, counts as 137, as after SIGKILL.
    pub fn status(self) -> i32 {
        match self {
            Exit::Code(c) => c,
            Exit::Signal(s) => 128 + s,
            Exit::Memory(_) | Exit::Disk(_) | Exit::Lost => 137,
        }
    }
}
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(c) => write!(f, "exit status {c}"),
            Exit::Signal(s) => write!(f, "signal {s}"),
            Exit::Memory(0) => f.write_str("killed: the machine ran out of memory"),
            Exit::Memory(most) => write!(
                f,
                "killed: out of memory, its limit is {}",
                spell_bytes(*most)
            ),
            Exit::Disk(most) => write!(
                f,
                "killed: it wrote more than the {} of its scratch disk",
                spell_bytes(*most)
            ),
            Exit::Lost => f.write_str("it was gone, with no exit status left behind"),
        }
    }
}
