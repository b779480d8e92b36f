//! Dynos: list, run, restart, stop.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    link::To,
    view::time,
};
use crate::{
    control::{Command, DynoView, OneoffOrder},
    ops::{Actor, Restart},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::{
    DynoId, DynoName, ProcessType,
    api::{Dyno, RunDyno, Why},
    app::App,
    limits::{Size, TypeLimits},
};
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How long one may wait before attaching, in seconds.
pub(super) const ATTACH_TIME: i64 = 3600;

/// The longest a one-off may be told to live, in seconds.
const LONGEST_LIFE: u64 = 7 * 24 * 3600;

/// The terminal of a client that does not say how large it is.
const ROWS_COLS: (u16, u16) = (24, 80);

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Vec<Dyno>>> {
    let app = state.ops.find_app(&app).await?;
    let dynos = state.control.dynos(Some(app.id)).await;
    Ok(Json(state.view_dynos(&app, &dynos).await))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
) -> Result<Json<Dyno>> {
    let app = state.ops.find_app(&app).await?;
    let dyno = find(&state, &app, &which).await?;
    let mut shown = state.view_dynos(&app, &dyno[..1]).await;
    shown.pop().map(Json).ok_or_else(|| missing(&app, &which))
}

pub(super) async fn why(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
) -> Result<Json<Vec<Why>>> {
    let app = state.ops.find_app(&app).await?;
    let name: DynoName = which.parse().map_err(|_| missing(&app, &which))?;
    let said = state.control.why(app.id, name.clone()).await;
    let shown = said.into_iter().map(|w| Why {
        name: name.to_string(),
        id: w.dyno.map(|d| d.to_string()),
        release: w.version,
        state: w.state.to_owned(),
        since: w.since.map(time),
        because: w.because,
        waits_for: w.waits_for,
        next: w.next,
        next_at: w.at.map(time),
        checks: w.checks,
    });
    Ok(Json(shown.collect()))
}

pub(super) async fn run(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<RunDyno>,
) -> Result<(StatusCode, Json<Dyno>)> {
    let app = state.ops.find_app(&app).await?;
    let (release, size) = (body.release.clone(), body.size.clone());
    let mut order = order(&app, &actor, body)?;
    if let Some(spec) = release {
        let there = state.ops.runnable_release(app.id, &spec).await?;
        order.release = Some(Box::new(there));
    }
    let attach = order.attach;
    let record = state.control.run(order).await.map_err(Fault::invalid)?;
    let line = format!(
        "Starting process with command `{}` by user {}",
        record.command, actor.user
    );
    state.note(app.id, &line);
    let view = DynoView {
        since: record.started_at,
        state: "starting",
        pid: 0,
        why: String::new(),
        record,
    };
    let id = view.record.id;
    let size = size.as_deref().and_then(Size::named);
    let mut dyno = state
        .view_dynos(&app, &[view])
        .await
        .pop()
        .unwrap_or_default();
    if let Some(size) = size {
        dyno.size = size.shown.into();
    }
    if attach {
        let secret = state.links.seal(To::Attach { dyno: id }, ATTACH_TIME)?;
        dyno.attach_url = Some(attach_url(&app, id, &secret));
    }
    Ok((StatusCode::CREATED, Json(dyno)))
}

pub(super) fn attach_url(app: &App, id: DynoId, secret: &str) -> String {
    format!("/hokku/apps/{}/dynos/{id}/attach?secret={secret}", app.name)
}

/// Reads what is to be run.
fn order(app: &App, actor: &Actor, body: RunDyno) -> Result<OneoffOrder> {
    let command = match body.argv {
        Some(argv) if argv.first().is_none_or(String::is_empty) => {
            return Err(Fault::invalid(
                "The field \"argv\" names no program: its first word is missing.",
            ));
        }
        Some(argv) => Command::Argv(argv),
        None if body.command.trim().is_empty() => {
            return Err(Fault::invalid("Say what to run, in the field \"command\"."));
        }
        None => Command::Line(body.command),
    };
    let words: &[String] = match &command {
        Command::Argv(argv) => argv,
        Command::Line(line) => std::slice::from_ref(line),
    };
    if words.iter().any(|w| w.contains('\0')) {
        return Err(Fault::invalid("A command can't have NUL characters in it."));
    }
    let mut env = BTreeMap::new();
    for (name, value) in body.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.0.contains('\0') {
            return Err(Fault::invalid(format!(
                "The environment variable {name:?} can't be set: a name has no '=', and neither name nor value a NUL."
            )));
        }
        env.insert(name, value.0);
    }
    let kind = body.r#type.as_deref().unwrap_or("run");
    let kind: ProcessType = kind.parse().map_err(|e| Fault::invalid(format!("{e}")))?;
    let quota = match body.size {
        None => None,
        Some(size) => {
            let set = TypeLimits {
                size: Some(size),
                ..TypeLimits::default()
            };
            set.check().map_err(Fault::invalid)?;
            let run = app.limits.iter().find(|(k, _)| k.as_str() == "run");
            let own = app.limits.get(&kind).or(run.map(|(_, l)| l));
            let mut limits = own.cloned().unwrap_or_default();
            limits.set(&set);
            Some(Box::new(limits.quota()))
        }
    };
    if body
        .time_to_live
        .is_some_and(|t| !(1..=LONGEST_LIFE).contains(&t))
    {
        return Err(Fault::invalid(format!(
            "The field \"time_to_live\" has to be 1 to {LONGEST_LIFE} seconds."
        )));
    }
    let terminal = body.attach && body.force_no_tty != Some(true) && env.contains_key("TERM");
    let pty = terminal.then(|| {
        // the terminal itself knows its size from here on, also after it was changed; these two would hide that
        let mut size = |name: &str| {
            env.remove(name)?
                .parse()
                .ok()
                .filter(|n| (1..=4096).contains(n))
        };
        let (rows, cols) = (size("LINES"), size("COLUMNS"));
        (rows.unwrap_or(ROWS_COLS.0), cols.unwrap_or(ROWS_COLS.1))
    });
    Ok(OneoffOrder {
        purpose: hokku_model::dyno::Purpose::Run,
        app: app.id,
        user: actor.user.clone(),
        release: None,
        quota,
        kind,
        command,
        env,
        attach: body.attach,
        pty,
        time_to_live: body.time_to_live,
    })
}

pub(super) async fn restart_all(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
) -> Result<(StatusCode, Json<Value>)> {
    let app = state.ops.find_app(&app).await?;
    state.ops.restart(&actor, app.id, Restart::All).await?;
    Ok(accepted())
}

pub(super) async fn restart_type(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, kind)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>)> {
    let app = state.ops.find_app(&app).await?;
    let kind = kind.parse().map_err(|e| Fault::invalid(format!("{e}")))?;
    state
        .ops
        .restart(&actor, app.id, Restart::Type(kind))
        .await?;
    Ok(accepted())
}

/// A dyno by name or id, or a process type. A one-off ends: there is nothing to start again.
pub(super) async fn restart(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, which)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>)> {
    let app = state.ops.find_app(&app).await?;
    let dynos = find(&state, &app, &which).await;
    if let Ok(dynos) = &dynos
        && dynos.iter().all(|d| d.record.oneoff)
    {
        for dyno in dynos {
            state.control.stop(dyno.record.id).await;
        }
        return Ok(accepted());
    }
    let named = match &dynos {
        Ok(found) => found.first().map(|d| d.record.name.clone()),
        Err(_) => None,
    };
    let which = match (
        named,
        which.parse::<DynoName>(),
        which.parse::<ProcessType>(),
    ) {
        (Some(name), ..) | (None, Ok(name), _) => Restart::Dyno(name),
        (None, Err(_), Ok(kind)) => Restart::Type(kind),
        _ => return Err(missing(&app, &which)),
    };
    state.ops.restart(&actor, app.id, which).await?;
    Ok(accepted())
}

pub(super) async fn stop(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>)> {
    let app = state.ops.find_app(&app).await?;
    for dyno in find(&state, &app, &which).await? {
        state.control.stop(dyno.record.id).await;
    }
    Ok(accepted())
}

pub(super) async fn stop_type(
    State(state): State<ApiState>,
    Path((app, kind)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>)> {
    let app = state.ops.find_app(&app).await?;
    let mut dynos = state.control.dynos(Some(app.id)).await;
    dynos.retain(|d| d.record.name.kind.as_str() == kind);
    if dynos.is_empty() {
        let kind: String = kind.chars().take(64).collect();
        return Err(Fault::not_found(
            "formation",
            format!("{} runs no dyno of the process type {kind:?}.", app.name),
        ));
    }
    for dyno in dynos {
        state.control.stop(dyno.record.id).await;
    }
    Ok(accepted())
}

fn accepted() -> (StatusCode, Json<Value>) {
    (StatusCode::ACCEPTED, Json(json!({})))
}

/// The dynos of that name (two during a rollout) or id; at least one.
pub(super) async fn find(state: &ApiState, app: &App, which: &str) -> Result<Vec<DynoView>> {
    let id = which.parse::<DynoId>().ok();
    let mut dynos = state.control.dynos(Some(app.id)).await;
    dynos.retain(|d| Some(d.record.id) == id || d.record.name.to_string() == which);
    if dynos.is_empty() {
        return Err(missing(app, which));
    }
    Ok(dynos)
}

fn missing(app: &App, which: &str) -> Fault {
    let which: String = which.chars().take(64).collect();
    Fault::not_found(
        "dyno",
        format!(
            "Couldn't find the dyno {which:?} of {}; ask for the list with: app ps",
            app.name
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::{AppId, api::serde_value::Scalar};

    fn app() -> App {
        serde_json::from_value(json!({
            "id": AppId(1), "name": "myapp", "uid": 1, "formation": {}, "current": 1, "candidate": null,
            "next_version": 2, "restarts": {"all": 0}, "created_at": 0, "updated_at": 0,
        }))
        .unwrap()
    }

    #[test]
    fn a_terminal_needs_an_attached_client_with_term() {
        let env = |names: &[(&str, &str)]| {
            names
                .iter()
                .map(|(k, v)| ((*k).to_owned(), Scalar((*v).to_owned())))
                .collect::<BTreeMap<_, _>>()
        };
        let with = |attach, no_tty, e| {
            let body = RunDyno {
                attach,
                command: "bash".into(),
                env: e,
                force_no_tty: no_tty,
                ..RunDyno::default()
            };
            order(&app(), &Actor::root(), body).unwrap()
        };
        let full = env(&[("TERM", "xterm"), ("LINES", "50"), ("COLUMNS", "132")]);
        let o = with(true, None, full.clone());
        assert_eq!(o.pty, Some((50, 132)));
        assert_eq!(o.env.into_keys().collect::<Vec<_>>(), ["TERM"]);
        assert_eq!(with(true, Some(true), full.clone()).pty, None);
        assert_eq!(with(false, None, full).pty, None);
        assert_eq!(with(true, None, env(&[])).pty, None);
        let odd = env(&[("TERM", "x"), ("LINES", "0"), ("COLUMNS", "99999999")]);
        assert_eq!(with(true, None, odd).pty, Some(ROWS_COLS));
    }

    #[test]
    fn what_cant_be_run_is_refused_in_words() {
        let no = |json: Value| {
            let body = serde_json::from_value(json).unwrap();
            order(&app(), &Actor::root(), body)
                .unwrap_err()
                .body
                .message
        };
        assert!(no(json!({})).contains("command"));
        assert!(no(json!({"argv": []})).contains("argv"));
        assert!(no(json!({"command": "a\u{0}"})).contains("NUL"));
        assert!(no(json!({"command": "a", "env": {"A=B": "1"}})).contains("A=B"));
        assert!(no(json!({"command": "a", "type": "a b"})).contains("a b"));
        assert!(no(json!({"command": "a", "size": "huge"})).contains("standard-2x"));
        assert!(no(json!({"command": "a", "time_to_live": 0})).contains("time_to_live"));
    }
}
