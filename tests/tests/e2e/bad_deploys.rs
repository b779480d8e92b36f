//! Five deploys that must fail: each makes the push fail, in words, with the old version still serving.

use crate::support::{Host, Outcome, Repo, Settings, eventually, repo::REMOTE};
use std::{io::Write, net::TcpListener};

#[track_caller]
fn refused(host: &Host, repo: &Repo<'_>, words: &[&str]) {
    let before = repo.remote_head();
    let load = host.load(&repo.app, 50, 2);
    let mut pushed = repo.push().fails();
    for w in words {
        pushed = pushed.says(w);
    }
    pushed.says("Push rejected");
    let report = load.finish();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(
        report.versions.keys().collect::<Vec<_>>(),
        ["one"],
        "only the old version may answer"
    );
    assert_eq!(repo.remote_head(), before, "the ref must not move");
    host.must_serve(&repo.app, "one");
    host.up(&repo.app, &["web.1"]);
}

fn quick() -> Host {
    Host::start_with(Settings {
        boot_timeout: 3,
        ..Settings::default()
    })
}

#[test]
fn one_that_crashes_at_start() {
    let host = quick();
    let repo = host.deploy("shop");
    repo.write("mode", "exit:3");
    repo.version("two");
    // The pusher sees how it ended and what it said last.
    refused(
        &host,
        &repo,
        &["status 3", "exiting with status 3, as ordered"],
    );
    repo.write("mode", "");
    repo.version("three");
    repo.push().ok();
    host.must_serve("shop", "three");
}

#[test]
fn the_pusher_sees_the_lines_of_the_new_dynos_and_of_no_others() {
    let host = quick();
    let repo = host.deploy("shop");
    repo.write("mode", "never");
    repo.version("two");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        let chatter = s.spawn(|| {
            let mut said = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                host.get("shop", "/log/20/line-of-the-old-one");
                said += 1;
            }
            said
        });
        let o = repo.push().fails();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(chatter.join().expect("it talks") > 3);
        o.says("app[web.1]: probe: not listening, as ordered")
            .says("heroku[web.1]: Error R10")
            .never_says("line-of-the-old-one");
    });
}

#[test]
fn one_that_never_listens() {
    let host = quick();
    let repo = host.deploy("shop");
    repo.write("mode", "never");
    repo.version("two");
    refused(&host, &repo, &["R10"]);
}

#[test]
fn one_that_listens_on_the_wrong_port_is_told_on_which() {
    let host = quick();
    let repo = host.deploy("shop");
    let port = host.spare_port();
    repo.write("mode", format!("wrong-port:{port}"));
    repo.version("two");
    refused(&host, &repo, &["R10", &port.to_string()]);
}

#[test]
fn one_whose_port_is_answered_by_somebody_else() {
    let host = Host::start_with(Settings {
        boot_timeout: 4,
        ports: 2,
        ..Settings::default()
    });
    let repo = host.deploy("shop");
    let ours: u16 = host.about("shop")["port"]
        .as_str()
        .and_then(|p| p.parse().ok())
        .expect("a port");
    let first = host.first_dyno_port();
    let next = if ours == first { first + 1 } else { first };
    repo.write("mode", "never");
    repo.version("two");
    let push = repo.start_git(&["push", REMOTE, "main"]);
    let push = std::thread::spawn(move || Outcome::of(push, b"", 60));
    eventually("the new release is being started", 30, || {
        let releases = host.json(&["releases", "-a", "shop"]);
        releases
            .as_array()?
            .iter()
            .any(|r| r["status"] == "pending")
            .then_some(())
    });
    // A stranger takes the port that the new dyno was given and does not use.
    let stranger = TcpListener::bind(("0.0.0.0", next)).expect("nobody listens there");
    std::thread::spawn(move || {
        for mut s in stranger.incoming().flatten() {
            let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstranger\n");
        }
    });
    let pushed = push.join().expect("no panic");
    pushed.fails().says("R10");
    host.must_serve("shop", "one");
}

#[test]
fn one_whose_build_hook_fails() {
    let host = quick();
    let repo = host.deploy("shop");
    repo.write("requirements.txt", "");
    repo.write_executable(
        "bin/pre_compile",
        "#!/bin/bash\necho 'the hook says no'\nexit 9\n",
    );
    repo.version("two");
    refused(&host, &repo, &["the hook says no"]);
}

#[test]
fn one_whose_build_takes_all_memory() {
    let host = Host::start_with(Settings {
        more: "build = { memory = 60_000_000 }\n".into(),
        ..Settings::default()
    });
    let repo = host.deploy("shop");
    repo.write("requirements.txt", "");
    repo.write_executable(
        "bin/pre_compile",
        "#!/bin/bash\nexec perl -e '$x = \"x\" x 200_000_000; sleep 30'\n",
    );
    repo.version("two");
    refused(&host, &repo, &["more than 57.2M of memory", "build.memory"]);
}

#[test]
fn one_that_wants_a_runtime_that_cannot_be_had() {
    let host = quick();
    let repo = host.deploy("shop");
    repo.write("requirements.txt", "");
    repo.write(".python-version", "3.99\n");
    repo.version("two");
    refused(&host, &repo, &["3.99", "3.11"]);
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn one_with_a_requirement_that_does_not_exist() {
    let host = quick();
    let repo = host.deploy("shop");
    repo.write("requirements.txt", "no-such-package-of-anybody==99.1\n");
    repo.version("two");
    refused(&host, &repo, &["no-such-package-of-anybody"]);
}

#[test]
fn a_config_change_that_breaks_the_app_is_given_up_and_says_what_the_app_said() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["config:set", "PROBE_MODE=exit:3", "-a", "shop"])
        .fails()
        .says("The last lines of its log:")
        .says("app[web.1]: probe: exiting with status 3, as ordered")
        .says("The release before it still serves.");
    host.must_serve("shop", "one");
}
