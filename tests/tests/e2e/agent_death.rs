//! The agent dies: apps and traffic go on, and the next agent takes over what runs.

use crate::support::{Host, Outcome, eventually, repo::REMOTE};
use std::time::Duration;

#[test]
fn killed_it_takes_nothing_with_it_and_the_next_one_adopts_all() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["ps:scale", "web=2", "worker=1", "-a", "shop"])
        .ok();
    host.up("shop", &["web.1", "web.2", "worker.1"]);
    let before = host.dynos("shop");
    let load = host.load("shop", 100, 4);
    for _ in 0..3 {
        host.kill_agent();
        let seen = load.answered();
        eventually("traffic goes on", 10, || {
            (load.answered() > seen + 50).then_some(())
        });
        host.start_agent();
        eventually("the dynos are the same as before", 20, || {
            (host.dynos("shop") == before).then_some(())
        });
    }
    let report = load.finish();
    assert_eq!(report.failures, Vec::<String>::new());
    // The new agent is in charge: it deploys, and stops what it did not start.
    repo.version("two");
    repo.push().ok();
    host.must_serve("shop", "two");
    host.up("shop", &["web.1", "web.2", "worker.1"]);
}

#[test]
fn stopped_in_good_order_it_leaves_the_apps_running() {
    let host = Host::start();
    host.deploy("shop");
    let before = host.dynos("shop");
    host.stop_agent();
    host.must_serve("shop", "one");
    host.start_agent();
    assert_eq!(host.dynos("shop"), before);
}

#[test]
fn no_line_is_lost_while_it_is_away() {
    let host = Host::start();
    let repo = host.create("shop");
    repo.write_probe();
    repo.write("mode", "chatter:5");
    repo.version("one");
    repo.push().ok();
    host.logged("shop", "chatter 50");
    host.kill_agent();
    std::thread::sleep(Duration::from_millis(500));
    host.start_agent();
    host.logged("shop", "chatter 300");
    let out = host
        .app(&["logs", "-n", "1500", "-s", "app", "-a", "shop"])
        .ok()
        .out();
    let numbers: Vec<usize> = out
        .lines()
        .filter_map(|l| l.split("chatter ").nth(1)?.parse().ok())
        .collect();
    let expected: Vec<usize> = (numbers[0]..numbers[0] + numbers.len()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_dyno_that_died_meanwhile_is_replaced() {
    let host = Host::start();
    host.deploy("shop");
    host.kill_agent();
    let _ = host.try_get("shop", "/exit/1");
    host.start_agent();
    eventually("it is back", 20, || host.serves("shop"));
}

#[test]
fn after_a_power_cut_everything_comes_back() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["ps:scale", "web=2", "worker=1", "-a", "shop"])
        .ok();
    host.app(&["config:set", "A=kept", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "web.2", "worker.1"]);
    host.power_cut();
    assert!(host.try_get("shop", "/").is_err(), "the router is gone too");
    host.start_agent();
    eventually("it answers again", 30, || host.serves("shop"));
    host.up("shop", &["web.1", "web.2", "worker.1"]);
    assert_eq!(host.get("shop", "/env/A").text(), "kept");
    repo.version("two");
    repo.push().ok();
    host.must_serve("shop", "two");
}

#[test]
fn the_router_killed_is_started_again() {
    let host = Host::start();
    host.deploy("shop");
    for p in host.router_pids() {
        crate::support::host::send(p, nix::sys::signal::Signal::SIGKILL);
    }
    eventually("requests are answered again", 20, || host.serves("shop"));
}

/// When the agent is to die during a push.
enum When {
    /// At this point of its code: `HOKKU_FAULT` of a debug build.
    Point(&'static str),
    /// So many milliseconds after `git push` began.
    After(u64),
}

/// The agent dies during a push, again and again. Each time the app answers throughout, the next agent ends the rollout
/// one way or the other, and the same push succeeds.
fn killed_during_a_push(moments: impl IntoIterator<Item = When>) {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write("mode", "slow:300");
    let mut served = "one".to_owned();
    for (n, when) in moments.into_iter().enumerate() {
        let (version, what) = match when {
            When::Point(p) => (p.to_owned(), format!("at {p}")),
            When::After(ms) => (format!("ms-{ms}"), format!("after {ms} ms")),
        };
        if let When::Point(p) = when {
            host.kill_agent();
            host.start_agent_with(&[("HOKKU_FAULT", p)]);
        }
        let commit = repo.version(&version);
        let load = host.load("shop", 50, 2);
        let c = repo.start_git(&["push", REMOTE, "main"]);
        let push = std::thread::spawn(move || Outcome::of(c, b"", 60));
        match when {
            When::Point(_) => host.agent_ends(),
            When::After(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                host.kill_agent();
            }
        }
        let pushed = push.join().expect("no panic");
        // With the agent gone, what served goes on serving.
        let now = host
            .serves("shop")
            .unwrap_or_else(|| panic!("round {n}, {what}: nothing answers\n{pushed}"));
        assert!(now == served || now == version, "{what}: {now}\n{pushed}");
        if pushed.status == 0 {
            assert_eq!(now, version, "{what}: {pushed}");
        }
        host.start_agent();
        let again = repo.push();
        assert_eq!(
            again.status, 0,
            "round {n}, {what}: {again}\nfirst: {pushed}"
        );
        assert_eq!(repo.remote_head(), Some(commit), "{what}: {again}");
        if again.err().contains("Everything up-to-date") {
            eventually("what git has is what is served", 20, || {
                (host.serves("shop")? == version).then_some(())
            });
        } else {
            host.must_serve("shop", &version);
        }
        host.up("shop", &["web.1"]);
        let report = load.finish();
        assert_eq!(report.failures, Vec::<String>::new(), "round {n}, {what}");
        served = version;
    }
}

#[test]
fn killed_at_each_step_of_a_push_the_old_release_serves_and_the_same_push_succeeds() {
    let points = [
        "push-received",
        "checked-out",
        "built",
        "released",
        "before-promote",
        "after-promote",
        "routed",
    ];
    killed_during_a_push(points.map(When::Point));
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn killed_at_any_moment_of_a_push() {
    killed_during_a_push((0..24).map(|n| When::After(n * 50)));
}
