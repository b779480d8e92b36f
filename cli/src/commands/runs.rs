//! One-off dynos that run, or ran: list, log, attach again, stop.

use crate::attach;
use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::follow;
use crate::output::{self, Paint};
use crate::progress::Progress;
use crate::terminal;
use crate::time;
use anstyle::AnsiColor;
use clap::Args;
use hokku_model::api::LogSessionRequest;
use hokku_model::name::DynoName;
use hokku_model::run::OneOff;
use reqwest::Method;

fn all(client: &Client, app: &str) -> Result<Vec<OneOff>> {
    client.get(&["hokku", "apps", app, "runs"])
}

/// Reads `run.4711`, or `4711` for short.
fn name(text: &str) -> std::result::Result<String, String> {
    let full = match text.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("run.{text}"),
        false => text.to_owned(),
    };
    let name: DynoName = full
        .parse()
        .map_err(|e| format!("{e}. Expected something like run.4711"))?;
    Ok(name.to_string())
}

/// List the one-off dynos of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app run:list\n  $ app run:list --all --json")]
pub struct List {
    /// Those that ended too, the newest 200 of them
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints the newest first.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let mut runs = all(client, &app)?;
        if !self.all {
            runs.retain(|r| r.ended_at.is_none());
        }
        if self.json {
            return output::json(&runs);
        }
        if runs.is_empty() {
            let ever = if self.all { " that is remembered" } else { "" };
            output::line(&format!("No one-off dyno{ever} on {app}."));
        } else {
            output::print(&listing(&runs, Paint::stdout(), time::ago));
        }
        Ok(())
    }
}

fn listing(runs: &[OneOff], paint: Paint, ago: impl Fn(&str) -> String) -> String {
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|r| {
            let state = match r.status {
                Some(0) => "complete".to_owned(),
                Some(_) => format!("failed ({})", r.end),
                None => r.state.clone(),
            };
            vec![
                r.name.clone(),
                state,
                format!("v{}", r.release),
                r.user.email.clone(),
                ago(r.ended_at.as_ref().unwrap_or(&r.created_at)),
                output::clean(&r.command),
            ]
        })
        .collect();
    output::table(&rows, |column, cell| match column {
        1 if cell == "up" => paint.colour(AnsiColor::Green, cell),
        1 if cell.starts_with("failed") => paint.colour(AnsiColor::Red, cell),
        4 => paint.dim(cell),
        _ => cell.to_owned(),
    })
}

/// Show the log of a one-off dyno, also of one that has ended
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app run:logs run.4711\n  $ app run:logs 4711 --tail")]
pub struct Logs {
    /// The dyno, such as run.4711 [default: the newest detached one]
    #[arg(value_name = "DYNO", value_parser = name)]
    dyno: Option<String>,
    /// How many lines back, 1500 at most
    #[arg(short, long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(0..=1500))]
    num: u32,
    /// Stay, and show what comes
    #[arg(short, long)]
    tail: bool,
}

impl Logs {
    /// Prints the lines; with `--tail` until somebody stops it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let dyno = match self.dyno {
            Some(dyno) => dyno,
            None => {
                let newest = all(client, &app)?.into_iter().find(|r| !r.attachable);
                let newest = newest.ok_or_else(|| {
                    Fail::new(format!(
                        "{app} has no detached one-off dyno. Start one with: app run --detach COMMAND"
                    ))
                })?;
                newest.name
            }
        };
        let request = LogSessionRequest {
            dyno: Some(dyno),
            lines: Some(self.num),
            tail: Some(self.tail),
            ..Default::default()
        };
        follow::follow(client, &app, request, Paint::stdout())
    }
}

/// Attach to a one-off dyno whose connection was lost
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app run:attach run.4711
  $ app run:attach

What it wrote while nobody was attached comes first, the newest 256 KB of it. It waits for an hour, then it is hung up
on. The exit status is the command's.")]
pub struct Attach {
    /// The dyno, such as run.4711 [default: the only one that can be attached to]
    #[arg(value_name = "DYNO", value_parser = name)]
    dyno: Option<String>,
}

impl Attach {
    /// Talks until the command ends; its exit status is what comes back.
    pub fn run(self, cx: &Context) -> Result<i32> {
        let (app, client) = cx.app()?;
        let dyno = match self.dyno {
            Some(dyno) => dyno,
            None => {
                let mut open = all(client, &app)?;
                open.retain(|r| r.attachable && r.ended_at.is_none());
                match &open[..] {
                    [one] => one.name.clone(),
                    [] => {
                        return Err(Fail::new(format!(
                            "No one-off dyno of {app} can be attached to. See: app run:list"
                        )));
                    }
                    several => {
                        let names: Vec<&str> = several.iter().map(|r| r.name.as_str()).collect();
                        return Err(Fail::usage(format!("Say which one: {}", names.join(", "))));
                    }
                }
            }
        };
        let path = ["hokku", "apps", &app, "runs", &dyno, "attachments"];
        let run: OneOff = client.send(Method::POST, &path, &serde_json::json!({}))?;
        let Some(address) = &run.attach_url else {
            return Err(Fail::new(format!(
                "{} did not say where to attach to {dyno}.",
                client.server()
            )));
        };
        let session = attach::connect(client, address)?;
        attach::converse(client, session, &run.name, run.terminal && terminal::both())
    }
}

/// Stop one-off dynos: SIGTERM, and SIGKILL after the grace
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app run:stop run.4711\n  $ app run:stop 4711 4712\n  $ app run:stop release.1234"
)]
pub struct Stop {
    /// The dynos, such as run.4711
    #[arg(value_name = "DYNO", required = true, value_parser = name)]
    dynos: Vec<String>,
}

impl Stop {
    /// Stops one after the other, and does not wait until they are gone.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let paint = Paint::stderr();
        for dyno in &self.dynos {
            let progress = Progress::start(format!("Stopping {dyno} on {}", paint.app(&app)));
            client.order(
                Method::POST,
                &["apps", &app, "dynos", dyno, "actions", "stop"],
            )?;
            progress.done();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name("run.4711").unwrap(), "run.4711");
        assert_eq!(name("4711").unwrap(), "run.4711");
        assert_eq!(name("release.1").unwrap(), "release.1");
        assert!(name("../x").is_err() && name("").is_err());
    }

    #[test]
    fn the_list_tells_how_each_ended() {
        let one = |name: &str, status: Option<i32>, end: &str| OneOff {
            name: name.into(),
            state: "up".into(),
            release: 3,
            status,
            end: end.into(),
            command: "rake x".into(),
            ended_at: status.map(|_| String::new()),
            ..OneOff::default()
        };
        let runs = [
            one("run.1", None, ""),
            one("run.22", Some(0), "exit status 0"),
            one("run.3", Some(137), "signal 9"),
        ];
        assert_eq!(
            listing(&runs, Paint::always(false), |_| "T".into()),
            "run.1   up                 v3    T  rake x\n\
             run.22  complete           v3    T  rake x\n\
             run.3   failed (signal 9)  v3    T  rake x\n"
        );
    }
}
