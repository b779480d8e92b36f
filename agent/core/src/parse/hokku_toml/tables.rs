//! Values of several parts: headers, redirects, passwords, networks, folders.

use super::{
    fault::Raw,
    header, path,
    read::{Node, Reader, kind},
    shorten,
};
use hokku_model::{
    routing::{BasicAuth, Files, Redirect},
    said::Setting,
};
use std::{collections::BTreeMap, ops::Range};
use toml::de::{DeTable, DeValue};

/// Counts of one table.
const MAX_HEADERS: usize = 50;
const MAX_USERS: usize = 100;
const MAX_NETWORKS: usize = 500;

impl Reader {
    pub(super) fn headers(&mut self, topic: &str, node: &Node) -> Vec<Setting> {
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
    pub(super) fn header(
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
    pub(super) fn fields<'a, 'i>(
        &mut self,
        table: &'a DeTable<'i>,
        what: &str,
        known: &[&'static str],
    ) -> Vec<Option<&'a Node<'i>>> {
        for (name, _) in table {
            if self.is_full() {
                break;
            }
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

    pub(super) fn redirect(&mut self, node: &Node) -> Option<Redirect> {
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

    pub(super) fn auth(&mut self, node: &Node) -> Option<BasicAuth> {
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

    pub(super) fn networks(&mut self, node: &Node) -> Option<Vec<String>> {
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

    pub(super) fn files(&mut self, node: &Node) -> Option<Files> {
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
