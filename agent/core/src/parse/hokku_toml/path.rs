//! Paths of rules, folders of the release, and where redirects lead.

/// What is wrong, and what to do.
pub(super) type Wrong = (String, String);

/// Bytes of a path.
const MAX: usize = 1024;

fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err((message.into(), hint.into()))
}

/// The prefix of a rule in the one form in which it is compared: with a `/` in front and none at the end, unreserved
/// characters plain, escapes in capitals.
pub(super) fn prefix(text: &str) -> Result<String, Wrong> {
    if text.len() > MAX {
        return wrong(format!("the path has more than {MAX} bytes"), "");
    }
    if !text.starts_with('/') {
        return wrong(
            "a path has to begin with \"/\"",
            format!("Write \"/{}\".", text.trim_start_matches('/')),
        );
    }
    if let Some(c) = text.chars().find(|c| matches!(c, '?' | '#' | '*' | '\\')) {
        let hint = match c {
            '*' => "A path covers everything below it: write it without the \"*\".",
            _ => "Only the path of a request is compared, without its query.",
        };
        return wrong(format!("a path has no {c:?}"), hint);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let hex = rest
                    .get(..2)
                    .filter(|h| h.iter().all(u8::is_ascii_hexdigit));
                let Some(value) =
                    hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok())
                else {
                    return wrong(
                        "after \"%\" two hex digits have to follow",
                        "A percent sign itself is written %25.",
                    );
                };
                rest = &rest[2..];
                if value == 0 || value == b'/' || value == b'\\' {
                    return wrong(
                        format!("%{value:02X} can't be in a path"),
                        "No rule could tell it from another path.",
                    );
                }
                if unreserved(value) {
                    out.push(char::from(value));
                } else {
                    out.push_str(&format!("%{value:02X}"));
                }
            }
            b if plain(*b) => out.push(char::from(*b)),
            b if b.is_ascii_control() => return wrong("a path has no control characters", ""),
            _ => {
                let coded: String = text
                    .bytes()
                    .map(|b| match plain(b) || b == b'%' {
                        true => char::from(b).to_string(),
                        false => format!("%{b:02X}"),
                    })
                    .collect();
                return wrong(
                    "characters other than ASCII letters, digits and -._~!$&'()+,;=:@ are written as %XX in a path",
                    format!("Write \"{coded}\"."),
                );
            }
        }
    }
    if out.contains("//") {
        return wrong("a path has no empty parts (\"//\")", "");
    }
    if out.split('/').any(|part| part == "." || part == "..") {
        return wrong(
            "a path has no \".\" and \"..\" parts",
            "Clients resolve them before they ask.",
        );
    }
    if out.len() > 1 && out.ends_with('/') {
        out.pop();
    }
    Ok(out)
}

/// RFC 3986, 2.3.
fn unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~".contains(&b)
}

/// RFC 3986, 3.3: what a path can hold without an escape.
fn plain(b: u8) -> bool {
    unreserved(b) || b"!$&'()+,;=:@/".contains(&b)
}

/// Does the rule of `prefix` cover `path`? Both in the form of [`prefix`].
pub fn covers(prefix: &str, path: &str) -> bool {
    prefix == "/"
        || path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A folder or file of the release: relative, below it, in one form.
pub(super) fn relative(text: &str, what: &str) -> Result<String, Wrong> {
    if text.len() > MAX || text.contains(|c: char| c.is_control() || c == '\\') {
        return wrong(format!("{what} is no path of a file"), "");
    }
    if text.starts_with('/') {
        return wrong(
            format!("{what} has to be inside the repository"),
            format!(
                "Write it without the \"/\" in front: \"{}\".",
                text.trim_start_matches('/')
            ),
        );
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|p| !matches!(*p, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return wrong(
            format!("{what} has to be inside the repository, without \"..\""),
            "",
        );
    }
    if parts.iter().any(|p| p.eq_ignore_ascii_case(".git")) {
        return wrong("git's folder is not part of a release", "");
    }
    if parts.is_empty() {
        return wrong(
            format!("{what} can't be the whole repository"),
            "That would publish the app's source. Name a folder that holds nothing but what everybody may read.",
        );
    }
    Ok(parts.join("/"))
}

/// Where a redirect leads: a path of the same host, or a URL.
pub(super) fn target(text: &str) -> Result<String, Wrong> {
    if text.len() > 2048
        || !text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b))
    {
        return wrong(
            "a redirect leads to a URL of at most 2048 characters, without blanks and other than ASCII ones as %XX",
            "",
        );
    }
    let words = text.replace("$path", "").replace("$query", "");
    if words.contains('$') {
        return wrong(
            "only $path and $query are replaced in a redirect",
            "A dollar sign itself is written %24.",
        );
    }
    if text.contains("/$path") {
        let hint = format!(
            "$path begins with \"/\" itself. Write \"{}\".",
            text.replace("/$path", "$path")
        );
        return wrong("\"/\" right before $path gives two of them", hint);
    }
    if text.starts_with("//") {
        return wrong(
            "\"//\" leads to another host",
            "Write the scheme too: https://….",
        );
    }
    if text.starts_with('/') || text.starts_with("$path") || url(text) {
        return Ok(text.to_owned());
    }
    wrong(
        "a redirect leads to a path (\"/…\") or a URL (\"https://…\")",
        "",
    )
}

/// Is it an `http://` or `https://` URL with a host, of characters that a header can carry?
pub fn url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|r| r.split(['/', '?', '#', '$']).next().unwrap_or_default());
    let good = |h: &str| {
        !h.is_empty()
            && h.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
    };
    text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic()) && host.is_some_and(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefixes() {
        for (text, is) in [
            ("/", Ok("/")),
            ("/api", Ok("/api")),
            ("/api/", Ok("/api")),
            ("/%61pi", Ok("/api")),
            ("/a%2fb", Err("%2F")),
            ("/a%c3%a9", Ok("/a%C3%A9")),
            ("/é", Err("%C3%A9")),
            ("/a b", Err("/a%20b")),
            ("api", Err("\"/api\"")),
            ("", Err("begin")),
            ("//x", Err("empty parts")),
            ("/a//b", Err("empty parts")),
            ("/a/../b", Err("..")),
            ("/a/%2e%2e/b", Err("..")),
            ("/a/.", Err("\".\"")),
            ("/a?b", Err("query")),
            ("/api/*", Err("without the \"*\"")),
            ("/%", Err("%25")),
            ("/%zz", Err("hex")),
            ("/%00", Err("%00")),
            ("/a\\b", Err("query")),
        ] {
            match (prefix(text), is) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
                (Err((m, h)), Err(part)) => {
                    assert!(format!("{m} {h}").contains(part), "{text}: {m} {h}")
                }
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
        assert!(prefix(&format!("/{}", "a".repeat(1024))).is_err());
    }

    #[test]
    fn coverage() {
        for (prefix, path, is) in [
            ("/", "/x", true),
            ("/api", "/api", true),
            ("/api", "/api/x", true),
            ("/api", "/apis", false),
            ("/api", "/", false),
        ] {
            assert_eq!(covers(prefix, path), is, "{prefix} {path}");
        }
    }

    #[test]
    fn folders() {
        for (text, is) in [
            ("public", Some("public")),
            ("./dist//x/", Some("dist/x")),
            (".output/public", Some(".output/public")),
            ("/etc", None),
            ("..", None),
            ("a/../../b", None),
            (".", None),
            ("", None),
            (".git", None),
            ("a/.GIT/x", None),
            ("a\0b", None),
            ("a\\..\\b", None),
        ] {
            assert_eq!(relative(text, "it").ok().as_deref(), is, "{text:?}");
        }
    }

    #[test]
    fn targets() {
        for good in [
            "/new",
            "/new$path$query",
            "https://example.org$path",
            "http://h:8080/x?y=1",
            "https://example.org",
            "$path",
            "$path$query",
        ] {
            assert_eq!(target(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "new",
            "//evil.example",
            "/\\evil",
            "/$path",
            "/a/$path",
            "$query",
            "https://$path",
            "https://",
            "ftp://x",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie: x",
            "/a b",
            "/é",
            "/$host",
            "https://a@b",
            "/a\"b",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_stays_what_it_is(s in "(/|%2e|%41|%|\\.|[a-zé ]){0,12}", t in ".{0,20}") {
            for text in [s, t] {
                let _ = (relative(&text, "it"), target(&text), url(&text));
                if let Ok(p) = prefix(&text) {
                    prop_assert_eq!(prefix(&p), Ok(p.clone()));
                    prop_assert!(p.starts_with('/') && !p.split('/').any(|x| x == ".."));
                }
            }
        }
    }
}
