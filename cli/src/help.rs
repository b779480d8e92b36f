//! The overview of all commands.

use crate::output::{self, Paint};
use clap::Command;
use std::fmt::Write as _;

/// The commands as people look for them.
pub const GROUPS: [(&str, &[&str]); 8] = [
    (
        "Apps",
        &[
            "apps",
            "apps:create",
            "apps:info",
            "apps:rename",
            "apps:destroy",
            "open",
            "maintenance",
            "maintenance:on",
            "maintenance:off",
        ],
    ),
    (
        "Run",
        &[
            "ps",
            "ps:scale",
            "ps:restart",
            "ps:stop",
            "ps:why",
            "ps:exec",
            "ps:copy",
            "ps:type",
            "checks",
            "checks:run",
            "limits",
            "limits:set",
            "limits:unset",
            "autoscale",
            "autoscale:explain",
            "autoscale:off",
            "run",
            "run:detached",
            "run:list",
            "run:logs",
            "run:attach",
            "run:stop",
            "logs",
        ],
    ),
    (
        "Cron",
        &[
            "cron",
            "cron:add",
            "cron:edit",
            "cron:rm",
            "cron:history",
            "cron:logs",
            "cron:run",
            "cron:pause",
            "cron:resume",
            "cron:alerts",
            "cron:alerts:set",
            "cron:alerts:unset",
            "cron:alerts:test",
        ],
    ),
    (
        "Configure",
        &[
            "config",
            "config:get",
            "config:set",
            "config:unset",
            "buildpacks",
            "buildpacks:add",
            "buildpacks:set",
            "buildpacks:remove",
            "buildpacks:clear",
            "routing",
            "routing:set",
            "routing:unset",
            "routing:check",
            "routing:hash",
            "isolation",
            "isolation:set",
        ],
    ),
    (
        "Domains and certificates",
        &[
            "domains",
            "domains:add",
            "domains:remove",
            "domains:clear",
            "domains:info",
            "domains:wait",
            "certs",
            "certs:add",
            "certs:update",
            "certs:remove",
            "certs:info",
            "certs:auto",
            "certs:auto:enable",
            "certs:auto:disable",
            "certs:auto:refresh",
        ],
    ),
    (
        "Deploy",
        &[
            "releases",
            "releases:info",
            "releases:output",
            "releases:retry",
            "releases:rollback",
            "builds",
            "builds:output",
            "git:remote",
        ],
    ),
    (
        "Access",
        &[
            "login",
            "logout",
            "whoami",
            "keys",
            "keys:add",
            "keys:remove",
            "keys:clear",
            "authorizations",
            "authorizations:create",
            "authorizations:revoke",
        ],
    ),
    ("This tool", &["status", "completions", "version"]),
];

fn entry(text: &mut String, paint: Paint, command: &Command) {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let short = command.get_visible_aliases().find(|a| !a.contains(':'));
    let also = short
        .map(|a| format!(" {}", paint.dim(&format!("(also: {a})"))))
        .unwrap_or_default();
    let _ = writeln!(
        text,
        "  {}{}  {about}{also}",
        command.get_name(),
        " ".repeat(22usize.saturating_sub(command.get_name().len()))
    );
}

/// What `app help` prints.
pub fn overview(definition: &Command, paint: Paint) -> String {
    let mut text = String::new();
    let about = definition
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let _ = writeln!(
        text,
        "{about}\n\n{} app COMMAND [OPTIONS]",
        paint.bold("Usage:")
    );
    for (title, names) in GROUPS {
        let _ = writeln!(text, "\n{}", paint.bold(title));
        for name in names {
            if let Some(command) = definition.find_subcommand(name) {
                entry(&mut text, paint, command);
            }
        }
    }
    let _ = write!(
        text,
        "\n{}
  -a, --app NAME      The app; else HOKKU_APP, else what the git remote says
  -r, --remote NAME   The git remote that says which app
  -H, --host URL      The server; else HOKKU_URL with HOKKU_TOKEN, HOKKU_SOCKET, the git remote,
                      the default login, or the socket on this machine

{}
  $ app create shop && git push hokku main
  $ app logs --tail
  $ app run -- python manage.py migrate

\"app config set\" is the same as \"app config:set\". More about a command: app help COMMAND
Exit status: 0 done; 1 trouble on this side; 2 wrong use, or refused by the server; of \"app run\", the command's own.
",
        paint.bold("Every command takes"),
        paint.bold("Examples"),
    );
    text
}

/// What `app git` prints: the commands of a topic that is no command itself.
pub fn topic(definition: &Command, name: &str, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(&format!("Commands of {name}:")));
    for command in definition.get_subcommands().filter(|c| !c.is_hide_set()) {
        let own = |n: &str| n.strip_prefix(name).is_some_and(|r| r.starts_with(':'));
        if own(command.get_name()) {
            entry(&mut text, paint, command);
        } else if let Some(alias) = command.get_all_aliases().find(|a| own(a)) {
            let _ = writeln!(
                text,
                "  {alias}{}  the same as {}",
                " ".repeat(22usize.saturating_sub(alias.len())),
                command.get_name()
            );
        }
    }
    text
}

/// Prints what clap says: help to stdout with status 0, a wrong command line as an error with status 2.
pub fn say(error: &clap::Error) -> i32 {
    let rendered = error.render();
    if !error.use_stderr() {
        let text = if Paint::stdout().is_on() {
            rendered.ansi().to_string()
        } else {
            rendered.to_string()
        };
        output::print(&text);
        return 0;
    }
    let text = rendered.to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    output::error(lines.join("\n").trim_start_matches("error: "));
    crate::fail::REFUSED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::definition;

    #[test]
    fn the_overview_names_every_command_once() {
        let mut listed: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let all = definition();
        let mut defined: Vec<&str> = all
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
            .map(Command::get_name)
            .collect();
        listed.sort_unstable();
        defined.sort_unstable();
        assert_eq!(listed, defined);
    }

    #[test]
    fn topics() {
        let text = topic(&definition(), "auth", Paint::always(false));
        assert!(
            text.contains("auth:whoami") && text.contains("the same as login"),
            "{text}"
        );
        assert!(topic(&definition(), "git", Paint::always(false)).contains("git:remote"));
    }
}
