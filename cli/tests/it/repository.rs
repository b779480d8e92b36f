//! Real git repositories: remotes, and the token that git asks for.

use crate::server::{Answer, Server, app, ok, run};
use std::path::Path;
use std::process::{Command, Stdio};

const APP: &str = r#"{"acm":false,"created_at":"","id":"a","git_url":"GIT","maintenance":false,"name":"NAME",
  "owner":{"id":"u","email":"e"},"region":{"id":""},"released_at":null,"repo_size":null,"slug_size":null,"stack":{"id":""},
  "build_stack":{"id":""},"generation":{"id":""},"buildpack_provided_description":null,"updated_at":"","web_url":"http://w/"}"#;

const MADE: &str = r#"{"access_token":{"id":"t","token":"made"},"created_at":"","description":"","id":"x","scope":[],
  "updated_at":"","user":{"id":"","email":""}}"#;

/// A server of apps that have their repositories at `git`.
fn platform(git: &'static str) -> Server {
    Server::start(move |r| {
        let name = r.line.rsplit('/').next().unwrap_or_default();
        match r.line.split(' ').collect::<Vec<_>>().as_slice() {
            ["POST", "/apps"] => ok(APP
                .replace("GIT", &format!("{git}/shop.git"))
                .replace("NAME", "shop")),
            ["GET", path] if path.ends_with("config-vars") => {
                ok(format!(r#"{{"ASKED":"{path}"}}"#))
            }
            ["GET" | "PATCH", _] => ok(APP
                .replace("GIT", &format!("{git}/{name}.git"))
                .replace("NAME", name)),
            ["DELETE", _] => ok("{}"),
            _ => Answer::Json(404, r#"{"id":"not_found","message":"no"}"#.into()),
        }
    })
}

fn git(home: &Path, words: &[&str]) -> String {
    let out = Command::new("git")
        .args(words)
        .current_dir(home)
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap()
}

fn repository() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    git(home.path(), &["init", "-q"]);
    home
}

#[test]
fn create_connects_the_repository_and_git_gets_the_token() {
    let home = repository();
    let server = platform("http://git.test:5000");
    assert_eq!(run(server.app(home.path()).arg("create")).0, 0);
    assert_eq!(
        git(home.path(), &["remote", "get-url", "hokku"]),
        "http://git.test:5000/shop.git\n"
    );
    let helpers = git(
        home.path(),
        &[
            "config",
            "--local",
            "--get-all",
            "credential.http://git.test:5000.helper",
        ],
    );
    let exe = env!("CARGO_BIN_EXE_app");
    assert_eq!(helpers, format!("\n!{exe} git:credentials\n"));

    // git itself asks, as it does before a push.
    let mut fill = Command::new("git");
    fill.args(["credential", "fill"])
        .current_dir(home.path())
        .env("HOME", home.path());
    fill.env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("HOKKU_URL", "http://git.test:5000");
    fill.env("HOKKU_TOKEN", "t0ken")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = fill.spawn().unwrap();
    std::io::Write::write_all(
        &mut child.stdin.take().unwrap(),
        b"protocol=http\nhost=git.test:5000\n\n",
    )
    .unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("username=hokku\npassword=t0ken\n"), "{said}");
}

#[test]
fn the_app_is_found_from_the_remote() {
    let home = repository();
    let server = platform("http://x");
    let asked = |more: &[&str]| {
        run(server
            .app(home.path())
            .args(["config:get", "ASKED"])
            .args(more))
    };
    let (status, _, said) = asked(&[]);
    assert!(status == 2 && said.contains("--app NAME"), "{said}");

    let url = |app: &str| format!("{}/{app}.git", server.url);
    git(
        home.path(),
        &["remote", "add", "origin", "https://github.com/me/mine.git"],
    );
    git(home.path(), &["remote", "add", "staging", &url("app10")]);
    assert_eq!(
        asked(&[]).1,
        "/apps/app10/config-vars\n",
        "the only remote on a known server"
    );
    git(home.path(), &["remote", "add", "prod", &url("app1")]);
    let (status, _, said) = asked(&[]);
    assert!(
        status == 2 && said.contains("staging (app app10)") && said.contains("prod (app app1)"),
        "{said}"
    );
    assert_eq!(asked(&["-r", "prod"]).1, "/apps/app1/config-vars\n");
    git(home.path(), &["config", "hokku.remote", "staging"]);
    assert_eq!(asked(&[]).1, "/apps/app10/config-vars\n");
    git(home.path(), &["config", "--unset", "hokku.remote"]);
    git(home.path(), &["remote", "add", "hokku", &url("main-one")]);
    assert_eq!(asked(&[]).1, "/apps/main-one/config-vars\n");
    assert_eq!(asked(&["-a", "other"]).1, "/apps/other/config-vars\n");
    assert!(
        asked(&["-r", "nope"])
            .2
            .contains("origin, staging, prod, hokku")
    );

    let sub = home.path().join("src");
    std::fs::create_dir(&sub).unwrap();
    let below = run(server
        .app(home.path())
        .args(["config:get", "ASKED"])
        .current_dir(&sub));
    assert_eq!(below.1, "/apps/main-one/config-vars\n");
}

#[test]
fn the_remotes_server_is_asked_with_its_own_token() {
    let home = repository();
    let (one, two) = (platform("http://x"), platform("http://x"));
    let folder = home.path().join(".config/hokku");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "default = 'one'\n[profiles.one]\nurl = '{}'\ntoken = 'of-one'\n[profiles.two]\nurl = '{}'\ntoken = 'of-two'\n",
        one.url, two.url
    );
    std::fs::write(folder.join("config.toml"), text).unwrap();
    git(
        home.path(),
        &["remote", "add", "hokku", &format!("{}/shop.git", two.url)],
    );
    assert_eq!(
        run(app(home.path()).args(["config:get", "ASKED"])).1,
        "/apps/shop/config-vars\n"
    );
    assert_eq!(
        two.last("GET /apps/shop/config-vars")
            .header("authorization"),
        Some("Bearer of-two")
    );
    assert!(one.lines().is_empty());
    assert_eq!(
        run(app(home.path()).args(["config:get", "ASKED", "-H", "one", "-a", "shop"])).0,
        0
    );
    assert_eq!(
        one.last("GET /apps/shop/config-vars")
            .header("authorization"),
        Some("Bearer of-one")
    );

    git(
        home.path(),
        &[
            "remote",
            "set-url",
            "hokku",
            "https://elsewhere.test/shop.git",
        ],
    );
    let (status, _, said) = run(app(home.path()).args(["apps:destroy", "--confirm", "shop"]));
    assert!(
        status == 1 && said.contains("app login https://elsewhere.test"),
        "{said}"
    );
}

#[test]
fn renaming_and_destroying_keep_the_remotes_true() {
    let home = repository();
    let server = Server::start(|r| match r.line.as_str() {
        "PATCH /apps/a" => ok(APP
            .replace("GIT", "http://x/newer.git")
            .replace("NAME", "newer")),
        "GET /apps/newer" => ok(APP
            .replace("GIT", "http://x/newer.git")
            .replace("NAME", "newer")),
        "GET /apps/older" => ok(APP
            .replace("GIT", "http://x/older.git")
            .replace("NAME", "older")),
        "DELETE /apps/a" => ok("{}"),
        _ => Answer::Json(404, "{}".into()),
    });
    git(
        home.path(),
        &["remote", "add", "hokku", "http://x/older.git"],
    );
    assert_eq!(run(server.app(home.path()).args(["rename", "newer"])).0, 0);
    assert_eq!(
        git(home.path(), &["remote", "get-url", "hokku"]),
        "http://x/newer.git\n"
    );
    let (status, _, said) = run(server
        .app(home.path())
        .args(["destroy", "--confirm", "older"]));
    assert!(
        status == 2 && said.contains("does not match newer"),
        "{said}"
    );
    assert_eq!(
        run(server
            .app(home.path())
            .args(["destroy", "--confirm", "newer"]))
        .0,
        0
    );
    assert_eq!(git(home.path(), &["remote"]), "");
}

#[test]
fn whoever_uses_the_socket_gets_a_token_for_git() {
    let home = repository();
    let socket = home.path().join("s");
    let server = Server::on_socket(&socket, |r| match r.line.as_str() {
        "POST /apps" => ok(APP
            .replace("GIT", "http://127.0.0.1:5000/shop.git")
            .replace("NAME", "shop")),
        "POST /oauth/authorizations" => ok(MADE),
        "GET /apps/shop/config-vars" => ok(r#"{"A":"1"}"#),
        _ => Answer::Json(404, "{}".into()),
    });
    let local = |words: &[&str]| run(app(home.path()).env("HOKKU_SOCKET", &socket).args(words));
    assert_eq!(local(&["create", "shop"]).0, 0);
    assert_eq!(
        local(&["git:remote", "-a", "shop"]).0,
        2,
        "only what the server knows"
    );
    assert_eq!(local(&["config:get", "A"]).1, "1\n");
    assert_eq!(server.last("POST /apps").header("authorization"), None);
    let mut ask = app(home.path());
    ask.args(["git:credentials", "get"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = ask.spawn().unwrap();
    std::io::Write::write_all(
        &mut child.stdin.take().unwrap(),
        b"protocol=http\nhost=127.0.0.1:5000\n",
    )
    .unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    assert_eq!(
        String::from_utf8(said).unwrap(),
        "username=hokku\npassword=made\n"
    );
}
