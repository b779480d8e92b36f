//! Folders of releases that the router serves by itself: laid out for it before it is told of them, and again after a
//! reboot or a rollback.

use super::Hands;
use hokku_core::desired::{Desired, ReleaseWish};
use hokku_model::{AppId, release::SlugDigest};
use std::{collections::BTreeSet, time::Duration};

/// Pauses between attempts where the disk is full or broken; then it is left to the next start or release.
const PAUSES: [u64; 6] = [0, 1, 5, 30, 120, 600];

/// What was ordered to be laid out since this agent began.
#[derive(Debug, Default)]
pub(super) struct Laid(BTreeSet<(AppId, SlugDigest)>);

impl Laid {
    /// Lays out what the wishes need and was not laid out yet, in tasks of their own: done once, it is only looked up.
    pub fn follow(&mut self, hands: &Hands, desired: &Desired) {
        let releases = |app: &AppId| {
            let wish = desired.apps.get(app)?;
            Some([&wish.current, &wish.candidate].into_iter().flatten())
        };
        self.0.retain(|(app, slug)| {
            releases(app).is_some_and(|mut r| r.any(|r| r.slug.as_ref() == Some(slug)))
        });
        for (app, wish) in &desired.apps {
            for release in [&wish.current, &wish.candidate].into_iter().flatten() {
                if let Some(slug) = release.slug.as_ref().filter(|_| !release.files.is_empty())
                    && self.0.insert((*app, slug.clone()))
                {
                    tokio::spawn(keep_trying(hands.clone(), *app, release.clone()));
                }
            }
        }
    }
}

async fn keep_trying(hands: Hands, app: AppId, release: ReleaseWish) {
    let Some(slug) = &release.slug else { return };
    for pause in PAUSES {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        match lay(&hands, app, slug, &release.files).await {
            Ok(()) => return,
            Err(e) => {
                tracing::error!(%app, version = release.version, "the router can't serve its files: {e:#}");
            }
        }
    }
}

/// Lays out folders of a slug.
///
/// # Errors
/// The app or the folder is gone, there is no room.
pub(super) async fn lay(
    hands: &Hands,
    app: AppId,
    slug: &SlugDigest,
    roots: &[String],
) -> anyhow::Result<()> {
    let uid = hands.ops.app(app).await?.uid;
    for root in roots {
        hands.slugs.publish(app, uid, slug, root).await?;
    }
    Ok(())
}
