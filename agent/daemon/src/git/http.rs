//! Git's smart HTTP protocol (git's own documentation: gitprotocol-http).

use super::{Expected, Git, Push, Refused, child, child::Service, find};
use crate::ops::Actor;
use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use std::{
    collections::HashMap,
    io::{self, Write},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, ChildStdout},
    task::JoinHandle,
};

/// Seconds a client may be silent in the middle of what it sends.
const SILENCE: Duration = Duration::from_secs(120);

type Caller = Option<Extension<Actor>>;

fn caller(caller: Caller) -> Result<Actor, Refused> {
    caller.map(|Extension(actor)| actor).ok_or_else(|| {
        Refused::new(
            StatusCode::UNAUTHORIZED,
            "git over HTTP needs an API token as password; any user name will do.",
        )
    })
}

/// `myapp.git` → `myapp`
fn app_of(repository: &str) -> Result<&str, Refused> {
    repository
        .strip_suffix(".git")
        .filter(|n| !n.is_empty())
        .ok_or_else(|| {
            Refused::new(
                StatusCode::NOT_FOUND,
                "there is nothing at this path; a git remote looks like http://host/myapp.git.",
            )
        })
}

pub(super) async fn info_refs(
    State(git): State<Git>,
    Path(repository): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    who: Caller,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let app = app_of(&repository)?;
    let actor = caller(who)?;
    let service = query
        .get("service")
        .and_then(|s| Service::parse(s))
        .ok_or_else(|| {
            Refused::new(
                StatusCode::FORBIDDEN,
                "only git's smart protocol is spoken here; use a newer git.",
            )
        })?;
    let push = find(&git, &actor, app).await?;
    let protocol = protocol(&headers).filter(|_| service == Service::UploadPack);
    let mut prefix = Vec::new();
    if !protocol.is_some_and(|p| p.contains("version=2")) {
        let line = format!("# service=git-{}\n", service.command());
        prefix = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    }
    let (running, pipes) = child::start(
        &git,
        service,
        &["--stateless-rpc", "--advertise-refs"],
        &push.repository,
        protocol,
        &[],
    )
    .await
    .map_err(|e| Refused::internal(&e))?;
    drop(pipes.stdin);
    let talk = Talk {
        running,
        stdout: pipes.stdout,
        words: tokio::spawn(child::last_words(pipes.stderr)),
        _secret: None,
        _input: None,
    };
    talk.answer(prefix, &content_type(service, "advertisement"))
        .await
}

pub(super) async fn upload_pack(
    State(git): State<Git>,
    Path(repository): Path<String>,
    who: Caller,
    request: Request,
) -> Result<Response, Refused> {
    rpc(git, repository, who, Service::UploadPack, request).await
}

pub(super) async fn receive_pack(
    State(git): State<Git>,
    Path(repository): Path<String>,
    who: Caller,
    request: Request,
) -> Result<Response, Refused> {
    rpc(git, repository, who, Service::ReceivePack, request).await
}

async fn rpc(
    git: Git,
    repository: String,
    who: Caller,
    service: Service,
    request: Request,
) -> Result<Response, Refused> {
    let app = app_of(&repository)?;
    let actor = caller(who)?;
    let headers = request.headers();
    let wanted = content_type(service, "request");
    let is = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if is(header::CONTENT_TYPE) != Some(wanted.as_str()) {
        return Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("git sends {wanted} to this path, and only git is spoken here."),
        ));
    }
    let gzip = match is(header::CONTENT_ENCODING) {
        None | Some("identity") => false,
        Some("gzip" | "x-gzip") => true,
        Some(_) => {
            return Err(Refused::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "only gzip is known as a content encoding here.",
            ));
        }
    };
    let protocol = protocol(headers)
        .filter(|_| service == Service::UploadPack)
        .map(str::to_owned);
    let push = find(&git, &actor, app).await?;
    let (running, pipes, secret) = start(
        &git,
        service,
        push,
        &["--stateless-rpc"],
        protocol.as_deref(),
    )
    .await?;
    let input = tokio::spawn(feed(request.into_body(), pipes.stdin, gzip));
    let talk = Talk {
        running,
        stdout: pipes.stdout,
        words: tokio::spawn(child::last_words(pipes.stderr)),
        _secret: secret,
        _input: Some(AbortOnDrop(input)),
    };
    talk.answer(vec![], &content_type(service, "result")).await
}

/// Starts the service in the app's repository; for a push with what its hook needs to reach the agent.
pub(super) async fn start(
    git: &Git,
    service: Service,
    push: Push,
    args: &[&str],
    protocol: Option<&str>,
) -> Result<(child::Running, child::Pipes, Option<Expected>), Refused> {
    let repository = push.repository.clone();
    let (name, user) = (push.name.clone(), push.user.clone());
    let secret = match service {
        Service::ReceivePack => Some(git.expect(push)?),
        Service::UploadPack => None,
    };
    let socket = git.config().socket();
    let (socket, program) = (
        socket.to_string_lossy(),
        git.inner.program.to_string_lossy(),
    );
    let mut env = vec![];
    if let Some(secret) = &secret {
        env.extend([
            ("HOKKU_SOCKET", &*socket),
            ("HOKKU_PROGRAM", &*program),
            ("HOKKU_APP", name.as_str()),
            ("HOKKU_USER", user.as_str()),
            ("HOKKU_PUSH", secret.secret.as_str()),
        ]);
    }
    let (running, pipes) = child::start(git, service, args, &repository, protocol, &env)
        .await
        .map_err(|e| Refused::internal(&e))?;
    Ok((running, pipes, secret))
}

fn protocol(headers: &HeaderMap) -> Option<&str> {
    headers.get("git-protocol")?.to_str().ok()
}

fn content_type(service: Service, what: &str) -> String {
    format!("application/x-git-{}-{what}", service.command())
}

/// Passes the client's bytes to git. When git takes no more, the rest is read and thrown away, so that the client
/// comes to read the answer.
async fn feed(body: Body, stdin: ChildStdin, gzip: bool) {
    let mut body = body.into_data_stream();
    let mut stdin = Some(stdin);
    let mut unzip = gzip.then(|| flate2::write::MultiGzDecoder::new(Vec::new()));
    loop {
        let chunk = match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => return,
        };
        // in small pieces: a piece of zipped zeros grows a thousandfold
        for piece in chunk.chunks(4096) {
            let Some(to) = stdin.as_mut() else { break };
            let written = match unzip.as_mut() {
                None => to.write_all(piece).await,
                Some(z) => match z.write_all(piece) {
                    Ok(()) => {
                        let plain = std::mem::take(z.get_mut());
                        to.write_all(&plain).await
                    }
                    Err(e) => Err(e),
                },
            };
            if written.is_err() {
                stdin = None;
            }
        }
    }
    if let (Some(mut to), Some(z)) = (stdin, unzip)
        && let Ok(rest) = z.finish()
    {
        let _ = to.write_all(&rest).await;
    }
}

struct AbortOnDrop(JoinHandle<()>);
impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A git at work for one request. Dropped when the client goes away, which ends git.
struct Talk {
    running: child::Running,
    stdout: ChildStdout,
    words: JoinHandle<String>,
    _secret: Option<Expected>,
    _input: Option<AbortOnDrop>,
}

impl Talk {
    /// The answer begins with git's first byte: a git that fails before it is an error status.
    async fn answer(mut self, prefix: Vec<u8>, content_type: &str) -> Result<Response, Refused> {
        let first = self
            .read()
            .await
            .map_err(|e| Refused::internal(&e.into()))?;
        if first.is_empty() {
            let status = self.running.wait().await;
            let words = self.words.await.unwrap_or_default();
            if status != 0 {
                return Err(failed(status, &words));
            }
            return Ok(respond(content_type, Body::from(prefix)));
        }
        let head = [Bytes::from(prefix), first];
        let head = futures_util::stream::iter(head.into_iter().filter(|b| !b.is_empty()).map(Ok));
        let rest = futures_util::stream::unfold(Some(self), |talk| async move {
            let mut talk = talk?;
            match talk.read().await {
                Ok(bytes) if bytes.is_empty() => {
                    let status = talk.running.wait().await;
                    if status != 0 {
                        let words = talk.words.await.unwrap_or_default();
                        tracing::info!("git ended with status {status}: {words}");
                    }
                    None
                }
                Ok(bytes) => Some((Ok(bytes), Some(talk))),
                Err(e) => Some((Err(e), None)),
            }
        });
        Ok(respond(content_type, Body::from_stream(head.chain(rest))))
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let mut buf = bytes::BytesMut::with_capacity(32 * 1024);
        self.stdout.read_buf(&mut buf).await?;
        Ok(buf.freeze())
    }
}

/// Git ended before its first word: by what the client sent, or by something here.
fn failed(status: u8, words: &str) -> Refused {
    let protocol = ["protocol error", "hung up unexpectedly"];
    if protocol.iter().any(|p| words.contains(p)) {
        return Refused::new(
            StatusCode::BAD_REQUEST,
            "what was sent is not what git sends, or was cut off. Try again.",
        );
    }
    Refused::internal(&anyhow::anyhow!("git ended with status {status}: {words}"))
}

fn respond(content_type: &str, body: Body) -> Response {
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    if let Ok(v) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, v);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
    );
    answer
}
