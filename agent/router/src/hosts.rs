//! Host names and path prefixes to what they lead to.

use crate::path::{self, with_normal};
use crate::prefix::Prefixes;
use foldhash::quality::RandomState;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

type ByName<V> = HashMap<Box<str>, V, RandomState>;

/// Claims of hosts, to be collected before they are looked up.
pub(crate) struct Claims<T> {
    exact: ByName<BTreeMap<Box<[u8]>, T>>,
    wild: ByName<BTreeMap<Box<[u8]>, T>>,
}

/// Why a claim is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused<T> {
    /// It is this one's already.
    Taken(T),
    /// It is no host name with an optional path, in words.
    Unusable(&'static str),
}

impl<T: Clone> Claims<T> {
    pub fn new() -> Claims<T> {
        Claims {
            exact: HashMap::default(),
            wild: HashMap::default(),
        }
    }

    /// Takes `example.com`, `*.example.com`, or one of both with a path, `example.com/shop`.
    ///
    /// # Errors
    /// When it is taken, or not of this form.
    pub fn add(&mut self, claim: &str, to: T) -> Result<(), Refused<T>> {
        let (host, path) = match claim.find('/') {
            Some(at) => claim.split_at(at),
            None => (claim, ""),
        };
        if with_normal(path, |n| n.unclear) {
            return Err(Refused::Unusable("its path can be read in several ways"));
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let (map, name) = match host.strip_prefix("*.") {
            Some(parent) => (&mut self.wild, parent),
            None => (&mut self.exact, host.as_str()),
        };
        if name.is_empty() || name.len() > 253 {
            return Err(Refused::Unusable("a host name has 1 to 253 characters"));
        }
        if name.contains('*') {
            return Err(Refused::Unusable(
                "a star stands only for the whole first label, as in *.example.com",
            ));
        }
        let held = map.entry(name.into()).or_default();
        match held.entry(path::normal(path)) {
            Entry::Occupied(first) => return Err(Refused::Taken(first.get().clone())),
            Entry::Vacant(free) => free.insert(to),
        };
        Ok(())
    }

    /// Ready for looking up.
    pub fn done(self) -> Hosts<T> {
        let sorted = |map: ByName<BTreeMap<_, _>>| {
            map.into_iter()
                .map(|(name, all)| (name, Prefixes::new(all)))
                .collect()
        };
        Hosts {
            exact: sorted(self.exact),
            wild: sorted(self.wild),
        }
    }
}

/// What hosts and paths lead to. Finding is one or two look-ups in a hash table, and a few more by path where a host has
/// paths; it allocates nothing.
pub(crate) struct Hosts<T> {
    exact: ByName<Prefixes<T>>,
    /// By what follows the star and the dot.
    wild: ByName<Prefixes<T>>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Hosts<T> {
        Hosts {
            exact: HashMap::default(),
            wild: HashMap::default(),
        }
    }
}

impl<T> Hosts<T> {
    /// Where a request leads: `host` in lower case and without port, `path` as sent. A path that the exact name does not
    /// claim may be claimed by the wildcard.
    pub fn find(&self, host: &str, path: &str) -> Option<&T> {
        let exact = self.exact.get(host);
        if let Some(all) = exact.and_then(Prefixes::only_root) {
            return Some(all);
        }
        let wild = match host.split_once('.') {
            Some((label, parent)) if !label.is_empty() && !self.wild.is_empty() => {
                self.wild.get(parent)
            }
            _ => None,
        };
        match (exact, wild) {
            (None, None) => None,
            (None, Some(wild)) if wild.only_root().is_some() => wild.only_root(),
            _ => with_normal(path, |n| {
                let found = exact.and_then(|e| e.find(n.text));
                found.or_else(|| wild.and_then(|w| w.find(n.text)))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spent;
    use proptest::prelude::*;
    use std::hint::black_box;

    fn made(claims: &[&'static str]) -> Hosts<&'static str> {
        let mut all = Claims::new();
        for claim in claims {
            all.add(claim, *claim).unwrap();
        }
        all.done()
    }

    #[test]
    fn exact_before_wildcard_and_long_before_short() {
        let hosts = made(&[
            "example.com",
            "example.com/shop",
            "Example.com./shop/cart/",
            "*.example.com",
            "*.example.com/api",
            "own.example.com",
            "half.example.com/only",
            "*.deep.example.com",
        ]);
        for (host, path, want) in [
            ("example.com", "/", Some("example.com")),
            ("example.com", "/shop", Some("example.com/shop")),
            ("example.com", "/shop/x", Some("example.com/shop")),
            ("example.com", "/shops", Some("example.com")),
            ("example.com", "/shop/cart", Some("Example.com./shop/cart/")),
            ("example.com", "/%73hop", Some("example.com/shop")),
            ("example.com", "/a/../shop", Some("example.com/shop")),
            ("example.com", "//shop", Some("example.com/shop")),
            ("example.com", "/shop%2fx", Some("example.com/shop")),
            ("example.com", "/shop/../x", Some("example.com")),
            ("a.example.com", "/", Some("*.example.com")),
            ("a.example.com", "/api/x", Some("*.example.com/api")),
            ("own.example.com", "/api/x", Some("own.example.com")),
            ("half.example.com", "/only/x", Some("half.example.com/only")),
            ("half.example.com", "/other", Some("*.example.com")),
            ("a.b.example.com", "/", None),
            ("a.deep.example.com", "/", Some("*.deep.example.com")),
            ("deep.example.com", "/", Some("*.example.com")),
            (".example.com", "/", None),
            ("com", "/", None),
            ("", "/", None),
            ("*.example.com", "/", Some("*.example.com")),
        ] {
            assert_eq!(hosts.find(host, path).copied(), want, "{host}{path}");
        }
    }

    #[test]
    fn claims_that_are_not_taken() {
        let mut all = Claims::new();
        all.add("a.test/shop", 1).unwrap();
        assert_eq!(all.add("A.test./%73hop/", 2), Err(Refused::Taken(1)));
        assert_eq!(all.add("a.test", 2), Ok(()));
        let long = format!("{}.test", "a".repeat(250));
        for bad in [
            "",
            "/x",
            "*",
            "*.",
            "a.*.test",
            "*.*.test",
            "a.test/..%2f",
            &long,
        ] {
            assert!(
                matches!(all.add(bad, 3), Err(Refused::Unusable(_))),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_up(host in "\\PC{0,30}", path in "\\PC{0,30}", claim in "\\PC{0,30}") {
            let mut all = Claims::new();
            for claim in [claim.as_str(), "example.com", "*.example.com", "example.com/x"] {
                _ = all.add(claim, ());
            }
            let hosts = all.done();
            _ = hosts.find(&host, &path);
            prop_assert!(hosts.find("example.com", &path).is_some());
        }
    }

    #[test]
    fn looking_up_allocates_nothing() {
        let hosts = made(&[
            "example.com/shop",
            "*.example.com",
            "own.example.com",
            "*.example.com/a",
        ]);
        let long = format!("//{}", "a".repeat(900));
        for (host, path) in [
            ("example.com", "/shop/x"),
            ("example.com", "/%73hop/../shop;x//y%2fz"),
            ("a.example.com", long.as_str()),
            ("own.example.com", "/"),
            ("nobody.test", "/"),
        ] {
            let made = spent::during(|| hosts.find(host, path).copied());
            assert_eq!(made, 0, "{host}{path}");
        }
    }

    /// Figures, not a check: `cargo rustc -p hokku-router --lib --profile test -- -C opt-level=3`, then run the program it
    /// names with `hosts --ignored --nocapture`.
    #[test]
    #[ignore = "for measuring"]
    fn what_a_look_up_costs() {
        for apps in [10, 1000, 10_000] {
            let mut all = Claims::new();
            for a in 0..apps {
                all.add(&format!("app{a}.example.com"), a).unwrap();
                all.add(&format!("*.app{a}.example.org"), a).unwrap();
                all.add(&format!("shop.example.net/app{a}"), a).unwrap();
            }
            let hosts = all.done();
            // a few hot ones, as in a benchmark with one app, and all in turn, where the caches miss
            for (what, used) in [("hot", 8.min(apps)), ("all in turn", apps)] {
                let ask = |of: &dyn Fn(u32) -> (String, String)| {
                    let asked: Vec<_> = (0..used).map(of).collect();
                    let rounds = 2_000_000 / used;
                    let all = || {
                        for (host, path) in &asked {
                            black_box(hosts.find(black_box(host), black_box(path)).unwrap());
                        }
                    };
                    spent::cpu_ns(|| (0..rounds).for_each(|_| all())) / u128::from(rounds * used)
                };
                let exact = ask(&|a| (format!("app{a}.example.com"), "/some/path".into()));
                let wild = ask(&|a| (format!("x.app{a}.example.org"), "/some/path".into()));
                let prefix = ask(&|a| ("shop.example.net".into(), format!("/app{a}/some/path")));
                let odd = ask(&|a| ("shop.example.net".into(), format!("//x/../app{a}/%61")));
                println!(
                    "{apps:>6} apps, {what:<11}: exact {exact} ns, wildcard {wild} ns, path {prefix} ns, odd path {odd} ns"
                );
            }
        }
    }
}
