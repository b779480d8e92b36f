//! One address of one dyno as the router sees it: how much is in flight, whether it may get more, quarantine.
//!
//! The count and the "no more" mark are one atomic word, so a request is either counted before the dyno left the table
//! or is not given to it at all.

use crate::affinity::{Key, Tag};
use crate::clock;
use hokku_model::address::Address;
use hokku_model::{DynoId, route::Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;

const CLOSED: u64 = 1 << 63;

/// A target with its live figures. Kept over table changes as long as id and address stay.
pub(crate) struct Dyno {
    /// Unique in this process; names the pool of connections.
    pub serial: u64,
    pub id: DynoId,
    /// `web.1`
    pub name: String,
    pub addr: Address,
    /// Stands for it in cookies.
    pub tag: Tag,
    load: AtomicU64,
    quarantined_until: AtomicU64,
    /// Rung when the last request leaves a closed dyno.
    empty: Arc<Notify>,
}

impl Dyno {
    pub fn new(target: &Target, empty: Arc<Notify>, key: &Key) -> Arc<Dyno> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        Arc::new(Dyno {
            serial: SERIAL.fetch_add(1, SeqCst),
            id: target.dyno,
            name: target.name.to_string(),
            addr: target.addr.clone(),
            tag: Tag::of(key, target.dyno),
            load: AtomicU64::new(0),
            quarantined_until: AtomicU64::new(0),
            empty,
        })
    }

    /// Counts one request in, unless the dyno is closed.
    pub fn claim(self: &Arc<Self>) -> Option<Claim> {
        let taken = self
            .load
            .fetch_update(SeqCst, SeqCst, |v| (v & CLOSED == 0).then_some(v + 1));
        taken.is_ok().then(|| Claim(self.clone()))
    }

    /// Requests and tunnels in flight.
    pub fn in_flight(&self) -> u64 {
        self.load.load(SeqCst) & !CLOSED
    }

    /// From now on no claim succeeds.
    pub fn close(&self) {
        self.load.fetch_or(CLOSED, SeqCst);
    }

    /// Back in the table.
    pub fn open(&self) {
        self.load.fetch_and(!CLOSED, SeqCst);
    }

    pub fn is_closed(&self) -> bool {
        self.load.load(SeqCst) & CLOSED != 0
    }

    /// Keeps requests away for a while after a refused connection.
    pub fn quarantine(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.quarantined_until
            .store(clock::ms().saturating_add(ms).max(1), SeqCst);
    }

    /// A connection was made: it is well.
    pub fn release_from_quarantine(&self) {
        if self.quarantined_until.load(SeqCst) != 0 {
            self.quarantined_until.store(0, SeqCst);
        }
    }

    pub fn is_quarantined(&self) -> bool {
        let until = self.quarantined_until.load(SeqCst);
        until != 0 && clock::ms() < until
    }
}

/// One request counted in; counted out when dropped.
pub(crate) struct Claim(Arc<Dyno>);

impl Claim {
    pub fn dyno(&self) -> &Arc<Dyno> {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.0.load.fetch_sub(1, SeqCst) == CLOSED | 1 {
            self.0.empty.notify_one();
        }
    }
}

#[cfg(test)]
pub(crate) fn for_test(n: u32) -> Arc<Dyno> {
    let target = Target {
        dyno: DynoId(u128::from(n)),
        name: hokku_model::DynoName::new(hokku_model::ProcessType::web(), n),
        addr: std::net::SocketAddr::from(([127, 0, 0, 1], 9)).into(),
    };
    Dyno::new(&target, Arc::default(), &Key::fresh())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_takes_no_claim_and_tells_when_empty() {
        let d = for_test(1);
        let (a, b) = (d.claim().unwrap(), d.claim().unwrap());
        assert_eq!(d.in_flight(), 2);
        d.close();
        assert!(d.claim().is_none() && d.is_closed());
        drop(a);
        assert_eq!(d.in_flight(), 1);
        drop(b);
        assert_eq!(d.in_flight(), 0);
        d.open();
        assert!(d.claim().is_some());
    }

    #[test]
    fn no_claim_slips_past_a_close() {
        let d = for_test(1);
        let late = std::thread::scope(|s| {
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    s.spawn(|| {
                        // holds every claim: after the close the count may not grow
                        let mut held = Vec::new();
                        while let Some(c) = d.claim() {
                            held.push(c);
                            if held.len() > 2_000_000 {
                                break;
                            }
                        }
                        held
                    })
                })
                .collect();
            while d.in_flight() < 1000 {
                std::hint::spin_loop();
            }
            d.close();
            let seen = d.in_flight();
            let held: Vec<_> = takers.into_iter().map(|t| t.join().unwrap()).collect();
            (seen, held.iter().map(Vec::len).sum::<usize>() as u64)
        });
        assert_eq!(late.0, late.1);
        assert_eq!(d.in_flight(), 0);
    }

    #[test]
    fn quarantine_ends() {
        let d = for_test(1);
        assert!(!d.is_quarantined());
        d.quarantine(Duration::from_secs(5));
        assert!(d.is_quarantined());
        d.release_from_quarantine();
        assert!(!d.is_quarantined());
    }
}
