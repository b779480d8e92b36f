//! How an app's requests are handled: what counts and why, and the owner's word over `hokku.toml`.

use crate::{
    context::Context,
    fail::{Fail, Result},
    output::{self, Paint},
    progress::Progress,
};
use clap::Args;
use hokku_core::parse::hokku_toml::{covers, parse_path, parse_setting};
use hokku_model::said::{RoutingPatch, RoutingRow, RoutingView};
use reqwest::Method;

/// Show how requests are handled, and where each value came from
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  $ app routing\n  $ app routing --path /api/users    what counts for this path\n  $ app routing --json"
)]
pub struct Show {
    /// What counts for one path, from its rules and the app
    #[arg(short, long)]
    path: Option<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Show {
    /// Prints key, value and source; rules by path.
    pub fn run(self, cx: &Context) -> Result<()> {
        let path = self.path.as_deref().map(checked_path).transpose()?;
        let (app, client) = cx.app()?;
        let mut view: RoutingView = client.get(&["hokku", "apps", &app, "routing"])?;
        if let Some(path) = &path {
            view = at(view, path);
        }
        if self.json {
            return output::json(&view);
        }
        let title = match &path {
            Some(path) => format!("{app} Routing of {path}"),
            None => format!("{app} Routing"),
        };
        output::print(&shown(&view, &title));
        for note in &view.notes {
            output::warning(&output::clean(note));
        }
        Ok(())
    }
}

fn checked_path(path: &str) -> Result<String> {
    parse_path(path).map_err(|e| Fail::usage(format!("--path: {e}")))
}

/// What counts for one path: each key from the longest prefix that says it, at last from the app.
fn at(mut view: RoutingView, path: &str) -> RoutingView {
    view.rules.retain(|rule| covers(&rule.path, path));
    view.rules.sort_by_key(|rule| rule.path.len());
    for rule in std::mem::take(&mut view.rules) {
        for row in rule.settings {
            let row = RoutingRow {
                source: format!("{}, rule {}", row.source, rule.path),
                ..row
            };
            match view.settings.iter_mut().find(|r| r.key == row.key) {
                Some(wider) => *wider = row,
                None => view.settings.push(row),
            }
        }
    }
    view
}

fn shown(view: &RoutingView, title: &str) -> String {
    let paint = Paint::stdout();
    let table = |rows: &[RoutingRow]| {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|r| vec![r.key.clone(), r.value.clone(), r.source.clone()])
            .collect();
        output::table(&rows, |column, cell| match column {
            2 => paint.dim(cell),
            _ => cell.to_owned(),
        })
    };
    let mut text = format!("{}{}", output::header(title), table(&view.settings));
    for rule in &view.rules {
        let path = output::clean(&rule.path);
        text.push_str(&format!(
            "\n{}{}",
            output::header(&path),
            table(&rule.settings)
        ));
    }
    text
}

/// Say how requests are handled, over hokku.toml and at once
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  $ app routing:set timeout=60s body_limit=100MB
  $ app routing:set websocket_drain=2h proto=h2c
  $ app routing:set response_headers.X-Frame-Options=DENY response_headers.Server=false
  $ app routing:set maintenance=true --path /checkout
  $ app routing:set redirect='{ to = \"https://example.org$path\", status = 301 }' --path /blog

The keys are those of [routing] in hokku.toml (man 5 hokku.toml). They count at once, without a release, until they are
unset, over whatever hokku.toml is pushed.")]
pub struct Set {
    /// key=value
    #[arg(required_unless_present = "proto", value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// For this path and all below it
    #[arg(short, long)]
    path: Option<String>,
    /// What the web dynos speak: http1, or h2c for gRPC; the same as proto=...
    #[arg(long, value_name = "PROTO")]
    proto: Option<String>,
}

impl Set {
    /// Sets all or none.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        self.pairs.extend(self.proto.map(|p| format!("proto={p}")));
        let patch = read_pairs(&self.pairs, self.path.as_deref())?;
        let names: Vec<String> = patch.set.keys().cloned().collect();
        change(cx, "Setting", &names, &patch)
    }
}

fn read_pairs(pairs: &[String], path: Option<&str>) -> Result<RoutingPatch> {
    let mut patch = RoutingPatch {
        path: path.map(checked_path).transpose()?,
        ..RoutingPatch::default()
    };
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Fail::usage(format!(
                "{pair:?} is no setting: write key=value, such as timeout=60s."
            )));
        };
        parse_setting(key, value, path.is_some()).map_err(Fail::usage)?;
        if patch.set.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Fail::usage(format!("{key} is given twice.")));
        }
    }
    Ok(patch)
}

/// Take back what routing:set said
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  $ app routing:unset timeout body_limit\n  $ app routing:unset maintenance --path /checkout\n  $ app routing:unset response_headers    all that were set"
)]
pub struct Unset {
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// For this path and all below it
    #[arg(short, long)]
    path: Option<String>,
}

impl Unset {
    /// Unsets all or none; what hokku.toml says counts again.
    pub fn run(self, cx: &Context) -> Result<()> {
        let patch = RoutingPatch {
            path: self.path.as_deref().map(checked_path).transpose()?,
            unset: self.keys.clone(),
            ..RoutingPatch::default()
        };
        change(cx, "Unsetting", &self.keys, &patch)
    }
}

fn change(cx: &Context, doing: &str, names: &[String], patch: &RoutingPatch) -> Result<()> {
    let (app, client) = cx.app()?;
    let paint = Paint::stderr();
    let names: Vec<String> = names
        .iter()
        .map(|n| paint.bold(&output::clean(n)))
        .collect();
    let at = match &patch.path {
        Some(path) => format!(" for {path}"),
        None => String::new(),
    };
    let progress = Progress::start(format!(
        "{doing} {}{at} on {}",
        names.join(", "),
        paint.app(&app)
    ));
    let view: RoutingView =
        client.send(Method::PATCH, &["hokku", "apps", &app, "routing"], patch)?;
    progress.done();
    for note in &view.notes {
        output::warning(&output::clean(note));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::said::RoutingRule;

    fn row(key: &str, value: &str, source: &str) -> RoutingRow {
        RoutingRow {
            key: key.into(),
            value: value.into(),
            source: source.into(),
        }
    }

    fn view() -> RoutingView {
        let rule = |path: &str, settings| RoutingRule {
            path: path.into(),
            settings,
        };
        RoutingView {
            app: "shop".into(),
            release: Some(12),
            settings: vec![
                row("timeout", "30s", "default"),
                row("compress", "fast", "hokku.toml of v12"),
            ],
            rules: vec![
                rule(
                    "/api",
                    vec![
                        row("timeout", "1m", "hokku.toml of v12"),
                        row("cache", "no-store", "app routing:set"),
                    ],
                ),
                rule("/api/up", vec![row("timeout", "5m", "app routing:set")]),
                rule("/apis", vec![row("timeout", "9m", "app routing:set")]),
            ],
            notes: vec![],
        }
    }

    #[test]
    fn the_table() {
        let text = shown(&view(), "shop Routing");
        assert_eq!(
            text,
            "=== shop Routing

timeout   30s   default
compress  fast  hokku.toml of v12

=== /api

timeout  1m        hokku.toml of v12
cache    no-store  app routing:set

=== /api/up

timeout  5m  app routing:set

=== /apis

timeout  9m  app routing:set
"
        );
    }

    #[test]
    fn what_counts_for_a_path() {
        for (path, timeout, source, keys) in [
            ("/", "30s", "default", 2),
            ("/api", "1m", "hokku.toml of v12, rule /api", 3),
            ("/api/up/x", "5m", "app routing:set, rule /api/up", 3),
            ("/apis", "9m", "app routing:set, rule /apis", 2),
        ] {
            let view = at(view(), path);
            assert_eq!(view.settings[0], row("timeout", timeout, source), "{path}");
            assert_eq!(view.settings.len(), keys, "{path}");
            assert!(view.rules.is_empty());
        }
    }

    #[test]
    fn pairs() {
        let read = |list: &[&str], path: Option<&str>| {
            let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
            read_pairs(&list, path)
        };
        let patch = read(&["cache=max-age=60", "timeout=1m"], Some("/api/")).unwrap();
        assert_eq!(patch.path.as_deref(), Some("/api"));
        assert_eq!(patch.set["cache"], "max-age=60");
        for (list, path, why) in [
            (&["timeout"][..], None, "key=value"),
            (&["timeout=1m", "timeout=2m"], None, "twice"),
            (&["timout=1m"], None, "Did you mean timeout?"),
            (&["proto=h2c"], Some("/x"), "whole app"),
            (&["timeout=1m"], Some("x"), "--path"),
        ] {
            let e = read(list, path).unwrap_err();
            assert!(e.text.contains(why) && e.status == 2, "{}", e.text);
        }
    }
}
