//! The keys of `[routing]`: one table for the parser's suggestions, the documentation and the CLI.

use crate::nearest::nearest;

/// Where a key can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// For the whole app only.
    App,
    /// For the app, and for a path.
    Both,
    /// In a rule only.
    Rule,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Where it can be said.
    pub scope: Scope,
    /// What it does, in a sentence.
    pub what: &'static str,
    /// A value, as TOML.
    pub example: &'static str,
    /// What counts when nobody says anything, as it is shown; empty: nothing, and it is not shown then.
    pub default: &'static str,
}

const fn key(
    name: &'static str,
    scope: Scope,
    example: &'static str,
    default: &'static str,
    what: &'static str,
) -> Key {
    Key {
        name,
        scope,
        what,
        example,
        default,
    }
}

use Scope::{App, Both, Rule};

/// All keys, in the order of the documentation.
pub const KEYS: &[Key] = &[
    key(
        "proto",
        App,
        r#""h2c""#,
        "http1",
        "What the web dynos speak: http1, or h2c (HTTP/2 without TLS, for gRPC).",
    ),
    key(
        "affinity",
        App,
        "true",
        "false",
        "A client comes back to the dyno that served it, by a cookie.",
    ),
    key(
        "https_only",
        App,
        "true",
        "false",
        "Requests over plain HTTP are redirected to https://.",
    ),
    key(
        "hsts",
        App,
        r#""365d""#,
        "none",
        "How long browsers shall insist on HTTPS; true is a year, false nothing.",
    ),
    key(
        "connections",
        App,
        "500",
        "none",
        "Requests of the app at once; the next one waits, then gets H11.",
    ),
    key(
        "dyno_connections",
        App,
        "20",
        "none",
        "Requests given to one dyno at once; more wait in the router, then get H11.",
    ),
    key(
        "queue",
        App,
        r#""10s""#,
        "none",
        "How long a request may wait for a place or for a dyno.",
    ),
    key(
        "websocket_drain",
        App,
        r#""2h""#,
        "",
        "How long WebSockets stay on a dyno that is being replaced.",
    ),
    key(
        "timeout",
        Both,
        r#""30s""#,
        "30s",
        "Time to the first byte of the answer; then H12.",
    ),
    key(
        "idle_timeout",
        Both,
        r#""55s""#,
        "55s",
        "Time without a byte afterwards; then H15 or H28.",
    ),
    key(
        "body_limit",
        Both,
        r#""10MB""#,
        "none",
        "The largest body of a request; more is answered 413.",
    ),
    key(
        "min_rate",
        Both,
        r#""1kB""#,
        "none",
        "Bytes a second that a client has to send or take.",
    ),
    key(
        "compress",
        Both,
        r#""balanced""#,
        "balanced",
        "How hard answers are compressed: off, fast, balanced, small; false is off.",
    ),
    key(
        "request_headers",
        Both,
        r#"{ X-Tenant = "main", X-Debug = false }"#,
        "",
        "Headers set (text) or removed (false) before the app sees the request.",
    ),
    key(
        "response_headers",
        Both,
        r#"{ X-Frame-Options = "DENY", Server = false }"#,
        "",
        "Headers set (text) or removed (false) in the answer.",
    ),
    key(
        "cache",
        Both,
        r#""public, max-age=3600""#,
        "",
        "Cache-Control of answers that say none themselves.",
    ),
    key(
        "redirect",
        Both,
        r#"{ to = "https://example.org$path$query", status = 301 }"#,
        "",
        "Answer with a redirect; a text alone is a redirect with status 302.",
    ),
    key(
        "rewrite",
        Rule,
        r#""/v2""#,
        "",
        "Replaces the rule's prefix in the path that the app sees.",
    ),
    key(
        "basic_auth",
        Both,
        r#"{ realm = "Staff", users = { ann = "$argon2id$…" } }"#,
        "",
        "Asks for a name and a password; passwords are hashed by app routing:hash.",
    ),
    key(
        "allow",
        Both,
        r#"["203.0.113.0/24", "2001:db8::/32"]"#,
        "all",
        "Networks whose clients are let in; others get 403.",
    ),
    key(
        "files",
        Both,
        r#"{ root = "public", fallback = "index.html" }"#,
        "",
        "A folder of the release that the router serves by itself.",
    ),
    key(
        "maintenance",
        Both,
        "true",
        "false",
        "Answer with the maintenance page.",
    ),
];

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name)
}

/// What people from elsewhere may write for which key.
const ALSO: [(&str, &str); 22] = [
    ("auth", "basic_auth"),
    ("basicauth", "basic_auth"),
    ("body_size", "body_limit"),
    ("cache_control", "cache"),
    ("client_max_body_size", "body_limit"),
    ("compression", "compress"),
    ("drain", "websocket_drain"),
    ("first_byte_timeout", "timeout"),
    ("force_ssl", "https_only"),
    ("gzip", "compress"),
    ("headers", "response_headers"),
    ("https", "https_only"),
    ("idle", "idle_timeout"),
    ("ip_allow", "allow"),
    ("max_body", "body_limit"),
    ("max_connections", "connections"),
    ("protocol", "proto"),
    ("redirect_to", "redirect"),
    ("session_affinity", "affinity"),
    ("static", "files"),
    ("sticky", "affinity"),
    ("to", "redirect"),
];

/// What somebody may have meant who wrote `typed` where `names` are known.
pub(super) fn meant(typed: &str, names: &[&'static str]) -> Option<&'static str> {
    let plain = typed.to_ascii_lowercase().replace('-', "_");
    let also = ALSO.iter().find(|(a, _)| *a == plain).map(|(_, k)| *k);
    also.filter(|k| names.contains(k))
        .or_else(|| nearest(&plain, names.iter().copied()))
}
