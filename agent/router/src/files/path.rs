//! From a request's path to a name below a folder.

/// A name that cannot lead out of the folder it is looked up in: no `..`, no NUL, no hidden name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relative {
    /// Without a slash at begin and end; `.` for the folder itself.
    pub name: Vec<u8>,
    /// It ended in a slash: a folder is meant.
    pub folder: bool,
}

/// Decodes what follows the rule's prefix, as sent. `None`: nothing that is served has such a name. Each segment is
/// decoded by itself, so an encoded slash never becomes a separator.
pub(super) fn relative(rest: &str) -> Option<Relative> {
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    // without the last slash; two at the end leave an empty segment
    let (inner, folder) = match rest.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (rest, false),
    };
    if inner.is_empty() {
        // `//` is no name of the folder itself
        return (rest.is_empty() || !folder).then_some(Relative {
            name: b".".to_vec(),
            folder: true,
        });
    }
    let mut name = Vec::with_capacity(inner.len());
    for segment in inner.split('/') {
        if !name.is_empty() {
            name.push(b'/');
        }
        let begin = name.len();
        decode(segment.as_bytes(), &mut name)?;
        if !is_served(&name[begin..]) {
            return None;
        }
    }
    Some(Relative { name, folder })
}

/// Hidden names are none of the public's business (`.git`, `.env`), but for the one that RFC 8615 set aside.
fn is_served(segment: &[u8]) -> bool {
    let hidden = segment.first().is_none_or(|b| *b == b'.') && segment != b".well-known";
    // a backslash is a separator to some clients
    !hidden && !segment.iter().any(|b| matches!(b, 0 | b'/' | b'\\'))
}

fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let digit = |b: &u8| {
        char::from(*b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        if *b == b'%' {
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            out.push(high << 4 | low);
        } else {
            out.push(*b);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(rest: &str) -> Option<(String, bool)> {
        relative(rest).map(|r| (String::from_utf8_lossy(&r.name).into_owned(), r.folder))
    }

    #[test]
    fn names() {
        for (rest, name, folder) in [
            ("", ".", true),
            ("/", ".", true),
            ("/a.css", "a.css", false),
            ("a.css", "a.css", false),
            ("/a/b/c.js", "a/b/c.js", false),
            ("/docs/", "docs", true),
            ("/a%20b%C3%A9.txt", "a b\u{e9}.txt", false),
            ("/.well-known/acme", ".well-known/acme", false),
            ("/a..b", "a..b", false),
            ("/a.", "a.", false),
        ] {
            assert_eq!(of(rest), Some((name.to_owned(), folder)), "{rest}");
        }
        for rest in [
            "//",
            "/a//b",
            "/a//",
            "//a",
            "/.",
            "/..",
            "/../x",
            "/a/../b",
            "/a/..",
            "/%2e%2e/x",
            "/.%2e/x",
            "/%2E%2E%2Fetc",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/..\\x",
            "/a%00",
            "/a%",
            "/a%2",
            "/a%zz",
            "/.git/config",
            "/a/.env",
            "/%2egit",
            "/.well-known/../x",
            "/.well-knownx",
        ] {
            assert_eq!(of(rest), None, "{rest}");
        }
    }

    proptest! {
        #[test]
        fn nothing_leads_out(rest in "(/|\\.|%2e|%2E|%2f|%00|%5c|a|\\\\|%){0,12}") {
            if let Some(r) = relative(&rest) {
                prop_assert!(!r.name.starts_with(b"/") && !r.name.contains(&0));
                for s in r.name.split(|b| *b == b'/') {
                    prop_assert!(!s.is_empty() && s != b".." && (s != b"." || r.name == b"."));
                }
            }
        }
    }
}
