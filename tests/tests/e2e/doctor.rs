//! `hokkud doctor`: what is broken on a host is named, with its remedy. More of it is broken in `packaging/test/nspawn`,
//! on a host with systemd and sshd.

use crate::support::{Host, Outcome, eventually};
use serde_json::Value;
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

fn doctor(host: &Host, settings: &Path, json: bool) -> Outcome {
    let mut command = host.command("hokkud");
    command.arg("doctor").arg("--config").arg(settings);
    if json {
        command.arg("--json");
    }
    Outcome::of(command, b"", 60)
}

/// Verdict, words and remedy of one check, and whether the whole failed.
fn check(host: &Host, settings: &Path, name: &str) -> (String, String, bool) {
    let said = doctor(host, settings, true);
    let all: Value = serde_json::from_str(&said.out()).expect("it is JSON");
    let one = all
        .as_array()
        .expect("it is a list")
        .iter()
        .find(|c| c["name"] == name);
    let one = one.unwrap_or_else(|| panic!("there is no check {name}: {all}"));
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let failed = said.text().contains("\"fail\"");
    assert_eq!(failed, said.status != 0, "{}", said.text());
    (
        text("verdict"),
        format!("{} -> {}", text("says"), text("fix")),
        failed,
    )
}

#[test]
fn a_host_that_works_fails_no_check() {
    let host = Host::start();
    host.deploy("shop");
    let said = doctor(&host, &host.settings_file(), false).ok();
    let text = said.out();
    for line in [
        "ok    settings",
        "ok    disk",
        "ok    data",
        "ok    agent",
        "ok    versions",
        "ok    ports",
        "ok    git",
        " 0 failed",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("1 apps and 1 running dynos"), "{text}");
    // to look leaves no trace: the router's wire is the agent's
    let connected = || host.agent_log().matches("the router is connected").count();
    let before = connected();
    doctor(&host, &host.settings_file(), true).ok();
    host.app(&["ps", "-a", "shop"]).ok();
    assert_eq!(connected(), before);
    assert!(
        !fs::read_dir(host.data().join("run"))
            .unwrap()
            .flatten()
            .any(|e| e.file_name().to_string_lossy().starts_with("doctor"))
    );
}

#[test]
fn what_is_broken_is_named_with_its_remedy() {
    let host = Host::start();
    let file = host.settings_file();
    let good = fs::read_to_string(&file).unwrap();

    fs::write(&file, format!("boot_timout = 3\n{good}")).unwrap();
    let (verdict, words, failed) = check(&host, &file, "settings");
    assert_eq!((verdict.as_str(), failed), ("fail", true));
    assert!(
        words.contains("line 1, column 1")
            && words.contains("did you mean \"boot_timeout\"?")
            && words.contains("check-config"),
        "{words}"
    );
    fs::write(&file, &good).unwrap();

    let key = host.data().join("secret.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (verdict, words, _) = check(&host, &file, "data");
    assert_eq!(verdict, "fail");
    assert!(
        words.contains(&format!("chmod 600 {}", key.display())),
        "{words}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(check(&host, &file, "data").0, "ok");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = other.local_addr().unwrap();
    let elsewhere = host.write(
        "elsewhere.toml",
        format!(
            "data_dir = {:?}\nspawn_router = false\nrouter_listen = [\"{at}\"]\n",
            host.data()
        )
        .as_bytes(),
        0o600,
    );
    let (verdict, words, _) = check(&host, &elsewhere, "ports");
    assert_eq!(verdict, "fail");
    assert!(
        words.contains(&format!("Port {}", at.port()))
            && words.contains(&format!("process {}", std::process::id())),
        "{words}"
    );
    drop(other);
    assert!(
        check(&host, &elsewhere, "ports")
            .1
            .contains("Nobody listens on port")
    );

    host.stop_agent();
    let (verdict, words, failed) = check(&host, &file, "agent");
    assert_eq!((verdict.as_str(), failed), ("fail", true));
    assert!(
        words.contains("does not answer at") && words.contains("systemctl restart hokkud"),
        "{words}"
    );
    host.start_agent();
    eventually("agent and router answer again", 20, || {
        (check(&host, &file, "agent").0 == "ok").then_some(())
    });
}
