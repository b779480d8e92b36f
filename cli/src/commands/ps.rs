//! Dynos: list, scale, restart, stop.

use crate::commands::limits;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use crate::time;
use anstyle::AnsiColor;
use clap::Args;
use hokku_model::api;
use hokku_model::name::{DynoName, ProcessType};
use reqwest::Method;
use std::collections::BTreeMap;

/// Types of dynos that run once and are not part of the formation.
const ONE_OFF: [&str; 5] = ["run", "release", "cron", "scheduler", "build"];

/// List the dynos of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app ps\n  $ app ps worker --json")]
pub struct List {
    /// Only these process types
    #[arg(value_name = "TYPE")]
    types: Vec<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints the dynos by type.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let mut dynos: Vec<api::Dyno> = client.list(&["apps", &app, "dynos"])?;
        if !self.types.is_empty() {
            dynos.retain(|d| self.types.contains(&d.r#type));
            if dynos.is_empty() {
                return Err(Fail::usage(format!(
                    "No {} dynos on {app}.",
                    self.types.join(", ")
                )));
            }
        }
        dynos.sort_by_key(|d| {
            (
                d.r#type.clone(),
                d.name.parse::<DynoName>().map_or(0, |n| n.index),
            )
        });
        if self.json {
            return output::json(&dynos);
        }
        if dynos.is_empty() {
            output::line(&format!("No dynos on {app}."));
        } else {
            output::print(&listing(&dynos, Paint::stdout(), time::ago));
            limits::notices(client, &app);
        }
        Ok(())
    }
}

fn state(paint: Paint, state: &str) -> String {
    let colour = match state {
        "up" => AnsiColor::Green,
        "crashed" => AnsiColor::Red,
        _ => AnsiColor::Yellow,
    };
    paint.colour(colour, state)
}

fn listing(dynos: &[api::Dyno], paint: Paint, ago: impl Fn(&str) -> String) -> String {
    let mut groups: BTreeMap<(bool, &str), Vec<&api::Dyno>> = BTreeMap::new();
    for dyno in dynos {
        groups
            .entry((ONE_OFF.contains(&dyno.r#type.as_str()), &dyno.r#type))
            .or_default()
            .push(dyno);
    }
    let mut text = String::new();
    for ((one_off, kind), group) in groups {
        let count = paint.colour(AnsiColor::Yellow, &group.len().to_string());
        let first = group[0];
        let title = match one_off {
            true => format!(
                "{}: one-off processes ({count})",
                paint.colour(AnsiColor::Green, kind)
            ),
            false => format!(
                "{} ({}): {} ({count})",
                paint.colour(AnsiColor::Green, kind),
                first.size,
                output::clean(&first.command)
            ),
        };
        text.push_str(&format!("{} {title}\n\n", paint.dim("===")));
        for dyno in group {
            let when = paint.dim(&ago(&dyno.updated_at));
            let state = state(paint, &dyno.state);
            text.push_str(&match one_off {
                true => format!(
                    "{} ({}): {state} {when}: {}\n",
                    dyno.name,
                    dyno.size,
                    output::clean(&dyno.command)
                ),
                false => format!("{}: {state} {when}\n", dyno.name),
            });
            if !dyno.explanation.is_empty() {
                text.push_str(&format!("    {}\n", output::clean(&dyno.explanation)));
            }
        }
        text.push('\n');
    }
    text
}

/// Show or change how many dynos of each type run
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app ps:scale web=3 worker+1
  $ app scale web=2:standard-2x
  $ app ps:scale")]
pub struct Scale {
    /// TYPE=NUMBER, TYPE+NUMBER or TYPE-NUMBER, each with :SIZE if the size is to change
    #[arg(value_name = "TYPE=NUMBER", allow_hyphen_values = false)]
    changes: Vec<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Scale {
    /// Changes all types given or none.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        if self.changes.is_empty() {
            let formation: Vec<api::Formation> = client.list(&["apps", &app, "formation"])?;
            if self.json {
                return output::json(&formation);
            }
            if formation.is_empty() {
                return Err(Fail::new(format!(
                    "No process types on {app}.\nPush a Procfile to add process types."
                )));
            }
            let all: Vec<String> = formation
                .iter()
                .map(|f| format!("{}={}:{}", f.r#type, f.quantity, f.size))
                .collect();
            output::line(&all.join(" "));
            return Ok(());
        }
        let updates = self
            .changes
            .iter()
            .map(|c| parse_change(c))
            .collect::<Result<Vec<_>>>()?;
        let progress = Progress::start("Scaling dynos");
        let wanted = api::FormationPatch { updates };
        let mut after: Vec<api::Formation> =
            client.send(Method::PATCH, &["apps", &app, "formation"], &wanted)?;
        after.retain(|f| wanted.updates.iter().any(|u| u.r#type == f.r#type));
        let paint = Paint::stderr();
        let now: Vec<String> = after
            .iter()
            .map(|f| {
                format!(
                    "{} at {}:{}",
                    paint.colour(AnsiColor::Green, &f.r#type),
                    f.quantity,
                    f.size
                )
            })
            .collect();
        progress.done_with(&format!("now running {}", now.join(", ")));
        if self.json {
            output::json(&after)
        } else {
            Ok(())
        }
    }
}

/// Reads `web=2`, `web+1`, `my-worker-1` and `web=2:size`.
fn parse_change(text: &str) -> Result<api::FormationUpdate> {
    let bad = || {
        Fail::usage(format!(
            "{text:?} is no change of scale. Expected something like web=2, worker+1 or web=2:standard-2x."
        ))
    };
    let (left, size) = match text.split_once(':') {
        Some((left, size)) if !size.is_empty() => (left, Some(size.to_owned())),
        Some(_) => return Err(bad()),
        None => (text, None),
    };
    let at = left.rfind(['=', '+', '-']).ok_or_else(bad)?;
    let (kind, sign, number) = (&left[..at], &left[at..=at], &left[at + 1..]);
    let kind: ProcessType = kind.parse().map_err(|_| bad())?;
    let number: u32 = number
        .parse()
        .ok()
        .filter(|_| number.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(bad)?;
    let quantity = match sign {
        "=" => api::Quantity::Number(number),
        sign => api::Quantity::Text(format!("{sign}{number}")),
    };
    Ok(api::FormationUpdate {
        quantity: Some(quantity),
        size,
        r#type: kind.to_string(),
    })
}

/// What a restart or stop is about.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct Which {
    /// A dyno such as web.1, or a process type such as web
    #[arg(value_name = "DYNO")]
    target: Option<String>,
    /// This dyno
    #[arg(short, long, value_name = "DYNO")]
    dyno_name: Option<String>,
    /// All dynos of this process type
    #[arg(short, long, value_name = "TYPE")]
    process_type: Option<String>,
}

#[derive(Debug, PartialEq)]
enum Target {
    All,
    Dyno(String),
    Type(String),
}

impl Which {
    fn target(self) -> Result<Target> {
        let dyno = |d: String| {
            d.parse::<DynoName>()
                .map(|_| Target::Dyno(d))
                .map_err(|e| Fail::usage(format!("{e}. See the dynos with: app ps")))
        };
        let kind = |t: String| {
            t.parse::<ProcessType>()
                .map(|_| Target::Type(t))
                .map_err(|e| Fail::usage(e.to_string()))
        };
        match (self.target, self.dyno_name, self.process_type) {
            (Some(t), ..) if t.contains('.') => dyno(t),
            (Some(t), ..) => kind(t),
            (_, Some(d), _) => dyno(d),
            (.., Some(t)) => kind(t),
            (None, None, None) => Ok(Target::All),
        }
    }
}

/// Restart an app's dynos
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app ps:restart\n  $ app restart web\n  $ app ps:restart web.1"
)]
pub struct Restart {
    #[command(flatten)]
    which: Which,
}

impl Restart {
    /// Restarts one dyno, those of a type, or all.
    pub fn run(self, cx: &Context) -> Result<()> {
        let target = self.which.target()?;
        let (app, client) = cx.app()?;
        let progress = Progress::start(match &target {
            Target::All => "Restarting dynos".to_owned(),
            Target::Type(t) => format!("Restarting {t} dynos"),
            Target::Dyno(d) => format!("Restarting {d} dyno"),
        });
        match &target {
            Target::All => client.order(Method::DELETE, &["apps", &app, "dynos"])?,
            Target::Dyno(d) => client.order(Method::DELETE, &["apps", &app, "dynos", d])?,
            Target::Type(t) => client.order(Method::DELETE, &["apps", &app, "formations", t])?,
        }
        progress.done();
        Ok(())
    }
}

/// Stop dynos; those of the formation start again
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app ps:stop run.4711\n  $ app kill worker")]
pub struct Stop {
    #[command(flatten)]
    which: Which,
}

impl Stop {
    /// Stops one dyno or those of a type.
    pub fn run(self, cx: &Context) -> Result<()> {
        let target = self.which.target()?;
        let (app, client) = cx.app()?;
        let (label, path) = match &target {
            Target::All => {
                return Err(Fail::usage(
                    "Say what to stop, such as: app ps:stop web.1. To stop a type for good: app ps:scale web=0",
                ));
            }
            Target::Dyno(d) => (
                format!("Stopping {d} dyno"),
                ["apps", &app, "dynos", d, "actions", "stop"],
            ),
            Target::Type(t) => (
                format!("Stopping {t} dynos"),
                ["apps", &app, "formations", t, "actions", "stop"],
            ),
        };
        let progress = Progress::start(label);
        client.order(Method::POST, &path)?;
        progress.done();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes() {
        let parse = |t: &str| {
            let u = parse_change(t).ok()?;
            let quantity = match u.quantity? {
                api::Quantity::Number(n) => n.to_string(),
                api::Quantity::Text(t) => t,
            };
            Some(format!(
                "{} {quantity} {}",
                u.r#type,
                u.size.unwrap_or_default()
            ))
        };
        for (typed, meant) in [
            ("web=2", Some("web 2 ")),
            ("web+1", Some("web +1 ")),
            ("web-1", Some("web -1 ")),
            ("my-worker-10", Some("my-worker -10 ")),
            ("my-worker=0:big-2x", Some("my-worker 0 big-2x")),
            ("web", None),
            ("web=", None),
            ("=2", None),
            ("web=+2", None),
            ("web=2:", None),
            ("web=99999999999", None),
            ("we b=1", None),
        ] {
            assert_eq!(parse(typed).as_deref(), meant, "{typed}");
        }
    }

    #[test]
    fn targets() {
        let which = |t: Option<&str>| Which {
            target: t.map(Into::into),
            dyno_name: None,
            process_type: None,
        };
        assert_eq!(which(None).target().unwrap(), Target::All);
        assert_eq!(
            which(Some("web.1")).target().unwrap(),
            Target::Dyno("web.1".into())
        );
        assert_eq!(
            which(Some("web")).target().unwrap(),
            Target::Type("web".into())
        );
        assert!(which(Some("../x")).target().is_err());
        assert!(which(Some("..")).target().is_err());
    }

    fn dyno(name: &str, command: &str) -> api::Dyno {
        api::Dyno {
            name: name.into(),
            r#type: name.split('.').next().unwrap().into(),
            command: command.into(),
            size: "Basic".into(),
            state: "up".into(),
            ..api::Dyno::default()
        }
    }

    #[test]
    fn the_listing_is_herokus() {
        let mut crashed = dyno("web.2", "puma");
        crashed.state = "crashed".into();
        crashed.explanation = "exited with status 1; starts again in 8 s".into();
        let text = listing(
            &[dyno("web.1", "puma"), crashed, dyno("run.12", "bash")],
            Paint::always(false),
            |_| "T".into(),
        );
        assert_eq!(
            text,
            "=== web (Basic): puma (2)\n\nweb.1: up T\nweb.2: crashed T\n    exited with status 1; starts again in 8 s\n\n\
             === run: one-off processes (1)\n\nrun.12 (Basic): up T: bash\n\n"
        );
    }
}
