//! git: takes pushes and serves clones, with the real git in the app's bare repository.
//!
//! What it does: smart HTTP on the API's listener; git over SSH through the system's sshd, whose forced command
//! ([`ssh`]) talks to the agent's Unix socket; before a ref moves, git's hook ([`hook`]) asks the agent, which builds
//! and answers while it happens. Deletes the repositories of apps that are gone.
//! What it never does: read pushed objects in the agent's own process; decide who a caller is over HTTP (`api` puts
//! the [`Actor`] into the request); build.
//! Who calls it: `run` hands [`routes`] to `api`, whose listeners they share, and starts [`keep`]; `main` runs the two
//! subcommands.
//! Where its tests are: beside the code, and `tests/git.rs` with the real git over HTTP and through a real sshd.

mod child;
mod client;
mod frames;
pub mod hook;
mod http;
mod keep;
mod receive;
mod repository;
pub mod ssh;
mod tunnel;

pub use keep::keep;

use crate::{
    config::Config,
    control,
    ops::{Actor, Ops, OpsError},
};
use ::http::{HeaderValue, StatusCode, header};
use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hokku_model::{AppId, AppName};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Pushes under way at once, over all apps.
const MOST_PUSHES: usize = 256;

/// The room's state; cheap to clone.
#[derive(Clone)]
pub struct Git {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    ops: Ops,
    control: control::Handle,
    program: PathBuf,
    /// Pushes whose hook has not asked yet, by their one-time secret.
    pushes: Mutex<HashMap<String, Push>>,
    /// Held from the acceptance of a push until its git has moved the branch.
    gates: Mutex<HashMap<AppId, Arc<tokio::sync::Mutex<()>>>>,
}

type Gate = Arc<Mutex<Option<tokio::sync::OwnedMutexGuard<()>>>>;

/// A push for which a git runs.
#[derive(Clone, Debug)]
struct Push {
    app: AppId,
    name: AppName,
    user: String,
    repository: PathBuf,
    /// Filled when it is accepted, emptied when its git has ended.
    gate: Gate,
}

impl Git {
    /// `program` is what git's hook runs: `hokkud` itself.
    pub fn new(config: Arc<Config>, ops: Ops, control: control::Handle, program: PathBuf) -> Git {
        Git {
            inner: Arc::new(Inner {
                config,
                ops,
                control,
                program,
                pushes: Mutex::default(),
                gates: Mutex::default(),
            }),
        }
    }

    fn config(&self) -> &Arc<Config> {
        &self.inner.config
    }

    /// Makes the one-time secret by which the hook of this push proves what it is.
    ///
    /// # Errors
    /// Too many pushes are under way.
    fn expect(&self, push: Push) -> Result<Expected, Refused> {
        let secret = receive::secret()?;
        let mut pushes = self.lock();
        if pushes.len() >= MOST_PUSHES {
            return Err(Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many pushes are under way on this host; try again in a moment.",
            ));
        }
        let gate = push.gate.clone();
        pushes.insert(secret.clone(), push);
        drop(pushes);
        Ok(Expected {
            git: self.clone(),
            secret,
            gate,
        })
    }

    fn gate(&self, app: AppId) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self
            .inner
            .gates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        gates.entry(app).or_default().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Push>> {
        self.inner
            .pushes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secret of one push; void when dropped.
struct Expected {
    git: Git,
    secret: String,
    gate: Gate,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.git.lock().remove(&self.secret);
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The room's paths. The caller's [`Actor`], where it is known, and the `UCred` of a peer on the Unix socket are
/// extensions of the request.
pub fn routes(git: Git) -> Router {
    Router::new()
        .route("/{repository}/info/refs", get(http::info_refs))
        .route("/{repository}/git-upload-pack", post(http::upload_pack))
        .route("/{repository}/git-receive-pack", post(http::receive_pack))
        .route("/hokku/git/pre-receive", post(receive::pre_receive))
        .route("/hokku/git/ssh", post(tunnel::open))
        .with_state(git)
}

/// A request that is not done, with the reason in words.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Refused {
        Refused {
            status,
            message: message.into(),
        }
    }

    /// Logs the cause and tells the caller that it is not theirs.
    fn internal(e: &anyhow::Error) -> Refused {
        tracing::error!("a git request failed: {e:#}");
        Refused::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the agent failed at this; its log has the reason. Try again in a moment.",
        )
    }
}

impl From<OpsError> for Refused {
    fn from(e: OpsError) -> Refused {
        let status = match &e {
            OpsError::NotFound { .. } => StatusCode::NOT_FOUND,
            OpsError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            OpsError::Conflict { .. } => StatusCode::CONFLICT,
            OpsError::Unauthorized => StatusCode::UNAUTHORIZED,
            OpsError::Forbidden { .. } => StatusCode::FORBIDDEN,
            OpsError::Internal(cause) => return Refused::internal(cause),
        };
        Refused::new(status, e.to_string())
    }
}

impl IntoResponse for Refused {
    /// As plain text: git shows it to the person who runs it.
    fn into_response(self) -> Response {
        let mut answer = (self.status, self.message).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(
                    "Basic realm=\"hokku: any user name, an API token as password\"",
                ),
            );
        }
        answer
    }
}

/// Finds the app and its repository.
async fn find(git: &Git, actor: &Actor, app: &str) -> Result<Push, Refused> {
    let app = git.inner.ops.find_app(app).await?;
    let data = git.config().data_dir.clone();
    let id = app.id;
    let repository = tokio::task::spawn_blocking(move || repository::ensure(&data, id))
        .await
        .map_err(|e| Refused::internal(&e.into()))?
        .map_err(|e| Refused::internal(&e))?;
    Ok(Push {
        app: id,
        name: app.name,
        user: actor.user.clone(),
        repository,
        gate: Gate::default(),
    })
}
