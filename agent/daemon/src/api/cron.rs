//! Cron: hokku's own paths, beside the Platform API.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    view::time,
};
use crate::{
    alert,
    ops::{Actor, CronJob},
};
use axum::{
    Extension, Json,
    extract::{Path, Query, State},
};
use hokku_core::cron::schedule::Schedule;
use hokku_model::{
    AppId, DynoId, Micros,
    cron::{
        Alerts, AlertsPatch, EntryName, EntryPatch, KIND, PausePatch, Run, Shown, ShownAlerts,
        ShownRun, Status, dyno_number,
    },
};
use http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Next times that are shown of an entry.
const NEXT: usize = 5;

/// Runs that are shown when nobody says how many, and at most.
const RUNS: u32 = 50;
const MOST_RUNS: u32 = 2000;

/// Dynos that are there, and when their processes began.
type Live = BTreeMap<DynoId, Micros>;

async fn live(state: &ApiState, app: AppId) -> Live {
    let dynos = state.control.dynos(Some(app)).await.into_iter();
    let up = |state: &str, since| {
        if state == "starting" {
            None
        } else {
            Some(since)
        }
    };
    dynos
        .filter(|d| d.record.oneoff)
        .map(|d| {
            (
                d.record.id,
                up(d.state, d.since).unwrap_or(d.record.started_at),
            )
        })
        .collect()
}

fn shown(run: &Run, live: &Live, now: Micros) -> ShownRun {
    let since = run.dyno.and_then(|d| live.get(&d)).copied();
    let started = run.started_at.or(since.filter(|_| run.ended_at.is_none()));
    let status = match run.status {
        Status::Waiting if since.is_some() => Status::Running,
        other => other,
    };
    let ms = |a: Micros, b: Micros| u64::try_from(b.since(a).as_millis()).unwrap_or(u64::MAX);
    ShownRun {
        entry: run.entry.to_string(),
        number: run.number,
        trigger: run.trigger.as_str().into(),
        status: status.as_str().into(),
        tick: run.tick.map(time),
        ticks: run.ticks,
        attempt: run.attempt,
        user: run.user.clone(),
        dyno: run.dyno.map(|d| d.to_string()),
        dyno_name: run.dyno.map(|d| format!("{KIND}.{}", dyno_number(d))),
        release: run.release,
        started_at: started.map(time),
        ended_at: run.ended_at.map(time),
        duration_ms: started.map(|s| ms(s, run.ended_at.unwrap_or(now))),
        late_ms: run.tick.zip(started).map(|(t, s)| ms(t, s)),
        exit_code: run.exit_code,
        peak_memory: run.peak_memory,
        reason: run.reason.clone(),
    }
}

fn entry(job: CronJob, last: Option<Run>, live: &Live, now: Micros) -> Shown {
    let schedule = Schedule::of(&job.entry, job.app);
    let mut next = vec![];
    let mut describes = String::new();
    if let Ok(schedule) = &schedule {
        describes = schedule.describe();
        let mut at = now;
        while let Some(tick) = schedule.next(at).filter(|_| next.len() < NEXT) {
            next.push(time(tick));
            at = tick;
        }
    }
    if job.paused_by.is_some() {
        next.clear();
    }
    Shown {
        source: job.source.as_str().into(),
        paused_by: job.paused_by.map(str::to_owned),
        describes,
        next,
        last: last.map(|r| shown(&r, live, now)),
        entry: job.entry,
    }
}

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Vec<Shown>>> {
    let app = state.ops.find_app(&app).await?;
    let (live, now) = (live(&state, app.id).await, Micros::now());
    let all = state.ops.cron(app.id).await?.into_iter();
    let all = all.map(|(job, last)| entry(job, last, &live, now));
    Ok(Json(all.collect()))
}

async fn one(state: &ApiState, app: AppId, name: &str) -> Result<Json<Shown>> {
    let (live, now) = (live(state, app).await, Micros::now());
    let all = state.ops.cron(app).await?.into_iter();
    let mut all = all.filter(|(job, _)| job.entry.name.as_str() == name);
    let (job, last) = all.next().ok_or_else(|| {
        let name: String = name.chars().take(60).collect();
        Fault::not_found(
            "cron",
            format!("Couldn't find the cron entry {name:?}. See: app cron"),
        )
    })?;
    Ok(Json(entry(job, last, &live, now)))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path((app, name)): Path<(String, String)>,
) -> Result<Json<Shown>> {
    let app = state.ops.find_app(&app).await?;
    one(&state, app.id, &name).await
}

pub(super) async fn add(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<EntryPatch>,
) -> Result<(StatusCode, Json<Shown>)> {
    let app = state.ops.find_app(&app).await?;
    let new = state.ops.cron_add(&actor, app.id, &body).await?;
    let line = format!("Add cron entry {} by user {}", new.name, actor.user);
    state.note(app.id, &line);
    let shown = one(&state, app.id, new.name.as_str()).await?;
    Ok((StatusCode::CREATED, shown))
}

pub(super) async fn edit(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, name)): Path<(String, String)>,
    Input(body): Input<EntryPatch>,
) -> Result<Json<Shown>> {
    let app = state.ops.find_app(&app).await?;
    state.ops.cron_edit(&actor, app.id, &name, &body).await?;
    let line = format!("Change cron entry {name} by user {}", actor.user);
    state.note(app.id, &line);
    one(&state, app.id, &name).await
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, name)): Path<(String, String)>,
) -> Result<Json<hokku_model::cron::Entry>> {
    let app = state.ops.find_app(&app).await?;
    let gone = state.ops.cron_remove(&actor, app.id, &name).await?;
    let line = format!("Remove cron entry {name} by user {}", actor.user);
    state.note(app.id, &line);
    Ok(Json(gone))
}

pub(super) async fn pause(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<PausePatch>,
) -> Result<Json<Vec<Shown>>> {
    let record = state.ops.find_app(&app).await?;
    let name = body.name.as_deref();
    let on = body.paused;
    state.ops.cron_pause(&actor, record.id, name, on).await?;
    let what = if on { "Pause" } else { "Resume" };
    let which = name.map_or("all cron entries".into(), |n| format!("cron entry {n}"));
    state.note(record.id, &format!("{what} {which} by user {}", actor.user));
    list(State(state), Path(app)).await
}

pub(super) async fn run(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, name)): Path<(String, String)>,
) -> Result<(StatusCode, Json<ShownRun>)> {
    let app = state.ops.find_app(&app).await?;
    let run = state.ops.cron_run(&actor, app.id, &name).await?;
    let line = format!("Run cron entry {name} by user {}", actor.user);
    state.note(app.id, &line);
    let shown = shown(&run, &Live::new(), Micros::now());
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Which runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    entry: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn runs(
    State(state): State<ApiState>,
    Path(app): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<ShownRun>>> {
    let app = state.ops.find_app(&app).await?;
    let name = which.entry.map(|n| n.parse::<EntryName>());
    let name = name
        .transpose()
        .map_err(|e| Fault::invalid(format!("{e}.")))?;
    let most = which.limit.unwrap_or(RUNS).clamp(1, MOST_RUNS);
    let (live, now) = (live(&state, app.id).await, Micros::now());
    let all = state.ops.cron_history(app.id, name.as_ref(), most).await?;
    Ok(Json(all.iter().map(|r| shown(r, &live, now)).collect()))
}

/// One run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OneRun {
    run: Option<u32>,
}

pub(super) async fn output(
    State(state): State<ApiState>,
    Path((app, name)): Path<(String, String)>,
    Query(which): Query<OneRun>,
) -> Result<String> {
    let app = state.ops.find_app(&app).await?;
    let run = state.ops.cron_find_run(app.id, &name, which.run).await?;
    let gone = || {
        Fault::not_found(
            "cron-run",
            match run.dyno {
                Some(_) if run.ended_at.is_some() => format!(
                    "The output of run {} of {name} is not there: it wrote none, or it was deleted, because only the newest outputs are kept (setting retain.logs).",
                    run.number
                ),
                Some(_) => format!("Run {} of {name} has written nothing yet.", run.number),
                None => format!(
                    "Run {} of {name} was never started: {}.",
                    run.number, run.reason
                ),
            },
        )
    };
    let dyno = run.dyno.ok_or_else(gone)?;
    let (logs, entry, n) = (state.control.logs().clone(), run.entry.clone(), run.number);
    let read = move || logs.run_output(app.id, dyno, &entry, n);
    let lines = tokio::task::spawn_blocking(read).await.ok().flatten();
    let lines = lines.ok_or_else(gone)?;
    Ok(lines.into_iter().map(|l| format!("{l}\n")).collect())
}

fn hidden(alerts: &Alerts) -> ShownAlerts {
    ShownAlerts {
        webhook: alerts.webhook.as_deref().map(alert::host),
        email: alerts.email.as_ref().map(|e| e.to.clone()),
        smtp: alerts.email.as_ref().map(|e| alert::host(&e.smtp)),
        command: alerts.command.clone(),
    }
}

pub(super) async fn alerts(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<ShownAlerts>> {
    let app = state.ops.find_app(&app).await?;
    Ok(Json(hidden(&state.ops.cron_alerts(app.id).await?)))
}

pub(super) async fn set_alerts(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<AlertsPatch>,
) -> Result<Json<ShownAlerts>> {
    let app = state.ops.find_app(&app).await?;
    let AlertsPatch { set, unset } = body;
    alert::check(set.webhook.as_deref(), set.email.as_ref()).map_err(Fault::invalid)?;
    let now = state
        .ops
        .set_cron_alerts(&actor, app.id, &set, &unset)
        .await?;
    state.note(app.id, &format!("Set cron alerts by user {}", actor.user));
    Ok(Json(hidden(&now)))
}

pub(super) async fn test_alerts(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<(StatusCode, Json<ShownAlerts>)> {
    let app = state.ops.find_app(&app).await?;
    if !state.ops.cron_test_alert(app.id).await? {
        return Err(Fault::invalid(format!(
            "Nobody is told of cron trouble of {0} yet. Say who with: app cron:alerts --webhook URL -a {0}",
            app.name
        )));
    }
    let alerts = state.ops.cron_alerts(app.id).await?;
    Ok((StatusCode::ACCEPTED, Json(hidden(&alerts))))
}
