//! Times in log-linear buckets: each power of two is cut in half, so a figure is off by a third at most.

/// Upper bound of the first bucket, in microseconds.
const FIRST: u64 = 250;
/// Bounded buckets: 250 µs, 375 µs, 500 µs, 750 µs, 1 ms, 1.5 ms, … 98.3 s.
pub(crate) const BOUNDS: usize = 38;
/// With the one for everything longer.
pub(crate) const BUCKETS: usize = BOUNDS + 1;

/// The upper bound of a bucket in microseconds, which still belongs to it.
pub(crate) const fn bound(bucket: usize) -> u64 {
    let whole = FIRST << (bucket / 2);
    if bucket.is_multiple_of(2) {
        whole
    } else {
        whole + whole / 2
    }
}

/// The bucket of a time: no loop, no table.
pub(crate) fn bucket(micros: u64) -> usize {
    if micros <= FIRST {
        return 0;
    }
    if micros > bound(BOUNDS - 1) {
        return BOUNDS;
    }
    let octave = ((micros - 1) / FIRST).ilog2() as usize;
    let half = micros > bound(2 * octave + 1);
    2 * octave + 1 + usize::from(half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_belong_to_their_bucket() {
        for b in 0..BOUNDS {
            assert_eq!(bucket(bound(b)), b);
            assert_eq!(bucket(bound(b) + 1), b + 1);
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BOUNDS));
        assert_eq!(bound(BOUNDS - 1), 98_304_000);
    }

    proptest! {
        #[test]
        fn as_a_search_would_find(micros in 0u64..200_000_000) {
            let found = (0..BOUNDS).find(|b| micros <= bound(*b)).unwrap_or(BOUNDS);
            prop_assert_eq!(bucket(micros), found);
        }
    }
}
