//! The one definition of the commands and their flags; help and completions are made from it.

use crate::commands::{
    apps, auth, authorizations, builds, certs, checks, completions, config, credentials, domains,
    hokku_toml, isolation, keys, limits, logs, maintenance, open, ps, ps_copy, ps_exec, ps_why,
    releases, remotes, routing, run, status,
};
use crate::context::Where;
use clap::{CommandFactory, Parser, Subcommand};

/// Deploys, runs and watches apps on your own machines
#[derive(Parser, Debug)]
#[command(
    name = "app",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
#[command(subcommand_required = true, infer_subcommands = false)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub place: Where,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, named `topic:command` as Heroku names them.
#[derive(Subcommand, Debug)]
pub enum Command {
    #[command(name = "apps", aliases = ["list", "apps:list"])]
    Apps(apps::List),
    #[command(name = "apps:create", visible_alias = "create")]
    AppsCreate(apps::Create),
    #[command(name = "apps:info", visible_alias = "info")]
    AppsInfo(apps::Info),
    #[command(
        name = "apps:destroy",
        visible_alias = "destroy",
        alias = "apps:delete"
    )]
    AppsDestroy(apps::Destroy),
    #[command(name = "apps:rename", visible_alias = "rename")]
    AppsRename(apps::Rename),
    #[command(name = "open", alias = "apps:open")]
    Open(open::Open),
    #[command(name = "config")]
    Config(config::List),
    #[command(name = "config:get")]
    ConfigGet(config::Get),
    #[command(name = "config:set", visible_alias = "config:add")]
    ConfigSet(config::Set),
    #[command(name = "config:unset", visible_alias = "config:remove")]
    ConfigUnset(config::Unset),
    #[command(name = "ps", aliases = ["dyno", "ps:list"])]
    Ps(ps::List),
    #[command(name = "ps:scale", visible_alias = "scale", alias = "dyno:scale")]
    PsScale(ps::Scale),
    #[command(name = "ps:restart", visible_alias = "restart", alias = "dyno:restart")]
    PsRestart(ps::Restart),
    #[command(name = "ps:why", visible_alias = "why")]
    PsWhy(ps_why::Why),
    #[command(name = "ps:exec", alias = "exec")]
    PsExec(ps_exec::Exec),
    #[command(name = "ps:copy")]
    PsCopy(ps_copy::Copy),
    #[command(name = "checks", alias = "checks:list")]
    Checks(checks::List),
    #[command(name = "checks:run")]
    ChecksRun(checks::Run),
    #[command(name = "ps:stop", visible_aliases = ["stop", "kill", "ps:kill"], aliases = ["dyno:stop", "dyno:kill"])]
    PsStop(ps::Stop),
    #[command(name = "ps:type", aliases = ["dyno:type", "ps:resize", "dyno:resize", "resize"])]
    PsType(limits::Type),
    #[command(name = "limits")]
    Limits(limits::List),
    #[command(name = "limits:set")]
    LimitsSet(limits::Set),
    #[command(name = "limits:unset")]
    LimitsUnset(limits::Unset),
    #[command(name = "logs")]
    Logs(logs::Logs),
    #[command(name = "run")]
    Run(run::Run),
    #[command(name = "run:detached")]
    RunDetached(run::Detached),
    #[command(name = "releases")]
    Releases(releases::List),
    #[command(name = "releases:info")]
    ReleasesInfo(releases::Info),
    #[command(name = "releases:output")]
    ReleasesOutput(releases::Output),
    #[command(name = "releases:rollback", visible_alias = "rollback")]
    Rollback(releases::Rollback),
    #[command(name = "builds")]
    Builds(builds::List),
    #[command(name = "builds:output")]
    BuildsOutput(builds::Output),
    #[command(name = "isolation")]
    Isolation(isolation::Show),
    #[command(name = "isolation:set")]
    IsolationSet(isolation::Set),
    #[command(name = "maintenance")]
    Maintenance(maintenance::Show),
    #[command(name = "maintenance:on")]
    MaintenanceOn(maintenance::On),
    #[command(name = "maintenance:off")]
    MaintenanceOff(maintenance::Off),
    #[command(name = "routing")]
    Routing(routing::Show),
    #[command(name = "routing:set")]
    RoutingSet(routing::Set),
    #[command(name = "routing:unset")]
    RoutingUnset(routing::Unset),
    #[command(name = "routing:check")]
    RoutingCheck(hokku_toml::Check),
    #[command(name = "routing:hash")]
    RoutingHash(hokku_toml::Hash),
    #[command(name = "domains")]
    Domains(domains::List),
    #[command(name = "domains:add")]
    DomainsAdd(domains::Add),
    #[command(name = "domains:remove")]
    DomainsRemove(domains::Remove),
    #[command(name = "domains:clear")]
    DomainsClear(domains::Clear),
    #[command(name = "domains:info")]
    DomainsInfo(domains::Info),
    #[command(name = "domains:wait")]
    DomainsWait(domains::Wait),
    #[command(name = "certs")]
    Certs(certs::List),
    #[command(name = "certs:add")]
    CertsAdd(certs::Add),
    #[command(name = "certs:update")]
    CertsUpdate(certs::Update),
    #[command(name = "certs:remove")]
    CertsRemove(certs::Remove),
    #[command(name = "certs:info")]
    CertsInfo(certs::Info),
    #[command(name = "certs:auto")]
    CertsAuto(certs::Auto),
    #[command(name = "certs:auto:enable")]
    CertsAutoEnable(certs::AutoEnable),
    #[command(name = "certs:auto:disable")]
    CertsAutoDisable(certs::AutoDisable),
    #[command(name = "certs:auto:refresh")]
    CertsAutoRefresh(certs::AutoRefresh),
    #[command(name = "git:remote")]
    GitRemote(remotes::Set),
    #[command(name = "git:credentials", hide = true)]
    GitCredentials(credentials::Credentials),
    #[command(name = "keys")]
    Keys(keys::List),
    #[command(name = "keys:add")]
    KeysAdd(keys::Add),
    #[command(name = "keys:remove")]
    KeysRemove(keys::Remove),
    #[command(name = "keys:clear")]
    KeysClear(keys::Clear),
    #[command(name = "login", alias = "auth:login")]
    Login(auth::Login),
    #[command(name = "logout", alias = "auth:logout")]
    Logout(auth::Logout),
    #[command(name = "whoami", visible_alias = "auth:whoami")]
    Whoami(auth::Whoami),
    #[command(name = "authorizations")]
    Authorizations(authorizations::List),
    #[command(name = "authorizations:create")]
    AuthorizationsCreate(authorizations::Create),
    #[command(
        name = "authorizations:revoke",
        visible_alias = "authorizations:destroy"
    )]
    AuthorizationsRevoke(authorizations::Revoke),
    #[command(name = "status")]
    Status(status::Status),
    #[command(name = "completions", alias = "autocomplete")]
    Completions(completions::Completions),
    #[command(name = "version")]
    Version(status::Version),
}

/// The definition as data. Topics say in their help which commands they have.
pub fn definition() -> clap::Command {
    let mut whole = Cli::command();
    let names: Vec<String> = whole
        .get_subcommands()
        .map(|c| c.get_name().to_owned())
        .collect();
    for topic in names.iter().filter(|n| !n.contains(':')) {
        let list: Vec<String> = whole
            .get_subcommands()
            .filter(|c| {
                !c.is_hide_set()
                    && c.get_name()
                        .strip_prefix(topic.as_str())
                        .is_some_and(|r| r.starts_with(':'))
            })
            .map(|c| {
                format!(
                    "  {:<24} {}",
                    c.get_name(),
                    c.get_about().map(ToString::to_string).unwrap_or_default()
                )
            })
            .collect();
        if list.is_empty() {
            continue;
        }
        whole = whole.mut_subcommand(topic, |c| {
            let examples = c
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            c.after_help(format!("{examples}\n\nCommands:\n{}", list.join("\n")))
        });
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_shows_an_example() {
        for command in definition().get_subcommands_mut() {
            let name = command.get_name().to_owned();
            assert!(command.get_about().is_some(), "{name} has no description");
            let help = command.render_long_help().to_string();
            assert!(
                command.is_hide_set() || help.contains("$ app "),
                "{name} has no example:\n{help}"
            );
        }
    }

    #[test]
    fn topics_list_their_commands() {
        let mut all = definition();
        let help = all
            .find_subcommand_mut("config")
            .unwrap()
            .render_help()
            .to_string();
        assert!(
            help.contains("config:unset") && !help.contains("config:add "),
            "{help}"
        );
    }
}
