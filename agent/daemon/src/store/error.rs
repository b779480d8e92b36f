//! Why the store could not do it, for a reader.

use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// What went wrong. Whatever it is, the transaction left no trace.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room.
    #[error(
        "nothing was changed: the disk is full, {} can't grow. Free some space there and try again", path.display()
    )]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Another program holds SQLite's lock.
    #[error(
        "nothing was changed: another program has locked {} for more than five seconds. Close it (a sqlite3 shell or a backup?) and try again", path.display()
    )]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// Another agent has the folder.
    #[error(
        "another hokkud is using this data folder: it holds {}. Stop it first, or use another data_dir", path.display()
    )]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// Not what we wrote.
    #[error(
        "the database {} is damaged: {text}. Stop hokkud and put a backup of it in place", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        text: String,
    },
    /// Written by a later version.
    #[error(
        "the database {} has schema {found}, and this hokkud knows schemas up to {known}: a newer hokkud wrote it. Install that version again, or put back a backup from before the upgrade", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The file system can't do it.
    #[error(
        "the database {} can't use a write-ahead log: its file system is read-only or has no shared memory. Put data_dir on a local disk", path.display()
    )]
    NoWal {
        /// The database.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("can't use {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another transaction changed the document in between, or it is there already, or gone.
    #[error("{kind} {key:?} was changed by somebody else at the same time; try again")]
    Stale {
        /// The document's kind.
        kind: String,
        /// Its key.
        key: String,
    },
    /// A stored text is not what this program writes.
    #[error("the stored {kind} {key:?} can't be read: {source}")]
    Unreadable {
        /// The kind.
        kind: String,
        /// The key.
        key: String,
        /// Where in it.
        source: serde_json::Error,
    },
    /// Anything else that SQLite says.
    #[error("the database {} failed: {source}", path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
}

impl StoreError {
    pub(super) fn sql(path: &Path, e: rusqlite::Error) -> StoreError {
        let path = path.to_path_buf();
        match e.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged {
                path,
                text: e.to_string(),
            },
            _ => StoreError::Sql { path, source: e },
        }
    }

    pub(super) fn file(path: &Path, source: std::io::Error) -> StoreError {
        let path = path.to_path_buf();
        if source.kind() == std::io::ErrorKind::StorageFull {
            return StoreError::Full { path };
        }
        StoreError::File { path, source }
    }
}
