//! What links lead to: logs, and the outputs of releases and builds. No token is needed here.

use super::{
    ApiState,
    fault::{Fault, Result},
    link::To,
    log_session::{self, Session},
};
use crate::control::{self, Sight};
use axum::{
    body::Body,
    extract::{FromRequestParts, Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hokku_model::{
    AppId, BuildId,
    log::LogFilter,
    release::{BuildStatus, Release, ReleaseStatus},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use std::{convert::Infallible, future::Future};
use tokio::net::unix::UCred;

/// The URL by which the client reached the agent: links have to lead there too, through the same tunnel or proxy.
pub(super) struct Base(pub String);

impl FromRequestParts<ApiState> for Base {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Base> {
        let known = state.config.now().api_url();
        let text = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
        let plain = |h: &&str| {
            h.len() <= 300
                && h.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
        };
        let by_tcp = parts.extensions.get::<UCred>().is_none();
        let host = text("host")
            .filter(|h| by_tcp && !h.is_empty())
            .filter(plain);
        Ok(Base(match host {
            None => known,
            Some(host) => {
                let tls = text("x-forwarded-proto") == Some("https")
                    || known.strip_prefix("https://") == Some(host);
                format!("{}://{host}", if tls { "https" } else { "http" })
            }
        }))
    }
}

pub(super) async fn open(
    State(state): State<ApiState>,
    Path(link): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    match state.links.unseal(&link)? {
        To::Logs {
            app,
            dyno,
            source,
            lines,
            tail,
        } => {
            let session = Session {
                app,
                filter: LogFilter { dyno, source },
                lines,
                tail,
            };
            log_session::open(&state, session, &headers).await
        }
        To::Release { app, version } => {
            let release = state.ops.release(app, version).await?;
            Ok(match release.phase.is_empty() {
                true => later(self::release(state, app, version)),
                false => phase(state, &release),
            })
        }
        To::Build { app, build: id } => {
            state.ops.find_build(app, &id.to_string()).await?;
            Ok(later(build(state, app, id)))
        }
        To::Attach { .. } => Err(Fault::new(
            StatusCode::NOT_FOUND,
            "This link is for attaching to a dyno, by WebSocket.",
        )),
    }
}

/// Plain text that comes when it is known; until then the client waits.
fn later(text: impl Future<Output = String> + Send + 'static) -> Response {
    self::text(stream::once(async move { Ok(Bytes::from(text.await)) }))
}

fn text(
    text: impl Stream<Item = std::result::Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        Body::from_stream(text),
    )
        .into_response()
}

/// The output of the release's commands, as it comes. Of one that has failed, also why.
fn phase(state: ApiState, release: &Release) -> Response {
    let (app, version) = (release.app, release.version);
    let (ops, logs) = (state.ops.clone(), state.control.logs().clone());
    let sights = stream::unfold(control::watch(ops, logs, app, version), |mut from| async {
        loop {
            if let Sight::Output(bytes) = from.recv().await? {
                return Some((bytes, from));
            }
        }
    });
    let failed = release.status == ReleaseStatus::Failed;
    let end = stream::once(async move {
        match failed {
            true => Bytes::from(self::release(state, app, version).await),
            false => Bytes::new(),
        }
    });
    text(sights.chain(end).map(Ok))
}

/// Waits for the release's end and says why it failed; nothing is said of one that serves.
async fn release(state: ApiState, app: AppId, version: u32) -> String {
    let ended = match state.ops.release(app, version).await {
        Ok(r) if r.status == ReleaseStatus::Pending => {
            state.ops.wait_release_end(app, version).await
        }
        r => r,
    };
    match ended {
        Ok(r) if r.failure.is_empty() => String::new(),
        Ok(r) => format!("{}\n", r.failure.trim_end()),
        Err(e) => format!("{e}\n"),
    }
}

/// Waits for the build's end and gives what is kept of its output.
async fn build(state: ApiState, app: AppId, id: BuildId) -> String {
    let mut bell = state.ops.bell();
    loop {
        bell.borrow_and_update();
        let build = match state.ops.find_build(app, &id.to_string()).await {
            Ok(b) => b,
            Err(e) => return format!("{e}\n"),
        };
        let short: String = build.commit.chars().take(8).collect();
        match build.status {
            BuildStatus::Pending if bell.changed().await.is_ok() => {}
            BuildStatus::Pending => return "The agent is stopping.\n".into(),
            BuildStatus::Succeeded => return format!("The build of {short} succeeded.\n"),
            BuildStatus::Failed => return format!("{}\n", build.failure.trim_end()),
        }
    }
}
