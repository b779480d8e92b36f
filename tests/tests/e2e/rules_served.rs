//! What the router does with requests because a pushed `hokku.toml` says so.

use crate::support::{
    Host, Repo, eventually,
    http::{Connection, Response},
};
use std::time::{Duration, Instant};

/// One request to the app `shop`, on a connection of its own.
#[track_caller]
fn ask(host: &Host, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut all = vec![("Connection", "close")];
    all.extend(headers);
    Connection::open(host.router())
        .and_then(|mut c| c.ask(method, "shop.localhost", path, &all, body))
        .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
}

#[track_caller]
fn get(host: &Host, path: &str, headers: &[(&str, &str)]) -> Response {
    ask(host, "GET", path, headers, b"")
}

/// Pushes the probe with this `hokku.toml`.
#[track_caller]
fn push<'a>(host: &'a Host, file: &str) -> Repo<'a> {
    let repo = host.create("shop");
    repo.write_probe();
    repo.write("hokku.toml", file);
    repo.version("one");
    repo.push().ok();
    repo
}

#[test]
fn redirects_rewrites_headers_and_caching_are_as_pushed() {
    let host = Host::start();
    let repo = push(
        &host,
        r#"
[routing.request_headers]
X-Tenant = "main"
X-Debug = false

[routing.response_headers]
X-Frame-Options = "DENY"

[[routing.rules]]
path = "/old"
redirect = { to = "https://new.example.org$path$query", status = 301 }

[[routing.rules]]
path = "/api"
rewrite = "/v2"

[[routing.rules]]
path = "/assets"
cache = "public, max-age=31536000, immutable"
compress = false

[[routing.rules]]
path = "/bare"
response_headers = { Content-Type = false, X-Frame-Options = "SAMEORIGIN" }
"#,
    );

    let moved = get(&host, "/old/posts/7?page=2", &[]);
    assert_eq!(moved.status, 301);
    assert_eq!(
        moved.header("location"),
        Some("https://new.example.org/posts/7?page=2")
    );
    // A neighbour of the path is another path.
    assert_eq!(get(&host, "/older", &[]).status, 200);

    let about = get(&host, "/api/users?x=1", &[]).json();
    assert_eq!(about["path"], "/v2/users?x=1");
    assert_eq!(get(&host, "/apis", &[]).json()["path"], "/apis");

    let said = get(&host, "/", &[("X-Debug", "1"), ("x-tenant", "other")]);
    let seen = &said.json()["headers"];
    assert_eq!(seen["x-tenant"], "main");
    assert!(seen["x-debug"].is_null(), "{seen}");
    assert_eq!(said.header("x-frame-options"), Some("DENY"));
    assert_eq!(said.header("content-type"), Some("application/json"));
    assert_eq!(said.header("cache-control"), None);

    let bare = get(&host, "/bare", &[]);
    assert_eq!(bare.header("content-type"), None);
    assert_eq!(bare.header("x-frame-options"), Some("SAMEORIGIN"));

    // What is compressed elsewhere is not below /assets.
    let long = "a".repeat(4000);
    let wants = [("Accept-Encoding", "gzip"), ("X-Long", long.as_str())];
    let pressed = get(&host, "/", &wants);
    assert_eq!(pressed.header("content-encoding"), Some("gzip"));
    assert!(pressed.body.len() < 2000, "{} bytes", pressed.body.len());
    let asset = get(&host, "/assets/site.css", &wants);
    assert_eq!(asset.header("content-encoding"), None);
    assert_eq!(asset.json()["headers"]["x-long"], long.as_str());
    assert_eq!(
        asset.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );

    // The next release has no such file: nothing of it is left.
    std::fs::remove_file(repo.dir.join("hokku.toml")).expect("it was written");
    repo.version("two");
    repo.push().ok();
    let plain = get(&host, "/old/posts/7", &[]);
    assert_eq!((plain.status, plain.header("x-frame-options")), (200, None));
    assert_eq!(get(&host, "/api/users", &[]).json()["path"], "/api/users");
}

#[test]
fn passwords_networks_and_limits_are_as_pushed() {
    let host = Host::start();
    let hash = host.app_with(&["routing:hash"], b"correct horse\n").ok();
    push(
        &host,
        &format!(
            r#"
[[routing.rules]]
path = "/admin"
basic_auth = {{ realm = "Staff", users = {{ ann = "{}" }} }}

[[routing.rules]]
path = "/inside"
allow = ["203.0.113.0/24"]

[[routing.rules]]
path = "/here"
allow = ["127.0.0.0/8"]

[[routing.rules]]
path = "/echo"
body_limit = "1kB"

[[routing.rules]]
path = "/sleep"
timeout = "1s"
"#,
            hash.out().trim()
        ),
    );

    let asked = get(&host, "/admin", &[]);
    assert_eq!(asked.status, 401);
    let challenge = asked.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("Basic realm=\"Staff\""), "{challenge}");
    // ann:wrong horse, ann:correct horse
    let wrong = [("Authorization", "Basic YW5uOndyb25nIGhvcnNl")];
    let right = [("Authorization", "Basic YW5uOmNvcnJlY3QgaG9yc2U=")];
    assert_eq!(get(&host, "/admin", &wrong).status, 401);
    for _ in 0..2 {
        assert_eq!(get(&host, "/admin/x", &right).status, 200);
    }
    assert_eq!(get(&host, "/administration", &[]).status, 200);

    assert_eq!(get(&host, "/inside", &[]).status, 403);
    // A proxy on loopback is believed about who the client is.
    let via = |client| [("X-Forwarded-For", client)];
    assert_eq!(get(&host, "/inside", &via("203.0.113.9")).status, 200);
    assert_eq!(get(&host, "/inside", &via("203.0.114.9")).status, 403);
    assert_eq!(get(&host, "/here", &[]).status, 200);
    assert_eq!(get(&host, "/here", &via("203.0.113.9")).status, 403);

    let fits = ask(&host, "POST", "/echo", &[], &[b'x'; 1000]);
    assert_eq!((fits.status, fits.body.len()), (200, 1000));
    assert_eq!(ask(&host, "POST", "/echo", &[], &[b'x'; 1100]).status, 413);
    let other = ask(&host, "POST", "/elsewhere", &[], &[b'x'; 1100]);
    assert_eq!(other.json()["body"], 1100);

    let began = Instant::now();
    assert_eq!(get(&host, "/sleep/20000", &[]).status, 503);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(15),
        "{took:?}"
    );
    let line = host.logged("shop", "code=H12");
    assert!(line.contains("/sleep/20000"), "{line}");
}

#[test]
fn maintenance_shows_its_page_and_clients_come_back_to_their_dyno() {
    let host = Host::start();
    push(
        &host,
        "[routing]\naffinity = true\n\n[[routing.rules]]\npath = \"/checkout\"\nmaintenance = true\n",
    );
    let closed = get(&host, "/checkout/cart", &[]);
    assert_eq!(closed.status, 503);
    assert!(!closed.text().contains("example.org"), "{}", closed.text());
    let line = host.logged("shop", "code=H80");
    assert!(line.contains("/checkout/cart"), "{line}");
    let page = "https://example.org/closed.html";
    let set = format!("MAINTENANCE_PAGE_URL={page}");
    host.app(&["config:set", &set, "-a", "shop"]).ok();
    eventually("the page is shown", 20, || {
        let closed = get(&host, "/checkout/cart", &[]);
        assert_eq!(closed.status, 503);
        closed.text().contains(page).then_some(())
    });
    assert_eq!(get(&host, "/", &[]).status, 200);

    host.app(&["scale", "web=2", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "web.2"]);
    let mut cookies = std::collections::BTreeMap::new();
    eventually("both dynos have given a cookie", 20, || {
        let first = get(&host, "/", &[]);
        let cookie = first.header("set-cookie").expect("a cookie");
        assert!(cookie.starts_with("hokku-affinity="), "{cookie}");
        let dyno = first.json()["dyno"].to_string();
        let value = cookie.split(';').next().expect("a value").to_owned();
        cookies.insert(dyno, value);
        (cookies.len() == 2).then_some(())
    });
    for (dyno, cookie) in cookies {
        for _ in 0..10 {
            let again = get(&host, "/", &[("Cookie", &cookie)]);
            assert_eq!(again.json()["dyno"].to_string(), dyno);
        }
    }
}
