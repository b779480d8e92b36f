//! `hokku.toml` at the root of an app's repository: what its owner wants of hokku, in TOML 1.1.
//!
//! `[routing]` says how requests are handled, `[[routing.rules]]` the same for the paths below a prefix. Everything is
//! checked before anything is built: a key that is not known, a value of another kind, a header that could inject
//! another one, a redirect without an end. All faults are told at once, each with its place.

mod fault;
mod header;
mod keys;
mod loops;
mod path;
mod read;
mod show;
mod tables;
mod units;

pub use fault::{Fault, Faults};
pub use keys::{KEYS, Key, Scope, find};
pub use loops::endless;
pub use path::{covers, url};
pub use show::show;

use super::lines;
use fault::{Raw, locate};
use hokku_model::said::{Said, Setting};
use read::{Node, Reader};
use toml::de::{DeTable, DeValue};

/// The name of the file.
pub const NAME: &str = "hokku.toml";

/// The most bytes that the file may have.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most rules of one source.
pub const MAX_RULES: usize = 200;

/// JSON Schema (2020-12) of the file, for editors. It can't see all that [`parse`] sees: what depends on two places.
pub const SCHEMA: &str = include_str!("schema.json");

/// The most faults that are told at once.
const MAX_FAULTS: usize = 20;

/// Sections of the file.
const SECTIONS: [&str; 1] = ["routing"];

/// Reads the file's bytes: UTF-8, with or without byte order mark, any line ends.
///
/// # Errors
/// As [`parse`]; also when it is no text, or has more than [`MAX_BYTES`].
pub fn parse_bytes(bytes: &[u8]) -> Result<Said, Faults> {
    match lines::decode(bytes, MAX_BYTES) {
        Ok(text) => parse(&text),
        Err(e) => {
            let line = match e {
                lines::TextError::NotUtf8 { line } => line,
                _ => 1,
            };
            // an empty text of as many lines, to have the place
            let blank = "\n".repeat(line - 1);
            let raw = Raw {
                span: blank.len()..blank.len(),
                message: format!("the file {e}"),
                hint: String::new(),
                secret: false,
            };
            Err(locate(&blank, vec![raw], MAX_FAULTS))
        }
    }
}

/// Reads the file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; what is no TOML hides the rest.
pub fn parse(text: &str) -> Result<Said, Faults> {
    if text.len() > MAX_BYTES {
        return parse_bytes(text.as_bytes());
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let raw = errors.iter().map(|e| Raw {
            span: e.span().unwrap_or(0..0),
            message: e.message().to_owned(),
            hint: String::new(),
            secret: false,
        });
        return Err(locate(text, raw.collect(), MAX_FAULTS));
    }
    let mut reader = Reader::default();
    let said = file(&mut reader, table.get_ref());
    match reader.faults.is_empty() {
        true => Ok(said),
        false => Err(locate(text, reader.faults, MAX_FAULTS)),
    }
}

fn file(reader: &mut Reader, table: &DeTable) -> Said {
    let mut said = Said::default();
    for (name, node) in table {
        if reader.is_full() {
            break;
        }
        match (name.get_ref().as_ref(), node.get_ref()) {
            ("routing", DeValue::Table(section)) => said = routing(reader, section),
            ("routing", other) => {
                let what = format!("routing has to be a section, and is {}", read::kind(other));
                reader.fault(node.span(), what, "Begin it with a line [routing].");
            }
            (other, _) => {
                let hint = if find(other).is_some() || other == "rules" {
                    match other {
                        "rules" => {
                            "Rules are of the section [routing]: [[routing.rules]].".to_owned()
                        }
                        _ => "It belongs below a line [routing].".to_owned(),
                    }
                } else {
                    match keys::meant(other, &SECTIONS) {
                        Some(near) => format!("Did you mean [{near}]?"),
                        None => "The only section is [routing].".into(),
                    }
                };
                let what = format!("there is no section or key {}", shorten(other));
                reader.fault(name.span(), what, hint);
            }
        }
    }
    said
}

fn routing(reader: &mut Reader, section: &DeTable) -> Said {
    let mut said = Said::default();
    let mut redirects = vec![];
    for (name, node) in section {
        if reader.is_full() {
            break;
        }
        if name.get_ref() == "rules" {
            rules(reader, node, &mut said, &mut redirects);
            continue;
        }
        if name.get_ref() == "redirect" {
            redirects.push((None, node.span()));
        }
        for setting in reader.key(name.get_ref(), name.span(), node, false) {
            said.app.set(setting);
        }
    }
    for (path, span) in redirects {
        if let Some(way) = endless(&said, path.as_deref()) {
            let what = format!("this redirect never ends: {way}");
            reader.fault(
                span,
                what,
                "A rule covers everything below its path, also where it leads to.",
            );
        }
    }
    said
}

type Redirects = Vec<(Option<String>, std::ops::Range<usize>)>;

fn rules(reader: &mut Reader, node: &Node, said: &mut Said, redirects: &mut Redirects) {
    let Some(list) = node.get_ref().as_array() else {
        let what = format!(
            "rules are a list of tables, and this is {}",
            read::kind(node.get_ref())
        );
        reader.fault(
            node.span(),
            what,
            "Begin each with a line [[routing.rules]].",
        );
        return;
    };
    let mut seen: Vec<(String, usize)> = vec![];
    for (i, rule) in list.iter().enumerate() {
        if i == MAX_RULES {
            let what = format!("there are {} rules, and {MAX_RULES} are read", list.len());
            reader.fault(rule.span(), what, "");
            return;
        }
        let Some(table) = rule.get_ref().as_table() else {
            let what = format!(
                "a rule is a table, and this is {}",
                read::kind(rule.get_ref())
            );
            reader.fault(rule.span(), what, "Begin it with a line [[routing.rules]].");
            continue;
        };
        let path = match table.get("path") {
            Some(node) => reader.path(node).map(|path| (path, node.span())),
            None => {
                reader.fault(
                    rule.span(),
                    "the rule has no path",
                    "Say which paths it is for: path = \"/api\".",
                );
                None
            }
        };
        let level = said_of(reader, table);
        let Some((path, span)) = path else { continue };
        if let Some((_, first)) = seen.iter().find(|(p, _)| *p == path) {
            let what = format!(
                "the path {path} has a rule already, the {}",
                ordinal(first + 1)
            );
            reader.fault(span, what, "Put both into one rule.");
            continue;
        }
        seen.push((path.clone(), i));
        if let Some(node) = table.get("redirect") {
            redirects.push((Some(path.clone()), node.span()));
        }
        if level.is_empty() && table.len() == 1 {
            let hint = "What it does not say, wider paths and the app say. Add a key, or take the rule out.";
            reader.fault(
                rule.span(),
                format!("the rule of {path} says nothing"),
                hint,
            );
        }
        said.rules.insert(path, level);
    }
}

fn said_of(reader: &mut Reader, table: &DeTable) -> hokku_model::said::Level {
    let mut all: Vec<Setting> = vec![];
    for (name, node) in table {
        if name.get_ref() != "path" && !reader.is_full() {
            all.extend(reader.key(name.get_ref(), name.span(), node, true));
        }
    }
    all.into_iter().collect()
}

fn ordinal(n: usize) -> String {
    let end = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// Reads one `key=value` of `app routing:set`: the value is TOML, or a bare word that would be a text there. `path` says
/// whether it is for a path. The key may name a header: `response_headers.X-Frame-Options`.
///
/// # Errors
/// What is wrong, with what to do, in one or more lines.
pub fn parse_setting(key: &str, value: &str, path: bool) -> Result<Vec<Setting>, String> {
    let text = |key: &str, raw: Raw| {
        let what = match raw.message.starts_with(key) {
            true => raw.message,
            false => format!("{}: {}", shorten(key), raw.message),
        };
        format!("{what}.\n{}", raw.hint).trim_end().to_owned()
    };
    if value.len() > MAX_BYTES / 4 {
        return Err(format!("{}: the value is too long.", shorten(key)));
    }
    let (topic, name) = match key.split_once('.') {
        Some((topic @ ("request_headers" | "response_headers"), name)) => (topic, Some(name)),
        _ => (key, None),
    };
    let attempt = |value: Node| {
        let mut reader = Reader::default();
        let all = match name {
            Some(name) => reader
                .header(topic, name, 0..0, &value)
                .into_iter()
                .collect(),
            None => reader.key(topic, 0..0, &value, path),
        };
        match reader.faults.into_iter().next() {
            None => Ok(all),
            Some(raw) => Err(text(key, raw)),
        }
    };
    let word = toml::Spanned::new(0..value.len(), DeValue::String(value.into()));
    let (node, errors) = DeValue::parse_recoverable(value);
    // a text in quotes is one already
    if errors.is_empty() {
        return match (attempt(node.clone()), node.get_ref()) {
            (Err(e), DeValue::String(_) | DeValue::Table(_) | DeValue::Array(_)) => Err(e),
            (Err(e), _) => attempt(word).map_err(|_| e),
            (good, _) => good,
        };
    }
    attempt(word)
}

/// The path of a rule in the form in which it is stored.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse_path(text: &str) -> Result<String, String> {
    path::prefix(text).map_err(|(what, hint)| format!("{what}. {hint}").trim_end().to_owned())
}

/// What may be named in a message: printable, and not long.
fn shorten(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    match text.chars().nth(60) {
        Some(_) => format!("{shown}…"),
        None => shown,
    }
}

#[cfg(test)]
mod refused;
#[cfg(test)]
mod tests;
