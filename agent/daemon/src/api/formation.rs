//! The formation: how many dynos of which process type.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    view::SIZE,
};
use crate::ops::{Actor, FormationLine};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::{
    api::{Formation, FormationPatch, FormationUpdate, Quantity},
    app::App,
};
use serde::Deserialize;

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Vec<Formation>>> {
    let app = state.ops.find_app(&app).await?;
    let lines = state.ops.formation(app.id).await?;
    Ok(Json(shown(&state, &app, &lines)))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path((app, kind)): Path<(String, String)>,
) -> Result<Json<Formation>> {
    let app = state.ops.find_app(&app).await?;
    let lines = state.ops.formation(app.id).await?;
    lines
        .iter()
        .find(|l| l.kind.as_str() == kind)
        .map(|l| Json(state.view_formation(&app, l)))
        .ok_or_else(|| Fault::not_found("formation", "Couldn't find that process type."))
}

pub(super) async fn batch(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<FormationPatch>,
) -> Result<Json<Vec<Formation>>> {
    let app = state.ops.find_app(&app).await?;
    let lines = scale(&state, &actor, &app, &body.updates).await?;
    Ok(Json(shown(&state, &app, &lines)))
}

/// The body of a change to one process type.
#[derive(Deserialize)]
pub(super) struct One {
    quantity: Option<Quantity>,
    size: Option<String>,
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, kind)): Path<(String, String)>,
    Input(body): Input<One>,
) -> Result<Json<Formation>> {
    let app = state.ops.find_app(&app).await?;
    let update = FormationUpdate {
        quantity: body.quantity,
        size: body.size,
        r#type: kind,
    };
    let lines = scale(&state, &actor, &app, &[update]).await?;
    lines
        .first()
        .map(|l| Json(state.view_formation(&app, l)))
        .ok_or_else(|| Fault::not_found("formation", "Couldn't find that process type."))
}

async fn scale(
    state: &ApiState,
    actor: &Actor,
    app: &App,
    updates: &[FormationUpdate],
) -> Result<Vec<FormationLine>> {
    let lines = state.ops.scale(actor, app.id, updates).await?;
    let to: Vec<String> = lines
        .iter()
        .map(|l| format!("{}@{}:{}", l.kind, l.quantity, l.size.unwrap_or(SIZE)))
        .collect();
    if !to.is_empty() {
        let line = format!("Scaled to {} by user {}", to.join(" "), actor.user);
        state.note(app.id, &line);
    }
    Ok(lines)
}

fn shown(state: &ApiState, app: &App, lines: &[FormationLine]) -> Vec<Formation> {
    lines.iter().map(|l| state.view_formation(app, l)).collect()
}
