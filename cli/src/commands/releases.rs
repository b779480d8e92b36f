//! Releases: list, describe, their output, and the way back.

use super::config;
use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use crate::time;
use anstyle::AnsiColor;
use clap::Args;
use hokku_model::api;
use reqwest::Method;
use std::time::{Duration, Instant};

/// How long `rollback` watches the way back.
const WATCH: Duration = Duration::from_secs(600);

/// The newest release of an app; `None` before the first.
///
/// # Errors
/// As [`Client::send`].
pub fn newest(client: &Client, app: &str) -> Result<Option<api::Release>> {
    let list: Vec<api::Release> =
        client.range(&["apps", app, "releases"], "version ..; order=desc,max=1")?;
    Ok(list.into_iter().max_by_key(|r| r.version))
}

fn recent(client: &Client, app: &str, most: u32) -> Result<Vec<api::Release>> {
    let range = format!("version ..; max={most}, order=desc");
    let mut list: Vec<api::Release> = client.range(&["apps", app, "releases"], &range)?;
    list.sort_by_key(|r| std::cmp::Reverse(r.version));
    list.truncate(most as usize);
    Ok(list)
}

/// Reads `v12` or `12`.
fn number(text: &str) -> Result<u32> {
    let digits = text.strip_prefix(['v', 'V']).unwrap_or(text);
    digits
        .parse()
        .ok()
        .filter(|n| *n > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(|| {
            Fail::usage(format!(
                "{text:?} is no release. Expected something like v12; see: app releases"
            ))
        })
}

fn one(client: &Client, app: &str, named: Option<&str>) -> Result<api::Release> {
    match named {
        Some(text) => client.get(&["apps", app, "releases", &number(text)?.to_string()]),
        None => {
            newest(client, app)?.ok_or_else(|| Fail::new(format!("{app} has no releases yet.")))
        }
    }
}

/// List the releases of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app releases\n  $ app releases -n 50 --json")]
pub struct List {
    /// How many
    #[arg(short, long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    num: u32,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints the newest first.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let list = recent(client, &app, self.num)?;
        if self.json {
            return output::json(&list);
        }
        if list.is_empty() {
            output::line(&format!("{app} has no releases."));
            return Ok(());
        }
        let current = list
            .iter()
            .find(|r| r.current)
            .map(|r| format!(" - Current: v{}", r.version))
            .unwrap_or_default();
        let paint = Paint::stdout();
        let text = listing(&list, paint, time::ago);
        output::print(&format!(
            "{}{text}",
            output::header(&format!("{app} Releases{current}"))
        ));
        Ok(())
    }
}

/// Nothing was wrong with it: a newer one came before it could serve.
fn superseded(r: &api::Release) -> bool {
    r.failure.starts_with("superseded by ")
}

/// Was it its release phase that failed, and not its dynos?
fn command_failed(r: &api::Release) -> bool {
    let of = format!(" command of v{} ", r.version);
    r.release_command && r.failure.starts_with("The ") && r.failure.contains(&of)
}

fn listing(list: &[api::Release], paint: Paint, ago: impl Fn(&str) -> String) -> String {
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|r| {
            let what = match r.status.as_str() {
                "succeeded" | "" => r.description.clone(),
                _ if superseded(r) => format!("{} ({})", r.description, r.failure),
                "pending" if r.release_command => {
                    format!("{} (release command executing)", r.description)
                }
                "failed" if command_failed(r) => {
                    format!("{} (release command failed)", r.description)
                }
                status => format!("{} ({status})", r.description),
            };
            vec![
                format!("v{}", r.version),
                what,
                r.user.email.clone(),
                ago(&r.created_at),
            ]
        })
        .collect();
    output::table(&rows, |column, cell| match column {
        0 => {
            let release = list
                .iter()
                .find(|r| cell.strip_prefix('v') == Some(r.version.to_string().as_str()));
            match release.map(|r| r.status.as_str()) {
                Some("failed") if release.is_some_and(superseded) => paint.dim(cell),
                Some("failed") => paint.colour(AnsiColor::Red, cell),
                Some("pending") => paint.colour(AnsiColor::Yellow, cell),
                _ if release.is_some_and(|r| r.current) => paint.colour(AnsiColor::Green, cell),
                _ => cell.to_owned(),
            }
        }
        3 => paint.dim(cell),
        _ => cell.to_owned(),
    })
}

/// Show one release and its config vars
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app releases:info\n  $ app releases:info v10 --shell")]
pub struct Info {
    /// The release [default: the newest]
    release: Option<String>,
    /// Print its config vars as NAME=value lines quoted for a shell
    #[arg(short, long)]
    shell: bool,
    /// Print JSON
    #[arg(short, long, conflicts_with = "shell")]
    json: bool,
}

impl Info {
    /// Prints the release.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let release = one(client, &app, self.release.as_deref())?;
        if self.json {
            return output::json(&release);
        }
        let version = release.version.to_string();
        let vars: Option<api::ConfigVars> =
            match client.get(&["apps", &app, "releases", &version, "config-vars"]) {
                Ok(vars) => Some(vars),
                Err(e) if e.http == 404 && !self.shell => None,
                Err(e) => return Err(e),
            };
        if self.shell {
            output::print(&config::shell(&vars.unwrap_or_default()));
            return Ok(());
        }
        let mut pairs: Vec<(&str, String)> = vec![
            ("By", release.user.email.clone()),
            ("Change", release.description.clone()),
        ];
        if !release.commit.is_empty() {
            pairs.push(("Commit", release.commit.clone()));
        }
        pairs.push(("Current", release.current.to_string()));
        if !release.failure.is_empty() {
            pairs.push(("Failure", output::clean(&release.failure)));
        }
        pairs.push(("Status", release.status.clone()));
        pairs.push(("When", time::ago(&release.created_at)));
        let mut text = format!(
            "{}{}",
            output::header(&format!("Release v{version}")),
            output::object(&pairs)
        );
        if let Some(vars) = vars.filter(|v| !v.is_empty()) {
            let vars: Vec<(&String, &String)> = vars.iter().collect();
            text.push_str(&format!(
                "\n{}{}",
                output::header(&format!("v{version} Config vars")),
                output::object(&vars)
            ));
        }
        output::print(&text);
        Ok(())
    }
}

/// Show the output of a release command, or why a release failed
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app releases:output\n  $ app releases:output v12")]
pub struct Output {
    /// The release [default: the newest]
    release: Option<String>,
}

impl Output {
    /// Copies the output to stdout while it comes.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let release = one(client, &app, self.release.as_deref())?;
        match &release.output_stream_url {
            Some(address) => client.copy_text(address),
            None if !release.failure.is_empty() => {
                output::line(&release.failure);
                Ok(())
            }
            None => {
                output::warning(&format!(
                    "Release v{} has no release output available.",
                    release.version
                ));
                Ok(())
            }
        }
    }
}

/// Go back to an earlier release, with its code and config vars
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app rollback\n  $ app releases:rollback v10")]
pub struct Rollback {
    /// The release to go back to [default: the one before the newest good one]
    release: Option<String>,
    /// Do not wait until the app runs it
    #[arg(long)]
    no_wait: bool,
    /// Serve without running its release phase
    #[arg(long)]
    skip_release_phase: bool,
    /// Print the new release as JSON
    #[arg(short, long)]
    json: bool,
}

impl Rollback {
    /// Makes the release and waits until it serves or has failed.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let target = match self.release.as_deref() {
            Some(text) => one(client, &app, Some(text))?,
            None => {
                let good = recent(client, &app, 10)?
                    .into_iter()
                    .filter(|r| r.eligible_for_rollback)
                    .nth(1);
                good.ok_or_else(|| {
                    Fail::new(format!(
                        "{app} has no earlier release to go back to. See: app releases"
                    ))
                })?
            }
        };
        let paint = Paint::stderr();
        let progress = Progress::start(format!(
            "Rolling back {} to v{}",
            paint.app(&app),
            target.version
        ));
        let wanted = api::Rollback {
            release: Some(target.id.clone()),
            slug: None,
            skip_release_phase: self.skip_release_phase,
        };
        let release: api::Release =
            client.send(Method::POST, &["apps", &app, "releases"], &wanted)?;
        progress.done_with(&format!("v{}", release.version));
        output::warning("Rollback affects code and config vars; it does not touch data.");
        if release.version > 1 {
            output::warning(&format!(
                "To undo, run: app rollback v{}",
                release.version - 1
            ));
        }
        let release = if self.no_wait {
            release
        } else {
            watch(client, &app, release)?
        };
        if self.json {
            output::json(&release)
        } else {
            Ok(())
        }
    }
}

/// Run the last release that failed again, with its code and config vars
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app releases:retry\n  $ app releases:retry v12 --skip-release-phase"
)]
pub struct Retry {
    /// The release that failed [default: the newest]
    release: Option<String>,
    /// Do not wait until the app runs it
    #[arg(long)]
    no_wait: bool,
    /// Serve without running its release phase
    #[arg(long)]
    skip_release_phase: bool,
    /// Print the new release as JSON
    #[arg(short, long)]
    json: bool,
}

impl Retry {
    /// Makes the release and waits until it serves or has failed.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let failed = one(client, &app, self.release.as_deref())?;
        let paint = Paint::stderr();
        let progress = Progress::start(format!(
            "Retrying v{} on {}",
            failed.version,
            paint.app(&app)
        ));
        let wanted = api::Retry {
            release: Some(failed.id),
            skip_release_phase: self.skip_release_phase,
        };
        let path = ["hokku", "apps", &app, "releases", "retry"];
        let release: api::Release = client.send(Method::POST, &path, &wanted)?;
        progress.done_with(&format!("v{}", release.version));
        let release = match self.no_wait {
            true => release,
            false => watch(client, &app, release)?,
        };
        match self.json {
            true => output::json(&release),
            false => Ok(()),
        }
    }
}

/// Shows the output of a release phase that runs; where there is none, nothing.
///
/// # Errors
/// As [`Client::copy_text`].
pub fn follow_phase(client: &Client, release: &api::Release) -> Result<()> {
    if let Some(address) = release
        .output_stream_url
        .as_ref()
        .filter(|_| release.release_command)
    {
        output::note("Running release command...");
        client.copy_text(address)?;
    }
    Ok(())
}

/// Shows the release command's output and waits until the release serves.
fn watch(client: &Client, app: &str, release: api::Release) -> Result<api::Release> {
    if release.status != "pending" {
        let version = release.version.to_string();
        return finished(release, || last_lines(client, app, &version));
    }
    follow_phase(client, &release)?;
    let progress = Progress::start(format!("Waiting until v{} serves", release.version));
    let release = settled(client, app, release)?;
    if release.status == "pending" {
        progress.end_with("still under way; see: app releases");
    } else {
        progress.done();
    }
    Ok(release)
}

/// Waits until the release serves, for ten minutes at most; then it is still `pending`.
///
/// # Errors
/// It failed, with the reason.
pub fn settled(client: &Client, app: &str, mut release: api::Release) -> Result<api::Release> {
    let version = release.version.to_string();
    let until = Instant::now() + WATCH;
    let mut pause = Duration::from_millis(10);
    while release.status == "pending" && Instant::now() < until {
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
        release = client.get(&["apps", app, "releases", &version])?;
    }
    let lines = || last_lines(client, app, &version);
    finished(release, lines)
}

/// What the dynos of a release that failed said; nothing where the server does not know.
fn last_lines(client: &Client, app: &str, version: &str) -> Vec<String> {
    let path = ["hokku", "apps", app, "releases", version, "last-lines"];
    client.get(&path).unwrap_or_default()
}

fn finished(release: api::Release, lines: impl FnOnce() -> Vec<String>) -> Result<api::Release> {
    if release.status != "failed" {
        return Ok(release);
    }
    let why = if release.failure.is_empty() {
        "see: app releases:output".to_owned()
    } else {
        release.failure
    };
    let lines = lines();
    let log = match lines.is_empty() {
        true => String::new(),
        false => format!("The last lines of its log:\n{}\n", lines.join("\n")),
    };
    Err(Fail::refused(
        0,
        format!(
            "Release v{} failed: {why}\n{log}The release before it still serves.",
            release.version
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number("v12").unwrap(), 12);
        assert_eq!(number("7").unwrap(), 7);
        for bad in [
            "",
            "v",
            "v0",
            "12a",
            "-1",
            "+1",
            "vv1",
            "current",
            "99999999999",
        ] {
            assert_eq!(number(bad).unwrap_err().status, 2, "{bad}");
        }
    }

    fn release(version: u32, description: &str, status: &str) -> api::Release {
        let user = api::UserRef {
            id: String::new(),
            email: "root".into(),
        };
        api::Release {
            version,
            description: description.into(),
            status: status.into(),
            user,
            ..api::Release::default()
        }
    }

    #[test]
    fn the_listing() {
        let mut overtaken = release(11, "Set A config vars", "failed");
        overtaken.failure = "superseded by v12".into();
        let list = [
            overtaken,
            release(10, "Deploy 582fc95f", "failed"),
            release(9, "Set FOO config vars", "succeeded"),
        ];
        assert_eq!(
            listing(&list, Paint::always(false), |_| "T".into()),
            "v11  Set A config vars (superseded by v12)  root  T\n\
             v10  Deploy 582fc95f (failed)               root  T\n\
             v9   Set FOO config vars                    root  T\n"
        );
    }

    #[test]
    fn a_failed_release_is_a_failure() {
        let mut r = release(4, "Rollback to v2", "failed");
        r.failure = "web.1 did not answer".into();
        let said = finished(r, Vec::new).unwrap_err();
        assert!(
            said.status == 2 && said.text.contains("v4 failed: web.1 did not answer"),
            "{}",
            said.text
        );
    }
}
