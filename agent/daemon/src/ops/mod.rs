//! The use cases: everything that changes the truth, one function each, by noun.
//!
//! What it does: checks a wish, changes the store in one transaction, rings the bell; reads the truth for others.
//! What it never does: call the loop, start or stop anything, wait for work (save for [`Ops::wait_release_end`]).
//! Who calls it: `api`, `git`, `control` (build ended, promote, abandon). Where its tests are: beside the code.

mod app;
mod build;
mod config;
mod desired;
mod error;
mod formation;
mod key;
mod name;
mod release;
mod token;

pub use build::BuildEnd;
pub use error::{OpsError, Result};
pub use formation::{FormationLine, Restart};
pub use key::Key;
pub use release::Deployed;
pub use token::Token;

use crate::config::Config;
use std::sync::Arc;
use tokio::sync::watch;

/// Who asks, for the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// E-mail, or `root`.
    pub user: String,
}

impl Actor {
    /// Somebody, by e-mail.
    pub fn new(user: impl Into<String>) -> Actor {
        Actor { user: user.into() }
    }

    /// Whoever has the Unix socket.
    pub fn root() -> Actor {
        Actor::new("root")
    }
}

/// The use cases; cheap to clone.
#[derive(Clone)]
pub struct Ops {
    config: Arc<Config>,
}

impl Ops {
    /// Opens the store and the key under `config.data_dir`, making both at the first start. Blocks for some
    /// milliseconds (up to five seconds when another agent is just ending).
    ///
    /// # Errors
    /// In words: another agent uses the folder, the store is damaged or newer than this program, the key is missing,
    /// readable by others, or not the one that the store was written with.
    pub fn open(_config: Arc<Config>) -> anyhow::Result<Ops> {
        unimplemented!()
    }

    /// Rings after each commit, with the store's generation. A hint: read again.
    pub fn bell(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }

    /// The settings.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
}
