//! Health checks: what is checked, how it went last, and checks made now.

use super::{
    ApiState,
    fault::{Fault, Result},
    view::time,
};
use crate::control::{DynoView, Last};
use axum::{
    Json,
    extract::{Path, State},
};
use futures_util::future::join_all;
use hokku_model::{
    ProcessType,
    app::App,
    checks::{CheckResult, CheckView, DynoChecks, TypeChecks},
    health::{Ask, Care, Check, OnFailure},
};
use std::collections::BTreeMap;

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Vec<TypeChecks>>> {
    let app = state.ops.find_app(&app).await?;
    let mut types = types(&state, &app).await?;
    for d in dynos(&state, &app).await {
        let results = d.record.care.checks.iter().enumerate();
        let last = state.control.checked(d.record.id);
        let results = results
            .map(|(i, c)| result(c, last.get(i).and_then(Option::as_ref)))
            .collect();
        add(&mut types, d, results);
    }
    Ok(Json(types.into_values().collect()))
}

pub(super) async fn run(
    State(state): State<ApiState>,
    Path((app, kind)): Path<(String, String)>,
) -> Result<Json<TypeChecks>> {
    let app = state.ops.find_app(&app).await?;
    let kind: ProcessType = kind.parse().map_err(|e| Fault::invalid(format!("{e}")))?;
    let mut types = types(&state, &app).await?;
    if !types.contains_key(&kind) {
        let text = format!("{} has no process type {kind}.", app.name);
        return Err(Fault::not_found("formation", text));
    }
    let mut all = dynos(&state, &app).await;
    all.retain(|d| d.record.name.kind == kind && d.pid != 0);
    let made = join_all(all.iter().map(|d| state.control.check_now(&d.record))).await;
    for (d, made) in all.into_iter().zip(made) {
        let mut own = d.record.care.checks.clone();
        if own.is_empty() {
            own.push(Check::default_of_web());
        }
        // there is one attempt by hand
        own.iter_mut().for_each(|c| c.attempts = 1);
        let results = own.iter().zip(&made);
        let results = results.map(|(c, l)| result(c, Some(l))).collect();
        add(&mut types, d, results);
    }
    Ok(Json(types.remove(&kind).unwrap_or_default()))
}

/// The types of the current release.
async fn types(state: &ApiState, app: &App) -> Result<BTreeMap<ProcessType, TypeChecks>> {
    let Some(current) = app.current else {
        return Ok(BTreeMap::new());
    };
    let release = state.ops.release(app.id, current).await?;
    let Some(slug) = release.slug else {
        return Ok(BTreeMap::new());
    };
    let kinds = slug.process_types.keys().filter(|k| !k.is_release());
    let of = |kind: &ProcessType| {
        let care = slug.app_json.care_of(kind);
        let shown = TypeChecks {
            r#type: kind.to_string(),
            checks: views(kind, &care),
            dynos: vec![],
        };
        (kind.clone(), shown)
    };
    Ok(kinds.map(of).collect())
}

/// Those of the formation.
async fn dynos(state: &ApiState, app: &App) -> Vec<DynoView> {
    let mut dynos = state.control.dynos(Some(app.id)).await;
    dynos.retain(|d| !d.record.oneoff);
    dynos
}

fn add(types: &mut BTreeMap<ProcessType, TypeChecks>, d: DynoView, results: Vec<CheckResult>) {
    if let Some(t) = types.get_mut(&d.record.name.kind) {
        t.dynos.push(DynoChecks {
            name: d.record.name.to_string(),
            release: d.record.version,
            state: d.state.to_owned(),
            why: d.why,
            results,
        });
    }
}

fn result(check: &Check, last: Option<&Last>) -> CheckResult {
    let state = match last {
        None => "unknown",
        Some(l) if l.outcome.is_ok() => "passes",
        Some(l) if l.failures >= check.attempts => "failed",
        Some(_) => "fails",
    };
    CheckResult {
        check: check.name.clone(),
        purpose: check.purpose.as_str().to_owned(),
        state: state.to_owned(),
        at: last.map(|l| time(l.at)),
        took_ms: last.map(|l| l.took.as_millis() as u64),
        failures: last.map_or(0, |l| l.failures),
        text: last
            .and_then(|l| l.outcome.clone().err())
            .unwrap_or_default(),
    }
}

fn views(kind: &ProcessType, care: &Care) -> Vec<CheckView> {
    if care.checks.is_empty() && kind.is_web() {
        let mut plain = view(&Check::default_of_web());
        plain.what = "the first answer to GET / on $PORT, whatever its status".into();
        return vec![plain];
    }
    care.checks.iter().map(view).collect()
}

fn view(check: &Check) -> CheckView {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    CheckView {
        name: check.name.clone(),
        purpose: check.purpose.as_str().to_owned(),
        what: what(check),
        attempts: check.attempts,
        timeout: seconds(check.timeout_ms),
        wait: seconds(check.wait_ms),
        initial_delay: seconds(check.delay_ms),
        warn: check.warn,
        on_failure: check.on_failure.as_ref().map(|f| match f {
            OnFailure::Command { argv } => format!("run `{}`", shell_words::join(argv)),
            OnFailure::Url { url } => format!("POST {url}"),
        }),
    }
}

fn what(check: &Check) -> String {
    let port = check
        .port
        .map_or("$PORT".to_owned(), |p| format!("port {p}"));
    match &check.ask {
        Ask::Http {
            path,
            content,
            headers,
        } => {
            let content = content.as_ref().map(|c| format!(", answered with {c:?}"));
            let host = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("host"));
            let host = host.map(|(_, v)| format!(" with Host: {v}"));
            let (host, content) = (host.unwrap_or_default(), content.unwrap_or_default());
            format!("GET {path} on {port}{host}{content}")
        }
        Ask::Tcp => format!("takes connections on {port}"),
        Ask::Listening => format!("a process listens on {port}"),
        Ask::Command { argv } => format!("`{}` ends with status 0", shell_words::join(argv)),
        Ask::Uptime { ms } => format!("has run for {} s", *ms as f64 / 1000.0),
    }
}
