//! From what was said to what is looked up.

use super::Rules;
use super::auth::Auth;
use super::effective::{Edits, Effective};
use super::target::{Redirect, Rewrite, Served};
use super::verifier::Verifier;
use crate::nets::Nets;
use crate::path::{self, with_normal};
use crate::prefix::Prefixes;
use hokku_model::routing::{HeaderEdits, PathRule, Routing, Settings};
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Longer times are as good as none.
const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

/// What frames a message and belongs to one connection is the router's business (RFC 9110, section 7.6.1).
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

/// Compiles. Also says in words what cannot be used and was left out, with the place and the key.
pub(crate) fn compile(routing: &Routing, verifier: &Arc<Verifier>) -> (Rules, Vec<String>) {
    let mut compiler = Compiler {
        verifier,
        refused: Vec::new(),
        place: String::new(),
        segments: 0,
    };
    let routing = Arc::new(routing.clone());
    let hsts = routing
        .hsts
        .and_then(|s| HeaderValue::try_from(format!("max-age={s}")).ok());
    let root = compiler.over(&Effective::default(), &routing.settings);
    let rules = compiler.by_prefix(&routing.rules).cascade(
        |prefix, rules: Vec<&PathRule>, wider: Option<&Arc<Effective>>| {
            compiler.segments = prefix.iter().filter(|b| **b == b'/').count();
            // what is said twice counts as first said
            let base = Effective::clone(wider.map_or(&root, |w| w));
            Arc::new(rules.iter().rev().fold(base, |base, rule| {
                compiler.place = format!("rule {}: ", rule.path);
                compiler.over(&base, &rule.settings)
            }))
        },
    );
    let led = root.redirect.is_some() || root.rewrite.is_some() || root.files.is_some();
    let by_path = led || !rules.is_empty();
    let rules = Rules {
        routing,
        hsts,
        root: Arc::new(root),
        below: rules,
        by_path,
    };
    (rules, compiler.refused)
}

struct Compiler<'a> {
    verifier: &'a Arc<Verifier>,
    refused: Vec<String>,
    place: String,
    /// Of the prefix that is compiled.
    segments: usize,
}

impl Compiler<'_> {
    fn refuse(&mut self, key: &str, why: &str) {
        self.refused
            .push(format!("{}{key} is left out: {why}", self.place));
    }

    fn by_prefix<'r>(&mut self, rules: &'r [PathRule]) -> Prefixes<Vec<&'r PathRule>> {
        let mut all: BTreeMap<Box<[u8]>, Vec<&PathRule>> = BTreeMap::new();
        for rule in rules {
            if !rule.path.starts_with('/') {
                self.refused.push(format!(
                    "the path of rule {:?} does not begin with /; it is read as if it did",
                    rule.path
                ));
            }
            if with_normal(&rule.path, |n| n.unclear) {
                self.refused.push(format!(
                    "rule {} is left out: its path can be read in several ways",
                    rule.path
                ));
                continue;
            }
            all.entry(path::normal(&rule.path)).or_default().push(rule);
        }
        Prefixes::new(all)
    }

    /// The settings of a narrower place over those of a wider one.
    fn over(&mut self, base: &Effective, said: &Settings) -> Effective {
        let mut e = base.clone();
        self.limits(&mut e, said);
        self.edits(
            "request_headers",
            &mut e.request_headers,
            &said.request_headers,
        );
        self.edits(
            "response_headers",
            &mut e.response_headers,
            &said.response_headers,
        );
        if let Some(cache) = &said.cache {
            match HeaderValue::from_str(cache) {
                Ok(value) => e.cache = Some(value),
                Err(_) => self.refuse("cache", "it has characters that no header may have"),
            }
        }
        self.guards(&mut e, said);
        let segments = self.segments;
        if let Some(redirect) = &said.redirect {
            match Redirect::read(&redirect.to, redirect.status, segments) {
                Ok(redirect) => e.redirect = Some(Arc::new(redirect)),
                Err(why) => self.refuse("redirect", why),
            }
        }
        if let Some(rewrite) = &said.rewrite {
            match Rewrite::read(rewrite, segments) {
                Ok(rewrite) => e.rewrite = Some(Arc::new(rewrite)),
                Err(why) => self.refuse("rewrite", why),
            }
        }
        if let Some(files) = &said.files {
            match Served::read(files, segments) {
                Ok(served) => e.files = Some(Arc::new(served)),
                Err(why) => self.refuse("files", why),
            }
        }
        e
    }

    fn limits(&mut self, e: &mut Effective, said: &Settings) {
        let times = [
            ("first_byte_ms", said.first_byte_ms, &mut e.first_byte),
            ("idle_ms", said.idle_ms, &mut e.idle),
        ];
        for (key, ms, time) in times {
            match ms {
                Some(0) => self.refuse(key, "no request could keep to 0 ms"),
                Some(ms) => *time = Some(Duration::from_millis(ms.min(YEAR_MS))),
                None => {}
            }
        }
        e.body_limit = said.body_limit.or(e.body_limit);
        e.min_rate = said.min_rate.or(e.min_rate);
        e.compress = said.compress.unwrap_or(e.compress);
        e.maintenance = said.maintenance.unwrap_or(e.maintenance);
    }

    /// Who may come in. What cannot be used opens nothing.
    fn guards(&mut self, e: &mut Effective, said: &Settings) {
        if !said.allow.is_empty() {
            let (nets, refused) = Nets::read(&said.allow);
            for text in refused {
                let why = format!("{text:?} is no network: it has to look like 203.0.113.0/24");
                self.refuse("an entry of allow", &why);
            }
            e.allow = Some(Arc::new(nets));
        }
        if let Some(auth) = &said.auth {
            let (auth, refused) = Auth::read(auth, self.verifier);
            for why in refused {
                self.refused.push(format!("{}auth: {why}", self.place));
            }
            e.auth = Some(Arc::new(auth));
        }
    }

    fn edits(&mut self, key: &str, edits: &mut Edits, said: &HeaderEdits) {
        for name in &said.remove {
            match header(name) {
                Ok(name) => edits.say(name, None),
                Err(why) => self.refuse(&format!("{key}, removing {name:?},"), why),
            }
        }
        for (name, value) in &said.set {
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| "its value has characters that no header may have");
            match header(name).and_then(|name| Ok((name, value?))) {
                Ok((name, value)) => edits.say(name, Some(value)),
                Err(why) => self.refuse(&format!("{key}, setting {name:?},"), why),
            }
        }
    }
}

fn header(name: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "it is no header name")?;
    if FRAMING.contains(&name.as_str()) {
        return Err("the router alone says how messages are framed and to whom they go");
    }
    Ok(name)
}
