//! Folders of dynos that ended and whose end is still to be written down: those of cron entries' runs. An agent that is
//! killed in between finds the folder and so the end again; no folder at all means that the dyno was never started.

use super::{Supervisor, folder};
use hokku_model::{
    DynoId, Micros,
    dyno::{DynoRecord, Purpose},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// By dyno: what of the two that its folder waits for has happened.
pub(super) type Kept = Mutex<HashMap<DynoId, Half>>;

/// The first of two steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Half {
    /// Its shim is gone and has cleaned up.
    Cleaned,
    /// Its end is written down.
    Forgotten,
}

/// What a dyno that ended has left, for its history.
#[derive(Clone, Debug)]
pub struct Remains {
    /// Its record; `None`: the start was never ordered, or the folder is gone.
    pub record: Option<DynoRecord>,
    /// When its process began; `None`: it never did.
    pub started_at: Option<Micros>,
    /// When it ended, if somebody saw it.
    pub ended_at: Option<Micros>,
    /// The most bytes of memory that it was seen to use.
    pub peak_memory: Option<u64>,
}

impl Supervisor {
    /// Is its folder kept until [`Supervisor::forget`]?
    pub(super) fn keeps(&self, dyno: DynoId) -> bool {
        let record = folder::record(&self.folder(dyno), dyno);
        record.is_some_and(|r| matches!(r.purpose, Purpose::Cron { .. }))
    }

    /// What a run of a cron entry has left.
    pub fn remains(&self, dyno: DynoId) -> Remains {
        let dir = self.folder(dyno);
        Remains {
            record: folder::record(&dir, dyno),
            started_at: folder::written(&dir, "shim.json"),
            ended_at: folder::written(&dir, "exit.json"),
            peak_memory: folder::peak(&dir),
        }
    }

    /// Gives up the folder of a run of a cron entry, because its end is written down.
    pub async fn forget(&self, dyno: DynoId) {
        let known = self.jobs().contains_key(&dyno);
        if known || self.folder(dyno).exists() {
            self.half(dyno, Half::Forgotten).await;
        }
    }

    /// Its shim is gone, and with it everything that used the folder.
    pub(super) async fn cleaned(&self, dyno: DynoId) {
        self.half(dyno, Half::Cleaned).await;
    }

    async fn half(&self, dyno: DynoId, half: Half) {
        let both = {
            let mut kept = self
                .inner
                .kept
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match kept.get(&dyno) {
                Some(other) if *other != half => kept.remove(&dyno).is_some(),
                _ => {
                    kept.insert(dyno, half);
                    false
                }
            }
        };
        if both {
            folder::remove(self.folder(dyno)).await;
        }
    }
}
