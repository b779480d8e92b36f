//! Who is told when a cron entry fails, runs too long, or does not run.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use clap::Args;
use hokku_model::cron::{Alerts, AlertsPatch, Email, ShownAlerts};
use reqwest::Method;
use std::io::BufRead;

/// Show who is told of trouble with cron entries
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app cron:alerts\n  $ app cron:alerts --json")]
pub struct Show {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Show {
    /// Prints it, without secrets.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let now: ShownAlerts = client.get(&["hokku", "apps", &app, "cron-alerts"])?;
        show(&now, self.json)
    }
}

/// Say who is told when a run fails, runs too long, or does not run when it should have
#[derive(Args, Debug)]
#[command(
    after_help = "Addresses with passwords or tokens are kept sealed and never shown again. One that is - is read from standard
input, so that it is on no command line. Each alert goes to all receivers; the command is run in a dyno
of the app, with CRON_EVENT, CRON_ENTRY, CRON_RUN, CRON_STATUS, CRON_EXIT_CODE, CRON_TEXT and more in its environment.

Example:
  $ app cron:alerts:set --webhook https://hooks.example.com/T0/B0
  $ app cron:alerts:set --email ops@example.com --from hokku@example.com --smtp - < smtp-url
  $ app cron:alerts:set --command './bin/page \"$CRON_TEXT\"'"
)]
pub struct Set {
    /// Gets a POST with JSON
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Gets mail
    #[arg(long, value_name = "ADDRESS", requires = "from", requires = "smtp")]
    email: Option<String>,
    /// The mail's sender
    #[arg(long, value_name = "ADDRESS", requires = "email")]
    from: Option<String>,
    /// The mail server: smtps://user:password@host, smtp://host:587?tls=required, or smtp://host:25
    #[arg(long, value_name = "URL", requires = "email")]
    smtp: Option<String>,
    /// A line for the shell
    #[arg(long, value_name = "LINE")]
    command: Option<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

fn secret(value: String) -> Result<String> {
    if value != "-" {
        return Ok(value);
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| Fail::new(format!("Standard input can't be read: {e}.")))?;
    match line.trim() {
        "" => Err(Fail::usage("There is no address on standard input.")),
        line => Ok(line.to_owned()),
    }
}

impl Set {
    /// Sets all or none.
    pub fn run(self, cx: &Context) -> Result<()> {
        let webhook = self.webhook.map(secret).transpose()?;
        let smtp = self.smtp.map(secret).transpose()?;
        let email = match (self.email, self.from, smtp) {
            (Some(to), Some(from), Some(smtp)) => Some(Email { to, from, smtp }),
            _ => None,
        };
        let set = Alerts {
            webhook,
            email,
            command: self.command,
        };
        if set.is_empty() {
            return Err(Fail::usage(
                "Say who is to be told, such as: app cron:alerts:set --webhook https://hooks.example.com/…",
            ));
        }
        change(cx, set, vec![], self.json)
    }
}

/// Tell somebody no more of trouble with cron entries
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app cron:alerts:unset webhook\n  $ app cron:alerts:unset")]
pub struct Unset {
    /// Which; all when none is named
    #[arg(value_parser = ["webhook", "email", "command"])]
    which: Vec<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Unset {
    /// Forgets them.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        if self.which.is_empty() {
            self.which.push("all".into());
        }
        change(cx, Alerts::default(), self.which, self.json)
    }
}

/// Send an alert that tells of no trouble, to see whether it arrives
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app cron:alerts:test && app logs --tail")]
pub struct Test {}

impl Test {
    /// Sends it; whether it arrives is said in the app's log.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let progress = Progress::start("Sending a test");
        client.order(Method::POST, &["hokku", "apps", &app, "cron-alerts"])?;
        progress.done();
        output::note("If it does not arrive, the app's log says why: app logs -d cron.test");
        Ok(())
    }
}

fn change(cx: &Context, set: Alerts, unset: Vec<String>, json: bool) -> Result<()> {
    let (app, client) = cx.app()?;
    let name = Paint::stderr().app(&app);
    let progress = Progress::start(format!("Setting cron alerts of {name}"));
    let patch = AlertsPatch { set, unset };
    let path = ["hokku", "apps", &app, "cron-alerts"];
    let now: ShownAlerts = client.send(Method::PATCH, &path, &patch)?;
    progress.done();
    show(&now, json)
}

fn show(now: &ShownAlerts, json: bool) -> Result<()> {
    if json {
        return output::json(now);
    }
    let pairs: Vec<(&str, String)> = [
        ("webhook", now.webhook.clone()),
        ("email", now.email.clone()),
        ("mail server", now.smtp.clone()),
        ("command", now.command.clone()),
    ]
    .into_iter()
    .filter_map(|(k, v)| Some((k, output::clean(&v?))))
    .collect();
    if pairs.is_empty() {
        output::line("Nobody is told when a cron entry fails, runs too long or does not run.");
        return Ok(());
    }
    output::print(&output::object(&pairs));
    Ok(())
}
