//! The use cases on a real store in a folder of its own.

mod app;
mod build;
mod cert;
mod config;
mod cron;
mod domain;
mod formation;
mod key;
mod kill;
mod limits;
mod managed;
mod phase;
mod random;
mod rollout;
mod routing;
mod sweep;
mod token;

use super::*;
use hokku_model::{
    AppId, ProcessType,
    api::ConfigPatch,
    app::App,
    release::{Release, Slug},
};
use std::{path::PathBuf, sync::Arc};

pub(super) struct Place {
    pub dir: tempfile::TempDir,
    pub config: Arc<Config>,
    pub ops: Ops,
}

impl Place {
    pub fn new() -> Place {
        Place::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            data_dir: dir.path().join("data"),
            ..Config::default()
        };
        change(&mut config);
        let config = Arc::new(config);
        Place {
            ops: Ops::open(config.clone()).unwrap(),
            config,
            dir,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.config.data_dir.clone()
    }

    /// Closes and opens it, as a restart of the agent does.
    pub fn reopen(self) -> Place {
        let Place { dir, config, ops } = self;
        drop(ops);
        let ops = Ops::open(config.clone()).unwrap();
        Place { dir, config, ops }
    }
}

pub(super) fn me() -> Actor {
    Actor::new("me@example.org")
}

pub(super) fn kind(name: &str) -> ProcessType {
    name.parse().unwrap()
}

/// A slug with this content and these process types.
pub(super) fn slug(content: &str, types: &[&str]) -> Slug {
    Slug {
        app_json: Default::default(),
        digest: blake3::hash(content.as_bytes())
            .to_hex()
            .as_str()
            .parse()
            .unwrap(),
        size: content.len() as u64,
        process_types: types
            .iter()
            .map(|t| (kind(t), format!("run {t}")))
            .collect(),
        buildpack: "Python".into(),
        buildpacks: vec!["python".into()],
        commit: "1a2b3c4d5e6f".into(),
        routing: Default::default(),
    }
}

pub(super) fn patch(changes: &[(&str, Option<&str>)]) -> ConfigPatch {
    changes
        .iter()
        .map(|(k, v)| (k.to_string(), v.map(String::from)))
        .collect()
}

impl Ops {
    /// An app whose current release is v2 with this slug.
    async fn running(&self, name: &str, types: &[&str]) -> App {
        let app = self.create_app(&me(), Some(name)).await.unwrap();
        let pushed = self.push(app.id, slug("first", types)).await;
        self.promote(app.id, pushed.version).await.unwrap();
        self.app(app.id).await.unwrap()
    }

    async fn push(&self, app: AppId, slug: Slug) -> Release {
        let commit = slug.commit.clone();
        let done = self.release_from_build(&me(), app, slug, &commit).await;
        done.unwrap().release
    }

    /// Sets one config var; the release that it makes.
    async fn set(&self, app: AppId, key: &str, value: &str) -> Release {
        let patch = patch(&[(key, Some(value))]);
        let done = self.patch_config(&me(), app, patch).await;
        done.unwrap().1.unwrap()
    }
}

#[tokio::test]
async fn a_wrong_or_lost_key_is_told_at_the_start() {
    let place = Place::new();
    place.ops.create_app(&me(), Some("ab")).await.unwrap();
    let key = place.data().join("secret.key");
    let Place { config, ops, dir } = place;
    drop(ops);
    let good = std::fs::read(&key).unwrap();
    let start = || format!("{:#}", Ops::open(config.clone()).unwrap_err());

    std::fs::write(&key, [7; 32]).unwrap();
    let e = start();
    assert!(e.contains("not the one that this database"), "{e}");

    std::fs::remove_file(&key).unwrap();
    let e = start();
    assert!(e.contains("is missing"), "{e}");
    assert!(!key.exists(), "no new key is made for an old database");

    std::fs::write(&key, &good).unwrap();
    let e = start();
    assert!(
        e.contains("chmod 600"),
        "the mode of a new file is wide: {e}"
    );

    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    Ops::open(config.clone()).unwrap();
    drop(dir);
}

#[tokio::test]
async fn the_data_folder_is_private() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let meta = std::fs::metadata(place.data()).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o700);
}
