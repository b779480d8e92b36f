//! How long to wait before the next attempt: deterministic, the jitter comes from a seed.

use std::time::Duration;

/// The wait before the start that follows the `attempt`-th failure in a row (from 1): none after the first, then
/// 1, 2, 4, … 32, 60 s, then 5 min for ever; each spread by up to a tenth either way by `seed`, so that dynos that
/// failed together do not all start together. 0 attempts need no wait.
pub fn delay(attempt: u32, seed: u64) -> Duration {
    let seconds: u64 = match attempt {
        0 | 1 => return Duration::ZERO,
        2..=7 => 1 << (attempt - 2),
        8 => 60,
        _ => 300,
    };
    let permille = 900 + mix(seed ^ u64::from(attempt)) % 201;
    Duration::from_millis(seconds * permille)
}

/// The longest wait that [`delay`] ever gives.
pub const LONGEST: Duration = Duration::from_secs(330);

/// A seed from bytes, such as those of an id and a name (FNV-1a, 64 bit).
pub fn seed(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Spreads near seeds far apart (the finaliser of splitmix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_at_once_then_doubling_then_five_minutes() {
        let want = [0, 0, 1, 2, 4, 8, 16, 32, 60, 300, 300];
        for (attempt, seconds) in want.into_iter().enumerate() {
            let got = delay(attempt as u32, 7).as_millis();
            let want = seconds * 1000;
            assert!(
                (want * 9 / 10..=want * 11 / 10).contains(&got),
                "attempt {attempt}: {got} ms for {want}"
            );
        }
    }

    #[test]
    fn seeds_spread() {
        let waits: std::collections::BTreeSet<_> = (0..100).map(|s| delay(9, s)).collect();
        assert!(waits.len() > 50, "{}", waits.len());
    }

    proptest! {
        #[test]
        fn bounded_and_repeatable(a: u32, s: u64) {
            prop_assert!(delay(a, s) <= LONGEST);
            prop_assert_eq!(delay(a, s), delay(a, s));
        }
    }
}
