//! The store: what should be and what was, in a small ledger of SQL.
//!
//! What it does: documents by kind and key with a generation (compare and set), append-only history, unique claims,
//! one transaction per use case, and a bell that rings after each commit. Seals secrets ([`Keyring`]).
//! What it never does: know what an app is, decide anything, keep what can be seen by looking at the machine.
//! Who calls it: `ops`, nobody else. Where its tests are: beside the code; the use cases' in `ops`.
//!
//! The SQL has only TEXT, BIGINT and BYTEA and `$1..$n` in ascending order, so that the same statements can be given
//! to PostgreSQL; a transaction's closure may then run more than once, which is why it is an `Fn`.

mod error;
mod keyring;
mod schema;
mod tx;

pub use error::StoreError;
pub use keyring::Keyring;
pub use tx::{Doc, Entry, Tx};

use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{File, OpenOptions, Permissions, TryLockError},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, watch};

/// How long another program may hold a lock before we give up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The handle; cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    // Fields drop in this order: the database is closed before the folder is given free.
    conn: Mutex<Connection>,
    path: PathBuf,
    bell: watch::Sender<u64>,
    _alone: File,
}

impl Store {
    /// Opens the database file, making it (mode 0600) and its tables when they are missing. Blocks for at most about
    /// ten seconds while another process holds a lock.
    ///
    /// # Errors
    /// [`StoreError`], in words: in use, damaged, newer than this program, disk full, not allowed.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let alone = lock(path)?;
        private_file(path).map_err(|e| StoreError::file(path, e))?;
        let sql = |e| StoreError::sql(path, e);
        let conn = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(sql)?;
        conn.busy_timeout(PATIENCE).map_err(sql)?;
        let mode: String = conn
            .pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))
            .map_err(sql)?;
        if mode != "wal" {
            return Err(StoreError::NoWal { path: path.into() });
        }
        conn.pragma_update(None, "synchronous", "FULL")
            .map_err(sql)?;
        conn.set_prepared_statement_cache_capacity(32);
        let generation = schema::prepare(&conn, path)?;
        Ok(Store {
            inner: Arc::new(Inner {
                conn: Mutex::new(conn),
                path: path.into(),
                bell: watch::channel(generation).0,
                _alone: alone,
            }),
        })
    }

    /// Rings after each commit that changed something, with the generation it made.
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.inner.bell.subscribe()
    }

    /// The generation of the newest commit.
    pub fn generation(&self) -> u64 {
        *self.inner.bell.borrow()
    }

    /// Looks at one state of the store.
    ///
    /// # Errors
    /// What the closure gives, or the store's own.
    pub async fn read<T, E: From<StoreError>>(
        &self,
        work: impl Fn(&Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let conn = self.inner.conn.lock().await;
        let tx = Tx::begin(&conn, &self.inner.path, false)?;
        work(&tx)
    }

    /// One transaction: all that the closure does is on disk when this returns `Ok`, and nothing of it after `Err`.
    /// Then the bell rings, unless nothing was changed. The closure may run more than once.
    ///
    /// # Errors
    /// What the closure gives, or the store's own.
    pub async fn write<T, E: From<StoreError>>(
        &self,
        work: impl Fn(&Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let conn = self.inner.conn.lock().await;
        // No await from here to the end: a caller that goes away can't leave a transaction open.
        on_disk(|| self.transact(&conn, &work))
    }

    /// As [`Store::write`], for the start, before there is a runtime.
    ///
    /// # Errors
    /// As [`Store::write`]; also when somebody else uses the store at this moment.
    pub fn write_at_start<T, E: From<StoreError>>(
        &self,
        work: impl Fn(&Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let conn = self.inner.conn.try_lock().map_err(|_| StoreError::Busy {
            path: self.inner.path.clone(),
        })?;
        self.transact(&conn, &work)
    }

    fn transact<T, E: From<StoreError>>(
        &self,
        conn: &Connection,
        work: &impl Fn(&Tx) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = Tx::begin(conn, &self.inner.path, true)?;
        let out = work(&tx)?;
        if let Some(generation) = tx.commit()? {
            self.inner.bell.send_replace(generation);
        }
        Ok(out)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.path.display())
    }
}

/// Runs work that waits for the disk. `block_in_place` lets the worker's other tasks move on; it panics on a
/// current-thread runtime, which has no other worker to give them to.
fn on_disk<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|h| h.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Two agents on one folder would each believe to be the only one that starts dynos.
fn lock(path: &Path) -> Result<File, StoreError> {
    let name = path.with_extension("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&name)
        .map_err(|e| StoreError::file(&name, e))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // The one before may just be ending: SIGKILL returns before the process is gone.
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: name }),
            Err(TryLockError::Error(e)) => return Err(StoreError::file(&name, e)),
        }
    }
}

/// SQLite gives its -wal and -shm files the mode of the database.
fn private_file(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

#[cfg(test)]
mod tests;
