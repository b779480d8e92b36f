//! Which dyno gets a request: of two drawn at random, the one with less in flight.

use crate::dyno::{Claim, Dyno};
use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// A small fast source of randomness, one per thread. Not for secrets.
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    pub fn new() -> Dice {
        let seed = std::hash::RandomState::new().build_hasher().finish();
        Dice(Cell::new(seed | 1))
    }

    /// 64 random bits (xorshift64*).
    pub fn roll(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `n`, which must not be 0.
    pub fn below(&self, n: usize) -> usize {
        usize::try_from((u128::from(self.roll()) * n as u128) >> 64).unwrap_or(0)
    }
}

/// What came of looking for a dyno.
pub(crate) enum Pick {
    /// This one, and it is counted.
    Got(Claim),
    /// There are some, but all are in quarantine.
    Quarantined,
    /// There is none.
    Empty,
}

/// Draws a dyno and counts the request in. With `desperate`, quarantine is no hindrance.
pub(crate) fn pick(targets: &[Arc<Dyno>], dice: &Dice, desperate: bool) -> Pick {
    let fit = |d: &Arc<Dyno>| desperate || !d.is_quarantined();
    let n = targets.len();
    if n > 1 {
        let a = dice.below(n);
        let b = (a + 1 + dice.below(n - 1)) % n;
        let (a, b) = (&targets[a], &targets[b]);
        let (first, second) = if b.in_flight() < a.in_flight() {
            (b, a)
        } else {
            (a, b)
        };
        for d in [first, second] {
            if fit(d)
                && let Some(claim) = d.claim()
            {
                return Pick::Got(claim);
            }
        }
    }
    let start = if n > 1 { dice.below(n) } else { 0 };
    let mut quarantined = false;
    for d in targets[start..].iter().chain(&targets[..start]) {
        if d.is_closed() {
            continue;
        }
        if !fit(d) {
            quarantined = true;
        } else if let Some(claim) = d.claim() {
            return Pick::Got(claim);
        }
    }
    if quarantined {
        Pick::Quarantined
    } else {
        Pick::Empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dyno::for_test;
    use std::time::Duration;

    #[test]
    fn spreads_evenly_and_prefers_the_idle() {
        let dice = Dice::new();
        let targets: Vec<_> = (1..=4).map(for_test).collect();
        let held: Vec<_> = (0..4000)
            .map(|_| match pick(&targets, &dice, false) {
                Pick::Got(c) => c,
                _ => panic!("all are fit"),
            })
            .collect();
        // two choices keep the heaviest within a few of the lightest
        let loads: Vec<_> = targets.iter().map(|t| t.in_flight()).collect();
        assert!(
            loads.iter().max().unwrap() - loads.iter().min().unwrap() < 20,
            "{loads:?}"
        );
        drop(held);
    }

    #[test]
    fn avoids_quarantine_and_closed() {
        let dice = Dice::new();
        let targets: Vec<_> = (1..=3).map(for_test).collect();
        targets[0].quarantine(Duration::from_secs(60));
        targets[1].close();
        for _ in 0..200 {
            match pick(&targets, &dice, false) {
                Pick::Got(c) => assert_eq!(c.dyno().name, "web.3"),
                _ => panic!("web.3 is fit"),
            }
        }
        targets[2].close();
        assert!(matches!(pick(&targets, &dice, false), Pick::Quarantined));
        assert!(matches!(pick(&targets, &dice, true), Pick::Got(_)));
        targets[0].close();
        assert!(matches!(pick(&targets, &dice, true), Pick::Empty));
        assert!(matches!(pick(&[], &dice, true), Pick::Empty));
    }
}
