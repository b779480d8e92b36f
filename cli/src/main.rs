//! `app`: Heroku's commands for hokku's API.
//!
//! What it does: reads the command line, finds the server and the app, asks the API, shows the answer.
//! What it never does: decide anything about apps; touch the agent's files; start what a command does not need (no
//! runtime and no TLS before the first request).
//! Who calls it: people, scripts, and git (for a token). Tests: beside the code, and `cli/tests`.
//!
//! Exit status: 0 done; 1 trouble on this side (no server reached, files, git, the terminal); 2 wrong use or refused by
//! the server; of `run` and `ps:exec`, the command's own.

mod args;
mod argv;
mod attach;
mod client;
mod commands;
mod context;
mod fail;
mod follow;
mod git;
mod help;
mod output;
mod profile;
mod progress;
mod remote;
mod server;
mod steady;
mod terminal;
mod time;
mod trouble;

use args::{Cli, Command};
use clap::FromArgMatches;
use context::Context;
use fail::Result;
use std::ffi::OsString;

fn main() {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let status = match start(&words) {
        Ok(status) => status,
        Err(e) => {
            output::error(&e.text);
            e.status
        }
    };
    std::process::exit(status);
}

fn start(words: &[OsString]) -> Result<i32> {
    let definition = args::definition();
    let (line, tail) = match argv::arrange(words, &definition)? {
        argv::Line::Command(line, tail) => (line, tail),
        argv::Line::Overview => {
            output::print(&help::overview(&definition, output::Paint::stdout()));
            return Ok(0);
        }
        argv::Line::Topic(name) => {
            output::print(&help::topic(&definition, &name, output::Paint::stdout()));
            return Ok(0);
        }
    };
    let parsed = definition
        .try_get_matches_from(line)
        .and_then(|m| Cli::from_arg_matches(&m));
    match parsed {
        Ok(cli) => dispatch(cli.command, &Context::new(cli.place), tail),
        Err(e) => Ok(help::say(&e)),
    }
}

fn dispatch(command: Command, cx: &Context, tail: Vec<OsString>) -> Result<i32> {
    match command {
        Command::Run(c) => return c.run(cx, tail),
        Command::RunAttach(c) => return c.run(cx),
        Command::PsExec(c) => return c.run(cx, tail),
        Command::ChecksRun(c) => return c.run(cx),
        Command::RunDetached(c) => c.run(cx, tail),
        Command::RunList(c) => c.run(cx),
        Command::RunLogs(c) => c.run(cx),
        Command::RunStop(c) => c.run(cx),
        Command::PsCopy(c) => c.run(cx),
        Command::Checks(c) => c.run(cx),
        Command::Apps(c) => c.run(cx),
        Command::AppsCreate(c) => c.run(cx),
        Command::AppsInfo(c) => c.run(cx),
        Command::AppsDestroy(c) => c.run(cx),
        Command::AppsRename(c) => c.run(cx),
        Command::Open(c) => c.run(cx),
        Command::Config(c) => c.run(cx),
        Command::ConfigGet(c) => c.run(cx),
        Command::ConfigSet(c) => c.run(cx),
        Command::ConfigUnset(c) => c.run(cx),
        Command::Ps(c) => c.run(cx),
        Command::PsScale(c) => c.run(cx),
        Command::PsRestart(c) => c.run(cx),
        Command::PsStop(c) => c.run(cx),
        Command::PsWhy(c) => c.run(cx),
        Command::Autoscale(c) => c.run(cx),
        Command::AutoscaleExplain(c) => c.run(cx),
        Command::AutoscaleOff(c) => c.run(cx),
        Command::Logs(c) => c.run(cx),
        Command::Cron(c) => c.run(cx),
        Command::CronAdd(c) => c.run(cx),
        Command::CronEdit(c) => c.run(cx),
        Command::CronRemove(c) => c.run(cx),
        Command::CronHistory(c) => c.run(cx),
        Command::CronLogs(c) => c.run(cx),
        Command::CronRun(c) => return c.run(cx),
        Command::CronPause(c) => c.run(cx),
        Command::CronResume(c) => c.run(cx),
        Command::CronAlerts(c) => c.run(cx),
        Command::CronAlertsSet(c) => c.run(cx),
        Command::CronAlertsUnset(c) => c.run(cx),
        Command::CronAlertsTest(c) => c.run(cx),
        Command::Releases(c) => c.run(cx),
        Command::ReleasesInfo(c) => c.run(cx),
        Command::ReleasesOutput(c) => c.run(cx),
        Command::ReleasesRetry(c) => c.run(cx),
        Command::Rollback(c) => c.run(cx),
        Command::Buildpacks(c) => c.run(cx),
        Command::BuildpacksAdd(c) => c.run(cx),
        Command::BuildpacksSet(c) => c.run(cx),
        Command::BuildpacksRemove(c) => c.run(cx),
        Command::BuildpacksClear(c) => c.run(cx),
        Command::Builds(c) => c.run(cx),
        Command::BuildsOutput(c) => c.run(cx),
        Command::Isolation(c) => c.run(cx),
        Command::IsolationSet(c) => c.run(cx),
        Command::PsType(c) => c.run(cx),
        Command::Limits(c) => c.run(cx),
        Command::LimitsSet(c) => c.run(cx),
        Command::LimitsUnset(c) => c.run(cx),
        Command::Maintenance(c) => c.run(cx),
        Command::MaintenanceOn(c) => c.run(cx),
        Command::MaintenanceOff(c) => c.run(cx),
        Command::Routing(c) => c.run(cx),
        Command::RoutingSet(c) => c.run(cx),
        Command::RoutingUnset(c) => c.run(cx),
        Command::RoutingCheck(c) => c.run(),
        Command::RoutingHash(c) => c.run(),
        Command::Domains(c) => c.run(cx),
        Command::DomainsAdd(c) => c.run(cx),
        Command::DomainsRemove(c) => c.run(cx),
        Command::DomainsClear(c) => c.run(cx),
        Command::DomainsInfo(c) => c.run(cx),
        Command::DomainsWait(c) => c.run(cx),
        Command::Certs(c) => c.run(cx),
        Command::CertsAdd(c) => c.run(cx),
        Command::CertsUpdate(c) => c.run(cx),
        Command::CertsRemove(c) => c.run(cx),
        Command::CertsInfo(c) => c.run(cx),
        Command::CertsAuto(c) => c.run(cx),
        Command::CertsAutoEnable(c) => c.run(cx),
        Command::CertsAutoDisable(c) => c.run(cx),
        Command::CertsAutoRefresh(c) => c.run(cx),
        Command::GitRemote(c) => c.run(cx),
        Command::GitCredentials(c) => c.run(cx),
        Command::Keys(c) => c.run(cx),
        Command::KeysAdd(c) => c.run(cx),
        Command::KeysRemove(c) => c.run(cx),
        Command::KeysClear(c) => c.run(cx),
        Command::Login(c) => c.run(cx),
        Command::Logout(c) => c.run(cx),
        Command::Whoami(c) => c.run(cx),
        Command::Authorizations(c) => c.run(cx),
        Command::AuthorizationsCreate(c) => c.run(cx),
        Command::AuthorizationsRevoke(c) => c.run(cx),
        Command::Status(c) => c.run(cx),
        Command::Completions(c) => c.run(),
        Command::Manual(c) => c.run(),
        Command::Version(c) => c.run(),
    }
    .map(|()| 0)
}
