//! Health checks as the API shows them: `app checks`.

use serde::{Deserialize, Serialize};

/// hokku: `GET /hokku/apps/:app/checks` and `POST /hokku/apps/:app/checks/:type/run`: the checks of one process type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TypeChecks {
    /// `web`
    pub r#type: String,
    /// By the current release's `app.json`; what every web dyno has to do where it says nothing of the type.
    pub checks: Vec<CheckView>,
    /// The type's dynos.
    pub dynos: Vec<DynoChecks>,
}

/// What is checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckView {
    /// For people.
    pub name: String,
    /// `startup`, `readiness`, `liveness`.
    pub purpose: String,
    /// In words: `GET /up on $PORT`.
    pub what: String,
    /// So many failures in a row count.
    pub attempts: u32,
    /// Seconds that one try may take.
    pub timeout: f64,
    /// Seconds between two tries.
    pub wait: f64,
    /// Seconds before the first one.
    pub initial_delay: f64,
    /// A failure is only said in the log.
    pub warn: bool,
    /// What is done besides when it fails, in words.
    pub on_failure: Option<String>,
}

/// How the checks of one dyno went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DynoChecks {
    /// `web.1`
    pub name: String,
    /// Its release.
    pub release: u32,
    /// As `app ps` shows it.
    pub state: String,
    /// Why it is so, in sentences; empty when there is nothing to say.
    pub why: String,
    /// A result for each of its own release's checks.
    pub results: Vec<CheckResult>,
}

/// How one check went last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name.
    pub check: String,
    /// `startup`, `readiness`, `liveness`.
    pub purpose: String,
    /// `passes`; `fails`: not often enough to count; `failed`: it counts; `unknown`: not made yet.
    pub state: String,
    /// When it ended, RFC 3339.
    pub at: Option<String>,
    /// Milliseconds that it took.
    pub took_ms: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// What was wrong, in sentences; empty when nothing was.
    pub text: String,
}
