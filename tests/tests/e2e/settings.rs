//! The settings file: SIGHUP takes over what needs no restart, and nothing of a file that is not valid.

use crate::support::{Host, Outcome, eventually};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::fs;

fn agent(host: &Host) -> i32 {
    fs::read_to_string(host.data().join("run/hokkud.pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// Reloads, and waits until the agent has said `word`.
fn reload(host: &Host, word: &str) -> String {
    let before = host.agent_log().len();
    kill(Pid::from_raw(agent(host)), Signal::SIGHUP).expect("it runs");
    eventually(word, 10, || {
        let log = host.agent_log();
        log.get(before..)?
            .lines()
            .find(|l| l.contains(word))
            .map(str::to_owned)
    })
}

#[test]
fn a_reload_takes_over_what_needs_no_restart() {
    let host = Host::start();
    host.deploy("shop");
    let pid = agent(&host);
    let good = fs::read_to_string(host.settings_file()).unwrap();
    let is_health = || {
        host.get("shop", "/are-you-well")
            .text()
            .contains("\"status\":\"ok\",\"table\":")
    };
    assert!(!is_health());

    let new = format!(
        "health_path = \"/are-you-well\"\ndeploy_branches = [\"release\"]\ngit_user = \"nobody\"\n{good}"
    );
    fs::write(host.settings_file(), &new).unwrap();
    let said = reload(&host, "the settings were read again");
    assert!(said.contains("in force now: deploy_branches, health_path; needs a restart (systemctl restart hokkud): git_user"), "{said}");
    eventually("the router knows the path", 10, || {
        is_health().then_some(())
    });

    fs::write(host.settings_file(), format!("healt_path = \"/x\"\n{good}")).unwrap();
    let said = reload(&host, "those before stay in force");
    assert!(
        said.contains("line 1, column 1") && said.contains("did you mean \"health_path\"?"),
        "{said}"
    );
    assert!(is_health());

    fs::write(host.settings_file(), &good).unwrap();
    reload(&host, "in force now: deploy_branches, health_path");
    eventually("the path is the app's again", 10, || {
        (!is_health()).then_some(())
    });
    assert_eq!(agent(&host), pid, "it was the same agent all along");
    reload(&host, "nothing has changed");
}

#[test]
fn check_config_says_where_and_what() {
    let host = Host::start();
    let check = |text: &str| {
        let file = host.write("tried.toml", text.as_bytes(), 0o600);
        let mut command = host.command("hokkud");
        command.arg("check-config").arg(file);
        Outcome::of(command, b"", 10)
    };
    check("apps_domain = \"apps.example.org\"\n")
        .ok()
        .says("tried.toml is valid");
    check("apps_domain = \"x\"\n[retain]\nslug = 3\n")
        .fails()
        .says("line 3, column 1: there is no setting \"slug\" here; did you mean \"slugs\"?");
    check("apps_domain = 5\n")
        .fails()
        .says("line 1, column 15: ");
    check("[build]\nparallel = 0\n")
        .fails()
        .says("line 2, column 1: build.parallel is 0");
}
