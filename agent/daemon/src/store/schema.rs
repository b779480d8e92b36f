//! The tables, by numbered steps.

use super::StoreError;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// Step n leads from schema n to n + 1. Steps are never edited once released.
const STEPS: &[&str] = &["
CREATE TABLE document (
    kind TEXT NOT NULL, key TEXT NOT NULL, generation BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE TABLE history (
    kind TEXT NOT NULL, app TEXT NOT NULL, seq BIGINT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, sealed BYTEA,
    PRIMARY KEY (kind, app, seq)
);
CREATE UNIQUE INDEX history_id ON history (kind, id);
CREATE TABLE claim (
    kind TEXT NOT NULL, key TEXT NOT NULL, owner TEXT NOT NULL,
    PRIMARY KEY (kind, key)
);
"];

/// Brings the tables up to date; gives the generation.
pub(super) fn prepare(conn: &Connection, path: &Path) -> Result<u64, StoreError> {
    steps(conn).map_err(|e| {
        if !conn.is_autocommit() {
            let _ = conn.execute_batch("ROLLBACK");
        }
        match e {
            Refused::Sql(e) => StoreError::sql(path, e),
            Refused::Newer(found) => StoreError::Newer {
                path: path.into(),
                found,
                known: STEPS.len() as i64,
            },
        }
    })
}

enum Refused {
    Sql(rusqlite::Error),
    Newer(i64),
}
impl From<rusqlite::Error> for Refused {
    fn from(e: rusqlite::Error) -> Refused {
        Refused::Sql(e)
    }
}

fn steps(conn: &Connection) -> Result<u64, Refused> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS ledger (one BIGINT PRIMARY KEY, schema BIGINT NOT NULL, generation BIGINT NOT NULL)",
    )?;
    let row: Option<(i64, i64)> = conn
        .query_row(
            "SELECT schema, generation FROM ledger WHERE one = 1",
            [],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
        .optional()?;
    let known = STEPS.len() as i64;
    let (found, generation) = row.unwrap_or((0, 0));
    if found > known {
        return Err(Refused::Newer(found));
    }
    if row.is_none() {
        conn.execute_batch("INSERT INTO ledger (one, schema, generation) VALUES (1, 0, 0)")?;
    }
    for step in STEPS
        .iter()
        .skip(usize::try_from(found).unwrap_or_default())
    {
        conn.execute_batch(step)?;
    }
    if found < known {
        conn.execute("UPDATE ledger SET schema = $1 WHERE one = 1", [known])?;
    }
    conn.execute_batch("COMMIT")?;
    Ok(u64::try_from(generation).unwrap_or_default())
}
