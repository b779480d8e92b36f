//! Config vars.

use super::{ApiState, fault::Result, input::Input};
use crate::ops::Actor;
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::api::{ConfigChange, ConfigPatch, ConfigVars};

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<ConfigVars>> {
    let app = state.ops.find_app(&app).await?;
    Ok(Json(state.ops.config_vars(app.id).await?))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(patch): Input<ConfigPatch>,
) -> Result<Json<ConfigVars>> {
    change(&state, &actor, &app, patch).await
}

/// The same, with what the Platform API has no words for.
pub(super) async fn update_own(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<ConfigChange>,
) -> Result<Json<ConfigVars>> {
    let actor = actor.skipping_phase(body.skip_release_phase);
    change(&state, &actor, &app, body.vars).await
}

async fn change(
    state: &ApiState,
    actor: &Actor,
    app: &str,
    patch: ConfigPatch,
) -> Result<Json<ConfigVars>> {
    let app = state.ops.find_app(app).await?;
    let names = |set: bool| {
        let names: Vec<&str> = patch
            .iter()
            .filter(|(_, v)| v.is_some() == set)
            .map(|(k, _)| k.as_str())
            .collect();
        names.join(", ")
    };
    let (set, removed) = (names(true), names(false));
    let (vars, release) = state.ops.patch_config(actor, app.id, patch).await?;
    if let Some(release) = release {
        for (verb, names) in [("Set", set), ("Remove", removed)] {
            if !names.is_empty() {
                let line = format!("{verb} {names} config vars by user {}", actor.user);
                state.note(app.id, &line);
            }
        }
        let line = format!(
            "Release v{} created by user {}",
            release.version, actor.user
        );
        state.note(app.id, &line);
    }
    Ok(Json(vars))
}
