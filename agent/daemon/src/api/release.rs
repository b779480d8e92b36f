//! Releases and builds.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    output::Base,
    range::Range,
};
use crate::ops::Actor;
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::Response,
};
use hokku_model::{
    AppId,
    api::{self, ConfigVars, Retry, Rollback},
    release::Release,
};
use http::{HeaderMap, StatusCode};

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
    Base(base): Base,
    headers: HeaderMap,
) -> Result<Response> {
    let range = Range::of(&headers, "version")?;
    let app = state.ops.find_app(&app).await?;
    let eligible = state.ops.rollback_targets(app.id).await?;
    let mut all = vec![];
    for release in state.ops.releases(app.id).await? {
        let mut shown = state.view_release(&app, &release, &eligible, &base)?;
        if shown.current {
            until_served(&state, app.id, &mut shown).await;
        }
        all.push(shown);
    }
    range.answer(all, |r: &api::Release| r.version)
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
    Base(base): Base,
) -> Result<Json<api::Release>> {
    let app = state.ops.find_app(&app).await?;
    let release = state.ops.find_release(app.id, &which).await?;
    let eligible = state.ops.rollback_targets(app.id).await?;
    let mut shown = state.view_release(&app, &release, &eligible, &base)?;
    until_served(&state, app.id, &mut shown).await;
    Ok(Json(shown))
}

/// The last lines of its dynos from while it was rolled out: why it failed.
pub(super) async fn last_lines(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
) -> Result<Json<Vec<String>>> {
    let app = state.ops.find_app(&app).await?;
    let release = state.ops.find_release(app.id, &which).await?;
    let lines = state.control.last_lines(app.id, release.version).await;
    let text = |l: hokku_model::log::LogLine| format!("{}[{}]: {}", l.source, l.dyno, l.text);
    Ok(Json(lines.into_iter().map(text).collect()))
}

/// A release that was just promoted is shown as pending until the router serves it, so that whoever waits for it finds
/// it serving.
async fn until_served(state: &ApiState, app: AppId, shown: &mut api::Release) {
    if shown.status == "succeeded" && !state.control.serves(app, shown.version).await {
        shown.status = "pending".into();
    }
}

pub(super) async fn config_vars(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
) -> Result<Json<ConfigVars>> {
    let app = state.ops.find_app(&app).await?;
    let release = state.ops.find_release(app.id, &which).await?;
    Ok(Json(state.ops.release_env(app.id, release.version).await?))
}

pub(super) async fn rollback(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Base(base): Base,
    Input(body): Input<Rollback>,
) -> Result<(StatusCode, Json<api::Release>)> {
    let app = state.ops.find_app(&app).await?;
    let actor = actor.skipping_phase(body.skip_release_phase);
    let release = match (&body.release, &body.slug) {
        (Some(old), _) => state.ops.rollback(&actor, app.id, Some(old)).await?,
        (None, Some(slug)) => {
            let all = state.ops.releases(app.id).await?;
            let of = |r: &&Release| r.slug.as_ref().is_some_and(|s| s.digest.as_str() == slug);
            let newest = all.iter().find(of).ok_or_else(|| {
                Fault::not_found("slug", "Couldn't find a release with that slug.")
            })?;
            let spec = newest.id.to_string();
            state.ops.retry_release(&actor, app.id, Some(&spec)).await?
        }
        (None, None) => {
            return Err(Fault::invalid(
                "Say which release, in the field \"release\", or which slug, in \"slug\".",
            ));
        }
    };
    created(&state, &actor, &release, &base).await
}

pub(super) async fn retry(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Base(base): Base,
    Input(body): Input<Retry>,
) -> Result<(StatusCode, Json<api::Release>)> {
    let app = state.ops.find_app(&app).await?;
    let actor = actor.skipping_phase(body.skip_release_phase);
    let release = state
        .ops
        .retry_release(&actor, app.id, body.release.as_deref())
        .await?;
    created(&state, &actor, &release, &base).await
}

/// Says so in the app's log, and shows it.
async fn created(
    state: &ApiState,
    actor: &Actor,
    release: &Release,
    base: &str,
) -> Result<(StatusCode, Json<api::Release>)> {
    let app = state.ops.app(release.app).await?;
    let by = format!("by user {}", actor.user);
    state.note(app.id, &format!("{} {by}", release.description));
    state.note(
        app.id,
        &format!("Release v{} created {by}", release.version),
    );
    let eligible = state.ops.rollback_targets(app.id).await?;
    let shown = state.view_release(&app, release, &eligible, base)?;
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn builds(
    State(state): State<ApiState>,
    Path(app): Path<String>,
    Base(base): Base,
    headers: HeaderMap,
) -> Result<Response> {
    let range = Range::of(&headers, "started_at")?;
    let app = state.ops.find_app(&app).await?;
    let mut all = vec![];
    for build in state.ops.builds(app.id).await? {
        all.push(state.view_build(&app, &build, &base).await?);
    }
    range.answer(all, |b: &api::Build| format!("{}/{}", b.created_at, b.id))
}

pub(super) async fn build(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
    Base(base): Base,
) -> Result<Json<api::Build>> {
    let app = state.ops.find_app(&app).await?;
    let build = state.ops.find_build(app.id, &which).await?;
    Ok(Json(state.view_build(&app, &build, &base).await?))
}
