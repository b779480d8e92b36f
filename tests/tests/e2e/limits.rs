//! `limits:set` on a host that may have no cgroups of version 2: what the agent then holds by looking. The kernel's own
//! limits are tried by `packaging/test/uml`.

use crate::support::{Host, eventually};

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
