//! Limits of process types: hokku's own, beside the Platform API's sizes.

use super::{ApiState, fault::Result, input::Input};
use crate::{ops::Actor, sys::cgroup};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::{
    api::{Limits, LimitsPage, LimitsPatch},
    limits::TypeLimits,
};

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<LimitsPage>> {
    let app = state.ops.find_app(&app).await?;
    let limits = state.ops.limits(app.id).await?;
    let limits = limits.into_iter().map(|(kind, l)| shown(kind.as_str(), l));
    Ok(Json(LimitsPage {
        limits: limits.collect(),
        notices: cgroup::notices(),
    }))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<LimitsPatch>,
) -> Result<Json<Limits>> {
    let app = state.ops.find_app(&app).await?;
    let now = state
        .ops
        .set_limits(&actor, app.id, &body.r#type, &body.set, &body.unset)
        .await?;
    let line = format!("Set limits of {} by user {}", body.r#type, actor.user);
    state.note(app.id, &line);
    Ok(Json(shown(&body.r#type, now)))
}

fn shown(kind: &str, set: TypeLimits) -> Limits {
    Limits {
        r#type: kind.to_owned(),
        quota: set.quota(),
        set,
    }
}
