//! The few things asked of the `git` program.

use crate::fail::{Fail, Result};
use std::io;
use std::process::{Command, Stdio};

fn output(args: &[&str]) -> io::Result<std::process::Output> {
    Command::new("git")
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
}

/// Standard output of `git args…`; `None` when git is missing or says no.
pub fn ask(args: &[&str]) -> Option<String> {
    let out = output(args).ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs `git args…` and takes a failure seriously.
///
/// # Errors
/// git is missing, or said no; its own words are in the text.
pub fn run(args: &[&str]) -> Result<()> {
    let out = output(args).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Fail::new("git is not installed, or not on the PATH. Install it and try again.")
        }
        _ => Fail::new(format!("git can't be started: {e}.")),
    })?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(Fail::new(format!(
        "git {} failed: {}",
        args.first().unwrap_or(&""),
        said.trim()
    )))
}

/// Is the current folder inside a git repository?
pub fn in_repository() -> bool {
    ask(&["rev-parse", "--git-dir"]).is_some()
}
