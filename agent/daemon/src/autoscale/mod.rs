//! Keeps the number of dynos of a process type to its load, where the app's owner asked for it.
//!
//! What it does: measures every [`EVERY`] (the router's figures, CPU and memory of dynos, jobs that the app counts), asks
//! `hokku_core::autoscale::decide`, carries the answer out as `ps:scale` would, writes it into the app's log, and tells
//! `app autoscale:explain` what it saw.
//! What it never does: decide; remember anything on disk (after a restart it measures anew); touch a type that was scaled
//! to 0 by hand; wait for jobs to be counted while it looks at other apps.
//! Who calls it: `run` starts [`keep`]. Where its tests are: the decision's in `hokku-core`, beside the code here, and
//! with real load in `tests/tests/e2e/autoscale.rs`.

mod depth;
mod figures;
mod usage;

use crate::{
    config::Config,
    control::{DynoView, Handle},
    ops::{Actor, Ops},
    router,
};
use figures::{Figures, Since};
use hokku_core::autoscale::{Decision, EVERY, Past, Sample, decide};
use hokku_model::{
    AppId, DynoId, Micros, ProcessType,
    api::{AutoscaleTold, FormationUpdate, Quantity},
    app::App,
    autoscale::{Autoscale, DepthFrom, Plan},
    limits::Quota,
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};
use usage::Look;

/// Jobs are counted this often: each count may be a dyno of its own.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// An older count says nothing any more.
const COUNT_HOLDS: Duration = Duration::from_secs(90);

/// That more is needed than may be had is said this often at most.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// Changes that are remembered for `autoscale:explain`.
const MOST_CHANGES: usize = 20;

/// What a dyno is taken to need where nothing was measured and nothing is limited.
const A_DYNO: u64 = 128 << 20;

/// What was decided last, for whoever asks.
pub type Told = BTreeMap<(AppId, ProcessType), AutoscaleTold>;

/// What the room works with.
pub struct Room {
    ops: Ops,
    control: Handle,
    config: Arc<Config>,
    /// The router's socket for figures.
    socket: PathBuf,
    told: watch::Sender<Told>,
}

impl Room {
    /// Puts the room together; `told` is what it says of its decisions.
    pub fn new(config: Arc<Config>, ops: Ops, control: Handle, told: watch::Sender<Told>) -> Room {
        let socket = router::dir(&config).join("metrics.sock");
        Room {
            ops,
            control,
            config,
            socket,
            told,
        }
    }
}

/// One process type that is followed.
type Key = (AppId, ProcessType);

/// What the room remembers between two looks.
#[derive(Default)]
struct Memory {
    pasts: BTreeMap<Key, Past>,
    figures: BTreeMap<String, Figures>,
    looks: BTreeMap<DynoId, Look>,
    counts: BTreeMap<Key, Counted>,
    said: BTreeMap<Key, Instant>,
    /// When figures and looks were taken.
    at: Option<Instant>,
    counting: JoinSet<(Key, anyhow::Result<f64>)>,
}

/// Jobs of one type.
struct Counted {
    /// The last count began.
    began: Instant,
    /// Its answer; `None` while the first one is awaited.
    answer: Option<(Instant, Result<f64, String>)>,
    under_way: bool,
}

/// Follows until shutdown; at rest while no app asks for it.
pub async fn keep(room: Room, mut shutdown: watch::Receiver<bool>) {
    let mut bell = room.ops.bell();
    let mut memory = Memory::default();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        bell.borrow_and_update();
        let apps = match room.ops.apps().await {
            Ok(apps) => apps
                .into_iter()
                .filter(|a| !a.autoscale.is_empty())
                .collect::<Vec<_>>(),
            Err(e) => {
                tracing::error!("the store can't be read, so nothing is scaled: {e}");
                vec![]
            }
        };
        if apps.is_empty() {
            memory = Memory::default();
            room.told
                .send_if_modified(|t| !std::mem::take(t).is_empty());
            tokio::select! {
                _ = shutdown.wait_for(|s| *s) => return,
                changed = bell.changed() => if changed.is_err() { return },
            }
            tick.reset();
            continue;
        }
        tokio::select! {
            _ = shutdown.wait_for(|s| *s) => return,
            _ = tick.tick() => {}
        }
        room.follow(apps, &mut memory).await;
    }
}

impl Room {
    async fn follow(&self, apps: Vec<App>, memory: &mut Memory) {
        let views = self.control.dynos(None).await;
        let now = Instant::now();
        let seconds = memory.at.map(|t| now.duration_since(t).as_secs_f64());
        let figures = figures::ask(&self.socket).await.unwrap_or_else(|e| {
            tracing::warn!("autoscaling goes without the router's figures: {e:#}");
            BTreeMap::new()
        });
        let followed = |v: &&DynoView| {
            let app = apps.iter().find(|a| a.id == v.record.app);
            app.is_some_and(|a| a.autoscale.contains_key(&v.record.name.kind)) && !v.record.oneoff
        };
        let dynos: Vec<_> = views
            .iter()
            .filter(followed)
            .filter_map(usage::of)
            .collect();
        let looks = tokio::task::spawn_blocking(move || usage::look(&dynos))
            .await
            .unwrap_or_default();
        self.take_counts(memory);
        let mut kept = Told::new();
        for app in &apps {
            for (kind, plan) in &app.autoscale {
                let key = (app.id, kind.clone());
                let dynos: Vec<&DynoView> = views
                    .iter()
                    .filter(|v| {
                        v.record.app == app.id && v.record.name.kind == *kind && !v.record.oneoff
                    })
                    .collect();
                if let Some(from) = &plan.depth_from {
                    self.start_count(memory, &key, app, from);
                }
                let name = app.name.as_str();
                let since = match (memory.figures.get(name), figures.get(name), seconds) {
                    (Some(before), Some(f), Some(s)) if kind.is_web() => f.since(before, s),
                    _ => None,
                };
                let jobs = memory.counts.get(&key).and_then(|c| c.answer.as_ref());
                let measured = measure(plan, &dynos, &looks, &memory.looks, since, seconds, jobs);
                let told = self.decide(app, kind, plan, &measured, memory).await;
                kept.insert(key, told);
            }
        }
        memory.figures = figures;
        memory.looks = looks;
        memory.at = Some(now);
        memory.pasts.retain(|k, _| kept.contains_key(k));
        memory.counts.retain(|k, _| kept.contains_key(k));
        memory.said.retain(|k, _| kept.contains_key(k));
        self.told.send_replace(kept);
    }

    async fn decide(
        &self,
        app: &App,
        kind: &ProcessType,
        plan: &Plan,
        measured: &Measured,
        memory: &mut Memory,
    ) -> AutoscaleTold {
        let key = (app.id, kind.clone());
        let now = Micros::now();
        let wish = plan.at(minute_of_week(plan));
        let wanted = app.formation.get(kind).copied().unwrap_or(0);
        let past = memory.pasts.entry(key.clone()).or_default();
        if let Some(mut sample) = measured.sample {
            sample.at = now;
            past.add(sample);
        }
        let mut told = AutoscaleTold {
            at: crate::logs::now(),
            measured: measured.words(),
            missing: measured.missing.clone(),
            ..AutoscaleTold::default()
        };
        told.changes = self
            .told
            .borrow()
            .get(&key)
            .map(|t| t.changes.clone())
            .unwrap_or_default();
        if app.current.is_none() {
            told.why = "nothing was deployed yet".into();
            return told;
        }
        if wanted == 0 && wish.min > 0 {
            told.why = format!(
                "scaled to 0 by hand, and left alone until it is scaled up: app ps:scale {kind}={}",
                wish.min
            );
            return told;
        }
        let room = usage::room(measured.one_dyno);
        let decision = decide(&wish, past, wanted, room, now);
        told.why.clone_from(&decision.why);
        if decision.want == wanted {
            past.decided(&decision, wanted, now);
            self.say_short(app, kind, &decision, &mut memory.said);
            return told;
        }
        if let Err(e) = self.scale(app, kind, decision.want).await {
            told.why = format!("{}; it could not be ordered: {e}", decision.why);
            tracing::warn!(app = %app.name, %kind, "autoscale: {}", told.why);
            return told;
        }
        past.decided(&decision, wanted, now);
        let line = format!(
            "Scaled {kind} from {wanted} to {}: {}",
            decision.want,
            tail(&decision.why)
        );
        self.control
            .logs()
            .write(app.id, "heroku", "autoscale", &line);
        told.changes.insert(0, (told.at.clone(), line));
        told.changes.truncate(MOST_CHANGES);
        told
    }

    async fn scale(&self, app: &App, kind: &ProcessType, want: u32) -> anyhow::Result<()> {
        let update = FormationUpdate {
            r#type: kind.to_string(),
            quantity: Some(Quantity::Number(want)),
            size: None,
        };
        self.ops
            .scale(&Actor::new("autoscale"), app.id, &[update])
            .await?;
        Ok(())
    }

    /// More is needed than may be had: said now and then.
    fn say_short(
        &self,
        app: &App,
        kind: &ProcessType,
        decision: &Decision,
        said: &mut BTreeMap<Key, Instant>,
    ) {
        let key = (app.id, kind.clone());
        if !decision.short || said.get(&key).is_some_and(|t| t.elapsed() < SAY_AGAIN) {
            return;
        }
        said.insert(key, Instant::now());
        let line = format!("{kind} needs more dynos than it may have: {}", decision.why);
        self.control
            .logs()
            .write(app.id, "heroku", "autoscale", &line);
    }

    fn start_count(&self, memory: &mut Memory, key: &Key, app: &App, from: &DepthFrom) {
        let due = |c: &Counted| !c.under_way && c.began.elapsed() >= COUNT_EVERY;
        if app.current.is_none() || !memory.counts.get(key).is_none_or(due) {
            return;
        }
        let answer = memory.counts.remove(key).and_then(|c| c.answer);
        memory.counts.insert(
            key.clone(),
            Counted {
                began: Instant::now(),
                answer,
                under_way: true,
            },
        );
        let (control, key, id, from) = (self.control.clone(), key.clone(), app.id, from.clone());
        let host = match app.domains.first() {
            Some(host) => host.clone(),
            None => self.config.default_host(app.name.as_str()),
        };
        memory
            .counting
            .spawn(async move { (key, depth::count(&control, id, &from, &host).await) });
    }

    /// Takes what was counted meanwhile. A count that fails is said in the app's log when the one before did not.
    fn take_counts(&self, memory: &mut Memory) {
        while let Some(ended) = memory.counting.try_join_next() {
            let Ok(((app, kind), answer)) = ended else {
                continue;
            };
            let Some(counted) = memory.counts.get_mut(&(app, kind.clone())) else {
                continue;
            };
            counted.under_way = false;
            let answer = answer.map_err(|e| format!("{e:#}"));
            if let Err(e) = &answer
                && !matches!(&counted.answer, Some((_, Err(_))))
            {
                let line = format!("The jobs that wait for {kind} can't be counted: {e}");
                self.control.logs().write(app, "heroku", "autoscale", &line);
            }
            counted.answer = Some((Instant::now(), answer));
        }
    }
}

/// `2 to 4: CPU 90% of 50%` without what is said already.
fn tail(why: &str) -> &str {
    why.split_once(": ").map_or(why, |(_, rest)| rest)
}

/// The minute of the week where the schedule's clock is.
fn minute_of_week(plan: &Plan) -> u16 {
    let zone = plan
        .zone
        .as_deref()
        .and_then(|z| jiff::tz::TimeZone::get(z).ok());
    let now = jiff::Timestamp::now().to_zoned(zone.unwrap_or(jiff::tz::TimeZone::UTC));
    let day = u16::try_from(now.weekday().to_monday_zero_offset()).unwrap_or(0);
    let of_day = i32::from(now.hour()) * 60 + i32::from(now.minute());
    day * 1440 + u16::try_from(of_day).unwrap_or(0)
}

/// The bounds that hold now.
pub fn bounds(plan: &Plan) -> (u32, u32) {
    let Autoscale { min, max, .. } = plan.at(minute_of_week(plan));
    (min, max)
}

/// One look at one type.
#[derive(Default)]
struct Measured {
    /// `None` before there are two looks.
    sample: Option<Sample>,
    missing: Vec<String>,
    /// Bytes that one more dyno takes.
    one_dyno: u64,
}

fn measure(
    plan: &Plan,
    dynos: &[&DynoView],
    looks: &BTreeMap<DynoId, Look>,
    before: &BTreeMap<DynoId, Look>,
    since: Option<Since>,
    seconds: Option<f64>,
    jobs: Option<&(Instant, Result<f64, String>)>,
) -> Measured {
    let targets = &plan.wish.targets;
    let mut measured = Measured::default();
    let in_state = |state: &str| {
        let mut names: Vec<_> = dynos
            .iter()
            .filter(|d| d.state == state)
            .map(|d| d.record.name.index)
            .collect();
        names.sort_unstable();
        names.dedup();
        u32::try_from(names.len()).unwrap_or(u32::MAX)
    };
    let quota = |d: &DynoView| -> Quota { (*d.record.quota).clone() };
    let up: Vec<_> = dynos.iter().filter(|d| d.state == "up").collect();
    let seen = || {
        up.iter()
            .filter_map(|d| Some((quota(d), looks.get(&d.record.id)?, before.get(&d.record.id))))
    };
    let cpu = mean(seen().filter_map(|(q, look, before)| look.cpu_since(before?, &q)));
    let memory = mean(seen().filter_map(|(q, look, _)| look.memory_part(&q)));
    let used = mean(seen().map(|(_, look, _)| look.memory as f64)).unwrap_or(0.0) as u64;
    let limit = dynos.first().and_then(|d| quota(d).memory);
    measured.one_dyno = limit.unwrap_or_else(|| used.max(if used == 0 { A_DYNO } else { 1 << 20 }));
    if targets.memory.is_some() && memory.is_none() && !up.is_empty() {
        measured.missing.push("memory: its dynos have no memory limit to measure against; set one with app limits:set --memory".into());
    }
    let depth = match jobs {
        Some((at, Ok(n))) if at.elapsed() < COUNT_HOLDS => Some(*n),
        Some((_, Err(e))) => {
            measured.missing.push(format!("jobs: {e}"));
            None
        }
        _ => None,
    };
    let traffic = targets.queue_ms.is_some() || targets.inflight.is_some();
    if traffic && since.is_none() && seconds.is_some() {
        measured
            .missing
            .push("requests: the router told no figures of the app yet".into());
    }
    let Some(seconds) = seconds.filter(|s| *s > 0.0) else {
        return measured;
    };
    let since = since.unwrap_or_default();
    measured.sample = Some(Sample {
        at: Micros(0),
        seconds,
        up: in_state("up"),
        starting: in_state("starting"),
        requests: since.requests,
        refused: since.refused,
        queue_ms: since.queue_ms,
        inflight: since.inflight,
        cpu,
        memory,
        depth,
    });
    measured
}

fn mean(all: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = all.fold((0.0, 0u32), |(sum, n), x| (sum + x, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

impl Measured {
    fn words(&self) -> Vec<(String, String)> {
        let Some(s) = &self.sample else { return vec![] };
        let percent = |x: f64| format!("{:.0}%", x * 100.0);
        let mut all = vec![
            ("dynos", format!("{} up, {} starting", s.up, s.starting)),
            (
                "requests",
                format!(
                    "{:.1}/s, {} refused",
                    f64::from(s.requests) / s.seconds,
                    s.refused
                ),
            ),
            ("queue", format!("{:.0} ms (p95)", s.queue_ms)),
            (
                "in flight",
                format!("{:.1} per dyno", s.inflight / f64::from(s.up.max(1))),
            ),
        ];
        all.extend(s.cpu.map(|c| ("CPU", percent(c))));
        all.extend(s.memory.map(|m| ("memory", percent(m))));
        all.extend(s.depth.map(|d| ("jobs", format!("{d:.0}"))));
        all.into_iter()
            .map(|(name, text)| (name.to_owned(), text))
            .collect()
    }
}
