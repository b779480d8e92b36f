//! Cases of routing and what is decided; and what holds for any.

mod any;
mod cost;
mod said;

use super::*;
use crate::reply::Reply;
use crate::request::Request;
use crate::table::{App, for_test};
use base64::Engine;
use hokku_model::route::{AppState, HEALTH_PATH};
use hokku_model::routing::{BasicAuth, Compress, Files, HeaderEdits, PathRule, Redirect, Settings};
use http::HeaderMap;
use std::time::Duration;

fn rule(path: &str, settings: Settings) -> PathRule {
    PathRule {
        path: path.into(),
        settings,
    }
}

fn rules(settings: Settings, rules: Vec<PathRule>) -> Routing {
    Routing {
        settings,
        rules,
        ..Routing::default()
    }
}

fn app(routing: Routing) -> App {
    for_test(routing)
}

fn to(path: &str) -> Settings {
    Settings {
        redirect: Some(Redirect {
            to: path.into(),
            status: 302,
        }),
        ..Settings::default()
    }
}

fn only(net: &str) -> Settings {
    Settings {
        allow: vec![net.into()],
        ..Settings::default()
    }
}

fn limit(n: u64) -> Settings {
    Settings {
        body_limit: Some(n),
        ..Settings::default()
    }
}

fn password() -> Settings {
    let hash = bcrypt::hash_with_salt("right", 4, *b"0123456789abcdef").unwrap();
    Settings {
        auth: Some(BasicAuth {
            realm: "here".into(),
            users: [("ann".to_owned(), hash.to_string())].into(),
        }),
        ..Settings::default()
    }
}

fn files(root: &str) -> Settings {
    Settings {
        files: Some(Files {
            root: root.into(),
            index: "index.html".into(),
            fallback: None,
            pass: true,
        }),
        ..Settings::default()
    }
}

fn get<'a>(path: &'a str, fields: &'a HeaderMap) -> Request<'a> {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    Request {
        method: "GET",
        host: "a.test",
        path,
        query,
        client: "203.0.113.7".parse().unwrap(),
        https: false,
        fields,
    }
}

fn shown(reply: &Reply) -> String {
    let location = reply.headers().get("location");
    let location = location.map_or(String::new(), |l| format!(" {}", l.to_str().unwrap()));
    format!("{}{location}", reply.status().as_u16())
}

/// What is decided about a GET, in a word or two.
fn seen(app: &App, path: &str) -> String {
    let fields = HeaderMap::new();
    show(decide(app, &get(path, &fields)))
}

fn show(decision: Decision<'_>) -> String {
    match decision {
        Decision::Reply(reply) => shown(&reply),
        Decision::Verify(_) => "verify".into(),
        Decision::Maintenance => "maintenance".into(),
        Decision::Files { files, rest, .. } => format!("file {}:{rest}", files.root),
        Decision::Forward(f) => match f.settings.body_limit {
            Some(n) => format!("{} limit {n}", f.path),
            None => f.path.into_owned(),
        },
    }
}

fn refusals(routing: &Routing) -> Vec<String> {
    compile(routing, &Arc::<Verifier>::default()).1
}

#[test]
fn without_rules_the_path_is_passed_on_as_sent() {
    let app = app(Routing::default());
    for path in ["/", "/a/../b", "//x", "/a%2f..%2fb", "*", "/;x", "/é"] {
        assert_eq!(seen(&app, path), path);
        let fields = HeaderMap::new();
        let Decision::Forward(f) = decide(&app, &get(path, &fields)) else {
            panic!("{path}");
        };
        assert!(matches!(f.path, std::borrow::Cow::Borrowed(_)));
    }
    assert!(app.rules.hsts(true).is_none());
}

#[test]
fn each_key_is_of_the_longest_prefix_that_says_it() {
    let first_byte = |ms| Settings {
        first_byte_ms: Some(ms),
        ..Settings::default()
    };
    let app = app(rules(
        Settings {
            idle_ms: Some(7),
            compress: Some(Compress::Small),
            ..limit(1)
        },
        vec![
            rule("/api/", limit(2)),
            rule("/api/v2", first_byte(5)),
            rule("/api/v2/up", limit(3)),
            rule("/other", first_byte(6)),
        ],
    ));
    let fields = HeaderMap::new();
    for (path, body, first) in [
        ("/", 1, None),
        ("/apis", 1, None),
        ("/api", 2, None),
        ("/api/x", 2, None),
        ("/api/v2", 2, Some(5)),
        ("/api/v2/x", 2, Some(5)),
        ("/api/v2/up/x", 3, Some(5)),
        ("/other/x", 1, Some(6)),
    ] {
        let Decision::Forward(f) = decide(&app, &get(path, &fields)) else {
            panic!("{path}");
        };
        assert_eq!(f.settings.body_limit, Some(body), "{path}");
        assert_eq!(f.settings.first_byte, first.map(Duration::from_millis));
        assert_eq!(f.settings.idle, Some(Duration::from_millis(7)));
        assert_eq!(f.settings.compress, Compress::Small);
    }
}

#[test]
fn a_narrower_rule_opens_nothing() {
    let app = app(rules(
        Settings::default(),
        vec![
            rule("/admin", password()),
            rule("/admin/reports", limit(9)),
            rule("/inner", only("10.0.0.0/8")),
            rule("/inner/x", limit(9)),
            rule("/inner/open", only("0.0.0.0/0")),
        ],
    ));
    for (path, want) in [
        ("/admin", "401"),
        ("/admin/reports/1", "401"),
        ("/inner/x", "403"),
        ("/inner/open/x", "/inner/open/x"),
        ("/", "/"),
    ] {
        assert_eq!(seen(&app, path), want, "{path}");
    }
}

#[test]
fn no_way_of_writing_a_path_slips_past_a_rule() {
    let app = app(rules(
        Settings::default(),
        vec![rule("/api", only("10.0.0.0/8"))],
    ));
    for path in [
        "/api",
        "/api/",
        "/%61pi",
        "/%61%70%69/x",
        "//api",
        "/a/../api",
        "/a/%2e%2e/api/x",
        "/./api",
        "/api%2fx",
        "/%2fapi",
        "/api\\x",
        "/api;v=1",
        "/;v=1/api",
        "/api/%2e",
    ] {
        assert_eq!(seen(&app, path), "403", "{path}");
    }
    for path in ["/x%2f..%2fapi", "/api%2f..", "/x/..;/api", "/x\\..\\api"] {
        assert_eq!(seen(&app, path), "400", "{path}");
    }
    // what was decided on is what the app gets
    for (path, gets) in [
        ("/api/../x", "/x"),
        ("/api/%2e%2e/x", "/x"),
        ("/a/./b?q=/../api", "/a/b"),
        ("/apis", "/apis"),
        ("/x//y", "/x//y"),
        ("/API", "/API"),
        ("/x%2fy", "/x%2fy"),
    ] {
        assert_eq!(seen(&app, path), gets, "{path}");
    }
}

#[test]
fn the_checks_come_in_their_order() {
    let everything = |settings: Settings| Settings {
        maintenance: Some(true),
        rewrite: Some("/new".into()),
        redirect: to("/elsewhere").redirect,
        files: files("/srv").files,
        ..settings
    };
    let guarded = everything(Settings {
        allow: vec!["10.0.0.0/8".into()],
        ..password()
    });
    let mut routing = rules(Settings::default(), vec![rule("/x", guarded)]);
    routing.https_only = true;
    let fields = HeaderMap::new();
    let ask = |routing: &Routing, client: &str, https: bool| {
        let app = app(routing.clone());
        let request = Request {
            client: client.parse().unwrap(),
            https,
            ..get("/x/y?q=1", &fields)
        };
        show(decide(&app, &request))
    };
    assert_eq!(ask(&routing, "203.0.113.7", false), "403");
    assert_eq!(
        ask(&routing, "10.0.0.1", false),
        "308 https://a.test/x/y?q=1"
    );
    assert_eq!(ask(&routing, "10.0.0.1", true), "401");
    routing.rules[0].settings.auth = None;
    assert_eq!(ask(&routing, "10.0.0.1", true), "maintenance");
    routing.rules[0].settings.maintenance = None;
    assert_eq!(ask(&routing, "10.0.0.1", true), "302 /elsewhere");
    routing.rules[0].settings.redirect = None;
    assert_eq!(ask(&routing, "10.0.0.1", true), "file /srv:/y");
    routing.rules[0].settings.files = None;
    assert_eq!(ask(&routing, "10.0.0.1", true), "/new/y");
}

#[tokio::test]
async fn a_verified_password_leads_on() {
    let mut routing = rules(password(), vec![]);
    routing.settings.maintenance = Some(true);
    let app = app(routing);
    let mut fields = HeaderMap::new();
    let token = base64::engine::general_purpose::STANDARD.encode("ann:right");
    fields.insert("authorization", format!("Basic {token}").parse().unwrap());
    let request = get("/", &fields);
    let Decision::Verify(check) = decide(&app, &request) else {
        panic!("not known yet");
    };
    let Ok(passed) = check.verdict().await else {
        panic!("it is right");
    };
    assert_eq!(show(go_on(&app, &request, &passed)), "maintenance");
    assert_eq!(show(decide(&app, &request)), "maintenance");
}

#[test]
fn https_is_asked_for_everywhere_but_where_plain_http_is_needed() {
    let mut app = app(Routing {
        https_only: true,
        hsts: Some(300),
        ..Routing::default()
    });
    app.health_path = Some("/up".into());
    for (path, want) in [
        ("/", "308 https://a.test/"),
        ("/a%20b?c=d?e", "308 https://a.test/a%20b?c=d?e"),
        ("/?", "308 https://a.test/?"),
        ("*", "308 https://a.test/"),
        ("/é", "308 https://a.test/%C3%A9"),
        ("/up", "/up"),
        ("/up/x", "308 https://a.test/up/x"),
        (HEALTH_PATH, HEALTH_PATH),
        (
            "/.well-known/acme-challenge/a-_9",
            "/.well-known/acme-challenge/a-_9",
        ),
        (
            "/.well-known/acme-challenge/../x",
            "308 https://a.test/.well-known/acme-challenge/../x",
        ),
        (
            "/.well-known/acme-challenge/",
            "308 https://a.test/.well-known/acme-challenge/",
        ),
    ] {
        assert_eq!(seen(&app, path), want, "{path}");
    }
    assert_eq!(app.rules.hsts(true).unwrap(), "max-age=300");
    assert!(app.rules.hsts(false).is_none());
}

#[test]
fn maintenance_of_the_app_or_of_a_path() {
    let on = Settings {
        maintenance: Some(true),
        ..Settings::default()
    };
    let off = Settings {
        maintenance: Some(false),
        ..Settings::default()
    };
    let part = app(rules(on.clone(), vec![rule("/status", off)]));
    assert_eq!(seen(&part, "/"), "maintenance");
    assert_eq!(seen(&part, "/status/x"), "/status/x");
    let mut whole = app(rules(Settings::default(), vec![]));
    whole.state = AppState::Maintenance;
    assert_eq!(seen(&whole, "/"), "maintenance");
}

#[test]
fn targets_keep_the_prefix_of_the_rule_that_said_them() {
    let app = app(rules(
        Settings::default(),
        vec![
            rule("/old", to("/new$path$query")),
            rule("/old/deep", limit(1)),
            rule(
                "/v1",
                Settings {
                    rewrite: Some("/".into()),
                    ..Settings::default()
                },
            ),
            rule("/v1/big", limit(5)),
            rule("/assets", files("/srv/assets")),
        ],
    ));
    for (path, want) in [
        ("/old/a?b", "302 /new/a?b"),
        ("/old/deep/a", "302 /new/deep/a"),
        ("/old", "302 /new"),
        ("/old/../x", "/x"),
        ("/v1/a%20b", "/a%20b"),
        ("/v1", "/"),
        ("/v1/big/x", "/big/x limit 5"),
        ("/v1/a/../b", "/b"),
        ("/v1/../../b", "/b"),
        ("/assets/css/a.css", "file /srv/assets:/css/a.css"),
        ("/assets", "file /srv/assets:"),
        ("/assets/", "file /srv/assets:/"),
        ("/assets/x/../../assets/y", "file /srv/assets:/y"),
    ] {
        assert_eq!(seen(&app, path), want, "{path}");
    }
}

#[test]
fn settings_of_the_whole_app_lead_too() {
    let app = app(rules(
        Settings {
            rewrite: Some("/inside".into()),
            ..Settings::default()
        },
        vec![],
    ));
    assert_eq!(seen(&app, "/x"), "/inside/x");
    assert_eq!(seen(&app, "/../x"), "/inside/x");
    assert_eq!(seen(&app, "/..%2fx"), "400");
}
