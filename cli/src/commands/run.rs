//! One-off dynos: a command in the app's surroundings.

use crate::attach;
use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::follow;
use crate::output::{self, Paint};
use crate::progress::Progress;
use crate::terminal;
use crate::time;
use clap::Args;
use hokku_model::api::{self, serde_value::Scalar};
use reqwest::Method;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// What all ways to run share.
#[derive(Args, Debug)]
pub struct Options {
    /// More environment: NAME=value, several divided by ';'
    #[arg(short, long, value_name = "A=1;B=2")]
    env: Vec<String>,
    /// The dyno's size, such as standard-2x: memory, CPU weight and processes
    #[arg(short, long)]
    size: Option<String>,
    /// Run in this release, with its code and config vars, such as v12 [default: the current one]
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// Stop it after so long, such as 90s, 10m or 2h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    timeout: Option<u64>,
    /// The process type the dyno is named after [default: run]
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Accepted as Heroku's; nothing to leave out here
    #[arg(long, hide = true)]
    no_launcher: bool,
    /// Accepted as Heroku's; nobody is notified here
    #[arg(long, hide = true)]
    no_notify: bool,
}

/// Run a command in a dyno of its own, connected to this terminal
#[derive(Args, Debug)]
#[command(
    override_usage = "app run [OPTIONS] [--] COMMAND [ARGUMENTS]...",
    after_help = "Example:
  $ app run bash
  $ app run -- python manage.py migrate --noinput
  $ app run -- python -c 'print(\"a b\")'           arguments travel as they are
  $ app run 'echo $HOME; ls | wc -l'              one argument is a line for the shell there
  $ app run -- pg_dump -Fc > latest.dump          bytes are left alone when this is no terminal
  $ app run --detach --timeout 2h -- ./import.sh   its log later: app run:logs
  $ app run --release v12 --size standard-2x bash  in an older release, in a larger dyno

The exit status is the command's. -a NAME and -r NAME may also stand at the very end;
after -- everything belongs to the command."
)]
pub struct Run {
    #[command(flatten)]
    options: Options,
    /// Accepted as Heroku's: the exit status always is the command's
    #[arg(short = 'x', long)]
    exit_code: bool,
    /// No terminal for the command, even when this is one
    #[arg(long)]
    no_tty: bool,
    /// Do not wait for it, as run:detached
    #[arg(long)]
    detach: bool,
}

/// Run a command in a dyno of its own, and do not wait for it
#[derive(Args, Debug)]
#[command(
    override_usage = "app run:detached [OPTIONS] [--] COMMAND [ARGUMENTS]...",
    after_help = "Example:\n  $ app run:detached -- rake reports:nightly\n  $ app run:detached --tail ./import.sh"
)]
pub struct Detached {
    #[command(flatten)]
    options: Options,
    /// Show its log
    #[arg(short, long)]
    tail: bool,
    /// Print the dyno as JSON
    #[arg(short, long)]
    json: bool,
}

impl Run {
    /// Runs `tail`; the exit status of the command is what comes back.
    pub fn run(self, cx: &Context, tail: Vec<OsString>) -> Result<i32> {
        if self.detach {
            let detached = Detached {
                options: self.options,
                tail: false,
                json: false,
            };
            return detached.run(cx, tail).map(|()| 0);
        }
        let tty = !self.no_tty && terminal::both();
        let mut request = request(&self.options, tail)?;
        request.attach = true;
        if tty {
            // What was asked for with --env wins.
            for (name, value) in terminal::environment() {
                request.env.entry(name).or_insert(Scalar(value));
            }
        } else {
            request.force_no_tty = Some(true);
        }
        let (app, client) = cx.app()?;
        let paint = Paint::stderr();
        let shown = output::clean(&request.command);
        let progress =
            Progress::start_for_people(format!("Running {shown} on {}", paint.app(&app)));
        let dyno = start(client, &app, &request)?;
        let Some(address) = &dyno.attach_url else {
            return Err(Fail::new(format!(
                "{} did not say where to attach to {}. Is it older than this app?",
                client.server(),
                dyno.name
            )));
        };
        let session = attach::connect(client, address)?;
        progress.end_with(&format!("up, {}", dyno.name));
        attach::converse(client, session, &dyno.name, tty)
    }
}

impl Detached {
    /// Starts `tail` and says how to see what becomes of it.
    pub fn run(self, cx: &Context, tail: Vec<OsString>) -> Result<()> {
        let request = request(&self.options, tail)?;
        let (app, client) = cx.app()?;
        let paint = Paint::stderr();
        let progress = Progress::start(format!(
            "Running {} on {}",
            output::clean(&request.command),
            paint.app(&app)
        ));
        let dyno = start(client, &app, &request)?;
        progress.done_with(&dyno.name);
        if self.json {
            output::json(&dyno)?;
        }
        if self.tail {
            let wanted = api::LogSessionRequest {
                dyno: Some(dyno.name),
                tail: Some(true),
                ..Default::default()
            };
            return follow::follow(client, &app, wanted, Paint::stdout());
        }
        if !self.json {
            output::note(&format!(
                "Run app run:logs {} --app {app} to view the output.",
                dyno.name
            ));
        }
        Ok(())
    }
}

fn start(client: &Client, app: &str, request: &api::RunDyno) -> Result<api::Dyno> {
    client.send(Method::POST, &["apps", app, "dynos"], request)
}

/// One argument is a shell command line; several are a program and its arguments, to be left as they are.
fn request(options: &Options, tail: Vec<OsString>) -> Result<api::RunDyno> {
    let words = words(tail)?;
    let (command, argv) = match words.as_slice() {
        [] => return Err(Fail::usage("Say what to run, such as: app run bash")),
        [line] if line.trim().is_empty() => {
            return Err(Fail::usage("Say what to run, such as: app run bash"));
        }
        [line] => (line.clone(), None),
        _ => (shell_words::join(&words), Some(words)),
    };
    Ok(api::RunDyno {
        command,
        argv,
        env: environment(&options.env)?,
        size: options.size.clone(),
        r#type: options.kind.clone(),
        release: options.release.clone(),
        time_to_live: options.timeout,
        ..api::RunDyno::default()
    })
}

/// A time that is not 0, in seconds.
fn seconds(text: &str) -> std::result::Result<u64, String> {
    let number = time::seconds(text).ok().filter(|n| *n > 0);
    number.ok_or_else(|| "expected a time such as 90s, 10m or 2h".to_owned())
}

/// What can be sent as arguments.
pub fn words(tail: Vec<OsString>) -> Result<Vec<String>> {
    let mut words = Vec::with_capacity(tail.len());
    for word in tail {
        let word = word.into_string().map_err(|w| {
            Fail::usage(format!("The argument {w:?} is not UTF-8 text, which is all that can be sent. Send it on stdin instead."))
        })?;
        if word.contains('\0') {
            return Err(Fail::usage(
                "An argument holds a zero byte, which no program can take.",
            ));
        }
        words.push(word);
    }
    Ok(words)
}

/// Reads `A=1;B=2`, as often as it is given.
fn environment(given: &[String]) -> Result<BTreeMap<String, Scalar>> {
    let mut env = BTreeMap::new();
    for pair in given
        .iter()
        .flat_map(|g| g.split(';'))
        .filter(|p| !p.trim().is_empty())
    {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Fail::usage(format!(
                "{pair:?} is no environment. Expected --env \"A=1;B=2\"."
            )));
        };
        let name: hokku_model::name::ConfigKey = name
            .trim()
            .parse()
            .map_err(|e: hokku_model::name::BadName| Fail::usage(e.to_string()))?;
        env.insert(name.to_string(), Scalar(value.to_owned()));
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<api::RunDyno> {
        let none = Options {
            env: Vec::new(),
            size: None,
            kind: None,
            release: None,
            timeout: None,
            no_launcher: false,
            no_notify: false,
        };
        request(&none, words.iter().map(OsString::from).collect())
    }

    #[test]
    fn arguments_travel_as_they_are() {
        let words = ["python", "-c", "print(\"a b\")", "$HOME", "", "it's; ls"];
        assert_eq!(asked(&words).unwrap().argv.unwrap(), words);
        let line = asked(&["echo $HOME; ls"]).unwrap();
        assert_eq!((line.command.as_str(), line.argv), ("echo $HOME; ls", None));
        assert_eq!(asked(&["web"]).unwrap().command, "web");
        for none in [&[][..], &[""], &["  "]] {
            assert!(asked(none).unwrap_err().text.contains("app run bash"));
        }
        use std::os::unix::ffi::OsStringExt;
        let none = Options {
            env: Vec::new(),
            size: None,
            kind: None,
            release: None,
            timeout: None,
            no_launcher: false,
            no_notify: false,
        };
        assert!(
            request(&none, vec![OsString::from_vec(vec![0xff])])
                .unwrap_err()
                .text
                .contains("UTF-8")
        );
    }

    #[test]
    fn times() {
        for (text, meant) in [
            ("90", 90),
            ("90s", 90),
            ("10m", 600),
            ("2h", 7200),
            ("1d", 86_400),
        ] {
            assert_eq!(seconds(text), Ok(meant), "{text}");
        }
        for bad in [
            "",
            "0",
            "s",
            "1w",
            "-1",
            "1.5h",
            "+3",
            "99999999999999999999d",
        ] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn environments() {
        let env = |t: &[&str]| environment(&t.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let two = env(&["A=1;B=x=y", "C="]).unwrap();
        let all: Vec<(&str, &str)> = two
            .iter()
            .map(|(k, v)| (k.as_str(), v.0.as_str()))
            .collect();
        assert_eq!(all, [("A", "1"), ("B", "x=y"), ("C", "")]);
        assert!(env(&["A"]).is_err() && env(&["A B=1"]).is_err());
    }
}
