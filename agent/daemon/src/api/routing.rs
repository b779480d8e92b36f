//! How an app's requests are handled; beside Heroku's API.

use super::{ApiState, fault::Result, input::Input};
use crate::ops::Actor;
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::said::{RoutingPatch, RoutingView};

pub(super) async fn show(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<RoutingView>> {
    let app = state.ops.find_app(&app).await?;
    Ok(Json(state.ops.routing(app.id).await?))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(patch): Input<RoutingPatch>,
) -> Result<Json<RoutingView>> {
    let app = state.ops.find_app(&app).await?;
    let (view, changed) = state.ops.patch_routing(&actor, app.id, &patch).await?;
    if changed {
        let at = match &patch.path {
            Some(path) => format!(" of {}", path.chars().take(100).collect::<String>()),
            None => String::new(),
        };
        let set: Vec<&str> = patch.set.keys().map(String::as_str).collect();
        let unset: Vec<&str> = patch.unset.iter().map(String::as_str).collect();
        for (verb, keys) in [("Set", set), ("Unset", unset)] {
            if !keys.is_empty() {
                let keys = keys.join(", ");
                state.note(
                    app.id,
                    &format!("{verb} routing{at} {keys} by user {}", actor.user),
                );
            }
        }
    }
    Ok(Json(view))
}
