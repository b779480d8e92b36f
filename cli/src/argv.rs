//! From what was typed to what the definition knows: `topic command` as `topic:command`, `help`, and the words of `run`
//! that belong to somebody else's command line.

use crate::fail::{Fail, Result};
use clap::Command;
use hokku_core::nearest;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// The commands whose operands are a command line of their own.
const RUNNERS: [&str; 3] = ["run", "run:detached", IN_A_DYNO];

/// The one whose first operand may be a dyno.
const IN_A_DYNO: &str = "ps:exec";

/// What was typed, put in order.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// A command for the definition to parse, and the words of the command to run, if it is a `run`.
    Command(Vec<OsString>, Vec<OsString>),
    /// The overview is wanted.
    Overview,
    /// A topic without a command of its own, such as `git`.
    Topic(String),
}

/// Every name a command answers to.
pub fn names(definition: &Command) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for command in definition.get_subcommands() {
        all.insert(command.get_name().to_owned());
        all.extend(command.get_all_aliases().map(str::to_owned));
    }
    all
}

/// How many words the flag in `words[0]` takes, itself included; 0 when it is no flag.
fn flag_length(command: &Command, words: &[OsString]) -> usize {
    let Some(text) = words[0].to_str() else {
        return 0;
    };
    let takes = |arg: &clap::Arg| arg.get_action().takes_values();
    if let Some(long) = text.strip_prefix("--").filter(|l| !l.is_empty()) {
        if long.contains('=') {
            return 1;
        }
        let is = |a: &&clap::Arg| {
            a.get_long_and_visible_aliases()
                .is_some_and(|l| l.contains(&long))
        };
        return 1 + usize::from(command.get_arguments().find(is).is_some_and(takes));
    }
    let Some(cluster) = text
        .strip_prefix('-')
        .filter(|c| !c.is_empty() && !c.starts_with('-'))
    else {
        return 0;
    };
    for (i, letter) in cluster.char_indices() {
        if command
            .get_arguments()
            .find(|a| a.get_short() == Some(letter))
            .is_some_and(takes)
        {
            return 1 + usize::from(i + letter.len_utf8() == cluster.len());
        }
    }
    1
}

/// `-a NAME` or `-r NAME` as the last words of a `run`, where people who come from Heroku write them.
fn trailing_flags(tail: &mut Vec<OsString>) -> Vec<OsString> {
    let is_name = |s: &OsStr| {
        s.to_str()
            .is_some_and(|s| s.parse::<hokku_model::name::AppName>().is_ok())
    };
    let mut found = Vec::new();
    while tail.len() >= 2 {
        let last = &tail[tail.len() - 1];
        let joined = last.to_str().and_then(|l| {
            l.strip_prefix("--app=")
                .or_else(|| l.strip_prefix("--remote="))
        });
        if joined.is_some_and(|name| is_name(OsStr::new(name))) {
            found.extend(tail.pop());
        } else if tail.len() >= 3
            && ["-a", "--app", "-r", "--remote"]
                .iter()
                .any(|f| tail[tail.len() - 2] == **f)
            && is_name(last)
        {
            found.extend(tail.split_off(tail.len() - 2));
        } else {
            break;
        }
    }
    found
}

fn is_dyno(word: &OsStr) -> bool {
    let name = |w: &str| w.parse::<hokku_model::name::DynoName>().is_ok();
    word.to_str().is_some_and(name)
}

fn is_dyno_flag(word: &OsStr) -> bool {
    let flag = |w: &str| w.starts_with("-d") || w.starts_with("--dyno");
    word.to_str().is_some_and(flag)
}

fn unknown(typed: &str, known: &BTreeSet<String>) -> Fail {
    let mut text = format!("{typed:?} is no command of app.\n");
    if let Some(near) = nearest::nearest(typed, known.iter().map(String::as_str)) {
        text.push_str(&format!("Did you mean: app {near}\n"));
    }
    text.push_str("See all commands with: app help");
    Fail::usage(text)
}

/// Finds the command in `words[at..]`: its name and how many words it takes.
fn find(words: &[OsString], known: &BTreeSet<String>) -> Result<(String, usize)> {
    let text = |w: &OsString| w.to_string_lossy().into_owned();
    let first = text(&words[0]);
    let joined = words.get(1).map(|next| format!("{first}:{}", text(next)));
    if let Some(both) = joined.as_ref().filter(|j| known.contains(*j)) {
        return Ok((both.clone(), 2));
    }
    if known.contains(&first) {
        return Ok((first, 1));
    }
    let topic = first.trim_end_matches(':');
    let is_topic = known
        .iter()
        .any(|k| k.split_once(':').is_some_and(|(t, _)| t == topic));
    match joined.filter(|_| is_topic && !text(&words[1]).starts_with('-')) {
        Some(both) => Err(unknown(&both, known)),
        None if is_topic => Ok((format!("{topic}:"), 1)),
        None => Err(unknown(&first, known)),
    }
}

/// Puts the words after the program's name in order.
///
/// # Errors
/// There is no such command; the text says what may have been meant.
pub fn arrange(words: &[OsString], definition: &Command) -> Result<Line> {
    let known = names(definition);
    let program = OsString::from("app");
    let mut at = 0;
    while at < words.len() {
        if ["-h", "--help"].iter().any(|h| words[at] == **h) {
            return Ok(Line::Overview);
        }
        if ["-V", "--version"].iter().any(|v| words[at] == **v) {
            return Ok(Line::Command(vec![program, "version".into()], Vec::new()));
        }
        match flag_length(definition, &words[at..]) {
            0 => break,
            n => at += n,
        }
    }
    let (flags, rest) = words.split_at(at.min(words.len()));
    let Some(first) = rest.first() else {
        return Ok(Line::Overview);
    };
    let asks_help = first == "help";
    let rest = if asks_help { &rest[1..] } else { rest };
    if rest.is_empty() {
        return Ok(Line::Overview);
    }
    let (name, taken) = find(rest, &known)?;
    if let Some(topic) = name.strip_suffix(':') {
        return Ok(Line::Topic(topic.to_owned()));
    }
    if asks_help {
        return Ok(Line::Command(
            vec![program, name.into(), "--help".into()],
            Vec::new(),
        ));
    }
    let operands = &rest[taken..];
    let mut line = vec![program];
    line.extend_from_slice(flags);
    line.push(name.clone().into());
    let runner = definition
        .get_subcommands()
        .find(|c| c.get_name() == name)
        .filter(|_| RUNNERS.contains(&name.as_str()));
    let Some(runner) = runner else {
        line.extend_from_slice(operands);
        return Ok(Line::Command(line, Vec::new()));
    };
    let runner = definition
        .get_arguments()
        .fold(runner.clone(), |c, global| c.arg(global.clone()));
    let mut cut = 0;
    let mut named = name != IN_A_DYNO;
    while cut < operands.len() && operands[cut] != "--" {
        match flag_length(&runner, &operands[cut..]) {
            0 if !named && is_dyno(&operands[cut]) => {
                named = true;
                cut += 1;
            }
            0 => break,
            n => {
                named |= is_dyno_flag(&operands[cut]);
                cut = (cut + n).min(operands.len());
            }
        }
    }
    line.extend_from_slice(&operands[..cut]);
    let tail = if operands.get(cut).is_some_and(|w| w == "--") {
        operands[cut + 1..].to_vec()
    } else {
        let mut tail = operands[cut..].to_vec();
        let named = line.iter().any(|w| {
            w.to_str()
                .is_some_and(|w| w.starts_with("-a") || w.starts_with("--app"))
        });
        if !named {
            line.extend(trailing_flags(&mut tail));
        }
        tail
    };
    Ok(Line::Command(line, tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::definition;

    fn words(text: &str) -> Vec<OsString> {
        shell_words::split(text)
            .unwrap()
            .into_iter()
            .map(OsString::from)
            .collect()
    }

    fn line(text: &str) -> String {
        match arrange(&words(text), &definition()) {
            Ok(Line::Command(line, tail)) => {
                let show = |w: &[OsString]| {
                    shell_words::join(w.iter().map(|w| w.to_string_lossy().into_owned()))
                };
                if tail.is_empty() {
                    show(&line)
                } else {
                    format!("{} | {}", show(&line), show(&tail))
                }
            }
            Ok(Line::Overview) => "overview".into(),
            Ok(Line::Topic(topic)) => format!("topic {topic}"),
            Err(e) => e.text,
        }
    }

    #[test]
    fn forms() {
        for (typed, meant) in [
            ("config:set A=1", "app config:set 'A=1'"),
            ("config set A=1 -a x1", "app config:set 'A=1' -a x1"),
            ("config", "app config"),
            ("config -s", "app config -s"),
            ("ps web", "app ps web"),
            ("ps scale web=2", "app ps:scale 'web=2'"),
            ("scale web=2", "app scale 'web=2'"),
            ("-a x1 ps restart", "app -a x1 ps:restart"),
            ("--app x1 -H http://h ps", "app --app x1 -H http://h ps"),
            ("git remote -a x1", "app git:remote -a x1"),
            ("auth whoami", "app auth:whoami"),
            ("create shop", "app create shop"),
            ("help config set", "app config:set --help"),
            ("help config:set", "app config:set --help"),
            ("help", "overview"),
            ("", "overview"),
            ("--help", "overview"),
            ("-a x1", "overview"),
            ("--version", "app version"),
            ("git", "topic git"),
            ("git --help", "topic git"),
            ("help auth", "topic auth"),
        ] {
            assert_eq!(line(typed), meant, "{typed}");
        }
    }

    #[test]
    fn the_words_of_run_are_left_alone() {
        for (typed, meant) in [
            ("run bash", "app run | bash"),
            (
                "run -a x1 -x -- python -c 'print(\"a b\")'",
                "app run -a x1 -x | python -c 'print(\"a b\")'",
            ),
            (
                "run --size big ls -la --app",
                "app run --size big | ls -la --app",
            ),
            ("run -xe 'A=1;B=2' env", "app run -xe 'A=1;B=2' | env"),
            ("run -eA=1 env", "app run '-eA=1' | env"),
            ("run --env=A=1 env -- -i", "app run '--env=A=1' | env -- -i"),
            (
                "run rake db:migrate --trace -a x1",
                "app run -a x1 | rake db:migrate --trace",
            ),
            (
                "run rake db:migrate --app=x1",
                "app run '--app=x1' | rake db:migrate",
            ),
            ("run -a x1 ls -a sub", "app run -a x1 | ls -a sub"),
            ("run ls -a /tmp", "app run | ls -a /tmp"),
            ("run -- ls -a sub", "app run | ls -a sub"),
            ("run -- -- x", "app run | -- x"),
            ("run detached rake x", "app run:detached | rake x"),
            (
                "run:detached -t rake --help",
                "app run:detached -t | rake --help",
            ),
            ("run --help", "app run --help"),
            ("ps:exec", "app ps:exec"),
            ("ps exec web.1", "app ps:exec web.1"),
            ("ps:exec web.1 -- ls -la", "app ps:exec web.1 | ls -la"),
            ("ps:exec web.1 ls -d x", "app ps:exec web.1 | ls -d x"),
            (
                "ps:exec worker.2 -a x1 -- ls -a y",
                "app ps:exec worker.2 -a x1 | ls -a y",
            ),
            ("ps:exec web.1 ls -a x1", "app ps:exec web.1 -a x1 | ls"),
            ("ps:exec -d web.2 web.1 x", "app ps:exec -d web.2 | web.1 x"),
            ("ps:exec 'ls | wc'", "app ps:exec | 'ls | wc'"),
            ("run", "app run"),
            ("run -e", "app run -e"),
            ("-H http://h run ls", "app -H http://h run | ls"),
        ] {
            assert_eq!(line(typed), meant, "{typed}");
        }
    }

    #[test]
    fn typing_errors_get_a_suggestion() {
        for (typed, near) in [
            ("confg", "app config"),
            ("config:st A=1", "app config:set"),
            ("config st A=1", ""),
            ("git remot", "app git:remote"),
            ("rollbak", "app rollback"),
            ("ps:sacle", "app ps:scale"),
        ] {
            let said = line(typed);
            if near.is_empty() {
                assert_eq!(
                    said, "app config st 'A=1'",
                    "a topic that is a command takes the word as its own"
                );
            } else {
                assert!(
                    said.contains(&format!("Did you mean: {near}\n")),
                    "{typed}: {said}"
                );
            }
        }
        assert!(!line("frobnicate").contains("Did you mean"));
    }

    proptest::proptest! {
        #[test]
        fn no_words_panic(words in proptest::collection::vec("(run|-[a-zé]{1,3}|--[a-z=]{0,6}|[ -~é]{0,6})", 0..8)) {
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            let _ = arrange(&words, &definition());
        }
    }
}
