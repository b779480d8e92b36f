//! Certificates of an app (SNI endpoints), and whether the agent gets them by itself.

use super::{
    ApiState, domain,
    fault::Result,
    input::Input,
    range::Range,
    view::{app_ref, derived_id, time},
};
use crate::ops::{Actor, Given};
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
    let range = Range::of(&headers, "name")?;
    let app = state.ops.find_app(&app).await?;
    let certs = state.ops.certs(app.id).await?;
    let shown = certs
        .iter()
        .map(|c| state.view_cert(&app, c, &[]))
        .collect();
    range.answer(shown, |c: &api::SniEndpoint| c.name.clone())
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path((app, which)): Path<(String, String)>,
) -> Result<Json<api::SniEndpoint>> {
    let app = state.ops.find_app(&app).await?;
    let cert = state.ops.cert(app.id, &which).await?;
    Ok(Json(state.view_cert(&app, &cert, &[])))
}

pub(super) async fn add(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
    Input(body): Input<api::CreateSniEndpoint>,
) -> Result<(StatusCode, Json<api::SniEndpoint>)> {
    let app = state.ops.find_app(&app).await?;
    let (chain, key) = (&body.certificate_chain, &body.private_key);
    let given = state
        .ops
        .add_cert(&actor, app.id, chain, key, &body.domains)
        .await?;
    let line = format!(
        "Add certificate {} by user {}",
        given.endpoint.name, actor.user
    );
    state.note(app.id, &line);
    Ok((StatusCode::CREATED, Json(state.view_given(&app, &given))))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, which)): Path<(String, String)>,
    Input(body): Input<api::CreateSniEndpoint>,
) -> Result<Json<api::SniEndpoint>> {
    let app = state.ops.find_app(&app).await?;
    let (chain, key) = (&body.certificate_chain, &body.private_key);
    let given = state
        .ops
        .update_cert(&actor, app.id, &which, chain, key)
        .await?;
    let line = format!(
        "Update certificate {} by user {}",
        given.endpoint.name, actor.user
    );
    state.note(app.id, &line);
    Ok(Json(state.view_given(&app, &given)))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, which)): Path<(String, String)>,
) -> Result<Json<api::SniEndpoint>> {
    let app = state.ops.find_app(&app).await?;
    let cert = state.ops.remove_cert(&actor, app.id, &which).await?;
    let line = format!("Remove certificate {} by user {}", cert.name, actor.user);
    state.note(app.id, &line);
    Ok(Json(state.view_cert(&app, &cert, &[])))
}

/// Is it on, and how do the domains stand?
pub(super) async fn acm(
    State(state): State<ApiState>,
    Path(app): Path<String>,
) -> Result<Json<api::Acm>> {
    let app = state.ops.find_app(&app).await?;
    Ok(Json(state.view_acm(&app).await?))
}

pub(super) async fn acm_enable(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
) -> Result<Json<api::App>> {
    switch(&state, &actor, &app, true).await
}

pub(super) async fn acm_disable(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
) -> Result<Json<api::App>> {
    switch(&state, &actor, &app, false).await
}

pub(super) async fn acm_refresh(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path(app): Path<String>,
) -> Result<Json<api::App>> {
    let app = state.ops.find_app(&app).await?;
    state.ops.refresh_acm(&actor, app.id).await?;
    Ok(Json(state.view_app(&app).await?))
}

async fn switch(state: &ApiState, actor: &Actor, app: &str, on: bool) -> Result<Json<api::App>> {
    let app = state.ops.find_app(app).await?;
    let app = state.ops.set_acm(actor, app.id, on).await?;
    let word = if on { "Enable" } else { "Disable" };
    let line = format!(
        "{word} automatic certificate management by user {}",
        actor.user
    );
    state.note(app.id, &line);
    Ok(Json(state.view_app(&app).await?))
}

impl ApiState {
    fn view_given(&self, app: &App, given: &Given) -> api::SniEndpoint {
        self.view_cert(app, &given.endpoint, &given.remarks)
    }

    fn view_cert(&self, app: &App, cert: &Endpoint, remarks: &[String]) -> api::SniEndpoint {
        let hosts = self.ops.cert_hosts(app, cert);
        // The router names a certificate by the hosts it got it for.
        let refused = |why: &&String| {
            !hosts.is_empty() && why.starts_with(&format!("{}: ", hosts.join(", ")))
        };
        let served = self.served.borrow();
        let refused = served.refused.iter().find(refused);
        let default = self.config.default_host(app.name.as_str());
        let domains = std::iter::once(&default).chain(&app.domains);
        let domains = domains.filter(|d| {
            hosts
                .iter()
                .any(|h| Some(h.as_str()) == d.split('/').next())
        });
        let facts = &cert.facts;
        api::SniEndpoint {
            app: app_ref(app),
            certificate_chain: cert.chain.clone(),
            created_at: time(cert.created_at),
            display_name: None,
            domains: domains
                .map(|d| derived_id(&["domain", &app.id.to_string(), d]))
                .collect(),
            id: cert.id.clone(),
            name: cert.name.clone(),
            ssl_cert: api::SslCert {
                acm: cert.acm,
                ca_signed: !facts.self_signed,
                cert_domains: facts.names.clone(),
                expires_at: time(facts.expires_at),
                id: derived_id(&["certificate", &facts.fingerprint]),
                issuer: facts.issuer.clone(),
                self_signed: facts.self_signed,
                starts_at: time(facts.starts_at),
                subject: facts.subject.clone(),
                fingerprint: facts.fingerprint.clone(),
            },
            updated_at: time(cert.updated_at),
            hosts,
            warnings: remarks.to_vec(),
            refused: refused.cloned(),
        }
    }

    async fn view_acm(&self, app: &App) -> Result<api::Acm> {
        let names = self.ops.managed().await?;
        let names: Vec<&Managed> = names.iter().filter(|m| m.app == app.id).collect();
        let custom = domain::all(self, app)
            .await?
            .into_iter()
            .filter(|d| d.kind == "custom");
        let domains = custom.map(|d| {
            let host = d.hostname.split('/').next().unwrap_or_default();
            let of = names.iter().find(|m| m.host == host);
            let next = of.map(|m| time(acme::due(m).max(Micros::now())));
            api::AcmDomain {
                status: d.acm_status.unwrap_or_default(),
                reason: d.acm_status_reason,
                expires_at: of
                    .and_then(|m| m.issued.as_ref())
                    .map(|i| time(i.expires_at)),
                failures: of
                    .and_then(|m| m.trouble.as_ref())
                    .map_or(0, |t| t.failures),
                next_attempt_at: next,
                hostname: d.hostname,
            }
        });
        Ok(api::Acm {
            acm: self.ops.acm(app),
            directory: self.config.acme.directory.clone(),
            agreed: self.config.acme.agree,
            domains: domains.collect(),
        })
    }
}
