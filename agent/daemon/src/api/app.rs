//! Apps, and the lists of an app that are short or empty here.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    range::Range,
    view::{app_ref, derived_id, time, user},
};
use crate::ops::Actor;
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::Response,
};
use hokku_model::api::{self, CreateApp, UpdateApp};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) async fn list(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response> {
    let range = Range::of(&headers, "name")?;
    let mut all = vec![];
    for app in state.ops.apps().await? {
        all.push(state.view_app(&app).await?);
    }
    range.answer(all, |a: &api::App| a.name.clone())
}

pub(super) async fn create(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Input(body): Input<CreateApp>,
) -> Result<(StatusCode, Json<api::App>)> {
    let app = state.ops.create_app(&actor, body.name.as_deref()).await?;
    state.note(app.id, &format!("Initial release by user {}", actor.user));
    state.note(
        app.id,
        &format!("Release v1 created by user {}", actor.user),
    );
    Ok((StatusCode::CREATED, Json(state.view_app(&app).await?)))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<api::App>> {
    let app = state.ops.find_app(&app).await?;
    Ok(Json(state.view_app(&app).await?))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<UpdateApp>,
) -> Result<Json<api::App>> {
    let mut app = state.ops.find_app(&app).await?;
    if let Some(name) = body.name.filter(|n| *n != app.name.as_str()) {
        app = state.ops.rename_app(&actor, app.id, &name).await?;
    }
    if let Some(on) = body.maintenance.filter(|on| *on != app.maintenance) {
        app = state.ops.set_maintenance(&actor, app.id, on).await?;
        let word = if on { "enabled" } else { "disabled" };
        state.note(
            app.id,
            &format!("Maintenance mode {word} by user {}", actor.user),
        );
    }
    Ok(Json(state.view_app(&app).await?))
}

pub(super) async fn destroy(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
) -> Result<Json<api::App>> {
    let app = state.ops.find_app(&app).await?;
    let shown = state.view_app(&app).await?;
    state.ops.destroy_app(&actor, app.id).await?;
    Ok(Json(shown))
}

/// A list that is always empty; the app has to be there.
pub(super) async fn none(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Value>> {
    state.ops.find_app(&app).await?;
    Ok(Json(json!([])))
}

pub(super) async fn no_feature(
    State(state): State<ApiState>,
    Path((app, feature)): Path<(String, String)>,
) -> Result<Json<Value>> {
    state.ops.find_app(&app).await?;
    let feature: String = feature.chars().take(64).collect();
    Err(Fault::not_found(
        "feature",
        format!("There is no feature {feature:?} here."),
    ))
}

pub(super) async fn no_pipeline(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Value>> {
    let app = state.ops.find_app(&app).await?;
    Err(Fault::not_found(
        "pipeline_coupling",
        format!("{} is in no pipeline.", app.name),
    ))
}

pub(super) async fn collaborators(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Value>> {
    let app = state.ops.find_app(&app).await?;
    let owner = user(&state.owner(&app).await);
    Ok(Json(json!([{
        "app": app_ref(&app),
        "created_at": time(app.created_at),
        "id": derived_id(&["collaborator", &app.id.to_string(), &owner.email]),
        "permissions": [],
        "role": "owner",
        "updated_at": time(app.updated_at),
        "user": owner,
    }])))
}

pub(super) async fn buildpacks(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<Value>> {
    let app = state.ops.find_app(&app).await?;
    Ok(Json(installations(&app.buildpacks)))
}

#[derive(Deserialize)]
pub(super) struct Buildpacks {
    updates: Vec<Installation>,
}

#[derive(Deserialize)]
struct Installation {
    buildpack: String,
}

pub(super) async fn set_buildpacks(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<Buildpacks>,
) -> Result<Json<Value>> {
    let app = state.ops.find_app(&app).await?;
    let wanted = body.updates.into_iter().map(|i| i.buildpack).collect();
    let app = state.ops.set_buildpacks(&actor, app.id, wanted).await?;
    Ok(Json(installations(&app.buildpacks)))
}

fn installations(buildpacks: &[String]) -> Value {
    buildpacks
        .iter()
        .enumerate()
        .map(|(i, b)| json!({ "ordinal": i, "buildpack": { "url": b, "name": b } }))
        .collect()
}
