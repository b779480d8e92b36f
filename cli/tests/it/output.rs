//! What is printed, against canned answers: the texts that scripts and people rely on.

use crate::server::{Answer, Request, Server, app, ok, run};

const RELEASE: &str = r#"{"addon_plan_names":[],"app":{"id":"a"},"created_at":"2024-01-31T12:00:00Z","current":true,
  "description":"Deploy 582fc95f","eligible_for_rollback":true,"id":"r12","output_stream_url":null,"slug":null,
  "status":"succeeded","updated_at":"2024-01-31T12:00:00Z","user":{"id":"u","email":"ann@example.com"},"version":12}"#;
const APP: &str = r#"{"acm":false,"created_at":"2024-01-31T12:00:00Z","id":"a","git_url":"http://127.0.0.1:5000/shop.git",
  "maintenance":false,"name":"shop","owner":{"id":"u","email":"ann@example.com"},"region":{"id":"us","name":"us"},
  "released_at":null,"repo_size":1234,"slug_size":null,"stack":{"id":"s","name":"heroku-22"},
  "build_stack":{"id":"s","name":"heroku-22"},"generation":{"id":"g","name":"cedar"},
  "buildpack_provided_description":"Python","updated_at":"2024-01-31T12:00:00Z","web_url":"http://shop.localhost:8080/"}"#;

fn dyno(name: &str, kind: &str, state: &str) -> String {
    format!(
        r#"{{"app":{{"id":"a"}},"attach_url":null,"command":"python app.py","created_at":"2024-01-31T12:00:00Z","id":"{name}",
        "name":"{name}","release":{{"id":"r","version":12}},"size":"Basic","state":"{state}","type":"{kind}",
        "updated_at":"2024-01-31T12:00:00Z"}}"#
    )
}

fn formation(kind: &str, quantity: u32) -> String {
    format!(
        r#"{{"app":{{"id":"a"}},"command":"x","created_at":"","id":"{kind}","quantity":{quantity},"size":"Basic","type":"{kind}","updated_at":""}}"#
    )
}

fn answers(request: &Request) -> Answer {
    match request.line.as_str() {
        "GET /account" => ok(r#"{"id":"u","email":"ann@example.com"}"#),
        "GET /apps" => ok(format!("[{}]", APP)),
        "GET /apps/shop" | "POST /apps" | "PATCH /apps/a" => ok(APP),
        "GET /apps/shop/config-vars" => ok(r#"{"A":"1","LONG_NAME":"two words","NL":"x\ny's"}"#),
        "PATCH /apps/shop/config-vars" => ok(r#"{"A":"1","FOO":"bar"}"#),
        "GET /apps/shop/releases" => ok(format!("[{RELEASE}]")),
        "GET /apps/shop/releases/12" => ok(RELEASE),
        "GET /apps/shop/releases/12/config-vars" => ok(r#"{"A":"it's"}"#),
        "POST /apps/shop/releases" => ok(RELEASE.replace("\"version\":12", "\"version\":13")),
        "GET /apps/shop/dynos" => ok(format!(
            "[{},{},{}]",
            dyno("web.10", "web", "up"),
            dyno("web.2", "web", "crashed"),
            dyno("run.7", "run", "up")
        )),
        "GET /apps/shop/formation" => ok(format!(
            "[{},{}]",
            formation("web", 2),
            formation("worker", 0)
        )),
        "PATCH /apps/shop/formation" => ok(format!(
            "[{},{}]",
            formation("web", 3),
            formation("worker", 0)
        )),
        "POST /apps/shop/log-sessions" => {
            ok(r#"{"created_at":"","id":"l","logplex_url":"/logs/secret","updated_at":""}"#)
        }
        "GET /logs/secret" => ok("2024-01-31T12:00:00.000000+00:00 app[web.1]: hello\n"),
        line if line.starts_with("DELETE ") || line.ends_with("/actions/stop") => ok("{}"),
        _ => Answer::Json(
            404,
            r#"{"id":"not_found","message":"Couldn't find that app.","resource":"app"}"#.into(),
        ),
    }
}

/// Runs `app` with these words about the app `shop`: status, stdout, stderr.
fn shop(words: &[&str]) -> (i32, String, String) {
    let home = tempfile::tempdir().unwrap();
    run(Server::start(answers)
        .app(home.path())
        .env("HOKKU_APP", "shop")
        .args(words))
}

#[test]
fn commands_print_what_herokus_print() {
    for (words, stdout, stderr) in [
        (&["apps"][..], "=== ann@example.com Apps\n\nshop\n", ""),
        (
            &["config"],
            "=== shop Config Vars\n\nA:         1\nLONG_NAME: two words\nNL:        x\ny's\n",
            "",
        ),
        (
            &["config", "-s"],
            "A=1\nLONG_NAME='two words'\nNL='x\ny'\\''s'\n",
            "",
        ),
        (&["config:get", "A"], "1\n", ""),
        (&["config", "get", "NL", "NONE"], "x\ny's\n\n", ""),
        (
            &["config:get", "A", "NONE", "-j"],
            "{\n  \"A\": \"1\",\n  \"NONE\": null\n}\n",
            "",
        ),
        (
            &["config:set", "FOO=bar"],
            "FOO: bar\n",
            "Setting FOO and restarting shop... done, v12\n",
        ),
        (
            &["config:unset", "X", "Y"],
            "",
            "Unsetting X, Y and restarting shop... done, v12\n",
        ),
        (
            &["ps"],
            "=== web (Basic): python app.py (2)\n\nweb.2: crashed 2024/01/31 12:00:00 +0000\nweb.10: up 2024/01/31 12:00:00 +0000\n\n\
             === run: one-off processes (1)\n\nrun.7 (Basic): up 2024/01/31 12:00:00 +0000: python app.py\n\n",
            "",
        ),
        (&["ps:scale"], "web=2:Basic worker=0:Basic\n", ""),
        (
            &["scale", "web=3"],
            "",
            "Scaling dynos... done, now running web at 3:Basic\n",
        ),
        (&["restart"], "", "Restarting dynos... done\n"),
        (
            &["ps:restart", "web.1"],
            "",
            "Restarting web.1 dyno... done\n",
        ),
        (&["ps", "stop", "web"], "", "Stopping web dynos... done\n"),
        (
            &["releases"],
            "=== shop Releases - Current: v12\n\nv12  Deploy 582fc95f  ann@example.com  2024/01/31 12:00:00 +0000\n",
            "",
        ),
        (&["releases:info", "v12", "-s"], "A='it'\\''s'\n", ""),
        (
            &["logs"],
            "2024-01-31T12:00:00.000000+00:00 app[web.1]: hello\n",
            "",
        ),
        (&["maintenance"], "off\n", ""),
        (&["open", "/x"], "http://shop.localhost:8080/x\n", ""),
        (&["whoami"], "ann@example.com\n", ""),
        (
            &["create", "shop"],
            "http://shop.localhost:8080/ | http://127.0.0.1:5000/shop.git\n",
            "Creating shop... done, shop\n",
        ),
        (
            &["apps:destroy", "--confirm", "shop"],
            "",
            "Destroying shop... done\n",
        ),
        (
            &["rollback", "v12"],
            "",
            "Rolling back shop to v12... done, v13\n ▸    Rollback affects code and config vars; it does not touch data.\n ▸    To undo, run: app rollback v12\n",
        ),
    ] {
        assert_eq!(
            shop(words),
            (0, stdout.to_owned(), stderr.to_owned()),
            "{words:?}"
        );
    }
}

#[test]
fn json_keeps_the_platform_apis_names() {
    for (words, keys) in [
        (
            &["ps", "--json"][..],
            &["name", "type", "state", "command", "updated_at"][..],
        ),
        (
            &["releases", "--json"],
            &["version", "description", "status", "created_at"],
        ),
        (&["apps", "--json"], &["name", "web_url", "git_url"]),
    ] {
        let (status, stdout, _) = shop(words);
        let list: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(status, 0);
        for key in keys {
            assert!(list[0].get(key).is_some(), "{words:?} {key}");
        }
    }
}

#[test]
fn refusals_are_the_servers_words_and_status_2() {
    let (status, stdout, stderr) = shop(&["config", "-a", "other"]);
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (2, "", " ▸    Couldn't find that app.\n")
    );
    let (status, _, stderr) = shop(&["config:set", "FOO=bar", "-a", "other"]);
    let said = "Setting FOO and restarting other... !\n ▸    Couldn't find that app.\n";
    assert_eq!((status, stderr.as_str()), (2, said));
    let (status, _, stderr) = shop(&["confg"]);
    assert!(
        status == 2 && stderr.contains("Did you mean: app config\n"),
        "{stderr}"
    );
}

#[test]
fn what_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(answers);
    let mut app = server.app(home.path());
    assert_eq!(
        run(app.args(["ps:scale", "web=3", "worker-1:big", "-a", "shop"])).0,
        0
    );
    let asked = server.last("PATCH /apps/shop/formation");
    assert_eq!(
        asked.header("accept"),
        Some("application/vnd.heroku+json; version=3")
    );
    assert_eq!(asked.header("authorization"), Some("Bearer t0ken"));
    let wanted = serde_json::json!({ "updates": [
        { "type": "web", "quantity": 3 },
        { "type": "worker", "quantity": "-1", "size": "big" }
    ]});
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&asked.body).unwrap(),
        wanted
    );
    assert_eq!(
        run(server
            .app(home.path())
            .args(["logs", "-a", "shop", "-n", "5", "-p", "web", "-s", "app"]))
        .0,
        0
    );
    let asked: serde_json::Value =
        serde_json::from_str(&server.last("POST /apps/shop/log-sessions").body).unwrap();
    assert_eq!(
        asked,
        serde_json::json!({ "dyno": "web", "lines": 5, "source": "app", "tail": false })
    );
    assert!(
        server.lines().iter().all(|l| !l.contains("//")),
        "{:?}",
        server.lines()
    );
}

#[test]
fn a_dead_server_is_one_clear_sentence() {
    let home = tempfile::tempdir().unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (status, _, stderr) = run(app(home.path())
        .env("HOKKU_URL", format!("http://{gone}"))
        .arg("apps"));
    assert_eq!(status, 1);
    assert!(
        stderr.starts_with(&format!(
            " ▸    Can't reach http://{gone}: Connection refused"
        )),
        "{stderr}"
    );
    let socket = home.path().join("no.sock");
    let (status, _, stderr) = run(app(home.path()).env("HOKKU_SOCKET", &socket).arg("apps"));
    assert!(
        status == 1 && stderr.contains(&format!("Can't reach hokkud at {}", socket.display())),
        "{stderr}"
    );
}

#[test]
fn another_server_is_told_apart_from_hokku() {
    let home = tempfile::tempdir().unwrap();
    let web = Server::start(|r| match r.line.as_str() {
        "GET /apps" => ok("<html>welcome</html>"),
        _ => Answer::Json(502, "<html>bad gateway</html>".into()),
    });
    for words in [&["apps"][..], &["whoami"]] {
        let (status, _, stderr) = run(web.app(home.path()).args(words));
        assert!(
            status > 0 && stderr.contains("Look whether this is the API's address"),
            "{stderr}"
        );
    }
}

#[test]
fn login_keeps_a_working_token_for_its_owner() {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|r| match r.header("authorization") {
        Some("Bearer good") => answers(r),
        _ => Answer::Json(
            401,
            r#"{"id":"unauthorized","message":"Invalid credentials provided."}"#.into(),
        ),
    });
    let login = |token: &str| {
        let mut child = app(home.path())
            .args(["login", &server.url, "--token-stdin"])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(token.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    };
    let file = home.path().join(".config/hokku/config.toml");
    let refused = login("bad\n");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Invalid credentials provided."));
    assert!(!file.exists());
    assert!(login("good\n").status.success());
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        run(app(home.path()).arg("whoami")),
        (0, "ann@example.com\n".into(), String::new())
    );
    assert_eq!(run(app(home.path()).arg("logout")).0, 0);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("good"));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    use std::os::unix::process::ExitStatusExt;
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(answers);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let out = server
        .app(home.path())
        .args(["apps"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        (out.status.signal(), out.stderr.as_slice()),
        (Some(13), &b""[..])
    );
}
