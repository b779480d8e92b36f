//! Compression of answers on their way to the client: zstd, brotli or gzip, as the client's `Accept-Encoding` says.
//!
//! What it does: decides by the heads alone (`accept`, `rules`); gathers a body that is complete within [`GATHER`] and
//! compresses it at once, with its Content-Length (`press`), out of a cache when the same bytes came before (`cache`), which a
//! background thread fills with better forms, and with brotli (`maker`);
//! compresses everything else as it comes and flushes whenever the app pauses, so that events arrive one by one
//! (`stream`).
//! What it never does: touch a body that is encoded already, a part of a body (206), an answer marked `no-transform` or
//! one the app wants unbuffered (`X-Accel-Buffering: no`); decode; keep a body for longer than the cache's bounds.
//! Who calls it: `answer`, for each answer of an app that has not switched it off.
//! Tests: beside the code, and with real sockets and decoders in `tests/router/compress.rs`.
//!
//! Event streams are compressed like the rest, from their head on and without gathering. When a thread has too many bodies
//! to compress piece by piece, the next ones go as they are: memory is bounded, and no answer waits for another's end.
//!
//! The cache is no HTTP cache. The app is asked each time and answers each time; only the work of compressing the same
//! bytes again is saved, and the stored original is compared byte for byte before its compressed form is used.
//!
//! A strong ETag becomes weak, because the bytes are other ones. A client sends the weak form back in `If-None-Match`,
//! which is compared weakly (RFC 9110, 13.1.2), so apps that keep to the RFC answer 304 as before; its ETag is then told
//! in the weak form the client knows. An app that compares byte for byte answers 200: that costs a body, no more. `HEAD`
//! is not compressed, only told to vary; its Content-Length, if the app gives one, is that of the plain body.
//!
//! As with all compression of answers, pages that mix secrets with what the requester chose should mask the secrets
//! (BREACH), or the app switches compression off.

mod accept;
mod cache;
mod level;
mod maker;
mod own;
mod press;
mod rules;
mod stream;

pub(crate) use accept::Accepted;
pub(crate) use own::own;
pub(crate) use press::Press;
pub(crate) use rules::Asked;
pub(crate) use stream::pass_on;

use crate::http1::head::Head;
use crate::http1::name::Known;
use hokku_model::routing::Compress;
use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use rules::{Kind, Wanted};
use std::time::Duration;

/// Bodies up to this many bytes are gathered, compressed at once, and kept in the cache.
const WHOLE_MAX: usize = 256 * 1024;
/// So long an answer's head waits for the end of its body.
const GATHER: Duration = Duration::from_millis(5);
/// Input that is compressed in one turn; the other requests of the thread come next.
const TURN: usize = 64 * 1024;

/// What a body can be encoded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Zstd,
    Gzip,
    /// Only out of the cache: it takes too long while anybody waits.
    Brotli,
}

impl Encoding {
    /// How many there are.
    pub const ALL: usize = 3;

    /// Its name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Zstd => "zstd",
            Encoding::Gzip => "gzip",
            Encoding::Brotli => "br",
        }
    }
}

/// Do bodies of this content type get smaller?
pub(crate) fn is_compressible(content_type: &[u8]) -> bool {
    rules::is_text(rules::media_type_of(content_type))
}

/// What becomes of an answer. The maps hold the fields that the rules judge, as they are to be told.
pub(crate) enum Plan {
    /// It passes untouched.
    Leave,
    /// It passes, with these fields.
    Vary(HeaderMap),
    /// It is compressed.
    Press(Pressing),
}

/// How an answer is compressed.
pub(crate) struct Pressing {
    wanted: Wanted,
    setting: Compress,
    events: bool,
    fields: HeaderMap,
}

/// Plans for an answer. `to_head`: the method was HEAD. `length`: of the body, where it is known.
pub(crate) fn plan(
    request: &Head,
    to_head: bool,
    answer: &Head,
    length: Option<u64>,
    setting: Compress,
) -> Plan {
    // most answers are told apart here, without a map
    let told = answer.first(if answer.status == 304 {
        Known::Etag
    } else {
        Known::ContentType
    });
    let short = !to_head && answer.status != 304 && length.is_some_and(|n| n < rules::LEAST as u64);
    if told.is_none() || short {
        return Plan::Leave;
    }
    let Ok(status) = StatusCode::from_u16(answer.status) else {
        return Plan::Leave;
    };
    let mut fields = map(answer, |k, _| k.is_judged());
    let asked = map(request, |k, name| {
        k == Known::CacheControl
            || name.eq_ignore_ascii_case(b"accept-encoding")
            || name.eq_ignore_ascii_case(IF_NONE_MATCH.as_str().as_bytes())
    });
    let method = if to_head { Method::HEAD } else { Method::GET };
    let asked = Asked::of(&method, &asked);
    match rules::judge(&asked, status, &mut fields, length) {
        Kind::Leave => Plan::Leave,
        Kind::Vary => {
            rules::vary(&mut fields);
            Plan::Vary(fields)
        }
        Kind::Compress { wanted, events } => {
            rules::vary(&mut fields);
            Plan::Press(Pressing {
                wanted,
                setting,
                events,
                fields,
            })
        }
    }
}

fn map(head: &Head, keep: impl Fn(Known, &[u8]) -> bool) -> HeaderMap {
    let mut map = HeaderMap::new();
    for f in head.fields().filter(|f| keep(f.known, f.name)) {
        let name = HeaderName::from_bytes(f.name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(f.value)) {
            map.append(name, value);
        }
    }
    map
}
