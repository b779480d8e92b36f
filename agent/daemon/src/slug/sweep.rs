//! Keeping the budget.

use super::{Slugs, measure, place};
use hokku_model::{AppId, release::SlugDigest};
use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime},
};

/// A slug stored less than this ago may be on its way to a release that nobody knows of yet.
const YOUNG: Duration = Duration::from_secs(15 * 60);

impl Slugs {
    /// Deletes slugs that are not in `keep` until archives and trees take no more than `budget` bytes: trees first, as
    /// they can be unpacked again, then archives; the one stored longest ago goes first. Slugs stored in the last 15
    /// minutes stay. Returns the slugs whose archives are gone. Blocking; failures are logged.
    pub fn sweep(
        &self,
        keep: &BTreeSet<(AppId, SlugDigest)>,
        budget: u64,
    ) -> Vec<(AppId, SlugDigest)> {
        let mut used = self.used();
        let mut gone = vec![];
        if used <= budget {
            return gone;
        }
        let before = used;
        let old = self.old(keep);
        for whole in [false, true] {
            for (_, app, digest) in &old {
                if used <= budget {
                    break;
                }
                used = used.saturating_sub(self.drop_one(*app, digest, whole));
                if whole {
                    gone.push((*app, digest.clone()));
                }
            }
        }
        tracing::info!(
            before,
            after = used,
            budget,
            deleted = gone.len(),
            "slugs were over their budget"
        );
        gone
    }

    /// Slugs that may go, the oldest first.
    fn old(&self, keep: &BTreeSet<(AppId, SlugDigest)>) -> Vec<(SystemTime, AppId, SlugDigest)> {
        let now = SystemTime::now();
        let mut old = vec![];
        for app in self.places.apps() {
            for digest in self.places.digests(app) {
                let stored = fs::metadata(self.places.archive(app, &digest))
                    .and_then(|m| m.modified())
                    .unwrap_or(SystemTime::UNIX_EPOCH);
                let young = now.duration_since(stored).map_or(true, |age| age < YOUNG);
                let slug = (app, digest);
                if !young && !keep.contains(&slug) {
                    old.push((stored, slug.0, slug.1));
                }
            }
        }
        old.sort();
        old
    }

    /// Deletes the tree, and the archive too when `whole`. Returns the bytes that were freed.
    fn drop_one(&self, app: AppId, digest: &SlugDigest, whole: bool) -> u64 {
        let lock = self.places.lock(app, digest);
        let _held = place::hold(&lock);
        let mut seen = measure::Seen::default();
        let mut freed = measure::on_disk(&self.places.tree(app, digest), &mut seen);
        self.places.drop_tree(app, digest);
        if whole {
            let archive = self.places.archive(app, digest);
            freed += measure::on_disk(&archive, &mut seen);
            place::remove(&archive);
        }
        freed
    }
}
