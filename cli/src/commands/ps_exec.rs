//! A command inside a dyno that runs already.

use crate::attach::{self, Session};
use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use crate::terminal;
use clap::Args;
use hokku_model::exec::ExecRequest;
use hokku_model::name::DynoName;
use std::ffi::OsString;

/// The dyno that is meant when none is named, as Heroku's.
pub const FIRST: &str = "web.1";

/// The shell that is started when no command is given.
const SHELL: &str = "bash";

/// Run a command, or a shell, in a dyno that is running
#[derive(Args, Debug)]
#[command(
    override_usage = "app ps:exec [OPTIONS] [DYNO] [--] [COMMAND [ARGUMENTS]...]",
    after_help = "Example:
  $ app ps:exec                                   a shell in web.1
  $ app ps:exec worker.2 -- ps aux
  $ app ps:exec web.1 -- kill -USR1 42
  $ app ps:exec -d web.1 'du -sh /tmp | sort'     one argument is a line for the shell there
  $ app ps:exec web.1 -- cat log/gc.log > gc.log  bytes are left alone when this is no terminal

The command sees what the dyno's own processes see: its files, processes, user, limits and config vars.
The exit status is the command's. It ends when the dyno ends, and gets SIGHUP when this program goes away."
)]
pub struct Exec {
    /// The dyno, when it is not named first [default: web.1]
    #[arg(short, long, value_name = "DYNO")]
    dyno: Option<String>,
    /// The dyno [default: web.1]
    #[arg(value_name = "DYNO", hide = true)]
    named: Option<String>,
    /// No terminal for the command, even when this is one
    #[arg(long)]
    no_tty: bool,
    /// Accepted as Heroku's; no SSH is used here
    #[arg(long, hide = true)]
    ssh: bool,
}

impl Exec {
    /// Runs `tail`; the exit status of the command is what comes back.
    pub fn run(self, cx: &Context, tail: Vec<OsString>) -> Result<i32> {
        let dyno = dyno(self.dyno.or(self.named))?;
        let tty = !self.no_tty && terminal::both();
        let order = request(tail, tty)?;
        let (app, client) = cx.app()?;
        let session = start(client, &app, &dyno, order)?;
        attach::converse(client, session, &dyno, tty)
    }
}

/// The dyno's name, or the first.
pub fn dyno(named: Option<String>) -> Result<String> {
    let dyno = named.unwrap_or_else(|| FIRST.into());
    match dyno.parse::<DynoName>() {
        Ok(_) => Ok(dyno),
        Err(_) => Err(Fail::usage(format!(
            "{dyno:?} is no name of a dyno, such as web.1."
        ))),
    }
}

/// Opens the connection and has the command run.
pub fn start(client: &Client, app: &str, dyno: &str, order: ExecRequest) -> Result<Session> {
    let paint = Paint::stderr();
    let label = format!(
        "Connecting to {} on {}",
        output::clean(dyno),
        paint.app(app)
    );
    let progress = Progress::start_for_people(label);
    let address = format!("/hokku/apps/{app}/dynos/{dyno}/exec");
    let mut session = attach::connect(client, &address)?;
    attach::order(client, &mut session, dyno, order)?;
    progress.end_with("up");
    Ok(session)
}

fn request(tail: Vec<OsString>, tty: bool) -> Result<ExecRequest> {
    let words = super::run::words(tail)?;
    let (command, argv) = match words.as_slice() {
        [] => (SHELL.into(), None),
        [line] if line.trim().is_empty() => {
            return Err(Fail::usage(
                "Say what to run, such as: app ps:exec web.1 -- ls",
            ));
        }
        [line] => (line.clone(), None),
        _ => (String::new(), Some(words)),
    };
    let mut env: std::collections::BTreeMap<_, _> = match tty {
        true => terminal::environment().into_iter().collect(),
        false => Default::default(),
    };
    // the terminal there knows its size from here on; these two would hide a change
    for name in ["LINES", "COLUMNS"] {
        env.remove(name);
    }
    Ok(ExecRequest {
        command,
        argv,
        env,
        tty: tty.then(|| terminal::size().unwrap_or((24, 80))),
        bare: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_run() {
        let of = |words: &[&str]| request(words.iter().map(OsString::from).collect(), false);
        assert_eq!(of(&[]).unwrap().command, "bash");
        let line = of(&["ls | wc"]).unwrap();
        assert_eq!(
            (line.command.as_str(), line.argv, line.tty),
            ("ls | wc", None, None)
        );
        assert_eq!(of(&["ls", "a b"]).unwrap().argv.unwrap(), ["ls", "a b"]);
        assert!(of(&[" "]).unwrap_err().text.contains("app ps:exec"));
        assert_eq!(dyno(None).unwrap(), "web.1");
        assert_eq!(dyno(Some("run.4711".into())).unwrap(), "run.4711");
        assert!(dyno(Some("web".into())).unwrap_err().text.contains("web.1"));
    }
}
