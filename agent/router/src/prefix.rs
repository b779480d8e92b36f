//! Values by path prefix: found is that of the longest prefix that covers a path, by as many look-ups in a hash table as
//! the longest prefix has segments, however many prefixes there are.

use foldhash::quality::RandomState;
use std::collections::HashMap;

/// Values by prefix, each in its normal form (see [`crate::path`]).
pub(crate) struct Prefixes<T> {
    /// Of the prefix that covers everything.
    root: Option<T>,
    below: HashMap<Box<[u8]>, T, RandomState>,
    /// Segments of the prefix that has most.
    deepest: usize,
    /// Bytes of the longest prefix.
    longest: usize,
}

impl<T> Prefixes<T> {
    /// Of equal prefixes the first stays.
    pub fn new(all: impl IntoIterator<Item = (Box<[u8]>, T)>) -> Prefixes<T> {
        let mut made = Prefixes {
            root: None,
            below: HashMap::default(),
            deepest: 0,
            longest: 0,
        };
        for (prefix, value) in all {
            made.add(prefix, value);
        }
        made
    }

    fn add(&mut self, prefix: Box<[u8]>, value: T) {
        if prefix.is_empty() {
            self.root.get_or_insert(value);
            return;
        }
        self.deepest = self.deepest.max(memchr::memchr_iter(b'/', &prefix).count());
        self.longest = self.longest.max(prefix.len());
        self.below.entry(prefix).or_insert(value);
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_none() && self.below.is_empty()
    }

    /// The value of all paths, when there is no other.
    pub fn only_root(&self) -> Option<&T> {
        self.root.as_ref().filter(|_| self.below.is_empty())
    }

    /// The value of the longest prefix that covers a path in its normal form.
    pub fn find(&self, path: &[u8]) -> Option<&T> {
        let mut slashes = memchr::memchr_iter(b'/', path);
        let end = slashes.nth(self.deepest).unwrap_or(path.len());
        self.find_before(path, end)
    }

    /// The same among the prefixes that end at `end` or before, which is where a segment ends.
    fn find_before(&self, path: &[u8], mut end: usize) -> Option<&T> {
        while end > 0 {
            if end <= self.longest {
                #[cfg(test)]
                tests::LOOKED.with(|l| l.set(l.get() + 1));
                if let Some(value) = self.below.get(&path[..end]) {
                    return Some(value);
                }
            }
            end = memchr::memrchr(b'/', &path[..end]).unwrap_or(0);
        }
        self.root.as_ref()
    }

    /// The same prefixes with other values. Wider prefixes come first; `change` is given the new value of the longest
    /// other prefix that covers this one, if there is any.
    pub fn cascade<U>(self, mut change: impl FnMut(&[u8], T, Option<&U>) -> U) -> Prefixes<U> {
        let mut made = Prefixes::new(self.root.map(|v| (Box::default(), change(b"", v, None))));
        let mut rest: Vec<_> = self.below.into_iter().collect();
        // a wider prefix is a shorter one; equals in length by their bytes, so that warnings keep their order
        rest.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        for (prefix, value) in rest {
            let parent = memchr::memrchr(b'/', &prefix).unwrap_or(0);
            let value = change(&prefix, value, made.find_before(&prefix, parent));
            made.add(prefix, value);
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    thread_local!(pub(super) static LOOKED: Cell<usize> = const { Cell::new(0) });

    fn made<S: AsRef<str>>(all: &[S]) -> Prefixes<String> {
        let pairs = all
            .iter()
            .map(|p| (p.as_ref().as_bytes().into(), p.as_ref().to_owned()));
        Prefixes::new(pairs)
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
    fn ten_thousand_prefixes_cost_no_more_look_ups_than_ten() {
        let looked = |n: usize, path: &str| {
            let p = made(&(0..n).map(|i| format!("/p{i}/x")).collect::<Vec<_>>());
            LOOKED.with(|l| l.set(0));
            _ = p.find(path.as_bytes());
            LOOKED.with(Cell::get)
        };
        for path in [
            "/p9/x/y/z",
            "/p5/x",
            "/p5/y",
            "/p5",
            "/nothing/here/at/all",
            "",
        ] {
            for n in [10, 10_000] {
                assert!(looked(n, path) <= 2, "{path} among {n}");
            }
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

    fn covers(prefix: &[u8], path: &[u8]) -> bool {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
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
