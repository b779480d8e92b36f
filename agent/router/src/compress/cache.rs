//! Compressed bodies by the content of their originals, bounded in bytes; the longest unused goes first.
//!
//! The key is a keyed hash, but a hit counts only when the stored original is the same byte for byte: two bodies are never
//! mixed up, whoever chooses them. A body is kept when it comes for the second time, so that pages that are never the
//! same push nothing out.

use super::Encoding;
use bytes::Bytes;
use foldhash::quality::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

/// What one entry takes besides its bytes, about.
const OVERHEAD: usize = 256;
/// Bodies that were seen once and are remembered by their hash.
const SEEN: usize = 8192;

/// What is known about a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its compressed form.
    Made(Bytes),
    /// It came before: keep what is made of it now.
    Again,
    /// It is new.
    New,
}

/// A cache of one thread.
pub(crate) struct Cache {
    key: RandomState,
    limit: usize,
    size: usize,
    entries: HashMap<u64, Entry>,
    /// Keys by last use.
    order: BTreeMap<u64, u64>,
    clock: u64,
    seen: Box<[u64]>,
}

struct Entry {
    original: Box<[u8]>,
    made: [Option<Bytes>; 2],
    used: u64,
}

impl Entry {
    fn size(&self) -> usize {
        let made: usize = self.made.iter().flatten().map(Bytes::len).sum();
        OVERHEAD + self.original.len() + made
    }
}

impl Cache {
    /// `limit`: of all that is kept, in bytes.
    pub fn new(limit: usize) -> Cache {
        Cache {
            key: RandomState::default(),
            limit,
            size: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            seen: Box::default(),
        }
    }

    /// The key to look a body up with.
    pub fn hash(&self, body: &[u8]) -> u64 {
        self.key.hash_one(body)
    }

    /// Looks a body up. `hash`: of this body.
    pub fn find(&mut self, hash: u64, body: &[u8], encoding: Encoding) -> Found {
        if let Some(entry) = self.entries.get_mut(&hash)
            && *entry.original == *body
        {
            self.clock += 1;
            self.order.remove(&entry.used);
            self.order.insert(self.clock, hash);
            entry.used = self.clock;
            return match &entry.made[encoding as usize] {
                Some(bytes) => Found::Made(bytes.clone()),
                None => Found::Again,
            };
        }
        if self.seen.is_empty() {
            self.seen = vec![0; SEEN].into();
        }
        // a wrong guess costs one needless entry
        let place = &mut self.seen[hash as usize % SEEN];
        if std::mem::replace(place, hash) == hash {
            Found::Again
        } else {
            Found::New
        }
    }

    /// Keeps what was made of a body.
    pub fn keep(&mut self, hash: u64, body: &[u8], encoding: Encoding, made: Bytes) {
        let before = self.take(hash);
        let mut entry = match before {
            Some(entry) if *entry.original == *body => entry,
            _ => Entry {
                original: body.into(),
                made: [None, None],
                used: 0,
            },
        };
        entry.made[encoding as usize] = Some(made);
        let size = entry.size();
        if size > self.limit {
            return;
        }
        while self.size + size > self.limit {
            let Some((_, oldest)) = self.order.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            self.take(oldest);
        }
        self.clock += 1;
        entry.used = self.clock;
        self.order.insert(self.clock, hash);
        self.size += size;
        self.entries.insert(hash, entry);
    }

    fn take(&mut self, hash: u64) -> Option<Entry> {
        let entry = self.entries.remove(&hash)?;
        self.order.remove(&entry.used);
        self.size -= entry.size();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Encoding::{Gzip, Zstd};
    use proptest::prelude::*;

    #[test]
    fn the_second_time_counts() {
        let mut c = Cache::new(1 << 20);
        let h = c.hash(b"body");
        assert_eq!(c.find(h, b"body", Gzip), Found::New);
        assert_eq!(c.find(h, b"body", Gzip), Found::Again);
        c.keep(h, b"body", Gzip, "z".into());
        assert_eq!(c.find(h, b"body", Gzip), Found::Made("z".into()));
        assert_eq!(c.find(h, b"body", Zstd), Found::Again);
        c.keep(h, b"body", Zstd, "s".into());
        assert_eq!(c.find(h, b"body", Gzip), Found::Made("z".into()));
        assert_eq!(c.find(h, b"body", Zstd), Found::Made("s".into()));
        assert_eq!(c.entries.len(), 1);
    }

    #[test]
    fn bodies_of_one_hash_are_not_mixed_up() {
        let mut c = Cache::new(1 << 20);
        c.keep(7, b"one", Gzip, "1".into());
        assert_ne!(c.find(7, b"two", Gzip), Found::Made("1".into()));
        c.keep(7, b"two", Gzip, "2".into());
        assert_eq!(c.find(7, b"two", Gzip), Found::Made("2".into()));
        assert!(!matches!(c.find(7, b"one", Gzip), Found::Made(_)));
        assert_eq!((c.entries.len(), c.order.len()), (1, 1));
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut c = Cache::new(3 * (OVERHEAD + 101));
        let body = |i: u8| vec![i; 100];
        for i in 0..3 {
            c.keep(u64::from(i), &body(i), Gzip, "x".into());
        }
        assert!(matches!(c.find(0, &body(0), Gzip), Found::Made(_)));
        c.keep(3, &body(3), Gzip, "x".into());
        let there = [0, 1, 2, 3].map(|i| c.entries.contains_key(&i));
        assert_eq!(there, [true, false, true, true]);
        c.keep(4, &[0; 10_000], Gzip, "x".into());
        assert_eq!(c.entries.len(), 3, "too big for all of it");
    }

    proptest! {
        /// Hashes are forced to collide; what is found is always what was made of this very body. Empty bodies are all
        /// the same one.
        #[test]
        fn bounded_and_never_mixed(steps in proptest::collection::vec((0u8..40, 1usize..400, any::<bool>()), 1..300)) {
            let limit = 6000;
            let mut c = Cache::new(limit);
            for (kind, len, zstd) in steps {
                let body = vec![kind; len];
                let hash = u64::from(kind % 8);
                let encoding = if zstd { Zstd } else { Gzip };
                let made = Bytes::from(format!("{kind} {len} {zstd}"));
                match c.find(hash, &body, encoding) {
                    Found::Made(found) => prop_assert_eq!(found, made),
                    Found::Again => c.keep(hash, &body, encoding, made),
                    Found::New => {}
                }
                prop_assert!(c.size <= limit);
                prop_assert_eq!(c.size, c.entries.values().map(Entry::size).sum::<usize>());
                prop_assert_eq!(c.order.len(), c.entries.len());
            }
        }
    }
}
