//! `ps:scale`, `ps:restart`, `ps:stop`.

use crate::support::{Host, eventually};
use std::collections::BTreeSet;

/// The process ids that answer to this many requests.
fn answering(host: &Host, app: &str, requests: usize) -> BTreeSet<String> {
    (0..requests)
        .map(|_| {
            let a = host.about(app);
            format!("{} {}", a["dyno"], a["port"])
        })
        .collect()
}

#[test]
fn up_and_down() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.app(&["ps:scale", "web=3"]).ok().says("web at 3");
    host.up("shop", &["web.1", "web.2", "web.3"]);
    eventually("all three answer", 10, || {
        (answering(&host, "shop", 30).len() == 3).then_some(())
    });
    repo.app(&["scale", "web=1"]).ok();
    host.up("shop", &["web.1"]);
    assert_eq!(answering(&host, "shop", 30).len(), 1);
    repo.app(&["ps:scale", "web+1"]).ok();
    host.up("shop", &["web.1", "web.2"]);
    // The formation outlives a push.
    repo.version("two");
    repo.push().ok();
    host.up("shop", &["web.1", "web.2"]);
    assert_eq!(answering(&host, "shop", 30).len(), 2);
}

#[test]
fn to_zero_and_back() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["ps:scale", "web=0", "-a", "shop"]).ok();
    let r = eventually("H14", 20, || {
        let r = host.get("shop", "/");
        (r.status == 503).then_some(r)
    });
    drop(r);
    host.logged("shop", "code=H14");
    eventually("no dyno is left", 20, || {
        host.dynos("shop").is_empty().then_some(())
    });
    host.app(&["ps:scale", "web=1", "-a", "shop"]).ok();
    eventually("it answers again", 20, || host.serves("shop"));
}

#[test]
fn a_worker_has_no_port() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["ps:scale", "worker=2", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "worker.1", "worker.2"]);
    for n in [1, 2] {
        host.logged(
            "shop",
            &format!("app[worker.{n}]: worker worker.{n} has PORT=None"),
        );
    }
    host.app(&["ps:scale", "worker=0", "-a", "shop"]).ok();
    host.up("shop", &["web.1"]);
}

#[test]
fn a_type_that_is_not_there_is_refused() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["ps:scale", "wroker=1", "-a", "shop"])
        .fails()
        .says("wroker");
    host.app(&["ps:scale", "web=many", "-a", "shop"]).fails();
    host.up("shop", &["web.1"]);
}

#[test]
fn a_type_that_left_the_procfile_is_stopped() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["ps:scale", "worker=1", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "worker.1"]);
    repo.write("Procfile", "web: ./probe\n");
    repo.version("two");
    repo.push().ok();
    host.up("shop", &["web.1"]);
}

#[test]
fn a_restart_gives_new_processes() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["ps:scale", "web=2", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "web.2"]);
    let before = host.dynos("shop");
    host.app(&["ps:restart", "-a", "shop"]).ok();
    eventually("both are new", 30, || {
        let now = host.dynos("shop");
        (now.len() == 2
            && now
                .iter()
                .all(|d| d.1 == "up" && before.iter().all(|b| b.2 != d.2)))
        .then_some(())
    });
    let before = host.dynos("shop");
    host.app(&["restart", "web.2", "-a", "shop"]).ok();
    eventually("only web.2 is new", 30, || {
        let now = host.dynos("shop");
        (now.len() == 2
            && now.iter().all(|d| d.1 == "up")
            && now[0].2 == before[0].2
            && now[1].2 != before[1].2)
            .then_some(())
    });
}

#[test]
fn a_stopped_dyno_of_the_formation_comes_back() {
    let host = Host::start();
    host.deploy("shop");
    let before = host.dynos("shop");
    host.app(&["ps:stop", "web.1", "-a", "shop"]).ok();
    eventually("a new web.1 is up", 30, || {
        let now = host.dynos("shop");
        (now.len() == 1 && now[0].1 == "up" && now[0].2 != before[0].2).then_some(())
    });
    host.must_serve("shop", "one");
}
