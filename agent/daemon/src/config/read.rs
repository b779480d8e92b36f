//! Reading a settings file: every mistake with its line and column, and with what was probably meant.

use super::Config;
use anyhow::{Context, anyhow};
use hokku_core::nearest::nearest;
use std::path::Path;
use toml::de::{DeTable, DeValue};

impl Config {
    /// Reads a settings file.
    ///
    /// # Errors
    /// The file can't be read, or line and column of what is wrong in it.
    pub fn load(path: &Path) -> anyhow::Result<Config> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("can't read the settings file {}", path.display()))?;
        Config::parse(&text)
            .with_context(|| format!("the settings file {} is not valid", path.display()))
    }

    /// Reads the text of a settings file.
    ///
    /// # Errors
    /// Line and column, what is wrong there, and what is expected.
    pub fn parse(text: &str) -> anyhow::Result<Config> {
        let config: Config = toml::from_str(text).map_err(|e| {
            let at = e.span().map(|s| s.start);
            anyhow!("{}{}", place(text, at), words(e.message()))
        })?;
        config.check().map_err(|e| {
            let said = format!("{e:#}");
            let key = said.split([' ', ':']).next().unwrap_or_default();
            anyhow!("{}{said}", place(text, find(text, key)))
        })?;
        Ok(config)
    }
}

/// `line 2, column 1: `; nothing where the place is not known.
fn place(text: &str, at: Option<usize>) -> String {
    let Some(before) = at.and_then(|at| text.get(..at)) else {
        return String::new();
    };
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("line {line}, column {column}: ")
}

/// Where a key such as `acme.email` stands.
fn find(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut table = table.get_ref();
    let mut names = key.split('.').peekable();
    while let Some(name) = names.next() {
        let (key, value) = table.iter().find(|(k, _)| k.get_ref().as_ref() == name)?;
        match value.get_ref() {
            DeValue::Table(below) if names.peek().is_some() => table = below,
            _ => return Some(key.span().start),
        }
    }
    None
}

/// serde's "unknown field `x`, expected one of `a`, `b`" as a person would say it; other messages as they are.
fn words(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.trim().to_owned();
    };
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.filter(|n| !n.is_empty()).collect();
    match nearest(unknown, known.iter().copied()) {
        Some(meant) => format!("there is no setting {unknown:?} here; did you mean {meant:?}?"),
        None => format!(
            "there is no setting {unknown:?} here; there are: {}",
            known.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_with_place_and_remedy() {
        for (text, says) in [
            (
                "apps_domain = \"x.org\"\nboot_timout = 3\n",
                "line 2, column 1: there is no setting \"boot_timout\" here; did you mean \"boot_timeout\"?",
            ),
            (
                "[retain]\n  log = 3\n",
                "line 2, column 3: there is no setting \"log\" here; did you mean \"logs\"?",
            ),
            ("[journal]\ndinos = true\n", "did you mean \"dynos\"?"),
            (
                "no_such_key = 1\n",
                "there is no setting \"no_such_key\" here; there are: data_dir, ",
            ),
            (
                "boot_timeout = \"x\"\n",
                "line 1, column 16: invalid type: string \"x\", expected u64",
            ),
            ("a = \n", "line 1, column "),
            (
                "# ü\n\n[acme]\nagree = true\nemail = \"nobody\"\n",
                "line 5, column 1: acme.email is \"nobody\"",
            ),
            (
                "health_path = \"h\"\n",
                "line 1, column 1: health_path is \"h\"",
            ),
            (
                "dyno_ports = [9, 8]\n",
                "line 1, column 1: dyno_ports is [9, 8]",
            ),
            (
                "dyno_ports = [0, 8]\n",
                "line 1, column 1: dyno_ports is [0, 8]",
            ),
            (
                "data_dir = \"var\"\n",
                "line 1, column 1: data_dir is \"var\": expected a path from the root",
            ),
            ("first_uid = 10\n", "line 1, column 1: first_uid is 10"),
            (
                "deploy_branches = []\n",
                "line 1, column 1: deploy_branches is empty",
            ),
            ("boot_timeout = 0\n", "line 1, column 1: boot_timeout is 0"),
            (
                "[build]\nparallel = 0\n",
                "line 2, column 1: build.parallel is 0",
            ),
            (
                "apps_domain = \"a b\"\n",
                "line 1, column 1: apps_domain is \"a b\"",
            ),
            (
                "api_url = \"hokku.example.org\"\n",
                "line 1, column 1: api_url is \"hokku.example.org\"",
            ),
        ] {
            let e = format!("{:#}", Config::parse(text).unwrap_err());
            assert!(e.contains(says), "{text}: {e}");
        }
    }

    #[test]
    fn what_the_package_brings_is_valid_with_every_line_on() {
        let text = include_str!("../../../../packaging/deb/hokku.toml");
        let config = Config::parse(text).unwrap();
        assert!(!config.journal.dynos);
        // a setting that is shown commented out has to exist as well
        let on: String = text
            .lines()
            .map(|l| match l.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') && rest.contains(" = ") => format!("{rest}\n"),
                _ => format!("{l}\n"),
            })
            .collect();
        let config = Config::parse(&on).unwrap();
        assert!(config.journal.dynos && config.acme.agree);
    }
}
