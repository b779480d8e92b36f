//! How many requests of an app run at once, over all threads, where the app or its dynos have a limit.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Instant;
use tokio::sync::{Notify, futures::Notified};

/// One app's count. Carried from table to table.
pub(crate) struct Gate {
    /// As the newest table says; [`NONE`] without one.
    limit: AtomicU32,
    inside: AtomicU32,
    waiting: AtomicU32,
    /// Microseconds a request stays inside, as a moving average.
    stay: AtomicU32,
    freed: Notify,
}

const NONE: u32 = u32::MAX;

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            limit: AtomicU32::new(NONE),
            inside: AtomicU32::default(),
            waiting: AtomicU32::default(),
            stay: AtomicU32::default(),
            freed: Notify::default(),
        }
    }
}

impl Gate {
    /// Takes the limit of a new table; who waits looks again when it has grown.
    pub fn set_limit(&self, limit: Option<u32>) {
        let limit = limit.unwrap_or(NONE);
        if self.limit.swap(limit, SeqCst) < limit {
            self.freed.notify_waiters();
        }
    }

    /// Does everybody come in?
    pub fn is_open(&self) -> bool {
        self.limit.load(Relaxed) == NONE
    }

    /// Lets one more in, if there are fewer than the limit.
    pub fn enter(self: &Arc<Self>) -> Option<Pass> {
        let limit = self.limit.load(SeqCst);
        self.inside
            .fetch_update(SeqCst, SeqCst, |n| (n < limit).then_some(n + 1))
            .ok()?;
        Some(Pass {
            gate: self.clone(),
            since: Instant::now(),
        })
    }

    /// Rings when somebody leaves. To be armed before [`Gate::enter`] is tried.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Milliseconds that the next one in the queue has to expect, by what requests took lately.
    pub fn expected_ms(&self) -> u64 {
        let limit = self.limit.load(SeqCst);
        let ahead = u64::from(self.waiting.load(SeqCst)) + 1;
        ahead * u64::from(self.stay.load(SeqCst)) / u64::from(limit.max(1)) / 1000
    }

    /// Counts one that waits, as long as what is returned lives.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, SeqCst);
        Waiting(self.clone())
    }
}

/// A place inside; given up when dropped.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    since: Instant,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let took = u32::try_from(self.since.elapsed().as_micros()).unwrap_or(u32::MAX);
        let before = self.gate.stay.load(SeqCst);
        // two at once may lose one of the samples
        let after = before - before / 8 + took / 8;
        self.gate.stay.store(after, SeqCst);
        self.gate.inside.fetch_sub(1, SeqCst);
        self.gate.freed.notify_one();
    }
}

/// A place in the queue; given up when dropped.
pub(crate) struct Waiting(Arc<Gate>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_and_an_estimate() {
        let gate = Arc::new(Gate::default());
        assert!(gate.is_open());
        gate.set_limit(Some(2));
        let a = gate.enter().unwrap();
        let b = gate.enter().unwrap();
        assert!(gate.enter().is_none() && !gate.is_open());
        drop(a);
        let c = gate.enter().unwrap();
        assert!(gate.enter().is_none());
        gate.set_limit(Some(3));
        assert!(gate.enter().is_some());
        gate.set_limit(Some(2));
        gate.stay.store(10_000, SeqCst);
        assert_eq!(gate.expected_ms(), 5);
        let waiting = [gate.wait(), gate.wait(), gate.wait()];
        assert_eq!(gate.expected_ms(), 20);
        drop((waiting, b, c));
        assert_eq!(gate.inside.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn who_waits_hears_of_a_higher_limit() {
        let gate = Arc::new(Gate::default());
        gate.set_limit(Some(1));
        let _inside = gate.enter().unwrap();
        let mut freed = std::pin::pin!(gate.freed());
        freed.as_mut().enable();
        gate.set_limit(Some(2));
        freed.await;
        assert!(gate.enter().is_some());
    }
}
