//! How many requests of an app run at once, over all threads, where the app has a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Instant;
use tokio::sync::{Notify, futures::Notified};

/// One app's count. Carried from table to table.
#[derive(Default)]
pub(crate) struct Gate {
    inside: AtomicU32,
    waiting: AtomicU32,
    /// Microseconds a request stays inside, as a moving average.
    stay: AtomicU32,
    freed: Notify,
}

impl Gate {
    /// Lets one more in, if fewer than `limit` are.
    pub fn enter(self: &Arc<Self>, limit: u32) -> Option<Pass> {
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
    pub fn expected_ms(&self, limit: u32) -> u64 {
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
        let a = gate.enter(2).unwrap();
        let b = gate.enter(2).unwrap();
        assert!(gate.enter(2).is_none());
        drop(a);
        let c = gate.enter(2).unwrap();
        assert!(gate.enter(2).is_none() && gate.enter(3).is_some());
        gate.stay.store(10_000, SeqCst);
        assert_eq!(gate.expected_ms(2), 5);
        let waiting = [gate.wait(), gate.wait(), gate.wait()];
        assert_eq!(gate.expected_ms(2), 20);
        drop((waiting, b, c));
        assert_eq!(gate.inside.load(SeqCst), 0);
    }
}
