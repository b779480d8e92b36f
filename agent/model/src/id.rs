//! Ids: UUIDs, shown and stored as 36 characters of lower-case hex with dashes, as the Platform API does.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A text that is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadId(pub String);

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an id: expected 32 hex digits in groups of 8-4-4-4-12",
            self.0
        )
    }
}
impl std::error::Error for BadId {}

fn parse(s: &str) -> Result<u128, BadId> {
    let bad = || BadId(s.chars().take(64).collect());
    if s.len() != 36 {
        return Err(bad());
    }
    let mut v: u128 = 0;
    for (i, b) in s.bytes().enumerate() {
        if matches!(i, 8 | 13 | 18 | 23) {
            if b != b'-' {
                return Err(bad());
            }
            continue;
        }
        let d = (b as char)
            .to_digit(16)
            .filter(|_| !b.is_ascii_uppercase())
            .ok_or_else(bad)?;
        v = v << 4 | u128::from(d);
    }
    Ok(v)
}

fn show(v: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let h = format!("{v:032x}");
    write!(
        f,
        "{}-{}-{}-{}-{}",
        &h[..8],
        &h[8..12],
        &h[12..16],
        &h[16..20],
        &h[20..]
    )
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { show(self.0, f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { show(self.0, f) }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(s: &str) -> Result<Self, BadId> { parse(s).map($name) }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let s = String::deserialize(d)?;
                s.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// An app. Stays the same when the app is renamed; files of an app are named by it.
    AppId,
    /// One release of an app.
    ReleaseId,
    /// One attempt to build.
    BuildId,
    /// One running dyno: two dynos of the same name (old and new `web.1` during a rollout) have different ids.
    DynoId,
    /// An API token (the id, never the secret).
    TokenId,
    /// An SSH public key of a user.
    KeyId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shown_and_parsed_is_the_same(v: u128) {
            let id = AppId(v);
            prop_assert_eq!(id.to_string().parse::<AppId>().unwrap(), id);
        }

        #[test]
        fn any_text_is_refused_or_taken_without_panic(s in ".{0,40}") {
            let _ = s.parse::<AppId>();
        }
    }
}
