//! No request fails, whatever is changed meanwhile.

use crate::support::{Host, eventually};

fn under_load(rate: u32, connections: u32, changes: impl FnOnce(&Host)) {
    let host = Host::start();
    host.deploy("shop");
    let load = host.load("shop", rate, connections);
    eventually("the load runs", 10, || (load.answered() > 20).then_some(()));
    changes(&host);
    let report = load.finish();
    assert!(
        report.failures.is_empty(),
        "{} of {} requests failed:\n{}",
        report.failures.len(),
        report.good + report.failures.len() as u64,
        report.failures[..report.failures.len().min(30)].join("\n")
    );
    println!(
        "{} requests, none failed, slowest {:?}, versions {:?}",
        report.good, report.slowest, report.versions
    );
}

fn push(host: &Host, version: &str) {
    let repo = crate::support::Repo::new(host, host.dir().join("repos/shop"), "shop");
    repo.version(version);
    repo.push().ok();
    host.must_serve("shop", version);
}

#[test]
fn during_redeploys() {
    under_load(100, 8, |host| {
        for n in 0..3 {
            push(host, &format!("v{n}"));
        }
    });
}

#[test]
fn during_a_rollback() {
    under_load(100, 8, |host| {
        push(host, "two");
        host.app(&["rollback", "-a", "shop"]).ok();
        host.must_serve("shop", "one");
    });
}

#[test]
fn during_scaling() {
    under_load(100, 8, |host| {
        for n in ["web=3", "web=1", "web=2", "web=1"] {
            host.app(&["ps:scale", n, "-a", "shop"]).ok();
            let names: &[&str] = match n {
                "web=3" => &["web.1", "web.2", "web.3"],
                "web=2" => &["web.1", "web.2"],
                _ => &["web.1"],
            };
            host.up("shop", names);
        }
    });
}

#[test]
fn during_restarts() {
    under_load(100, 8, |host| {
        for _ in 0..3 {
            let before = host.dynos("shop");
            host.app(&["ps:restart", "-a", "shop"]).ok();
            eventually("restarted", 30, || {
                let now = host.dynos("shop");
                (now.len() == 1 && now[0].1 == "up" && now[0].2 != before[0].2).then_some(())
            });
        }
    });
}

#[test]
fn during_config_changes() {
    under_load(100, 8, |host| {
        for n in 0..3 {
            host.app(&["config:set", &format!("N={n}"), "-a", "shop"])
                .ok();
            assert_eq!(host.get("shop", "/env/N").text(), n.to_string());
        }
    });
}

#[test]
fn a_slow_answer_of_the_old_version_is_not_cut() {
    let host = Host::start();
    let repo = host.deploy("shop");
    std::thread::scope(|s| {
        let slow = s.spawn(|| host.get("shop", "/sleep/3000"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        repo.version("two");
        repo.push().ok();
        host.must_serve("shop", "two");
        let r = slow.join().expect("no panic");
        assert_eq!(r.status, 200, "{}", r.text());
        assert_eq!(r.json()["version"], "one");
    });
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn five_hundred_requests_a_second_during_everything() {
    under_load(500, 32, |host| {
        for n in 0..20 {
            push(host, &format!("v{n}"));
            match n % 4 {
                0 => host
                    .app(&["config:set", &format!("N={n}"), "-a", "shop"])
                    .ok(),
                1 => host.app(&["rollback", "-a", "shop"]).ok(),
                2 => host
                    .app(&[
                        "ps:scale",
                        if n % 8 == 2 { "web=2" } else { "web=1" },
                        "-a",
                        "shop",
                    ])
                    .ok(),
                _ => host.app(&["ps:restart", "-a", "shop"]).ok(),
            };
        }
    });
}
