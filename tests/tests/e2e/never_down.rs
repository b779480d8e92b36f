//! SIGKILL to each kind of process at each step of a deploy, with load on; and an agent that finds two hundred dynos.
//!
//! What was lost is printed as a table: `cargo nextest run -p hokku-tests --run-ignored all -E 'test(never_down)' --no-capture`.

use crate::support::{
    Host, Settings, eventually, host::send, load::Report, repo::REMOTE, repo::Repo,
};
use nix::sys::signal::Signal::SIGKILL;
use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// Connections of the load: so many requests can be under way in what is killed.
const CONNECTIONS: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Agent,
    Router,
    Shim,
    Dyno,
    Everything,
}

/// Lines of a push, in their order; the victim dies as soon as the pusher reads one. The first: no push is under way.
const STEPS: [&str; 5] = [
    "",
    "Discovering process types",
    "Launching...",
    "Released v",
    "Verifying deploy",
];

/// The push, and a thread that reads on, so that it never waits for its reader.
fn push_until(repo: &Repo, line: &str) -> Child {
    let mut command = repo.start_git(&["push", REMOTE, "main"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git starts");
    let (tell, told) = std::sync::mpsc::channel();
    let (err, wanted) = (child.stderr.take().expect("piped"), line.to_owned());
    std::thread::spawn(move || {
        let mut seen = false;
        // lines end with CR where git overwrites its own
        for part in BufReader::new(err).split(b'\n').map_while(Result::ok) {
            if !seen && String::from_utf8_lossy(&part).contains(&wanted) {
                seen = true;
                let _ = tell.send(());
            }
        }
    });
    // a push that ended before is seen by its end
    let _ = told.recv_timeout(Duration::from_secs(60));
    child
}

/// The shim of a dyno that runs.
fn shim(host: &Host) -> i32 {
    let dynos = host.dynos("shop").into_iter();
    let mut running = dynos.map(|(_, _, pid)| pid).filter(|pid| *pid > 0);
    running.next().expect("a dyno runs")
}

fn kill(host: &Host, victim: Victim) {
    match victim {
        Victim::Agent => host.kill_agent(),
        Victim::Router => host
            .router_pids()
            .into_iter()
            .for_each(|p| send(p, SIGKILL)),
        Victim::Shim => send(shim(host), SIGKILL),
        Victim::Dyno => {
            let children = |pid: i32| -> Vec<i32> {
                let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
                    .unwrap_or_default();
                text.split_whitespace()
                    .filter_map(|p| p.parse().ok())
                    .collect()
            };
            let mut inside = children(shim(host));
            let mut at = 0;
            while let Some(pid) = inside.get(at).copied() {
                inside.extend(children(pid));
                at += 1;
            }
            inside.into_iter().rev().for_each(|p| send(p, SIGKILL));
        }
        Victim::Everything => host.power_cut(),
    }
}

/// From the kill until ten requests in a row are answered.
fn back(host: &Host) -> Duration {
    let start = Instant::now();
    eventually("it serves again", 60, || {
        (0..10).all(|_| host.serves("shop").is_some()).then_some(())
    });
    start.elapsed()
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn whoever_is_killed_at_whatever_step_all_comes_back() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write("mode", "slow:200");
    host.app(&["ps:scale", "web=2", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "web.2"]);
    println!("| killed | at | requests | lost | back after |\n| --- | --- | --- | --- | --- |");
    for victim in [
        Victim::Agent,
        Victim::Router,
        Victim::Shim,
        Victim::Dyno,
        Victim::Everything,
    ] {
        for (n, step) in STEPS.into_iter().enumerate() {
            let version = format!("{victim:?}-{n}").to_lowercase();
            repo.version(&version);
            let load = host.load("shop", 100, CONNECTIONS);
            eventually("load is on", 10, || (load.answered() > 20).then_some(()));
            let push = (!step.is_empty()).then(|| push_until(&repo, step));
            kill(&host, victim);
            if matches!(victim, Victim::Agent | Victim::Everything) {
                host.start_agent();
            }
            let took = back(&host);
            if let Some(mut push) = push {
                eventually("the push ends", 60, || push.try_wait().expect("our child"));
            }
            repo.push().ok();
            eventually("the pushed version serves", 30, || {
                (host.serves("shop")? == version).then_some(())
            });
            host.up("shop", &["web.1", "web.2"]);
            let Report { good, failures, .. } = load.finish();
            let lost = failures.len();
            let at = if step.is_empty() { "rest" } else { step };
            println!(
                "| {victim:?} | {at} | {} | {lost} | {} ms |",
                good as usize + lost,
                took.as_millis()
            );
            let bound = match victim {
                // nothing that carries requests was touched
                Victim::Agent => 0,
                // what was under way in it, and what came to it before the router heard of its end
                Victim::Shim | Victim::Dyno => 2 * CONNECTIONS as usize,
                // nobody listens until the next one does
                Victim::Router | Victim::Everything => usize::MAX,
            };
            assert!(lost <= bound, "{victim:?} at {at}: {failures:#?}");
            assert!(
                took < Duration::from_secs(15),
                "{victim:?} at {at}: back after {took:?}"
            );
        }
    }
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn an_agent_that_finds_two_hundred_dynos_takes_them_all_over() {
    let host = Host::start_with(Settings::default());
    host.deploy("shop");
    host.app(&["ps:scale", "web=100", "worker=100", "-a", "shop"])
        .ok();
    let all_up = || {
        let dynos = host.dynos("shop");
        (dynos.len() == 200 && dynos.iter().all(|d| d.1 == "up")).then_some(dynos)
    };
    let before = eventually("two hundred are up", 240, all_up);
    for _ in 0..3 {
        let load = host.load("shop", 50, CONNECTIONS);
        host.kill_agent();
        let start = Instant::now();
        host.start_agent();
        let after = eventually("the same two hundred", 60, all_up);
        println!(
            "200 dynos are listed as up {} ms after the start",
            start.elapsed().as_millis()
        );
        assert_eq!(before, after);
        let report = load.finish();
        assert_eq!(report.failures, Vec::<String>::new());
    }
    let adopted = host
        .agent_log()
        .lines()
        .filter(|l| l.contains("adopted running dynos count=200"))
        .count();
    assert_eq!(adopted, 3, "{}", host.agent_log());
    host.app(&["ps:scale", "web=1", "worker=0", "-a", "shop"])
        .ok();
    host.up("shop", &["web.1"]);
}
