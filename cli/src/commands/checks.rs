//! Health checks: what is checked, how it went, and checks made now.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::{output, time};
use clap::Args;
use hokku_model::checks::{CheckResult, CheckView, TypeChecks};
use reqwest::Method;

/// Show what is checked of each process type, how it went last, and why a dyno is unhealthy
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app checks
  $ app checks worker --json

Checks are written in the app's app.json, below \"healthchecks\", as Dokku's.")]
pub struct List {
    /// Only this process type
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

/// Make the checks of a process type's dynos now, and show how they went
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app checks:run
  $ app checks:run worker --json

Nothing follows from a check made by hand. The exit status is 1 when one fails.")]
pub struct Run {
    /// The process type
    #[arg(value_name = "TYPE", default_value = "web")]
    kind: String,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints the types.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let mut all: Vec<TypeChecks> = client.get(&["hokku", "apps", &app, "checks"])?;
        if let Some(kind) = &self.kind {
            all.retain(|t| t.r#type == *kind);
            if all.is_empty() {
                return Err(Fail::usage(format!("{app} has no process type {kind:?}.")));
            }
        }
        if self.json {
            return output::json(&all);
        }
        if all.is_empty() {
            output::note(&format!("{app} has no release with process types yet."));
        }
        for t in &all {
            output::print(&text(t, time::ago));
        }
        Ok(())
    }
}

impl Run {
    /// Makes them; the exit status says whether all passed.
    pub fn run(self, cx: &Context) -> Result<i32> {
        let (app, client) = cx.app()?;
        let path = ["hokku", "apps", &app, "checks", &self.kind, "run"];
        let made: TypeChecks = client.send(Method::POST, &path, &serde_json::json!({}))?;
        let all = made.dynos.iter().flat_map(|d| &d.results);
        let failed = all.clone().filter(|r| r.state != "passes").count();
        if self.json {
            output::json(&made)?;
        } else if made.dynos.is_empty() {
            output::note(&format!("No dyno of {} runs in {app}.", self.kind));
        } else if all.count() == 0 {
            output::note(&format!("Nothing is checked of {}.", self.kind));
        } else {
            for d in &made.dynos {
                output::print(&dyno(&d.name, d.release, &d.state, &d.results, |_| {
                    String::new()
                }));
            }
        }
        Ok(i32::from(failed > 0))
    }
}

fn text(t: &TypeChecks, when: impl Fn(&str) -> String) -> String {
    let mut text = format!("=== {}\n", t.r#type);
    if t.checks.is_empty() {
        text.push_str("  nothing is checked: a dyno is up when its process runs\n");
    }
    for c in &t.checks {
        text.push_str(&check(c));
    }
    for d in &t.dynos {
        text.push_str(&dyno(&d.name, d.release, &d.state, &d.results, &when));
        let unhealthy = d.state != "up" || d.results.iter().any(|r| r.state == "failed");
        if unhealthy && !d.why.is_empty() {
            text.push_str(&format!("    Why: {}\n", output::clean(&d.why)));
        }
    }
    text.push('\n');
    text
}

fn check(c: &CheckView) -> String {
    let title = format!("{} {:?}", c.purpose, c.name);
    let mut text = format!("  {}: {}", output::clean(&title), output::clean(&c.what));
    text.push_str(&format!(
        "\n      {} s for a try, every {} s, fails after {}",
        c.timeout, c.wait, c.attempts
    ));
    if c.initial_delay > 0.0 {
        text.push_str(&format!(", first after {} s", c.initial_delay));
    }
    if c.warn {
        text.push_str(", only warns");
    }
    if let Some(then) = &c.on_failure {
        text.push_str(&format!("\n      on failure: {}", output::clean(then)));
    }
    text.push('\n');
    text
}

fn dyno(
    name: &str,
    release: u32,
    state: &str,
    results: &[CheckResult],
    when: impl Fn(&str) -> String,
) -> String {
    let mut text = format!("  {name} (v{release}): {state}\n");
    for r in results {
        let took = r.took_ms.map_or(String::new(), |ms| format!(" in {ms} ms"));
        let at = r.at.as_deref().map(&when).unwrap_or_default();
        let at = if at.is_empty() { at } else { format!(" {at}") };
        let times = match r.failures {
            0 | 1 => String::new(),
            n => format!(" {n} times in a row"),
        };
        let word = match r.state.as_str() {
            "unknown" => "not made yet",
            word => word,
        };
        let title = format!("{} {:?}", r.purpose, r.check);
        text.push_str(&format!(
            "    {}: {word}{times}{took}{at}\n",
            output::clean(&title)
        ));
        if !r.text.is_empty() {
            text.push_str(&format!("      {}\n", output::clean(&r.text)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::checks::DynoChecks;

    #[test]
    fn what_is_checked_and_how_it_went() {
        let t = TypeChecks {
            r#type: "web".into(),
            checks: vec![CheckView {
                name: "up".into(),
                purpose: "liveness".into(),
                what: "`./alive` ends with status 0".into(),
                attempts: 3,
                timeout: 5.0,
                wait: 2.5,
                warn: true,
                on_failure: Some("POST http://x".into()),
                ..CheckView::default()
            }],
            dynos: vec![DynoChecks {
                name: "web.1".into(),
                release: 3,
                state: "up".into(),
                why: "it ails".into(),
                results: vec![CheckResult {
                    check: "up".into(),
                    purpose: "liveness".into(),
                    state: "failed".into(),
                    at: Some("x".into()),
                    took_ms: Some(12),
                    failures: 3,
                    text: "`./alive` ended with exit status 1.".into(),
                }],
            }],
        };
        assert_eq!(
            text(&t, |_| "T".into()),
            "=== web\n  liveness \"up\": `./alive` ends with status 0\n      5 s for a try, every 2.5 s, fails after 3, only warns\n      \
             on failure: POST http://x\n  web.1 (v3): up\n    liveness \"up\": failed 3 times in a row in 12 ms T\n      \
             `./alive` ended with exit status 1.\n    Why: it ails\n\n"
        );
    }
}
