//! Builds: each attempt is written down.

use super::{Actor, Ops, Result};
use hokku_model::{AppId, BuildId, release::Build};

/// How a build ended: the version it became, or why it failed, in words.
pub type BuildEnd = std::result::Result<u32, String>;

impl Ops {
    /// Writes down that a build waits or runs.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the commit is not hex.
    pub async fn begin_build(&self, _actor: &Actor, _app: AppId, _commit: &str) -> Result<Build> {
        unimplemented!()
    }

    /// Writes down how it ended. Only the first end counts.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn end_build(&self, _build: BuildId, _end: BuildEnd) -> Result<Build> {
        unimplemented!()
    }

    /// Ends every build that is still pending, for the agent's start: nothing builds them any more. Gives their
    /// number.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn end_lost_builds(&self) -> Result<usize> {
        unimplemented!()
    }

    /// All builds of an app, newest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn builds(&self, _app: AppId) -> Result<Vec<Build>> {
        unimplemented!()
    }

    /// One build of an app.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_build(&self, _app: AppId, _build: &str) -> Result<Build> {
        unimplemented!()
    }
}
