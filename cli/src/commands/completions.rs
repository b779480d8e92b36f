//! Completions for shells, made from the definition of the flags.

use crate::args::definition;
use crate::fail::Result;
use crate::output;
use clap::{Args, Command};
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app completions bash > ~/.local/share/bash-completion/completions/app
  $ app completions zsh > ~/.zfunc/_app
  $ app completions fish > ~/.config/fish/completions/app.fish")]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// Prints the script. Shells split words at colons, so the form with a blank is completed.
    pub fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut nested(), "app", &mut script);
        output::bytes(&script);
        Ok(())
    }
}

/// The definition with `topic:command` as commands of topics.
fn nested() -> Command {
    let flat = definition();
    let mut root = Command::new("app")
        .about("Deploys, runs and watches apps")
        .disable_help_subcommand(true);
    root = flat.get_arguments().fold(root, |c, a| c.arg(a.clone()));
    let mut commands: Vec<&Command> = flat
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .collect();
    // A topic's own command has to be there before the commands below it.
    commands.sort_by_key(|c| c.get_name());
    for command in commands {
        // clap wants names that live as long as the program, which ends after this one script.
        let name: &'static str = command.get_name().to_owned().leak();
        let Some((topic, leaf)) = name.split_once(':') else {
            root = root.subcommand(command.clone());
            continue;
        };
        let below = plain(command).name(leaf);
        root = match root.find_subcommand(topic) {
            Some(_) => root.mut_subcommand(topic, |t| t.subcommand(below)),
            None => root.subcommand(
                Command::new(topic)
                    .disable_help_subcommand(true)
                    .subcommand(below),
            ),
        };
        for alias in command.get_visible_aliases().filter(|a| !a.contains(':')) {
            let alias: &'static str = alias.to_owned().leak();
            root = root.subcommand(plain(command).name(alias));
        }
    }
    root
}

fn plain(command: &Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    command
        .get_arguments()
        .fold(Command::new("").about(about), |c, a| c.arg(a.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script() {
        nested().debug_assert();
        for shell in [
            Shell::Bash,
            Shell::Zsh,
            Shell::Fish,
            Shell::Elvish,
            Shell::PowerShell,
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut nested(), "app", &mut script);
            let text = String::from_utf8(script).unwrap();
            assert!(
                text.contains("unset") && text.contains("rollback"),
                "{shell}"
            );
        }
    }

    #[test]
    fn bash_accepts_its_script_and_completes() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut nested(), "app", &mut script);
        // from a file: the script is longer than one argument may be
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let test = r#"source "$0"; COMP_WORDS=(app config se) COMP_CWORD=2; _app app se config; echo "${COMPREPLY[@]}""#;
        let out = std::process::Command::new("bash")
            .args(["-c", test])
            .arg(file.path())
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&out.stdout).trim(),
            "set",
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}
