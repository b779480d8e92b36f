//! Which path is which, and what every request passes through.

use super::{
    ApiState, account, app, attach, autoscale, caller, cert, checks, config_var, cron, domain,
    dyno, exec,
    fault::{Fault, id_of},
    formation, isolation, key, limits, log_session, output, release, routing, run, status,
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::Request,
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use hokku_model::api::ApiError;
use http::{HeaderValue, StatusCode, header};
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;

/// Heroku's clients give up after 60 s; an answer in words comes before that.
const TIME: Duration = Duration::from_secs(55);

pub(super) fn all(state: ApiState) -> Router {
    let api = Router::new()
        .merge(accounts())
        .merge(apps())
        .merge(processes())
        .merge(limited())
        .merge(scheduled())
        .merge(history())
        .merge(constants())
        .route("/hokku/status", get(status::show))
        .route(
            "/hokku/apps/{app}/routing",
            get(routing::show).patch(routing::update),
        )
        .layer(from_fn(timed))
        .route_layer(from_fn(caller::require));
    // these carry their permission in the link
    let links = Router::new()
        .route("/hokku/streams/{link}", get(output::open))
        .route("/hokku/apps/{app}/dynos/{dyno}/attach", get(attach::open));
    api.merge(links)
        .fallback(nothing)
        .method_not_allowed_fallback(not_this_way)
        .with_state(state.clone())
        .merge(state.beside.clone())
        .layer(from_fn_with_state(state, caller::recognise))
        .layer(CatchPanicLayer::new())
        .layer(from_fn(dress))
}

fn accounts() -> Router<ApiState> {
    Router::new()
        .route("/account", get(account::show))
        .route("/users/~", get(account::show))
        .route(
            "/account/keys",
            get(key::list).post(key::add).delete(key::clear),
        )
        .route("/account/keys/{key}", get(key::show).delete(key::remove))
        .route(
            "/oauth/authorizations",
            get(account::authorizations).post(account::authorize),
        )
        .route(
            "/oauth/authorizations/{id}",
            get(account::authorization).delete(account::revoke),
        )
        .route("/oauth/sessions/{id}", delete(account::end_session))
}

fn apps() -> Router<ApiState> {
    Router::new()
        .route("/apps", get(app::list).post(app::create))
        .route("/users/~/apps", get(app::list))
        .route(
            "/apps/{app}",
            get(app::show).patch(app::update).delete(app::destroy),
        )
        .route(
            "/apps/{app}/config-vars",
            get(config_var::list).patch(config_var::update),
        )
        .route(
            "/hokku/apps/{app}/config-vars",
            patch(config_var::update_own),
        )
        .route(
            "/hokku/apps/{app}/isolation",
            get(isolation::show).patch(isolation::update),
        )
        .route("/apps/{app}/addons", get(app::none))
        .route("/apps/{app}/addon-attachments", get(app::none))
        .route("/apps/{app}/features", get(app::none))
        .route("/apps/{app}/features/{feature}", get(app::no_feature))
        .route("/apps/{app}/log-drains", get(app::none))
        .route("/apps/{app}/sni-endpoints", get(cert::list).post(cert::add))
        .route(
            "/apps/{app}/sni-endpoints/{cert}",
            get(cert::show).patch(cert::update).delete(cert::remove),
        )
        .route(
            "/apps/{app}/acm",
            get(cert::acm)
                .post(cert::acm_enable)
                .delete(cert::acm_disable)
                .patch(cert::acm_refresh),
        )
        .route("/apps/{app}/pipeline-couplings", get(app::no_pipeline))
        .route("/apps/{app}/collaborators", get(app::collaborators))
        .route(
            "/apps/{app}/domains",
            get(domain::list).post(domain::add).delete(domain::clear),
        )
        .route(
            "/apps/{app}/domains/{domain}",
            get(domain::show)
                .patch(domain::update)
                .delete(domain::remove),
        )
        .route(
            "/apps/{app}/buildpack-installations",
            get(app::buildpacks).put(app::set_buildpacks),
        )
}

fn processes() -> Router<ApiState> {
    Router::new()
        .route(
            "/apps/{app}/formation",
            get(formation::list).patch(formation::batch),
        )
        .route(
            "/apps/{app}/formation/{type}",
            get(formation::show).patch(formation::update),
        )
        .route(
            "/apps/{app}/dynos",
            get(dyno::list).post(dyno::run).delete(dyno::restart_all),
        )
        .route(
            "/apps/{app}/dynos/{dyno}",
            get(dyno::show).delete(dyno::restart),
        )
        .route("/hokku/apps/{app}/runs", get(run::list))
        .route(
            "/hokku/apps/{app}/runs/{dyno}/attachments",
            post(run::attach),
        )
        .route("/hokku/apps/{app}/dynos/{dyno}/why", get(dyno::why))
        .route("/hokku/apps/{app}/dynos/{dyno}/exec", get(exec::open))
        .route("/hokku/apps/{app}/checks", get(checks::list))
        .route("/hokku/apps/{app}/checks/{type}/run", post(checks::run))
        .route("/apps/{app}/dynos/{dyno}/actions/stop", post(dyno::stop))
        .route("/apps/{app}/formations/{type}", delete(dyno::restart_type))
        .route(
            "/apps/{app}/formations/{type}/actions/stop",
            post(dyno::stop_type),
        )
}

fn limited() -> Router<ApiState> {
    Router::new()
        .route(
            "/hokku/apps/{app}/limits",
            get(limits::list).patch(limits::update),
        )
        .route("/hokku/apps/{app}/autoscale", get(autoscale::list))
        .route(
            "/hokku/apps/{app}/autoscale/{type}",
            patch(autoscale::update).delete(autoscale::remove),
        )
}

fn scheduled() -> Router<ApiState> {
    Router::new()
        .route(
            "/hokku/apps/{app}/cron",
            get(cron::list).post(cron::add).patch(cron::pause),
        )
        .route(
            "/hokku/apps/{app}/cron/{entry}",
            get(cron::show).patch(cron::edit).delete(cron::remove),
        )
        .route("/hokku/apps/{app}/cron/{entry}/run", post(cron::run))
        .route("/hokku/apps/{app}/cron/{entry}/output", get(cron::output))
        .route("/hokku/apps/{app}/cron-runs", get(cron::runs))
        .route(
            "/hokku/apps/{app}/cron-alerts",
            get(cron::alerts)
                .patch(cron::set_alerts)
                .post(cron::test_alerts),
        )
}

fn history() -> Router<ApiState> {
    Router::new()
        .route(
            "/apps/{app}/releases",
            get(release::list).post(release::rollback),
        )
        .route("/hokku/apps/{app}/releases/retry", post(release::retry))
        .route(
            "/hokku/apps/{app}/releases/{release}/last-lines",
            get(release::last_lines),
        )
        .route("/apps/{app}/releases/{release}", get(release::show))
        .route(
            "/apps/{app}/releases/{release}/config-vars",
            get(release::config_vars),
        )
        .route("/apps/{app}/builds", get(release::builds))
        .route("/apps/{app}/builds/{build}", get(release::build))
        .route("/apps/{app}/log-sessions", post(log_session::create))
}

fn constants() -> Router<ApiState> {
    Router::new()
        .route("/stacks", get(account::stacks))
        .route("/regions", get(account::regions))
}

async fn nothing(request: Request) -> Fault {
    Fault::new(
        StatusCode::NOT_FOUND,
        format!(
            "There is nothing at {} here. The paths are those of Heroku's Platform API, such as /apps.",
            shorten(request.uri().path())
        ),
    )
}

async fn not_this_way(request: Request) -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} can't be used on {}.",
            request.method(),
            shorten(request.uri().path())
        ),
    )
}

fn shorten(path: &str) -> String {
    path.chars().take(200).collect()
}

async fn timed(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "This took more than {} s and was given up; it may still happen. Look before you try again.",
                TIME.as_secs()
            ),
        )
        .into_response(),
    }
}

/// Gives each answer its request id, and turns error answers that are not JSON into Heroku's shape.
async fn dress(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let plain = path.contains(".git/") || path.starts_with("/hokku/git/");
    let mut answer = next.run(request).await;
    let status = answer.status();
    let json = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    if !plain && !json && (status.is_client_error() || status.is_server_error()) {
        let (mut parts, body) = answer.into_parts();
        let text = to_bytes(body, 4096).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let message = match text.trim() {
            "" => format!("The request failed: {status}."),
            t => t.to_owned(),
        };
        let fault = Json(ApiError {
            id: id_of(status).into(),
            message,
            resource: None,
        })
        .into_response();
        for stale in [header::CONTENT_LENGTH, header::CONTENT_TYPE] {
            parts.headers.remove(stale);
        }
        answer = Response::from_parts(parts, Body::empty());
        answer.headers_mut().extend(fault.headers().clone());
        *answer.body_mut() = fault.into_body();
    }
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        answer.headers_mut().insert("request-id", id);
    }
    answer
}
