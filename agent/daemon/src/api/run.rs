//! One-off dynos that people started: the list, and attaching to one again.

use super::{
    ApiState, dyno,
    fault::{Fault, Result},
    link::To,
    view::{time, user},
};
use crate::{control::DynoView, ops::Run};
use axum::{
    Json,
    extract::{Path, State},
};
use hokku_model::{app::App, run::OneOff};
use http::StatusCode;

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Vec<OneOff>>> {
    let app = state.ops.find_app(&app).await?;
    let dynos = state.control.dynos(Some(app.id)).await;
    let runs = state.ops.runs(app.id).await?;
    Ok(Json(runs.iter().map(|r| view(r, &dynos)).collect()))
}

/// A link to attach by. Whoever is attached stays connected, and gets nothing more.
pub(super) async fn attach(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
) -> Result<(StatusCode, Json<OneOff>)> {
    let app = state.ops.find_app(&app).await?;
    let dynos = state.control.dynos(Some(app.id)).await;
    let named = |r: &&Run| r.name.to_string() == which || r.dyno.to_string() == which;
    let runs = state.ops.runs(app.id).await?;
    let all: Vec<&Run> = runs.iter().filter(named).collect();
    let Some(run) = all.iter().find(|r| r.ended.is_none()).or(all.first()) else {
        return Err(missing(&app, &which));
    };
    let name = &run.name;
    let refused = |why: String| Fault::new(StatusCode::CONFLICT, why);
    if let Some((_, exit)) = run.ended {
        return Err(refused(format!("{name} has ended: {exit}.")));
    }
    if !run.attached {
        return Err(refused(format!(
            "{name} was started detached: it has no input, and its output is in its log. See it with: app run:logs {name} -t -a {}",
            app.name
        )));
    }
    let to = To::Attach { dyno: run.dyno };
    let secret = state.links.seal(to, dyno::ATTACH_TIME)?;
    let mut shown = view(run, &dynos);
    shown.attach_url = Some(dyno::attach_url(&app, run.dyno, &secret));
    Ok((StatusCode::CREATED, Json(shown)))
}

fn view(run: &Run, dynos: &[DynoView]) -> OneOff {
    let alive = dynos.iter().find(|d| d.record.id == run.dyno);
    let state = match (&run.ended, alive) {
        (Some(_), _) => "complete",
        (None, Some(d)) => d.state,
        // about to start, or its end is being written down
        (None, None) => "stopping",
    };
    OneOff {
        id: run.dyno.to_string(),
        name: run.name.to_string(),
        command: run.command.clone(),
        state: state.into(),
        user: user(&run.user),
        release: run.version,
        attachable: run.attached,
        terminal: run.terminal,
        created_at: time(run.at),
        ended_at: run.ended.as_ref().map(|(at, _)| time(*at)),
        status: run.ended.as_ref().map(|(_, exit)| exit.status()),
        end: run
            .ended
            .as_ref()
            .map(|(_, exit)| exit.to_string())
            .unwrap_or_default(),
        attach_url: None,
    }
}

fn missing(app: &App, which: &str) -> Fault {
    let which: String = which.chars().filter(|c| !c.is_control()).take(64).collect();
    Fault::not_found(
        "dyno",
        format!(
            "Couldn't find the one-off dyno {which:?} of {0}; ask for the list with: app run:list --all -a {0}",
            app.name
        ),
    )
}
