//! Cron: entries, their runs, pauses.

use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, GENERAL, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use crate::time;
use clap::Args;
use hokku_model::cron::{
    Entry, EntryName, EntryPatch, Missed, Overlap, PausePatch, Shown, ShownRun,
};
use hokku_model::limits::spell_bytes;
use reqwest::Method;
use std::time::Duration;

/// How often `cron:run --wait` looks.
const LOOK: Duration = Duration::from_millis(300);

/// List the cron entries of an app, with their next times
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app cron\n  $ app cron nightly\n  $ app cron --json")]
pub struct List {
    /// Only this entry, with all that is known of it
    #[arg(value_name = "ENTRY")]
    entry: Option<EntryName>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints a table, or one entry in full.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        if let Some(name) = &self.entry {
            let one: Shown = client.get(&["hokku", "apps", &app, "cron", name.as_str()])?;
            if self.json {
                return output::json(&one);
            }
            output::print(&output::object(&details(&one)));
            return Ok(());
        }
        let all: Vec<Shown> = client.get(&["hokku", "apps", &app, "cron"])?;
        if self.json {
            return output::json(&all);
        }
        if all.is_empty() {
            output::line(&format!(
                "No cron entries on {app}. Put them into app.json, or: app cron:add '30 4 * * *' COMMAND"
            ));
            return Ok(());
        }
        output::print(&output::plain_table(&table(&all)));
        Ok(())
    }
}

/// Add a cron entry to an app, apart from those of its repository
#[derive(Args, Debug)]
#[command(
    after_help = "The schedule has five fields (minute, hour, day of the month, month, day of the week), six with seconds in
front, or is @hourly, @daily, @weekly, @monthly, @yearly. Names (mon, jan), steps (*/5), L, W and # are understood.

Example:
  $ app cron:add '30 4 * * *' rake reports:nightly
  $ app cron:add '*/5 * * * *' --name tick --overlap allow ./bin/tick
  $ app cron:add '0 9 * * mon-fri' --timezone Europe/Berlin --retries 3 'node mail.js | tee /tmp/log'"
)]
pub struct Add {
    #[command(flatten)]
    options: Options,
    /// The entry's name; made of its command when absent
    #[arg(short, long)]
    name: Option<EntryName>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
    /// When
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    /// What: one word is a line for the shell, several are a program and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

/// What can be said of an entry besides when and what.
#[derive(Args, Debug, Default)]
pub struct Options {
    /// The time zone that the schedule is read in, such as Europe/London [default: UTC]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// While a run is under way: run both, skip the new one, or stop the old one [default: forbid]
    #[arg(long, value_name = "allow|forbid|replace", value_parser = overlap)]
    overlap: Option<Overlap>,
    /// Runs missed while the agent was down: leave them out, make up for all by one, or for each [default: skip]
    #[arg(long, value_name = "skip|once|all", value_parser = missed)]
    missed: Option<Missed>,
    /// How long a run may take, such as 90s, 15m, 2h [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = time::seconds)]
    timeout: Option<u64>,
    /// How often a run that fails is tried again, with growing pauses [default: 0]
    #[arg(long, value_name = "NUMBER")]
    retries: Option<u32>,
    /// Start up to so much later, always the same for this entry, so that not all begin at once [default: 0]
    #[arg(long, value_name = "TIME", value_parser = time::seconds)]
    jitter: Option<u64>,
}

fn overlap(word: &str) -> std::result::Result<Overlap, String> {
    match word {
        "allow" => Ok(Overlap::Allow),
        "forbid" => Ok(Overlap::Forbid),
        "replace" => Ok(Overlap::Replace),
        _ => Err("expected allow, forbid or replace".into()),
    }
}

fn missed(word: &str) -> std::result::Result<Missed, String> {
    match word {
        "skip" => Ok(Missed::Skip),
        "once" => Ok(Missed::Once),
        "all" => Ok(Missed::All),
        _ => Err("expected skip, once or all".into()),
    }
}

impl Options {
    fn patch(self) -> EntryPatch {
        EntryPatch {
            timezone: self.timezone,
            overlap: self.overlap,
            missed: self.missed,
            timeout: self.timeout,
            retries: self.retries,
            jitter: self.jitter,
            ..EntryPatch::default()
        }
    }
}

fn line_of(words: Vec<String>) -> String {
    match <[String; 1]>::try_from(words) {
        Ok([line]) => line,
        Err(words) => shell_words::join(words),
    }
}

impl Add {
    /// Adds it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let progress = Progress::start(format!(
            "Adding a cron entry to {}",
            Paint::stderr().app(&app)
        ));
        let patch = EntryPatch {
            name: self.name.map(|n| n.to_string()),
            schedule: Some(self.schedule),
            command: Some(line_of(self.command)),
            ..self.options.patch()
        };
        let new: Shown = client.send(Method::POST, &["hokku", "apps", &app, "cron"], &patch)?;
        progress.done();
        show(&new, self.json)
    }
}

/// Change a cron entry that was added by cron:add
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app cron:edit tick --schedule '*/10 * * * *'\n  $ app cron:edit tick --timeout 5m --retries 2\n  $ app cron:edit tick ./bin/tick --verbose"
)]
pub struct Edit {
    #[command(flatten)]
    options: Options,
    /// When
    #[arg(short, long)]
    schedule: Option<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
    /// Which
    #[arg(value_name = "ENTRY")]
    entry: EntryName,
    /// What, when that is to change
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

impl Edit {
    /// Changes it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let patch = EntryPatch {
            schedule: self.schedule,
            command: (!self.command.is_empty()).then(|| line_of(self.command)),
            ..self.options.patch()
        };
        if patch == EntryPatch::default() {
            return Err(Fail::usage(
                "Say what to change, such as: app cron:edit tick --schedule '*/10 * * * *'",
            ));
        }
        let (app, client) = cx.app()?;
        let path = ["hokku", "apps", &app, "cron", self.entry.as_str()];
        let progress = Progress::start(format!("Changing {}", self.entry));
        let now: Shown = client.send(Method::PATCH, &path, &patch)?;
        progress.done();
        show(&now, self.json)
    }
}

/// Remove a cron entry that was added by cron:add
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app cron:rm tick")]
pub struct Remove {
    /// Which
    #[arg(value_name = "ENTRY")]
    entry: EntryName,
}

impl Remove {
    /// Removes it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let progress = Progress::start(format!(
            "Removing {} from {}",
            self.entry,
            Paint::stderr().app(&app)
        ));
        let path = ["hokku", "apps", &app, "cron", self.entry.as_str()];
        client.order(Method::DELETE, &path)?;
        progress.done();
        Ok(())
    }
}

/// Show the runs of an app's cron entries, newest first
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app cron:history\n  $ app cron:history nightly -n 100")]
pub struct History {
    /// Only of this entry
    #[arg(value_name = "ENTRY")]
    entry: Option<EntryName>,
    /// How many, 2000 at most
    #[arg(short, long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=2000))]
    num: u32,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

fn runs(client: &Client, app: &str, entry: Option<&EntryName>, most: u32) -> Result<Vec<ShownRun>> {
    let most = most.to_string();
    let mut query = vec![("limit", most.as_str())];
    query.extend(entry.map(|e| ("entry", e.as_str())));
    client.query(&["hokku", "apps", app, "cron-runs"], &query)
}

impl History {
    /// Prints a table.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let all = runs(client, &app, self.entry.as_ref(), self.num)?;
        if self.json {
            return output::json(&all);
        }
        if all.is_empty() {
            output::line(&format!("No runs on {app} yet."));
            return Ok(());
        }
        output::print(&output::plain_table(&history(&all)));
        Ok(())
    }
}

/// Show what a run of a cron entry wrote
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app cron:logs nightly\n  $ app cron:logs nightly 12")]
pub struct Logs {
    /// Which entry
    #[arg(value_name = "ENTRY")]
    entry: EntryName,
    /// Which run, by its number in cron:history; the newest when absent
    #[arg(value_name = "RUN")]
    run: Option<u32>,
}

impl Logs {
    /// Prints it as the app's log shows it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        client.copy_text(&address(&app, &self.entry, self.run))
    }
}

fn address(app: &str, entry: &EntryName, run: Option<u32>) -> String {
    let which = run.map(|n| format!("?run={n}")).unwrap_or_default();
    format!("hokku/apps/{app}/cron/{entry}/output{which}")
}

/// Run a cron entry now, whatever its schedule says
#[derive(Args, Debug)]
#[command(
    after_help = "With --wait the exit status is the run's.\n\nExample:\n  $ app cron:run nightly\n  $ app cron:run nightly --wait"
)]
pub struct Run {
    /// Which
    #[arg(value_name = "ENTRY")]
    entry: EntryName,
    /// Wait for its end, and show what it wrote
    #[arg(short, long)]
    wait: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Run {
    /// Orders it; with `--wait` stays until it has ended.
    pub fn run(self, cx: &Context) -> Result<i32> {
        let (app, client) = cx.app()?;
        let name = self.entry.as_str();
        let progress = Progress::start(format!("Running {name} on {}", Paint::stderr().app(&app)));
        let path = ["hokku", "apps", &app, "cron", name, "run"];
        let nothing = serde_json::json!({});
        let mut run: ShownRun = client.send(Method::POST, &path, &nothing)?;
        while self.wait && run.ended_at.is_none() {
            std::thread::sleep(LOOK);
            let all = runs(client, &app, Some(&self.entry), 200)?;
            let same = all.into_iter().find(|r| r.number == run.number);
            run = same.ok_or_else(|| Fail::new("The run is in the history no more."))?;
        }
        progress.done();
        if self.json {
            output::json(&run)?;
        } else if !self.wait {
            output::note(&format!(
                "It is run {}. See what it writes with: app cron:logs {name} {}",
                run.number, run.number
            ));
        }
        if !self.wait {
            return Ok(0);
        }
        if run.started_at.is_some() && !self.json {
            client.copy_text(&address(&app, &self.entry, Some(run.number)))?;
        }
        if run.status != "succeeded" {
            let why = match run.reason.as_str() {
                "" => String::new(),
                why => format!(": {}", output::clean(why)),
            };
            output::error(&format!(
                "Run {} of {name} {}{why}.",
                run.number, run.status
            ));
        }
        Ok(match (run.exit_code, run.status.as_str()) {
            (Some(code), _) => code,
            (None, "succeeded") => 0,
            _ => GENERAL,
        })
    }
}

/// Pause a cron entry, or all of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app cron:pause nightly\n  $ app cron:pause")]
pub struct Pause {
    /// Which; all when absent
    #[arg(value_name = "ENTRY")]
    entry: Option<EntryName>,
}

/// Let a paused cron entry, or all of an app, go on
#[derive(Args, Debug)]
#[command(
    after_help = "Times that came while it was paused are not made up for.\n\nExample:\n  $ app cron:resume nightly\n  $ app cron:resume"
)]
pub struct Resume {
    /// Which; all when absent
    #[arg(value_name = "ENTRY")]
    entry: Option<EntryName>,
}

fn pause(cx: &Context, entry: Option<EntryName>, paused: bool) -> Result<()> {
    let (app, client) = cx.app()?;
    let word = if paused { "Pausing" } else { "Resuming" };
    let which = entry.as_ref().map_or("all cron entries", |e| e.as_str());
    let progress = Progress::start(format!("{word} {which} of {}", Paint::stderr().app(&app)));
    let patch = PausePatch {
        name: entry.as_ref().map(ToString::to_string),
        paused,
    };
    let _: Vec<Shown> = client.send(Method::PATCH, &["hokku", "apps", &app, "cron"], &patch)?;
    progress.done();
    Ok(())
}

impl Pause {
    /// Pauses.
    pub fn run(self, cx: &Context) -> Result<()> {
        pause(cx, self.entry, true)
    }
}

impl Resume {
    /// Goes on.
    pub fn run(self, cx: &Context) -> Result<()> {
        pause(cx, self.entry, false)
    }
}

fn show(entry: &Shown, json: bool) -> Result<()> {
    if json {
        return output::json(entry);
    }
    output::print(&output::object(&details(entry)));
    Ok(())
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// `1 h 2 min`, `12 s`, `0.2 s`.
fn spell(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

fn last(run: &ShownRun) -> String {
    let code = run.exit_code.filter(|c| *c != 0);
    let code = code.map(|c| format!(" ({c})")).unwrap_or_default();
    format!("{}{code}", run.status)
}

fn table(all: &[Shown]) -> Vec<Vec<String>> {
    let mut rows = vec![row([
        "Entry", "Schedule", "Next", "Last run", "Ended", "Command",
    ])];
    for s in all {
        let next = match (&s.paused_by, s.next.first()) {
            (Some(_), _) => "paused".to_owned(),
            (None, Some(at)) => time::date(at),
            (None, None) => "never".to_owned(),
        };
        let Entry { timezone, .. } = &s.entry;
        let zone = match timezone.as_str() {
            "UTC" => String::new(),
            zone => format!(" {zone}"),
        };
        let ended = s.last.as_ref().and_then(|r| r.ended_at.as_deref());
        rows.push(vec![
            s.entry.name.to_string(),
            format!("{}{zone}", s.entry.schedule),
            next,
            s.last.as_ref().map_or("-".into(), last),
            ended.map_or("-".into(), time::date),
            s.entry.command.clone(),
        ]);
    }
    rows
}

fn details(s: &Shown) -> Vec<(String, String)> {
    let e = &s.entry;
    let word = |v: serde_json::Result<serde_json::Value>| {
        let v = v.ok();
        v.and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    let from = match s.source.as_str() {
        "release" => "the repository (app.json or Procfile)",
        _ => "app cron:add",
    };
    let mut pairs = vec![
        ("entry", e.name.to_string()),
        ("command", output::clean(&e.command)),
        ("schedule", format!("{} ({})", e.schedule, s.describes)),
        ("time zone", e.timezone.clone()),
        ("from", from.to_owned()),
        ("overlap", word(serde_json::to_value(e.overlap))),
        ("missed", word(serde_json::to_value(e.missed))),
        ("time limit", spell(e.timeout.saturating_mul(1000))),
        ("retries", e.retries.to_string()),
        ("jitter", spell(e.jitter.saturating_mul(1000))),
    ];
    match s.paused_by.as_deref() {
        Some("release") => pairs.push(("paused", "by the repository".into())),
        Some("all") => pairs.push(("paused", "with all others: app cron:resume".into())),
        Some(_) => pairs.push(("paused", format!("app cron:resume {}", e.name))),
        None => {}
    }
    for at in &s.next {
        pairs.push(("next", time::date(at)));
    }
    if let Some(run) = &s.last {
        pairs.push(("last run", format!("{}, {}", run.number, last(run))));
        if !run.reason.is_empty() {
            pairs.push(("because", output::clean(&run.reason)));
        }
        if let Some(at) = &run.ended_at {
            pairs.push(("ended", time::ago(at)));
        }
    }
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

fn history(all: &[ShownRun]) -> Vec<Vec<String>> {
    let head = [
        "Entry", "Run", "Trigger", "Time", "Status", "Duration", "Memory", "Why",
    ];
    let mut rows = vec![row(head)];
    for r in all {
        let at = r.started_at.as_deref().or(r.tick.as_deref());
        let trigger = match r.attempt {
            1 => r.trigger.clone(),
            n => format!("{} {}", r.trigger, n - 1),
        };
        let why = match (r.ticks, r.reason.as_str()) {
            (1, why) => why.to_owned(),
            (n, why) => format!("{n} times: {why}"),
        };
        rows.push(vec![
            r.entry.clone(),
            r.number.to_string(),
            trigger,
            at.map_or("-".into(), time::date),
            last(r),
            r.duration_ms.map_or("-".into(), spell),
            r.peak_memory.map_or("-".into(), spell_bytes),
            why,
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("2h", 7200),
            ("1d", 86_400),
        ] {
            assert_eq!(time::seconds(text), Ok(want));
        }
        for text in ["", "m", "1w", "-1", "1.5h", "99999999999999999999d"] {
            assert!(time::seconds(text).is_err(), "{text}");
        }
        for (ms, want) in [
            (230, "0.2 s"),
            (12_345, "12 s"),
            (900_000, "15 min"),
            (86_400_000, "24 h 0 min"),
        ] {
            assert_eq!(spell(ms), want);
        }
    }

    #[test]
    fn several_words_stay_several_words() {
        let line = |words: &[&str]| line_of(words.iter().map(|w| (*w).to_owned()).collect());
        assert_eq!(line(&["a | b"]), "a | b");
        assert_eq!(line(&["a", "b c"]), "a 'b c'");
    }

    #[test]
    fn a_run_is_one_line() {
        let run: ShownRun = serde_json::from_str(
            r#"{"entry": "nightly", "number": 3, "trigger": "retry", "status": "failed", "tick": "2026-01-31T12:00:00Z", "ticks": 1,
                "attempt": 2, "user": null, "dyno": null, "dyno_name": null, "release": 4, "started_at": null, "ended_at": null, "duration_ms": 1500,
                "late_ms": 3, "exit_code": 7, "peak_memory": 10485760, "reason": "x\ny"}"#,
        )
        .unwrap();
        let text = output::plain_table(&history(&[run]));
        let line = text.lines().nth(1).unwrap();
        assert!(
            line.starts_with("nightly  3    retry 1  2026/01/31"),
            "{text}"
        );
        assert!(line.contains("failed (7)  1.5 s     10M"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
