//! The last tables on disk (routes, and certificates in a file of their own), so that the
//! router serves after a restart before any agent has connected.

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The stored table; an empty one of version 0 when there is none, or none that can be read. `what` names it in warnings.
pub(crate) fn load<T: DeserializeOwned + Default>(path: &Path, what: &str) -> T {
    let table = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(anyhow::Error::from),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return T::default(),
        Err(e) => Err(e.into()),
    };
    table.unwrap_or_else(|e| {
        tracing::warn!(
            "the stored {what} table {} cannot be used: {e}. Waiting for the agent's.",
            path.display()
        );
        T::default()
    })
}

fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    // one that a crash left might have another mode
    if let Err(e) = fs::remove_file(&fresh)
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(e.into());
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().context("the file has no folder")?;
    // that of "routes.json", as the router names it from within its folder, is ""
    File::open(Path::new(".").join(folder))?.sync_all()?;
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
    what: &'static str,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `what`: `route`, for warnings.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(path: PathBuf, what: &'static str) -> io::Result<Writer> {
        let desk: Arc<(Mutex<Desk>, Condvar)> = Arc::default();
        let theirs = desk.clone();
        let thread = std::thread::Builder::new()
            .name("router-snapshot".into())
            .spawn(move || {
                while let Some(bytes) = next(&theirs) {
                    if let Err(e) = save(&path, &bytes) {
                        tracing::warn!(
                            "the {what} table cannot be stored in {}: {e:#}",
                            path.display()
                        );
                    }
                }
            })?;
        Ok(Writer {
            desk,
            what,
            thread: Some(thread),
        })
    }

    /// Stores the table soon.
    pub fn store(&self, table: &impl Serialize) {
        match serde_json::to_vec(table) {
            Ok(bytes) => {
                let (desk, bell) = &*self.desk;
                desk.lock().unwrap_or_else(PoisonError::into_inner).newest = Some(bytes);
                bell.notify_one();
            }
            Err(e) => tracing::warn!("the {} table cannot be stored: {e}", self.what),
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
    use hokku_model::route::RouteTable;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_name_without_a_folder_is_one_of_this_folder() {
        let name = Path::new("hokku-router-snapshot-test.json");
        save(name, b"{}").unwrap();
        assert_eq!(fs::read(name).unwrap(), b"{}");
        fs::remove_file(name).unwrap();
    }

    #[test]
    fn the_newest_is_stored_and_rubbish_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        assert_eq!(load::<RouteTable>(&path, "route"), RouteTable::default());
        // a leftover that everybody may read
        fs::write(dir.path().join("routes.new"), "old").unwrap();
        let writer = Writer::start(path.clone(), "route").unwrap();
        for version in 1..=50 {
            writer.store(&RouteTable {
                version,
                ..RouteTable::default()
            });
        }
        drop(writer);
        assert_eq!(load::<RouteTable>(&path, "route").version, 50);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "{\"version\": 3, \"apps\"").unwrap();
        assert_eq!(load::<RouteTable>(&path, "route"), RouteTable::default());
    }
}
