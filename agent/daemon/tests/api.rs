//! The API as clients meet it, over TCP and over the Unix socket, with a real store.

mod support;

use axum::body::Body;
use hokku_agent::ops::Actor;
use hokku_model::{Micros, ProcessType, release::Slug};
use serde_json::{Value, json};
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};
use support::{
    World,
    http::{Client, read_until},
    until,
};

fn root(world: &World) -> Client<'_> {
    Client {
        world,
        unix: true,
        authorization: None,
    }
}

async fn ann(world: &World) -> Client<'_> {
    let token = world.token("ann@example.org").await;
    Client {
        world,
        unix: false,
        authorization: Some(format!("Bearer {token}")),
    }
}

fn slug(digit: char) -> Slug {
    let types = [("web", "bin/web"), ("worker", "bin/work")];
    Slug {
        app_json: Default::default(),
        digest: digit.to_string().repeat(64).parse().unwrap(),
        size: 12345,
        process_types: types
            .into_iter()
            .map(|(t, c)| (t.parse::<ProcessType>().unwrap(), c.to_owned()))
            .collect::<BTreeMap<_, _>>(),
        buildpack: "Python".into(),
        buildpacks: vec![],
        commit: digit.to_string().repeat(40),
        routing: Default::default(),
    }
}

async fn deploy(world: &World, app: &hokku_model::app::App, digit: char) -> u32 {
    let slug = slug(digit);
    let commit = slug.commit.clone();
    let ann = Actor::new("ann@example.org");
    let made = world
        .ops
        .release_from_build(&ann, app.id, slug, &commit)
        .await
        .unwrap();
    let version = made.release.version;
    world.ops.promote(app.id, version).await.unwrap();
    version
}

async fn api_log(world: &World, app: &hokku_model::app::App) -> Vec<String> {
    let lines = world.logs.recent(app.id, 100, Default::default()).await;
    lines
        .into_iter()
        .filter(|l| l.source == "app" && l.dyno == "api")
        .map(|l| l.text)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask() {
    let w = World::new().await;
    let socket = std::fs::metadata(w.config.socket()).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o666);
    assert_eq!(root(&w).get("/account").await.json()["email"], "root");
    let ann = ann(&w).await;
    assert_eq!(ann.get("/account").await.json()["email"], "ann@example.org");
    let token = ann.authorization.clone().unwrap().replace("Bearer ", "");
    use base64::{Engine, engine::general_purpose::STANDARD};
    for user in ["", "any", "ann@example.org"] {
        let basic = Client {
            world: &w,
            unix: false,
            authorization: Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{user}:{token}"))
            )),
        };
        assert_eq!(
            basic.get("/account").await.json()["email"],
            "ann@example.org"
        );
    }
    for authorization in [
        None,
        Some("Bearer wrong".to_owned()),
        Some("Basic ???".into()),
    ] {
        for unix in [false, true] {
            if unix && authorization.is_none() {
                continue;
            }
            let nobody = Client {
                world: &w,
                unix,
                authorization: authorization.clone(),
            };
            let answer = nobody.get("/apps").await;
            assert_eq!(answer.status, 401);
            assert_eq!(answer.json()["id"], "unauthorized");
            assert!(answer.headers.contains_key("www-authenticate"));
        }
    }
    // tokens are made, listed and ended
    let made = ann
        .ok(
            "POST",
            "/oauth/authorizations",
            json!({"description": "ci"}),
        )
        .await;
    let secret = made["access_token"]["token"].as_str().unwrap().to_owned();
    let ci = Client {
        world: &w,
        unix: false,
        authorization: Some(format!("Bearer {secret}")),
    };
    assert_eq!(ci.get("/account").await.status, 200);
    let listed = ann.get("/oauth/authorizations").await;
    assert!(!listed.text.contains(&secret) && listed.text.contains("\"ci\""));
    let path = format!("/oauth/authorizations/{}", made["id"].as_str().unwrap());
    ann.ok("DELETE", &path, json!({})).await;
    assert_eq!(ci.get("/account").await.status, 401);
    let for_bob = json!({"email": "bob@example.org"});
    assert_eq!(
        ann.ask("POST", "/oauth/authorizations", for_bob.clone())
            .await
            .status,
        403
    );
    let bob = root(&w).ok("POST", "/oauth/authorizations", for_bob).await;
    assert_eq!(bob["user"]["email"], "bob@example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unix_socket_does_not_take_strangers_for_root() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let w = World::with(|c| c.git_user = Some("games".into())).await;
    std::fs::set_permissions(w.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBwVWCIU0ZNPmmV2k0BqGmPzJKqR9Vd2JqS9pVqU0c3L x";
    let key = w.ops.add_key("ann@example.org", key).await.unwrap();
    let socket = w.config.socket();
    let ask = async |uid: u32, args: &[&str]| {
        let mut curl = tokio::process::Command::new("curl");
        curl.uid(uid).gid(uid).args(["-s", "--unix-socket"]);
        let out = curl.arg(&socket).args(args).output();
        let out = out
            .await
            .expect("this test needs curl: apt-get install curl");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let games = nix::unistd::User::from_name("games").unwrap().unwrap();
    let key = format!("hokku-key: {}", key.id);
    let ssh = ["-X", "POST", "-H", &key, "http://x/hokku/git/ssh"];
    for uid in [65534, games.uid.as_raw()] {
        let text = ask(uid, &["http://x/account"]).await;
        assert!(text.contains("unauthorized"), "{uid}: {text}");
        let hook = ["-X", "POST", "http://x/hokku/git/pre-receive"];
        let text = ask(uid, &hook).await;
        assert!(text.contains("does not know this push"), "{uid}: {text}");
    }
    // only the user of sshd's forced command may speak for a key
    let text = ask(65534, &ssh).await;
    assert!(text.contains("is for sshd's forced command"), "{text}");
    let text = ask(games.uid.as_raw(), &ssh).await;
    assert!(text.contains("Hi ann@example.org!"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_are_made_found_changed_and_destroyed() {
    let w = World::new().await;
    let c = ann(&w).await;
    let answer = c
        .ask(
            "POST",
            "/apps",
            json!({"name": "myapp", "region": "us", "x": [1]}),
        )
        .await;
    assert_eq!(answer.status, 201);
    let app = answer.json();
    assert_eq!(app["git_url"], format!("http://{}/myapp.git", w.addr));
    assert_eq!(app["owner"]["email"], "ann@example.org");
    assert_eq!(app["generation"]["name"], "cedar");
    assert!(app["slug_size"].is_null() && app["repo_size"].is_null());
    let id = app["id"].as_str().unwrap();
    assert_eq!(c.get(&format!("/apps/{id}")).await.json(), app);
    assert_eq!(c.get("/apps").await.json(), json!([app]));
    assert_eq!(c.get("/users/~/apps").await.json(), json!([app]));
    for name in ["myapp", "My App", "a"] {
        let no = c.ask("POST", "/apps", json!({"name": name})).await;
        assert_eq!(
            (no.status.as_u16(), no.json()["id"].clone()),
            (422, json!("invalid_params"))
        );
    }
    let generated = c.ok("POST", "/apps", json!({})).await;
    assert!(generated["name"].as_str().unwrap().len() > 3);
    let changed = json!({"name": "newname", "maintenance": true});
    let renamed = c.ok("PATCH", "/apps/myapp", changed).await;
    assert_eq!(
        (&renamed["name"], &renamed["maintenance"]),
        (&json!("newname"), &json!(true))
    );
    let gone = c.get("/apps/myapp").await;
    assert_eq!(
        gone.json(),
        json!({"id": "not_found", "message": "Couldn't find that app.", "resource": "app"})
    );
    for (path, status) in [
        ("addons", 200),
        ("features", 200),
        ("collaborators", 200),
        ("domains", 200),
        ("buildpack-installations", 200),
        ("pipeline-couplings", 404),
    ] {
        let answer = c.get(&format!("/apps/newname/{path}")).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
    assert_eq!(
        c.get("/apps/newname/domains").await.json()[0]["hostname"],
        "newname.localhost"
    );
    c.ok("DELETE", "/apps/newname", json!({})).await;
    assert_eq!(c.get("/apps/newname").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_formation_and_releases() {
    let w = World::new().await;
    let app = w.app("myapp").await;
    let c = ann(&w).await;
    let odd = "a\n'\"$x ü\u{1F600}";
    let vars = c
        .ok(
            "PATCH",
            "/apps/myapp/config-vars",
            json!({"ODD": odd, "EMPTY": "", "GONE": "1"}),
        )
        .await;
    assert_eq!(vars, json!({"ODD": odd, "EMPTY": "", "GONE": "1"}));
    c.ok("PATCH", "/apps/myapp/config-vars", json!({"GONE": null}))
        .await;
    assert_eq!(
        c.get("/apps/myapp/config-vars").await.json(),
        json!({"ODD": odd, "EMPTY": ""})
    );
    let wrong = c
        .ask(
            "PATCH",
            "/apps/myapp/config-vars",
            json!({"A": "1", "B": 2}),
        )
        .await;
    assert!(
        wrong.status == 422 && wrong.message().contains("\"B\""),
        "{}",
        wrong.text
    );
    assert_eq!(
        c.get("/apps/myapp/config-vars").await.json()["A"],
        Value::Null
    );

    let v4 = deploy(&w, &app, '1').await;
    let v5 = deploy(&w, &app, '2').await;
    assert_eq!((v4, v5), (4, 5));
    let range = c
        .request("GET", "/apps/myapp/releases")
        .header("range", "version ..; order=desc,max=2");
    let answer = c.send(range.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 206);
    let versions = |j: &Value| -> Vec<u64> {
        j.as_array()
            .unwrap()
            .iter()
            .map(|r| r["version"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(versions(&answer.json()), [5, 4]);
    let next = answer.headers["next-range"].to_str().unwrap();
    let rest = c
        .request("GET", "/apps/myapp/releases")
        .header("range", next);
    let rest = c.send(rest.body(Body::empty()).unwrap()).await;
    assert_eq!(versions(&rest.json()), [3, 2]);
    assert_eq!(
        versions(&c.get("/apps/myapp/releases").await.json()),
        [1, 2, 3, 4, 5]
    );
    let bad = c
        .request("GET", "/apps/myapp/releases")
        .header("range", "nonsense");
    assert_eq!(c.send(bad.body(Body::empty()).unwrap()).await.status, 416);
    let shown = c.get("/apps/myapp/releases/v5").await.json();
    assert_eq!(
        (&shown["current"], &shown["status"]),
        (&json!(true), &json!("succeeded"))
    );
    assert_eq!(c.get("/apps/myapp/releases/5").await.json(), shown);
    let by_id = format!("/apps/myapp/releases/{}", shown["id"].as_str().unwrap());
    assert_eq!(c.get(&by_id).await.json(), shown);
    assert_eq!(
        c.get("/apps/myapp/releases/2/config-vars").await.json()["GONE"],
        "1"
    );
    assert_eq!(
        c.get("/apps/myapp/releases/99").await.json()["resource"],
        "release"
    );

    let back = c
        .ask("POST", "/apps/myapp/releases", json!({"release": "v4"}))
        .await;
    assert_eq!(back.status, 201, "{}", back.text);
    assert_eq!(back.json()["description"], "Rollback to v4");
    w.ops
        .abandon(app.id, 6, "web.1 listened on 3000")
        .await
        .unwrap();
    let failed = c.get("/apps/myapp/releases/6").await.json();
    let url = failed["output_stream_url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{}", w.addr)).unwrap();
    let nobody = Client {
        world: &w,
        unix: false,
        authorization: None,
    };
    assert_eq!(nobody.get(path).await.text, "web.1 listened on 3000\n");
    assert_eq!(nobody.get(&format!("{path}x")).await.status, 404);
    assert_eq!(
        c.ask("POST", "/apps/myapp/releases", json!({}))
            .await
            .status,
        422
    );

    let updates = json!({"updates": [{"type": "web", "quantity": "3", "size": "Standard-2X"}, {"type": "worker", "quantity": "+1"}]});
    let scaled = c.ok("PATCH", "/apps/myapp/formation", updates).await;
    let text: Vec<_> = scaled
        .as_array()
        .unwrap()
        .iter()
        .map(|f| format!("{}={}", f["type"], f["quantity"]))
        .collect();
    assert_eq!(text, ["\"web\"=3", "\"worker\"=1"]);
    let one = c
        .ok("PATCH", "/apps/myapp/formation/web", json!({"quantity": 2}))
        .await;
    assert_eq!(one["quantity"], 2);
    assert_eq!(c.get("/apps/myapp/formation/web").await.json(), one);
    assert_eq!(c.get("/apps/myapp/formation/nope").await.status, 404);
    for quantity in [json!(-1), json!([]), json!("x"), json!(1e9)] {
        let no = c
            .ask(
                "PATCH",
                "/apps/myapp/formation/web",
                json!({"quantity": quantity}),
            )
            .await;
        assert_eq!(no.status, 422, "{}", no.text);
    }

    let lines = api_log(&w, &app).await;
    let by = "by user ann@example.org";
    for line in [
        format!("Set EMPTY, GONE, ODD config vars {by}"),
        format!("Remove GONE config vars {by}"),
        format!("Release v3 created {by}"),
        format!("Rollback to v4 {by}"),
        format!("Scaled to web@3:Standard-2X worker@1:Basic {by}"),
    ] {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
    assert!(
        !lines.iter().any(|l| l.contains('$')),
        "no values in the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dynos_are_run_restarted_and_stopped() {
    let w = World::new().await;
    let app = w.app("myapp").await;
    deploy(&w, &app, '1').await;
    let c = ann(&w).await;
    let body = json!({"attach": true, "command": "bash -c 'exit 3'", "env": {"TERM": "xterm", "COLUMNS": 132, "LINES": "50"}});
    let answer = c.ask("POST", "/apps/myapp/dynos", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let dyno = answer.json();
    assert_eq!(dyno["name"], "run.1000");
    assert_eq!(dyno["release"]["version"], 1);
    let attach = dyno["attach_url"].as_str().unwrap();
    assert!(
        attach.starts_with("/hokku/apps/myapp/dynos/") && attach.contains("secret="),
        "{attach}"
    );
    {
        let runs = w.control.runs.lock().unwrap();
        assert_eq!((runs[0].pty, runs[0].attach), (Some((50, 132)), true));
        assert_eq!(runs[0].user, "ann@example.org");
    }
    // the link is for this dyno alone, and for a WebSocket
    let nobody = Client {
        world: &w,
        unix: false,
        authorization: None,
    };
    assert_eq!(nobody.get(attach).await.status, 426);
    let other = attach.replace("3e8/", "3e9/");
    assert_ne!(other, attach);
    assert_eq!(nobody.get(&other).await.status, 404);
    assert_eq!(
        nobody.get(attach.split('?').next().unwrap()).await.status,
        404
    );
    let detached = json!({"argv": ["a b", "$x"], "type": "job", "time_to_live": 60});
    let detached = c.ok("POST", "/apps/myapp/dynos", detached).await;
    assert_eq!(
        (&detached["name"], &detached["attach_url"]),
        (&json!("job.1001"), &Value::Null)
    );

    let view = |name: &str, id: u128, oneoff: bool| hokku_agent::control::DynoView {
        record: hokku_model::dyno::DynoRecord {
            id: hokku_model::DynoId(id),
            name: name.parse().unwrap(),
            app: app.id,
            app_name: app.name.clone(),
            version: 2,
            slug: None,
            port: None,
            command: "x".into(),
            started_at: Micros::now(),
            oneoff,
            purpose: Default::default(),
            quota: Default::default(),
            care: Default::default(),
        },
        state: "up",
        since: Micros::now(),
        pid: 4711,
        why: String::new(),
    };
    *w.control.dynos.lock().unwrap() = vec![view("run.1234", 5, true), view("web.1", 6, false)];
    let list = c.get("/apps/myapp/dynos").await.json();
    assert_eq!(
        (
            &list[1]["name"],
            &list[1]["state"],
            &list[1]["release"]["version"]
        ),
        (&json!("web.1"), &json!("up"), &json!(2))
    );
    assert_eq!(c.get("/apps/myapp/dynos/web.1").await.json(), list[1]);
    assert_eq!(
        c.get("/apps/myapp/dynos/web.7").await.json()["resource"],
        "dyno"
    );
    for path in [
        "dynos",
        "dynos/web",
        "dynos/web.1",
        "formations/worker",
        "dynos/run.1234",
    ] {
        let answer = c
            .ask("DELETE", &format!("/apps/myapp/{path}"), json!({}))
            .await;
        assert_eq!(answer.status, 202, "{path}: {}", answer.text);
    }
    let restarts = w.ops.app(app.id).await.unwrap().restarts;
    assert!(
        restarts.all.0 > 0 && restarts.by_dyno.contains_key("web.1") && restarts.by_type.len() == 2,
        "{restarts:?}"
    );
    assert_eq!(
        c.ask("POST", "/apps/myapp/dynos/web.1/actions/stop", json!({}))
            .await
            .status,
        202
    );
    assert_eq!(
        c.ask("POST", "/apps/myapp/formations/web/actions/stop", json!({}))
            .await
            .status,
        202
    );
    assert_eq!(
        c.ask("POST", "/apps/myapp/dynos/web.9/actions/stop", json!({}))
            .await
            .status,
        404
    );
    until("three were stopped", || {
        w.control.stopped.lock().unwrap().len() == 3
    })
    .await;
    let ids: Vec<u128> = w
        .control
        .stopped
        .lock()
        .unwrap()
        .iter()
        .map(|d| d.0)
        .collect();
    assert_eq!(ids, [5, 6, 6]);
    let status = c.get("/hokku/status").await.json();
    assert_eq!(
        (&status["dynos"], &status["apps"], &status["router_up"]),
        (&json!(2), &json!(1), &json!(false))
    );
    assert_eq!(status["notices"], json!(["no cgroups"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_tailed_and_resumed() {
    let w = World::new().await;
    let app = w.app("myapp").await;
    let c = ann(&w).await;
    let nobody = Client {
        world: &w,
        unix: false,
        authorization: None,
    };
    let session = async |body: Value| {
        let made = c.ok("POST", "/apps/myapp/log-sessions", body).await;
        let url = made["logplex_url"].as_str().unwrap().to_owned();
        url.strip_prefix(&format!("http://{}", w.addr))
            .unwrap()
            .to_owned()
    };
    for i in 0..5 {
        w.logs.write(app.id, "app", "web.1", &format!("line {i}"));
        w.logs.write(app.id, "heroku", "router", "at=info");
    }
    let plain = nobody
        .get(&session(json!({"lines": 2, "dyno": "web"})).await)
        .await;
    assert_eq!(plain.headers["content-type"], "text/plain; charset=utf-8");
    let texts: Vec<_> = plain
        .text
        .lines()
        .map(|l| l.get(33..).unwrap_or(l))
        .collect();
    assert_eq!(texts, ["app[web.1]: line 3", "app[web.1]: line 4"]);

    let path = session(json!({"tail": true, "source": "app", "dyno": "web.1"})).await;
    let events = |last: Option<&str>| {
        let mut r = nobody
            .request("GET", &path)
            .header("accept", "text/event-stream");
        if let Some(id) = last {
            r = r.header("last-event-id", id);
        }
        r.body(Body::empty()).unwrap()
    };
    let answer = nobody.open(events(None)).await;
    assert_eq!(
        answer.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let mut body = http_body_util::BodyStream::new(answer.into_body());
    let seen = read_until(&mut body, "line 4").await;
    assert!(
        seen.starts_with("retry: 1\n\n") && seen.contains("data: 2"),
        "{seen}"
    );
    w.logs.write(app.id, "app", "web.1", "while it is read");
    read_until(&mut body, "while it is read").await;
    let third = seen.split("id: ").nth(3).unwrap().lines().next().unwrap();
    drop(body);
    w.logs.write(app.id, "app", "web.1", "while nobody reads");
    let mut body =
        http_body_util::BodyStream::new(nobody.open(events(Some(third))).await.into_body());
    let seen = read_until(&mut body, "while nobody reads").await;
    let texts: Vec<_> = seen
        .lines()
        .filter_map(|l| l.split_once("app[web.1]: "))
        .map(|l| l.1)
        .collect();
    assert_eq!(
        texts,
        ["line 3", "line 4", "while it is read", "while nobody reads"]
    );
    let wrong = c
        .ask("POST", "/apps/myapp/log-sessions", json!({"lines": "many"}))
        .await;
    assert!(
        wrong.status == 422 && wrong.message().contains("lines"),
        "{}",
        wrong.text
    );
    w.ops.destroy_app(&Actor::root(), app.id).await.unwrap();
    assert_eq!(nobody.get(&path).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_keys() {
    let w = World::new().await;
    let c = ann(&w).await;
    let out = tokio::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "laptop", "-f"])
        .arg(w.path("key"))
        .status()
        .await
        .expect("this test needs ssh-keygen: apt-get install openssh-client");
    assert!(out.success());
    let public = std::fs::read_to_string(w.path("key.pub")).unwrap();
    let key = c
        .ok(
            "POST",
            "/account/keys",
            json!({"public_key": public.trim()}),
        )
        .await;
    assert_eq!(
        (&key["comment"], &key["email"]),
        (&json!("laptop"), &json!("ann@example.org"))
    );
    let fingerprint = key["fingerprint"].as_str().unwrap();
    let path = format!(
        "/account/keys/{}",
        fingerprint.replace('/', "%2F").replace('+', "%2B")
    );
    assert_eq!(c.get(&path).await.json(), key);
    assert_eq!(
        c.ask("POST", "/account/keys", json!({"public_key": "nonsense"}))
            .await
            .status,
        422
    );
    c.ok("DELETE", &path, json!({})).await;
    assert_eq!(c.get("/account/keys").await.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_gets_words_and_never_a_500() {
    let w = World::new().await;
    w.app("myapp").await;
    let c = ann(&w).await;
    let nothing = c.get("/nothing/here").await;
    assert!(nothing.status == 404 && nothing.message().contains("/nothing/here"));
    assert!(nothing.headers.contains_key("request-id"));
    assert_eq!(c.ask("PUT", "/apps", json!({})).await.status, 405);
    let large = json!({"name": "x".repeat(2 << 20)});
    let large = c.ask("POST", "/apps", large).await;
    assert!(large.status == 413 && large.json()["id"] == "request_too_large");
    let paths = [
        "/apps/%00",
        "/apps/%ff",
        "/apps/..%2f..",
        "/apps/myapp/releases/-1",
        "/apps/myapp/releases/99999999999999",
        "/apps/myapp/dynos/%F0%9F%98%80",
        "/apps/myapp/formation/a%20b",
        "/apps/myapp/builds/x",
        "/account/keys/%2F",
        "/oauth/authorizations/x",
        "/hokku/streams/x.y",
        "/hokku/apps/a/dynos/b/attach?secret=%ff",
        "/myapp.git/info/refs",
        "/myapp.git/info/refs?service=git-evil-pack",
        "/..git/info/refs?service=git-upload-pack",
        "/%2e%2e.git/info/refs?service=git-upload-pack",
        "/hokku/git/ssh",
        "/hokku/git/pre-receive",
    ];
    let bodies = [
        "",
        "{",
        "[]",
        "null",
        "\u{0}",
        "{\"name\":{}}",
        "{\"updates\":[{}]}",
        "{\"release\":[]}",
        "{\"A\":\"\\u0000\"}",
    ];
    for path in paths {
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            let r = c.request(method, path).body(Body::from("{}")).unwrap();
            let answer = c.send(r).await;
            assert!(
                answer.status.is_client_error(),
                "{method} {path}: {} {}",
                answer.status,
                answer.text
            );
            if !path.contains(".git") && !path.contains("/git/") {
                answer.message();
            }
        }
    }
    for path in [
        "/apps",
        "/apps/myapp",
        "/apps/myapp/config-vars",
        "/apps/myapp/formation",
        "/apps/myapp/releases",
        "/apps/myapp/dynos",
        "/account/keys",
    ] {
        for method in ["POST", "PATCH"] {
            for body in bodies {
                let r = c.request(method, path).body(Body::from(body)).unwrap();
                let answer = c.send(r).await;
                assert!(
                    answer.status.as_u16() < 500,
                    "{method} {path} {body}: {}",
                    answer.text
                );
            }
        }
    }
    // heads that are too long or no HTTP at all end the connection, and nothing else
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(500));
    for raw in [long.as_str(), many.as_str(), "\u{1}\u{2}garbage\r\n\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(w.addr).await.unwrap();
        let _ = stream.write_all(raw.as_bytes()).await;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        let text = String::from_utf8_lossy(&text);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert_eq!(c.get("/account").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_orderly() {
    let mut w = World::new().await;
    let app = w.app("myapp").await;
    let c = ann(&w).await;
    let made = c
        .ok("POST", "/apps/myapp/log-sessions", json!({"tail": true}))
        .await;
    let path = made["logplex_url"]
        .as_str()
        .unwrap()
        .rsplit_once("/hokku")
        .unwrap()
        .1
        .to_owned();
    let answer = c.get_stream(&format!("/hokku{path}")).await;
    w.logs.write(app.id, "app", "web.1", "there");
    let mut body = http_body_util::BodyStream::new(answer.into_body());
    read_until(&mut body, "there").await;
    drop(c);
    w.stop();
    let served = w.served.take().unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), served).await;
    ended.expect("it does not end").unwrap().unwrap();
    assert!(!w.config.socket().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn routing_is_shown_and_changed() {
    let w = World::new().await;
    let c = ann(&w).await;
    let app = w.app("shop").await;
    deploy(&w, &app, 'a').await;
    let path = "/hokku/apps/shop/routing";
    let row = |view: &Value, key: &str| {
        let rows = view["settings"].as_array().unwrap();
        rows.iter()
            .find(|r| r["key"] == key)
            .cloned()
            .unwrap_or(Value::Null)
    };
    let view = c.get(path).await.json();
    assert_eq!(
        (&view["app"], &view["release"]),
        (&json!("shop"), &json!(2))
    );
    assert_eq!(
        row(&view, "timeout"),
        json!({"key": "timeout", "value": "30s", "source": "default"})
    );
    let view = c
        .ok(
            "PATCH",
            path,
            json!({"set": {"timeout": "1m", "proto": "h2c"}}),
        )
        .await;
    assert_eq!(
        row(&view, "proto"),
        json!({"key": "proto", "value": "h2c", "source": "app routing:set"})
    );
    let view = c
        .ok(
            "PATCH",
            path,
            json!({"path": "/api/", "set": {"compress": "off"}, "unset": ["timeout"]}),
        )
        .await;
    assert_eq!(view["rules"][0]["path"], "/api");
    assert_eq!(
        row(&view, "timeout")["value"],
        "1m",
        "it was said for the app, and stays"
    );
    let view = c.ok("PATCH", path, json!({"unset": ["timeout"]})).await;
    assert_eq!(row(&view, "timeout")["source"], "default");
    let bad = c.ask("PATCH", path, json!({"set": {"timout": "1m"}})).await;
    assert_eq!(bad.status, 422);
    assert!(
        bad.message().contains("Did you mean timeout?"),
        "{}",
        bad.message()
    );
    assert_eq!(c.get("/hokku/apps/none/routing").await.status, 404);
    let log = api_log(&w, &app).await.join("\n");
    for line in [
        "Set routing proto, timeout by user ann@example.org",
        "Set routing of /api/ compress by user ann@example.org",
        "Unset routing timeout by user ann@example.org",
    ] {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    let nobody = Client {
        world: &w,
        unix: false,
        authorization: None,
    };
    assert_eq!(nobody.get(path).await.status, 401);
}

#[tokio::test]
async fn domains_are_added_shown_and_removed_as_herokus_cli_asks() {
    let world = World::new().await;
    let c = ann(&world).await;
    world.app("myapp").await;
    world.app("other").await;
    let body = json!({"hostname": "WWW.Example.com", "sni_endpoint": null});
    let made = c.ask("POST", "/apps/myapp/domains", body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let d = made.json();
    assert_eq!(
        (&d["hostname"], &d["kind"], &d["cname"], &d["status"]),
        (
            &json!("www.example.com"),
            &json!("custom"),
            &json!("myapp.localhost"),
            &json!("succeeded")
        )
    );
    assert!(
        d["sni_endpoint"].is_null() && d["acm_status"].is_null(),
        "{d}"
    );
    let id = d["id"].as_str().unwrap();
    for which in [id, "www.example.com", "WWW.example.com"] {
        let shown = c.get(&format!("/apps/myapp/domains/{which}")).await;
        assert_eq!(shown.json(), d, "{which}");
    }
    let taken = c.ask("POST", "/apps/other/domains", body).await;
    assert_eq!(
        (taken.status, taken.json()["id"].clone()),
        (
            http::StatusCode::UNPROCESSABLE_ENTITY,
            json!("invalid_params")
        )
    );
    assert!(taken.message().contains("the app myapp"), "{}", taken.text);
    let own = c
        .ask("DELETE", "/apps/myapp/domains/myapp.localhost", json!({}))
        .await;
    assert!(own.message().contains("can't be removed"), "{}", own.text);
    let path = json!({"hostname": "example.com/shop"});
    c.ok("POST", "/apps/myapp/domains", path).await;
    c.ok(
        "DELETE",
        "/apps/myapp/domains/example.com%2Fshop",
        json!({}),
    )
    .await;
    c.ok("DELETE", "/apps/myapp/domains/www.example.com", json!({}))
        .await;
    let gone = c.get("/apps/myapp/domains/www.example.com").await;
    assert_eq!(
        (gone.status, gone.json()["resource"].clone()),
        (http::StatusCode::NOT_FOUND, json!("domain"))
    );
}

#[tokio::test]
async fn certificates_are_uploaded_and_their_key_is_never_shown() {
    let world = World::new().await;
    let c = ann(&world).await;
    world.app("myapp").await;
    c.ok("POST", "/apps/myapp/domains", json!({"hostname": "a.test"}))
        .await;
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    let crt = params.self_signed(&key).unwrap().pem();
    let body = json!({"certificate_chain": crt, "private_key": key.serialize_pem()});
    let made = c
        .ask("POST", "/apps/myapp/sni-endpoints", body.clone())
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let cert = made.json();
    let name = cert["name"].as_str().unwrap();
    assert_eq!(cert["ssl_cert"]["cert_domains"], json!(["a.test"]));
    assert_eq!(cert["ssl_cert"]["ca_signed?"], false);
    assert_eq!(cert["hosts"], json!(["a.test"]));
    assert!(
        cert["warnings"][0]
            .as_str()
            .unwrap()
            .contains("signed by itself"),
        "{cert}"
    );
    let domain = c.get("/apps/myapp/domains/a.test").await.json();
    assert_eq!(domain["sni_endpoint"]["name"], name);
    assert_eq!(cert["domains"], json!([domain["id"]]));
    for path in ["sni-endpoints".to_owned(), format!("sni-endpoints/{name}")] {
        let shown = c.get(&format!("/apps/myapp/{path}")).await;
        assert!(
            shown.text.contains(name) && !shown.text.contains("PRIVATE"),
            "{}",
            shown.text
        );
    }
    let attach = json!({"sni_endpoint": name});
    c.ok("PATCH", "/apps/myapp/domains/a.test", attach.clone())
        .await;
    let astray = c
        .ask("PATCH", "/apps/myapp/domains/myapp.localhost", attach)
        .await;
    assert!(
        astray.message().contains("is for a.test"),
        "{}",
        astray.text
    );
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let wrong = json!({"certificate_chain": crt, "private_key": other});
    let refused = c
        .ask("PATCH", &format!("/apps/myapp/sni-endpoints/{name}"), wrong)
        .await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.message().contains("does not belong"),
        "{}",
        refused.text
    );
    c.ok(
        "DELETE",
        &format!("/apps/myapp/sni-endpoints/{name}"),
        json!({}),
    )
    .await;
    assert_eq!(c.get("/apps/myapp/sni-endpoints").await.json(), json!([]));
    let off = c.ask("POST", "/apps/myapp/acm", json!({})).await;
    assert_eq!(off.status, 409);
    assert!(off.message().contains("agree = true"), "{}", off.text);
    assert_eq!(c.get("/apps/myapp").await.json()["acm"], false);
}

#[tokio::test]
async fn automatic_certificates_are_switched_and_told_per_domain() {
    let world = World::with(|c| c.acme.agree = true).await;
    let c = ann(&world).await;
    world.app("myapp").await;
    for host in ["a.test", "*.b.test"] {
        c.ok("POST", "/apps/myapp/domains", json!({"hostname": host}))
            .await;
    }
    assert_eq!(
        c.ok("POST", "/apps/myapp/acm", json!({})).await["acm"],
        true
    );
    let of = async |host: &str| c.get(&format!("/apps/myapp/domains/{host}")).await.json();
    assert_eq!(of("a.test").await["acm_status"], "pending");
    let star = of("*.b.test").await;
    assert_eq!(star["acm_status"], "failed");
    assert!(
        star["acm_status_reason"]
            .as_str()
            .unwrap()
            .contains("certs:add"),
        "{star}"
    );
    world
        .ops
        .order_failed("a.test", "no such name", None, false)
        .await
        .unwrap();
    let acm = c.get("/apps/myapp/acm").await.json();
    let a = &acm["domains"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["hostname"] == "a.test")
        .unwrap()
        .clone();
    assert_eq!(
        (&a["status"], &a["reason"], &a["failures"]),
        (&json!("failing"), &json!("no such name"), &json!(1))
    );
    c.ok("PATCH", "/apps/myapp/acm", json!({})).await;
    assert_eq!(of("a.test").await["acm_status"], "pending");
    assert_eq!(
        c.ok("DELETE", "/apps/myapp/acm", json!({})).await["acm"],
        false
    );
    assert!(of("a.test").await["acm_status"].is_null());
}
