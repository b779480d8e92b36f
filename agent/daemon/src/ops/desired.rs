//! What the loop reads: the wishes, and which slugs may go.

use super::{Ops, Result};
use hokku_core::desired::Desired;
use hokku_model::{AppId, release::SlugDigest};
use std::{collections::BTreeSet, sync::Arc};

impl Ops {
    /// The wishes of this generation; made once per generation.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn desired(&self) -> Result<Arc<Desired>> {
        unimplemented!()
    }

    /// Slugs that must stay: of each app's current and candidate release, and of the newest one that served another
    /// slug before.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn kept_slugs(&self) -> Result<BTreeSet<(AppId, SlugDigest)>> {
        unimplemented!()
    }

    /// Slugs that may go when the budget is exceeded, with their bytes; the one released longest ago first.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn sweepable_slugs(&self) -> Result<Vec<(AppId, SlugDigest, u64)>> {
        unimplemented!()
    }

    /// To be called before a slug's files are deleted: from then on no rollback chooses it. False: it is needed now
    /// and must stay.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn mark_swept(&self, _app: AppId, _slug: &SlugDigest) -> Result<bool> {
        unimplemented!()
    }
}
