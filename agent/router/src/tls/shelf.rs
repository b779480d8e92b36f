//! All certificates by name. Built from a table, never changed, replaced as a whole.

use super::cert::{self, DEFAULT, Usable};
use foldhash::fast::RandomState;
use hokku_model::route::CertTable;
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// Certificates of one name: at most one for each kind of key, the one that is valid longest first.
type Slot = Vec<Arc<Usable>>;
type ByName = HashMap<Box<str>, Slot, RandomState>;

/// Names to certificates.
pub(crate) struct Shelf {
    pub version: u64,
    /// Those of the table that can't be used: names and reason.
    pub refused: Vec<String>,
    exact: ByName,
    /// By what follows the `*.`.
    wildcards: ByName,
    challenges: ByName,
    /// For all others; never empty.
    fallback: Slot,
    own: Arc<Usable>,
    by_digest: HashMap<[u8; 32], Arc<Usable>, RandomState>,
}

impl Shelf {
    /// Without a table; `own` is shown to everybody.
    pub fn empty(own: Arc<Usable>) -> Shelf {
        Shelf {
            version: 0,
            refused: Vec::new(),
            exact: ByName::default(),
            wildcards: ByName::default(),
            challenges: ByName::default(),
            fallback: vec![own.clone()],
            own,
            by_digest: HashMap::default(),
        }
    }

    /// Reads a table; what `old` has read already is taken from there. `now`: seconds since 1970.
    pub fn build(table: &CertTable, old: &Shelf, now: i64, provider: &CryptoProvider) -> Shelf {
        let mut next = Shelf::empty(old.own.clone());
        next.version = table.version;
        let mut defaults = Vec::new();
        for given in &table.certs {
            let digest = cert::digest(given);
            let read = match old.by_digest.get(&digest) {
                Some(known) => {
                    cert::in_time(known.not_before, known.not_after, now).map(|()| known.clone())
                }
                None => cert::read(given, now, provider).map(Arc::new),
            };
            let usable = match read {
                Ok(usable) => usable,
                Err(why) => {
                    next.refused
                        .push(format!("{}: {why}.", given.names.join(", ")));
                    continue;
                }
            };
            for name in &usable.names {
                if usable.challenge {
                    put(next.challenges.entry(name.clone()).or_default(), &usable);
                } else if **name == *DEFAULT {
                    defaults.push(usable.clone());
                } else if let Some(parent) = name.strip_prefix("*.") {
                    put(next.wildcards.entry(parent.into()).or_default(), &usable);
                } else {
                    put(next.exact.entry(name.clone()).or_default(), &usable);
                }
            }
            next.by_digest.insert(digest, usable);
        }
        // the newest, as the one that was named last
        if let Some(newest) = defaults.iter().max_by_key(|u| u.not_before) {
            next.fallback = vec![newest.clone()];
        }
        next
    }

    fn slot(&self, name: &str) -> &[Arc<Usable>] {
        let name = name.trim_end_matches('.');
        let mut lower = [0; 253];
        let name = match lower.get_mut(..name.len()) {
            Some(lower) if name.bytes().any(|b| b.is_ascii_uppercase()) => {
                lower.copy_from_slice(name.as_bytes());
                lower.make_ascii_lowercase();
                std::str::from_utf8(lower).unwrap_or(name)
            }
            _ => name,
        };
        let wildcard = || self.wildcards.get(name.split_once('.')?.1);
        let found = self.exact.get(name).or_else(wildcard);
        found.unwrap_or(&self.fallback)
    }

    /// The certificate for a name and for a client that can check these signatures. Nothing is allocated, unless several
    /// kinds of keys are there for the name.
    pub fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<Usable>> {
        let slot = name.map_or(&self.fallback[..], |n| self.slot(n));
        match slot {
            [only] => Some(only),
            several => several
                .iter()
                .find(|u| u.key.key.choose_scheme(schemes).is_some())
                .or(several.first()),
        }
    }

    /// The certificate for a challenge (RFC 8737).
    pub fn challenge(&self, name: Option<&str>) -> Option<&Arc<Usable>> {
        self.challenges.get(name?)?.first()
    }

    /// What clients of this name see; of several kinds of keys the first.
    pub fn shown_to(&self, name: &str) -> &Usable {
        self.slot(name).first().unwrap_or(&self.own)
    }
}

/// Of two with the same kind of key the one that is valid longer stays.
fn put(slot: &mut Slot, usable: &Arc<Usable>) {
    match slot.iter_mut().find(|u| u.algorithm == usable.algorithm) {
        Some(held) if usable.not_after > held.not_after => *held = usable.clone(),
        Some(_) => return,
        None => slot.push(usable.clone()),
    }
    slot.sort_by_key(|u| Reverse(u.not_after));
}
