//! The API: Heroku's Platform API v3 (paths, JSON, errors), on TCP and on a Unix socket.
//!
//! What it does: finds out who asks, reads what is asked into types, calls one use case, and shows the result as
//! Heroku does. Log and output streams, and the WebSocket of `app run`.
//! What it never does: decide, change anything by itself, or end on bad input with anything but an answer in words.
//! Who calls it: `run` starts [`serve`], with the paths of `git` beside its own.
//! Where its tests are: beside the code, and `tests/api.rs` with real HTTP over TCP and over the Unix socket.

mod account;
mod app;
mod attach;
mod autoscale;
mod caller;
mod cert;
mod checks;
mod config_var;
mod cron;
mod domain;
mod dyno;
mod exec;
mod fault;
mod formation;
mod input;
mod isolation;
mod key;
mod limits;
mod link;
mod listen;
mod log_session;
mod output;
mod range;
mod release;
mod routes;
mod routing;
mod run;
mod status;
mod view;

use crate::{config::Config, control, ops::Ops};
use axum::Router;
use hokku_model::cert::Served;
use std::sync::Arc;
use tokio::{net::TcpListener, sync::watch};

/// What the API works with; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    config: Arc<Config>,
    ops: Ops,
    control: control::Handle,
    notices: Arc<[String]>,
    served: watch::Receiver<Served>,
    no_fence: Option<String>,
    scaled: watch::Receiver<crate::autoscale::Told>,
    links: Arc<link::Links>,
    doorman: Arc<caller::Doorman>,
    beside: Router,
}

impl ApiState {
    /// `notices` say what this host can't do, for `app status`.
    pub fn new(
        config: Arc<Config>,
        ops: Ops,
        control: control::Handle,
        notices: Vec<String>,
    ) -> ApiState {
        ApiState {
            links: Arc::new(link::Links::open(&config.data_dir)),
            doorman: Arc::default(),
            notices: notices.into(),
            served: watch::channel(Served::default()).1,
            no_fence: None,
            scaled: watch::channel(Default::default()).1,
            beside: Router::new(),
            config,
            ops,
            control,
        }
    }

    /// Shows of certificates what the router said of them.
    #[must_use]
    pub fn watching(mut self, served: watch::Receiver<Served>) -> ApiState {
        self.served = served;
        self
    }

    /// Shows what autoscaling decided.
    #[must_use]
    pub fn scaled(mut self, told: watch::Receiver<crate::autoscale::Told>) -> ApiState {
        self.scaled = told;
        self
    }

    /// Says why this host keeps no app's network apart, for `app isolation`.
    #[must_use]
    pub fn without_fence(mut self, why: Option<String>) -> ApiState {
        self.no_fence = why;
        self
    }

    /// Puts more paths on the same listeners. Each of their requests has the caller's `Actor` as an extension where
    /// it is known, and the `UCred` of a peer on the Unix socket; they check both by themselves.
    #[must_use]
    pub fn beside(mut self, routes: Router) -> ApiState {
        self.beside = self.beside.merge(routes);
        self
    }
}

/// Answers on `listener` and on the Unix socket of the settings until `shutdown` is true; then what is under way gets
/// a moment to end.
///
/// # Errors
/// The Unix socket can't be made.
pub async fn serve(
    state: ApiState,
    listener: TcpListener,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    listen::serve(state, listener, shutdown).await
}
