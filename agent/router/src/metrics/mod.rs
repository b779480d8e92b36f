//! Figures of all requests, for Prometheus.
//!
//! What it does: counts per app, process type, class of status and H code, and keeps times in buckets (`histogram`), in
//! one table a thread (`table`); sums the tables when someone asks (`render`), over a Unix socket in the router's folder
//! and a TCP port if one is set (`crate::plain`). What it never does: lock, wait or allocate while a request is served (but
//! for the row of an app that a thread sees for the first time).
//! Who calls it: `flight` when a request is over, `forward` and `upgrade` for single events, `control` with each table.
//! Tests: beside the code; the output is read by Prometheus' own parser in the slow suites (`tests/`).

pub(crate) mod histogram;
mod render;
mod table;

pub(crate) use render::{Gauges, Standing, TYPE};
pub(crate) use table::{Count, Finished, NO_APP};

use hokku_model::{AppId, AppName};
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::{OTHERS, Row, SLOTS, Table};

/// All tables, and which row is whose. Only tables and scrapes take its lock, requests never.
pub(crate) struct Metrics {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tables: Vec<Arc<Table>>,
    owners: BTreeMap<AppId, Owner>,
    free: BTreeSet<u32>,
    /// Rows that were never anybody's begin here.
    fresh: u32,
}

struct Owner {
    slot: u32,
    name: AppName,
    /// What the row held when this app got it. A row only grows, so nobody has to clear it under a writer's hands.
    base: Box<Row<u64>>,
}

/// What a serving thread writes to. Not `Sync`: one writer a table.
pub(crate) struct Recorder {
    table: Arc<Table>,
    _one_thread: PhantomData<std::cell::Cell<()>>,
}

impl Recorder {
    /// Counts a finished request for the app of this slot: about 120 instructions, no lock, no system call.
    pub fn record(&self, slot: u32, finished: &Finished) {
        self.table.record(slot, finished);
    }

    /// Counts `n` of something outside of finished requests.
    pub fn count(&self, slot: u32, what: Count, n: u64) {
        self.table.count(slot, what, n);
    }
}

impl Metrics {
    pub fn new() -> Arc<Metrics> {
        let inner = Inner {
            fresh: OTHERS + 1,
            ..Inner::default()
        };
        Arc::new(Metrics {
            inner: Mutex::new(inner),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A table for one more thread.
    pub fn recorder(&self) -> Recorder {
        let table = Arc::new(Table::new());
        self.inner().tables.push(table.clone());
        Recorder {
            table,
            _one_thread: PhantomData,
        }
    }

    /// The slot of an app, the same as long as [`Metrics::keep`] knows it. A new name is taken over.
    pub fn slot(&self, app: AppId, name: &AppName) -> u32 {
        let mut inner = self.inner();
        if let Some(owner) = inner.owners.get_mut(&app) {
            owner.name = name.clone();
            return owner.slot;
        }
        let slot = match inner.free.pop_first() {
            Some(slot) => slot,
            None if (inner.fresh as usize) < SLOTS => {
                inner.fresh += 1;
                inner.fresh - 1
            }
            None => return OTHERS,
        };
        let owner = Owner {
            slot,
            name: name.clone(),
            base: inner.sum(slot),
        };
        inner.owners.insert(app, owner);
        slot
    }

    /// Forgets the apps that `is_there` does not know; their slots go to others.
    pub fn keep(&self, is_there: impl Fn(AppId) -> bool) {
        let mut inner = self.inner();
        let gone: Vec<AppId> = inner
            .owners
            .keys()
            .copied()
            .filter(|a| !is_there(*a))
            .collect();
        for app in gone {
            if let Some(owner) = inner.owners.remove(&app) {
                inner.free.insert(owner.slot);
            }
        }
    }

    /// Everything in Prometheus' text format, with what is true at this moment.
    pub fn render(&self, gauges: &Gauges) -> String {
        let inner = self.inner();
        let mut rows: Vec<(String, Box<Row<u64>>)> = Vec::new();
        for owner in inner.owners.values() {
            let mut row = inner.sum(owner.slot);
            row.less(&owner.base);
            rows.push((owner.name.to_string(), row));
        }
        for (slot, name) in [(NO_APP, ""), (OTHERS, "(others)")] {
            if inner.tables.iter().any(|t| t.row(slot).is_some()) {
                rows.push((name.to_owned(), inner.sum(slot)));
            }
        }
        drop(inner);
        render::text(&rows, gauges)
    }
}

impl Inner {
    fn sum(&self, slot: u32) -> Box<Row<u64>> {
        let mut row = Box::<Row<u64>>::default();
        for table in &self.tables {
            if let Some(of_thread) = table.row(slot) {
                row.add(of_thread);
            }
        }
        row
    }
}

#[cfg(test)]
mod tests;
