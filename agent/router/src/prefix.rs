//! Values by path prefix: found is that of the longest prefix that covers a path, in a sorted array.

use std::cmp::Ordering;

/// Values by prefix, each in its normal form (see [`crate::path`]).
pub(crate) struct Prefixes<T> {
    /// By segments, so that what a prefix covers follows it at once.
    sorted: Vec<Entry<T>>,
}

struct Entry<T> {
    prefix: Box<[u8]>,
    /// The longest other prefix that covers this one.
    wider: Option<usize>,
    value: T,
}

impl<T> Prefixes<T> {
    /// Sorts. Of equal prefixes the first stays.
    pub fn new(mut all: Vec<(Box<[u8]>, T)>) -> Prefixes<T> {
        all.sort_by(|a, b| by_segments(&a.0, &b.0));
        all.dedup_by(|later, first| later.0 == first.0);
        let mut sorted: Vec<Entry<T>> = Vec::with_capacity(all.len());
        for (prefix, value) in all {
            let mut wider = sorted.len().checked_sub(1);
            while let Some(w) = wider
                && !covers(&sorted[w].prefix, &prefix)
            {
                wider = sorted[w].wider;
            }
            sorted.push(Entry {
                prefix,
                wider,
                value,
            });
        }
        Prefixes { sorted }
    }

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The value of all paths, when there is no other.
    pub fn only_root(&self) -> Option<&T> {
        match &self.sorted[..] {
            [one] if one.prefix.is_empty() => Some(&one.value),
            _ => None,
        }
    }

    /// The value of the longest prefix that covers a path in its normal form.
    pub fn find(&self, path: &[u8]) -> Option<&T> {
        let after = self
            .sorted
            .partition_point(|e| by_segments(&e.prefix, path) != Ordering::Greater);
        let mut at = after.checked_sub(1);
        while let Some(i) = at {
            let entry = &self.sorted[i];
            if covers(&entry.prefix, path) {
                return Some(&entry.value);
            }
            at = entry.wider;
        }
        None
    }

    /// The same prefixes with other values. Wider prefixes come first; `change` is given the new value of the longest
    /// prefix that covers this one, if there is any.
    pub fn cascade<U>(self, mut change: impl FnMut(&[u8], T, Option<&U>) -> U) -> Prefixes<U> {
        let mut sorted: Vec<Entry<U>> = Vec::with_capacity(self.sorted.len());
        for e in self.sorted {
            let value = change(&e.prefix, e.value, e.wider.map(|w| &sorted[w].value));
            sorted.push(Entry {
                prefix: e.prefix,
                wider: e.wider,
                value,
            });
        }
        Prefixes { sorted }
    }
}

/// Is `path` the prefix or below it?
fn covers(prefix: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Segment after segment: the slash comes before every other byte.
fn by_segments(a: &[u8], b: &[u8]) -> Ordering {
    #[cfg(test)]
    tests::COMPARED.with(|c| c.set(c.get() + 1));
    let rank = |b: &u8| (*b != b'/', *b);
    match a.iter().zip(b).position(|(x, y)| x != y) {
        Some(i) => rank(&a[i]).cmp(&rank(&b[i])),
        None => a.len().cmp(&b.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    thread_local!(pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) });

    fn made<S: AsRef<str>>(all: &[S]) -> Prefixes<String> {
        let pairs = all
            .iter()
            .map(|p| (p.as_ref().as_bytes().into(), p.as_ref().to_owned()));
        Prefixes::new(pairs.collect())
    }

    #[test]
    fn the_longest_covers() {
        let p = made(&["/shop", "/shop/cart", "/shop-x", "/a/b", ""]);
        for (path, want) in [
            ("/shop", "/shop"),
            ("/shop/x", "/shop"),
            ("/shop/0", "/shop"),
            ("/shop/cart/1", "/shop/cart"),
            ("/shop/carts", "/shop"),
            ("/shops", ""),
            ("/shop-x/y", "/shop-x"),
            ("/a", ""),
            ("/a/b/c/d", "/a/b"),
            ("", ""),
        ] {
            assert_eq!(p.find(path.as_bytes()).unwrap(), want, "{path}");
        }
        assert!(made(&["/shop"]).find(b"/shops").is_none());
        assert!(made::<&str>(&[]).find(b"/").is_none());
    }

    #[test]
    fn ten_thousand_prefixes_cost_a_few_comparisons() {
        let many: Vec<String> = (0..10_000).map(|i| format!("/p{i}/x")).collect();
        let p = made(&many);
        for path in ["/p9999/x/y", "/p5/x", "/nothing/here"] {
            COMPARED.with(|c| c.set(0));
            _ = p.find(path.as_bytes());
            assert!(COMPARED.with(Cell::get) <= 15, "{path}");
        }
    }

    #[test]
    fn values_cascade_from_wide_to_narrow() {
        let p = made(&["/a/b/c", "/a", "/b", "/a/b"]).cascade(|_, own, wider: Option<&String>| {
            format!("{}>{own}", wider.cloned().unwrap_or_default())
        });
        assert_eq!(p.find(b"/a/b/c/d").unwrap(), ">/a>/a/b>/a/b/c");
        assert_eq!(p.find(b"/b").unwrap(), ">/b");
    }

    proptest! {
        #[test]
        fn the_same_as_looking_at_each(
            prefixes in proptest::collection::vec("(/[ab-]{1,2}){0,4}", 0..12),
            path in "(/[ab-]{1,2}){0,5}",
        ) {
            let longest = prefixes.iter().filter(|p| covers(p.as_bytes(), path.as_bytes())).max_by_key(|p| p.len());
            let p = made(&prefixes);
            prop_assert_eq!(p.find(path.as_bytes()), longest);
        }
    }
}
