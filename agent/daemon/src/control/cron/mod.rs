//! Cron: looks when an entry's time has come, commits that, has the run started, and writes down its end.
//!
//! A task beside the loop, so that neither waits for the other's disk. What it knows is the store's; what runs it hears
//! from the loop, by [`Note`]s. Each step can be cut off by SIGKILL:
//!
//! * before the claim is committed, the tick is undecided, and the next agent decides it;
//! * after it, the run is open in the store with the dyno that it will have. No folder of that dyno: it was never started,
//!   and is started now. A folder without `shim.json`: its shim never came to be; the run gets another dyno, because a shim
//!   that is only slow must find its folder gone;
//! * a dyno that ended keeps its folder until its end is written down: `supervisor/kept.rs`.

mod start;
mod tell;

use super::{Control, Hands, Internal};
use crate::{
    ops::{Claimed, CronJob, Ended},
    sys::fault,
};
use hokku_core::{
    cron::{
        end::{End, after},
        judge::judge,
        schedule::Schedule,
    },
    desired::AppWish,
    event::Event,
};
use hokku_model::{
    AppId, DynoId, Micros,
    cron::{Alert, EntryName, Mark, Open, Run, Status},
    dyno::{Exit, Purpose},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Notes that may wait; further ones wait in tasks of their own.
pub(super) const NOTES: usize = 1024;

/// Runs of one app at the same time; more wait for their turn.
const MOST_RUNS: usize = 100;

/// The clock may be set: it is looked at so often at least.
const LOOK: Duration = Duration::from_secs(10);

/// After an error of the store.
const AGAIN: Duration = Duration::from_secs(1);

/// What the loop tells of a run's dyno.
#[derive(Debug)]
pub(super) enum Note {
    /// It could not be started; nothing of it is left.
    StartFailed(DynoId, String),
    /// It is gone.
    Exited {
        dyno: DynoId,
        exit: Exit,
        /// Somebody had ordered it to stop.
        stopped: bool,
    },
    /// An alert arrived, or why it did not.
    Told(Box<Alert>, Result<(), String>),
}

type Key = (AppId, EntryName);

struct Job {
    job: CronJob,
    schedule: Schedule,
    print: String,
    /// When to look at it; `None`: when one of its runs ends.
    next: Option<Micros>,
}

/// A run whose dyno was ordered.
struct Live {
    since: Micros,
    stop_ordered: bool,
}

/// Tells whether entries may have changed, without reading them: a thousand entries take longer to read than a run.
#[derive(Default, PartialEq)]
struct Seen {
    current: Vec<(AppId, Option<u32>)>,
    own: Vec<(String, i64)>,
}

struct Cron {
    hands: Hands,
    to_loop: mpsc::Sender<Internal>,
    told: mpsc::Sender<Note>,
    jobs: BTreeMap<Key, Job>,
    marks: BTreeMap<Key, Mark>,
    open: BTreeMap<DynoId, Open>,
    live: BTreeMap<DynoId, Live>,
    alerts: BTreeMap<String, Alert>,
    sending: BTreeSet<String>,
    /// After an error: nothing is tried before.
    not_before: Micros,
    /// The state in memory may not be the store's.
    stale: bool,
    /// Nor may the marks; nobody else changes them.
    marks_stale: bool,
    /// What the entries were read from.
    seen: Seen,
    swept: BTreeMap<AppId, Micros>,
}

impl Control {
    /// Starts to look after cron. Dynos have been adopted.
    pub(super) fn keep_cron(&self, notes: mpsc::Receiver<Note>, shutdown: watch::Receiver<bool>) {
        let is_run = |p: &Purpose| matches!(p, Purpose::Cron { .. });
        let dynos = self.observed.dynos.values();
        let live = dynos
            .filter(|d| is_run(&d.record.purpose))
            .map(|d| {
                let live = Live {
                    since: d.record.started_at,
                    stop_ordered: false,
                };
                (d.record.id, live)
            })
            .collect();
        let cron = Cron {
            hands: self.hands.clone(),
            to_loop: self.events.clone(),
            told: self.cron.clone(),
            jobs: BTreeMap::new(),
            marks: BTreeMap::new(),
            open: BTreeMap::new(),
            live,
            alerts: BTreeMap::new(),
            sending: BTreeSet::new(),
            not_before: Micros(0),
            stale: true,
            marks_stale: true,
            seen: Seen::default(),
            swept: BTreeMap::new(),
        };
        tokio::spawn(cron.keep(notes, shutdown));
    }

    /// Passes on what concerns a run.
    pub(super) fn note_cron(&self, event: &Event) {
        let note = match event {
            Event::StartFailed { dyno, error } => Note::StartFailed(*dyno, error.clone()),
            Event::Exited { dyno, exit } => Note::Exited {
                dyno: *dyno,
                exit: *exit,
                stopped: self.observed.dynos.get(dyno).is_some_and(|d| d.stop_asked),
            },
            _ => return,
        };
        let dyno = match &note {
            Note::StartFailed(dyno, _) | Note::Exited { dyno, .. } => dyno,
            Note::Told(..) => return,
        };
        let known = self.observed.dynos.get(dyno);
        if known.is_some_and(|d| matches!(d.record.purpose, Purpose::Cron { .. })) {
            pass(&self.cron, note);
        }
    }
}

/// Kept, not lost, when there is no room.
fn pass(to: &mpsc::Sender<Note>, note: Note) {
    if let Err(mpsc::error::TrySendError::Full(note)) = to.try_send(note) {
        let to = to.clone();
        tokio::spawn(async move { to.send(note).await });
    }
}

impl Cron {
    async fn keep(mut self, mut notes: mpsc::Receiver<Note>, mut shutdown: watch::Receiver<bool>) {
        let mut bell = self.hands.ops.bell();
        loop {
            let now = Micros::now();
            let wake_at = if now < self.not_before {
                Some(self.not_before)
            } else {
                match self.step(now).await {
                    Ok(at) => at,
                    Err(e) => {
                        tracing::error!("cron can't go on, trying again: {e:#}");
                        (self.stale, self.marks_stale) = (true, true);
                        self.not_before = Micros::now().plus(AGAIN);
                        Some(self.not_before)
                    }
                }
            };
            let pause = wake_at.map_or(LOOK, |at| at.since(Micros::now()).min(LOOK));
            tokio::select! {
                changed = shutdown.changed() => if changed.is_err() || *shutdown.borrow() { return },
                Some(note) = notes.recv() => {
                    self.note(note).await;
                    // ends come in crowds, as ticks do
                    while let Ok(note) = notes.try_recv() {
                        self.note(note).await;
                    }
                }
                Ok(()) = bell.changed() => {
                    bell.borrow_and_update();
                    self.stale = true;
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Everything that is due; says when to look again.
    async fn step(&mut self, now: Micros) -> anyhow::Result<Option<Micros>> {
        if self.stale {
            self.read().await?;
        }
        self.claim(now).await?;
        for dyno in self.start().await? {
            self.stale |= self.end_unstarted(dyno).await?;
        }
        self.stop(Micros::now());
        self.tell(now);
        if self.stale {
            return Ok(Some(now));
        }
        let ticks = self.jobs.values().filter_map(|j| j.next);
        let waiting = self.open.values().filter(|o| o.not_before > now);
        let limits = self.open.values().filter_map(|o| self.limit(o));
        let alerts = self.alerts.values().filter(|a| a.not_before > now);
        let all = ticks
            .chain(waiting.map(|o| o.not_before))
            .chain(limits.filter(|at| *at > now))
            .chain(alerts.map(|a| a.not_before));
        Ok(all.min())
    }

    /// Takes what the store says: entries, marks, open runs, alerts.
    async fn read(&mut self) -> anyhow::Result<()> {
        let ops = self.hands.ops.clone();
        let desired = ops.desired().await?;
        let (open, alerts) = ops.cron_open().await?;
        let open: BTreeMap<_, _> = open.into_iter().map(|o| (o.dyno, o)).collect();
        let before = std::mem::replace(&mut self.open, open);
        for (dyno, old) in before {
            if !self.open.contains_key(&dyno) {
                self.look_again(&(old.app, old.run.entry));
            }
        }
        self.alerts = alerts.into_iter().map(|a| (a.id.clone(), a)).collect();
        let version = |w: &AppWish| w.current.as_ref().map(|r| r.version);
        let seen = Seen {
            current: desired
                .apps
                .iter()
                .map(|(id, w)| (*id, version(w)))
                .collect(),
            own: ops.cron_seen().await?,
        };
        if self.marks_stale || seen != self.seen {
            self.marks = ops.cron_marks().await?;
            let jobs = ops.cron_jobs(&desired).await?;
            self.put_in_force(jobs).await?;
            (self.seen, self.marks_stale) = (seen, false);
        }
        self.stale = false;
        Ok(())
    }

    /// New entries, and those whose schedule is new, begin now; those that are gone lose their mark.
    async fn put_in_force(&mut self, jobs: Vec<CronJob>) -> anyhow::Result<()> {
        let mut old = std::mem::take(&mut self.jobs);
        for job in jobs {
            let key = (job.app, job.entry.name.clone());
            let print = job.print();
            let mut next = Some(Micros(0));
            let schedule = match old.remove(&key) {
                Some(known) if known.print == print && known.job.entry == job.entry => {
                    next = known.next;
                    Ok(known.schedule)
                }
                _ => Schedule::of(&job.entry, job.app),
            };
            match schedule {
                Ok(schedule) => {
                    let job = Job {
                        job,
                        schedule,
                        print,
                        next,
                    };
                    self.jobs.insert(key, job);
                }
                // read at the push: only another table of time zones makes it this
                Err(e) => tracing::error!("the cron entry {} can't be used: {e}", key.1),
            }
        }
        let fits = |key: &Key, job: &Job| self.marks.get(key).is_some_and(|m| m.print == job.print);
        let new: Vec<_> = self
            .jobs
            .iter()
            .filter(|(key, job)| !fits(key, job))
            .map(|((app, name), job)| (*app, name.clone(), job.print.clone()))
            .collect();
        let gone: Vec<Key> = self
            .marks
            .keys()
            .filter(|k| !self.jobs.contains_key(k))
            .cloned()
            .collect();
        for key in &gone {
            self.marks.remove(key);
        }
        let marks = self
            .hands
            .ops
            .cron_in_force(&new, &gone, Micros::now())
            .await?;
        for (key, mark) in marks {
            self.look_again(&key);
            self.marks.insert(key, mark);
        }
        Ok(())
    }

    fn look_again(&mut self, key: &Key) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.next = Some(Micros(0));
        }
    }

    /// Decides the ticks that have come and commits that.
    async fn claim(&mut self, now: Micros) -> anyhow::Result<()> {
        let mut under_way: BTreeMap<Key, usize> = BTreeMap::new();
        for open in self.open.values() {
            *under_way
                .entry((open.app, open.run.entry.clone()))
                .or_default() += 1;
        }
        let mut all = vec![];
        for (key, job) in &mut self.jobs {
            let Some(mark) = self
                .marks
                .get(key)
                .filter(|_| job.next.is_some_and(|at| at <= now))
            else {
                continue;
            };
            if job.job.paused_by.is_some() {
                job.next = None;
                continue;
            }
            let entry = &job.job.entry;
            let n = under_way.get(key).copied().unwrap_or(0);
            let said = judge(entry, &job.schedule, mark.until, n, now);
            job.next = said.wake_at;
            if said.claims.is_empty() && said.until == mark.until {
                continue;
            }
            let dyno = || DynoId(uuid::Uuid::now_v7().as_u128());
            all.push(Claimed {
                app: key.0,
                entry: entry.clone(),
                mark: mark.clone(),
                until: said.until,
                claims: said.claims.into_iter().map(|c| (c, dyno())).collect(),
                replaces: said.replaces,
            });
        }
        if all.is_empty() {
            return Ok(());
        }
        fault::point("cron-before-claim");
        let done = self.hands.ops.cron_claim(&all, self.jobs.len()).await?;
        fault::point("cron-after-claim");
        // somebody else's marks: they are read again
        let lost = done.marks.len() < all.len();
        (self.stale, self.marks_stale) = (self.stale | lost, self.marks_stale | lost);
        for (key, mark) in done.marks {
            self.marks.insert(key, mark);
        }
        for (app, run) in &done.said {
            self.say(*app, run);
        }
        for open in done.open {
            self.open.insert(open.dyno, open);
        }
        for c in all.iter().filter(|c| c.replaces) {
            let new: BTreeSet<DynoId> = c.claims.iter().map(|(_, d)| *d).collect();
            for open in self.open.values_mut() {
                let same = open.app == c.app && open.run.entry == c.entry.name;
                open.replaced |= same && !new.contains(&open.dyno);
            }
        }
        Ok(())
    }

    /// A line in the app's log about a tick that came to nothing.
    fn say(&self, app: AppId, run: &Run) {
        let at = run.tick.map(crate::sys::clock::rfc3339).unwrap_or_default();
        let text = match (run.status, run.ticks) {
            (Status::Missed, 1) => format!("Missed its run of {at}: {}", run.reason),
            (Status::Missed, n) => format!("Missed {n} runs, the last of {at}: {}", run.reason),
            (_, 1) => format!("Skipped its run of {at}: {}", run.reason),
            (_, n) => format!("Skipped {n} runs, the last of {at}: {}", run.reason),
        };
        let dyno = format!("cron.{}", run.entry);
        self.hands.logs.write(app, "heroku", &dyno, &text);
    }

    async fn note(&mut self, note: Note) {
        let done = match note {
            Note::StartFailed(dyno, error) => self.start_failed(dyno, &error).await,
            Note::Exited {
                dyno,
                exit,
                stopped,
            } => self.exited(dyno, exit, stopped).await,
            Note::Told(alert, outcome) => self.was_told(*alert, outcome).await,
        };
        if let Err(e) = done {
            tracing::error!("the end of a cron run can't be written down, trying again: {e:#}");
        }
    }

    async fn start_failed(&mut self, dyno: DynoId, error: &str) -> anyhow::Result<()> {
        self.live.remove(&dyno);
        let end = End::unstarted(Micros::now());
        let reason = format!("it could not be started: {error}");
        self.end(dyno, &end, reason, None, None).await
    }

    async fn exited(&mut self, dyno: DynoId, exit: Exit, stopped: bool) -> anyhow::Result<()> {
        let hands = self.hands.clone();
        let remains = tokio::task::spawn_blocking(move || hands.supervisor.remains(dyno)).await?;
        if exit == Exit::Lost && remains.started_at.is_none() {
            return self.never_started(dyno).await;
        }
        let end = End {
            started_at: remains.started_at,
            ordered_at: remains.record.as_ref().map(|r| r.started_at),
            ended_at: remains.ended_at.unwrap_or_else(Micros::now),
            exit: Some(exit),
            stopped,
        };
        let reason = match exit {
            Exit::Code(_) => String::new(),
            other => other.to_string(),
        };
        fault::point("cron-before-end");
        let release = remains.record.map(|r| r.version);
        let peak = remains.peak_memory;
        if let Err(e) = self.end(dyno, &end, reason, release, peak).await {
            // kept on disk: it comes back until it is written down
            let told = self.told.clone();
            tokio::spawn(async move {
                tokio::time::sleep(AGAIN).await;
                pass(
                    &told,
                    Note::Exited {
                        dyno,
                        exit,
                        stopped,
                    },
                );
            });
            return Err(e);
        }
        fault::point("cron-after-end");
        self.live.remove(&dyno);
        self.hands.supervisor.forget(dyno).await;
        Ok(())
    }

    /// Its agent died while it was being started, and nothing came of it.
    async fn never_started(&mut self, old: DynoId) -> anyhow::Result<()> {
        // first, so that a shim that is late finds no folder
        self.hands.supervisor.forget(old).await;
        let new = DynoId(uuid::Uuid::now_v7().as_u128());
        self.hands.ops.cron_another_dyno(old, new).await?;
        self.live.remove(&old);
        self.stale = true;
        Ok(())
    }

    /// A run that will never be started: its app has nothing to run, or the next run replaces it.
    async fn end_unstarted(&mut self, dyno: DynoId) -> anyhow::Result<bool> {
        let end = End::unstarted(Micros::now());
        let replaced = self.open.get(&dyno).is_some_and(|o| o.replaced);
        let reason = match replaced {
            true => "the next run came before it was started",
            false => "the app has no code to run",
        };
        self.end(dyno, &end, reason.into(), None, None).await?;
        Ok(true)
    }

    async fn end(
        &mut self,
        dyno: DynoId,
        end: &End,
        reason: String,
        release: Option<u32>,
        peak_memory: Option<u64>,
    ) -> anyhow::Result<()> {
        let Some(open) = self.open_run(dyno).await? else {
            return Ok(());
        };
        let mut run = open.run.clone();
        (run.started_at, run.ended_at) = (end.started_at, Some(end.ended_at));
        (run.release, run.peak_memory) = (release.or(run.release), peak_memory);
        run.exit_code = end.exit.filter(|e| *e != Exit::Lost).map(Exit::status);
        run.reason = reason;
        let (logs, app, entry, n) = (
            self.hands.logs.clone(),
            open.app,
            run.entry.clone(),
            run.number,
        );
        if end.started_at.is_some() {
            // before the end is written: what is in the history has its output
            let keep = move || logs.keep_run(app, dyno, &entry, n);
            tokio::task::spawn_blocking(keep).await?;
        }
        let ended = Ended {
            dyno,
            after: after(&open, end),
            run,
            next: DynoId(uuid::Uuid::now_v7().as_u128()),
        };
        let retry = ended.after.retry;
        if let Some(run) = self.hands.ops.cron_end(&ended, self.jobs.len()).await?
            && let Some(pause) = retry
        {
            let text = format!(
                "Run {} {}, trying again in {} s",
                run.number,
                run.status.as_str(),
                pause.as_secs()
            );
            let label = format!("cron.{}", run.entry);
            self.hands.logs.write(app, "heroku", &label, &text);
        }
        self.stale = true;
        self.sweep(app);
        Ok(())
    }

    /// The open run, from memory or else from the store: a run that was asked for may end before it was heard of.
    async fn open_run(&self, dyno: DynoId) -> anyhow::Result<Option<Open>> {
        if let Some(open) = self.open.get(&dyno) {
            return Ok(Some(open.clone()));
        }
        let (open, _) = self.hands.ops.cron_open().await?;
        Ok(open.into_iter().find(|o| o.dyno == dyno))
    }

    /// Now and then, the oldest outputs go.
    fn sweep(&mut self, app: AppId) {
        let now = Micros::now();
        let last = self.swept.entry(app).or_default();
        if now.since(*last) < Duration::from_secs(60) {
            return;
        }
        *last = now;
        let (logs, budget) = (self.hands.logs.clone(), self.hands.config.now().retain.logs);
        tokio::task::spawn_blocking(move || logs.sweep_runs(app, budget));
    }

    /// When this run's time is up.
    fn limit(&self, open: &Open) -> Option<Micros> {
        let live = self.live.get(&open.dyno).filter(|l| !l.stop_ordered)?;
        Some(live.since.plus(Duration::from_secs(open.timeout)))
    }

    /// Stops what runs too long, and what is replaced.
    fn stop(&mut self, now: Micros) {
        for open in self.open.values() {
            let up = self.limit(open).is_some_and(|at| at <= now);
            let Some(live) = self.live.get_mut(&open.dyno).filter(|l| !l.stop_ordered) else {
                continue;
            };
            if !up && !open.replaced {
                continue;
            }
            live.stop_ordered = true;
            let label = format!("cron.{}", open.run.entry);
            let text = match open.replaced {
                true => "Stopping it for the next run".to_owned(),
                false => format!("Stopping it: its time limit of {} s is up", open.timeout),
            };
            self.hands.logs.write(open.app, "heroku", &label, &text);
            let (to, dyno) = (self.to_loop.clone(), open.dyno);
            let event = Internal::Event(Box::new(Event::StopAsked { dyno }));
            tokio::spawn(async move { to.send(event).await });
        }
    }

    /// May this one be started now? One that has to be alone waits for those before it.
    fn is_free(&self, open: &Open) -> bool {
        let mine = |o: &&Open| o.app == open.app && self.live.contains_key(&o.dyno);
        let of_app = self.open.values().filter(mine).count();
        let same = |o: &Open| o.dyno != open.dyno && o.run.entry == open.run.entry;
        of_app < MOST_RUNS && !(open.alone && self.open.values().filter(mine).any(same))
    }
}
