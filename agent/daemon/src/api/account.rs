//! The caller's account and tokens, and the few things there is only one of.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    view,
};
use crate::ops::{Actor, Token};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use hokku_model::api::{AccessToken, Account, Authorization, CreateAuthorization};
use http::StatusCode;
use serde_json::{Value, json};

pub(super) async fn show(Extension(actor): Extension<Actor>) -> Json<Account> {
    let user = view::user(&actor.user);
    Json(Account {
        id: user.id,
        email: user.email,
    })
}

pub(super) async fn authorizations(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<Vec<Authorization>>> {
    let tokens = state.ops.tokens(&actor.user).await?;
    Ok(Json(tokens.iter().map(|t| shown(t, None)).collect()))
}

pub(super) async fn authorize(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Input(body): Input<CreateAuthorization>,
) -> Result<(StatusCode, Json<Authorization>)> {
    let user = match body.email {
        Some(email) if email != actor.user => {
            if actor != Actor::root() {
                return Err(Fault::new(
                    StatusCode::FORBIDDEN,
                    format!(
                        "Only root can make a token for somebody else; you are {}.",
                        actor.user
                    ),
                ));
            }
            email
        }
        _ => actor.user,
    };
    let description = body
        .description
        .unwrap_or_else(|| "Made through the API".into());
    let (token, secret) = state.ops.create_token(&user, &description).await?;
    Ok((StatusCode::CREATED, Json(shown(&token, Some(secret)))))
}

pub(super) async fn authorization(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<Authorization>> {
    Ok(Json(shown(&find(&state, &actor, &id).await?, None)))
}

pub(super) async fn revoke(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<Authorization>> {
    let token = find(&state, &actor, &id).await?;
    let token = state.ops.revoke_token(&actor.user, token.id).await?;
    Ok(Json(shown(&token, None)))
}

async fn find(state: &ApiState, actor: &Actor, id: &str) -> Result<Token> {
    state
        .ops
        .tokens(&actor.user)
        .await?
        .into_iter()
        .find(|t| t.id.to_string() == id)
        .ok_or_else(|| Fault::not_found("authorization", "Couldn't find that authorization."))
}

/// Heroku's `logout` asks for this; there are no sessions here, only tokens.
pub(super) async fn end_session() -> Fault {
    Fault::not_found(
        "session",
        "There are no sessions here, only tokens: revoke the token instead.",
    )
}

fn shown(token: &Token, secret: Option<String>) -> Authorization {
    Authorization {
        access_token: AccessToken {
            id: token.id.to_string(),
            token: secret,
        },
        created_at: view::time(token.created_at),
        description: token.description.clone(),
        id: token.id.to_string(),
        scope: vec!["global".into()],
        updated_at: view::time(token.created_at),
        user: view::user(&token.user),
    }
}

pub(super) async fn stacks(State(state): State<ApiState>) -> Json<Value> {
    let stack = view::constant("stack", &state.config.now().build.stack);
    Json(json!([{
        "id": stack.id, "name": stack.name, "state": "public", "default": true,
    }]))
}

pub(super) async fn regions() -> Json<Value> {
    let region = view::constant("region", "us");
    Json(json!([{
        "id": region.id, "name": region.name, "description": "This host", "country": "", "locale": "",
        "private_capable": false,
    }]))
}
