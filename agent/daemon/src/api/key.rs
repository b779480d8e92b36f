//! SSH keys of the caller.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    view,
};
use crate::ops::{self, Actor};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::api::{CreateKey, Key};
use http::StatusCode;

pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<Vec<Key>>> {
    let keys = state.ops.keys(&actor.user).await?;
    Ok(Json(keys.iter().map(shown).collect()))
}

pub(super) async fn add(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Input(body): Input<CreateKey>,
) -> Result<(StatusCode, Json<Key>)> {
    let key = state.ops.add_key(&actor.user, &body.public_key).await?;
    Ok((StatusCode::CREATED, Json(shown(&key))))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(which): Path<String>,
) -> Result<Json<Key>> {
    let keys = state.ops.keys(&actor.user).await?;
    keys.iter()
        .find(|k| k.id.to_string() == which || k.fingerprint == which)
        .map(|k| Json(shown(k)))
        .ok_or_else(|| Fault::not_found("key", "Couldn't find that key."))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(which): Path<String>,
) -> Result<Json<Key>> {
    let key = state.ops.remove_key(&actor.user, &which).await?;
    Ok(Json(shown(&key)))
}

pub(super) async fn clear(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<Vec<Key>>> {
    let keys = state.ops.clear_keys(&actor.user).await?;
    Ok(Json(keys.iter().map(shown).collect()))
}

fn shown(key: &ops::Key) -> Key {
    Key {
        comment: key.comment.clone(),
        created_at: view::time(key.created_at),
        email: key.user.clone(),
        fingerprint: key.fingerprint.clone(),
        id: key.id.to_string(),
        public_key: key.public_key.clone(),
        updated_at: view::time(key.created_at),
    }
}
