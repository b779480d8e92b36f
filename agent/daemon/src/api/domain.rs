//! Domains of an app.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    range::Range,
    view::{app_ref, derived_id, named, time},
};
use crate::ops::{Actor, Domain};
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::Response,
};
use hokku_core::acme;
use hokku_model::{
    Micros, api,
    app::App,
    cert::{Endpoint, Managed},
};
use http::{HeaderMap, StatusCode};

pub(super) async fn list(
    State(state): State<ApiState>,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let range = Range::of(&headers, "hostname")?;
    let app = state.ops.find_app(&app).await?;
    range.answer(all(&state, &app).await?, |d| d.hostname.clone())
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
) -> Result<Json<api::Domain>> {
    let app = state.ops.find_app(&app).await?;
    Ok(Json(find(&state, &app, &which).await?))
}

pub(super) async fn add(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<api::CreateDomain>,
) -> Result<(StatusCode, Json<api::Domain>)> {
    let app = state.ops.find_app(&app).await?;
    if let Some(cert) = body.sni_endpoint.as_deref() {
        state.ops.cert(app.id, cert).await?;
    }
    let domain = state.ops.add_domain(&actor, app.id, &body.hostname).await?;
    let line = format!("Add {} domain by user {}", domain.host, actor.user);
    state.note(app.id, &line);
    if let Some(cert) = body.sni_endpoint.as_deref() {
        state.ops.attach_cert(app.id, &domain.host, cert).await?;
    }
    let app = state.ops.app(app.id).await?;
    let shown = find(&state, &app, &domain.host).await?;
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
    Input(body): Input<api::UpdateDomain>,
) -> Result<Json<api::Domain>> {
    let app = state.ops.find_app(&app).await?;
    let domain = find(&state, &app, &which).await?;
    if let Some(cert) = body.sni_endpoint.as_deref() {
        state
            .ops
            .attach_cert(app.id, &domain.hostname, cert)
            .await?;
    }
    Ok(Json(find(&state, &app, &domain.hostname).await?))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, which)): Path<(String, String)>,
) -> Result<Json<api::Domain>> {
    let app = state.ops.find_app(&app).await?;
    let host = match find(&state, &app, &which).await {
        Ok(shown) if shown.kind == "heroku" => {
            return Err(Fault::invalid(format!(
                "{} is the name that {} has by itself; it can't be removed.",
                shown.hostname, app.name
            )));
        }
        Ok(shown) => shown.hostname,
        // Perhaps written in another form.
        Err(_) => which,
    };
    let shown = find(&state, &app, &host).await;
    let domain = state.ops.remove_domain(&actor, app.id, &host).await?;
    let line = format!("Remove {} domain by user {}", domain.host, actor.user);
    state.note(app.id, &line);
    Ok(Json(match shown {
        Ok(shown) => shown,
        Err(_) => state.view_domain(&app, &domain, &[], &[]),
    }))
}

pub(super) async fn clear(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
) -> Result<Json<Vec<api::Domain>>> {
    let app = state.ops.find_app(&app).await?;
    let removed = state.ops.clear_domains(&actor, app.id).await?;
    if !removed.is_empty() {
        let line = format!("Remove all domains by user {}", actor.user);
        state.note(app.id, &line);
    }
    let view = |d| state.view_domain(&app, d, &[], &[]);
    Ok(Json(removed.iter().map(view).collect()))
}

/// The name that the app has by itself first.
pub(super) async fn all(state: &ApiState, app: &App) -> Result<Vec<api::Domain>> {
    let certs = state.ops.certs(app.id).await?;
    let managed = state.ops.managed().await?;
    let default = Domain {
        host: state.config.default_host(app.name.as_str()),
        app: app.id,
        created_at: app.created_at,
    };
    let mut shown = vec![state.view_domain(app, &default, &certs, &managed)];
    for domain in state.ops.domains(app.id).await? {
        shown.push(state.view_domain(app, &domain, &certs, &managed));
    }
    Ok(shown)
}

async fn find(state: &ApiState, app: &App, which: &str) -> Result<api::Domain> {
    let all = all(state, app).await?;
    all.into_iter()
        .find(|d| d.id == which || d.hostname.eq_ignore_ascii_case(which))
        .ok_or_else(|| Fault::not_found("domain", "Couldn't find that domain name."))
}

impl ApiState {
    fn view_domain(
        &self,
        app: &App,
        domain: &Domain,
        certs: &[Endpoint],
        managed: &[Managed],
    ) -> api::Domain {
        let default = self.config.default_host(app.name.as_str());
        let custom = domain.host != default;
        let name = domain.host.split('/').next().unwrap_or_default();
        let cert = certs
            .iter()
            .filter(|c| self.ops.cert_hosts(app, c).iter().any(|h| h == name))
            .max_by_key(|c| c.facts.expires_at);
        let (acm_status, acm_status_reason) = match custom && self.ops.acm(app) {
            true => acm(name, managed, app),
            false => (None, None),
        };
        api::Domain {
            acm_status,
            acm_status_reason,
            app: app_ref(app),
            cname: custom.then_some(default),
            created_at: time(domain.created_at),
            hostname: domain.host.clone(),
            id: derived_id(&["domain", &app.id.to_string(), &domain.host]),
            kind: if custom { "custom" } else { "heroku" }.into(),
            sni_endpoint: cert.map(|c| named(&c.id, &c.name)),
            status: if custom { "succeeded" } else { "none" }.into(),
            updated_at: time(domain.created_at),
        }
    }
}

/// Status and reason of a custom domain whose app has automatic certificates.
fn acm(name: &str, managed: &[Managed], app: &App) -> (Option<String>, Option<String>) {
    let say = |status: &str, reason: &str| (Some(status.into()), Some(reason.into()));
    if name.starts_with("*.") {
        return say(
            "failed",
            "a certificate for a wildcard needs a proof by DNS, which is not offered; give one with: app certs:add",
        );
    }
    match managed.iter().find(|m| m.host == name) {
        None => say("pending", "nothing is ordered yet"),
        Some(m) if m.app != app.id => say(
            "pending",
            "another app has this host name, with another path; its certificate is used here too",
        ),
        Some(m) => (
            Some(acme::status(m, Micros::now()).into()),
            m.trouble.as_ref().map(|t| t.reason.clone()),
        ),
    }
}
