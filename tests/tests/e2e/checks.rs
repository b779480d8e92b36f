//! Checks of kind `command`, `onFailure`, and what people ask of checks: `app checks`, `app checks:run`.

use crate::support::{Host, eventually};

fn app_json(kind: &str, checks: &[serde_json::Value]) -> String {
    serde_json::json!({"healthchecks": {kind: checks}}).to_string()
}

#[test]
fn a_command_decides_whether_a_release_starts_and_says_why_not() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["config:set", "LEVEL=7", "-a", "shop"]).ok();
    let script =
        "echo checking $DYNO at level $LEVEL; test -e /app/good || { echo no good >&2; exit 3; }";
    let check = |timeout: f64, script: &str| {
        serde_json::json!({
            "type": "startup", "name": "migrated", "attempts": 2, "wait": 0.1, "timeout": timeout,
            "command": ["bash", "-c", script],
            "onFailure": {"command": ["bash", "-c", "echo told: $HOKKU_CHECK_NAME, $HOKKU_CHECK_TYPE"]},
        })
    };
    repo.write("app.json", app_json("web", &[check(5.0, script)]));
    repo.version("two");
    repo.push()
        .fails()
        .says("ended with exit status 3. It said: checking web.1 at level 7 / no good")
        .says("Push rejected");
    host.must_serve("shop", "one");
    host.logged("shop", "onFailure of the startup check \"migrated\"");
    host.logged("shop", "told: migrated, startup");

    // one that does not end is killed
    let mark = format!("88{}", host.api().port());
    repo.write(
        "app.json",
        app_json("web", &[check(0.5, &format!("echo begun; sleep {mark}"))]),
    );
    repo.version("three");
    repo.push()
        .fails()
        .says("did not end within 0.5 s and was killed. It said: begun");
    host.must_serve("shop", "one");
    eventually("nothing of the check is left", 10, || {
        let all = std::fs::read_dir("/proc")
            .expect("proc is mounted")
            .flatten();
        let mut lines = all.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok());
        let sleeps = format!("sleep\0{mark}");
        (!lines.any(|l| String::from_utf8_lossy(&l).contains(&sleeps))).then_some(())
    });

    repo.write("good", "yes");
    repo.write("app.json", app_json("web", &[check(5.0, script)]));
    repo.version("four");
    repo.push().ok();
    host.must_serve("shop", "four");
    host.app(&["checks", "-a", "shop"])
        .ok()
        .says("startup \"migrated\": `bash -c")
        .says("5 s for a try, every 0.1 s, fails after 2")
        .says("on failure: run `bash -c")
        .says("startup \"migrated\": passes in ");
}

#[test]
fn a_command_watches_a_worker_and_it_is_replaced() {
    let host = Host::start();
    let repo = host.deploy("shop");
    let check = |purpose: &str, file: &str| {
        serde_json::json!({
            "type": purpose, "name": file, "attempts": 2, "wait": 0.2, "timeout": 5,
            "command": ["bash", "-c", format!("test ! -e /tmp/{file} || {{ echo found {file}; exit 1; }}")],
        })
    };
    let checks = [check("liveness", "dead"), check("readiness", "sick")];
    repo.write("app.json", app_json("worker", &checks));
    repo.write("Procfile", "web: ./probe\nworker: ./probe worker\n");
    repo.version("two");
    repo.push().ok();
    host.app(&["ps:scale", "worker=1", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "worker.1"]);
    let passes = |o: crate::support::Outcome| o.ok().out().matches(": passes").count();
    assert_eq!(passes(host.app(&["checks:run", "worker", "-a", "shop"])), 2);

    host.app(&[
        "ps:exec",
        "worker.1",
        "-a",
        "shop",
        "--",
        "touch",
        "/tmp/sick",
    ])
    .ok();
    let o = host.app(&["checks:run", "worker", "-a", "shop"]);
    assert_eq!(o.status, 1, "{o}");
    o.says("readiness \"sick\": failed")
        .says("It said: found sick");
    eventually("the checks show it", 20, || {
        let said = host.app(&["checks", "worker", "-a", "shop"]).ok().out();
        (said.contains("readiness \"sick\": failed")
            && said.contains("Why: worker.1 of v3 fails its readiness check"))
        .then_some(())
    });
    let json = host.json(&["checks", "worker", "-a", "shop"]);
    let results = &json[0]["dynos"][0]["results"];
    assert_eq!(results[0]["state"], "passes", "{json}");
    assert_eq!(results[1]["state"], "failed", "{json}");
    assert!(
        results[1]["text"]
            .as_str()
            .is_some_and(|t| t.contains("found sick")),
        "{json}"
    );

    let before = host.dynos("shop");
    host.app(&[
        "ps:exec",
        "worker.1",
        "-a",
        "shop",
        "--",
        "touch",
        "/tmp/dead",
    ])
    .ok();
    host.logged(
        "shop",
        "Replacing the process, because its liveness check fails",
    );
    eventually("another worker is up", 30, || {
        let now = host.dynos("shop");
        (now.len() == 2 && now.iter().all(|d| d.1 == "up") && now != before).then_some(())
    });
}

#[test]
fn what_is_not_in_app_json_is_shown_as_it_is() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write("Procfile", "web: ./probe\nworker: ./probe worker\n");
    repo.version("two");
    repo.push().ok();
    host.app(&["checks", "-a", "shop"])
        .ok()
        .says("the first answer to GET / on $PORT")
        .says("nothing is checked: a dyno is up when its process runs");
    host.app(&["checks:run", "-a", "shop"])
        .ok()
        .says("startup \"default\": passes in ");
    host.app(&["checks:run", "none", "-a", "shop"])
        .fails()
        .says("no process type none");
}
