//! Where requests are led: redirects, rewritten paths, folders. Each knows the prefix of the rule that said it, since a
//! narrower rule may take it over.

use crate::path;
use hokku_model::routing::Files;
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;

/// An answer that leads elsewhere.
pub(super) struct Redirect {
    pub status: StatusCode,
    parts: Vec<Part>,
    /// It stays on the same host, whatever the client writes into its path.
    local: bool,
    segments: usize,
}

enum Part {
    Text(String),
    Path,
    Query,
}

impl Redirect {
    /// Reads `to`. `segments`: of the rule's prefix.
    ///
    /// # Errors
    /// In words, when it leads nowhere.
    pub fn read(to: &str, status: u16, segments: usize) -> Result<Redirect, &'static str> {
        let status = match status {
            301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(status).unwrap_or_default(),
            _ => return Err("its status is none of 301, 302, 303, 307 and 308"),
        };
        let local = to.starts_with("$path") || to.starts_with('/') && !to.starts_with("//");
        if !local {
            let after = to.strip_prefix("//").or_else(|| {
                let (scheme, rest) = to.split_once("://")?;
                let letter = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
                (!scheme.is_empty() && scheme.bytes().all(letter)).then_some(rest)
            });
            let host = after.map(|a| a.split(['/', '?', '#']).next().unwrap_or(a));
            // `https://example.com$path` is usual: what follows a prefix begins with a slash
            let host = host.map(|h| h.split_once('$').map_or(h, |(h, _)| h));
            if host.is_none_or(str::is_empty) {
                return Err("it is neither a URL nor a path");
            }
        }
        let (mut parts, mut rest) = (Vec::new(), to);
        while let Some(at) = rest.find('$') {
            let (text, from) = rest.split_at(at);
            let (part, width) = if from.starts_with("$path") {
                (Part::Path, 5)
            } else if from.starts_with("$query") {
                (Part::Query, 6)
            } else {
                (Part::Text("$".into()), 1)
            };
            parts.extend([Part::Text(visible(text).into_owned()), part]);
            rest = &from[width..];
        }
        parts.push(Part::Text(visible(rest).into_owned()));
        Ok(Redirect {
            status,
            parts,
            local,
            segments,
        })
    }

    /// The `Location` for a path without dot segments. Nothing when it does not fit into a header.
    pub fn location(&self, path: &str, query: Option<&str>) -> Option<HeaderValue> {
        let mut to = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Path => to.push_str(&visible(&path::after(path, self.segments))),
                Part::Query => {
                    if let Some(query) = query {
                        to.push('?');
                        to.push_str(&visible(query));
                    }
                }
            }
        }
        if self.local {
            // `//evil.example` and `/\evil.example` are other hosts to a browser
            let rest = to.trim_start_matches(['/', '\\']);
            if to.len() - rest.len() != 1 || to.starts_with('\\') {
                to = format!("/{rest}");
            }
        }
        HeaderValue::try_from(to).ok()
    }
}

/// What is no visible ASCII character is percent-encoded.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for b in text.bytes() {
        if b.is_ascii_graphic() {
            encoded.push(char::from(b));
        } else {
            encoded.push_str(&format!("%{b:02X}"));
        }
    }
    Cow::Owned(encoded)
}

/// A prefix that replaces another.
pub(super) struct Rewrite {
    to: String,
    segments: usize,
}

impl Rewrite {
    /// Reads the new prefix. `segments`: of the rule's prefix.
    ///
    /// # Errors
    /// In words, when the result would be no path.
    pub fn read(to: &str, segments: usize) -> Result<Rewrite, &'static str> {
        if !to.starts_with('/') {
            return Err("it does not begin with /");
        }
        if to.contains(['?', '#']) {
            return Err("it has to be a path, without ? and #");
        }
        if path::with_normal(to, |n| n.dots || n.unclear) {
            return Err("it has dot segments, or encoded slashes beside them");
        }
        Ok(Rewrite {
            to: visible(to.trim_end_matches('/')).into_owned(),
            segments,
        })
    }

    /// The path that the app sees, for one without dot segments.
    pub fn apply(&self, path: &str) -> String {
        let rest = path::after(path, self.segments);
        if self.to.is_empty() && rest.is_empty() {
            return "/".into();
        }
        format!("{}{rest}", self.to)
    }
}

/// A folder, and what of the path is looked up in it.
pub(super) struct Served {
    pub files: Files,
    segments: usize,
}

impl Served {
    /// `segments`: of the rule's prefix.
    ///
    /// # Errors
    /// In words, when the folder cannot be meant.
    pub fn read(files: &Files, segments: usize) -> Result<Served, &'static str> {
        let leads_out = files.root.split('/').any(|s| s == "..");
        if files.root.is_empty() || files.root.contains('\0') || leads_out {
            return Err("its root is no path of a folder");
        }
        Ok(Served {
            files: files.clone(),
            segments,
        })
    }

    /// What of a path without dot segments is looked up: still percent-encoded, empty or beginning with a slash.
    pub fn rest<'a>(&self, path: &Cow<'a, str>) -> Cow<'a, str> {
        match path {
            Cow::Borrowed(path) => path::after(path, self.segments),
            Cow::Owned(path) => Cow::Owned(path::after(path, self.segments).into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lead(to: &str, segments: usize, path: &str, query: Option<&str>) -> String {
        let redirect = Redirect::read(to, 302, segments).unwrap();
        let location = redirect.location(path, query).unwrap();
        location.to_str().unwrap().to_owned()
    }

    #[test]
    fn redirects() {
        for (to, segments, path, query, want) in [
            ("/new", 1, "/old/x", Some("a=b"), "/new"),
            ("/new$path$query", 1, "/old/x", Some("a=b"), "/new/x?a=b"),
            ("/new$path$query", 1, "/old", None, "/new"),
            ("/new$query", 1, "/old", Some(""), "/new?"),
            ("https://b.test$path", 0, "/x/y", None, "https://b.test/x/y"),
            (
                "https://b.test/a?p=$path",
                1,
                "/o/x",
                None,
                "https://b.test/a?p=/x",
            ),
            ("//cdn.test/x", 0, "/", None, "//cdn.test/x"),
            ("/caf\u{e9} x", 0, "/", None, "/caf%C3%A9%20x"),
            ("/a$$path$b", 1, "/o/x", None, "/a$/x$b"),
            // the client's path leads to no other host
            ("$path", 1, "/old//evil.test", None, "/evil.test"),
            ("$path", 1, "/old/\\evil.test", None, "/evil.test"),
            ("$path", 1, "/old%2f%2fevil.test", None, "/%2fevil.test"),
            ("/$path", 1, "/old/evil.test", None, "/evil.test"),
            ("$path", 1, "/old", None, "/"),
            (
                "https://b.test$path",
                1,
                "/old%2f.evil.test",
                None,
                "https://b.test/.evil.test",
            ),
            (
                "https://b.test$path",
                1,
                "/old\\@evil.test",
                None,
                "https://b.test/@evil.test",
            ),
        ] {
            assert_eq!(lead(to, segments, path, query), want, "{to} {path}");
        }
        for bad in [
            "",
            "x",
            "https://",
            "https://$path",
            "://x",
            "mailto:x",
            "//",
            "a b://x",
        ] {
            assert!(Redirect::read(bad, 302, 0).is_err(), "{bad}");
        }
        for status in [200, 300, 304, 305, 306, 309, 0, 999] {
            assert!(Redirect::read("/x", status, 0).is_err(), "{status}");
        }
    }

    #[test]
    fn rewrites() {
        for (to, segments, path, want) in [
            ("/v2", 1, "/api/x%20y", "/v2/x%20y"),
            ("/v2/", 1, "/api/x", "/v2/x"),
            ("/", 1, "/api/x", "/x"),
            ("/", 1, "/api", "/"),
            ("/v2", 1, "/api", "/v2"),
            ("/v2", 0, "/x", "/v2/x"),
            ("/v2", 1, "//api//x", "/v2//x"),
        ] {
            assert_eq!(Rewrite::read(to, segments).unwrap().apply(path), want);
        }
        for bad in ["", "v2", "/a?b", "/a#b", "/a/../b", "/a/%2e/b"] {
            assert!(Rewrite::read(bad, 1).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_local_redirect_stays_local(path in "/[/\\\\a%2fc.]{0,20}", segments in 0usize..3) {
            for to in ["$path", "/$path", "/x$path"] {
                let location = lead(to, segments, &path, None);
                prop_assert!(location.starts_with('/'), "{}", location);
                prop_assert!(!location[1..].starts_with(['/', '\\']), "{}", location);
            }
        }

        #[test]
        fn a_rewritten_path_is_a_path(to in "/[ -~]{0,10}", path in "/[!-~]{0,20}", segments in 0usize..3) {
            if let Ok(rewrite) = Rewrite::read(&to, segments) {
                let path = rewrite.apply(&path);
                prop_assert!(path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()), "{}", path);
            }
        }

        #[test]
        fn any_text_is_a_redirect_or_not(to in "\\PC{0,20}", path in "\\PC{0,20}") {
            if let Ok(redirect) = Redirect::read(&to, 301, 1) {
                prop_assert!(redirect.location(&path, Some(&path)).is_some());
            }
        }
    }
}
