//! Names that people type: validated once at the edge, safe in paths, URLs and unit names ever after.

use serde::{Deserialize, Deserializer, Serialize};
use std::{fmt, str::FromStr};

/// Why a name was refused, in words for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(pub String);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for BadName {}

fn shorten(s: &str) -> String {
    s.chars().take(64).collect()
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl FromStr for $name {
            type Err = BadName;
            fn from_str(s: &str) -> Result<Self, BadName> { $check(s)?; Ok($name(s.to_owned())) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str { &self.0 }
        }
    };
}

name! {
    /// An app's name: 2 to 30 of `a-z 0-9 -`, beginning with a letter, ending with a letter or digit.
    ///
    /// Source: Dev Center "Platform API reference", app name pattern `^[a-z][a-z0-9-]{1,28}[a-z0-9]$`.
    AppName, check_app
}
name! {
    /// A process type of the Procfile: 1 to 63 of `A-Z a-z 0-9 _ -`, not beginning with `-`.
    ProcessType, check_type
}
name! {
    /// A config var's name: letters, digits, `_`; not beginning with a digit or `__`; at most 256 characters.
    ConfigKey, check_key
}

fn check_app(s: &str) -> Result<(), BadName> {
    let b = s.as_bytes();
    let ok = (2..=30).contains(&b.len())
        && b[0].is_ascii_lowercase()
        && b[b.len() - 1] != b'-'
        && b.iter()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-');
    if ok {
        return Ok(());
    }
    Err(BadName(format!(
        "Name {:?} can't be used: an app's name has 2 to 30 lower-case letters, digits and dashes, begins with a letter and does not end with a dash.",
        shorten(s)
    )))
}

fn check_type(s: &str) -> Result<(), BadName> {
    let b = s.as_bytes();
    if (1..=63).contains(&b.len())
        && b[0] != b'-'
        && b.iter()
            .all(|c| c.is_ascii_alphanumeric() || *c == b'_' || *c == b'-')
    {
        return Ok(());
    }
    Err(BadName(format!(
        "{:?} is no process type: use 1 to 63 letters, digits, '_' and '-', such as \"web\".",
        shorten(s)
    )))
}

fn check_key(s: &str) -> Result<(), BadName> {
    let b = s.as_bytes();
    let ok = (1..=256).contains(&b.len())
        && !b[0].is_ascii_digit()
        && !s.starts_with("__")
        && b.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_');
    if ok {
        return Ok(());
    }
    Err(BadName(format!(
        "{:?} can't be the name of a config var: use letters, digits and '_', not beginning with a digit or two underscores.",
        shorten(s)
    )))
}

impl ProcessType {
    /// The one process type that gets requests and `PORT`.
    pub fn web() -> ProcessType {
        ProcessType("web".into())
    }

    /// Is this the type that gets requests and `PORT`?
    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }

    /// Is this the release phase's type, which never runs in the formation?
    pub fn is_release(&self) -> bool {
        self.0 == "release"
    }
}

/// A dyno's name: process type, dot, number. `web.1` (index from 1) or `run.4711` for a one-off.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DynoName {
    /// The process type, or `run`, `release`, `cron`, `build` for a one-off.
    pub kind: ProcessType,
    /// The index, from 1.
    pub index: u32,
}

impl DynoName {
    /// Puts a name together.
    pub fn new(kind: ProcessType, index: u32) -> DynoName {
        DynoName { kind, index }
    }
}
impl fmt::Display for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.index)
    }
}
impl fmt::Debug for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl FromStr for DynoName {
    type Err = BadName;
    fn from_str(s: &str) -> Result<Self, BadName> {
        let bad = || {
            BadName(format!(
                "{:?} is no dyno name: expected something like web.1",
                shorten(s)
            ))
        };
        let (kind, index) = s.rsplit_once('.').ok_or_else(bad)?;
        let index: u32 = index
            .parse()
            .ok()
            .filter(|i| *i > 0 && !index.starts_with(['0', '+']))
            .ok_or_else(bad)?;
        Ok(DynoName {
            kind: kind.parse().map_err(|_| bad())?,
            index,
        })
    }
}
impl Serialize for DynoName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for DynoName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn app_names() {
        for ok in [
            "ab",
            "my-app",
            "app1",
            "app10",
            "a0",
            "a23456789012345678901234567890",
        ] {
            assert!(ok.parse::<AppName>().is_ok(), "{ok}");
        }
        for bad in [
            "",
            "a",
            "1a",
            "-a",
            "a-",
            "A",
            "a_b",
            "a b",
            "a/b",
            "..",
            "é",
            "a234567890123456789012345678901",
            "a\n",
        ] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn dyno_names() {
        assert_eq!("web.1".parse::<DynoName>().unwrap().to_string(), "web.1");
        for bad in [
            "web",
            "web.",
            "web.0",
            "web.01",
            "web.-1",
            "web.+1",
            ".1",
            "we b.1",
            "web.99999999999",
        ] {
            assert!(bad.parse::<DynoName>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(s in ".{0,80}") {
            let _ = (s.parse::<AppName>(), s.parse::<ProcessType>(), s.parse::<ConfigKey>(), s.parse::<DynoName>());
        }

        #[test]
        fn accepted_app_names_are_safe_in_paths(s in "[ -~]{0,32}") {
            if let Ok(n) = s.parse::<AppName>() {
                prop_assert!(!n.as_str().contains(['/', '.', '\\', '\0', ' ']));
            }
        }
    }
}
