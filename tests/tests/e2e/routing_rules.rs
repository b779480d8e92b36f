//! `hokku.toml`: from the pushed file to what `app routing` says, and the owner's word over it.

use crate::support::{Host, Repo};
use serde_json::Value;

fn rows<'a>(view: &'a Value, path: Option<&str>) -> &'a Vec<Value> {
    let of = match path {
        None => view,
        Some(path) => {
            let rules = view["rules"].as_array().expect("rules");
            let rule = rules.iter().find(|r| r["path"] == path);
            rule.unwrap_or_else(|| panic!("no rule of {path} in {view}"))
        }
    };
    of["settings"].as_array().expect("settings")
}

/// `value (source)` of a key.
fn said(host: &Host, path: Option<&str>, key: &str) -> String {
    let view = host.json(&["routing", "-a", "shop"]);
    let row = rows(&view, path).iter().find(|r| r["key"] == key);
    let row = row.unwrap_or_else(|| panic!("no {key} in {view}"));
    let text = |k: &str| row[k].as_str().expect("text").to_owned();
    format!("{} ({})", text("value"), text("source"))
}

#[track_caller]
fn refused(host: &Host, repo: &Repo<'_>, serves: &str, words: &[&str]) {
    let before = repo.remote_head();
    // the addresses of their output are made anew for each asker
    let ids = || {
        let builds = host.json(&["builds", "-a", "shop"]);
        let builds = builds.as_array().expect("builds").clone();
        let id = |b: &Value| b["id"].as_str().expect("an id").to_owned();
        builds.iter().map(id).collect::<Vec<_>>()
    };
    let builds = ids();
    let mut pushed = repo.push().fails();
    for word in words {
        pushed = pushed.says(word);
    }
    pushed
        .says("Push rejected")
        .never_says("Discovering process types");
    assert_eq!(repo.remote_head(), before, "the ref must not move");
    host.must_serve("shop", serves);
    assert_eq!(ids(), builds, "nothing was built");
}

#[test]
fn a_file_is_checked_before_it_counts_and_comes_back_with_a_rollback() {
    let host = Host::start();
    let repo = host.deploy("shop");
    assert_eq!(said(&host, None, "timeout"), "30s (default)");

    repo.write(
        "hokku.toml",
        "[routing]\nhttps_only = false\n\n[[routing.rules]]\npath = \"/api\"\ntimeuot = \"1m\"\n",
    );
    repo.version("bad");
    refused(
        &host,
        &repo,
        "one",
        &[
            "hokku.toml:6:1: there is no key timeuot",
            "6 | timeuot = \"1m\"",
            "| ^^^^^^^",
            "Did you mean timeout?",
        ],
    );
    assert_eq!(said(&host, None, "timeout"), "30s (default)");

    repo.write(
        "hokku.toml",
        "[routing]\ntimeout = \"20s\"\n\n[[routing.rules]]\npath = \"/api\"\ntimeout = \"1m\"\n",
    );
    repo.version("two");
    repo.push().ok();
    host.must_serve("shop", "two");
    let two = current(&host);
    assert_eq!(
        said(&host, None, "timeout"),
        format!("20s (hokku.toml of v{two})")
    );
    assert_eq!(
        said(&host, Some("/api"), "timeout"),
        format!("1m (hokku.toml of v{two})")
    );
    assert_eq!(said(&host, None, "idle_timeout"), "55s (default)");
    let table = host.app(&["routing", "-a", "shop"]).ok();
    table
        .says("=== /api")
        .says(&format!("hokku.toml of v{two}"));
    let at = host
        .app(&["routing", "--path", "/api/users", "-a", "shop"])
        .ok();
    at.says(&format!("hokku.toml of v{two}, rule /api"))
        .never_says("=== /api\n");

    // The owner's word goes over it at once, and stays over releases.
    host.app(&[
        "routing:set",
        "timeout=45s",
        "response_headers.X-Robots-Tag=noindex",
        "-a",
        "shop",
    ])
    .ok();
    assert_eq!(current(&host), two, "no release is made");
    assert_eq!(said(&host, None, "timeout"), "45s (app routing:set)");
    assert_eq!(
        said(&host, None, "response_headers.x-robots-tag"),
        "\"noindex\" (app routing:set)"
    );
    host.app(&["routing:set", "maintenance=maybe", "-a", "shop"])
        .fails()
        .says("true or false");

    repo.write(
        "hokku.toml",
        "[routing]\ntimeout = \"5s\"\ncompress = false\n",
    );
    repo.version("three");
    repo.push().ok();
    assert_eq!(said(&host, None, "timeout"), "45s (app routing:set)");
    host.app(&["routing:unset", "timeout", "-a", "shop"]).ok();
    let three = current(&host);
    assert_eq!(
        said(&host, None, "timeout"),
        format!("5s (hokku.toml of v{three})")
    );
    assert_eq!(
        said(&host, None, "compress"),
        format!("off (hokku.toml of v{three})")
    );

    host.app(&["rollback", &format!("v{two}"), "-a", "shop"])
        .ok();
    host.must_serve("shop", "two");
    let back = current(&host);
    assert_eq!(
        said(&host, None, "timeout"),
        format!("20s (hokku.toml of v{back})")
    );
    assert_eq!(
        said(&host, Some("/api"), "timeout"),
        format!("1m (hokku.toml of v{back})")
    );
    assert_eq!(said(&host, None, "compress"), "balanced (default)");

    host.app(&[
        "config:set",
        "ERROR_PAGE_URL=https://example.org/sorry",
        "MAINTENANCE_PAGE_URL=nowhere",
        "-a",
        "shop",
    ])
    .ok();
    assert_eq!(
        said(&host, None, "error_page"),
        "https://example.org/sorry (config var ERROR_PAGE_URL)"
    );
    host.app(&["routing", "-a", "shop"])
        .ok()
        .says("MAINTENANCE_PAGE_URL is ignored");
}

#[test]
fn a_folder_that_the_release_does_not_have_is_refused() {
    let host = Host::start();
    let repo = host.deploy("shop");
    let before = repo.remote_head();
    repo.write("hokku.toml", "[routing]\nfiles = \"public\"\n");
    repo.version("two");
    repo.push()
        .fails()
        .says("files = \"public\", and the build left no folder public")
        .says("Push rejected");
    assert_eq!(repo.remote_head(), before);
    host.must_serve("shop", "one");
    repo.write("public/hello.txt", "hello");
    repo.version("three");
    repo.push().ok();
    host.must_serve("shop", "three");
    let file = |host: &Host| {
        let got = host.get("shop", "/hello.txt");
        (got.status, got.text())
    };
    assert_eq!(file(&host), (200, "hello".into()), "the router serves it");
    repo.write("public/hello.txt", "good day");
    repo.version("four");
    repo.push().ok();
    assert_eq!(file(&host), (200, "good day".into()));
    host.app(&["ps:scale", "web=0", "-a", "shop"]).ok();
    assert_eq!(
        file(&host),
        (200, "good day".into()),
        "without a dyno as well"
    );
    host.app(&["ps:scale", "web=1", "-a", "shop"]).ok();
    host.app(&["rollback", "-a", "shop"]).ok();
    host.must_serve("shop", "three");
    assert_eq!(file(&host), (200, "hello".into()), "of the release before");
    let files = said(&host, None, "files");
    assert!(
        files.starts_with("{ root = \"public\", index = \"index.html\", pass = true }"),
        "{files}"
    );
}

#[test]
fn the_file_is_checked_without_a_server() {
    let host = Host::start();
    let repo = host.create("shop");
    repo.write("hokku.toml", "[routing]\nhsts = true\n");
    repo.app(&["routing:check"])
        .ok()
        .says("hokku.toml is valid");
    repo.write("hokku.toml", "[routing]\nhsts = 3\n");
    repo.app(&["routing:check"])
        .fails()
        .says("hokku.toml:2:8: hsts can't be a number")
        .says("2 | hsts = 3");
    let hash = host.app_with(&["routing:hash"], b"correct horse\n").ok();
    repo.write(
        "hokku.toml",
        format!(
            "[routing.basic_auth.users]\nann = '{}'\n",
            hash.out().trim()
        ),
    );
    repo.app(&["routing:check"]).ok();
}

fn current(host: &Host) -> u64 {
    host.json(&["releases", "-a", "shop"])
        .as_array()
        .expect("a list")
        .iter()
        .find(|r| r["current"] == true)
        .and_then(|r| r["version"].as_u64())
        .expect("one is current")
}
