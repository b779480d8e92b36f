//! The agent's end of git over SSH: a raw stream of frames on the Unix socket, with git at the end of it.

use super::{
    Git, Refused, child, find,
    frames::{self, Frame},
    http::start,
};
use crate::{config::Config, ops::Actor};
use ::http::{HeaderMap, StatusCode, header};
use anyhow::Result;
use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use hokku_model::KeyId;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::unix::UCred,
    sync::mpsc,
};

/// What the connection is upgraded to.
pub(super) const UPGRADE: &str = "hokku-git";
/// The id of the SSH key.
pub(super) const KEY_HEADER: &str = "hokku-key";
/// `git-receive-pack` or `git-upload-pack`.
pub(super) const SERVICE_HEADER: &str = "hokku-git-service";
/// The app's name.
pub(super) const APP_HEADER: &str = "hokku-app";
/// `GIT_PROTOCOL` of the client.
pub(super) const PROTOCOL_HEADER: &str = "git-protocol";

/// Is the peer root or the agent's own user? `api` takes nobody else for root on the Unix socket.
pub(super) fn trusted(peer: &Option<Extension<UCred>>, actor: &Option<Extension<Actor>>) -> bool {
    peer.is_some()
        && actor
            .as_ref()
            .is_some_and(|Extension(a)| *a == Actor::root())
}

/// Is the peer the user that sshd runs the forced command as? It may speak for any SSH key, and do nothing else.
fn is_sshd(config: &Config, peer: &Option<Extension<UCred>>) -> bool {
    let user = config
        .git_user
        .as_deref()
        .and_then(|name| nix::unistd::User::from_name(name).ok().flatten());
    match (peer, user) {
        (Some(Extension(peer)), Some(user)) => peer.uid() == user.uid.as_raw(),
        _ => false,
    }
}

pub(super) async fn open(
    State(git): State<Git>,
    peer: Option<Extension<UCred>>,
    actor: Option<Extension<Actor>>,
    request: Request,
) -> Result<Response, Refused> {
    if !trusted(&peer, &actor) && !is_sshd(git.config(), &peer) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "this path is for sshd's forced command on the agent's Unix socket.",
        ));
    }
    let headers = request.headers();
    let unknown = || {
        Refused::new(
            StatusCode::FORBIDDEN,
            "this SSH key is not known any more; add it with: app keys:add.",
        )
    };
    let key: KeyId = text(headers, KEY_HEADER)
        .and_then(|k| k.parse().ok())
        .ok_or_else(unknown)?;
    let key = git.inner.ops.find_key(key).await.map_err(|e| match e {
        crate::ops::OpsError::NotFound { .. } => unknown(),
        e => e.into(),
    })?;
    let Some(service) = text(headers, SERVICE_HEADER) else {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            format!(
                "Hi {}! You've authenticated, but hokku gives no shell.",
                key.user
            ),
        ));
    };
    let bad = || {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "this is not hokku's forced command.",
        )
    };
    let service = child::Service::parse(service).ok_or_else(bad)?;
    let app = text(headers, APP_HEADER).ok_or_else(bad)?;
    if text(headers, header::UPGRADE.as_str()) != Some(UPGRADE) {
        return Err(bad());
    }
    let protocol = text(headers, PROTOCOL_HEADER)
        .filter(|_| service == child::Service::UploadPack)
        .map(str::to_owned);
    let push = find(&git, &Actor::new(key.user), app).await?;
    let (running, pipes, secret) = start(&git, service, push, &[], protocol.as_deref()).await?;
    tokio::spawn(async move {
        // the secret is void when git has ended
        let _secret = secret;
        match hyper::upgrade::on(request).await {
            Ok(stream) => {
                if let Err(e) = pipe(TokioIo::new(stream), running, pipes).await {
                    tracing::info!("git over SSH was cut off: {e:#}");
                }
            }
            Err(e) => tracing::info!("git over SSH did not begin: {e}"),
        }
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, UPGRADE)
        .body(Body::empty());
    Ok(answer
        .map_err(|e| Refused::internal(&e.into()))?
        .into_response())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Joins the stream and git until git ends, or the client goes away: then git is ended.
async fn pipe<S>(stream: S, mut running: child::Running, pipes: child::Pipes) -> Result<()>
where
    S: AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let (frames_in, mut frames_out) = mpsc::channel::<Frame>(16);
    let mut readers = tokio::task::JoinSet::new();
    readers.spawn(pass(pipes.stdout, frames_in.clone(), Frame::Output));
    readers.spawn(pass(pipes.stderr, frames_in, Frame::Errors));
    let input = async move {
        let mut stdin = Some(pipes.stdin);
        let mut buf = BytesMut::new();
        loop {
            match frames::read(&mut from, &mut buf).await {
                Ok(Some(Frame::Input(b))) => {
                    if let Some(s) = stdin.as_mut()
                        && s.write_all(&b).await.is_err()
                    {
                        stdin = None;
                    }
                }
                Ok(Some(Frame::InputEnd)) => stdin = None,
                Ok(None) => anyhow::bail!("the client went away"),
                Ok(Some(f)) => anyhow::bail!("the client sent {f:?}"),
                Err(e) => return Err::<(), _>(e.into()),
            }
        }
    };
    let output = async {
        while let Some(frame) = frames_out.recv().await {
            frames::write(&mut to, &frame).await?;
        }
        let end = Frame::End(running.wait().await);
        frames::write(&mut to, &end).await?;
        to.shutdown().await?;
        anyhow::Ok(())
    };
    tokio::select! {
        gone = input => gone,
        done = output => done,
    }
}

async fn pass<R: AsyncRead + Unpin>(
    mut from: R,
    to: mpsc::Sender<Frame>,
    wrap: fn(Bytes) -> Frame,
) {
    let mut buf = BytesMut::new();
    loop {
        buf.reserve(32 * 1024);
        match from.read_buf(&mut buf).await {
            Ok(n) if n > 0 => {
                if to.send(wrap(buf.split().freeze())).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
