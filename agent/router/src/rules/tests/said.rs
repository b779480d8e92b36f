//! What is said twice, over one another, or cannot be used.

use super::*;

#[test]
fn header_edits_are_taken_name_by_name() {
    let edits = |set: &[(&str, &str)], remove: &[&str]| HeaderEdits {
        set: set
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        remove: remove.iter().map(|n| (*n).to_owned()).collect(),
    };
    let said = |response_headers| Settings {
        response_headers,
        ..Settings::default()
    };
    let app = app(rules(
        said(edits(
            &[("x-frame-options", "DENY"), ("x-a", "1")],
            &["server"],
        )),
        vec![rule(
            "/embed",
            said(edits(&[("server", "own")], &["x-frame-options"])),
        )],
    ));
    let fields = HeaderMap::new();
    let Decision::Forward(f) = decide(&app, &get("/embed/x", &fields)) else {
        panic!("goes to the app");
    };
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("server", "app"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-b", "2"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    f.settings.response_headers.apply(&mut headers);
    let mut all: Vec<_> = headers
        .iter()
        .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
        .collect();
    all.sort();
    assert_eq!(all, ["server: own", "x-a: 1", "x-b: 2"]);
}

#[test]
fn cache_control_for_some_statuses() {
    let app = app(rules(
        Settings {
            cache: Some("public, max-age=60".into()),
            ..Settings::default()
        },
        vec![],
    ));
    let fields = HeaderMap::new();
    let Decision::Forward(f) = decide(&app, &get("/", &fields)) else {
        panic!("goes to the app");
    };
    for (status, added) in [
        (200, true),
        (304, true),
        (404, true),
        (201, false),
        (302, false),
        (500, false),
    ] {
        assert_eq!(
            f.settings.cache_control(status).is_some(),
            added,
            "{status}"
        );
    }
}

#[test]
fn what_cannot_be_used_is_left_out_and_named() {
    let bad = Settings {
        first_byte_ms: Some(0),
        cache: Some("a\nb".into()),
        redirect: Some(Redirect {
            to: "nowhere".into(),
            status: 302,
        }),
        rewrite: Some("x".into()),
        files: files("../elsewhere").files,
        request_headers: HeaderEdits {
            set: [
                ("content-length".to_owned(), "1".to_owned()),
                ("x-ok".to_owned(), "1".to_owned()),
                ("x-bad".to_owned(), "a\r\nb: c".to_owned()),
            ]
            .into(),
            remove: vec!["host".into(), "a b".into()],
        },
        body_limit: Some(5),
        ..Settings::default()
    };
    let routing = rules(
        Settings::default(),
        vec![
            rule("/x", bad),
            rule("/a%2f..", limit(1)),
            rule("late", limit(2)),
        ],
    );
    let refused = refusals(&routing);
    for key in [
        "first_byte_ms",
        "cache",
        "redirect",
        "rewrite",
        "files",
        "\"content-length\"",
        "\"x-bad\"",
        "\"host\"",
        "\"a b\"",
    ] {
        let named = refused
            .iter()
            .filter(|r| r.contains("rule /x") && r.contains(key));
        assert_eq!(named.count(), 1, "{key} in {refused:?}");
    }
    assert_eq!(refused.len(), 11, "{refused:?}");
    let app = app(routing);
    assert_eq!(seen(&app, "/x/y"), "/x/y limit 5");
    assert_eq!(seen(&app, "/late"), "/late limit 2");
    let fields = HeaderMap::new();
    let Decision::Forward(f) = decide(&app, &get("/x", &fields)) else {
        panic!("goes to the app");
    };
    assert_eq!(f.settings.request_headers.set.len(), 1);
}

#[test]
fn guards_that_cannot_be_used_stay_closed() {
    let nobody = Settings {
        auth: Some(BasicAuth {
            realm: "a\nb".into(),
            users: [("ann".to_owned(), "plain".to_owned())].into(),
        }),
        ..Settings::default()
    };
    let routing = rules(
        Settings::default(),
        vec![rule("/a", only("nonsense")), rule("/b", nobody)],
    );
    let refused = refusals(&routing);
    assert_eq!(refused.len(), 3, "{refused:?}");
    let app = app(routing);
    assert_eq!(seen(&app, "/a"), "403");
    assert_eq!(seen(&app, "/b"), "401");
}

#[test]
fn a_path_said_twice_counts_as_first_said() {
    let app = app(rules(
        Settings::default(),
        vec![
            rule("/x", limit(1)),
            rule(
                "/x/",
                Settings {
                    maintenance: Some(true),
                    ..limit(2)
                },
            ),
            rule("/%78", limit(3)),
        ],
    ));
    assert_eq!(seen(&app, "/x"), "maintenance");
    let (settings, _) = app.rules.settings("/x").unwrap();
    assert_eq!(settings.body_limit, Some(1));
}
