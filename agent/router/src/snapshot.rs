//! The last table on disk, so that the router serves after a restart before any agent has connected.

use anyhow::Context;
use hokku_model::route::RouteTable;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The stored table; an empty one of version 0 when there is none, or none that can be read.
pub(crate) fn load(path: &Path) -> RouteTable {
    let table = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(anyhow::Error::from),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return RouteTable::default(),
        Err(e) => Err(e.into()),
    };
    table.unwrap_or_else(|e| {
        tracing::warn!(
            "the stored route table {} cannot be used: {e}. Waiting for the agent's.",
            path.display()
        );
        RouteTable::default()
    })
}

fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().context("the file has no folder")?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

#[derive(Default)]
struct Desk {
    newest: Option<Vec<u8>>,
    closed: bool,
}

/// Writes tables on a thread of its own; of several that wait only the newest.
pub(crate) struct Writer {
    desk: Arc<(Mutex<Desk>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(path: PathBuf) -> io::Result<Writer> {
        let desk: Arc<(Mutex<Desk>, Condvar)> = Arc::default();
        let theirs = desk.clone();
        let thread = std::thread::Builder::new()
            .name("router-snapshot".into())
            .spawn(move || {
                while let Some(bytes) = next(&theirs) {
                    if let Err(e) = save(&path, &bytes) {
                        tracing::warn!(
                            "the route table cannot be stored in {}: {e:#}",
                            path.display()
                        );
                    }
                }
            })?;
        Ok(Writer {
            desk,
            thread: Some(thread),
        })
    }

    /// Stores the table soon.
    pub fn store(&self, table: &RouteTable) {
        match serde_json::to_vec(table) {
            Ok(bytes) => {
                let (desk, bell) = &*self.desk;
                desk.lock().unwrap_or_else(PoisonError::into_inner).newest = Some(bytes);
                bell.notify_one();
            }
            Err(e) => tracing::warn!("the route table cannot be stored: {e}"),
        }
    }
}

/// Waits for the next table; `None` when there will be none.
fn next((desk, bell): &(Mutex<Desk>, Condvar)) -> Option<Vec<u8>> {
    let desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
    let waiting = bell.wait_while(desk, |d| d.newest.is_none() && !d.closed);
    waiting
        .unwrap_or_else(PoisonError::into_inner)
        .newest
        .take()
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (desk, bell) = &*self.desk;
        desk.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        bell.notify_one();
        if let Some(thread) = self.thread.take() {
            // its panic was reported by the runtime
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_stored_and_rubbish_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        assert_eq!(load(&path), RouteTable::default());
        let writer = Writer::start(path.clone()).unwrap();
        for version in 1..=50 {
            writer.store(&RouteTable {
                version,
                ..RouteTable::default()
            });
        }
        drop(writer);
        assert_eq!(load(&path).version, 50);
        fs::write(&path, "{\"version\": 3, \"apps\"").unwrap();
        assert_eq!(load(&path), RouteTable::default());
    }
}
