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
        | Setting::Queue(_)
        | Setting::WebsocketDrain(_)
        | Setting::ErrorPage(_)
        | Setting::MaintenancePage(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::hokku_toml::parse;
    use hokku_model::routing::{Compress, Proto};

    const DRAIN: Duration = Duration::from_secs(30);

    fn merged(file: &str, owner: &str) -> Merged {
        let (file, owner) = (parse(file).unwrap(), parse(owner).unwrap());
        merge(Sources {
            file: Some((&file, 12)),
            owner: &owner,
            error_page: None,
            maintenance_page: None,
        })
    }

    fn shown(rows: &[RoutingRow], key: &str) -> String {
        let of = |r: &RoutingRow| format!("{} ({})", r.value, r.source);
        rows.iter()
            .find(|r| r.key == key)
            .map(of)
            .unwrap_or_default()
    }

    #[test]
    fn nobody_says_anything() {
        let merged = merged("", "");
        assert_eq!(merged.routing(), Routing::default());
        let (rows, rules) = merged.rows(DRAIN, false);
        assert!(rules.is_empty() && rows.iter().all(|r| r.source == "default"));
        for (key, is) in [
            ("proto", "http1 (default)"),
            ("timeout", "30s (default)"),
            ("idle_timeout", "55s (default)"),
            ("websocket_drain", "30s (default)"),
            ("hsts", "none (default)"),
            ("compress", "balanced (default)"),
            ("cache", ""),
        ] {
            assert_eq!(shown(&rows, key), is);
        }
    }

    #[test]
    fn the_owner_goes_over_the_file_key_by_key() {
        let merged = merged(
            "[routing]\nproto = 'h2c'\nhsts = '1d'\ntimeout = '10s'\nresponse_headers = { A = '1', B = '2' }\n\
             [[routing.rules]]\npath = '/api'\ntimeout = '1m'\ncompress = 'off'\n",
            "[routing]\nhsts = false\ntimeout = '20s'\nresponse_headers = { B = false, C = '3' }\n\
             [[routing.rules]]\npath = '/api'\ntimeout = '2m'\n[[routing.rules]]\npath = '/new'\nmaintenance = true\n",
        );
        let r = merged.routing();
        assert_eq!((r.proto, r.hsts), (Proto::H2c, None));
        assert_eq!(r.settings.first_byte_ms, Some(20_000));
        let headers = &r.settings.response_headers;
        assert_eq!(
            headers.set,
            BTreeMap::from([("a".into(), "1".into()), ("c".into(), "3".into())])
        );
        assert_eq!(headers.remove, ["b"]);
        assert_eq!(r.rules.len(), 2);
        assert_eq!(r.rules[0].path, "/api");
        assert_eq!(r.rules[0].settings.first_byte_ms, Some(120_000));
        assert_eq!(r.rules[0].settings.compress, Some(Compress::Off));
        assert_eq!(r.rules[1].settings.maintenance, Some(true));
        let (rows, rules) = merged.rows(DRAIN, false);
        for (key, is) in [
            ("proto", "h2c (hokku.toml of v12)"),
            ("hsts", "none (app routing:set)"),
            ("timeout", "20s (app routing:set)"),
            ("response_headers.a", "\"1\" (hokku.toml of v12)"),
            ("response_headers.b", "false (app routing:set)"),
            ("affinity", "false (default)"),
        ] {
            assert_eq!(shown(&rows, key), is);
        }
        assert_eq!(shown(&rules[0].settings, "timeout"), "2m (app routing:set)");
        assert_eq!(
            shown(&rules[0].settings, "compress"),
            "off (hokku.toml of v12)"
        );
        let order: Vec<&str> = rows.iter().map(|r| r.key.as_str()).collect();
        let headers = order
            .iter()
            .position(|k| *k == "response_headers.a")
            .unwrap();
        assert!(order[headers + 1] == "response_headers.b" && order[0] == "proto");
    }

    /// Each key that a file can say arrives in what the router is told.
    #[test]
    fn every_key_arrives() {
        let example = include_str!("../../../packaging/deb/app-hokku.toml");
        let r = merged(example, "").routing();
        let untouched = Routing::default();
        assert!(r.affinity && r.https_only);
        assert_eq!(
            (r.hsts, r.connections, r.queue_ms, r.drain_ms),
            (Some(31_536_000), Some(500), Some(10_000), Some(7_200_000))
        );
        assert_eq!(r.proto, untouched.proto);
        let all: Vec<&Settings> = std::iter::once(&r.settings)
            .chain(r.rules.iter().map(|r| &r.settings))
            .collect();
        let has = |f: &dyn Fn(&Settings) -> bool| assert!(all.iter().any(|s| f(s)));
        has(&|s| s.first_byte_ms == Some(30_000));
        has(&|s| s.idle_ms == Some(55_000));
        has(&|s| s.body_limit == Some(10_000_000));
        has(&|s| s.min_rate == Some(1000));
        has(&|s| s.compress == Some(Compress::Off));
        has(&|s| {
            s.request_headers.remove == ["x-debug"] && s.request_headers.set["x-tenant"] == "main"
        });
        has(&|s| s.response_headers.remove == ["server"]);
        has(&|s| s.cache.is_some());
        has(&|s| s.redirect.as_ref().is_some_and(|r| r.status == 301));
        has(&|s| s.rewrite.as_deref() == Some("/v2"));
        has(&|s| s.auth.as_ref().is_some_and(|a| a.realm == "Staff"));
        has(&|s| s.allow == ["203.0.113.0/24", "2001:db8::/32"]);
        has(&|s| {
            s.files
                .as_ref()
                .is_some_and(|f| f.root == "docs/site" && !f.pass)
        });
        has(&|s| s.maintenance == Some(true));
    }

    #[test]
    fn pages_come_from_config_vars() {
        let owner = Said::default();
        let merged = merge(Sources {
            file: None,
            owner: &owner,
            error_page: Some("https://example.org/sorry.html"),
            maintenance_page: Some("file:///etc/passwd"),
        });
        let r = merged.routing();
        assert_eq!(
            r.error_page.as_deref(),
            Some("https://example.org/sorry.html")
        );
        assert_eq!(r.maintenance_page, None);
        assert!(merged.notes.len() == 1 && merged.notes[0].contains(MAINTENANCE_PAGE));
        let (rows, _) = merged.rows(DRAIN, false);
        assert_eq!(
            shown(&rows, "error_page"),
            "https://example.org/sorry.html (config var ERROR_PAGE_URL)"
        );
    }

    #[test]
    fn maintenance_mode_is_shown() {
        let (rows, _) = merged("[routing]\nmaintenance = false", "").rows(DRAIN, true);
        assert_eq!(shown(&rows, "maintenance"), "true (app maintenance:on)");
    }

    #[test]
    fn two_sources_can_make_a_circle() {
        let a = "[[routing.rules]]\npath = '/a'\nredirect = '/b'\n";
        let b = "[[routing.rules]]\npath = '/b'\nredirect = '/a'\n";
        assert_eq!(merged(a, "").endless(), None);
        assert_eq!(merged(a, b).endless().as_deref(), Some("/a → /b → /a"));
    }
}
