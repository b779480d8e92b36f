//! Health checks and the way to stop, as the `app.json` of a release says them for each process type.

use crate::ProcessType;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// What a release's `app.json` says of its dynos. Kept with the slug.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppJson {
    /// How many dynos the first deploy of the app gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quantities: BTreeMap<ProcessType, u32>,
    /// How each process type is cared for; one that is not there gets [`Care::default`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub care: BTreeMap<ProcessType, Care>,
    /// `scripts.dokku.predeploy` or `scripts.predeploy`: a line for the shell, before each release serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predeploy: Option<String>,
    /// `scripts.postdeploy`: a line for the shell, once, with the first deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postdeploy: Option<String>,
    /// Its cron entries, those of the Procfile too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cron: Vec<crate::cron::Entry>,
}

impl AppJson {
    /// How dynos of this type are cared for.
    pub fn care_of(&self, kind: &ProcessType) -> Care {
        self.care.get(kind).cloned().unwrap_or_default()
    }
}

/// How a dyno is watched and stopped. The default: one whose type is web is up with its first answer, none is asked
/// again, and each is stopped by SIGTERM with the agent's own grace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Care {
    /// In the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The number of the signal that asks it to end; `None`: SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<i32>,
    /// Milliseconds from that signal to SIGKILL; `None`: as the agent is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// SIGTERM, the same on all Linux machines that are supported.
const SIGTERM: i32 = 15;

/// Signals that may ask a dyno to end: name and number, the same on amd64 and arm64.
pub const STOP_SIGNALS: [(&str, i32); 7] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGTERM", SIGTERM),
    ("SIGWINCH", 28),
];

impl Care {
    /// The number of the signal that asks it to end.
    pub fn signal(&self) -> i32 {
        self.stop_signal.unwrap_or(SIGTERM)
    }

    /// Its name: `SIGTERM`.
    pub fn signal_name(&self) -> &'static str {
        let n = self.signal();
        let known = STOP_SIGNALS.iter().find(|(_, number)| *number == n);
        known.map_or("its stop signal", |(name, _)| name)
    }

    /// From that signal to SIGKILL, where the agent's own is `usual`.
    pub fn grace(&self, usual: Duration) -> Duration {
        self.grace_ms.map_or(usual, Duration::from_millis)
    }

    /// Checks of one purpose, with their places in [`Care::checks`].
    pub fn of(&self, purpose: Purpose) -> impl Iterator<Item = (usize, &Check)> {
        let all = self.checks.iter().enumerate();
        all.filter(move |(_, c)| c.purpose == purpose)
    }

    /// Is there a check that has to pass before the dyno is up?
    pub fn gated(&self) -> bool {
        self.checks.iter().any(Check::gates)
    }
}

/// One health check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// For people.
    pub name: String,
    /// What follows from it.
    pub purpose: Purpose,
    /// How it is made.
    pub ask: Ask,
    /// The TCP port; `None`: `$PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// So many failures in a row count, 1 to 1000.
    pub attempts: u32,
    /// Milliseconds one try may take, 1 ms to an hour.
    pub timeout_ms: u64,
    /// Milliseconds between two tries, 1 ms to a day.
    pub wait_ms: u64,
    /// Milliseconds before the first one, up to a day.
    pub delay_ms: u64,
    /// A failure is only said in the log.
    pub warn: bool,
    /// What is done besides when so many failures in a row count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

impl Check {
    /// What is asked of a web dyno of which `app.json` says nothing: that it takes connections.
    pub fn default_of_web() -> Check {
        Check {
            name: "default".into(),
            purpose: Purpose::Startup,
            ask: Ask::Tcp,
            port: None,
            attempts: 1,
            timeout_ms: 5000,
            wait_ms: 5000,
            delay_ms: 0,
            warn: false,
            on_failure: None,
        }
    }
}

/// What is done when a check fails, as Dokku's `onFailure`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// This program with these arguments is run inside the dyno.
    Command {
        /// Not empty.
        argv: Vec<String>,
    },
    /// This URL gets a POST, sent from inside the dyno, with app, dyno, check, type and error as JSON.
    Url {
        /// `http://` or `https://`.
        url: String,
    },
}

impl Check {
    /// Has it to pass before the dyno counts as up? A check that only warns has not.
    pub fn gates(&self) -> bool {
        !self.warn && self.purpose != Purpose::Liveness
    }
}

/// What follows from a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Has to pass once before the dyno is up.
    Startup,
    /// As startup; and a dyno that fails it later is out of the routes until it passes again.
    Readiness,
    /// A dyno that fails it is replaced.
    Liveness,
}

impl Purpose {
    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Startup => "startup",
            Purpose::Readiness => "readiness",
            Purpose::Liveness => "liveness",
        }
    }
}

/// How a check is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// A GET that has to be answered with 2xx, or with a redirect to the same host.
    Http {
        /// Path and query, beginning with `/`.
        path: String,
        /// Text that the body has to hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        /// More headers; one named `Host` stands for the usual one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        headers: Vec<(String, String)>,
    },
    /// A connection that is accepted.
    Tcp,
    /// A process of the dyno listens on the port.
    Listening,
    /// This program with these arguments, run inside the dyno, ends with status 0.
    Command {
        /// Not empty.
        argv: Vec<String>,
    },
    /// The dyno has run for so long.
    Uptime {
        /// Milliseconds.
        ms: u64,
    },
}
