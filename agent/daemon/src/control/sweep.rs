//! Keeping within the budgets: old slugs and the logs of dynos that are gone.

use super::Hands;
use hokku_core::desired::Desired;
use hokku_model::{AppId, release::SlugDigest};
use std::{collections::BTreeSet, fs, path::Path};

/// Deletes the oldest slugs that no rollback is kept for, until all fit the budget, and then old logs. `running` are
/// slugs that a dyno has under it; `alive` are the ids of dynos whose log is still written.
pub(super) async fn sweep(
    hands: Hands,
    alive: BTreeSet<String>,
    running: BTreeSet<(AppId, SlugDigest)>,
) {
    if let Err(e) = slugs(&hands, &running).await {
        tracing::warn!("old slugs could not be deleted: {e:#}");
    }
    let Ok(apps) = hands.ops.apps().await else {
        return;
    };
    logs(hands, apps.iter().map(|a| a.id).collect(), alive).await;
}

/// Deletes the logs of these apps that are over the budget. `alive` are the ids of dynos whose log is still written.
pub(super) async fn logs(hands: Hands, apps: Vec<AppId>, alive: BTreeSet<String>) {
    let budget = hands.config.now().retain.logs;
    let _ = tokio::task::spawn_blocking(move || {
        for app in apps {
            hands.logs.sweep(app, |id| alive.contains(id), budget);
        }
    })
    .await;
}

/// Apps that have files under the data folder and are no more: the agent ended before it had deleted them.
pub(super) fn orphans(data: &Path, desired: &Desired) -> BTreeSet<AppId> {
    ["slugs", "releases", "cache", "logs/dynos"]
        .iter()
        .filter_map(|folder| fs::read_dir(data.join(folder)).ok())
        .flat_map(|entries| entries.flatten())
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|app| !desired.apps.contains_key(app))
        .collect()
}

async fn slugs(hands: &Hands, running: &BTreeSet<(AppId, SlugDigest)>) -> anyhow::Result<()> {
    let slugs = hands.slugs.clone();
    let mut used = tokio::task::spawn_blocking(move || slugs.used()).await?;
    if used <= hands.config.now().retain.slugs {
        return Ok(());
    }
    for (app, slug, _) in hands.ops.sweepable_slugs().await? {
        if used <= hands.config.now().retain.slugs {
            break;
        }
        // The store first: a release is never offered for rollback whose slug is gone.
        if !running.contains(&(app, slug.clone())) && hands.ops.mark_swept(app, &slug).await? {
            let slugs = hands.slugs.clone();
            used = tokio::task::spawn_blocking(move || {
                slugs.delete(app, &slug);
                slugs.used()
            })
            .await?;
        }
    }
    Ok(())
}
