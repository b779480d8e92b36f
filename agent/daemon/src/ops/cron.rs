//! Cron: an app's own entries and pauses, and the ledger of ticks and runs.
//!
//! What is said of ticks here is the truth that a killed agent comes back to. In one transaction a tick is decided (its
//! entry's mark moves past it) and the run that it leads to is written down with the dyno that it will have: a tick is
//! claimed once, whatever dies. A run leaves the open ones only together with its line in the history, its retry and
//! its alert.

use super::{Actor, Ops, OpsError, Result, app};
use crate::store::{Doc, Tx};
use hokku_core::{
    cron::{
        end::After,
        judge::{Claim, What},
        schedule::{Schedule, print},
    },
    desired::Desired,
};
use hokku_model::{
    AppId, DynoId, Micros,
    app::App,
    cron::{
        Alert, Alerts, Entry, EntryName, EntryPatch, LONGEST_COMMAND, MOST_ENTRIES, MOST_JITTER,
        MOST_RETRIES, MOST_TIMEOUT, Mark, Open, Overlap, Run, Status, Trigger, Trouble,
    },
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::collections::{BTreeMap, BTreeSet};

/// One document per app.
const CRON: &str = "cron";
/// One document per entry that is in force; see [`key`].
const MARK: &str = "cron-mark";
/// One document per run that has not ended, by its dyno.
const OPEN: &str = "cron-open";
/// One document per alert that has not arrived.
const ALERT: &str = "cron-alert";

/// Lines of history that an app keeps for all its entries together, and those that each entry keeps at least.
const LINES: usize = 20_000;
const LEAST_LINES: usize = 20;

/// Alerts of an app that may wait: a receiver that is gone for a week shall not fill the store.
const MOST_ALERTS: usize = 200;

/// Runs of one entry that wait because somebody asked for them.
const MOST_ASKED: usize = 20;

/// What an app says of its cron, apart from its releases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Own {
    entries: Vec<Entry>,
    paused: BTreeSet<EntryName>,
    all_paused: bool,
    sealed_alerts: Option<String>,
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `app.json` or the Procfile of the current release.
    Release,
    /// `cron:add`.
    App,
}

impl Source {
    /// As the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Release => "release",
            Source::App => "app",
        }
    }
}

/// An entry that is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJob {
    /// Whose.
    pub app: AppId,
    /// What and when.
    pub entry: Entry,
    /// Where it comes from.
    pub source: Source,
    /// What keeps it from running: `release`, `app` or `all`.
    pub paused_by: Option<&'static str>,
}

/// What was decided of an entry's ticks, to be committed.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Whose.
    pub app: AppId,
    /// The entry as it was read.
    pub entry: Entry,
    /// The mark that the decision was made from.
    pub mark: Mark,
    /// The new one.
    pub until: Micros,
    /// The decision, each with the dyno that a run of it gets.
    pub claims: Vec<(Claim, DynoId)>,
    /// Runs under way are to be stopped.
    pub replaces: bool,
}

/// What was committed of it.
#[derive(Clone, Debug, Default)]
pub struct CronClaimed {
    /// The new marks.
    pub marks: Vec<((AppId, EntryName), Mark)>,
    /// The new runs.
    pub open: Vec<Open>,
    /// What was skipped and missed.
    pub said: Vec<(AppId, Run)>,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whose.
    pub dyno: DynoId,
    /// The run with all that is known of its end, save the status.
    pub run: Run,
    /// What follows.
    pub after: After,
    /// The dyno of the retry.
    pub next: DynoId,
}

fn key(app: AppId, name: &EntryName) -> String {
    format!("{app} {name}")
}

fn parse_key(key: &str) -> Option<(AppId, EntryName)> {
    let (app, name) = key.split_once(' ')?;
    Some((app.parse().ok()?, name.parse().ok()?))
}

/// The kind of an entry's history.
fn history(name: &EntryName) -> String {
    format!("cron-run {name}")
}

fn own(tx: &Tx, app: AppId) -> Result<Option<Doc<Own>>> {
    Ok(tx.get(CRON, &app.to_string())?)
}

/// Changes what an app says.
fn change(tx: &Tx, app: AppId, with: impl FnOnce(&mut Own) -> Result<()>) -> Result<App> {
    let record = app::load(tx, app)?.body;
    match own(tx, app)? {
        Some(mut doc) => {
            let before = doc.body.clone();
            with(&mut doc.body)?;
            if doc.body != before {
                tx.replace(CRON, &mut doc)?;
            }
        }
        None => {
            let mut new = Own::default();
            with(&mut new)?;
            tx.insert(CRON, &app.to_string(), &new)?;
        }
    }
    Ok(record)
}

/// The entries of an app: its own go before the release's of the same name.
fn jobs(app: AppId, own: Option<&Own>, release: &[Entry]) -> Vec<CronJob> {
    let empty = Own::default();
    let own = own.unwrap_or(&empty);
    let names: BTreeSet<&EntryName> = own.entries.iter().map(|e| &e.name).collect();
    let mine = own.entries.iter().map(|e| (e, Source::App));
    let theirs = release.iter().filter(|e| !names.contains(&e.name));
    let theirs = theirs.map(|e| (e, Source::Release));
    let job = |(entry, source): (&Entry, Source)| CronJob {
        app,
        source,
        paused_by: match () {
            () if own.all_paused => Some("all"),
            () if own.paused.contains(&entry.name) => Some("app"),
            () if entry.paused => Some("release"),
            () => None,
        },
        entry: entry.clone(),
    };
    mine.chain(theirs).take(MOST_ENTRIES).map(job).collect()
}

fn jobs_of(tx: &Tx, app: &App) -> Result<Vec<CronJob>> {
    let slug = match app.current {
        Some(version) => super::release::entry(tx, app.id, version)?.body.slug,
        None => None,
    };
    let own = own(tx, app.id)?.map(|d| d.body);
    let entries = slug.map(|s| s.app_json.cron).unwrap_or_default();
    Ok(jobs(app.id, own.as_ref(), &entries))
}

fn opens(tx: &Tx, mine: impl Fn(&Open) -> bool) -> Result<Vec<Doc<Open>>> {
    let mut all = tx.list::<Open>(OPEN)?;
    all.retain(|d| mine(&d.body));
    Ok(all)
}

/// The number of the newest run, in the history or under way.
fn newest_number(tx: &Tx, app: AppId, name: &EntryName) -> Result<u32> {
    let done = tx.last_seq(&history(name), &app.to_string())?;
    let open = opens(tx, |o| o.app == app && o.run.entry == *name)?;
    let open = open.iter().map(|d| d.body.run.number).max();
    Ok(done.max(open.unwrap_or(0)))
}

/// The next number of an entry's run. One that is not in force any more has no mark.
fn number(tx: &Tx, app: AppId, name: &EntryName) -> Result<u32> {
    let Some(mut mark) = tx.get::<Mark>(MARK, &key(app, name))? else {
        return Ok(newest_number(tx, app, name)?.saturating_add(1));
    };
    mark.body.last_run = mark.body.last_run.saturating_add(1);
    tx.replace(MARK, &mut mark)?;
    Ok(mark.body.last_run)
}

/// The newest line of an entry's history.
fn newest_line(tx: &Tx, app: AppId, name: &EntryName) -> Result<Option<Run>> {
    let newest = tx.newest(&history(name), &app.to_string(), 1)?;
    Ok(newest.into_iter().map(|e| e.body).next())
}

/// A line of history.
fn append(tx: &Tx, app: AppId, run: &Run, entries: usize) -> Result<()> {
    let (kind, app) = (history(&run.entry), app.to_string());
    let id = format!("{app} {}", run.number);
    tx.append(&kind, &app, run.number, &id, run, None)?;
    let keep = (LINES / entries.max(1)).max(LEAST_LINES) as u32;
    if let Some(old) = run.number.checked_sub(keep) {
        tx.prune(&kind, &app, old)?;
    }
    Ok(())
}

/// Somebody is to be told, if the app has anybody.
fn alarm(tx: &Tx, app: AppId, run: &Run, command: &str, trouble: Trouble) -> Result<Option<Alert>> {
    let told = own(tx, app)?.is_some_and(|d| d.body.sealed_alerts.is_some());
    let waiting = || -> Result<usize> {
        let all = tx.list::<Alert>(ALERT)?;
        Ok(all.iter().filter(|a| a.body.app == app).count())
    };
    if !told || waiting()? >= MOST_ALERTS {
        return Ok(None);
    }
    let alert = Alert {
        id: uuid::Uuid::now_v7().to_string(),
        app,
        trouble,
        run: run.clone(),
        command: command.to_owned(),
        tries: 0,
        not_before: Micros(0),
    };
    tx.insert(ALERT, &alert.id, &alert)?;
    Ok(Some(alert))
}

/// What belongs to an app that is destroyed.
pub(super) fn forget(tx: &Tx, app: AppId) -> Result<()> {
    tx.delete(CRON, &app.to_string())?;
    for doc in tx.list::<Mark>(MARK)? {
        if parse_key(&doc.key).is_some_and(|(a, _)| a == app) {
            tx.delete(MARK, &doc.key)?;
        }
    }
    for doc in opens(tx, |o| o.app == app)? {
        tx.delete(OPEN, &doc.key)?;
    }
    for doc in tx.list::<Alert>(ALERT)? {
        if doc.body.app == app {
            tx.delete(ALERT, &doc.key)?;
        }
    }
    Ok(())
}

fn place(app: AppId) -> String {
    format!("cron alerts of app {app}")
}

fn no_entry(app: &App, name: &str) -> OpsError {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    OpsError::not_found(
        "cron",
        format!(
            "{} has no cron entry {shown:?}. See which it has with: app cron",
            app.name
        ),
    )
}

/// A run that somebody asked for, or an alert's.
fn asked(entry: EntryName, number: u32, trigger: Trigger, dyno: DynoId) -> Run {
    Run {
        entry,
        number,
        trigger,
        status: Status::Waiting,
        tick: None,
        ticks: 1,
        attempt: 1,
        user: None,
        dyno: Some(dyno),
        release: None,
        claimed_at: Micros::now(),
        started_at: None,
        ended_at: None,
        exit_code: None,
        peak_memory: None,
        reason: String::new(),
    }
}

impl Ops {
    /// The entries of all apps.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_jobs(&self, desired: &Desired) -> Result<Vec<CronJob>> {
        let docs = self.store().read(|tx| tx.list::<Own>(CRON)).await?;
        let own: BTreeMap<&str, &Own> = docs.iter().map(|d| (d.key.as_str(), &d.body)).collect();
        let of = |(id, wish): (&AppId, &hokku_core::desired::AppWish)| {
            let release = wish.current.as_ref();
            let entries = release.map_or(&[][..], |r| r.app_json.cron.as_slice());
            jobs(*id, own.get(id.to_string().as_str()).copied(), entries)
        };
        Ok(desired.apps.iter().flat_map(of).collect())
    }

    /// What tells whether the apps' own entries and pauses have changed: documents and their generations.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_seen(&self) -> Result<Vec<(String, i64)>> {
        let docs = self.store().read(|tx| tx.list::<IgnoredAny>(CRON)).await?;
        Ok(docs.into_iter().map(|d| (d.key, d.generation)).collect())
    }

    /// Up to where the ticks of each entry are decided.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_marks(&self) -> Result<BTreeMap<(AppId, EntryName), Mark>> {
        let docs = self.store().read(|tx| tx.list::<Mark>(MARK)).await?;
        let docs = docs.into_iter();
        Ok(docs
            .filter_map(|d| Some((parse_key(&d.key)?, d.body)))
            .collect())
    }

    /// Runs that have not ended, and alerts that have not arrived.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_open(&self) -> Result<(Vec<Open>, Vec<Alert>)> {
        self.store()
            .read(|tx| {
                let open = tx.list(OPEN)?.into_iter().map(|d| d.body).collect();
                let alerts = tx.list(ALERT)?.into_iter().map(|d| d.body).collect();
                Ok::<_, OpsError>((open, alerts))
            })
            .await
    }

    /// Puts entries in force from a time on (they are new, or their schedule is), and takes others out. Gives the marks.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_in_force(
        &self,
        new: &[(AppId, EntryName, String)],
        gone: &[(AppId, EntryName)],
        from: Micros,
    ) -> Result<Vec<((AppId, EntryName), Mark)>> {
        if new.is_empty() && gone.is_empty() {
            return Ok(vec![]);
        }
        self.store()
            .write(|tx| {
                for (app, name) in gone {
                    tx.delete(MARK, &key(*app, name))?;
                }
                let mut marks = vec![];
                for (app, name, print) in new {
                    let place = key(*app, name);
                    let mark = match tx.get::<Mark>(MARK, &place)? {
                        Some(mut doc) => {
                            doc.body.until = doc.body.until.max(from);
                            doc.body.print.clone_from(print);
                            tx.replace(MARK, &mut doc)?;
                            doc.body
                        }
                        None => {
                            let mark = Mark {
                                until: from,
                                print: print.clone(),
                                last_run: newest_number(tx, *app, name)?,
                            };
                            tx.insert(MARK, &place, &mark)?;
                            mark
                        }
                    };
                    marks.push(((*app, name.clone()), mark));
                }
                Ok(marks)
            })
            .await
    }

    /// Commits what was decided of ticks. An entry whose mark is not the one that its decision was made from is left
    /// out.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_claim(&self, all: &[Claimed], entries: usize) -> Result<CronClaimed> {
        self.store()
            .write(|tx| {
                let mut done = CronClaimed::default();
                let now = Micros::now();
                for c in all {
                    let place = key(c.app, &c.entry.name);
                    let Some(mut mark) = tx.get::<Mark>(MARK, &place)? else {
                        continue;
                    };
                    if (mark.body.until, &mark.body.print) != (c.mark.until, &c.mark.print) {
                        continue;
                    }
                    if c.replaces {
                        let mine = |o: &Open| o.app == c.app && o.run.entry == c.entry.name;
                        for mut old in opens(tx, mine)? {
                            old.body.replaced = true;
                            tx.replace(OPEN, &mut old)?;
                        }
                    }
                    for (claim, dyno) in &c.claims {
                        mark.body.last_run = mark.body.last_run.saturating_add(1);
                        let name = c.entry.name.clone();
                        let mut run = asked(name, mark.body.last_run, Trigger::Schedule, *dyno);
                        run.claimed_at = now;
                        (run.tick, run.ticks) = (Some(claim.tick), claim.ticks);
                        match &claim.what {
                            What::Run(trigger) => {
                                run.trigger = *trigger;
                                let open = Open {
                                    app: c.app,
                                    dyno: *dyno,
                                    command: c.entry.command.clone(),
                                    timeout: c.entry.timeout,
                                    retries: c.entry.retries,
                                    alone: c.entry.overlap != Overlap::Allow,
                                    not_before: Micros(0),
                                    replaced: false,
                                    env: BTreeMap::new(),
                                    run,
                                };
                                tx.insert(OPEN, &dyno.to_string(), &open)?;
                                done.open.push(open);
                            }
                            What::Skip(_) | What::Missed => {
                                (run.dyno, run.ended_at) = (None, Some(now));
                                (run.status, run.reason) = match &claim.what {
                                    What::Skip(why) => (Status::Skipped, why.clone()),
                                    _ => (Status::Missed, "the agent was not running".into()),
                                };
                                // the first of a row is enough: the rest would bury it
                                let before = newest_line(tx, c.app, &run.entry)?;
                                let new = before.is_none_or(|b| b.status != run.status);
                                append(tx, c.app, &run, entries)?;
                                if new {
                                    let command = &c.entry.command;
                                    alarm(tx, c.app, &run, command, Trouble::DidNotRun)?;
                                }
                                done.said.push((c.app, run));
                            }
                        }
                    }
                    mark.body.until = c.until;
                    tx.replace(MARK, &mut mark)?;
                    done.marks.push(((c.app, c.entry.name.clone()), mark.body));
                }
                Ok(done)
            })
            .await
    }

    /// Ends a run: its line in the history, its retry, its alert. One that is not open has ended before: `None`.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_end(&self, ended: &Ended, entries: usize) -> Result<Option<Run>> {
        self.store()
            .write(|tx| {
                let Some(doc) = tx.get::<Open>(OPEN, &ended.dyno.to_string())? else {
                    return Ok(None);
                };
                let open = doc.body;
                let mut run = ended.run.clone();
                run.status = ended.after.status;
                tx.delete(OPEN, &doc.key)?;
                append(tx, open.app, &run, entries)?;
                if let Some(pause) = ended.after.retry {
                    let at = run.ended_at.unwrap_or_else(Micros::now).plus(pause);
                    let name = run.entry.clone();
                    let number = number(tx, open.app, &name)?;
                    let mut next = asked(name, number, Trigger::Retry, ended.next);
                    (next.tick, next.ticks) = (run.tick, run.ticks);
                    next.attempt = run.attempt.saturating_add(1);
                    next.user.clone_from(&run.user);
                    next.reason = format!("run {} {}", run.number, run.status.as_str());
                    let next = Open {
                        run: next,
                        dyno: ended.next,
                        retries: open.retries.saturating_sub(1),
                        not_before: at,
                        ..open.clone()
                    };
                    tx.insert(OPEN, &ended.next.to_string(), &next)?;
                }
                if let Some(trouble) = ended.after.trouble {
                    alarm(tx, open.app, &run, &open.command, trouble)?;
                }
                Ok::<_, OpsError>(Some(run))
            })
            .await
    }

    /// Gives a run whose dyno never came to be another one: the old one can't start any more under its id.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_another_dyno(&self, old: DynoId, new: DynoId) -> Result<bool> {
        self.store()
            .write(|tx| {
                let Some(mut doc) = tx.get::<Open>(OPEN, &old.to_string())? else {
                    return Ok(false);
                };
                tx.delete(OPEN, &doc.key)?;
                (doc.body.dyno, doc.body.run.dyno) = (new, Some(new));
                tx.insert(OPEN, &new.to_string(), &doc.body)?;
                Ok::<_, OpsError>(true)
            })
            .await
    }

    /// Runs an entry now, also a paused one. It waits for a run that is under way, unless the entry allows both.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when too many wait already.
    pub async fn cron_run(&self, actor: &Actor, app: AppId, name: &str) -> Result<Run> {
        let dyno = DynoId(uuid::Uuid::now_v7().as_u128());
        let (app, run) = self
            .store()
            .write(|tx| {
                let app = app::load(tx, app)?.body;
                let jobs = jobs_of(tx, &app)?;
                let job = jobs.iter().find(|j| j.entry.name.as_str() == name);
                let entry = &job.ok_or_else(|| no_entry(&app, name))?.entry;
                if app.current.is_none() {
                    return Err(OpsError::conflict(format!(
                        "{} has no code yet, so there is nothing to run: push it first.",
                        app.name
                    )));
                }
                let same = |o: &Open| o.app == app.id && o.run.entry == entry.name;
                if opens(tx, same)?.len() >= MOST_ASKED {
                    return Err(OpsError::conflict(format!(
                        "{MOST_ASKED} runs of {name} are under way or wait already."
                    )));
                }
                let number = number(tx, app.id, &entry.name)?;
                let mut run = asked(entry.name.clone(), number, Trigger::Manual, dyno);
                run.user = Some(actor.user.clone());
                let open = Open {
                    app: app.id,
                    run: run.clone(),
                    dyno,
                    command: entry.command.clone(),
                    timeout: entry.timeout,
                    retries: entry.retries,
                    alone: entry.overlap != Overlap::Allow,
                    not_before: Micros(0),
                    replaced: false,
                    env: BTreeMap::new(),
                };
                tx.insert(OPEN, &dyno.to_string(), &open)?;
                Ok((app.name, run))
            })
            .await?;
        tracing::info!(%app, user = %actor.user, entry = name, "a cron entry is run by hand");
        Ok(run)
    }

    /// The entries of an app, each with the run that is under way or else the newest one.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cron(&self, app: AppId) -> Result<Vec<(CronJob, Option<Run>)>> {
        self.store()
            .read(|tx| {
                let app = app::load(tx, app)?.body;
                let open = opens(tx, |o| o.app == app.id)?;
                let mut all = vec![];
                for job in jobs_of(tx, &app)? {
                    let name = &job.entry.name;
                    let mine = open.iter().filter(|d| d.body.run.entry == *name);
                    let under_way = mine.map(|d| &d.body.run).max_by_key(|r| r.number);
                    let last = match under_way {
                        Some(run) => Some(run.clone()),
                        None => newest_line(tx, app.id, name)?,
                    };
                    all.push((job, last));
                }
                Ok(all)
            })
            .await
    }

    /// Runs of one entry, or of all that are in force, newest first, at most `most`; those under way are among them.
    ///
    /// # Errors
    /// `NotFound` (app).
    pub async fn cron_history(
        &self,
        app: AppId,
        name: Option<&EntryName>,
        most: u32,
    ) -> Result<Vec<Run>> {
        self.store()
            .read(|tx| {
                let app = app::load(tx, app)?.body;
                let names: BTreeSet<EntryName> = match name {
                    Some(name) => [name.clone()].into(),
                    None => {
                        let jobs = jobs_of(tx, &app)?.into_iter().map(|j| j.entry.name);
                        jobs.chain(alert_name()).collect()
                    }
                };
                let open = opens(tx, |o| o.app == app.id && names.contains(&o.run.entry))?;
                let mut all: Vec<Run> = open.into_iter().map(|d| d.body.run).collect();
                for name in &names {
                    let done = tx.newest(&history(name), &app.id.to_string(), most)?;
                    all.extend(done.into_iter().map(|e| e.body));
                }
                all.sort_by_key(|r| std::cmp::Reverse((r.claimed_at, r.number)));
                all.truncate(most as usize);
                Ok(all)
            })
            .await
    }

    /// One run by its number; the newest that had a dyno when none is named.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cron_find_run(&self, app: AppId, name: &str, n: Option<u32>) -> Result<Run> {
        let missing = || {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
            let which = n.map_or("a run".into(), |n| format!("the run {n}"));
            OpsError::not_found(
                "cron-run",
                format!("Couldn't find {which} of the cron entry {shown:?}. See: app cron:history"),
            )
        };
        let entry: EntryName = name.parse().map_err(|_| missing())?;
        let all = self.cron_history(app, Some(&entry), LINES as u32).await?;
        let fits = |r: &&Run| match n {
            Some(n) => r.number == n,
            None => r.dyno.is_some(),
        };
        all.iter().find(fits).cloned().ok_or_else(missing)
    }

    /// Adds an entry of the app's own.
    ///
    /// # Errors
    /// `NotFound`; `Invalid`: what is wrong with it; `Conflict`: there is one of this name.
    pub async fn cron_add(&self, actor: &Actor, app: AppId, new: &EntryPatch) -> Result<Entry> {
        let (Some(schedule), Some(command)) = (&new.schedule, &new.command) else {
            return Err(OpsError::invalid(
                "A cron entry needs a schedule and a command, such as: app cron:add '30 4 * * *' rake nightly",
            ));
        };
        let named = match &new.name {
            Some(name) => Some(
                name.parse()
                    .map_err(|e: String| OpsError::invalid(format!("{e}.")))?,
            ),
            None => None,
        };
        let (app, entry) = self
            .store()
            .write(|tx| {
                let there = jobs_of(tx, &app::load(tx, app)?.body)?;
                if there.len() >= MOST_ENTRIES {
                    return Err(OpsError::conflict(format!(
                        "An app can have {MOST_ENTRIES} cron entries, and this one has them."
                    )));
                }
                let taken = |n: &EntryName| there.iter().any(|j| j.entry.name == *n);
                let name = match &named {
                    Some(name) if taken(name) => {
                        return Err(OpsError::conflict(format!(
                            "There is a cron entry {name} already. Change it with: app cron:edit {name}"
                        )));
                    }
                    Some(name) => name.clone(),
                    None => (1..)
                        .map(|n| EntryName::of_command(command, n))
                        .find(|n| !taken(n))
                        .ok_or_else(|| OpsError::conflict("No name is free."))?,
                };
                let mut entry = Entry::new(name, schedule, command);
                patch(&mut entry, new)?;
                let record = change(tx, app, |own| {
                    own.entries.push(entry.clone());
                    Ok(())
                })?;
                Ok::<_, OpsError>((record.name, entry))
            })
            .await?;
        tracing::info!(%app, user = %actor.user, entry = %entry.name, "cron entry added");
        Ok(entry)
    }

    /// Changes an entry of the app's own.
    ///
    /// # Errors
    /// `NotFound`; `Invalid`: what is wrong with it; `Conflict`: it belongs to the repository.
    pub async fn cron_edit(
        &self,
        actor: &Actor,
        app: AppId,
        name: &str,
        new: &EntryPatch,
    ) -> Result<Entry> {
        let (app, entry) = self
            .store()
            .write(|tx| {
                let record = app::load(tx, app)?.body;
                let theirs = of_release(tx, &record, name)?;
                let mut changed = None;
                change(tx, app, |own| {
                    let entry = own.entries.iter_mut().find(|e| e.name.as_str() == name);
                    let entry =
                        entry.ok_or_else(|| theirs.unwrap_or_else(|| no_entry(&record, name)))?;
                    patch(entry, new)?;
                    changed = Some(entry.clone());
                    Ok(())
                })?;
                let entry = changed.ok_or_else(|| no_entry(&record, name))?;
                Ok::<_, OpsError>((record.name, entry))
            })
            .await?;
        tracing::info!(%app, user = %actor.user, entry = name, "cron entry changed");
        Ok(entry)
    }

    /// Removes an entry of the app's own. A run that is under way goes on.
    ///
    /// # Errors
    /// `NotFound`; `Conflict`: it belongs to the repository.
    pub async fn cron_remove(&self, actor: &Actor, app: AppId, name: &str) -> Result<Entry> {
        let (app, entry) = self
            .store()
            .write(|tx| {
                let record = app::load(tx, app)?.body;
                let theirs = of_release(tx, &record, name)?;
                let mut gone = None;
                change(tx, app, |own| {
                    let at = own.entries.iter().position(|e| e.name.as_str() == name);
                    let at = at.ok_or_else(|| theirs.unwrap_or_else(|| no_entry(&record, name)))?;
                    let entry = own.entries.remove(at);
                    own.paused.remove(&entry.name);
                    gone = Some(entry);
                    Ok(())
                })?;
                let entry = gone.ok_or_else(|| no_entry(&record, name))?;
                Ok::<_, OpsError>((record.name, entry))
            })
            .await?;
        tracing::info!(%app, user = %actor.user, entry = name, "cron entry removed");
        Ok(entry)
    }

    /// Pauses an entry, or all of the app, or lets them go on. Ticks of meanwhile are not made up for.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the repository itself pauses it.
    pub async fn cron_pause(
        &self,
        actor: &Actor,
        app: AppId,
        name: Option<&str>,
        paused: bool,
    ) -> Result<()> {
        let app = self
            .store()
            .write(|tx| {
                let record = app::load(tx, app)?.body;
                let jobs = jobs_of(tx, &record)?;
                let job = match name {
                    Some(name) => Some(
                        jobs.iter()
                            .find(|j| j.entry.name.as_str() == name)
                            .ok_or_else(|| no_entry(&record, name))?,
                    ),
                    None => None,
                };
                if let Some(job) = job.filter(|j| !paused && j.entry.paused) {
                    return Err(OpsError::conflict(format!(
                        "{} is paused by the repository (\"maintenance\": true in app.json). Change it there and push.",
                        job.entry.name
                    )));
                }
                if let Some(job) = job.filter(|j| !paused && j.paused_by == Some("all")) {
                    return Err(OpsError::conflict(format!(
                        "All cron entries of {} are paused, {} among them. Let all go on with: app cron:resume",
                        record.name, job.entry.name
                    )));
                }
                change(tx, app, |own| {
                    match job {
                        Some(job) if paused => {
                            own.paused.insert(job.entry.name.clone());
                        }
                        Some(job) => {
                            own.paused.remove(&job.entry.name);
                        }
                        None => own.all_paused = paused,
                    }
                    Ok(())
                })?;
                Ok(record.name)
            })
            .await?;
        tracing::info!(%app, user = %actor.user, entry = name, paused, "cron");
        Ok(())
    }

    /// Who is told of an app's trouble.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cron_alerts(&self, app: AppId) -> Result<Alerts> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                match own(tx, app)?.and_then(|d| d.body.sealed_alerts) {
                    Some(sealed) => self.open_alerts(app, &sealed),
                    None => Ok(Alerts::default()),
                }
            })
            .await
    }

    fn open_alerts(&self, app: AppId, sealed: &str) -> Result<Alerts> {
        let plain = self.open_key(&place(app), sealed)?;
        let read = serde_json::from_str(&plain);
        Ok(read.map_err(|_| anyhow::anyhow!("the {} can't be read", place(app)))?)
    }

    /// Says who is told: forgets those named in `unset` (`webhook`, `email`, `command`, `all`), then takes those of `set`.
    ///
    /// # Errors
    /// `NotFound`; `Invalid`: a name is none.
    pub async fn set_cron_alerts(
        &self,
        actor: &Actor,
        app: AppId,
        set: &Alerts,
        unset: &[String],
    ) -> Result<Alerts> {
        let (app, now) = self
            .store()
            .write(|tx| {
                let mut now = Alerts::default();
                let record = change(tx, app, |own| {
                    if let Some(sealed) = &own.sealed_alerts {
                        now = self.open_alerts(app, sealed)?;
                    }
                    for name in unset {
                        match name.as_str() {
                            "webhook" => now.webhook = None,
                            "email" => now.email = None,
                            "command" => now.command = None,
                            "all" => now = Alerts::default(),
                            _ => {
                                return Err(OpsError::invalid(format!(
                                    "{name:?} is no kind of alert: expected webhook, email, command or all."
                                )));
                            }
                        }
                    }
                    now.webhook = set.webhook.clone().or(now.webhook.take());
                    now.email = set.email.clone().or(now.email.take());
                    now.command = set.command.clone().or(now.command.take());
                    own.sealed_alerts = match now.is_empty() {
                        true => None,
                        false => {
                            let plain = serde_json::to_string(&now).map_err(anyhow::Error::from)?;
                            Some(self.seal_key(&place(app), &plain)?)
                        }
                    };
                    Ok(())
                })?;
                Ok::<_, OpsError>((record.name, now))
            })
            .await?;
        tracing::info!(%app, user = %actor.user, "cron alerts set");
        Ok(now)
    }

    /// Sends an alert that tells of no trouble. False: nobody is to be told.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cron_test_alert(&self, app: AppId) -> Result<bool> {
        self.store()
            .write(|tx| {
                app::load(tx, app)?;
                let name = EntryName::of_command("test", 1);
                let mut run = asked(name, 1, Trigger::Manual, DynoId(0));
                run.dyno = None;
                run.reason = "somebody tries whether alerts arrive".into();
                Ok(alarm(tx, app, &run, "", Trouble::Test)?.is_some())
            })
            .await
    }

    /// An alert has arrived, or is given up. A command of its app is put among the open runs in the same step.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_alert_done(
        &self,
        alert: &Alert,
        run: Option<(String, BTreeMap<String, String>)>,
    ) -> Result<()> {
        let dyno = DynoId(uuid::Uuid::now_v7().as_u128());
        self.store()
            .write(|tx| {
                if !tx.delete(ALERT, &alert.id)? {
                    return Ok(());
                }
                if let Some((command, env)) = &run {
                    let name = EntryName::of_command("alert", 1);
                    let number = number(tx, alert.app, &name)?;
                    let open = Open {
                        app: alert.app,
                        run: asked(name, number, Trigger::Alert, dyno),
                        dyno,
                        command: command.clone(),
                        timeout: 600,
                        retries: 0,
                        alone: false,
                        not_before: Micros(0),
                        replaced: false,
                        env: env.clone(),
                    };
                    tx.insert(OPEN, &dyno.to_string(), &open)?;
                }
                Ok::<_, OpsError>(())
            })
            .await
    }

    /// An alert did not arrive and is tried again.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn cron_alert_again(&self, alert: &Alert) -> Result<()> {
        self.store()
            .write(|tx| {
                if let Some(mut doc) = tx.get::<Alert>(ALERT, &alert.id)? {
                    doc.body.clone_from(alert);
                    tx.replace(ALERT, &mut doc)?;
                }
                Ok::<_, OpsError>(())
            })
            .await
    }
}

fn alert_name() -> [EntryName; 1] {
    [EntryName::of_command("alert", 1)]
}

/// That an entry can't be changed here, because it is the repository's.
fn of_release(tx: &Tx, app: &App, name: &str) -> Result<Option<OpsError>> {
    let jobs = jobs_of(tx, app)?;
    let theirs = jobs
        .iter()
        .find(|j| j.entry.name.as_str() == name && j.source == Source::Release);
    Ok(theirs.map(|_| {
        OpsError::conflict(format!(
            "{name} comes from the repository of {} (app.json or Procfile). Change it there and push, or pause it with: app cron:pause {name}",
            app.name
        ))
    }))
}

/// Takes what is said and checks all of it.
fn patch(entry: &mut Entry, new: &EntryPatch) -> Result<()> {
    let text = |s: &str| s.trim().to_owned();
    if let Some(command) = &new.command {
        entry.command = text(command);
    }
    if let Some(schedule) = &new.schedule {
        entry.schedule = text(schedule);
    }
    if let Some(zone) = &new.timezone {
        entry.timezone = text(zone);
    }
    entry.overlap = new.overlap.unwrap_or(entry.overlap);
    entry.missed = new.missed.unwrap_or(entry.missed);
    entry.timeout = new.timeout.unwrap_or(entry.timeout);
    entry.retries = new.retries.unwrap_or(entry.retries);
    entry.jitter = new.jitter.unwrap_or(entry.jitter);
    if entry.command.is_empty() || entry.command.len() > LONGEST_COMMAND {
        return Err(OpsError::invalid(format!(
            "The command of a cron entry has 1 to {LONGEST_COMMAND} bytes."
        )));
    }
    if entry.command.contains('\0') {
        return Err(OpsError::invalid(
            "A command can't have NUL characters in it.",
        ));
    }
    for (what, value, least, most) in [
        ("timeout", entry.timeout, 1, MOST_TIMEOUT),
        ("retries", entry.retries.into(), 0, MOST_RETRIES.into()),
        ("jitter", entry.jitter, 0, MOST_JITTER),
    ] {
        if !(least..=most).contains(&value) {
            return Err(OpsError::invalid(format!(
                "The {what} of a cron entry has to be {least} to {most}."
            )));
        }
    }
    Schedule::parse(&entry.schedule, &entry.timezone)
        .map_err(|e| OpsError::invalid(format!("{e}.")))?;
    Ok(())
}

impl CronJob {
    /// What its mark has to have been made with.
    pub fn print(&self) -> String {
        print(&self.entry, self.paused_by.is_some())
    }
}
