//! Keeps the folder of repositories in step with the apps there are.

use super::{Git, repository};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::watch;

/// Deletes the repositories of apps that are gone, after each commit of the store, until shutdown.
pub async fn keep(git: Git, mut shutdown: watch::Receiver<bool>) {
    let mut bell = git.inner.ops.bell();
    loop {
        bell.borrow_and_update();
        sweep(&git).await;
        tokio::select! {
            changed = shutdown.changed() => if changed.is_err() || *shutdown.borrow() { return },
            rung = bell.changed() => if rung.is_err() { return },
        }
    }
}

async fn sweep(git: &Git) {
    let config: Arc<_> = git.inner.config.clone();
    // the folder first: an app that is made, and pushed to, after that is not taken for one that is gone
    let there = repository::all(&config.data_dir);
    if there.is_empty() {
        return;
    }
    let apps: BTreeSet<_> = match git.inner.ops.apps().await {
        Ok(apps) => apps.into_iter().map(|a| a.id).collect(),
        Err(e) => {
            tracing::warn!("the list of apps can't be read, no repository is deleted: {e}");
            return;
        }
    };
    let gone: Vec<_> = there.into_iter().filter(|id| !apps.contains(id)).collect();
    let _ = tokio::task::spawn_blocking(move || {
        for app in gone {
            match repository::delete(&config.data_dir, app) {
                Ok(()) => tracing::info!("deleted the git repository of app {app}, which is gone"),
                Err(e) => tracing::warn!("can't delete the git repository of app {app}: {e}"),
            }
        }
    })
    .await;
}
