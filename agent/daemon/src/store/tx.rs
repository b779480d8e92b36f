//! One transaction, and the dozen statements.

use super::StoreError;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use serde::{Serialize, de::DeserializeOwned};
use std::{cell::Cell, path::Path};

/// A document as it was read; [`Tx::replace`] refuses when it has changed since.
#[derive(Clone, Debug)]
pub struct Doc<T> {
    /// Its key.
    pub key: String,
    /// Grows by one with each change.
    pub generation: i64,
    /// What it says.
    pub body: T,
}

/// An entry of the history.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// Whose: an app's id.
    pub app: String,
    /// Its number within kind and app.
    pub seq: u32,
    /// What it says.
    pub body: T,
    /// What it hides; see [`super::Keyring`].
    pub sealed: Option<Vec<u8>>,
}

/// A transaction. Dropping it undoes everything.
pub struct Tx<'a> {
    conn: &'a Connection,
    path: &'a Path,
    changed: Cell<bool>,
}

impl<'a> Tx<'a> {
    pub(super) fn begin(
        conn: &'a Connection,
        path: &'a Path,
        write: bool,
    ) -> Result<Tx<'a>, StoreError> {
        conn.execute_batch(if write { "BEGIN IMMEDIATE" } else { "BEGIN" })
            .map_err(|e| StoreError::sql(path, e))?;
        Ok(Tx {
            conn,
            path,
            changed: Cell::new(false),
        })
    }

    /// The new generation, or nothing when nothing was changed.
    pub(super) fn commit(self) -> Result<Option<u64>, StoreError> {
        if !self.changed.get() {
            return Ok(None);
        }
        self.run(
            "UPDATE ledger SET generation = generation + 1 WHERE one = 1",
            [],
        )?;
        let generation = self.generation()?;
        self.conn
            .execute_batch("COMMIT")
            .map_err(|e| StoreError::sql(self.path, e))?;
        Ok(Some(generation))
    }

    /// The generation of the state that this transaction sees.
    ///
    /// # Errors
    /// Of the store.
    pub fn generation(&self) -> Result<u64, StoreError> {
        let g: Option<i64> =
            self.first("SELECT generation FROM ledger WHERE one = 1", [], |r| {
                r.get(0)
            })?;
        Ok(g.and_then(|g| u64::try_from(g).ok()).unwrap_or_default())
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Of the store.
    pub fn get<T: DeserializeOwned>(
        &self,
        kind: &str,
        key: &str,
    ) -> Result<Option<Doc<T>>, StoreError> {
        self.first(
            "SELECT key, generation, body FROM document WHERE kind = $1 AND key = $2",
            (kind, key),
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
        )?
        .map(|row| doc(kind, row))
        .transpose()
    }

    /// Reads all documents of a kind, sorted by key.
    ///
    /// # Errors
    /// Of the store.
    pub fn list<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<Doc<T>>, StoreError> {
        self.all(
            "SELECT key, generation, body FROM document WHERE kind = $1 ORDER BY key",
            [kind],
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
        )?
        .into_iter()
        .map(|row| doc(kind, row))
        .collect()
    }

    /// Makes a document.
    ///
    /// # Errors
    /// `Stale` when there is one already.
    pub fn insert<T: Serialize>(&self, kind: &str, key: &str, body: &T) -> Result<(), StoreError> {
        let n = self.run(
            "INSERT INTO document (kind, key, generation, body) VALUES ($1, $2, 1, $3) ON CONFLICT DO NOTHING",
            (kind, key, text(kind, key, body)?),
        )?;
        one(n, kind, key)
    }

    /// Changes a document, unless somebody else has since it was read.
    ///
    /// # Errors
    /// `Stale` when its generation is another or it is gone.
    pub fn replace<T: Serialize>(&self, kind: &str, doc: &mut Doc<T>) -> Result<(), StoreError> {
        let n = self.run(
            "UPDATE document SET generation = generation + 1, body = $1 WHERE kind = $2 AND key = $3 AND generation = $4",
            (text(kind, &doc.key, &doc.body)?, kind, &doc.key, doc.generation),
        )?;
        one(n, kind, &doc.key)?;
        doc.generation += 1;
        Ok(())
    }

    /// Removes a document; was there one?
    ///
    /// # Errors
    /// Of the store.
    pub fn delete(&self, kind: &str, key: &str) -> Result<bool, StoreError> {
        Ok(self.run(
            "DELETE FROM document WHERE kind = $1 AND key = $2",
            (kind, key),
        )? > 0)
    }

    /// Adds to the history. `id` is unique within the kind.
    ///
    /// # Errors
    /// `Stale` when this number or id is taken.
    pub fn append<T: Serialize>(
        &self,
        kind: &str,
        app: &str,
        seq: u32,
        id: &str,
        body: &T,
        sealed: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let n = self.run(
            "INSERT INTO history (kind, app, seq, id, body, sealed) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            (kind, app, seq, id, text(kind, id, body)?, sealed),
        )?;
        one(n, kind, id)
    }

    /// One entry by its number.
    ///
    /// # Errors
    /// Of the store.
    pub fn entry<T: DeserializeOwned>(
        &self,
        kind: &str,
        app: &str,
        seq: u32,
    ) -> Result<Option<Entry<T>>, StoreError> {
        self.first(
            "SELECT app, seq, body, sealed FROM history WHERE kind = $1 AND app = $2 AND seq = $3",
            (kind, app, seq),
            entry_row,
        )?
        .map(|row| entry(kind, row))
        .transpose()
    }

    /// One entry by its id.
    ///
    /// # Errors
    /// Of the store.
    pub fn entry_by_id<T: DeserializeOwned>(
        &self,
        kind: &str,
        id: &str,
    ) -> Result<Option<Entry<T>>, StoreError> {
        self.first(
            "SELECT app, seq, body, sealed FROM history WHERE kind = $1 AND id = $2",
            (kind, id),
            entry_row,
        )?
        .map(|row| entry(kind, row))
        .transpose()
    }

    /// All entries of a kind and app, newest first, without what they hide.
    ///
    /// # Errors
    /// Of the store.
    pub fn entries<T: DeserializeOwned>(
        &self,
        kind: &str,
        app: &str,
    ) -> Result<Vec<Entry<T>>, StoreError> {
        self.all(
            "SELECT app, seq, body, NULL FROM history WHERE kind = $1 AND app = $2 ORDER BY seq DESC",
            (kind, app),
            entry_row,
        )?
        .into_iter()
        .map(|row| entry(kind, row))
        .collect()
    }

    /// What one entry hides, without reading what it says; `None`: there is no such entry.
    ///
    /// # Errors
    /// Of the store.
    pub fn sealed(
        &self,
        kind: &str,
        app: &str,
        seq: u32,
    ) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        self.first(
            "SELECT sealed FROM history WHERE kind = $1 AND app = $2 AND seq = $3",
            (kind, app, seq),
            |r| r.get(0),
        )
    }

    /// The newest entries of a kind and app, at most so many, newest first, without what they hide.
    ///
    /// # Errors
    /// Of the store.
    pub fn newest<T: DeserializeOwned>(
        &self,
        kind: &str,
        app: &str,
        most: u32,
    ) -> Result<Vec<Entry<T>>, StoreError> {
        self.all(
            "SELECT app, seq, body, NULL FROM history WHERE kind = $1 AND app = $2 ORDER BY seq DESC LIMIT $3",
            (kind, app, most),
            entry_row,
        )?
        .into_iter()
        .map(|row| entry(kind, row))
        .collect()
    }

    /// Removes the entries of a kind and app up to a number, itself included.
    ///
    /// # Errors
    /// Of the store.
    pub fn prune(&self, kind: &str, app: &str, up_to: u32) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM history WHERE kind = $1 AND app = $2 AND seq <= $3",
            (kind, app, up_to),
        )?;
        Ok(())
    }

    /// The highest number of a kind and app; 0 when there is none.
    ///
    /// # Errors
    /// Of the store.
    pub fn last_seq(&self, kind: &str, app: &str) -> Result<u32, StoreError> {
        let n = self.first(
            "SELECT COALESCE(MAX(seq), 0) FROM history WHERE kind = $1 AND app = $2",
            (kind, app),
            |r| r.get(0),
        )?;
        Ok(n.unwrap_or_default())
    }

    /// Removes all history of an app that is gone.
    ///
    /// # Errors
    /// Of the store.
    pub fn forget(&self, app: &str) -> Result<(), StoreError> {
        self.run("DELETE FROM history WHERE app = $1", [app])?;
        Ok(())
    }

    /// Takes something that only one can have; false: somebody has it.
    ///
    /// # Errors
    /// Of the store.
    pub fn claim(&self, kind: &str, key: &str, owner: &str) -> Result<bool, StoreError> {
        Ok(self.run(
            "INSERT INTO claim (kind, key, owner) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            (kind, key, owner),
        )? > 0)
    }

    /// Who has it.
    ///
    /// # Errors
    /// Of the store.
    pub fn owner(&self, kind: &str, key: &str) -> Result<Option<String>, StoreError> {
        self.first(
            "SELECT owner FROM claim WHERE kind = $1 AND key = $2",
            (kind, key),
            |r| r.get(0),
        )
    }

    /// Gives it free.
    ///
    /// # Errors
    /// Of the store.
    pub fn unclaim(&self, kind: &str, key: &str) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM claim WHERE kind = $1 AND key = $2",
            (kind, key),
        )?;
        Ok(())
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        let n = self
            .conn
            .prepare_cached(sql)
            .and_then(|mut s| s.execute(params))
            .map_err(|e| StoreError::sql(self.path, e))?;
        if n > 0 {
            self.changed.set(true);
        }
        Ok(n)
    }

    fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&Row) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row(params, row).optional())
            .map_err(|e| StoreError::sql(self.path, e))
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnMut(&Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut s| s.query_map(params, row)?.collect())
            .map_err(|e| StoreError::sql(self.path, e))
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        // Some errors, a full disk among them, make SQLite roll back by itself.
        if !self.conn.is_autocommit()
            && let Err(e) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!("can't undo a transaction of {}: {e}", self.path.display());
        }
    }
}

type EntryRow = (String, u32, String, Option<Vec<u8>>);

fn entry_row(r: &Row) -> rusqlite::Result<EntryRow> {
    Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
}

fn entry<T: DeserializeOwned>(kind: &str, row: EntryRow) -> Result<Entry<T>, StoreError> {
    let (app, seq, body, sealed) = row;
    let body = serde_json::from_str(&body).map_err(|source| StoreError::Unreadable {
        kind: kind.into(),
        key: format!("{app} {seq}"),
        source,
    })?;
    Ok(Entry {
        app,
        seq,
        body,
        sealed,
    })
}

fn doc<T: DeserializeOwned>(kind: &str, row: (String, i64, String)) -> Result<Doc<T>, StoreError> {
    let (key, generation, body) = row;
    match serde_json::from_str(&body) {
        Ok(body) => Ok(Doc {
            key,
            generation,
            body,
        }),
        Err(source) => Err(StoreError::Unreadable {
            kind: kind.into(),
            key,
            source,
        }),
    }
}

fn text<T: Serialize>(kind: &str, key: &str, body: &T) -> Result<String, StoreError> {
    serde_json::to_string(body).map_err(|source| StoreError::Unreadable {
        kind: kind.into(),
        key: key.into(),
        source,
    })
}

fn one(n: usize, kind: &str, key: &str) -> Result<(), StoreError> {
    if n == 1 {
        return Ok(());
    }
    Err(StoreError::Stale {
        kind: kind.into(),
        key: key.into(),
    })
}
