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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is kept; ask for its forms.
    Kept,
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

/// A body in one encoding.
#[derive(Clone, Debug, Default)]
struct Form {
    /// `None`: it would get no smaller, or was not made yet.
    bytes: Option<Bytes>,
    /// The effort behind it; 0 is the one while the client waits.
    grade: u8,
    /// The effort that was asked for.
    asked: u8,
}

struct Entry {
    original: Bytes,
    forms: [Form; Encoding::ALL],
    used: u64,
}

impl Entry {
    fn size(&self) -> usize {
        let made = self.forms.iter().filter_map(|f| f.bytes.as_ref());
        OVERHEAD + self.original.len() + made.map(Bytes::len).sum::<usize>()
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
    pub fn find(&mut self, hash: u64, body: &[u8]) -> Found {
        if let Some(entry) = self.entries.get_mut(&hash)
            && *entry.original == *body
        {
            self.clock += 1;
            self.order.remove(&entry.used);
            self.order.insert(self.clock, hash);
            entry.used = self.clock;
            return Found::Kept;
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

    /// A kept body's form in this encoding. `hash`: of a body that was found just now.
    pub fn form(&self, hash: u64, encoding: Encoding) -> Option<Bytes> {
        self.entries.get(&hash)?.forms[encoding as usize]
            .bytes
            .clone()
    }

    /// Keeps a body and what was made of it while the client waited, if anything was.
    pub fn keep(&mut self, hash: u64, body: &[u8], made: Option<(Encoding, Bytes)>) {
        let before = self.take(hash);
        let mut entry = match before {
            Some(entry) if *entry.original == *body => entry,
            _ => Entry {
                // a copy: the bytes may be a small part of a large buffer
                original: Bytes::copy_from_slice(body),
                forms: Default::default(),
                used: 0,
            },
        };
        if let Some((encoding, made)) = made {
            entry.forms[encoding as usize].bytes = Some(made);
        }
        self.clock += 1;
        entry.used = self.clock;
        self.put(hash, entry);
    }

    /// The original, when nobody has asked yet for a form of this grade; from now on somebody has, if `offer` says so.
    pub fn ask(
        &mut self,
        hash: u64,
        encoding: Encoding,
        grade: u8,
        offer: impl FnOnce(Bytes) -> bool,
    ) {
        if let Some(entry) = self.entries.get_mut(&hash) {
            let form = &mut entry.forms[encoding as usize];
            if form.asked < grade && offer(entry.original.clone()) {
                form.asked = grade;
            }
        }
    }

    /// Takes in what was asked for. `original`: the very bytes that [`Cache::ask`] gave; when their body has left since,
    /// nothing is kept.
    pub fn improve(
        &mut self,
        hash: u64,
        original: &Bytes,
        encoding: Encoding,
        made: Option<Bytes>,
        grade: u8,
    ) {
        let is_there = |e: &Entry| e.original.as_ptr() == original.as_ptr();
        if !self.entries.get(&hash).is_some_and(is_there) {
            return;
        }
        let Some(mut entry) = self.take(hash) else {
            return;
        };
        let form = &mut entry.forms[encoding as usize];
        if grade > form.grade {
            form.grade = grade;
            let is_smaller = |m: &Bytes| form.bytes.as_ref().is_none_or(|b| m.len() < b.len());
            if let Some(made) = made.filter(is_smaller) {
                form.bytes = Some(made);
            }
        }
        // in its old place by use
        self.put(hash, entry);
    }

    /// Puts an entry in, and others out until it fits; one that never fits is dropped.
    fn put(&mut self, hash: u64, entry: Entry) {
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
        self.order.insert(entry.used, hash);
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
    use Encoding::{Brotli, Gzip, Zstd};
    use proptest::prelude::*;

    fn keep(c: &mut Cache, hash: u64, body: &[u8], encoding: Encoding, made: &'static str) {
        c.keep(hash, body, Some((encoding, made.into())));
    }

    /// What a client gets.
    fn made(c: &mut Cache, hash: u64, body: &[u8], encoding: Encoding) -> Option<Bytes> {
        match c.find(hash, body) {
            Found::Kept => c.form(hash, encoding),
            Found::Again | Found::New => None,
        }
    }

    #[test]
    fn the_second_time_counts() {
        let mut c = Cache::new(1 << 20);
        let h = c.hash(b"body");
        assert_eq!(c.find(h, b"body"), Found::New);
        assert_eq!(c.find(h, b"body"), Found::Again);
        keep(&mut c, h, b"body", Gzip, "z");
        assert_eq!(made(&mut c, h, b"body", Gzip), Some("z".into()));
        assert_eq!(made(&mut c, h, b"body", Zstd), None);
        keep(&mut c, h, b"body", Zstd, "s");
        assert_eq!(made(&mut c, h, b"body", Gzip), Some("z".into()));
        assert_eq!(made(&mut c, h, b"body", Zstd), Some("s".into()));
        assert_eq!(c.entries.len(), 1);
    }

    #[test]
    fn bodies_of_one_hash_are_not_mixed_up() {
        let mut c = Cache::new(1 << 20);
        keep(&mut c, 7, b"one", Gzip, "1");
        assert_eq!(made(&mut c, 7, b"two", Gzip), None);
        keep(&mut c, 7, b"two", Gzip, "2");
        assert_eq!(made(&mut c, 7, b"two", Gzip), Some("2".into()));
        assert_eq!(made(&mut c, 7, b"one", Gzip), None);
        assert_eq!((c.entries.len(), c.order.len()), (1, 1));
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut c = Cache::new(3 * (OVERHEAD + 101));
        let body = |i: u8| vec![i; 100];
        for i in 0..3 {
            keep(&mut c, u64::from(i), &body(i), Gzip, "x");
        }
        assert!(made(&mut c, 0, &body(0), Gzip).is_some());
        keep(&mut c, 3, &body(3), Gzip, "x");
        let there = [0, 1, 2, 3].map(|i| c.entries.contains_key(&i));
        assert_eq!(there, [true, false, true, true]);
        keep(&mut c, 4, &[0; 10_000], Gzip, "x");
        assert_eq!(c.entries.len(), 3, "too big for all of it");
    }

    #[test]
    fn better_forms_are_asked_for_once_and_kept_when_smaller() {
        let mut c = Cache::new(1 << 20);
        keep(&mut c, 1, b"a body", Gzip, "1234");
        let mut got = None;
        c.ask(1, Gzip, 2, |_| false);
        c.ask(1, Gzip, 2, |b| {
            got = Some(b);
            true
        });
        let original = got.unwrap();
        for grade in [1, 2] {
            c.ask(1, Gzip, grade, |_| panic!("asked twice"));
        }
        c.improve(1, &original, Gzip, Some("123".into()), 2);
        assert_eq!(c.form(1, Gzip), Some("123".into()));
        c.improve(1, &original, Gzip, Some("12345".into()), 3);
        c.improve(1, &original, Gzip, Some("1".into()), 1);
        c.improve(1, &original, Gzip, None, 4);
        assert_eq!(c.form(1, Gzip), Some("123".into()));
        c.improve(1, &original, Brotli, Some("b".into()), 1);
        assert_eq!(c.form(1, Brotli), Some("b".into()));
        // another body of the same hash came between
        keep(&mut c, 1, b"other", Gzip, "o");
        c.improve(1, &original, Gzip, Some("x".into()), 5);
        assert_eq!(c.form(1, Gzip), Some("o".into()));
        assert_eq!(c.size, c.entries.values().map(Entry::size).sum::<usize>());
    }

    proptest! {
        /// Hashes are forced to collide; what is found is always what was made of this very body. Empty bodies are all
        /// the same one.
        #[test]
        fn bounded_and_never_mixed(steps in proptest::collection::vec((0u8..40, 1usize..400, 0usize..3, any::<bool>()), 1..300)) {
            let limit = 6000;
            let mut c = Cache::new(limit);
            let mut asked: Vec<(u64, Bytes, Encoding, Bytes)> = Vec::new();
            for (kind, len, encoding, answer) in steps {
                let body = vec![kind; len];
                let hash = u64::from(kind % 8);
                let encoding = [Zstd, Brotli, Gzip][encoding];
                let form = Bytes::from(format!("{kind} {len} {encoding:?}"));
                match c.find(hash, &body) {
                    Found::Kept => match c.form(hash, encoding) {
                        Some(found) => prop_assert!(found == form || found == form.slice(..form.len() - 1)),
                        None => c.ask(hash, encoding, 1, |original| {
                            asked.push((hash, original, encoding, form.slice(..form.len() - 1)));
                            true
                        }),
                    },
                    Found::Again => c.keep(hash, &body, (encoding != Brotli).then_some((encoding, form))),
                    Found::New => {}
                }
                if answer && let Some((hash, original, encoding, better)) = asked.pop() {
                    c.improve(hash, &original, encoding, Some(better), 1);
                }
                prop_assert!(c.size <= limit);
                prop_assert_eq!(c.size, c.entries.values().map(Entry::size).sum::<usize>());
                prop_assert_eq!(c.order.len(), c.entries.len());
            }
        }
    }
}
