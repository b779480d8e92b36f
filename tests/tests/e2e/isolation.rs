//! What a dyno can see and touch.

use crate::support::{Host, eventually, root};

#[test]
fn the_app_s_tree_is_writable_fresh_and_its_own() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["ps:scale", "web=1", "-a", "shop"]).ok();
    let mut c = crate::support::http::Connection::open(host.router()).expect("the router listens");
    let r = c
        .ask("POST", "shop.localhost", "/write/app/note", &[], b"mine")
        .expect("an answer");
    assert_eq!(r.status, 200, "{}", r.text());
    let r = c
        .ask("POST", "shop.localhost", "/write/tmp/note", &[], b"mine")
        .expect("an answer");
    assert_eq!(r.status, 200, "{}", r.text());
    assert_eq!(host.get("shop", "/read/app/note").text(), "mine");
    // Neither a one-off, nor the next dyno, nor the host's /tmp has it.
    let o = host
        .app(&["run", "-a", "shop", "--", "ls", "/app", "/tmp"])
        .ok();
    assert!(!o.out().contains("note"), "{o}");
    let before = host.dynos("shop");
    host.app(&["ps:restart", "-a", "shop"]).ok();
    eventually("restarted", 30, || {
        let now = host.dynos("shop");
        (now.len() == 1 && now[0].1 == "up" && now[0].2 != before[0].2).then_some(())
    });
    assert_eq!(host.get("shop", "/read/app/note").status, 403);
    assert_eq!(host.get("shop", "/read/tmp/note").status, 403);
    assert!(!std::path::Path::new("/tmp/note").exists());
}

#[test]
fn neither_other_apps_nor_the_agent_s_state_can_be_seen() {
    let host = Host::start();
    host.deploy("app1");
    let other = host.create("app10");
    other.write_probe();
    other.write("treasure", "of app10");
    other.version("ten");
    other.push().ok();
    let data = host.data().to_string_lossy().into_owned();
    for path in [
        data.clone(),
        format!("{data}/run/hokkud.sock"),
        host.dir().to_string_lossy().into_owned(),
    ] {
        let listed = host.get("app1", &format!("/list{path}"));
        let seen = if listed.status == 200 {
            listed.text()
        } else {
            String::new()
        };
        assert_eq!(seen, "", "{path} can be seen");
        assert_eq!(host.get("app1", &format!("/read{path}")).status, 403);
    }
    assert_eq!(host.get("app10", "/read/app/treasure").text(), "of app10");
    assert_eq!(host.get("app1", "/read/app/treasure").status, 403);
    // Its own processes only.
    let pids = host.get("app1", "/pids").text();
    assert!(pids.lines().count() < 10, "it sees {pids}");
}

#[test]
fn under_root_each_app_has_a_user_of_its_own() {
    if !root() {
        println!("not root: apps run as the agent's own user");
        return;
    }
    let host = Host::start();
    host.deploy("app1");
    host.deploy("app10");
    let (one, ten) = (host.about("app1"), host.about("app10"));
    assert_ne!(one["uid"], 0);
    assert_ne!(ten["uid"], 0);
    assert_ne!(one["uid"], ten["uid"]);
    // One-offs run as the app too.
    let o = host.app(&["run", "-a", "app1", "--", "id", "-u"]).ok();
    assert_eq!(o.out().trim(), one["uid"].to_string());
    for path in ["/etc/shadow", "/root", "/proc/1/environ"] {
        let r = host.get("app1", &format!("/read{path}"));
        // The passwords are covered by an empty file.
        let nothing = r.status == 200 && path == "/etc/shadow" && r.body.is_empty();
        let refused = r.status == 403 || nothing || path.starts_with("/proc");
        assert!(refused, "{path}");
    }
}

#[test]
fn set_user_id_programs_gain_nothing() {
    let host = Host::start();
    host.deploy("shop");
    let o = host.app(&[
        "run",
        "-a",
        "shop",
        "--",
        "grep",
        "-E",
        "NoNewPrivs|CapEff|CapPrm",
        "/proc/self/status",
    ]);
    let out = o.out();
    assert!(out.contains("NoNewPrivs:\t1"), "{o}");
    assert!(
        out.lines()
            .filter(|l| l.starts_with("Cap"))
            .all(|l| l.ends_with("0000000000000000")),
        "{o}"
    );
}
