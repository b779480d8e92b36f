//! What is read from the folder of a cron entry's run after its end. As every one-off's it stays until its end is written
//! down elsewhere ([`Supervisor::forget`]): an agent that is killed in between finds it again, and no folder at all means
//! that the dyno was never started.

use super::{Supervisor, folder};
use hokku_model::{
    DynoId, Micros,
    dyno::{DynoRecord, Purpose},
};
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
    /// Is it a run of a cron entry, of which the most memory is to be known?
    pub(super) fn is_run(&self, dyno: DynoId) -> bool {
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
}
