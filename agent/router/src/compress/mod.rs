//! Compression of answers on their way to the client: zstd, brotli or gzip, as the client's `Accept-Encoding` says.
//!
//! What it does: decides by the heads alone (`accept`, `rules`); gathers a body that is complete within [`GATHER`] and
//! compresses it at once, with its Content-Length (`press`), out of a cache when the same bytes came before (`cache`), which a
//! background thread fills with better forms, and with brotli (`maker`);
//! compresses everything else as it comes and flushes whenever the app pauses, so that events arrive one by one
//! (`stream`).
//! What it never does: touch a body that is encoded already, a part of a body (206), an answer marked `no-transform` or
//! one the app wants unbuffered (`X-Accel-Buffering: no`); decode; keep a body for longer than the cache's bounds.
//! Who calls it: `forward`, for each answer of an app that has not switched it off.
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
#[allow(unused_imports, reason = "the data path calls it next")]
pub(crate) use own::own;
pub(crate) use press::Press;
pub(crate) use rules::Asked;
pub(crate) use stream::Squeezed;

use crate::body::{Answer, Down};
use hokku_model::routing::Compress;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use rules::Kind;
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

/// Prepares an app's answer for a client that asked so: rewrites `headers` and wraps the body where it is to be
/// compressed. Waits up to [`GATHER`] for the end of the body.
pub(crate) async fn apply(
    asked: &Asked,
    setting: Compress,
    status: http::StatusCode,
    headers: &mut HeaderMap,
    answer: Box<Answer>,
) -> Down {
    let kind = rules::judge(asked, status, headers, answer.length());
    let (wanted, events) = match kind {
        Kind::Leave => return Down::answer(answer),
        Kind::Vary => {
            rules::vary(headers);
            return Down::answer(answer);
        }
        Kind::Compress { .. } if answer.is_over() => return Down::answer(answer),
        Kind::Compress { wanted, events } => (wanted, events),
    };
    rules::vary(headers);
    let ctx = answer.ctx().clone();
    let long = answer.length().is_some_and(|n| n > WHOLE_MAX as u64);
    let mut body = Squeezed::new(answer);
    if !events && !long && body.gather().await {
        let original = body.gathered();
        if original.len() > TURN {
            tokio::task::yield_now().await;
        }
        let made = if original.len() < rules::LEAST {
            None
        } else {
            ctx.press.borrow_mut().whole(wanted, setting, &original)
        };
        if let Some((encoding, bytes)) = made {
            body.saves(original.len() - bytes.len());
            rules::encoded(headers, encoding);
            if !body.has_trailers() {
                headers.insert(CONTENT_LENGTH, bytes.len().into());
            }
            body.instead(bytes);
        } else {
            body.instead(original);
        }
    } else if let Some(encoding) = wanted.now
        && let Some(stream) = ctx.press.borrow_mut().begin(encoding, setting, events)
    {
        rules::encoded(headers, encoding);
        body.through(stream);
    }
    // without a stream there were too many at once: this one goes as it is
    Down::Squeezed(Box::new(body))
}
