//! A setting's value as it can be written, for people.

use super::units::{show_duration, show_size};
use hokku_model::{
    routing::{Compress, Proto},
    said::Setting,
};

/// The value in the form that `app routing:set` takes; of passwords only whose they are.
pub fn show(setting: &Setting) -> String {
    let none = || "none".to_owned();
    match setting {
        Setting::Proto(Proto::Http1) => "http1".into(),
        Setting::Proto(Proto::H2c) => "h2c".into(),
        Setting::Affinity(on) | Setting::HttpsOnly(on) | Setting::Maintenance(on) => on.to_string(),
        Setting::Hsts(seconds) => {
            seconds.map_or_else(none, |s| show_duration(s.saturating_mul(1000)))
        }
        Setting::Connections(n) | Setting::DynoConnections(n) => {
            n.map_or_else(none, |n| n.to_string())
        }
        Setting::Queue(ms) | Setting::WebsocketDrain(ms) => ms.map_or_else(none, show_duration),
        Setting::Timeout(ms) | Setting::IdleTimeout(ms) => show_duration(*ms),
        Setting::BodyLimit(bytes) => show_size(*bytes),
        Setting::MinRate(bytes) => show_size(u64::from(*bytes)),
        Setting::Compress(c) => match c {
            Compress::Off => "off",
            Compress::Fast => "fast",
            Compress::Balanced => "balanced",
            Compress::Small => "small",
        }
        .into(),
        Setting::RequestHeader(_, value) | Setting::ResponseHeader(_, value) => match value {
            Some(value) => quote(value),
            None => "false".into(),
        },
        Setting::ErrorPage(text)
        | Setting::MaintenancePage(text)
        | Setting::Cache(text)
        | Setting::Rewrite(text) => text.clone(),
        Setting::Redirect(r) => format!("{{ to = {}, status = {} }}", quote(&r.to), r.status),
        Setting::BasicAuth(auth) => {
            let users: Vec<&str> = auth.users.keys().map(String::as_str).collect();
            format!("realm {}, users {}", quote(&auth.realm), users.join(", "))
        }
        Setting::Allow(networks) => networks.join(","),
        Setting::Files(f) => {
            let fallback = match &f.fallback {
                Some(file) => format!(", fallback = {}", quote(file)),
                None => String::new(),
            };
            format!(
                "{{ root = {}, index = {}{fallback}, pass = {} }}",
                quote(&f.root),
                quote(&f.index),
                f.pass
            )
        }
    }
}

/// A TOML text of one line.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
