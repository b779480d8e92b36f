//! The sources of what is said about an app's requests, laid over each other: the app's owner over the release's
//! `hokku.toml` over the defaults, key by key. Config vars name the pages.

use crate::parse::hokku_toml::{KEYS, endless, find, show, url};
use hokku_model::{
    routing::{PathRule, Routing, Settings},
    said::{Level, RoutingRow, RoutingRule, Said, Setting},
};
use std::{collections::BTreeMap, fmt, time::Duration};

/// The config vars that name pages (Dev Center "Error Pages").
pub const ERROR_PAGE: &str = "ERROR_PAGE_URL";
/// See [`ERROR_PAGE`].
pub const MAINTENANCE_PAGE: &str = "MAINTENANCE_PAGE_URL";

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The `hokku.toml` of this release.
    File(u32),
    /// `app routing:set`.
    Owner,
    /// This config var of the current release.
    ConfigVar(&'static str),
    /// `app maintenance:on`.
    Maintenance,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(version) => write!(f, "hokku.toml of v{version}"),
            Source::Owner => f.write_str("app routing:set"),
            Source::ConfigVar(name) => write!(f, "config var {name}"),
            Source::Maintenance => f.write_str("app maintenance:on"),
        }
    }
}

/// What is said, by whom.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The `hokku.toml` of the current release, and its version.
    pub file: Option<(&'a Said, u32)>,
    /// The app's owner.
    pub owner: &'a Said,
    /// The value of [`ERROR_PAGE`] in the current release.
    pub error_page: Option<&'a str>,
    /// The value of [`MAINTENANCE_PAGE`] in the current release.
    pub maintenance_page: Option<&'a str>,
}

/// The place of a key in the documentation, and its name: the order in which settings are shown.
type Place = (usize, String);

type Merge = BTreeMap<Place, (Setting, Source)>;

/// What counts, each value with its source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    app: Merge,
    rules: BTreeMap<String, Merge>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Lays the sources over each other.
pub fn merge(sources: Sources) -> Merged {
    let mut merged = Merged::default();
    let file = sources
        .file
        .map(|(said, version)| (said, Source::File(version)));
    for (said, source) in file.into_iter().chain([(sources.owner, Source::Owner)]) {
        lay(&mut merged.app, &said.app, source);
        for (path, level) in &said.rules {
            lay(merged.rules.entry(path.clone()).or_default(), level, source);
        }
    }
    let pages = [
        (
            ERROR_PAGE,
            sources.error_page,
            Setting::ErrorPage as fn(String) -> Setting,
        ),
        (
            MAINTENANCE_PAGE,
            sources.maintenance_page,
            Setting::MaintenancePage,
        ),
    ];
    for (name, value, setting) in pages {
        match value {
            None | Some("") => {}
            Some(page) if url(page) => put(&mut merged.app, setting(page.to_owned()), Source::ConfigVar(name)),
            Some(_) => merged.notes.push(format!(
                "The config var {name} is ignored: it is no http:// or https:// URL of at most 2048 characters."
            )),
        }
    }
    merged
}

fn lay(over: &mut Merge, level: &Level, source: Source) {
    for setting in level {
        put(over, setting.clone(), source);
    }
}

fn put(over: &mut Merge, setting: Setting, source: Source) {
    let at = KEYS.iter().position(|k| k.name == setting.topic());
    let place = (at.unwrap_or(KEYS.len()), setting.key().into_owned());
    over.insert(place, (setting, source));
}

impl Merged {
    /// As the router is told it. Roots of `files` are still relative to the release.
    pub fn routing(&self) -> Routing {
        let mut routing = Routing::default();
        for (setting, _) in self.app.values() {
            match setting.clone() {
                Setting::Proto(v) => routing.proto = v,
                Setting::Affinity(v) => routing.affinity = v,
                Setting::HttpsOnly(v) => routing.https_only = v,
                Setting::Hsts(v) => routing.hsts = v,
                Setting::Connections(v) => routing.connections = v,
                Setting::DynoConnections(v) => routing.dyno_connections = v,
                Setting::Queue(v) => routing.queue_ms = v,
                Setting::WebsocketDrain(v) => routing.drain_ms = v,
                Setting::ErrorPage(v) => routing.error_page = Some(v),
                Setting::MaintenancePage(v) => routing.maintenance_page = Some(v),
                other => apply(&mut routing.settings, other),
            }
        }
        routing.rules = self
            .rules
            .iter()
            .map(|(path, level)| {
                let mut rule = PathRule {
                    path: path.clone(),
                    settings: Settings::default(),
                };
                for (setting, _) in level.values() {
                    apply(&mut rule.settings, setting.clone());
                }
                rule
            })
            .collect();
        routing
    }

    /// The first redirect that leads back to itself, as one source can make it out of another's: where, and the way.
    pub fn endless(&self) -> Option<String> {
        let level = |m: &Merge| m.values().map(|(s, _)| s.clone()).collect::<Level>();
        let said = Said {
            app: level(&self.app),
            rules: self
                .rules
                .iter()
                .map(|(p, m)| (p.clone(), level(m)))
                .collect(),
        };
        let paths = said.rules.keys().map(|p| Some(p.as_str()));
        std::iter::once(None)
            .chain(paths)
            .find_map(|p| endless(&said, p))
    }

    /// For people: the app's rows with the defaults, and each rule's own. `drain` is how long the agent lets tunnels
    /// stay when nobody says; `maintenance` whether the whole app is in maintenance mode.
    pub fn rows(&self, drain: Duration, maintenance: bool) -> (Vec<RoutingRow>, Vec<RoutingRule>) {
        let mut app = self.app.clone();
        if maintenance {
            put(&mut app, Setting::Maintenance(true), Source::Maintenance);
        }
        let mut settings = vec![];
        for key in KEYS {
            let said: Vec<_> = app
                .values()
                .filter(|(s, _)| s.topic() == key.name)
                .collect();
            let default = match key.name {
                "websocket_drain" => show(&Setting::WebsocketDrain(Some(
                    u64::try_from(drain.as_millis()).unwrap_or(u64::MAX),
                ))),
                _ => key.default.to_owned(),
            };
            if said.is_empty() && !default.is_empty() {
                settings.push(RoutingRow {
                    key: key.name.into(),
                    value: default,
                    source: Source::Default.to_string(),
                });
            }
            settings.extend(said.into_iter().map(row));
        }
        settings.extend(
            app.values()
                .filter(|(s, _)| find(s.topic()).is_none())
                .map(row),
        );
        let rules = self.rules.iter().map(|(path, level)| RoutingRule {
            path: path.clone(),
            settings: level.values().map(row).collect(),
        });
        (settings, rules.collect())
    }
}

fn row((setting, source): &(Setting, Source)) -> RoutingRow {
    RoutingRow {
        key: setting.key().into_owned(),
        value: show(setting),
        source: source.to_string(),
    }
}

fn apply(to: &mut Settings, setting: Setting) {
    match setting {
        Setting::Timeout(v) => to.first_byte_ms = Some(v),
        Setting::IdleTimeout(v) => to.idle_ms = Some(v),
        Setting::BodyLimit(v) => to.body_limit = Some(v),
        Setting::MinRate(v) => to.min_rate = Some(v),
        Setting::Compress(v) => to.compress = Some(v),
        Setting::RequestHeader(name, Some(value)) => {
            drop(to.request_headers.set.insert(name, value))
        }
        Setting::RequestHeader(name, None) => to.request_headers.remove.push(name),
        Setting::ResponseHeader(name, Some(value)) => {
            drop(to.response_headers.set.insert(name, value))
        }
        Setting::ResponseHeader(name, None) => to.response_headers.remove.push(name),
        Setting::Cache(v) => to.cache = Some(v),
        Setting::Redirect(v) => to.redirect = Some(v),
        Setting::Rewrite(v) => to.rewrite = Some(v),
        Setting::BasicAuth(v) => to.auth = Some(v),
        Setting::Allow(v) => to.allow = v,
        Setting::Files(v) => to.files = Some(v),
        Setting::Maintenance(v) => to.maintenance = Some(v),
        // of the whole app; the parser lets none of them into a rule
        Setting::Proto(_)
        | Setting::Affinity(_)
        | Setting::HttpsOnly(_)
        | Setting::Hsts(_)
        | Setting::Connections(_)
        | Setting::DynoConnections(_)
        | Setting::Queue(_)
        | Setting::WebsocketDrain(_)
        | Setting::ErrorPage(_)
        | Setting::MaintenancePage(_) => {}
    }
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
