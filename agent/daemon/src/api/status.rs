//! How the agent and its router are.

use super::{ApiState, fault::Result};
use axum::{Json, extract::State};
use hokku_model::api::Status;
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpStream;

pub(super) async fn show(State(state): State<ApiState>) -> Result<Json<Status>> {
    let config = &state.config;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let apps = state.ops.apps().await?.len();
    let dynos = state.control.dynos(None).await;
    let running = dynos.iter().filter(|d| d.pid != 0).count();
    let mut listen = config.router_listen.clone();
    // with port 0 in the settings, the router has written down which one it got
    if let Some(real) = config.router_addr()
        && let Some(first) = listen.first_mut()
        && first.port() == 0
    {
        *first = real;
    }
    let router_up = match listen.first() {
        Some(first) => answers(*first).await,
        None => false,
    };
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        notices: state.notices.to_vec(),
        router: listen.iter().map(SocketAddr::to_string).collect(),
        router_up,
        apps: count(apps),
        dynos: count(running),
        web_port: listen.first().map_or(80, SocketAddr::port),
        apps_domain: config.apps_domain.clone(),
    }))
}

async fn answers(mut at: SocketAddr) -> bool {
    if at.ip().is_unspecified() {
        at.set_ip(match at {
            SocketAddr::V4(_) => [127, 0, 0, 1].into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let connect = TcpStream::connect(at);
    tokio::time::timeout(Duration::from_millis(500), connect)
        .await
        .is_ok_and(|c| c.is_ok())
}
