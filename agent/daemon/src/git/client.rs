//! The subcommands' way to the agent: HTTP over its Unix socket.

use anyhow::{Context, Result};
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::{path::Path, time::Duration};
use tokio::net::UnixStream;

/// Seconds the agent has to take a connection and begin its answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends one request and returns the head of the answer; the body streams.
///
/// # Errors
/// In words for the person who pushes: the agent is not there, or closed the connection.
pub async fn ask(socket: &Path, request: Request<Body>) -> Result<Response<Incoming>> {
    let talk = async {
        let stream = UnixStream::connect(socket).await.with_context(|| {
            format!(
                "the agent does not answer at {}; is it running? Try again in a moment",
                socket.display()
            )
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .context("the agent closed the connection")?;
        tokio::spawn(connection.with_upgrades());
        sender
            .send_request(request)
            .await
            .context("the agent closed the connection without an answer; try again in a moment")
    };
    tokio::time::timeout(PATIENCE, talk)
        .await
        .context("the agent is too busy to answer; try again in a moment")?
}

/// Why the agent refused, in its words: the body of git's paths, the `message` of the API's own answers.
pub async fn refusal(answer: Response<Incoming>) -> String {
    use http_body_util::{BodyExt, Limited};
    let status = answer.status();
    let body = Limited::new(answer.into_body(), 64 * 1024).collect().await;
    let text = body
        .ok()
        .map(|b| String::from_utf8_lossy(&b.to_bytes()).trim().to_owned())
        .filter(|t| !t.is_empty())
        .unwrap_or_else(|| format!("the agent answered with status {status}"));
    let text =
        serde_json::from_str::<hokku_model::api::ApiError>(&text).map_or(text, |e| e.message);
    text.trim_end_matches('.').to_owned()
}
