//! Health checks of `app.json`: what a start waits for, who gets requests, what is replaced.

use crate::support::{Host, eventually, http::Connection};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// A check of the web dynos that is made every 200 ms and counts after two failures.
fn check(purpose: &str, path: &str) -> String {
    format!(
        r#"{{"type": "{purpose}", "path": "{path}", "attempts": 2, "wait": 0.2, "timeout": 2}}"#
    )
}

fn app_json(checks: &[String]) -> String {
    format!(r#"{{"healthchecks": {{"web": [{}]}}}}"#, checks.join(", "))
}

/// Writes a file in the dyno that listens on this port, or removes it, past the router.
fn order(port: &str, file: &str, ill: bool) {
    let to: SocketAddr = format!("127.0.0.1:{port}").parse().expect("a port");
    let path = match ill {
        true => format!("/write/tmp/{file}"),
        false => format!("/remove/tmp/{file}"),
    };
    let mut c = Connection::open(to).expect("the dyno listens");
    c.send("POST", "shop.localhost", &path, &[], b"x")
        .expect("it takes it");
    assert_eq!(c.receive("POST").expect("it answers").status, 200);
}

/// The ports of the dynos that answer through the router within so many requests.
fn answering(host: &Host) -> BTreeSet<String> {
    let port = |_| {
        host.about("shop")["port"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (0..20).map(port).collect()
}

#[test]
fn a_refusal_is_explained_and_the_old_release_serves_on() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write("app.json", app_json(&[check("startup", "/up")]));
    repo.write("mode", "only-host:shop.example");
    repo.version("two");
    repo.push()
        .fails()
        .says("GET /up with Host: shop.localhost, X-Forwarded-Proto: https was answered with 400 Bad Request")
        .says("add \"shop.localhost\" to ALLOWED_HOSTS")
        .says("v2 stays as it is")
        .says("listening on port")
        .says("Push rejected");
    host.must_serve("shop", "one");
    repo.write("mode", "only-host:shop.localhost");
    repo.version("three");
    repo.push().ok();
    host.must_serve("shop", "three");
}

#[test]
fn a_file_that_is_wrong_is_refused_with_the_place() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write(
        "app.json",
        r#"{"healthchecks": {"web": [{"type": "startup", "timeout": "5s"}]}}"#,
    );
    repo.version("two");
    repo.push()
        .fails()
        .says("app.json: healthchecks.web[0].timeout has to be a number of seconds")
        .says("nothing was changed");
    host.must_serve("shop", "one");
}

#[test]
fn readiness_flaps_under_load_and_no_request_fails() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["ps:scale", "web=2", "-a", "shop"]).ok();
    repo.write("app.json", app_json(&[check("readiness", "/well/sick")]));
    repo.version("two");
    repo.push().ok();
    host.up("shop", &["web.1", "web.2"]);
    let both = eventually("both answer", 20, || {
        Some(answering(&host)).filter(|p| p.len() == 2)
    });
    let [one, two] = [both.first(), both.last()].map(|p| p.expect("two").clone());
    let load = host.load("shop", 100, 8);
    for _ in 0..3 {
        order(&one, "sick", true);
        eventually("it is out of the routes", 20, || {
            (answering(&host) == BTreeSet::from([two.clone()])).then_some(())
        });
        order(&two, "sick", true);
        // Nobody is better: both get requests again.
        eventually("both are in the routes", 20, || {
            (answering(&host) == both).then_some(())
        });
        host.app(&["ps:why", "web.1", "-a", "shop"])
            .ok()
            .says("fails its readiness check")
            .says("no other dyno is better");
        order(&one, "sick", false);
        order(&two, "sick", false);
        eventually("both are well", 20, || {
            let said =
                ["web.1", "web.2"].map(|d| host.app(&["ps:why", d, "-a", "shop"]).ok().text());
            said.iter().all(|s| s.contains("passes")).then_some(())
        });
    }
    let report = load.finish();
    assert_eq!(report.failures, Vec::<String>::new());
    println!(
        "{} requests, none failed, slowest {:?}",
        report.good, report.slowest
    );
}

#[test]
fn what_all_depend_on_breaks_and_not_all_are_restarted() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["ps:scale", "web=4", "-a", "shop"]).ok();
    repo.write("app.json", app_json(&[check("liveness", "/well/dead")]));
    repo.version("two");
    repo.push().ok();
    let names = ["web.1", "web.2", "web.3", "web.4"];
    host.up("shop", &names);
    let all = eventually("all answer", 20, || {
        Some(answering(&host)).filter(|p| p.len() == 4)
    });
    let before: BTreeSet<i32> = host.dynos("shop").iter().map(|d| d.2).collect();
    let load = host.load("shop", 100, 8);
    let begin = Instant::now();
    for port in &all {
        order(port, "dead", true);
    }
    let mut replaced = 0;
    eventually("two are replaced", 30, || {
        let now: BTreeSet<i32> = host.dynos("shop").iter().map(|d| d.2).collect();
        replaced = before.difference(&now).count();
        (replaced >= 2).then_some(())
    });
    // One at a time, with pauses of 1 and 2 s: in these few seconds not all.
    assert!(
        replaced < 4 || begin.elapsed() > Duration::from_secs(3),
        "{replaced} of 4 in {:?}",
        begin.elapsed()
    );
    host.logged(
        "shop",
        "Replacing the process, because its liveness check fails",
    );
    let report = load.finish();
    assert_eq!(report.failures, Vec::<String>::new());
}

#[test]
fn a_first_deploy_has_the_quantities_of_the_file_and_its_own_way_to_stop() {
    let host = Host::start();
    let repo = host.create("shop");
    repo.write_probe();
    repo.write(
        "app.json",
        r#"{"formation": {"web": {"quantity": 2, "stopSignal": "SIGINT", "stopTimeout": 3}}}"#,
    );
    repo.version("one");
    repo.push().ok();
    host.up("shop", &["web.1", "web.2"]);
    host.app(&["ps:scale", "web=1", "-a", "shop"]).ok();
    host.logged("shop", "Stopping all processes with SIGINT");
    host.up("shop", &["web.1"]);
    repo.version("two");
    repo.push().ok();
    host.up("shop", &["web.1"]);
}
