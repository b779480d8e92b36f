//! The folder of one dyno on disk.

use crate::sys::{disk, process::Process, shim};
use hokku_model::{
    DynoId, Micros,
    dyno::{DynoRecord, Exit},
    shim::ShimPid,
};
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

const RECORD: &str = "record.json";

const PEAK: &str = "peak";

/// Its presence says that the dyno got its SIGTERM.
const STOPPING: &str = "stopping";

/// Makes the folder, with the record in it, on disk for sure.
pub fn create(dir: &Path, record: &DynoRecord) -> io::Result<()> {
    let make = |d: &Path, all| fs::DirBuilder::new().recursive(all).mode(0o700).create(d);
    if let Some(parent) = dir.parent() {
        make(parent, true)?;
    }
    make(dir, false)?;
    disk::write_whole(dir, RECORD, &serde_json::to_vec(record)?)
}

/// The dynos that have folders.
pub fn list(dynos: &Path) -> Vec<DynoId> {
    fs::read_dir(dynos)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect()
}

/// The record, when it is there and is this dyno's.
pub fn record(dir: &Path, dyno: DynoId) -> Option<DynoRecord> {
    let text = fs::read(dir.join(RECORD)).ok()?;
    serde_json::from_slice(&text)
        .ok()
        .filter(|r: &DynoRecord| r.id == dyno)
}

/// Does it stay after the dyno's end, until somebody has written that down? A one-off is not started again when its
/// end is lost, so it must not get lost.
pub fn is_kept(dir: &Path, dyno: DynoId) -> bool {
    record(dir, dyno).is_some_and(|r| r.oneoff)
}

/// Notes that the dyno is told to stop, for an agent that adopts it later. Lost at a power cut, as the dyno is.
pub fn mark_stopping(dir: &Path) {
    if let Err(e) = fs::write(dir.join(STOPPING), []) {
        tracing::warn!("can't note in {} that its dyno stops: {e}", dir.display());
    }
}

/// Was it told to stop?
pub fn is_stopping(dir: &Path) -> bool {
    dir.join(STOPPING).exists()
}

/// The most bytes of memory that the dyno was seen to use, once it has ended.
pub fn peak(dir: &Path) -> Option<u64> {
    fs::read_to_string(dir.join(PEAK)).ok()?.trim().parse().ok()
}

/// Notes it. Nothing is noted of one that was never looked at.
pub fn write_peak(dir: &Path, bytes: u64) {
    if bytes > 0
        && let Err(e) = fs::write(dir.join(PEAK), bytes.to_string())
    {
        tracing::warn!(
            "can't note in {} how much memory its dyno used: {e}",
            dir.display()
        );
    }
}

/// When a file of the folder was written.
pub fn written(dir: &Path, name: &str) -> Option<Micros> {
    let at = fs::metadata(dir.join(name)).ok()?.modified().ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Micros(since.as_micros() as i64))
}

/// Removes the folder; what can't be removed is said and left.
pub async fn remove(dir: PathBuf) {
    let path = dir.clone();
    let r = tokio::task::spawn_blocking(move || disk::remove_tree(&path)).await;
    if let Ok(Err(e)) = r {
        tracing::warn!(
            "can't remove the folder {} of a dyno that ended: {e}",
            dir.display()
        );
    }
}

/// Kills a shim that does not answer.
pub async fn kill_shim(dir: &Path) -> Exit {
    let who: Option<ShimPid> = fs::read(dir.join("shim.json"))
        .ok()
        .and_then(|t| serde_json::from_slice(&t).ok());
    if let Some(Ok(Some(p))) = who.as_ref().map(Process::find) {
        p.kill();
        p.gone().await;
    }
    shim::last_words(dir)
}
