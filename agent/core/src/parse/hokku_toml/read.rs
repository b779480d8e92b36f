//! One key's value, checked; `tables` has the values of several parts.

use super::{
    fault::Raw,
    header,
    keys::{self, KEYS, Scope},
    path, shorten, units,
};
use hokku_model::{
    routing::{Compress, Proto},
    said::Setting,
};
use std::ops::Range;
use toml::{Spanned, de::DeValue};

/// A value and its place.
pub(super) type Node<'a> = Spanned<DeValue<'a>>;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Reader {
    pub faults: Vec<Raw>,
}

/// What a value is, in words.
pub(super) fn kind(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Reader {
    /// Notes what is wrong.
    pub fn fault(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.faults.push(Raw {
            span,
            message: message.into(),
            hint: hint.into(),
            secret: false,
        });
    }

    /// Are there more faults than anybody reads? What follows is not looked at then.
    pub fn is_full(&self) -> bool {
        self.faults.len() >= 200
    }

    /// The value, or a note of what is wrong with it.
    pub(super) fn take<T>(&mut self, node: &Node, result: Result<T, path::Wrong>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err((what, hint)) => {
                self.fault(node.span(), what, hint);
                None
            }
        }
    }

    pub(super) fn expected(&mut self, node: &Node, key: &str, form: &str) {
        let what = format!("{key} can't be {}", kind(node.get_ref()));
        self.fault(node.span(), what, format!("Write {form}."));
    }

    /// One key of the app's (`rule` false) or of a rule.
    pub fn key(&mut self, name: &str, at: Range<usize>, node: &Node, rule: bool) -> Vec<Setting> {
        let fits = |scope: Scope| match scope {
            Scope::App => !rule,
            Scope::Rule => rule,
            Scope::Both => true,
        };
        let Some(key) = keys::find(name) else {
            let mut known: Vec<&str> = KEYS
                .iter()
                .filter(|k| fits(k.scope))
                .map(|k| k.name)
                .collect();
            if rule {
                known.push("path");
            } else {
                known.push("rules");
            }
            let hint = match (name, keys::meant(name, &known)) {
                ("error_page" | "maintenance_page", _) => {
                    format!("Set the config var {}_URL.", name.to_ascii_uppercase())
                }
                (_, Some("rules")) => "Did you mean [[routing.rules]]?".into(),
                (_, Some(near)) => format!("Did you mean {near}?"),
                _ => format!("Known are: {}.", known.join(", ")),
            };
            self.fault(at, format!("there is no key {}", shorten(name)), hint);
            return vec![];
        };
        if !fits(key.scope) {
            let (what, hint) = match rule {
                true => (
                    "is of the whole app",
                    "Say it in [routing], not for a path.",
                ),
                false => (
                    "is of a path",
                    "Say it in a rule: [[routing.rules]] with path = \"/…\".",
                ),
            };
            self.fault(at, format!("{name} {what}"), hint);
            return vec![];
        }
        if let "request_headers" | "response_headers" = name {
            return self.headers(name, node);
        }
        self.value(key.name, node).into_iter().collect()
    }

    fn value(&mut self, key: &'static str, node: &Node) -> Option<Setting> {
        Some(match key {
            "proto" => Setting::Proto(self.one_of(
                node,
                key,
                &[("http1", Proto::Http1), ("h2c", Proto::H2c)],
            )?),
            "affinity" => Setting::Affinity(self.flag(node, key)?),
            "https_only" => Setting::HttpsOnly(self.flag(node, key)?),
            "hsts" => Setting::Hsts(match node.get_ref() {
                DeValue::Boolean(true) => Some(365 * DAY / 1000),
                DeValue::Boolean(false) => None,
                _ => self
                    .unless_none(node, |r| r.duration(node, key, 0, 3650 * DAY))?
                    .map(|ms| ms / 1000),
            }),
            "connections" => Setting::Connections(self.count(node, key)?),
            "dyno_connections" => Setting::DynoConnections(self.count(node, key)?),
            "queue" => Setting::Queue(self.unless_none(node, |r| r.duration(node, key, 0, HOUR))?),
            "websocket_drain" => Setting::WebsocketDrain(
                self.unless_none(node, |r| r.duration(node, key, 0, 7 * DAY))?,
            ),
            "timeout" => Setting::Timeout(self.duration(node, key, 1, DAY)?),
            "idle_timeout" => Setting::IdleTimeout(self.duration(node, key, 1, DAY)?),
            "body_limit" => Setting::BodyLimit(self.size(node, key, 1_000_000_000_000)?),
            "min_rate" => {
                Setting::MinRate(u32::try_from(self.size(node, key, 1_000_000_000)?).ok()?)
            }
            "compress" => Setting::Compress(match node.get_ref() {
                DeValue::Boolean(true) => Compress::default(),
                DeValue::Boolean(false) => Compress::Off,
                _ => self.one_of(
                    node,
                    key,
                    &[
                        ("off", Compress::Off),
                        ("fast", Compress::Fast),
                        ("balanced", Compress::Balanced),
                        ("small", Compress::Small),
                    ],
                )?,
            }),
            "cache" => {
                let text = self.text(node, key)?;
                let value = self.take(node, header::value(text))?;
                if value.is_empty() {
                    self.fault(
                        node.span(),
                        "cache is empty",
                        "Write \"no-store\" for what shall not be kept.",
                    );
                    return None;
                }
                Setting::Cache(value)
            }
            "redirect" => Setting::Redirect(self.redirect(node)?),
            "rewrite" => Setting::Rewrite(self.path(node)?),
            "basic_auth" => Setting::BasicAuth(self.auth(node)?),
            "allow" => Setting::Allow(self.networks(node)?),
            "files" => Setting::Files(self.files(node)?),
            "maintenance" => Setting::Maintenance(self.flag(node, key)?),
            _ => return None,
        })
    }

    pub(super) fn text<'a>(&mut self, node: &'a Node, key: &str) -> Option<&'a str> {
        let text = node.get_ref().as_str();
        if text.is_none() {
            self.expected(node, key, "a text in quotes");
        }
        text
    }

    pub(super) fn flag(&mut self, node: &Node, key: &str) -> Option<bool> {
        let flag = node.get_ref().as_bool();
        if flag.is_none() {
            self.expected(node, key, "true or false, without quotes");
        }
        flag
    }

    fn one_of<T: Copy>(
        &mut self,
        node: &Node,
        key: &str,
        known: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
        let Some(text) = node.get_ref().as_str() else {
            self.expected(
                node,
                key,
                &format!("one of {}, in quotes", names.join(", ")),
            );
            return None;
        };
        let found = known.iter().find(|(n, _)| *n == text).map(|(_, v)| *v);
        if found.is_none() {
            let hint = match crate::nearest::nearest(text, names.iter().copied()) {
                Some(near) => format!("Did you mean {near:?}?"),
                None => format!("Write one of {}.", names.join(", ")),
            };
            self.fault(
                node.span(),
                format!("{key} can't be {:?}", shorten(text)),
                hint,
            );
        }
        found
    }

    /// `"none"`, or what `read` reads.
    fn unless_none<T>(
        &mut self,
        node: &Node,
        read: impl FnOnce(&mut Reader) -> Option<T>,
    ) -> Option<Option<T>> {
        match node.get_ref().as_str() {
            Some("none") => Some(None),
            _ => read(self).map(Some),
        }
    }

    pub(super) fn integer(value: &DeValue) -> Option<u64> {
        let n = value.as_integer()?;
        u64::from_str_radix(n.as_str(), n.radix()).ok()
    }

    /// How many at once, or that there is no limit.
    fn count(&mut self, node: &Node, key: &str) -> Option<Option<u32>> {
        self.unless_none(node, |r| {
            let number = r.number(node, key, 1, 1_000_000)?;
            u32::try_from(number).ok()
        })
    }

    fn number(&mut self, node: &Node, key: &str, least: u64, most: u64) -> Option<u64> {
        if node.get_ref().as_integer().is_none() {
            self.expected(node, key, "a number without quotes");
            return None;
        }
        let number = Self::integer(node.get_ref()).filter(|n| (least..=most).contains(n));
        if number.is_none() {
            self.fault(node.span(), format!("{key} can be {least} to {most}"), "");
        }
        number
    }

    /// Milliseconds; the bounds too.
    fn duration(&mut self, node: &Node, key: &str, least: u64, most: u64) -> Option<u64> {
        let hint =
            "Write a duration with its unit (ms, s, m, h, d), in quotes: \"30s\", \"1m30s\".";
        let Some(text) = node.get_ref().as_str() else {
            self.fault(
                node.span(),
                format!("{key} can't be {}", kind(node.get_ref())),
                hint,
            );
            return None;
        };
        let Some(ms) = units::duration(text) else {
            self.fault(
                node.span(),
                format!("{:?} is not a duration", shorten(text)),
                hint,
            );
            return None;
        };
        if !(least..=most).contains(&ms) {
            let (least, most) = (units::show_duration(least), units::show_duration(most));
            self.fault(node.span(), format!("{key} can be {least} to {most}"), "");
            return None;
        }
        Some(ms)
    }

    fn size(&mut self, node: &Node, key: &str, most: u64) -> Option<u64> {
        let hint =
            "Write a size with its unit (B, kB, MB, GB, KiB, MiB, GiB), in quotes: \"10MB\".";
        let (bytes, what) = match node.get_ref() {
            DeValue::String(text) => (
                units::size(text),
                format!("{:?} is not a size", shorten(text)),
            ),
            value @ DeValue::Integer(_) => {
                (Self::integer(value), format!("{key} can't be this number"))
            }
            other => (None, format!("{key} can't be {}", kind(other))),
        };
        let Some(bytes) = bytes else {
            self.fault(node.span(), what, hint);
            return None;
        };
        if bytes > most {
            let what = format!("{key} can be at most {}", units::show_size(most));
            self.fault(node.span(), what, "Leave it out for no limit.");
            return None;
        }
        Some(bytes)
    }

    /// The path of a rule, or one that takes its place.
    pub fn path(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node, "a path")?;
        self.take(node, path::prefix(text))
    }
}
