//! One thread's figures: plain cells that only this thread writes and that a scrape reads.
//!
//! A cell is an atomic, but nothing is read and written in one step: the one writer loads, adds and stores (relaxed, an
//! ordinary `add` in memory). No lock, no line of the cache that two threads write to.

use super::histogram::{self, BUCKETS};
use hokku_model::code::Code;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Apps that have figures of their own; those beyond share one row. A row is about 4 KB a thread, made when it is first
/// used.
pub(crate) const SLOTS: usize = 2048;
/// The row of requests that belong to no app.
pub(crate) const NO_APP: u32 = 0;
/// The row that apps share when there are too many.
pub(crate) const OTHERS: u32 = 1;
/// H00 to H99.
pub(crate) const CODES: usize = 100;
/// 1xx to 5xx.
pub(crate) const CLASSES: usize = 5;

/// What is only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Count {
    /// Bytes of request bodies.
    BytesIn,
    /// Bytes of answers' bodies, as sent.
    BytesOut,
    /// Bytes that compression saved.
    Saved,
    /// Further attempts after one that failed.
    Retries,
    /// Dynos that were put into quarantine.
    Quarantines,
    /// Requests that became tunnels.
    TunnelsOpened,
    /// Tunnels that ended.
    TunnelsClosed,
}
pub(crate) const COUNTS: usize = 7;

/// Times with their sum.
pub(crate) struct Times<C> {
    pub buckets: [C; BUCKETS],
    /// Microseconds.
    pub sum: C,
}

/// The figures of one app.
pub(crate) struct Row<C> {
    pub counts: [C; COUNTS],
    /// Requests by class of status.
    pub classes: [C; CLASSES],
    /// Requests by the number of their H code.
    pub codes: [C; CODES],
    /// To the end of the answer, by class.
    pub service: [Times<C>; CLASSES],
    pub queue: Times<C>,
    pub connect: Times<C>,
}

impl<C: Default> Default for Times<C> {
    fn default() -> Times<C> {
        Times {
            buckets: std::array::from_fn(|_| C::default()),
            sum: C::default(),
        }
    }
}

impl<C: Default> Default for Row<C> {
    fn default() -> Row<C> {
        Row {
            counts: std::array::from_fn(|_| C::default()),
            classes: std::array::from_fn(|_| C::default()),
            codes: std::array::from_fn(|_| C::default()),
            service: std::array::from_fn(|_| Times::default()),
            queue: Times::default(),
            connect: Times::default(),
        }
    }
}

impl<C> Times<C> {
    fn cells(&self) -> impl Iterator<Item = &C> {
        self.buckets.iter().chain([&self.sum])
    }
    fn cells_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.buckets.iter_mut().chain([&mut self.sum])
    }
}

impl<C> Row<C> {
    fn cells(&self) -> impl Iterator<Item = &C> {
        let times = self.service.iter().chain([&self.queue, &self.connect]);
        (self.counts.iter())
            .chain(&self.classes)
            .chain(&self.codes)
            .chain(times.flat_map(Times::cells))
    }
    fn cells_mut(&mut self) -> impl Iterator<Item = &mut C> {
        let times = (self.service.iter_mut()).chain([&mut self.queue, &mut self.connect]);
        (self.counts.iter_mut())
            .chain(&mut self.classes)
            .chain(&mut self.codes)
            .chain(times.flat_map(Times::cells_mut))
    }
}

impl Row<u64> {
    /// Adds what a thread counted.
    pub fn add(&mut self, row: &Row<AtomicU64>) {
        for (to, from) in self.cells_mut().zip(row.cells()) {
            *to = to.wrapping_add(from.load(Relaxed));
        }
    }

    /// Takes away what an earlier owner of the row had counted.
    pub fn less(&mut self, base: &Row<u64>) {
        for (to, from) in self.cells_mut().zip(base.cells()) {
            *to = to.saturating_sub(*from);
        }
    }

    /// Counted so far.
    pub fn count(&self, what: Count) -> u64 {
        self.counts[what as usize]
    }
}

/// A finished request, as the figures see it. Times in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Finished {
    /// As the client got it, or as the log says (499).
    pub status: u16,
    /// Heroku's code, when the router failed it.
    pub code: Option<Code>,
    /// From the head's arrival until a dyno was found or the request failed.
    pub queue: u64,
    /// To connect; 0 for a pooled connection, `None` when no dyno was reached.
    pub connect: Option<u64>,
    /// From when the dyno had the request until the answer's end; `None` when no dyno had it.
    pub service: Option<u64>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body, as sent.
    pub bytes_out: u64,
    /// Bytes that compression saved.
    pub saved: u64,
    /// Attempts after the first.
    pub retries: u32,
    /// It was a tunnel; one [`Count::TunnelsOpened`] was counted when it became one.
    pub tunnel: bool,
}

/// The rows of one thread.
pub(crate) struct Table {
    rows: Box<[OnceLock<Box<Row<AtomicU64>>>]>,
}

impl Table {
    pub fn new() -> Table {
        Table {
            rows: (0..SLOTS).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The row of a slot, when something was counted there.
    pub fn row(&self, slot: u32) -> Option<&Row<AtomicU64>> {
        self.rows.get(slot as usize)?.get().map(|r| &**r)
    }

    fn writable(&self, slot: u32) -> &Row<AtomicU64> {
        let place = (self.rows.get(slot as usize)).unwrap_or(&self.rows[OTHERS as usize]);
        place.get_or_init(Box::default)
    }

    /// Only the owning thread may call this: see the module.
    pub(super) fn record(&self, slot: u32, f: &Finished) {
        let row = self.writable(slot);
        let class = (usize::from(f.status / 100).max(1) - 1).min(CLASSES - 1);
        add(&row.classes[class], 1);
        if let Some(code) = f.code {
            add(&row.codes[number(code)], 1);
        }
        times(&row.queue, f.queue);
        if let Some(connect) = f.connect {
            times(&row.connect, connect);
        }
        if f.tunnel {
            // how long people stay connected is not how fast an app answers
            add(&row.counts[Count::TunnelsClosed as usize], 1);
        } else if let Some(service) = f.service {
            times(&row.service[class], service);
        }
        for (what, n) in [
            (Count::BytesIn, f.bytes_in),
            (Count::BytesOut, f.bytes_out),
            (Count::Saved, f.saved),
            (Count::Retries, u64::from(f.retries)),
        ] {
            if n > 0 {
                add(&row.counts[what as usize], n);
            }
        }
    }

    /// Only the owning thread may call this.
    pub(super) fn count(&self, slot: u32, what: Count, n: u64) {
        add(&self.writable(slot).counts[what as usize], n);
    }
}

fn times(to: &Times<AtomicU64>, micros: u64) {
    add(&to.buckets[histogram::bucket(micros)], 1);
    add(&to.sum, micros);
}

/// One writer: no need for a step that cannot be interrupted.
fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
}

/// 12 for `H12`.
pub(crate) fn number(code: Code) -> usize {
    match code.code.as_bytes() {
        [_, tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            usize::from(tens - b'0') * 10 + usize::from(ones - b'0')
        }
        _ => 0,
    }
}
