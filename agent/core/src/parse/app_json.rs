//! `app.json`: the health checks and quantities of a release.
//!
//! The file is Heroku's (Dev Center "app.json Schema"); `healthchecks` is Dokku's (its documentation, "Zero Downtime
//! Deploys"), with `port` meaning `$PORT` when it is not said, and `formation.<type>` has `stopSignal` and `stopTimeout`
//! besides. Keys that are not known are left to others, as on Heroku; a known one of a wrong type is refused, with its
//! place, because a check that is silently not made is worse than none.

use hokku_model::{
    ProcessType,
    health::{AppJson, Ask, Care, Check, OnFailure, Purpose, STOP_SIGNALS},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The file's name.
pub const NAME: &str = "app.json";

/// More bytes are refused.
pub const MAX_BYTES: usize = 256 * 1024;

/// More checks of one process type are refused.
const MOST_CHECKS: usize = 16;

/// More process types are refused.
const MOST_TYPES: usize = 100;

/// A text of the file that is used may be so many bytes long.
const LONGEST_TEXT: usize = 4096;

/// Words of a command, or headers.
const MOST_WORDS: usize = 64;

/// Dokku's own `$PORT`, which files written for it may name.
const DOKKU_PORT: u64 = 5000;

const HOUR: f64 = 3600.0;

/// What was read, and what is to be said about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub app: AppJson,
    /// Odd things that were read all the same, each a sentence that begins with its place.
    pub warnings: Vec<String>,
}

/// Reads the file.
///
/// # Errors
/// All that is wrong with it, each a sentence that begins with its place.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Vec<String>> {
    if bytes.len() > MAX_BYTES {
        return Err(vec![format!(
            "{NAME} is larger than {} KiB.",
            MAX_BYTES / 1024
        )]);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: Value = serde_json::from_slice(bytes)
        .map_err(|e| vec![format!("{NAME} is no valid JSON: {e}.")])?;
    let mut reader = Reader::default();
    let mut app = AppJson::default();
    if let Some(file) = reader.object(NAME, &file) {
        reader.formation(file, &mut app);
        reader.healthchecks(file, &mut app);
    }
    match reader.faults[..] {
        [] => Ok(Parsed {
            app,
            warnings: reader.warnings,
        }),
        _ => Err(reader.faults),
    }
}

#[derive(Default)]
struct Reader {
    faults: Vec<String>,
    warnings: Vec<String>,
}

fn kind_of(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl Reader {
    fn fault<T>(&mut self, at: &str, what: impl AsRef<str>) -> Option<T> {
        // a file can't make a longer answer than a reader reads
        if self.faults.len() < 20 {
            self.faults.push(format!("{at} {}.", what.as_ref()));
        }
        None
    }

    fn wrong<T>(&mut self, at: &str, want: &str, got: &Value) -> Option<T> {
        self.fault(at, format!("has to be {want}, not {}", kind_of(got)))
    }

    fn object<'v>(&mut self, at: &str, v: &'v Value) -> Option<&'v Map<String, Value>> {
        match v {
            Value::Object(o) => Some(o),
            other => self.wrong(at, "an object", other),
        }
    }

    fn types<'v>(
        &mut self,
        file: &'v Map<String, Value>,
        key: &str,
    ) -> Vec<(String, ProcessType, &'v Value)> {
        let Some(v) = file.get(key) else {
            return vec![];
        };
        let Some(o) = self.object(key, v) else {
            return vec![];
        };
        if o.len() > MOST_TYPES {
            self.fault::<()>(key, format!("names more than {MOST_TYPES} process types"));
            return vec![];
        }
        let mut found = vec![];
        for (name, v) in o {
            let at = format!("{key}.{}", shown(name));
            match name.parse() {
                Ok(kind) => found.push((at, kind, v)),
                Err(_) => {
                    self.fault::<()>(&at, "is no name of a process type");
                }
            }
        }
        found
    }

    fn formation(&mut self, file: &Map<String, Value>, app: &mut AppJson) {
        for (at, kind, v) in self.types(file, "formation") {
            let Some(o) = self.object(&at, v) else {
                continue;
            };
            let here = |key: &str| format!("{at}.{key}");
            if let Some(n) = self.whole(o, &at, "quantity", 0, 1000)
                && !kind.is_release()
            {
                app.quantities.insert(kind.clone(), n as u32);
            }
            let signal = o.get("stopSignal").and_then(|v| match v {
                Value::String(s) => {
                    let s = s.to_ascii_uppercase();
                    let name = match s.strip_prefix("SIG") {
                        Some(_) => s,
                        None => format!("SIG{s}"),
                    };
                    let known = STOP_SIGNALS.iter().find(|(n, _)| *n == name);
                    known.map(|(_, n)| *n).or_else(|| {
                        let names: Vec<&str> = STOP_SIGNALS.iter().map(|(n, _)| *n).collect();
                        self.fault(
                            &here("stopSignal"),
                            format!("has to be one of {}", names.join(", ")),
                        )
                    })
                }
                other => self.wrong(&here("stopSignal"), "the name of a signal", other),
            });
            let grace = self.seconds(o, &at, "stopTimeout", 0.001, 24.0 * HOUR);
            if signal.is_some() || grace.is_some() {
                let care = app.care.entry(kind).or_default();
                (care.stop_signal, care.grace_ms) = (signal, grace);
            }
        }
    }

    fn healthchecks(&mut self, file: &Map<String, Value>, app: &mut AppJson) {
        for (at, kind, v) in self.types(file, "healthchecks") {
            let list = match v {
                Value::Array(list) => list,
                other => {
                    self.wrong::<()>(&at, "a list of checks", other);
                    continue;
                }
            };
            if list.len() > MOST_CHECKS {
                self.fault::<()>(&at, format!("has more than {MOST_CHECKS} checks"));
                continue;
            }
            let checks: Vec<Check> = list
                .iter()
                .enumerate()
                .filter_map(|(i, v)| self.check(&format!("{at}[{i}]"), v, &kind))
                .collect();
            if !checks.is_empty() {
                let care: &mut Care = app.care.entry(kind).or_default();
                care.checks = checks;
            }
        }
    }

    fn check(&mut self, at: &str, v: &Value, kind: &ProcessType) -> Option<Check> {
        let o = self.object(at, v)?;
        let purpose = match o.get("type") {
            Some(Value::String(s)) => match s.as_str() {
                "startup" => Purpose::Startup,
                "readiness" => Purpose::Readiness,
                "liveness" => Purpose::Liveness,
                _ => {
                    return self.fault(
                        &format!("{at}.type"),
                        "has to be \"startup\", \"readiness\" or \"liveness\"",
                    );
                }
            },
            Some(other) => return self.wrong(&format!("{at}.type"), "text", other),
            None => {
                return self.fault(
                    &format!("{at}.type"),
                    "is missing: \"startup\", \"readiness\" or \"liveness\"",
                );
            }
        };
        let before = self.faults.len();
        let ask = self.ask(o, at);
        let port = self
            .whole(o, at, "port", 1, 65_535)
            .filter(|p| !(kind.is_web() && *p == DOKKU_PORT));
        let name = self.text(o, at, "name").unwrap_or_else(|| {
            let n = at.rsplit_once('[').map_or("", |(_, n)| n);
            format!("{} {}", purpose.as_str(), n.trim_end_matches(']'))
        });
        let attempts = self.whole(o, at, "attempts", 1, 1000).unwrap_or(3);
        let timeout_ms = self.seconds(o, at, "timeout", 0.001, HOUR).unwrap_or(5000);
        let wait_ms = self
            .seconds(o, at, "wait", 0.001, 24.0 * HOUR)
            .unwrap_or(5000);
        let delay_ms = self
            .seconds(o, at, "initialDelay", 0.0, 24.0 * HOUR)
            .unwrap_or(0);
        let warn = self.flag(o, at, "warn").unwrap_or(false);
        let on_failure = self.on_failure(o, at);
        if o.get("scheme").is_some_and(|s| s == "https") {
            self.warnings.push(format!(
                "{at}.scheme is taken for \"http\": dynos are asked as the router asks them, in plain HTTP with X-Forwarded-Proto: https."
            ));
        }
        let ask = ask?;
        let asks_port = matches!(ask, Ask::Http { .. } | Ask::Tcp | Ask::Listening);
        if asks_port && port.is_none() && !kind.is_web() {
            return self.fault(
                &format!("{at}.port"),
                format!("is missing: {kind} gets no $PORT, so say which port it listens on"),
            );
        }
        if purpose == Purpose::Liveness && matches!(ask, Ask::Uptime { .. }) {
            return self.fault(&format!("{at}.uptime"), "can't be a liveness check");
        }
        (self.faults.len() == before).then(|| Check {
            name,
            purpose,
            ask,
            port: port.map(|p| p as u16),
            attempts: attempts as u32,
            timeout_ms,
            wait_ms,
            delay_ms,
            warn,
            on_failure,
        })
    }

    /// `{"command": [...]}` or `{"url": "..."}`.
    fn on_failure(&mut self, o: &Map<String, Value>, at: &str) -> Option<OnFailure> {
        let at = format!("{at}.onFailure");
        let o = self.object(&at, o.get("onFailure")?)?;
        match (self.texts(o, &at, "command"), self.text(o, &at, "url")) {
            (Some(argv), None) if argv.first().is_some_and(|p| !p.is_empty()) => {
                Some(OnFailure::Command { argv })
            }
            (Some(_), None) => self.fault(&format!("{at}.command"), "names no program"),
            (None, Some(url)) => {
                let rest = ["http://", "https://"]
                    .iter()
                    .find_map(|s| url.strip_prefix(s));
                let plain = url.bytes().all(|b| b.is_ascii_graphic());
                match rest.filter(|r| !r.is_empty() && plain) {
                    Some(_) => Some(OnFailure::Url { url }),
                    None => self.fault(
                        &format!("{at}.url"),
                        "has to begin with http:// or https:// and to hold no blanks",
                    ),
                }
            }
            (Some(_), Some(_)) => self.fault(&at, "has both a command and a url: choose one"),
            // what is wrong with either was said
            (None, None) if o.contains_key("command") || o.contains_key("url") => None,
            (None, None) => self.fault(&at, "needs a command or a url"),
        }
    }

    fn ask(&mut self, o: &Map<String, Value>, at: &str) -> Option<Ask> {
        let before = self.faults.len();
        let argv = self.texts(o, at, "command");
        let uptime = self.seconds(o, at, "uptime", 0.001, 24.0 * HOUR);
        let listening = self.flag(o, at, "listening").unwrap_or(false);
        let path = self.text(o, at, "path");
        let content = self.text(o, at, "content").filter(|c| !c.is_empty());
        let headers = self.headers(o, at);
        if self.faults.len() > before {
            return None;
        }
        let http = path.is_some() || content.is_some() || !headers.is_empty();
        let named = [argv.is_some(), uptime.is_some(), listening, http];
        if named.into_iter().filter(|n| *n).count() > 1 {
            return self.fault(
                at,
                "says more than one of path (with content and httpHeaders), command, listening and uptime: make a check of each",
            );
        }
        if let Some(argv) = argv {
            return match argv.first() {
                Some(p) if !p.is_empty() => Some(Ask::Command { argv }),
                _ => self.fault(&format!("{at}.command"), "names no program"),
            };
        }
        if let Some(ms) = uptime {
            return Some(Ask::Uptime { ms });
        }
        if listening {
            return Some(Ask::Listening);
        }
        if !http && o.contains_key("port") {
            return Some(Ask::Tcp);
        }
        let path = path.unwrap_or_else(|| "/".into());
        if !path.starts_with('/') || path.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return self.fault(
                &format!("{at}.path"),
                "has to begin with / and to hold no blanks",
            );
        }
        Some(Ask::Http {
            path,
            content,
            headers,
        })
    }

    fn headers(&mut self, o: &Map<String, Value>, at: &str) -> Vec<(String, String)> {
        let at = format!("{at}.httpHeaders");
        let list = match o.get("httpHeaders") {
            None => return vec![],
            Some(Value::Array(list)) if list.len() <= MOST_WORDS => list,
            Some(Value::Array(_)) => {
                self.fault::<()>(&at, format!("has more than {MOST_WORDS} entries"));
                return vec![];
            }
            Some(other) => {
                self.wrong::<()>(&at, "a list of objects with name and value", other);
                return vec![];
            }
        };
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let mut found = vec![];
        for (i, v) in list.iter().enumerate() {
            let at = format!("{at}[{i}]");
            let Some(o) = self.object(&at, v) else {
                continue;
            };
            let (Some(name), Some(value)) = (self.text(o, &at, "name"), self.text(o, &at, "value"))
            else {
                self.fault::<()>(&at, "needs a name and a value");
                continue;
            };
            let good = !name.is_empty()
                && name.bytes().all(token)
                && !value.bytes().any(|b| b < b' ' || b == 0x7f);
            if good {
                found.push((name, value));
            } else {
                self.fault::<()>(&at, "is no HTTP header (RFC 9110, section 5)");
            }
        }
        found
    }

    fn text(&mut self, o: &Map<String, Value>, at: &str, key: &str) -> Option<String> {
        let here = format!("{at}.{key}");
        match o.get(key)? {
            Value::String(s) if s.len() > LONGEST_TEXT => {
                self.fault(&here, format!("is longer than {LONGEST_TEXT} bytes"))
            }
            Value::String(s) if s.contains('\0') => self.fault(&here, "holds a NUL character"),
            Value::String(s) => Some(s.clone()),
            other => self.wrong(&here, "text", other),
        }
    }

    fn texts(&mut self, o: &Map<String, Value>, at: &str, key: &str) -> Option<Vec<String>> {
        let here = format!("{at}.{key}");
        let list = match o.get(key)? {
            Value::Array(list) if list.len() <= MOST_WORDS => list,
            Value::Array(_) => {
                return self.fault(&here, format!("has more than {MOST_WORDS} words"));
            }
            other => return self.wrong(&here, "a list of a program and its arguments", other),
        };
        let words: Map<String, Value> = list
            .iter()
            .enumerate()
            .map(|(i, v)| (format!("{key}[{i}]"), v.clone()))
            .collect();
        (0..list.len())
            .map(|i| self.text(&words, at, &format!("{key}[{i}]")))
            .collect()
    }

    fn flag(&mut self, o: &Map<String, Value>, at: &str, key: &str) -> Option<bool> {
        match o.get(key)? {
            Value::Bool(b) => Some(*b),
            other => self.wrong(&format!("{at}.{key}"), "true or false", other),
        }
    }

    fn whole(
        &mut self,
        o: &Map<String, Value>,
        at: &str,
        key: &str,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let here = format!("{at}.{key}");
        let want = format!("a whole number from {least} to {most}");
        match o.get(key)? {
            Value::Number(n) => match n.as_u64() {
                Some(n) if (least..=most).contains(&n) => Some(n),
                _ => self.fault(&here, format!("has to be {want}, not {n}")),
            },
            other => self.wrong(&here, &want, other),
        }
    }

    /// Seconds, with a fraction if need be, as milliseconds.
    fn seconds(
        &mut self,
        o: &Map<String, Value>,
        at: &str,
        key: &str,
        least: f64,
        most: f64,
    ) -> Option<u64> {
        let here = format!("{at}.{key}");
        let want = format!("a number of seconds from {least} to {most}");
        match o.get(key)? {
            Value::Number(n) => match n.as_f64() {
                Some(s) if (least..=most).contains(&s) => Some((s * 1000.0).round() as u64),
                _ => self.fault(&here, format!("has to be {want}, not {n}")),
            },
            other => self.wrong(&here, &want, other),
        }
    }
}

/// A key of the file in a message: short, and without what a terminal would obey.
fn shown(key: &str) -> String {
    let clean = key.chars().filter(|c| !c.is_control());
    clean.take(64).collect()
}

/// The quantities that an app's first deploy gets: those of the file for types that it has.
pub fn first_quantities<'a>(
    app: &'a AppJson,
    types: &'a BTreeMap<ProcessType, String>,
) -> impl Iterator<Item = (&'a ProcessType, u32)> {
    let all = app.quantities.iter();
    all.filter(|(kind, _)| types.contains_key(kind))
        .map(|(kind, n)| (kind, *n))
}

#[cfg(test)]
#[path = "app_json_tests.rs"]
mod tests;
