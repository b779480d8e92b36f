//! `autoscale`: numbers of dynos that follow the load.

use crate::support::{Host, eventually};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[test]
#[ignore = "slow: run by .ci/run"]
fn requests_in_flight_bring_dynos_and_every_step_is_explained() {
    let host = Host::start();
    host.deploy("shop");
    let set = [
        "autoscale",
        "web",
        "--min",
        "1",
        "--max",
        "3",
        "--target",
        "inflight=2",
        "-a",
        "shop",
    ];
    host.app(&set).ok().says("inflight=2");
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                while !done.load(Relaxed) {
                    let answer = host.try_get("shop", "/sleep/500");
                    assert_eq!(answer.expect("an answer").status, 200);
                }
            });
        }
        eventually("dynos follow", 60, || {
            (host.dynos("shop").len() == 3).then_some(())
        });
        done.store(true, Relaxed);
    });
    host.up("shop", &["web.1", "web.2", "web.3"]);
    let line = host.logged("shop", "Scaled web from 1 to 3");
    assert!(
        line.contains("heroku[autoscale]") && line.contains("in flight per dyno of 2"),
        "{line}"
    );
    host.app(&["autoscale:explain", "web", "-a", "shop"])
        .ok()
        .says("Scaled web from 1 to 3");
    let told = host.json(&["autoscale:explain", "-a", "shop"]);
    assert_eq!(told[0]["quantity"], 3);
    // The bounds hold at once, whatever was measured.
    host.app(&["autoscale", "web", "--max", "2", "-a", "shop"])
        .ok();
    host.up("shop", &["web.1", "web.2"]);
    host.logged("shop", "3 is outside of 1 to 2");
    // Off leaves what there is; by hand it goes on.
    host.app(&["autoscale:off", "web", "-a", "shop"]).ok();
    host.app(&["ps:scale", "web=3", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "web.2", "web.3"]);
    host.app(&["autoscale", "-a", "shop"])
        .ok()
        .says("does not follow its load");
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn requests_that_wait_in_the_router_bring_dynos() {
    let host = Host::start();
    host.deploy("shop");
    for args in [
        &["routing:set", "dyno_connections=2", "-a", "shop"][..],
        &[
            "autoscale",
            "web",
            "--max",
            "4",
            "--target",
            "queue=50ms",
            "-a",
            "shop",
        ],
    ] {
        host.app(args).ok();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..6 {
            s.spawn(|| {
                while !done.load(Relaxed) {
                    let answer = host.try_get("shop", "/sleep/300");
                    assert_eq!(answer.expect("an answer").status, 200);
                }
            });
        }
        eventually("dynos follow", 90, || {
            (host.dynos("shop").len() >= 3).then_some(())
        });
        eventually("nothing waits any more", 60, || {
            let told = host.json(&["autoscale:explain", "-a", "shop"]);
            let measured = told[0]["told"]["measured"].as_array()?.clone();
            let queue = measured.iter().find(|m| m[0] == "queue")?[1]
                .as_str()?
                .to_owned();
            (queue.split(' ').next()?.parse::<u32>().ok()? < 50).then_some(())
        });
        done.store(true, Relaxed);
    });
    let line = host.logged("shop", "heroku[autoscale]");
    assert!(line.contains("ms of 50 ms"), "{line}");
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn workers_follow_the_jobs_that_the_app_counts() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write_executable("depth", "#!/bin/sh\necho counting\necho $JOBS\n");
    repo.commit("count jobs");
    repo.push().ok();
    host.app(&["config:set", "JOBS=250", "-a", "shop"]).ok();
    host.app(&[
        "autoscale",
        "worker",
        "--min",
        "0",
        "--max",
        "4",
        "--target",
        "depth=100",
        "--depth-command",
        "./depth",
        "-a",
        "shop",
    ])
    .ok();
    let workers = || {
        host.dynos("shop")
            .iter()
            .filter(|d| d.0.starts_with("worker."))
            .count()
    };
    eventually("three workers for 250 jobs", 90, || {
        (workers() == 3).then_some(())
    });
    host.logged("shop", "jobs per dyno of 100, asks for 3");
    host.app(&["config:set", "JOBS=many", "-a", "shop"]).ok();
    host.logged("shop", "\"many\" is no number of jobs");
    assert_eq!(workers(), 3, "what can't be counted takes no dyno away");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let host = Host::start();
    host.deploy("shop");
    for (args, word) in [
        (
            &["worker", "--max", "3", "--target", "queue=50ms"][..],
            "gets no requests",
        ),
        (
            &["web", "--min", "4", "--max", "3", "--target", "cpu=70%"],
            "--min 4 is more than --max 3",
        ),
        (
            &["web", "--max", "3", "--target", "speed=9"],
            "no target \"speed\"",
        ),
        (
            &["web", "--max", "3", "--target", "depth=9"],
            "--depth-command",
        ),
        (&["web", "--min", "3"], "does not follow its load yet"),
        (
            &["nosuch", "--max", "3", "--target", "cpu=70%"],
            "process type",
        ),
        (&["web", "--at", "Moon 8:00", "--min", "3"], "no day"),
    ] {
        let args = [&["autoscale"], args, &["-a", "shop"]].concat();
        let refused = host.app(&args).fails();
        assert!(refused.err().contains(word), "{args:?}: {}", refused.err());
    }
    assert_eq!(
        host.json(&["autoscale", "-a", "shop"]),
        serde_json::json!([])
    );
    host.app(&[
        "autoscale",
        "web",
        "--max",
        "3",
        "--target",
        "cpu=70%",
        "-a",
        "shop",
    ])
    .ok();
    host.app(&[
        "autoscale",
        "web",
        "--at",
        "mon-fri 8:00",
        "--min",
        "2",
        "--zone",
        "Europe/Berlin",
        "-a",
        "shop",
    ])
    .ok()
    .says("Mon-Fri 8:00 2-3 (Europe/Berlin)");
    host.app(&["autoscale:off", "web", "--at", "Tue 8:00", "-a", "shop"])
        .fails();
    host.app(&["autoscale:off", "web", "--at", "Mon-Fri 8:00", "-a", "shop"])
        .ok();
    assert_eq!(
        host.json(&["autoscale", "-a", "shop"])[0]["plan"]["schedule"],
        serde_json::json!([])
    );
}
