//! How an app's requests are handled: what the `hokku.toml` of its release and `app routing:set` say, merged, as the
//! router is told it.
//!
//! [`Routing`] is of the whole app; [`Settings`] can be said for the whole app and again for paths below a prefix, where
//! each key that is said replaces the wider one's.

use crate::{AppId, release::SlugDigest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything about one app's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routing {
    /// What the app's web dynos speak.
    pub proto: Proto,
    /// A client that was served by a dyno comes back to it as long as it lives (cookie `hokku-affinity`).
    pub affinity: bool,
    /// Requests over plain HTTP are answered 308 to `https://`.
    pub https_only: bool,
    /// Seconds of `Strict-Transport-Security` on answers over TLS; none: the header is the app's business.
    pub hsts: Option<u64>,
    /// Requests of this app at once, over which the next one gets H11 unless it can wait; none: no limit.
    pub connections: Option<u32>,
    /// Requests given to one web dyno at once; more wait in the router, as for [`Routing::connections`]; none: no limit. What
    /// waits here is what the queue time measures, and what a new dyno can take.
    pub dyno_connections: Option<u32>,
    /// Milliseconds a request may wait for a place among [`Routing::connections`] or for a dyno before H11 and H20.
    pub queue_ms: Option<u64>,
    /// Milliseconds that WebSockets and other tunnels stay on a dyno that left the routes; none: the agent's default.
    pub drain_ms: Option<u64>,
    /// A page that replaces the router's own when a request fails (Heroku's `ERROR_PAGE_URL`).
    pub error_page: Option<String>,
    /// The page of maintenance mode (Heroku's `MAINTENANCE_PAGE_URL`).
    pub maintenance_page: Option<String>,
    /// For all paths.
    pub settings: Settings,
    /// For paths below a prefix; the longest prefix that fits counts.
    pub rules: Vec<PathRule>,
}

/// What is said for the paths below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathRule {
    /// Begins with `/`. `/api` covers `/api` and `/api/x` but not `/apis`; `/` covers everything.
    pub path: String,
    /// Keys that are said replace the app's own.
    pub settings: Settings,
}

/// What can be said for the app and for a path. `None` and empty: not said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Milliseconds to the first byte of the answer, then H12 (Heroku: 30,000).
    pub first_byte_ms: Option<u64>,
    /// Milliseconds without a byte afterwards, then H15 or H28 (Heroku: 55,000).
    pub idle_ms: Option<u64>,
    /// Bytes of a request's body, over which it is answered 413.
    pub body_limit: Option<u64>,
    /// Bytes a second that a client has to send or take, over any ten seconds, while the router waits for it.
    pub min_rate: Option<u32>,
    /// Whether, and how hard, answers are compressed.
    pub compress: Option<Compress>,
    /// Changes to the request's headers, before the router's own are put in.
    pub request_headers: HeaderEdits,
    /// Changes to the answer's headers.
    pub response_headers: HeaderEdits,
    /// `Cache-Control` of answers with status 200, 203, 206, 301, 304, 308 and 404 that say none themselves.
    pub cache: Option<String>,
    /// Answer with a redirect.
    pub redirect: Option<Redirect>,
    /// Replaces the rule's prefix in the path that the app sees.
    pub rewrite: Option<String>,
    /// Ask for a name and a password.
    pub auth: Option<BasicAuth>,
    /// Client networks that are let in, as `203.0.113.0/24`; empty: all. Others get 403.
    pub allow: Vec<String>,
    /// A folder of the release that the router serves by itself.
    pub files: Option<Files>,
    /// Answer as in maintenance mode.
    pub maintenance: Option<bool>,
}

/// What the app's web dynos speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, with prior knowledge: for gRPC.
    H2c,
}

/// How hard answers are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// Not at all.
    Off,
    /// Least CPU.
    Fast,
    /// The default.
    #[default]
    Balanced,
    /// Fewest bytes.
    Small,
}

/// Headers to set and to remove; names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderEdits {
    /// Replaces all values of each name.
    pub set: BTreeMap<String, String>,
    /// Removed.
    pub remove: Vec<String>,
}

impl HeaderEdits {
    /// Is there nothing to change?
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// An answer that leads elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Redirect {
    /// A URL, or a path on the same host. `$path` is replaced by what follows the rule's prefix, `$query` by `?` and the
    /// query, or by nothing.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Names and hashed passwords.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BasicAuth {
    /// Shown by the client's dialog.
    pub realm: String,
    /// Name to PHC string (argon2id) or bcrypt hash as `htpasswd -B` makes it.
    pub users: BTreeMap<String, String>,
}

/// A folder that the router serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Files {
    /// Path of the folder. In `hokku.toml` relative to the repository; in the router's table absolute, or relative to the
    /// router's own folder, and readable by it.
    pub root: String,
    /// Served for a folder; usually `index.html`.
    pub index: String,
    /// A file that is served, with status 200, where there is none: for single-page apps.
    pub fallback: Option<String>,
    /// Ask the app where there is no file; otherwise 404.
    pub pass: bool,
}

/// Where a folder of a release lies for the router, from the router's own folder: `files/<app>/<slug>/<name>`, the name
/// being one word for each path, so that a folder inside a published folder can be published as well. `root` is relative
/// to the release, as `public` or `web/dist`, or `.`. `None`: it is no folder inside the release.
pub fn laid_out(app: AppId, slug: &SlugDigest, root: &str) -> Option<String> {
    let path = std::path::Path::new(root);
    let plain = path
        .components()
        .all(|c| matches!(c, std::path::Component::Normal(_)));
    if !(plain || root == ".")
        || root.is_empty()
        || root.contains("//")
        || root.ends_with('/')
        || root.contains('\0')
    {
        return None;
    }
    let mut name = String::new();
    for b in root.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(b)),
            b'.' if root != "." => name.push('.'),
            _ => name.push_str(&format!("%{b:02X}")),
        }
    }
    // what a file system takes for one name, with a few letters to spare
    (name.len() <= 240).then(|| format!("files/{app}/{slug}/{name}"))
}
