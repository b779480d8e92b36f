//! `limits:set` on a host that may have no cgroups of version 2: what the agent then holds by looking. The kernel's own
//! limits are tried by `packaging/test/uml`.

use crate::support::{Host, Settings, eventually};

#[test]
fn memory_is_told_at_the_soft_limit_and_taken_at_the_hard_one() {
    let host = Host::start();
    let repo = host.create("greedy");
    repo.write_sample("greedy");
    repo.commit("First");
    repo.push().ok();
    let releases = host.json(&["releases", "-a", "greedy"]);
    let before = host.dynos("greedy");

    repo.app(&[
        "limits:set",
        "web",
        "--memory",
        "120M",
        "--memory-soft",
        "60M",
        "--disk",
        "16M",
    ])
    .ok()
    .says("60M (R14), 120M (R15)");
    eventually("a dyno with limits takes over", 30, || {
        let now = host.dynos("greedy");
        (now.len() == 1 && now[0].1 == "up" && now != before).then_some(())
    });
    assert_eq!(host.json(&["releases", "-a", "greedy"]), releases);
    repo.app(&["ps:scale"]).ok().says("web=1:Basic");
    host.up("greedy", &["web.1"]);
    let file = host.get("greedy", "/says/sys/fs/cgroup/memory/memory.limit_in_bytes");
    assert_eq!(file.text().trim(), (60 << 20).to_string());

    assert!(host.get("greedy", "/eat/70").text().contains("70 MB"));
    host.logged("greedy", "Error R14 (Memory quota exceeded)");
    host.logged("greedy", "Process running mem=");
    let _ = host.try_get("greedy", "/eat/80");
    host.logged("greedy", "Error R15 (Memory quota vastly exceeded)");
    host.logged("greedy", "killed: out of memory, its limit is 120M");
    host.up("greedy", &["web.1"]);

    let _ = host.try_get("greedy", "/fill/30");
    host.logged("greedy", "wrote more than the 16M of its scratch disk");
}

#[test]
fn a_dyno_above_its_soft_limit_is_replaced_once_and_no_request_fails() {
    let host = Host::start_with(Settings {
        more: "memory_restart_after = 2\n".into(),
        ..Settings::default()
    });
    let repo = host.deploy("shop");
    let before = host.dynos("shop");
    let set = [
        "limits:set",
        "web",
        "--memory",
        "1G",
        "--memory-soft",
        "60M",
        "--memory-restart",
    ];
    repo.app(&set).ok();
    let limited = eventually("a dyno with limits takes over", 30, || {
        let now = host.dynos("shop");
        (now.len() == 1 && now[0].1 == "up" && now != before).then_some(now)
    });
    let load = host.load("shop", 50, 4);
    std::thread::scope(|s| {
        let slow = s.spawn(|| host.get("shop", "/sleep/4000?token=secret").status);
        assert_eq!(host.get("shop", "/alloc/80").text(), "allocated");
        host.logged("shop", "Error R14 (Memory quota exceeded)");
        let said = host.logged("shop", "Memory quota exceeded with ");
        assert!(said.contains("GET /sleep/4000 ("), "{said}");
        assert_eq!(slow.join().expect("it is answered"), 200);
    });
    // R14 is said every 20 s while it lasts, and the one that comes when it is up for so long is the last
    eventually("its replacement is ordered", 60, || {
        let log = host.app(&["logs", "-n", "1500", "-a", "shop"]).ok().out();
        log.contains("because memory-restart is set").then_some(())
    });
    host.logged("shop", "Replacing the dyno, because memory-restart is set");
    let replaced = eventually("another one in its place", 60, || {
        let now = host.dynos("shop");
        (now.len() == 1 && now[0].1 == "up" && now != limited).then_some(now)
    });
    let report = load.finish();
    assert_eq!(report.failures, Vec::<String>::new());
    println!(
        "{} requests, none failed, slowest {:?}",
        report.good, report.slowest
    );
    // The new one is below the limit and stays.
    assert_eq!(host.get("shop", "/alloc/1").text(), "allocated");
    assert_eq!(host.dynos("shop"), replaced);
    let log = host.app(&["logs", "-n", "1500", "-a", "shop"]).ok().out();
    assert_eq!(
        log.matches("because memory-restart is set").count(),
        1,
        "{log}"
    );
}

#[test]
fn sizes_are_names_for_limits() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.app(&["ps:type", "web=standard-2x"])
        .ok()
        .says("1G (R14), 2G (R15)");
    host.up("shop", &["web.1"]);
    repo.app(&["ps:scale"]).ok().says("web=1:Standard-2X");
    repo.app(&["limits:unset", "web"]).ok();
    repo.app(&["ps:scale"]).ok().says("web=1:Basic");
    let r = repo.app(&["ps:type", "web=huge"]);
    assert!(r.text().contains("standard-2x"), "{}", r.text());
}

#[test]
fn profile_scripts_size_an_app_by_its_soft_limit() {
    let host = Host::start();
    let repo = host.create("py");
    repo.write_sample("python-stdlib");
    repo.commit("First");
    repo.push().ok();
    repo.app(&["limits:set", "run", "--memory-soft", "600M"])
        .ok();
    let shown = "echo $DYNO_RAM:$WEB_CONCURRENCY";
    repo.app(&["run", "--", "bash", "-c", shown])
        .ok()
        .says("600:2");
}
