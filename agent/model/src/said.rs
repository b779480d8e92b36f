//! What one source (an app's `hokku.toml`, or its owner with `app routing:set`) says of an app's requests, key by key, so
//! that sources can be laid over each other and each value can tell where it came from.
//!
//! [`crate::routing::Routing`] is what comes out of it.

use crate::routing::{BasicAuth, Compress, Files, Proto, Redirect};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use std::{borrow::Cow, collections::BTreeMap};

/// Everything that one source says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// For the whole app.
    pub app: Level,
    /// For paths below a prefix (normalised, begins with `/`).
    pub rules: BTreeMap<String, Level>,
}

impl Said {
    /// Is nothing said?
    pub fn is_empty(&self) -> bool {
        self.app.0.is_empty() && self.rules.is_empty()
    }

    /// The folders of the release that the router serves, relative to it, each once.
    pub fn files_roots(&self) -> Vec<String> {
        let levels = std::iter::once(&self.app).chain(self.rules.values());
        let mut roots: Vec<String> = levels
            .flat_map(|level| &level.0)
            .filter_map(|s| match s {
                Setting::Files(f) => Some(f.root.clone()),
                _ => None,
            })
            .collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }
}

/// What is said for the app, or for the paths below one prefix; each key at most once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Level(Vec<Setting>);

/// What a newer agent wrote, and this one does not know, is left out: an app must not be lost by it.
impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Level, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Maybe {
            Known(Setting),
            Unknown(IgnoredAny),
        }
        let all = Vec::<Maybe>::deserialize(d)?.into_iter();
        Ok(all
            .filter_map(|s| match s {
                Maybe::Known(setting) => Some(setting),
                Maybe::Unknown(_) => None,
            })
            .collect())
    }
}

impl Level {
    /// The settings, in the order in which they were said.
    pub fn iter(&self) -> std::slice::Iter<'_, Setting> {
        self.0.iter()
    }

    /// How many keys are said.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is nothing said?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says it, in place of what was said under the same key.
    pub fn set(&mut self, setting: Setting) {
        match self.0.iter_mut().find(|s| s.key() == setting.key()) {
            Some(old) => *old = setting,
            None => self.0.push(setting),
        }
    }

    /// Takes back what was said under this key; `response_headers` takes back all headers. False: nothing was.
    pub fn unset(&mut self, key: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|s| s.key() != key && s.topic() != key);
        self.0.len() < before
    }
}

impl<'a> IntoIterator for &'a Level {
    type Item = &'a Setting;
    type IntoIter = std::slice::Iter<'a, Setting>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Setting> for Level {
    fn from_iter<I: IntoIterator<Item = Setting>>(all: I) -> Level {
        let mut level = Level::default();
        for setting in all {
            level.set(setting);
        }
        level
    }
}

/// One key with its checked value. Where the value is an `Option`, `None` says "none" or "off", over what a wider source
/// said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// See [`crate::routing::Routing::proto`].
    Proto(Proto),
    /// See [`crate::routing::Routing::affinity`].
    Affinity(bool),
    /// See [`crate::routing::Routing::https_only`].
    HttpsOnly(bool),
    /// Seconds; see [`crate::routing::Routing::hsts`].
    Hsts(Option<u64>),
    /// See [`crate::routing::Routing::connections`].
    Connections(Option<u32>),
    /// See [`crate::routing::Routing::dyno_connections`].
    DynoConnections(Option<u32>),
    /// Milliseconds; see [`crate::routing::Routing::queue_ms`].
    Queue(Option<u64>),
    /// Milliseconds; see [`crate::routing::Routing::drain_ms`].
    WebsocketDrain(Option<u64>),
    /// A URL; see [`crate::routing::Routing::error_page`]. Only of config vars.
    ErrorPage(String),
    /// A URL; see [`crate::routing::Routing::maintenance_page`]. Only of config vars.
    MaintenancePage(String),
    /// Milliseconds; see [`crate::routing::Settings::first_byte_ms`].
    Timeout(u64),
    /// Milliseconds; see [`crate::routing::Settings::idle_ms`].
    IdleTimeout(u64),
    /// Bytes; see [`crate::routing::Settings::body_limit`].
    BodyLimit(u64),
    /// Bytes a second; see [`crate::routing::Settings::min_rate`].
    MinRate(u32),
    /// See [`crate::routing::Settings::compress`].
    Compress(Compress),
    /// A header's name in lower case, and its value or `None` to remove it.
    RequestHeader(String, Option<String>),
    /// The same of the answer.
    ResponseHeader(String, Option<String>),
    /// See [`crate::routing::Settings::cache`].
    Cache(String),
    /// See [`crate::routing::Settings::redirect`].
    Redirect(Redirect),
    /// See [`crate::routing::Settings::rewrite`].
    Rewrite(String),
    /// See [`crate::routing::Settings::auth`].
    BasicAuth(BasicAuth),
    /// See [`crate::routing::Settings::allow`].
    Allow(Vec<String>),
    /// With a root relative to the release; see [`crate::routing::Settings::files`].
    Files(Files),
    /// See [`crate::routing::Settings::maintenance`].
    Maintenance(bool),
}

impl Setting {
    /// The key in `hokku.toml` and of `app routing:set`; of a header with its name: `response_headers.server`.
    pub fn key(&self) -> Cow<'static, str> {
        match self {
            Setting::RequestHeader(name, _) | Setting::ResponseHeader(name, _) => {
                Cow::Owned(format!("{}.{name}", self.topic()))
            }
            _ => Cow::Borrowed(self.topic()),
        }
    }

    /// The key without a header's name.
    pub fn topic(&self) -> &'static str {
        match self {
            Setting::Proto(_) => "proto",
            Setting::Affinity(_) => "affinity",
            Setting::HttpsOnly(_) => "https_only",
            Setting::Hsts(_) => "hsts",
            Setting::Connections(_) => "connections",
            Setting::DynoConnections(_) => "dyno_connections",
            Setting::Queue(_) => "queue",
            Setting::WebsocketDrain(_) => "websocket_drain",
            Setting::ErrorPage(_) => "error_page",
            Setting::MaintenancePage(_) => "maintenance_page",
            Setting::Timeout(_) => "timeout",
            Setting::IdleTimeout(_) => "idle_timeout",
            Setting::BodyLimit(_) => "body_limit",
            Setting::MinRate(_) => "min_rate",
            Setting::Compress(_) => "compress",
            Setting::RequestHeader(..) => "request_headers",
            Setting::ResponseHeader(..) => "response_headers",
            Setting::Cache(_) => "cache",
            Setting::Redirect(_) => "redirect",
            Setting::Rewrite(_) => "rewrite",
            Setting::BasicAuth(_) => "basic_auth",
            Setting::Allow(_) => "allow",
            Setting::Files(_) => "files",
            Setting::Maintenance(_) => "maintenance",
        }
    }
}

/// The answer of `GET /hokku/apps/{app}/routing`: what counts, and where each value came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingView {
    /// The app's name.
    pub app: String,
    /// The current release; none before the first one.
    pub release: Option<u32>,
    /// For the whole app, in the order of the documentation.
    pub settings: Vec<RoutingRow>,
    /// For paths, by path; each holds only what is said for it.
    pub rules: Vec<RoutingRule>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// One key with its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingRow {
    /// As in `hokku.toml`.
    pub key: String,
    /// As it can be written, for people; hashes of passwords are left out.
    pub value: String,
    /// `default`, `hokku.toml of v12`, `app routing:set`, `config var ERROR_PAGE_URL`, …
    pub source: String,
}

/// What is said for the paths below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingRule {
    /// The prefix.
    pub path: String,
    /// By key.
    pub settings: Vec<RoutingRow>,
}

/// The body of `PATCH /hokku/apps/{app}/routing`: all of it is done or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingPatch {
    /// The prefix whose rule is meant; none: the whole app.
    pub path: Option<String>,
    /// Values by key, as text: a TOML value, or bare words.
    pub set: BTreeMap<String, String>,
    /// Keys that the owner no longer says.
    pub unset: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_says_each_key_once() {
        let mut level: Level = [
            Setting::Timeout(1),
            Setting::ResponseHeader("a".into(), None),
            Setting::ResponseHeader("b".into(), Some("x".into())),
            Setting::Timeout(2),
        ]
        .into_iter()
        .collect();
        assert_eq!(level.len(), 3);
        assert_eq!(level.iter().next(), Some(&Setting::Timeout(2)));
        assert!(level.unset("response_headers.a") && !level.unset("response_headers.a"));
        level.set(Setting::ResponseHeader("c".into(), None));
        assert!(level.unset("response_headers"));
        assert_eq!(level.len(), 1);
        assert!(!level.unset("cache"));
    }

    #[test]
    fn it_is_stored_as_json_and_read_back() {
        let said = Said {
            app: [
                Setting::Hsts(None),
                Setting::RequestHeader("x-a".into(), Some("b".into())),
            ]
            .into_iter()
            .collect(),
            rules: [(
                "/api".to_owned(),
                [Setting::Timeout(30_000)].into_iter().collect(),
            )]
            .into(),
        };
        let json = serde_json::to_string(&said).unwrap();
        assert_eq!(
            json,
            r#"{"app":[{"hsts":null},{"request_header":["x-a","b"]}],"rules":{"/api":[{"timeout":30000}]}}"#
        );
        assert_eq!(serde_json::from_str::<Said>(&json).unwrap(), said);
        assert!(serde_json::from_str::<Said>("{}").unwrap().is_empty());
        let newer = r#"{"app":[{"teapot":{"hot":[1]}},{"timeout":5},{"affinity":"often"}],"x":1}"#;
        let read: Said = serde_json::from_str(newer).unwrap();
        assert_eq!(read.app, [Setting::Timeout(5)].into_iter().collect());
    }
}
