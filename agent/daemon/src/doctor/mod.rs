//! `hokkud doctor`: what is right and wrong on this host, and what to do about it.
//!
//! What it does: looks, asks the agent over its Unix socket, tries what can be tried, and says it. What it never does:
//! change anything, or need the agent to be up. Each check has one owner, a function of one of the files here.
//! Who calls it: `main`. Where its tests are: beside the code, in `tests/e2e/doctor.rs`, and on a booted host in
//! `packaging/test/nspawn`.

mod apps;
mod ask;
mod disk;
mod domain;
mod kernel;
mod network;
mod service;
mod ssh;

use crate::config::Config;
use serde::Serialize;
use std::{fmt::Write as _, path::Path};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// hokku works; something is missing, or will break.
    Warn,
    /// Something of hokku does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// One word, always the same.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// A sentence.
    pub says: String,
    /// What to do, as exactly as it can be said; absent where nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, says: impl Into<String>) -> Check {
        Check {
            name,
            verdict: Verdict::Ok,
            says: says.into(),
            fix: None,
        }
    }

    fn warn(name: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Check {
        Check {
            name,
            verdict: Verdict::Warn,
            says: says.into(),
            fix: Some(fix.into()),
        }
    }

    fn fail(name: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Check {
        Check {
            verdict: Verdict::Fail,
            ..Check::warn(name, says, fix)
        }
    }
}

/// What the checks look at.
struct Ground {
    config: Config,
    root: bool,
    /// systemd is this host's first process.
    systemd: bool,
    /// What the agent says of itself, if it answers.
    status: Result<hokku_model::api::Status, String>,
}

/// Looks at everything. `file` is the settings file; one that is not valid is told, and the defaults are looked at.
///
/// # Errors
/// The runtime can't be started.
pub fn examine(
    file: &Path,
    program: impl Fn(&str) -> anyhow::Result<std::path::PathBuf>,
) -> anyhow::Result<Vec<Check>> {
    let mut all = vec![];
    let config = match Config::load(file) {
        Ok(config) => {
            all.push(Check::ok(
                "settings",
                format!("{} is valid.", file.display()),
            ));
            config
        }
        Err(e) => {
            let fix = format!(
                "Correct it, then run: hokkud check-config {} && systemctl reload hokkud",
                file.display()
            );
            all.push(Check::fail("settings", sentence(&format!("{e:#}")), fix));
            Config::default()
        }
    };
    let status = ask::get(&config.socket(), "/hokku/status");
    let ground = Ground {
        root: nix::unistd::geteuid().is_root(),
        systemd: Path::new("/run/systemd/system").exists(),
        status,
        config,
    };
    all.push(kernel::root(&ground));
    all.push(kernel::users(&ground));
    all.push(kernel::walls(&ground, program("hokku-shim"))?);
    all.push(kernel::landlock());
    all.push(kernel::cgroups(&ground));
    all.push(kernel::swap());
    all.push(kernel::clock());
    all.push(kernel::files(&ground));
    all.extend(disk::checks(&ground));
    all.push(service::agent(&ground));
    all.push(service::units(&ground));
    all.push(service::versions(&ground));
    all.push(service::git());
    all.push(service::journal(&ground));
    all.push(service::authorities());
    all.push(service::time_zones());
    all.push(network::ports(&ground));
    all.push(network::fence(&ground));
    all.push(network::metadata(&ground));
    all.push(ssh::check(&ground));
    all.extend(apps::checks(&ground));
    Ok(all)
}

/// The checks for people: what is wrong comes with its remedy. Ends with the counts.
pub fn render(all: &[Check]) -> String {
    let mut text = String::new();
    let width = all.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for c in all {
        let word = match c.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let _ = writeln!(
            text,
            "{word:<4}  {:<width$}  {}",
            c.name,
            c.says.replace('\n', " ")
        );
        if let Some(fix) = &c.fix {
            let _ = writeln!(text, "      {:<width$}  -> {fix}", "");
        }
    }
    let count = |v| all.iter().filter(|c| c.verdict == v).count();
    let _ = writeln!(
        text,
        "{} ok, {} to be looked at, {} failed",
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Fail)
    );
    text
}

/// A capital letter at its begin and a full stop at its end.
fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    let text = first.unwrap_or_default() + letters.as_str();
    match text.ends_with(['.', '?', '!']) {
        true => text,
        false => text + ".",
    }
}

/// Has something failed?
pub fn has_failed(all: &[Check]) -> bool {
    all.iter().any(|c| c.verdict == Verdict::Fail)
}

/// What a program prints; `None` when it is not there, fails, or takes longer than ten seconds.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let out = std::process::Command::new("timeout")
        .args(["10", program])
        .args(args)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null())
        .output()
        .ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_the_remedy_below_the_trouble() {
        let all = [
            Check::ok("git", "git 2.39.5."),
            Check::warn("swap", "There is none.", "Add some."),
            Check::fail("ports", "Port 80\nis taken.", "systemctl stop nginx"),
        ];
        assert_eq!(
            render(&all),
            "ok    git    git 2.39.5.\nwarn  swap   There is none.\n             -> Add some.\nFAIL  ports  Port 80 is taken.\n             \
             -> systemctl stop nginx\n1 ok, 1 to be looked at, 1 failed\n"
        );
        assert_eq!(sentence("the x is y"), "The x is y.");
        assert_eq!(sentence("did you mean \"z\"?"), "Did you mean \"z\"?");
        assert!(has_failed(&all) && !has_failed(&all[..2]));
        let json = serde_json::to_value(&all[2]).unwrap();
        assert_eq!(
            (json["verdict"].as_str(), json["fix"].as_str()),
            (Some("fail"), Some("systemctl stop nginx"))
        );
    }
}
