//! The use cases: everything that changes the truth, one function each, by noun.
//!
//! What it does: checks a wish, changes the store in one transaction, rings the bell; reads the truth for others.
//! What it never does: call the loop, start or stop anything, wait for work (save for [`Ops::wait_release_end`]).
//! Who calls it: `api`, `git`, `control` (build ended, promote, abandon). Where its tests are: beside the code.

mod app;
mod authorized_keys;
mod autoscale;
mod build;
mod cert;
mod certificate;
mod config;
mod cron;
mod desired;
mod domain;
mod error;
mod fence;
mod formation;
mod key;
mod limits;
mod managed;
mod name;
mod order;
mod phase;
mod public_key;
mod release;
mod rollout;
mod routing;
mod run;
mod token;

pub use build::BuildEnd;
pub use cert::Given;
pub use cron::{Claimed, CronClaimed, CronJob, Ended, Source};
pub use domain::Domain;
pub use error::{OpsError, Result};
pub use formation::{FormationLine, Restart};
pub use key::Key;
pub use rollout::Deployed;
pub use run::Run;
pub use token::Token;

use crate::{
    config::Config,
    store::{Keyring, Store, StoreError},
};
use anyhow::Context;
use std::{
    fmt,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// Who asks, for the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// E-mail, or `root`.
    pub user: String,
    /// They asked that a release made by this serves without its release phase.
    pub skips_phase: bool,
}

impl Actor {
    /// Somebody, by e-mail.
    pub fn new(user: impl Into<String>) -> Actor {
        Actor {
            user: user.into(),
            skips_phase: false,
        }
    }

    /// The same, with the release phase left out if it is wished.
    pub fn skipping_phase(mut self, skip: bool) -> Actor {
        self.skips_phase = skip;
        self
    }

    /// Whoever has the Unix socket.
    pub fn root() -> Actor {
        Actor::new("root")
    }
}

/// The use cases; cheap to clone.
#[derive(Clone)]
pub struct Ops {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    store: Store,
    keyring: Keyring,
    /// What was derived from one generation of the store; made anew after the next commit.
    wishes: Mutex<Arc<hokku_core::desired::Desired>>,
    /// How often the settings have changed: what was derived from others is not kept.
    settings: AtomicU64,
    secrets: Mutex<Arc<token::Secrets>>,
    /// Releases as they were made, which never changes; few, and forgotten all at once.
    made: Mutex<release::Made>,
    /// authorized_keys is written by one at a time, from what the store says then.
    keys_file: tokio::sync::Mutex<()>,
}

impl Ops {
    /// Opens the store and the key under `config.data_dir`, making both at the first start. Blocks for some
    /// milliseconds (up to five seconds when another agent is just ending).
    ///
    /// # Errors
    /// In words: another agent uses the folder, the store is damaged or newer than this program, the key is missing,
    /// readable by others, or not the one that the store was written with.
    pub fn open(config: Arc<Config>) -> anyhow::Result<Ops> {
        let dir = &config.data_dir;
        if !dir.is_dir() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .with_context(|| format!("can't make the data folder {}", dir.display()))?;
        }
        let store = Store::open(&dir.join("hokku.db"))?;
        let keyring = keyring(&store, &dir.join("secret.key"))?;
        Ok(Ops {
            inner: Arc::new(Inner {
                config,
                store,
                keyring,
                wishes: Mutex::default(),
                settings: AtomicU64::new(0),
                secrets: Mutex::default(),
                made: Mutex::default(),
                keys_file: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// Rings after each commit, with the store's generation. A hint: read again.
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.inner.store.bell()
    }

    /// The settings.
    pub fn config(&self) -> &Arc<Config> {
        &self.inner.config
    }

    /// What was derived from the settings is made anew.
    pub fn settings_changed(&self) {
        let mut wishes = self
            .inner
            .wishes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.inner.settings.fetch_add(1, Ordering::Relaxed);
        *wishes = Arc::default();
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }
}

impl fmt::Debug for Ops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ops({})", self.inner.config.data_dir.display())
    }
}

/// The key that this store was written with; made with the store at the first start, and never again: a new key
/// could open nothing that is there.
fn keyring(store: &Store, path: &Path) -> anyhow::Result<Keyring> {
    const KIND: &str = "key-check";
    const PLACE: &str = "key check";
    const WORD: &[u8] = b"hokku";
    let check = store.write_at_start(|tx| tx.get::<Vec<u8>>(KIND, "1"))?;
    let there = path
        .try_exists()
        .with_context(|| format!("can't look for the key file {}", path.display()))?;
    let keyring = match (&check, there) {
        (_, true) => Keyring::load(path)?,
        (None, false) => Keyring::create(path)?,
        (Some(_), false) => anyhow::bail!(
            "the key file {0} is missing, and without it the config vars in the database can't be opened. \
             Put {0} back from the backup that the database belongs to",
            path.display()
        ),
    };
    match check {
        Some(check) => {
            keyring.open(PLACE, &check.body).with_context(|| {
                format!(
                    "the key file {} is not the one that this database was written with. \
                     Put back the key and the database of the same backup",
                    path.display()
                )
            })?;
        }
        None => {
            let sealed = keyring.seal(PLACE, WORD)?;
            store.write_at_start::<_, StoreError>(|tx| tx.insert(KIND, "1", &sealed))?;
        }
    }
    Ok(keyring)
}

#[cfg(test)]
mod tests;
