//! The fence of an app in the network: hokku's own, as Heroku has private spaces for that.

use super::{ApiState, fault::Result, input::Input};
use crate::ops::Actor;
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::{
    app::App,
    fence::{FencePatch, FenceView},
};

pub(super) async fn show(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<FenceView>> {
    let app = state.ops.find_app(&app).await?;
    Ok(Json(view(&state, &app)))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(patch): Input<FencePatch>,
) -> Result<Json<FenceView>> {
    let app = state.ops.find_app(&app).await?;
    let old = app.fence;
    let app = state.ops.set_fence(&actor, app.id, patch).await?;
    let word = |on| if on { "on" } else { "off" };
    for (what, before, now) in [
        ("imds", old.imds, app.fence.imds),
        ("private", old.private, app.fence.private),
    ] {
        if before != now {
            let text = format!("Isolation {what}={} by user {}", word(now), actor.user);
            state.note(app.id, &text);
        }
    }
    Ok(Json(view(&state, &app)))
}

fn view(state: &ApiState, app: &App) -> FenceView {
    FenceView {
        fence: app.fence,
        missing: state.no_fence.clone(),
    }
}
