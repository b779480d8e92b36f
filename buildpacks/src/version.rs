//! Versions and ranges: Python's `N.N[.N]` and npm's semver ranges.

use std::{fmt, str::FromStr};

/// Major, minor, patch. Pre-release and build parts are not kept: no runtime is chosen by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Version {
    type Err = String;
    /// `3.11.2`, `v20.1.0`; all three parts are needed.
    fn from_str(s: &str) -> Result<Version, String> {
        match partial(s.trim().trim_start_matches('v')) {
            Some((a, Some(b), Some(c))) => Ok(Version(a, b, c)),
            _ => Err(format!("{s:?} is no version such as 1.2.3")),
        }
    }
}

type Partial = (u32, Option<u32>, Option<u32>);

/// `1`, `1.2`, `1.2.3`, `1.x`, `1.2.*`, `1.2.3-rc.1+b`; `None` for anything else. `*` and the empty text are no partial.
fn partial(s: &str) -> Option<Partial> {
    let s = s.split(['-', '+']).next()?;
    let mut parts = s.split('.');
    let mut next = || -> Option<Option<u32>> {
        match parts.next() {
            None | Some("x" | "X" | "*") => Some(None),
            Some(n) if !n.is_empty() && n.len() <= 9 && n.bytes().all(|b| b.is_ascii_digit()) => {
                Some(Some(n.parse().ok()?))
            }
            Some(_) => None,
        }
    };
    let (a, b, c) = (next()??, next()?, next()?);
    if parts.next().is_some() {
        return None;
    }
    Some((a, b, if b.is_some() { c } else { None }))
}

/// From the first version to just below the second.
type Interval = (Version, Option<Version>);

const ZERO: Version = Version(0, 0, 0);

/// An npm range: any of some intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    any_of: Vec<Interval>,
}

impl Range {
    /// Every version.
    pub fn any() -> Range {
        Range {
            any_of: vec![(ZERO, None)],
        }
    }

    /// `major.minor` and all its patches, or exactly one version.
    pub fn prefix(major: u32, minor: u32, patch: Option<u32>) -> Range {
        let one = match patch {
            Some(p) => (Version(major, minor, p), Some(Version(major, minor, p + 1))),
            None => (Version(major, minor, 0), Some(Version(major, minor + 1, 0))),
        };
        Range { any_of: vec![one] }
    }

    /// Reads an npm range: `20`, `18.x`, `^16 || ~22.14`, `>=16 <23`, `1.2 - 2.3`, `*`.
    ///
    /// # Errors
    /// What is no range; `lts/*` and `node` are none.
    pub fn npm(text: &str) -> Result<Range, String> {
        let bad = || {
            format!(
                "{:?} is no version range that npm understands",
                text.chars().take(80).collect::<String>()
            )
        };
        if text.len() > 1000 {
            return Err(bad());
        }
        let mut any_of = vec![];
        for alternative in text.split("||") {
            if let Some(i) = conjunction(alternative).ok_or_else(bad)? {
                any_of.push(i);
            }
        }
        if any_of.is_empty() {
            Err(format!("{text:?} holds no version at all"))
        } else {
            Ok(Range { any_of })
        }
    }

    /// Reads a Python specifier, as in `requires-python`: `>=3.9,<3.13`, `~=3.11`, `==3.12.*`. `!=` parts are dropped.
    ///
    /// # Errors
    /// What is no specifier.
    pub fn pep440(text: &str) -> Result<Range, String> {
        let parts: Vec<String> = text
            .split(',')
            .map(str::trim)
            .filter(|p| !p.is_empty() && !p.starts_with("!="))
            .map(|p| {
                if let Some(v) = p.strip_prefix("~=") {
                    let v = v.trim();
                    let up: Vec<&str> = v.split('.').collect();
                    return match up.len() {
                        2 => format!(">={v} <{}", up[0].parse::<u32>().map_or(0, |n| n + 1)),
                        _ => format!("~{v}"),
                    };
                }
                p.replace("===", "=").replace("==", "=")
            })
            .collect();
        Range::npm(&if parts.is_empty() {
            "*".into()
        } else {
            parts.join(" ")
        })
    }

    /// Is the version in it?
    pub fn holds(&self, v: Version) -> bool {
        self.any_of
            .iter()
            .any(|(lo, hi)| *lo <= v && hi.is_none_or(|hi| v < hi))
    }

    /// Has it no upper end?
    pub fn is_wide(&self) -> bool {
        self.any_of.iter().any(|(_, hi)| hi.is_none())
    }

    /// The lowest version in it.
    pub fn low(&self) -> Version {
        self.any_of.iter().map(|(lo, _)| *lo).min().unwrap_or(ZERO)
    }
}

fn above((a, b, c): Partial) -> Version {
    match (b, c) {
        (None, _) => Version(a + 1, 0, 0),
        (Some(b), None) => Version(a, b + 1, 0),
        (Some(b), Some(c)) => Version(a, b, c + 1),
    }
}

fn floor((a, b, c): Partial) -> Version {
    Version(a, b.unwrap_or(0), c.unwrap_or(0))
}

fn is_any(s: &str) -> bool {
    matches!(s, "" | "*" | "x" | "X")
}

/// Comparators that must all hold. Outer `None`: not a range; inner `None`: nothing fits.
fn conjunction(text: &str) -> Option<Option<Interval>> {
    let text = text.trim();
    if let Some((from, to)) = text.split_once(" - ") {
        let version = |s: &str| partial(s.trim().trim_start_matches(['v', '=']));
        return Some(Some((floor(version(from)?), Some(above(version(to)?)))));
    }
    // a blank between an operator and its version belongs to neither
    let mut glued = String::new();
    for word in text.split_whitespace() {
        let operator_before = glued.ends_with(['>', '<', '=', '~', '^']);
        if !glued.is_empty() && !operator_before {
            glued.push(' ');
        }
        glued.push_str(word);
    }
    let mut all = (ZERO, None::<Version>);
    for c in glued.split(' ') {
        let (lo, hi) = comparator(c)?;
        all.0 = all.0.max(lo);
        all.1 = match (all.1, hi) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    Some(all.1.is_none_or(|hi| all.0 < hi).then_some(all))
}

fn comparator(c: &str) -> Option<Interval> {
    let at = c
        .find(|ch: char| !matches!(ch, '>' | '<' | '=' | '~' | '^'))
        .unwrap_or(c.len());
    let (op, v) = c.split_at(at);
    let v = v.trim_start_matches('v');
    if is_any(v) {
        return match op {
            ">" | "<" => Some((ZERO, Some(ZERO))),
            _ => Some((ZERO, None)),
        };
    }
    let p = partial(v)?;
    let (a, b, c) = p;
    Some(match op {
        "" | "=" => (floor(p), Some(above(p))),
        ">=" => (floor(p), None),
        ">" => (above(p), None),
        "<" => (ZERO, Some(floor(p))),
        "<=" => (ZERO, Some(above(p))),
        "~" | "~>" => (
            floor(p),
            Some(b.map_or(Version(a + 1, 0, 0), |b| Version(a, b + 1, 0))),
        ),
        "^" => (
            floor(p),
            Some(match (a, b, c) {
                (0, Some(0), Some(c)) => Version(0, 0, c + 1),
                (0, Some(b), _) => Version(0, b + 1, 0),
                _ => Version(a + 1, 0, 0),
            }),
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn npm_ranges() {
        for (range, yes, no) in [
            ("20", "20.0.0 20.20.2", "19.9.9 21.0.0"),
            ("18.x", "18.0.1", "17.0.0 19.0.0"),
            ("^16", "16.0.0 16.20.2", "17.0.0"),
            ("~22.14", "22.14.5", "22.15.0 22.13.0"),
            ("v22.1.0", "22.1.0", "22.1.1"),
            ("*", "0.0.0 99.1.2", ""),
            ("", "1.0.0", ""),
            (">=18", "18.0.0 99.0.0", "17.9.9"),
            (">=16 <23", "16.0.0 22.99.0", "23.0.0 15.0.0"),
            (">= 16 < 23", "16.0.0 22.99.0", "23.0.0"),
            (
                "14 || 16 || >=18.2",
                "14.1.0 16.0.0 18.2.0 30.0.0",
                "15.0.0 18.1.9",
            ),
            ("1.2 - 2.3", "1.2.0 2.3.9", "2.4.0 1.1.9"),
            (">1.2", "1.3.0", "1.2.9"),
            ("<=1.2", "1.2.9", "1.3.0"),
            ("^0.2.3", "0.2.4", "0.3.0 0.2.2"),
            ("^0.0.3", "0.0.3", "0.0.4"),
            ("~1", "1.9.9", "2.0.0"),
            ("4.0.0", "4.0.0", "4.0.1"),
        ] {
            let r = Range::npm(range).unwrap();
            for v in yes.split(' ').filter(|v| !v.is_empty()) {
                assert!(r.holds(v.parse().unwrap()), "{v} in {range}");
            }
            for v in no.split(' ').filter(|v| !v.is_empty()) {
                assert!(!r.holds(v.parse().unwrap()), "{v} not in {range}");
            }
        }
        for bad in [
            "lts/*",
            "node",
            "latest",
            ">=x.y.z.q",
            "20.1.2.3",
            "^^1",
            ">2 <1",
            "1..2",
        ] {
            assert!(Range::npm(bad).is_err(), "{bad}");
        }
        assert!(Range::npm("*").unwrap().is_wide() && !Range::npm("20").unwrap().is_wide());
    }

    #[test]
    fn python_specifiers() {
        let r = Range::pep440(">=3.9,<3.13,!=3.10.1").unwrap();
        assert!(r.holds(Version(3, 11, 2)) && !r.holds(Version(3, 13, 0)));
        assert!(Range::pep440("~=3.11").unwrap().holds(Version(3, 12, 0)));
        assert!(!Range::pep440("~=3.11.1").unwrap().holds(Version(3, 12, 0)));
        assert!(Range::pep440("==3.12.*").unwrap().holds(Version(3, 12, 9)));
        assert!(Range::pep440("hello").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(s in "[0-9xv*.|<>=~^ -]{0,30}") {
            let _ = (Range::npm(&s), Range::pep440(&s), s.parse::<Version>());
        }

        #[test]
        fn a_version_is_in_its_own_ranges(a in 0u32..50, b in 0u32..50, c in 0u32..50) {
            let v = Version(a, b, c);
            for op in ["", "^", "~", ">=", "<="] {
                let text = format!("{op}{v}");
                prop_assert!(Range::npm(&text).unwrap().holds(v));
            }
            let text = format!(">{v}");
            prop_assert!(!Range::npm(&text).unwrap().holds(v));
        }
    }
}
