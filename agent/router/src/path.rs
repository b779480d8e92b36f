//! The form in which paths are compared, and paths without dot segments.
//!
//! Compared is the path with every percent-encoded byte decoded once (RFC 3986, section 6.2.2.2, and more than that),
//! repeated slashes taken as one, dot segments resolved (6.2.2.3), and without what follows a `;` in a segment. An encoded
//! slash and a backslash, raw or encoded, part segments as a slash does. Letters keep their case. So `/%61pi`, `//api`,
//! `/a/../api`, `/api%2fx` and `/api;x` are all below `/api`, as they are for one app or another.
//!
//! Where apps would read a path in different ways (`/a%2f..%2fapi`, `/a/..;/api`), [`Normal::unclear`] is set: nobody
//! sends such a path in good faith, and what depends on the path refuses it.

use std::borrow::Cow;

/// Odd paths up to this length are brought into their normal form on the stack.
const ON_STACK: usize = 1024;

/// A path as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Normal<'a> {
    /// Empty for `/`, otherwise `/` before each segment and none at the end.
    pub text: &'a [u8],
    /// There were dot segments; they are resolved in `text`.
    pub dots: bool,
    /// Apps differ in how they read it.
    pub unclear: bool,
}

/// Hands the normal form of a path to `look`. Copies nothing for usual paths, and allocates only for odd ones that are
/// longer than 1 KB.
pub(crate) fn with_normal<R>(path: &str, look: impl FnOnce(Normal<'_>) -> R) -> R {
    let raw = path.as_bytes();
    if is_plain(raw) {
        return look(Normal {
            text: raw.strip_suffix(b"/").unwrap_or(raw),
            dots: false,
            unclear: false,
        });
    }
    if raw.len() < ON_STACK {
        look(normalise(raw, &mut [0; ON_STACK]))
    } else {
        look(normalise(raw, &mut vec![0; raw.len() + 1]))
    }
}

/// The normal form, to be kept.
pub(crate) fn normal(path: &str) -> Box<[u8]> {
    with_normal(path, |n| n.text.into())
}

/// Is the path its own normal form, but for a slash at the end?
fn is_plain(raw: &[u8]) -> bool {
    let mut after_slash = false;
    for (i, &b) in raw.iter().enumerate() {
        match b {
            b'/' | b'.' if after_slash => return false,
            b'%' | b'\\' | b';' => return false,
            _ if i == 0 && b != b'/' => return false,
            _ => after_slash = b == b'/',
        }
    }
    true
}

/// Writes the normal form into `out`, which has to be longer than `raw` by one.
fn normalise<'a>(raw: &[u8], out: &'a mut [u8]) -> Normal<'a> {
    let (mut len, mut dots, mut parted, mut unclear) = (0, false, false, false);
    for segment in raw.split(|b| *b == b'/') {
        let end = memchr::memchr(b';', segment).unwrap_or(segment.len());
        let (start, mut part) = (len, len);
        let mut at = 0;
        // each part of the segment is written with a slash before it; one that stays empty is taken back
        out[len] = b'/';
        len += 1;
        while at < end {
            if let Some(width) = separator(&segment[..end], at) {
                at += width;
                parted = true;
                unclear |= is_dots(&out[part + 1..len]);
                if len > part + 1 {
                    part = len;
                    out[len] = b'/';
                    len += 1;
                }
            } else {
                let (byte, width) = decoded(&segment[..end], at);
                at += width;
                out[len] = byte;
                len += 1;
            }
        }
        let last = &out[part + 1..len];
        if last.is_empty() {
            len = part;
        } else if is_dots(last) {
            unclear |= part != start || end != segment.len();
            dots = true;
            let up = last.len() == 2;
            len = start;
            if up {
                len = memchr::memrchr(b'/', &out[..start]).unwrap_or(0);
            }
        }
    }
    Normal {
        text: &out[..len],
        dots,
        unclear: unclear || (dots && parted),
    }
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// The byte at `at`, decoded, and how many bytes stand for it.
fn decoded(raw: &[u8], at: usize) -> (u8, usize) {
    let digit = |i: usize| raw.get(i).and_then(|b| char::from(*b).to_digit(16));
    if raw[at] == b'%'
        && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        && let Ok(byte) = u8::try_from(high << 4 | low)
    {
        return (byte, 3);
    }
    (raw[at], 1)
}

/// The width of what parts segments at `at`, if anything does.
fn separator(raw: &[u8], at: usize) -> Option<usize> {
    let (byte, width) = decoded(raw, at);
    matches!(byte, b'/' | b'\\').then_some(width)
}

/// Which of the dot segments, written in any way, is this?
fn dots_in(segment: &str) -> Option<usize> {
    let (mut at, mut dots) = (0, 0);
    while at < segment.len() {
        let (byte, width) = decoded(segment.as_bytes(), at);
        if byte != b'.' || dots == 2 {
            return None;
        }
        at += width;
        dots += 1;
    }
    (dots > 0).then_some(dots)
}

/// The path as sent, but with its dot segments resolved and repeated slashes taken as one. For paths with
/// [`Normal::dots`]: what was decided on is what the app gets.
pub(crate) fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = true;
    for segment in path.split('/') {
        let dots = dots_in(segment);
        ends_open = segment.is_empty() || segment.starts_with(';') || dots.is_some();
        match dots {
            Some(2) => _ = kept.pop(),
            Some(_) => {}
            // nothing but parameters is no segment in the normal form, so no `..` may take it for one
            None if segment.is_empty() || segment.starts_with(';') => {}
            None => kept.push(segment),
        }
    }
    let mut resolved = String::with_capacity(path.len() + 1);
    for segment in kept {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if ends_open {
        resolved.push('/');
    }
    resolved
}

/// What follows the first `n` segments of the normal form, as sent: empty, or beginning with `/`. The path has to be
/// without dot segments.
pub(crate) fn after(path: &str, n: usize) -> Cow<'_, str> {
    let raw = path.as_bytes();
    let (mut at, mut passed) = (0, 0);
    let next_slash = |at: usize| memchr::memchr(b'/', &raw[at..]).map_or(raw.len(), |i| at + i);
    while passed < n {
        while at < raw.len()
            && let Some(width) = separator(raw, at)
        {
            at += width;
        }
        if at >= raw.len() {
            break;
        }
        passed += usize::from(raw[at] != b';');
        while at < raw.len() && separator(raw, at).is_none() {
            at = if raw[at] == b';' {
                next_slash(at)
            } else {
                at + 1
            };
        }
    }
    // always at an ASCII byte or the end; the fall-back is never needed
    let rest = path.get(at..).unwrap_or("");
    if rest.is_empty() || rest.starts_with('/') {
        return Cow::Borrowed(rest);
    }
    let width = separator(rest.as_bytes(), 0).unwrap_or(0);
    Cow::Owned(format!("/{}", &rest[width..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(path: &str) -> String {
        with_normal(path, |n| {
            assert!(!n.unclear, "{path}");
            String::from_utf8_lossy(n.text).into_owned()
        })
    }

    #[test]
    fn many_ways_to_write_one_path() {
        for (path, normal) in [
            ("/", ""),
            ("", ""),
            ("//", ""),
            ("/api", "/api"),
            ("/api/", "/api"),
            ("/%61pi", "/api"),
            ("/%61%70%69/x", "/api/x"),
            ("//api", "/api"),
            ("///api//x/", "/api/x"),
            ("/a/../api", "/api"),
            ("/a/%2e%2E/api", "/api"),
            ("/a/.%2e/api", "/api"),
            ("/./api/.", "/api"),
            ("/../../api", "/api"),
            ("/api/..", ""),
            ("/a//../api", "/api"),
            ("/api%2fx", "/api/x"),
            ("/%2Fapi", "/api"),
            ("/api%5cx", "/api/x"),
            ("/api\\x", "/api/x"),
            ("/api;v=1/x", "/api/x"),
            ("/;v=1/api", "/api"),
            ("/API", "/API"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/caf%c3%a9", "/café"),
            ("/a%zz%2", "/a%zz%2"),
            ("/a%252e", "/a%2e"),
            ("*", "/*"),
        ] {
            assert_eq!(of(path), normal, "{path}");
        }
    }

    #[test]
    fn what_apps_read_differently_is_unclear() {
        for path in [
            "/public%2f..%2fadmin",
            "/admin/%2e%2e%2fpublic",
            "/a%2fb/../c",
            "/public/..;/admin",
            "/public/.;x/admin",
            "/public\\..\\admin",
            "/public/..%5cadmin",
            "/..%2fx",
        ] {
            assert!(with_normal(path, |n| n.unclear), "{path}");
        }
    }

    #[test]
    fn dots_are_resolved_in_what_is_sent_on() {
        for (path, resolved) in [
            ("/a/../api%20x", "/api%20x"),
            ("/a/%2e%2e/b/", "/b/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/a//b/../c", "/a/c"),
            ("/a/;/..", "/"),
            ("/a/;x=1/../b", "/b"),
        ] {
            assert_eq!(without_dots(path), resolved, "{path}");
        }
    }

    #[test]
    fn the_rest_is_as_sent() {
        for (path, n, rest) in [
            ("/api/x", 1, "/x"),
            ("/api", 1, ""),
            ("/api/", 1, "/"),
            ("/api/a%20b/", 1, "/a%20b/"),
            ("//api//x", 1, "//x"),
            ("/%61pi/x", 1, "/x"),
            ("/api%2fx", 1, "/x"),
            ("/api%2fx/y", 2, "/y"),
            ("/api\\x", 1, "/x"),
            ("/api;v=1/x", 1, "/x"),
            ("/;v/api/x", 1, "/x"),
            ("/x/y", 0, "/x/y"),
            ("*", 0, "/*"),
            ("/a", 5, ""),
            ("/é/ü", 1, "/ü"),
        ] {
            assert_eq!(after(path, n), rest, "{path}");
        }
    }

    fn odd_path() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/"),
            Just("/"),
            Just("."),
            Just(".."),
            Just("%2e"),
            Just("%2f"),
            Just("%5C"),
            Just("\\"),
            Just(";"),
            Just("a"),
            Just("%61"),
            Just("%"),
            Just("é"),
            Just("%00")
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|p| format!("/{}", p.concat()))
    }

    proptest! {
        #[test]
        fn any_path_has_a_normal_form(path in prop_oneof![odd_path(), "\\PC{0,40}"]) {
            let text = normal(&path);
            prop_assert!(text.len() <= path.len() + 1);
            prop_assert!(text.is_empty() || text[0] == b'/' && text.last() != Some(&b'/'));
            for segment in text.split(|b| *b == b'/').skip(1) {
                prop_assert!(!segment.is_empty() && !segment.contains(&b'\\'));
            }
            let unclear = with_normal(&path, |n| n.unclear);
            if !unclear {
                prop_assert!(!text.split(|b| *b == b'/').any(is_dots));
            }
        }

        #[test]
        fn resolving_dots_keeps_the_normal_form(path in odd_path()) {
            let resolved = without_dots(&path);
            prop_assert!(resolved.starts_with('/'));
            if with_normal(&path, |n| !n.unclear) {
                prop_assert_eq!(normal(&resolved), normal(&path));
                prop_assert!(with_normal(&resolved, |n| !n.dots));
            }
        }

        #[test]
        fn the_rest_has_the_other_segments(path in odd_path(), n in 0usize..5) {
            prop_assume!(with_normal(&path, |n| !n.unclear && !n.dots));
            let rest = after(&path, n);
            prop_assert!(rest.is_empty() || rest.starts_with('/'));
            let all = normal(&path);
            let want: Vec<&[u8]> = all.split(|b| *b == b'/').skip(1 + n).collect();
            let rest = normal(&rest);
            let have: Vec<&[u8]> = rest.split(|b| *b == b'/').skip(1).collect();
            prop_assert_eq!(have, want);
        }

        #[test]
        fn long_odd_paths_are_no_exception(n in 1000usize..1100) {
            let path = format!("//{}", "a".repeat(n));
            prop_assert_eq!(of(&path).len(), n + 1);
        }
    }
}
