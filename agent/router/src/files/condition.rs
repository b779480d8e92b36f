//! Whether the client has it already (RFC 9110, section 13).

use crate::request::Fields;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// None, or all hold.
    Send,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// Judges in the order of section 13.2.2. `tag` is a strong one with its quotes. `modified`: seconds since 1970, when that
/// can be said.
pub(super) fn outcome(fields: &dyn Fields, tag: &str, modified: Option<u64>) -> Outcome {
    let date = |name| fields.get(name).and_then(seconds);
    if let Some(wanted) = fields.get("if-match") {
        if !any(wanted, |t| t == tag.as_bytes()) {
            return Outcome::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date("if-unmodified-since"), modified)
        && modified > date
    {
        return Outcome::Failed;
    }
    if let Some(known) = fields.get("if-none-match") {
        let weakly = |t: &[u8]| t.strip_prefix(b"W/").unwrap_or(t) == tag.as_bytes();
        if any(known, weakly) {
            return Outcome::NotModified;
        }
    } else if let (Some(date), Some(modified)) = (date("if-modified-since"), modified)
        && modified == date
    {
        // equal, not older: after a rollback an older file is the news
        return Outcome::NotModified;
    }
    Outcome::Send
}

/// Does `Range` count? Only if what the client has a part of is still the same (section 13.1.5).
pub(super) fn range_counts(fields: &dyn Fields, tag: &str, modified: Option<u64>) -> bool {
    match fields.get("if-range").map(<[u8]>::trim_ascii) {
        None => true,
        Some(t) if t.starts_with(b"\"") => t == tag.as_bytes(),
        Some(t) if t.starts_with(b"W/") => false,
        Some(t) => modified.is_some() && seconds(t) == modified,
    }
}

/// As `Last-Modified` wants it.
pub(super) fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn seconds(value: &[u8]) -> Option<u64> {
    let at: SystemTime = httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Is one of the tags in the list such a one? `*` is any.
fn any(list: &[u8], is_it: impl Fn(&[u8]) -> bool) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while let Some(open) = rest.iter().position(|b| *b == b'"') {
        let Some(length) = rest[open + 1..].iter().position(|b| *b == b'"') else {
            return false;
        };
        let begin = if rest[..open].ends_with(b"W/") {
            open - 2
        } else {
            open
        };
        let end = open + length + 2;
        if is_it(&rest[begin..end]) {
            return true;
        }
        rest = &rest[end..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(k, v): &(&str, &str)| {
            let name = HeaderName::from_bytes(k.as_bytes()).unwrap();
            (name, HeaderValue::from_str(v).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SECONDS: u64 = 784_111_777;

    #[test]
    fn conditions() {
        use Outcome::{Failed, NotModified, Send};
        for (pairs, expected) in [
            (&[][..], Send),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "\"x,y\", W/\"b\",\"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"b\"")], Send),
            (&[("if-none-match", "a")], Send),
            (&[("if-none-match", "\"a")], Send),
            (&[("if-modified-since", NOW)], NotModified),
            (
                &[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")],
                NotModified,
            ),
            (&[("if-modified-since", BEFORE)], Send),
            (&[("if-modified-since", "yesterday")], Send),
            // the tag counts where both are there
            (
                &[("if-none-match", "\"b\""), ("if-modified-since", NOW)],
                Send,
            ),
            (&[("if-match", "\"a\"")], Send),
            (&[("if-match", "*")], Send),
            (&[("if-match", "W/\"a\"")], Failed),
            (&[("if-match", "\"b\"")], Failed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", NOW)], Send),
            (
                &[("if-match", "\"a\""), ("if-none-match", "\"a\"")],
                NotModified,
            ),
        ] {
            assert_eq!(
                outcome(&fields(pairs), "\"a\"", Some(SECONDS)),
                expected,
                "{pairs:?}"
            );
        }
        let since = fields(&[("if-modified-since", NOW)]);
        assert_eq!(outcome(&since, "\"a\"", None), Send);
        assert_eq!(date(SECONDS), NOW);
    }

    #[test]
    fn ranges_of_what_is_still_the_same() {
        for (value, counts) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            (NOW, true),
            (BEFORE, false),
            ("nonsense", false),
        ] {
            let f = fields(&[("if-range", value)]);
            assert_eq!(range_counts(&f, "\"a\"", Some(SECONDS)), counts, "{value}");
        }
        assert!(range_counts(&fields(&[]), "\"a\"", None));
        assert!(!range_counts(
            &fields(&[("if-range", "nonsense")]),
            "\"a\"",
            None
        ));
    }
}
