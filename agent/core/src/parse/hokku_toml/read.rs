//! One key's value, checked.

use super::{
    fault::Raw,
    header,
    keys::{self, KEYS, Scope},
    path, shorten, units,
};
use hokku_model::{
    routing::{BasicAuth, Compress, Files, Proto, Redirect},
    said::Setting,
};
use std::{collections::BTreeMap, ops::Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value and its place.
pub(super) type Node<'a> = Spanned<DeValue<'a>>;

/// Counts of one table.
const MAX_HEADERS: usize = 50;
const MAX_USERS: usize = 100;
const MAX_NETWORKS: usize = 500;

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

    /// The value, or a note of what is wrong with it.
    fn take<T>(&mut self, node: &Node, result: Result<T, path::Wrong>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err((what, hint)) => {
                self.fault(node.span(), what, hint);
                None
            }
        }
    }

    fn expected(&mut self, node: &Node, key: &str, form: &str) {
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
            "connections" => Setting::Connections(self.unless_none(node, |r| {
                r.number(node, key, 1, 1_000_000)
                    .and_then(|n| u32::try_from(n).ok())
            })?),
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

    fn text<'a>(&mut self, node: &'a Node, key: &str) -> Option<&'a str> {
        let text = node.get_ref().as_str();
        if text.is_none() {
            self.expected(node, key, "a text in quotes");
        }
        text
    }

    fn flag(&mut self, node: &Node, key: &str) -> Option<bool> {
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

    fn integer(value: &DeValue) -> Option<u64> {
        let n = value.as_integer()?;
        u64::from_str_radix(n.as_str(), n.radix()).ok()
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

    fn headers(&mut self, topic: &str, node: &Node) -> Vec<Setting> {
        let Some(table) = node.get_ref().as_table() else {
            self.expected(
                node,
                topic,
                "a table: { X-Frame-Options = \"DENY\", Server = false }",
            );
            return vec![];
        };
        if table.len() > MAX_HEADERS {
            let what = format!(
                "there are {} headers, and {MAX_HEADERS} can be changed",
                table.len()
            );
            self.fault(node.span(), what, "");
            return vec![];
        }
        let mut seen: Vec<String> = vec![];
        let mut all = vec![];
        for (name, value) in table {
            let Some(setting) = self.header(topic, name.get_ref(), name.span(), value) else {
                continue;
            };
            let key = setting.key().into_owned();
            if seen.contains(&key) {
                let what = format!("the header {} is there twice", shorten(name.get_ref()));
                self.fault(
                    name.span(),
                    what,
                    "Capitals make no difference in names of headers.",
                );
            }
            seen.push(key);
            all.push(setting);
        }
        all
    }

    /// One header.
    pub fn header(
        &mut self,
        topic: &str,
        name: &str,
        at: Range<usize>,
        node: &Node,
    ) -> Option<Setting> {
        let name = match header::name(name) {
            Ok(name) => name,
            Err((what, hint)) => {
                self.fault(at, what, hint);
                return None;
            }
        };
        let value = match node.get_ref() {
            DeValue::String(text) => Some(self.take(node, header::value(text))?),
            DeValue::Boolean(false) => None,
            _ => {
                self.expected(
                    node,
                    "a header",
                    "a text in quotes to set it, or false to remove it",
                );
                return None;
            }
        };
        Some(match topic {
            "request_headers" => Setting::RequestHeader(name, value),
            _ => Setting::ResponseHeader(name, value),
        })
    }

    /// The fields of a table; others are refused.
    fn fields<'a, 'i>(
        &mut self,
        table: &'a DeTable<'i>,
        what: &str,
        known: &[&'static str],
    ) -> Vec<Option<&'a Node<'i>>> {
        for (name, _) in table {
            if !known.contains(&name.get_ref().as_ref()) {
                let hint = match crate::nearest::nearest(name.get_ref(), known.iter().copied()) {
                    Some(near) => format!("Did you mean {near}?"),
                    None => format!("Known are: {}.", known.join(", ")),
                };
                let fault = format!("{what} has no key {}", shorten(name.get_ref()));
                self.fault(name.span(), fault, hint);
            }
        }
        known.iter().map(|k| table.get(*k)).collect()
    }

    fn redirect(&mut self, node: &Node) -> Option<Redirect> {
        let (to, status) = match node.get_ref() {
            DeValue::String(_) => (Some(node), None),
            DeValue::Table(table) => match self.fields(table, "redirect", &["to", "status"])[..] {
                [to, status] => (to, status),
                _ => return None,
            },
            _ => {
                self.expected(
                    node,
                    "redirect",
                    "where it leads: \"/new\", or { to = \"/new\", status = 301 }",
                );
                return None;
            }
        };
        let status = match status {
            Some(node) => {
                let number = Self::integer(node.get_ref());
                let known = number.filter(|n| [301, 302, 303, 307, 308].contains(n));
                if known.is_none() {
                    let what = match number {
                        Some(n) => format!("{n} is not the status of a redirect"),
                        None => format!("a status can't be {}", kind(node.get_ref())),
                    };
                    self.fault(
                        node.span(),
                        what,
                        "Write 301, 302, 303, 307 or 308, without quotes.",
                    );
                }
                known.and_then(|n| u16::try_from(n).ok())
            }
            None => Some(302),
        };
        let Some(to) = to else {
            self.fault(
                node.span(),
                "the redirect leads nowhere",
                "Say where: { to = \"/new\" }.",
            );
            return None;
        };
        let text = self.text(to, "where a redirect leads")?;
        let to = self.take(to, path::target(text))?;
        Some(Redirect {
            to,
            status: status?,
        })
    }

    fn auth(&mut self, node: &Node) -> Option<BasicAuth> {
        let form = "{ users = { ann = \"$argon2id$…\" } }, with hashes made by: app routing:hash";
        let Some(table) = node.get_ref().as_table() else {
            self.expected(node, "basic_auth", form);
            if let Some(last) = self.faults.last_mut() {
                last.secret = true;
            }
            return None;
        };
        let [realm, users] = self.fields(table, "basic_auth", &["realm", "users"])[..] else {
            return None;
        };
        let realm = match realm {
            Some(node) => {
                let text = self.text(node, "realm")?;
                let good = |b: u8| (b == b' ' || b.is_ascii_graphic()) && !b"\"\\".contains(&b);
                if text.is_empty() || text.len() > 100 || !text.bytes().all(good) {
                    self.fault(
                        node.span(),
                        "a realm is 1 to 100 ASCII characters without quotes and backslashes",
                        "",
                    );
                    return None;
                }
                text.to_owned()
            }
            None => "Restricted".to_owned(),
        };
        let Some(table) = users.and_then(|u| u.get_ref().as_table()) else {
            self.fault(
                users.unwrap_or(node).span(),
                "basic_auth has no table of users",
                format!("Write {form}."),
            );
            if let Some(last) = self.faults.last_mut() {
                last.secret = users.is_some();
            }
            return None;
        };
        if table.is_empty() || table.len() > MAX_USERS {
            let what = format!(
                "basic_auth can have 1 to {MAX_USERS} users, and has {}",
                table.len()
            );
            self.fault(users.unwrap_or(node).span(), what, "");
            return None;
        }
        let mut users = BTreeMap::new();
        for (name, node) in table {
            let user = name.get_ref();
            if user.is_empty()
                || user.len() > 100
                || user.contains(|c: char| c == ':' || c.is_control())
            {
                self.fault(
                    name.span(),
                    "the name of a user is 1 to 100 characters without colons",
                    "",
                );
                continue;
            }
            let hash = match node.get_ref().as_str() {
                Some(text) => header::hash(text),
                None => Err((
                    "a password has to be hashed, and this is none".into(),
                    "Make one with: app routing:hash".into(),
                )),
            };
            match hash {
                Ok(hash) => {
                    users.insert(user.clone().into_owned(), hash);
                }
                Err((message, hint)) => self.faults.push(Raw {
                    span: node.span(),
                    message: format!("user {}: {message}", shorten(user)),
                    hint,
                    secret: true,
                }),
            }
        }
        (users.len() == table.len()).then_some(BasicAuth { realm, users })
    }

    fn networks(&mut self, node: &Node) -> Option<Vec<String>> {
        let mut all = vec![];
        let before = self.faults.len();
        match node.get_ref() {
            DeValue::String(text) => {
                for part in text.split(',').take(MAX_NETWORKS + 1) {
                    all.extend(self.take(node, header::network(part.trim())));
                }
            }
            DeValue::Array(list) => {
                for item in list.iter().take(MAX_NETWORKS + 1) {
                    let Some(text) = self.text(item, "a network") else {
                        continue;
                    };
                    all.extend(self.take(item, header::network(text)));
                }
            }
            _ => self.expected(node, "allow", "a list of networks: [\"203.0.113.0/24\"]"),
        }
        if self.faults.len() > before {
            return None;
        }
        if all.is_empty() || all.len() > MAX_NETWORKS {
            let what = format!("allow can name 1 to {MAX_NETWORKS} networks");
            self.fault(
                node.span(),
                what,
                "Leave it out to let in everybody, or write [\"0.0.0.0/0\", \"::/0\"].",
            );
            return None;
        }
        all.dedup();
        Some(all)
    }

    fn files(&mut self, node: &Node) -> Option<Files> {
        let (root, index, fallback, pass) = match node.get_ref() {
            DeValue::String(_) => (Some(node), None, None, None),
            DeValue::Table(table) => {
                match self.fields(table, "files", &["root", "index", "fallback", "pass"])[..] {
                    [root, index, fallback, pass] => (root, index, fallback, pass),
                    _ => return None,
                }
            }
            _ => {
                self.expected(
                    node,
                    "files",
                    "a folder: \"public\", or { root = \"public\", fallback = \"index.html\" }",
                );
                return None;
            }
        };
        let Some(root) = root else {
            self.fault(
                node.span(),
                "files has no root",
                "Say which folder: { root = \"public\" }.",
            );
            return None;
        };
        let mut file = |node: &Node, what: &str| {
            let text = self.text(node, what)?;
            self.take(node, path::relative(text, what))
        };
        let root = file(root, "root")?;
        let (index, at) = match index {
            Some(node) => (file(node, "index")?, node.span()),
            None => ("index.html".into(), 0..0),
        };
        let fallback = match fallback {
            Some(node) => Some(file(node, "fallback")?),
            None => None,
        };
        if index.contains('/') {
            self.fault(at, "index is the name of a file, without a folder", "");
            return None;
        }
        let pass = match pass {
            Some(node) => {
                let pass = self.flag(node, "pass")?;
                if pass && fallback.is_some() {
                    self.fault(
                        node.span(),
                        "with a fallback nothing is passed on to the app",
                        "Say one of the two.",
                    );
                    return None;
                }
                pass
            }
            None => fallback.is_none(),
        };
        Some(Files {
            root,
            index,
            fallback,
            pass,
        })
    }
}
