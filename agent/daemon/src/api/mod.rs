//! The API: Heroku's Platform API v3 (paths, JSON, errors), on TCP and on a Unix socket.
//!
//! What it does: finds out who asks, reads what is asked into types, calls one use case, and shows the result as
//! Heroku does. Log and output streams, and the WebSocket of `app run`.
//! What it never does: decide, change anything by itself, or end on bad input with anything but an answer in words.
//! Who calls it: `run` starts [`serve`]. It puts the paths of `git`, its neighbour, on the same listeners.
//! Where its tests are: `tests.rs` beside the code, with real HTTP over TCP and over the Unix socket.

mod account;
mod app;
mod attach;
mod caller;
mod config_var;
mod dyno;
mod fault;
mod formation;
mod input;
mod key;
mod link;
mod listen;
mod log_session;
mod output;
mod range;
mod release;
mod routes;
mod status;
#[cfg(test)]
mod tests;
mod view;

use crate::{config::Config, control, git::Git, ops::Ops};
use std::{path::PathBuf, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// What the API works with; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    config: Arc<Config>,
    ops: Ops,
    control: control::Handle,
    notices: Arc<[String]>,
    links: Arc<link::Links>,
    doorman: Arc<caller::Doorman>,
    git: Git,
}

impl ApiState {
    /// `notices` say what this host can't do, for `app status`.
    pub fn new(
        config: Arc<Config>,
        ops: Ops,
        control: control::Handle,
        notices: Vec<String>,
    ) -> ApiState {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("hokkud"));
        ApiState::with_program(config, ops, control, notices, program)
    }

    /// As [`ApiState::new`], with another program for git's hook to run.
    fn with_program(
        config: Arc<Config>,
        ops: Ops,
        control: control::Handle,
        notices: Vec<String>,
        program: PathBuf,
    ) -> ApiState {
        let git = Git::new(config.clone(), ops.clone(), control.clone(), program);
        ApiState {
            links: Arc::new(link::Links::open(&config.data_dir)),
            doorman: Arc::default(),
            notices: notices.into(),
            git,
            config,
            ops,
            control,
        }
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
    let keeper = tokio::spawn(crate::git::keep(state.git.clone(), shutdown.clone()));
    let ended = listen::serve(state, listener, shutdown).await;
    keeper.abort();
    ended
}
