//! Numbers of dynos that follow the load.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use crate::time;
use clap::Args;
use hokku_core::autoscale::{spell_at, spell_targets};
use hokku_model::api::{AutoscaleLine, AutoscalePatch};
use hokku_model::autoscale::{DepthFrom, Plan};
use reqwest::Method;
use serde_json::{Value, json};

/// Let the number of dynos of a process type follow its load, or show which do
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app autoscale                                            what follows its load
  $ app autoscale web --min 2 --max 8 --target inflight=10,cpu=70%
  $ app autoscale web --at 'Mon-Fri 8:00' --min 6 --zone Europe/Berlin
  $ app autoscale web --at 'Mon-Fri 20:00' --min 2
  $ app autoscale worker --min 0 --max 5 --target depth=100 --depth-command 'bin/queue-depth'

Targets, of which the one that asks for most dynos counts:
  inflight=10   requests at once per dyno
  queue=50ms    what 95 of 100 requests wait in the router: nothing waits there unless dynos
                are given only so many at once, by app routing:set dyno_connections=20
  cpu=70%       of the dyno's CPU cap (limits:set --cpu), or of one CPU without
  memory=80%    of the dyno's memory limit
  depth=100     jobs per dyno, as --depth-command or --depth-path counts them")]
pub struct Autoscale {
    /// The process type
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// The fewest dynos; 0 is possible with the target depth
    #[arg(long, value_name = "NUMBER")]
    min: Option<u32>,
    /// The most dynos
    #[arg(long, value_name = "NUMBER")]
    max: Option<u32>,
    /// What to stay below, several divided by commas
    #[arg(short, long, value_name = "NAME=VALUE")]
    target: Option<String>,
    /// From this time of the week on the bounds are --min and --max, until the next such time
    #[arg(long, value_name = "DAYS TIME")]
    at: Option<String>,
    /// The time zone of all --at [default: UTC]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Counts the jobs that wait: run in a dyno of its own every 15 s, prints the number last
    #[arg(long, value_name = "COMMAND")]
    depth_command: Option<String>,
    /// Counts the jobs that wait: a path of the app that answers with the number
    #[arg(long, value_name = "PATH", conflicts_with = "depth_command")]
    depth_path: Option<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Autoscale {
    /// Changes what is named, or shows everything.
    pub fn run(self, cx: &Context) -> Result<()> {
        let patch = AutoscalePatch {
            min: self.min,
            max: self.max,
            target: self.target,
            at: self.at,
            zone: self.zone,
            depth_command: self.depth_command,
            depth_path: self.depth_path,
        };
        let (app, client) = cx.app()?;
        if patch == AutoscalePatch::default() {
            let mut lines: Vec<AutoscaleLine> =
                client.get(&["hokku", "apps", &app, "autoscale"])?;
            if let Some(kind) = &self.kind {
                lines.retain(|l| l.r#type == *kind);
            }
            if self.json {
                return output::json(&lines);
            }
            if lines.is_empty() {
                let what = self.kind.as_deref().unwrap_or("Nothing");
                output::line(&format!(
                    "{what} on {app} does not follow its load. Begin with: app autoscale web --min 2 --max 8 --target inflight=10"
                ));
                return Ok(());
            }
            output::print(&output::plain_table(&table(&lines)));
            return Ok(());
        }
        let kind = self.kind.unwrap_or_else(|| "web".into());
        if let Some(target) = &patch.target {
            hokku_core::autoscale::parse_targets(target).map_err(Fail::usage)?;
        }
        if let Some(at) = &patch.at {
            hokku_core::autoscale::parse_at(at).map_err(Fail::usage)?;
        }
        let progress = Progress::start(format!(
            "Setting autoscale of {kind} on {}",
            Paint::stderr().app(&app)
        ));
        let path = ["hokku", "apps", &app, "autoscale", &kind];
        let line: AutoscaleLine = client.send(Method::PATCH, &path, &patch)?;
        progress.done();
        if self.json {
            return output::json(&line);
        }
        output::print(&output::plain_table(&table(&[line])));
        Ok(())
    }
}

fn table(lines: &[AutoscaleLine]) -> Vec<Vec<String>> {
    let head = [
        "Type",
        "Now",
        "Bounds",
        "Targets",
        "Schedule",
        "Jobs counted by",
    ]
    .map(str::to_owned)
    .to_vec();
    let rows = lines.iter().map(|l| {
        let or_dash = |t: String| if t.is_empty() { "-".into() } else { t };
        vec![
            l.r#type.clone(),
            l.quantity.to_string(),
            format!("{}-{}", l.bounds.0, l.bounds.1),
            spell_targets(&l.plan.wish.targets),
            or_dash(schedule(&l.plan)),
            match &l.plan.depth_from {
                Some(DepthFrom::Command(c)) => c.clone(),
                Some(DepthFrom::Path(p)) => format!("GET {p}"),
                None => "-".into(),
            },
        ]
    });
    std::iter::once(head).chain(rows).collect()
}

/// `Mon-Fri 8:00 6-8, Mon-Fri 20:00 2-8 (Europe/Berlin)`
fn schedule(plan: &Plan) -> String {
    if plan.schedule.is_empty() {
        return String::new();
    }
    let entries = plan.schedule.iter().map(|a| {
        format!(
            "{} {}-{}",
            spell_at(a.days, a.minute),
            a.min,
            a.max.unwrap_or(plan.wish.max)
        )
    });
    let zone = plan.zone.as_deref().unwrap_or("UTC");
    format!("{} ({zone})", entries.collect::<Vec<_>>().join(", "))
}

/// Show what was measured, and why the number of dynos is what it is
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app autoscale:explain\n  $ app autoscale:explain web --json")]
pub struct Explain {
    /// The process type
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Explain {
    /// One paragraph a type.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let mut lines: Vec<AutoscaleLine> = client.get(&["hokku", "apps", &app, "autoscale"])?;
        if let Some(kind) = &self.kind {
            lines.retain(|l| l.r#type == *kind);
        }
        if self.json {
            return output::json(&lines);
        }
        if lines.is_empty() {
            output::line(&format!(
                "Nothing of the kind follows its load on {app}; see: app autoscale"
            ));
        }
        for line in &lines {
            explain(line);
        }
        Ok(())
    }
}

fn explain(line: &AutoscaleLine) {
    let paint = Paint::stdout();
    let (min, max) = line.bounds;
    let targets = spell_targets(&line.plan.wish.targets);
    output::line(&format!(
        "=== {}: {} dynos, {min} to {max} allowed, {targets}",
        paint.app(&line.r#type),
        line.quantity
    ));
    let Some(told) = &line.told else {
        output::line("Nothing was measured yet: the first decision comes after about ten seconds.");
        return;
    };
    output::line(&format!("{}: {}", time::ago(&told.at), told.why));
    let rows: Vec<_> = told
        .measured
        .iter()
        .map(|(name, text)| vec![name.clone(), text.clone()])
        .collect();
    output::print(&output::plain_table(&rows));
    for missing in &told.missing {
        output::note(&format!("Not measured: {missing}"));
    }
    for (at, text) in &told.changes {
        output::line(&format!("{} {text}", time::date(at)));
    }
}

/// Let the number of dynos alone again, or take one time of the schedule away
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app autoscale:off web\n  $ app autoscale:off web --at 'Mon-Fri 8:00'"
)]
pub struct Off {
    /// The process type
    #[arg(value_name = "TYPE", default_value = "web")]
    kind: String,
    /// Only this time of the schedule
    #[arg(long, value_name = "DAYS TIME")]
    at: Option<String>,
}

impl Off {
    /// The dynos stay as many as they are.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let progress = Progress::start(format!(
            "Ending autoscale of {} on {}",
            self.kind,
            Paint::stderr().app(&app)
        ));
        let path = ["hokku", "apps", &app, "autoscale", &self.kind];
        let which = json!({ "at": self.at });
        let _: Value = client.send(Method::DELETE, &path, &which)?;
        progress.done();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_core::autoscale::{parse_at, parse_targets};
    use hokku_model::autoscale::{At, Autoscale as Wish};

    #[test]
    fn the_table_says_what_was_asked_for() {
        let (days, minute) = parse_at("Mon-Fri 8:00").unwrap();
        let line = AutoscaleLine {
            r#type: "web".into(),
            quantity: 3,
            bounds: (6, 8),
            plan: Plan {
                wish: Wish {
                    min: 2,
                    max: 8,
                    targets: parse_targets("queue=50ms,cpu=70%").unwrap(),
                },
                depth_from: None,
                schedule: vec![At {
                    days,
                    minute,
                    min: 6,
                    max: None,
                }],
                zone: None,
            },
            told: None,
        };
        assert_eq!(
            output::plain_table(&table(&[line])),
            "Type  Now  Bounds  Targets             Schedule                Jobs counted by\n\
             web   3    6-8     queue=50ms,cpu=70%  Mon-Fri 8:00 6-8 (UTC)  -\n"
        );
    }
}
