//! Config vars: each change makes a release.

use super::{Actor, Ops, Result};
use hokku_model::{
    AppId,
    api::{ConfigPatch, ConfigVars},
    release::Release,
};

impl Ops {
    /// The config vars of the app's newest wish: the candidate's while one is rolled out, else the current release's.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn config_vars(&self, _app: AppId) -> Result<ConfigVars> {
        unimplemented!()
    }

    /// Sets and removes config vars; gives all of them and the release that it made, `None` when nothing changed.
    /// The release is a candidate when the app has a slug, else current at once.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when a name is bad, a value holds NUL, or all together exceed 64 kB.
    pub async fn patch_config(
        &self,
        _actor: &Actor,
        _app: AppId,
        _patch: ConfigPatch,
    ) -> Result<(ConfigVars, Option<Release>)> {
        unimplemented!()
    }

    /// The config vars of one release.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn release_env(&self, _app: AppId, _version: u32) -> Result<ConfigVars> {
        unimplemented!()
    }
}
