//! Cron: entries, their runs, and who is told when one goes wrong. Kept in the store and shown by the API in the same form.

use crate::{AppId, DynoId, Micros};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Seconds that a run may take when its entry says nothing: Dokku's 24 hours.
pub const TIMEOUT: u64 = 24 * 3600;

/// The longest time limit, in seconds.
pub const MOST_TIMEOUT: u64 = 7 * 24 * 3600;

/// The most retries of a run.
pub const MOST_RETRIES: u32 = 20;

/// The longest jitter, in seconds.
pub const MOST_JITTER: u64 = 12 * 3600;

/// Entries of one app, those of the repository and its own together.
pub const MOST_ENTRIES: usize = 1000;

/// Bytes of a command.
pub const LONGEST_COMMAND: usize = 4096;

/// The name of an entry: unique in its app, stands in its log lines as `app[cron.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EntryName(String);

impl EntryName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made of a command: its words of letters and digits, joined by dashes. `n` tells it from others of the
    /// same words when it is above 1.
    pub fn of_command(command: &str, n: usize) -> EntryName {
        let mut name = String::new();
        for c in command.chars() {
            match c.to_ascii_lowercase() {
                c if c.is_ascii_lowercase() || c.is_ascii_digit() => name.push(c),
                _ if name.is_empty() || name.ends_with('-') => {}
                _ => name.push('-'),
            }
            if name.len() >= 32 {
                break;
            }
        }
        let name = name.trim_end_matches('-');
        let name = if name.is_empty() { "job" } else { name };
        EntryName(match n {
            0 | 1 => name.to_owned(),
            n => format!("{name}-{n}"),
        })
    }
}
impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for EntryName {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let first = s
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if first && s.len() <= 40 && s.bytes().all(good) {
            return Ok(EntryName(s.to_owned()));
        }
        Err(format!(
            "{:?} is no name of a cron entry: expected 1 to 40 characters of a-z, 0-9, - and _, the first a letter or digit",
            s.chars().take(60).collect::<String>()
        ))
    }
}
impl<'de> Deserialize<'de> for EntryName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What happens at a tick while a run of the same entry, or its retries, are still under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Both run.
    Allow,
    /// The tick is skipped, and the history says so.
    #[default]
    Forbid,
    /// The old one is stopped, and the new one starts when it is gone.
    Replace,
}

/// What happens to ticks that nobody was there for, because the agent was down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// The history says that they were missed.
    #[default]
    Skip,
    /// One run for all of them.
    Once,
    /// A run for each, one after the other unless `overlap` is `allow`; the oldest first.
    All,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique in its app.
    pub name: EntryName,
    /// A shell line; a first word that is a process type stands for its command, as in `app run`.
    pub command: String,
    /// As it was written: five fields, six with seconds in front, or `@daily` and the like.
    pub schedule: String,
    /// The IANA name of the time zone that the schedule is read in.
    #[serde(default = "utc", skip_serializing_if = "is_utc")]
    pub timezone: String,
    /// What happens when a run is still under way.
    #[serde(default)]
    pub overlap: Overlap,
    /// What happens to ticks that were missed.
    #[serde(default)]
    pub missed: Missed,
    /// Seconds after which a run is stopped, 1 to [`MOST_TIMEOUT`].
    #[serde(default = "timeout")]
    pub timeout: u64,
    /// How often a run that failed is tried again, 0 to [`MOST_RETRIES`].
    #[serde(default)]
    pub retries: u32,
    /// Runs start so many seconds later at most, always by the same time, which follows from app and name.
    #[serde(default)]
    pub jitter: u64,
    /// Never runs by itself: the repository says so (`"maintenance": true`, Dokku's).
    #[serde(default)]
    pub paused: bool,
}

fn utc() -> String {
    "UTC".into()
}

fn is_utc(zone: &str) -> bool {
    zone == "UTC"
}

fn timeout() -> u64 {
    TIMEOUT
}

impl Entry {
    /// An entry that says nothing but what and when.
    pub fn new(name: EntryName, schedule: &str, command: &str) -> Entry {
        Entry {
            name,
            command: command.into(),
            schedule: schedule.into(),
            timezone: utc(),
            overlap: Overlap::default(),
            missed: Missed::default(),
            timeout: TIMEOUT,
            retries: 0,
            jitter: 0,
            paused: false,
        }
    }
}

/// Why a run was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// Its time came.
    Schedule,
    /// Somebody asked for it.
    Manual,
    /// The run before it failed.
    Retry,
    /// Its time had come while the agent was down.
    Missed,
    /// An alert's command.
    Alert,
}

impl Trigger {
    /// As the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Schedule => "schedule",
            Trigger::Manual => "manual",
            Trigger::Retry => "retry",
            Trigger::Missed => "missed",
            Trigger::Alert => "alert",
        }
    }
}

/// Where a run stands, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is decided, and not yet started: for a retry's pause, or until a run before it is gone.
    Waiting,
    /// Its dyno is there.
    Running,
    /// Ended with exit status 0.
    Succeeded,
    /// Ended otherwise, or could not be started.
    Failed,
    /// Stopped, because it took longer than its limit.
    TimedOut,
    /// Stopped for the next run.
    Replaced,
    /// Stopped by somebody.
    Stopped,
    /// Never started: a run was still under way.
    Skipped,
    /// Never started: nobody was there.
    Missed,
}

impl Status {
    /// As the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Running => "running",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::TimedOut => "timed-out",
            Status::Replaced => "replaced",
            Status::Stopped => "stopped",
            Status::Skipped => "skipped",
            Status::Missed => "missed",
        }
    }
}

/// One run, or what took its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its entry.
    pub entry: EntryName,
    /// Its number in the entry's history, from 1.
    pub number: u32,
    /// Why it was started.
    pub trigger: Trigger,
    /// Where it stands.
    pub status: Status,
    /// Its time by the schedule, jitter included; `None` when somebody asked for it. Of missed ticks: the last one.
    #[serde(default)]
    pub tick: Option<Micros>,
    /// How many ticks it stands for; more than 1 when several were missed.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ticks: u32,
    /// From 1; retries count on.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempt: u32,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its dyno; `None` when it never had one.
    #[serde(default)]
    pub dyno: Option<DynoId>,
    /// The release it ran.
    #[serde(default)]
    pub release: Option<u32>,
    /// When it was decided.
    pub claimed_at: Micros,
    /// When its process began.
    #[serde(default)]
    pub started_at: Option<Micros>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Micros>,
    /// The exit status as a shell shows it.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The most memory that it used, in bytes, as far as it was seen.
    #[serde(default)]
    pub peak_memory: Option<u64>,
    /// In words, when there is something to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

fn one() -> u32 {
    1
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

/// A run that has not ended, with all that is needed to start it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Whose.
    pub app: AppId,
    /// The run as it stands.
    pub run: Run,
    /// The dyno that it has or will have: claimed together with the tick, so that no tick ever starts two.
    pub dyno: DynoId,
    /// The shell line.
    pub command: String,
    /// Its time limit, in seconds.
    pub timeout: u64,
    /// Retries that are left when it fails.
    pub retries: u32,
    /// It starts only when no other run of its entry is there.
    pub alone: bool,
    /// Not started before this time.
    pub not_before: Micros,
    /// It is being stopped for the next run.
    #[serde(default)]
    pub replaced: bool,
    /// More environment; of alerts' commands.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// The process type of runs: in `app ps`, and for `app limits:set`.
pub const KIND: &str = "cron";

/// The number of a run's dyno, as in `cron.123456`: of its id, so that everyone who has that knows the name.
pub fn dyno_number(dyno: DynoId) -> u32 {
    100_000 + (dyno.0 % 900_000) as u32
}

/// Up to which time the ticks of an entry are decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Every tick up to this time, itself included, is decided.
    pub until: Micros,
    /// The schedule it was made with; another one begins anew.
    pub print: String,
    /// The number of the newest run.
    pub last_run: u32,
}

/// What an alert tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// A run failed, and so did its retries.
    Failed,
    /// A run was stopped at its time limit.
    RanTooLong,
    /// A run did not start when it should have.
    DidNotRun,
    /// None; somebody tries whether alerts arrive.
    Test,
}

impl Trouble {
    /// As the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Trouble::Failed => "failed",
            Trouble::RanTooLong => "ran-too-long",
            Trouble::DidNotRun => "did-not-run",
            Trouble::Test => "test",
        }
    }
}

/// Who is told of trouble. Addresses may hold passwords and tokens: sealed in the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alerts {
    /// Gets a POST with JSON.
    pub webhook: Option<String>,
    /// Gets mail.
    pub email: Option<Email>,
    /// A shell line that is run in a dyno of the app, with `CRON_…` in its environment.
    pub command: Option<String>,
}

impl Alerts {
    /// Is nobody told?
    pub fn is_empty(&self) -> bool {
        *self == Alerts::default()
    }
}

/// Where mail goes, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Email {
    /// Address of the reader.
    pub to: String,
    /// Address of the sender.
    pub from: String,
    /// `smtps://user:password@host`, `smtp://host:587?tls=required`, `smtp://host:25`.
    pub smtp: String,
}

/// One alert on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// For its receivers, who may get it twice when the agent died meanwhile.
    pub id: String,
    /// Whose.
    pub app: AppId,
    /// What.
    pub trouble: Trouble,
    /// The run it is about.
    pub run: Run,
    /// The line that was run.
    pub command: String,
    /// Tried so often.
    pub tries: u32,
    /// Not before this time.
    pub not_before: Micros,
}

/// An entry as the API shows it: `GET /hokku/apps/{app}/cron`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// `release` (app.json or Procfile) or `app` (`cron:add`).
    pub source: String,
    /// Paused by whom or what: `app` (`cron:pause`), `release`, `all`; `None`: it runs.
    pub paused_by: Option<String>,
    /// The schedule in words.
    pub describes: String,
    /// The next times, RFC 3339, jitter included.
    pub next: Vec<String>,
    /// The run that is under way, or else the newest.
    pub last: Option<ShownRun>,
}

/// A run as the API shows it: times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownRun {
    /// Its entry.
    pub entry: String,
    /// Its number.
    pub number: u32,
    /// See [`Trigger`].
    pub trigger: String,
    /// See [`Status`].
    pub status: String,
    /// Its time by the schedule.
    pub tick: Option<String>,
    /// Ticks that it stands for.
    pub ticks: u32,
    /// From 1.
    pub attempt: u32,
    /// Who asked for it.
    pub user: Option<String>,
    /// Its dyno's id.
    pub dyno: Option<String>,
    /// Its dyno's name, for `app ps:stop`.
    pub dyno_name: Option<String>,
    /// Its release's number.
    pub release: Option<u32>,
    /// When its process began.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Milliseconds from the one to the other, or to now.
    pub duration_ms: Option<u64>,
    /// Milliseconds from its time to its process.
    pub late_ms: Option<u64>,
    /// As a shell shows it.
    pub exit_code: Option<i32>,
    /// Bytes.
    pub peak_memory: Option<u64>,
    /// In words.
    pub reason: String,
}

/// A change of an app's own entry, or a new one: fields that are absent stay, or get their defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryPatch {
    /// Its name; of a new one made of its command when absent.
    pub name: Option<String>,
    /// See [`Entry::command`].
    pub command: Option<String>,
    /// See [`Entry::schedule`].
    pub schedule: Option<String>,
    /// See [`Entry::timezone`].
    pub timezone: Option<String>,
    /// See [`Entry::overlap`].
    pub overlap: Option<Overlap>,
    /// See [`Entry::missed`].
    pub missed: Option<Missed>,
    /// See [`Entry::timeout`].
    pub timeout: Option<u64>,
    /// See [`Entry::retries`].
    pub retries: Option<u32>,
    /// See [`Entry::jitter`].
    pub jitter: Option<u64>,
}

/// Pausing and going on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PausePatch {
    /// Which entry; `None`: all of the app.
    pub name: Option<String>,
    /// Paused or not.
    pub paused: bool,
}

/// A change of who is told; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertsPatch {
    /// What is to be set.
    pub set: Alerts,
    /// `webhook`, `email`, `command`, `all`.
    pub unset: Vec<String>,
}

/// Who is told, without secrets: hosts and addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShownAlerts {
    /// The host that gets the POST.
    pub webhook: Option<String>,
    /// The reader's address.
    pub email: Option<String>,
    /// The host that takes the mail.
    pub smtp: Option<String>,
    /// The shell line.
    pub command: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_made_of_commands() {
        for (command, name) in [
            ("rake reports:nightly", "rake-reports-nightly"),
            ("./bin/tick --now", "bin-tick-now"),
            ("…", "job"),
        ] {
            assert_eq!(EntryName::of_command(command, 1).as_str(), name);
        }
        assert_eq!(EntryName::of_command("a b", 3).as_str(), "a-b-3");
    }

    #[test]
    fn an_entry_that_says_little_has_the_defaults() {
        let text = r#"{"name": "a", "command": "true", "schedule": "@daily"}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert_eq!(entry, Entry::new("a".parse().unwrap(), "@daily", "true"));
    }

    proptest! {
        #[test]
        fn any_command_makes_a_name(command in ".{0,80}", n in 0usize..2000) {
            let name = EntryName::of_command(&command, n);
            prop_assert_eq!(name.as_str().parse::<EntryName>(), Ok(name.clone()));
        }
    }
}
