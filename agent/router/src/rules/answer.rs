//! The short replies of rules.

use crate::reply::{Own, Reply};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

fn text(status: StatusCode, body: &'static str) -> Reply {
    let mut reply = Reply::new(Own::Bytes(Bytes::from_static(body.as_bytes())));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// 400: apps would read the path in different ways.
pub(super) fn unclear_path() -> Reply {
    text(
        StatusCode::BAD_REQUEST,
        "The path of this request can be read in several ways. Send it without encoded slashes and dot segments.\n",
    )
}

/// 403: the client's address is not on the list.
pub(super) fn not_allowed() -> Reply {
    text(StatusCode::FORBIDDEN, "Your address is not allowed here.\n")
}

/// 401: asks for name and password.
pub(super) fn who_are_you(challenge: &HeaderValue) -> Reply {
    let mut reply = text(
        StatusCode::UNAUTHORIZED,
        "A name and a password are needed here.\n",
    );
    reply
        .headers_mut()
        .insert(WWW_AUTHENTICATE, challenge.clone());
    reply
}

/// 429: too many passwords are being verified.
pub(super) fn too_many() -> Reply {
    let mut reply = text(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many passwords are being checked right now. Please try again in a moment.\n",
    );
    reply
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("2"));
    reply
}

/// Leads elsewhere. Caches may keep it as the status allows.
pub(super) fn redirect(status: StatusCode, location: HeaderValue) -> Reply {
    let mut reply = Reply::new(Own::empty());
    *reply.status_mut() = status;
    reply.headers_mut().insert(LOCATION, location);
    reply
}
