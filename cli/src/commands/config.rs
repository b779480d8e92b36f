//! Config vars: byte for byte what was given, from the command line, files or stdin.

use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use clap::Args;
use hokku_model::api;
use hokku_model::name::ConfigKey;
use reqwest::Method;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

/// The largest value that is read from a file or stdin, in bytes: Heroku's limit for all vars together is 64 kB.
const LARGEST: u64 = 1 << 20;

/// Show all config vars of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app config\n  $ eval \"$(app config --shell)\"")]
pub struct List {
    /// Print NAME=value lines quoted for a shell
    #[arg(short, long)]
    shell: bool,
    /// Print JSON
    #[arg(short, long, conflicts_with = "shell")]
    json: bool,
}

impl List {
    /// Prints the vars, by name.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let vars: api::ConfigVars = client.get(&["apps", &app, "config-vars"])?;
        if self.json {
            return output::json(&vars);
        }
        let text = if self.shell {
            shell(&vars)
        } else if vars.is_empty() {
            format!("{app} has no config vars.\n")
        } else {
            let pairs: Vec<(&String, &String)> = vars.iter().collect();
            format!(
                "{}{}",
                output::header(&format!("{app} Config Vars")),
                output::object(&pairs)
            )
        };
        output::print(&text);
        Ok(())
    }
}

/// `NAME=value` lines that a POSIX shell reads back as the same bytes.
pub fn shell(vars: &BTreeMap<String, String>) -> String {
    vars.iter()
        .map(|(k, v)| format!("{k}={}\n", shell_words::quote(v)))
        .collect()
}

/// Show the value of config vars
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app config:get DATABASE_URL\n  $ app config:get CERT KEY --json"
)]
pub struct Get {
    /// The names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Print NAME=value lines quoted for a shell
    #[arg(short, long)]
    shell: bool,
    /// Print JSON; null stands for a var that is not set
    #[arg(short, long, conflicts_with = "shell")]
    json: bool,
}

impl Get {
    /// Prints the bare values; an empty line for a var that is not set.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let vars: api::ConfigVars = client.get(&["apps", &app, "config-vars"])?;
        let wanted: BTreeMap<&String, Option<&String>> =
            self.names.iter().map(|n| (n, vars.get(n))).collect();
        if self.json {
            return output::json(&wanted);
        }
        for name in &self.names {
            let value = vars.get(name).map_or("", String::as_str);
            match self.shell {
                true => output::line(&format!("{name}={}", shell_words::quote(value))),
                false => output::line(value),
            }
        }
        Ok(())
    }
}

/// Set config vars, and restart with them
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app config:set RAILS_ENV=production GREETING='Hello, world'
  $ app config:set TLS_KEY=@server.key            the bytes of a file
  $ openssl rand -hex 32 | tr -d '\\n' | app config:set SECRET=-   the bytes of stdin
  $ app config:set TWITTER=@@hokku                a value that begins with @")]
pub struct Set {
    /// NAME=value, NAME=@file or NAME=- for stdin
    #[arg(required = true, value_name = "NAME=VALUE")]
    pairs: Vec<String>,
    /// Serve without running the release phase
    #[arg(long)]
    skip_release_phase: bool,
    /// Print the names and values set as JSON
    #[arg(short, long)]
    json: bool,
}

impl Set {
    /// Sets all or none in one release.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let patch = read_pairs(&self.pairs, &mut std::io::stdin())?;
        let after = change(client, &app, "Setting", &patch, self.skip_release_phase)?;
        let set: BTreeMap<&String, &String> = after
            .iter()
            .filter(|(k, _)| patch.contains_key(*k))
            .collect();
        if self.json {
            return output::json(&set);
        }
        let pairs: Vec<(&String, &String)> = set.into_iter().collect();
        output::print(&output::object(&pairs));
        Ok(())
    }
}

/// Remove config vars, and restart without them
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app config:unset RAILS_ENV DEBUG")]
pub struct Unset {
    /// The names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Serve without running the release phase
    #[arg(long)]
    skip_release_phase: bool,
}

impl Unset {
    /// Removes all or none in one release.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let patch: api::ConfigPatch = self.names.into_iter().map(|n| (n, None)).collect();
        change(client, &app, "Unsetting", &patch, self.skip_release_phase).map(|_| ())
    }
}

fn change(
    client: &Client,
    app: &str,
    doing: &str,
    patch: &api::ConfigPatch,
    skip_release_phase: bool,
) -> Result<api::ConfigVars> {
    let paint = Paint::stderr();
    let names: Vec<String> = patch.keys().map(|k| paint.bold(k)).collect();
    let mut progress = Progress::start(format!(
        "{doing} {} and restarting {}",
        names.join(", "),
        paint.app(app)
    ));
    let after: api::ConfigVars = match skip_release_phase {
        false => client.send(Method::PATCH, &["apps", app, "config-vars"], patch)?,
        true => {
            let change = api::ConfigChange {
                vars: patch.clone(),
                skip_release_phase,
            };
            let path = ["hokku", "apps", app, "config-vars"];
            client.send(Method::PATCH, &path, &change)?
        }
    };
    match super::releases::newest(client, app)? {
        Some(mut release) => {
            // Somebody else's change that overtakes this one carries it along.
            let release = loop {
                let version = release.version;
                if release.status == "pending" && release.release_command {
                    progress.end_with(&paint.bold(&format!("v{version}")));
                    super::releases::follow_phase(client, &release)?;
                    progress = Progress::start(format!("Waiting until v{version} serves"));
                }
                match super::releases::settled(client, app, release) {
                    Ok(settled) => break settled,
                    Err(e) => {
                        let newer = super::releases::newest(client, app)?;
                        release = newer.filter(|r| r.version > version).ok_or(e)?;
                    }
                }
            };
            let version = paint.bold(&format!("v{}", release.version));
            if release.status == "pending" {
                progress.end_with(&format!("{version} is still under way; see: app releases"));
            } else {
                progress.done_with(&version);
            }
        }
        None => progress.done(),
    }
    Ok(after)
}

fn read_value(name: &str, text: &str, stdin: &mut dyn Read) -> Result<String> {
    let (from, data) = match text.strip_prefix('@') {
        Some(literal) if literal.starts_with('@') => return Ok(literal.to_owned()),
        Some(path) => {
            let hint = |e: std::io::Error| {
                Fail::usage(format!(
                    "{name} can't be read from the file {path:?}: {e}.\nIf the value itself begins with @, double it: {name}=@@{path}"
                ))
            };
            let mut file = File::open(path).map_err(hint)?;
            (format!("the file {path:?}"), read(&mut file).map_err(hint)?)
        }
        None if text == "-" => (
            "stdin".to_owned(),
            read(stdin).map_err(|e| Fail::new(format!("{name} can't be read from stdin: {e}.")))?,
        ),
        None => return Ok(text.to_owned()),
    };
    if data.len() as u64 > LARGEST {
        return Err(Fail::usage(format!(
            "{name} from {from} is larger than a megabyte, which no config var may be."
        )));
    }
    let value = String::from_utf8(data).map_err(|_| {
        Fail::usage(format!(
            "{name} from {from} is not UTF-8 text. Encode it, for example with base64."
        ))
    })?;
    if value.contains('\0') {
        return Err(Fail::usage(format!(
            "{name} from {from} holds a zero byte, which no environment can carry."
        )));
    }
    Ok(value)
}

fn read(from: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut data)?;
    Ok(data)
}

fn read_pairs(pairs: &[String], stdin: &mut dyn Read) -> Result<api::ConfigPatch> {
    let mut patch = api::ConfigPatch::new();
    let mut stdin_used = false;
    for pair in pairs {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(Fail::usage(format!(
                "{pair:?} is invalid. Must be in the format FOO=bar."
            )));
        };
        name.parse::<ConfigKey>()
            .map_err(|e| Fail::usage(e.to_string()))?;
        if text == "-" && std::mem::replace(&mut stdin_used, true) {
            return Err(Fail::usage("Only one config var can be read from stdin."));
        }
        if patch
            .insert(name.to_owned(), Some(read_value(name, text, stdin)?))
            .is_some()
        {
            return Err(Fail::usage(format!("{name} is given twice.")));
        }
    }
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(list: &[&str], stdin: &[u8]) -> Result<api::ConfigPatch> {
        let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
        read_pairs(&list, &mut &stdin[..])
    }

    fn value(patch: &api::ConfigPatch, name: &str) -> String {
        patch[name].clone().unwrap()
    }

    #[test]
    fn values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "line 1\r\nline 2\n").unwrap();
        let file = format!("F=@{}", path.display());
        let patch = pairs(
            &["A=b=c", "E=", "T=@@me", "S=-", &file, "D=--", "Q= \"x'$y` "],
            b"in\n\n",
        )
        .unwrap();
        for (name, is) in [
            ("A", "b=c"),
            ("E", ""),
            ("T", "@me"),
            ("S", "in\n\n"),
            ("F", "line 1\r\nline 2\n"),
            ("D", "--"),
            ("Q", " \"x'$y` "),
        ] {
            assert_eq!(value(&patch, name), is, "{name}");
        }
    }

    #[test]
    fn refusals() {
        for (list, why) in [
            (&["A"][..], "FOO=bar"),
            (&["=x"], "name"),
            (&["1A=x"], "name"),
            (&["A-B=x"], "name"),
            (&["A=1", "A=2"], "twice"),
            (&["A=-", "B=-"], "stdin"),
            (&["A=@/nonexistent/file"], "A=@@/nonexistent/file"),
        ] {
            let said = pairs(list, b"").unwrap_err();
            assert!(
                said.text.contains(why) && said.status == 2,
                "{list:?}: {}",
                said.text
            );
        }
        assert!(pairs(&["A=-"], b"\xff").unwrap_err().text.contains("UTF-8"));
        assert!(
            pairs(&["A=-"], b"a\0b")
                .unwrap_err()
                .text
                .contains("zero byte")
        );
        assert!(
            pairs(&["A=-"], &vec![b'x'; (1 << 20) + 1])
                .unwrap_err()
                .text
                .contains("megabyte")
        );
    }

    #[test]
    fn shell_lines() {
        let vars: BTreeMap<String, String> = [
            ("A", "plain"),
            ("B", "two words"),
            ("C", ""),
            ("D", "it's $5\n"),
        ]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
        assert_eq!(
            shell(&vars),
            "A=plain\nB='two words'\nC=''\nD='it'\\''s $5\n'\n"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_shell_reads_back_every_byte(v in "[^\0]{0,40}") {
            let line = shell(&BTreeMap::from([("V".to_owned(), v.clone())]));
            let script = format!("{line}printf %s \"$V\"");
            let out = std::process::Command::new("bash").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(out.stdout, v.into_bytes());
        }
    }
}
