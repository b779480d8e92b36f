//! Process types that follow their load: hokku's own, beside the Platform API's formation.

use super::{ApiState, fault::Result, input::Input};
use crate::{autoscale, ops::Actor};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::{
    ProcessType,
    api::{AutoscaleLine, AutoscalePatch},
    app::App,
    autoscale::Plan,
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Vec<AutoscaleLine>>> {
    let app = state.ops.find_app(&app).await?;
    let lines = app
        .autoscale
        .iter()
        .map(|(kind, plan)| shown(&state, &app, kind, plan.clone()));
    Ok(Json(lines.collect()))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, kind)): Path<(String, String)>,
    Input(body): Input<AutoscalePatch>,
) -> Result<Json<AutoscaleLine>> {
    let app = state.ops.find_app(&app).await?;
    let (kind, plan) = state
        .ops
        .set_autoscale(&actor, app.id, &kind, &body)
        .await?;
    state.note(
        app.id,
        &format!("Set autoscale of {kind} by user {}", actor.user),
    );
    Ok(Json(shown(&state, &app, &kind, plan)))
}

/// `at` takes one entry of the schedule away.
#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    at: Option<String>,
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, kind)): Path<(String, String)>,
    Input(which): Input<Which>,
) -> Result<Json<Value>> {
    let app = state.ops.find_app(&app).await?;
    state
        .ops
        .unset_autoscale(&actor, app.id, &kind, which.at.as_deref())
        .await?;
    let what = match which.at {
        Some(_) => "Changed the schedule",
        None => "Ended autoscale",
    };
    state.note(app.id, &format!("{what} of {kind} by user {}", actor.user));
    Ok(Json(json!({})))
}

fn shown(state: &ApiState, app: &App, kind: &ProcessType, plan: Plan) -> AutoscaleLine {
    AutoscaleLine {
        r#type: kind.to_string(),
        quantity: app.formation.get(kind).copied().unwrap_or(0),
        bounds: autoscale::bounds(&plan),
        plan,
        told: state.scaled.borrow().get(&(app.id, kind.clone())).cloned(),
    }
}
