//! Releases: made by builds, config changes and rollbacks; rolled out, then promoted or abandoned.

use super::{Actor, Ops, Result};
use hokku_model::{
    AppId, ProcessType,
    release::{Release, Slug},
};
use std::collections::BTreeSet;

/// What a build became.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployed {
    /// The candidate.
    pub release: Release,
    /// Process types with wanted dynos that the new Procfile no longer has; they leave the formation when the
    /// release is promoted.
    pub vanished: Vec<ProcessType>,
}

impl Ops {
    /// All releases of an app, newest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn releases(&self, _app: AppId) -> Result<Vec<Release>> {
        unimplemented!()
    }

    /// One release by its number.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn release(&self, _app: AppId, _version: u32) -> Result<Release> {
        unimplemented!()
    }

    /// One release by `v3`, `3` or its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_release(&self, _app: AppId, _spec: &str) -> Result<Release> {
        unimplemented!()
    }

    /// The versions that are `eligible_for_rollback`: they served, and their slug is still there. The current one
    /// is among them.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn rollback_targets(&self, _app: AppId) -> Result<BTreeSet<u32>> {
        unimplemented!()
    }

    /// A build's slug becomes the candidate, described as "Deploy 1a2b3c4d".
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn release_from_build(
        &self,
        _actor: &Actor,
        _app: AppId,
        _slug: Slug,
        _commit: &str,
    ) -> Result<Deployed> {
        unimplemented!()
    }

    /// A candidate with slug and config vars of an old release; without a spec, of the eligible one before current.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when there is none before, it is current already, it never served, or its slug is gone.
    pub async fn rollback(
        &self,
        _actor: &Actor,
        _app: AppId,
        _spec: Option<&str>,
    ) -> Result<Release> {
        unimplemented!()
    }

    /// The candidate is current now. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is not the candidate any more.
    pub async fn promote(&self, _app: AppId, _version: u32) -> Result<Release> {
        unimplemented!()
    }

    /// The candidate failed; current stays. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was promoted.
    pub async fn abandon(&self, _app: AppId, _version: u32, _reason: &str) -> Result<Release> {
        unimplemented!()
    }

    /// Waits until a release is promoted or abandoned. One that was superseded by a release with the same slug (a
    /// config change during its rollout) is followed: what comes back may have a higher version.
    ///
    /// # Errors
    /// `NotFound`, also when the app is destroyed meanwhile.
    pub async fn wait_release_end(&self, _app: AppId, _version: u32) -> Result<Release> {
        unimplemented!()
    }
}
