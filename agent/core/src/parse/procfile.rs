//! The Procfile: process types and their commands.
//!
//! Heroku's rule is one regex per line, `^[[:space:]]*([a-zA-Z0-9_-]+):?\s+(.*)[[:space:]]*`: the colon is optional, the
//! blank after it is not, what does not match is ignored, the last of two equal names wins. Ours takes more (`web:cmd`,
//! `web : cmd`, a line continued with `\`), says so in a warning, and never lets a line that Heroku would have ignored
//! win over one that Heroku accepted.

use super::{
    Warning,
    lines::{self, TextError, is_blank},
};
use crate::cron::schedule::Schedule;
use hokku_model::{
    ProcessType,
    cron::{Entry, EntryName, LONGEST_COMMAND},
};
use std::collections::BTreeMap;

/// The most bytes a Procfile may have.
pub const MAX_BYTES: usize = 256 * 1024;

/// What a Procfile declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Procfile {
    /// Process types and their commands, as they are handed to `bash -c`.
    pub types: BTreeMap<ProcessType, String>,
    /// Odd lines, in order.
    pub warnings: Vec<Warning>,
    /// Cron entries, in order: `cron: 0 0 * * * command` (Piku's form; several such lines are several entries). A
    /// command that does not begin as a schedule makes `cron` a process type, as on Heroku.
    pub cron: Vec<Entry>,
    /// Lines of cron entries that can't be used, and why. They are no warnings: a job that silently never runs is worse
    /// than none.
    pub faults: Vec<Warning>,
}

/// Why a Procfile can't be read at all. A strange line is never an error, only a strange file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcfileError(pub TextError);

impl std::fmt::Display for ProcfileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The Procfile {}.", self.0)
    }
}
impl std::error::Error for ProcfileError {}

/// One line, taken apart.
enum Line<'a> {
    /// Nothing to read: blank or a comment.
    Nothing,
    /// `name: command`; `strict` when Heroku reads the same command.
    Declares {
        name: &'a str,
        command: &'a str,
        strict: bool,
    },
    /// `name command`.
    NoColon {
        name: &'a str,
        command: &'a str,
    },
    Other,
}

fn take_apart(line: &str) -> Line<'_> {
    let line = line.trim_matches(is_blank);
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    let name_end = line
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    if name.is_empty() || name.starts_with('-') {
        return Line::Other;
    }
    let after = rest.trim_start_matches(is_blank);
    if let Some(command) = after.strip_prefix(':') {
        let strict = rest.len() == after.len() && command.starts_with(is_blank);
        return Line::Declares {
            name,
            command: command.trim_matches(is_blank),
            strict,
        };
    }
    if rest.len() == after.len() {
        Line::Other
    } else {
        Line::NoColon {
            name,
            command: after,
        }
    }
}

/// A trailing `\` that is not itself escaped.
fn continued(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn shorten(s: &str) -> String {
    match s.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &s[..at]),
        None => s.to_owned(),
    }
}

/// Reads a Procfile.
///
/// # Errors
/// [`ProcfileError`]: it is no UTF-8 text or has more than [`MAX_BYTES`].
pub fn parse(bytes: &[u8]) -> Result<Procfile, ProcfileError> {
    let text = lines::decode(bytes, MAX_BYTES).map_err(ProcfileError)?;
    let mut seen: BTreeMap<ProcessType, (usize, bool, String)> = BTreeMap::new();
    let mut out = Procfile::default();
    let all: Vec<&str> = text.split('\n').collect();
    let mut at = 0;
    while at < all.len() {
        let number = at + 1;
        let mut warn = |text: String| out.warnings.push(Warning { line: number, text });
        let joined = join(&all, &mut at, &mut warn);
        let (name, command, strict) = match take_apart(&joined) {
            Line::Nothing => continue,
            Line::Declares {
                name,
                command,
                strict,
            } => (name, command, strict),
            Line::NoColon {
                name: name @ ("web" | "worker" | "release"),
                command,
            } => {
                warn(format!(
                    "there is no colon after {name:?}; read as \"{name}: {}\"",
                    shorten(command)
                ));
                (name, command, true)
            }
            Line::NoColon { .. } | Line::Other => {
                let odd = shorten(joined.trim_matches(is_blank));
                warn(format!(
                    "{odd:?} declares no process type and is ignored; expected \"name: command\""
                ));
                continue;
            }
        };
        if command.is_empty() {
            warn(format!("{:?} has no command and is ignored", shorten(name)));
            continue;
        }
        if command.contains('\0') {
            warn(format!(
                "the command of {:?} has a NUL character and is ignored",
                shorten(name)
            ));
            continue;
        }
        if name == "cron" && command.starts_with(|c: char| c.is_ascii_digit() || "*@".contains(c)) {
            match entry(command) {
                Ok(entry) => out.cron.push(entry),
                Err(text) => out.faults.push(Warning { line: number, text }),
            }
            continue;
        }
        let Ok(kind) = name.parse::<ProcessType>() else {
            warn(format!(
                "the name {:?} is longer than 63 characters and is ignored",
                shorten(name)
            ));
            continue;
        };
        if name.eq_ignore_ascii_case("web") && name != "web" {
            warn(format!(
                "{name:?} is not \"web\": it gets no requests and no PORT"
            ));
        }
        if let Some((earlier, earlier_strict, _)) = seen.get(&kind) {
            if *earlier_strict && !strict {
                warn(format!(
                    "{name:?} was declared in line {earlier} already; this line is ignored, because it has no blank after \
                     the colon or one before it, and Heroku would not have read it"
                ));
                continue;
            }
            warn(format!(
                "{name:?} was declared in line {earlier} already; this line replaces it"
            ));
        }
        seen.insert(kind, (number, strict, command.to_owned()));
    }
    out.types = seen.into_iter().map(|(k, (_, _, c))| (k, c)).collect();
    Ok(out)
}

/// A schedule of five fields, or one word that begins with `@`, and the command after it.
fn entry(text: &str) -> Result<Entry, String> {
    let fields = if text.starts_with('@') { 1 } else { 5 };
    let mut rest = text;
    for _ in 0..fields {
        rest = rest.trim_start_matches(is_blank);
        rest = rest.find(is_blank).map_or("", |at| &rest[at..]);
    }
    let schedule = text[..text.len() - rest.len()].trim();
    let command = rest.trim();
    Schedule::parse(schedule, "UTC")?;
    match command.len() {
        0 => Err(format!(
            "the cron entry {:?} has no command after its schedule",
            shorten(text)
        )),
        1..=LONGEST_COMMAND => Ok(Entry::new(
            EntryName::of_command(command, 1),
            schedule,
            command,
        )),
        _ => Err(format!(
            "the command of a cron entry is longer than {LONGEST_COMMAND} bytes"
        )),
    }
}

/// Takes the line at `at` and those it is continued with, and moves `at` behind them.
fn join(all: &[&str], at: &mut usize, warn: &mut impl FnMut(String)) -> String {
    let mut line = all[*at].to_owned();
    *at += 1;
    let declares = matches!(
        take_apart(&line),
        Line::Declares { .. }
            | Line::NoColon {
                name: "web" | "worker" | "release",
                ..
            }
    );
    let mut last = 0;
    while declares && continued(&line) {
        line.pop();
        match all.get(*at) {
            // a line of its own for Heroku: it must not vanish into the one before
            Some(next) if matches!(take_apart(next), Line::Declares { strict: true, .. }) => {
                warn(
                    "the \"\\\" at the end is dropped: the next line declares a process type"
                        .into(),
                );
                return line;
            }
            Some(next) => {
                line.push_str(next);
                *at += 1;
                last = *at;
            }
            None => {
                warn("the \"\\\" at the end of the file is dropped".into());
                return line;
            }
        }
    }
    if last > 0 {
        warn(format!(
            "the command goes on to line {last} because of \"\\\"; Heroku does not join lines"
        ));
    }
    line
}

#[cfg(test)]
#[path = "procfile_tests.rs"]
mod tests;
