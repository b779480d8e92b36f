//! Which answers are compressed, and what that changes in their heads.

use super::Encoding;
use super::accept::Accepted;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// Shorter bodies gain nothing: with their head they fill one packet anyhow.
pub(crate) const LEAST: usize = 860;

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Sums of the bytes as the app made them; they say nothing about the compressed ones.
pub(crate) const SUMS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Types besides `text/*`, `*+json`, `*+xml` and `*+text` that get smaller.
const TYPES: [&str; 27] = [
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/xml",
    "application/xml-dtd",
    "application/wasm",
    "application/ndjson",
    "application/x-ndjson",
    "application/jsonl",
    "application/json-seq",
    "application/json5",
    "application/graphql",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
    "application/sql",
    "application/rtf",
    "application/x-www-form-urlencoded",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "application/x-font-opentype",
    "font/ttf",
    "font/otf",
    "font/collection",
    "image/bmp",
    "image/x-icon",
];

/// What a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The best that can be made while it waits.
    pub now: Option<Encoding>,
    /// The best of all: brotli takes too long to be made while anybody waits, and comes out of the cache only.
    pub best: Encoding,
}

impl Wanted {
    /// zstd before brotli before gzip, where the client likes them equally; `None` when it takes none.
    pub fn of(accepted: &Accepted) -> Option<Wanted> {
        Some(Wanted {
            now: accepted.choose(&[Encoding::Zstd, Encoding::Gzip]),
            best: accepted.choose(&[Encoding::Zstd, Encoding::Brotli, Encoding::Gzip])?,
        })
    }
}

/// What a request says about the encoding of its answer.
pub(crate) struct Asked {
    wanted: Option<Wanted>,
    head: bool,
    no_transform: bool,
    none_match: Option<HeaderValue>,
}

impl Asked {
    /// Reads a request's head. HTTP/2 and 1.1 alike.
    pub fn of(method: &Method, headers: &HeaderMap) -> Asked {
        let lines = headers
            .get_all(ACCEPT_ENCODING)
            .iter()
            .map(HeaderValue::as_bytes);
        Asked {
            wanted: Wanted::of(&Accepted::of(lines)),
            head: method == Method::HEAD,
            no_transform: has_token(headers, &CACHE_CONTROL, "no-transform"),
            none_match: headers.get(IF_NONE_MATCH).cloned(),
        }
    }
}

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It passes untouched.
    Leave,
    /// It passes, but another client would get it compressed.
    Vary,
    /// It is compressed; `events`: as it comes, without waiting for more.
    Compress { wanted: Wanted, events: bool },
}

/// Judges an answer by its head. `length`: of its body, in bytes, when known. Weakens the ETag of a 304 whose client
/// knows only the weak form.
pub(crate) fn judge(
    asked: &Asked,
    status: StatusCode,
    headers: &mut HeaderMap,
    length: Option<u64>,
) -> Kind {
    if status == StatusCode::NOT_MODIFIED {
        return not_modified(asked, headers);
    }
    let bodiless = status.is_informational()
        || [
            StatusCode::NO_CONTENT,
            StatusCode::RESET_CONTENT,
            StatusCode::PARTIAL_CONTENT,
        ]
        .contains(&status);
    if bodiless
        || headers.contains_key(CONTENT_ENCODING)
        || headers.contains_key(CONTENT_RANGE)
        || has_token(headers, &CACHE_CONTROL, "no-transform")
    {
        return Kind::Leave;
    }
    let Some(media) = headers.get(CONTENT_TYPE).map(media_type) else {
        return Kind::Leave;
    };
    if !is_text(media) {
        return Kind::Leave;
    }
    let events = media.eq_ignore_ascii_case(b"text/event-stream");
    let unbuffered = has_token(headers, &ACCEL_BUFFERING, "no");
    if unbuffered || (!asked.head && length.is_some_and(|n| n < LEAST as u64)) {
        return Kind::Leave;
    }
    match asked.wanted {
        // brotli is for bodies that come again; events never do
        Some(Wanted { now: None, .. }) if events => Kind::Vary,
        Some(wanted) if !asked.head && !asked.no_transform => Kind::Compress { wanted, events },
        _ => Kind::Vary,
    }
}

fn not_modified(asked: &Asked, headers: &mut HeaderMap) -> Kind {
    let known = asked.none_match.as_ref().map_or(&b""[..], |v| v.as_bytes());
    let weak = headers.get(ETAG).and_then(|tag| weak(tag.as_bytes()));
    match weak {
        Some(weak) if memchr::memmem::find(known, weak.as_bytes()).is_some() => {
            headers.insert(ETAG, weak);
            Kind::Vary
        }
        _ => Kind::Leave,
    }
}

/// The head of an answer whose body is now in this encoding. Its length is unknown until it is set.
pub(crate) fn encoded(headers: &mut HeaderMap, encoding: Encoding) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    for name in &SUMS {
        headers.remove(name);
    }
    if let Some(tag) = headers.get(ETAG)
        && !tag.as_bytes().starts_with(b"W/")
    {
        match weak(tag.as_bytes()) {
            Some(weak) => headers.insert(ETAG, weak),
            // not a tag; kept, it might be compared as a strong one
            None => headers.remove(ETAG),
        };
    }
}

/// The weak form of a strong tag.
fn weak(tag: &[u8]) -> Option<HeaderValue> {
    if tag.len() < 2 || !tag.starts_with(b"\"") || !tag.ends_with(b"\"") {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", tag].concat()).ok()
}

/// Adds `Accept-Encoding` to what the answer varies by.
pub(crate) fn vary(headers: &mut HeaderMap) {
    if has_token(headers, &VARY, "*") || has_token(headers, &VARY, "accept-encoding") {
        return;
    }
    let before: Vec<&[u8]> = headers
        .get_all(VARY)
        .iter()
        .map(|v| v.as_bytes().trim_ascii())
        .filter(|v| !v.is_empty())
        .chain([&b"Accept-Encoding"[..]])
        .collect();
    if let Ok(all) = HeaderValue::from_bytes(&before.join(&b", "[..])) {
        headers.insert(VARY, all);
    }
}

/// A content type without its parameters.
fn media_type(value: &HeaderValue) -> &[u8] {
    media_type_of(value.as_bytes())
}

/// The same of bytes.
pub(super) fn media_type_of(all: &[u8]) -> &[u8] {
    all.split(|b| *b == b';').next().unwrap_or(all).trim_ascii()
}

pub(super) fn is_text(media: &[u8]) -> bool {
    let starts = |s: &str| {
        media
            .get(..s.len())
            .is_some_and(|m| m.eq_ignore_ascii_case(s.as_bytes()))
    };
    let ends = |s: &str| {
        media.len() > s.len() && media[media.len() - s.len()..].eq_ignore_ascii_case(s.as_bytes())
    };
    starts("text/")
        || ends("+json")
        || ends("+xml")
        || ends("+text")
        || TYPES
            .iter()
            .any(|t| media.eq_ignore_ascii_case(t.as_bytes()))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut m = HeaderMap::new();
        for (k, v) in pairs {
            m.append(
                HeaderName::from_bytes(k.as_bytes()).unwrap(),
                HeaderValue::from_str(v).unwrap(),
            );
        }
        m
    }

    fn asks(method: Method, pairs: &[(&str, &str)]) -> Asked {
        Asked::of(&method, &map(pairs))
    }

    #[test]
    fn types() {
        for yes in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "application/json",
            "application/manifest+json",
            "image/svg+xml",
            "application/wasm",
            "font/otf",
            "application/x-ndjson;x=1",
            "text/event-stream",
        ] {
            let value = HeaderValue::from_str(yes).unwrap();
            assert!(is_text(media_type(&value)), "{yes}");
        }
        for no in [
            "image/png",
            "font/woff2",
            "application/octet-stream",
            "application/grpc",
            "application/grpc+proto",
            "application/zip",
            "video/mp4",
            "+json",
            "",
        ] {
            let value = HeaderValue::from_str(no).unwrap();
            assert!(!is_text(media_type(&value)), "{no}");
        }
    }

    #[test]
    fn each_rule() {
        let gzip = [("accept-encoding", "gzip")];
        let with = |more: &[(&str, &str)], status: u16, length: Option<u64>| {
            let mut h = map(&[("content-type", "text/html")]);
            for (k, v) in map(more).iter() {
                h.insert(k.clone(), v.clone());
            }
            let status = StatusCode::from_u16(status).unwrap();
            judge(&asks(Method::GET, &gzip), status, &mut h, length)
        };
        let yes = |events| Kind::Compress {
            wanted: Wanted {
                now: Some(Encoding::Gzip),
                best: Encoding::Gzip,
            },
            events,
        };
        assert_eq!(with(&[], 200, None), yes(false));
        assert_eq!(with(&[], 404, Some(860)), yes(false));
        assert_eq!(
            with(&[("content-type", "text/event-stream")], 200, None),
            yes(true)
        );
        assert_eq!(with(&[], 200, Some(859)), Kind::Leave);
        for status in [204, 205, 206, 304] {
            assert_eq!(with(&[], status, None), Kind::Leave, "{status}");
        }
        for (k, v) in [
            ("content-encoding", "br"),
            ("content-encoding", "identity"),
            ("content-range", "bytes 0-1/2"),
            ("cache-control", "public, No-Transform"),
            ("content-type", "image/png"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(with(&[(k, v)], 200, None), Kind::Leave, "{k}: {v}");
        }
        let html = || map(&[("content-type", "text/html")]);
        for asked in [
            asks(Method::GET, &[]),
            asks(Method::GET, &[("accept-encoding", "identity")]),
            asks(Method::HEAD, &gzip),
            asks(Method::GET, &[gzip[0], ("cache-control", "no-transform")]),
        ] {
            assert_eq!(judge(&asked, StatusCode::OK, &mut html(), None), Kind::Vary);
        }
        let nothing = judge(
            &asks(Method::GET, &gzip),
            StatusCode::OK,
            &mut HeaderMap::new(),
            None,
        );
        assert_eq!(nothing, Kind::Leave, "a body of an unknown type");
    }

    #[test]
    fn vary_is_merged() {
        for (before, after) in [
            (&[][..], &[("vary", "Accept-Encoding")][..]),
            (
                &[("vary", "Cookie")],
                &[("vary", "Cookie, Accept-Encoding")],
            ),
            (
                &[("vary", "Cookie"), ("vary", "Origin")],
                &[("vary", "Cookie, Origin, Accept-Encoding")],
            ),
            (&[("vary", "*")], &[("vary", "*")]),
            (
                &[("vary", "Origin, accept-encoding")],
                &[("vary", "Origin, accept-encoding")],
            ),
            (&[("vary", "")], &[("vary", "Accept-Encoding")]),
        ] {
            let mut h = map(before);
            vary(&mut h);
            assert_eq!(h, map(after));
        }
    }

    #[test]
    fn what_no_longer_holds_goes() {
        let mut h = map(&[
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("content-md5", "x"),
            ("digest", "x"),
            ("content-digest", "x"),
            ("repr-digest", "x"),
            ("etag", "\"a\""),
            ("x-kept", "1"),
        ]);
        encoded(&mut h, Encoding::Zstd);
        assert_eq!(
            h,
            map(&[
                ("content-encoding", "zstd"),
                ("etag", "W/\"a\""),
                ("x-kept", "1")
            ])
        );
        for (before, after) in [("W/\"a\"", Some("W/\"a\"")), ("a", None), ("\"", None)] {
            let mut h = map(&[("etag", before)]);
            encoded(&mut h, Encoding::Gzip);
            assert_eq!(h.get(ETAG).map(|v| v.to_str().unwrap()), after);
        }
    }

    #[test]
    fn not_modified_tells_the_tag_the_client_knows() {
        for (known, told, kind) in [
            ("W/\"a\"", "W/\"a\"", Kind::Vary),
            ("\"b\", W/\"a\"", "W/\"a\"", Kind::Vary),
            ("\"a\"", "\"a\"", Kind::Leave),
            ("W/\"b\"", "\"a\"", Kind::Leave),
        ] {
            let mut h = map(&[("etag", "\"a\"")]);
            let asked = asks(Method::GET, &[("if-none-match", known)]);
            assert_eq!(judge(&asked, StatusCode::NOT_MODIFIED, &mut h, None), kind);
            assert_eq!(h.get(ETAG).unwrap(), told);
        }
    }
}
