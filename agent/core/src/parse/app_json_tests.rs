use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(v: &Value) -> Result<Parsed, Vec<String>> {
    parse(v.to_string().as_bytes())
}

fn web(check: Value) -> Value {
    json!({"healthchecks": {"web": [check]}})
}

fn one(check: Value) -> Check {
    let parsed = read(&web(check)).unwrap();
    parsed.app.care[&ProcessType::web()].checks[0].clone()
}

#[test]
fn a_file_as_heroku_and_dokku_know_it() {
    let parsed = read(&json!({
        "name": "Shop", "keywords": ["a"], "env": {"KEY": {"generator": "secret"}},
        "scripts": {"dokku": {"predeploy": "x"}}, "addons": [1, 2],
        "formation": {"web": {"quantity": 2, "size": "standard-1x"}, "worker": {"quantity": 0, "stopSignal": "quit", "stopTimeout": 90}},
        "healthchecks": {
            "web": [
                {"type": "startup", "name": "boots", "path": "/up?full=1", "content": "ok", "attempts": 10, "timeout": 2, "wait": 1,
                 "initialDelay": 3, "httpHeaders": [{"name": "Host", "value": "shop.example"}], "another": {"x": 1}},
                {"type": "readiness", "listening": true, "port": 5000},
                {"type": "liveness", "path": "/alive", "warn": true},
            ],
            "worker": [{"type": "startup", "uptime": 10}, {"type": "liveness", "port": 9090}],
        },
    }))
    .unwrap();
    assert_eq!(parsed.warnings, Vec::<String>::new());
    let app = &parsed.app;
    let kinds: Vec<String> = app.care.keys().map(ToString::to_string).collect();
    assert_eq!(kinds, ["web", "worker"]);
    let web = app.care_of(&ProcessType::web());
    assert_eq!(app.quantities[&ProcessType::web()], 2);
    assert_eq!(
        web.checks[0],
        Check {
            name: "boots".into(),
            purpose: Purpose::Startup,
            ask: Ask::Http {
                path: "/up?full=1".into(),
                content: Some("ok".into()),
                headers: vec![("Host".into(), "shop.example".into())],
            },
            port: None,
            attempts: 10,
            timeout_ms: 2000,
            wait_ms: 1000,
            delay_ms: 3000,
            warn: false,
            on_failure: None,
        }
    );
    assert_eq!(
        (&web.checks[1].ask, web.checks[1].port),
        (&Ask::Listening, None)
    );
    assert!(web.checks[2].warn && !web.checks[2].gates());
    let worker = app.care_of(&"worker".parse().unwrap());
    assert_eq!(worker.checks[0].ask, Ask::Uptime { ms: 10_000 });
    assert_eq!(
        (&worker.checks[1].ask, worker.checks[1].port),
        (&Ask::Tcp, Some(9090))
    );
    assert_eq!(
        (worker.signal_name(), worker.grace_ms),
        ("SIGQUIT", Some(90_000))
    );
    let text = serde_json::to_string(app).unwrap();
    assert_eq!(serde_json::from_str::<AppJson>(&text).unwrap(), *app);
}

#[test]
fn defaults_are_dokkus() {
    let c = one(json!({"type": "liveness"}));
    assert_eq!(
        (
            c.name.as_str(),
            c.attempts,
            c.timeout_ms,
            c.wait_ms,
            c.delay_ms,
            c.warn
        ),
        ("liveness 0", 3, 5000, 5000, 0, false)
    );
    assert!(matches!(c.ask, Ask::Http { ref path, .. } if path == "/"));
    assert_eq!(one(json!({"type": "startup", "port": 80})).ask, Ask::Tcp);
    assert_eq!(read(&json!({})).unwrap(), Parsed::default());
    let odd = read(&web(json!({"type": "startup", "scheme": "https"})));
    assert_eq!(odd.unwrap().warnings.len(), 1);
    let command = one(json!({"type": "liveness", "command": ["./alive", "-v"]}));
    let argv = ["./alive", "-v"].map(String::from).to_vec();
    assert_eq!(command.ask, Ask::Command { argv: argv.clone() });
    let then = |on: Value| one(json!({"type": "startup", "onFailure": on})).on_failure;
    assert_eq!(
        then(json!({"command": ["./alive", "-v"]})),
        Some(OnFailure::Command { argv })
    );
    let url = "https://example.com/x?y=1".to_owned();
    assert_eq!(then(json!({"url": &url})), Some(OnFailure::Url { url }));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases = [
        (json!([]), "app.json has to be an object, not a list."),
        (
            json!({"healthchecks": []}),
            "healthchecks has to be an object, not a list.",
        ),
        (
            json!({"healthchecks": {"web": {}}}),
            "healthchecks.web has to be a list of checks, not an object.",
        ),
        (
            json!({"healthchecks": {"a b": []}}),
            "healthchecks.a b is no name of a process type.",
        ),
        (
            web(json!(1)),
            "healthchecks.web[0] has to be an object, not a number.",
        ),
        (web(json!({})), "healthchecks.web[0].type is missing"),
        (
            web(json!({"type": "startup", "onFailure": {}})),
            "healthchecks.web[0].onFailure needs a command or a url",
        ),
        (
            web(json!({"type": "startup", "onFailure": {"command": ["a"], "url": "http://b"}})),
            "healthchecks.web[0].onFailure has both",
        ),
        (
            web(json!({"type": "startup", "onFailure": {"url": "file:///etc/passwd"}})),
            "healthchecks.web[0].onFailure.url has to begin with http",
        ),
        (
            web(json!({"type": "startup", "onFailure": {"command": []}})),
            "healthchecks.web[0].onFailure.command names no program",
        ),
        (
            web(json!({"type": "ready"})),
            "healthchecks.web[0].type has to be \"startup\", ",
        ),
        (
            web(json!({"type": "startup", "timeout": "5s"})),
            "healthchecks.web[0].timeout has to be a number of seconds from 0.001 to 3600, not text.",
        ),
        (
            web(json!({"type": "startup", "attempts": 0})),
            "healthchecks.web[0].attempts has to be a whole number from 1 to 1000, not 0.",
        ),
        (
            web(json!({"type": "startup", "port": "80"})),
            "healthchecks.web[0].port has to be a whole number",
        ),
        (
            web(json!({"type": "startup", "path": "up"})),
            "healthchecks.web[0].path has to begin with /",
        ),
        (
            web(json!({"type": "startup", "path": "/a b"})),
            "healthchecks.web[0].path has to begin with /",
        ),
        (
            web(json!({"type": "startup", "path": "/", "listening": true})),
            "healthchecks.web[0] says more than one of ",
        ),
        (
            web(json!({"type": "startup", "command": "x"})),
            "healthchecks.web[0].command has to be a list of a program",
        ),
        (
            web(json!({"type": "startup", "command": []})),
            "healthchecks.web[0].command names no program.",
        ),
        (
            web(json!({"type": "startup", "command": ["a", 1]})),
            "healthchecks.web[0].command[1] has to be text, not a number.",
        ),
        (
            web(json!({"type": "startup", "warn": 1})),
            "healthchecks.web[0].warn has to be true or false, not a number.",
        ),
        (
            web(json!({"type": "startup", "httpHeaders": {"a": "b"}})),
            "healthchecks.web[0].httpHeaders has to be a list",
        ),
        (
            web(json!({"type": "startup", "httpHeaders": [{"name": "a\r\nb", "value": "c"}]})),
            "healthchecks.web[0].httpHeaders[0] is no HTTP header",
        ),
        (
            web(json!({"type": "liveness", "uptime": 5})),
            "healthchecks.web[0].uptime can't be a liveness check.",
        ),
        (
            json!({"healthchecks": {"worker": [{"type": "startup", "path": "/"}]}}),
            "healthchecks.worker[0].port is missing: worker gets no $PORT",
        ),
        (
            json!({"formation": {"web": {"quantity": -1}}}),
            "formation.web.quantity has to be a whole number from 0 to 1000, not -1.",
        ),
        (
            json!({"formation": {"web": {"stopSignal": "SIGKILL"}}}),
            "formation.web.stopSignal has to be one of SIGHUP",
        ),
    ];
    for (file, want) in cases {
        let faults = read(&file).unwrap_err();
        assert!(faults[0].starts_with(want), "{file}: {faults:?}");
        assert_eq!(faults.len(), 1, "{file}: {faults:?}");
    }
    let torn = parse(b"{\"healthchecks\": {\n").unwrap_err();
    assert!(
        torn[0].starts_with("app.json is no valid JSON: ") && torn[0].contains("line 2"),
        "{torn:?}"
    );
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(parse(deep.as_bytes()).unwrap_err().len(), 1);
    assert!(parse(&vec![b' '; MAX_BYTES + 1]).is_err());
}

/// Any JSON, with the file's own keys often enough to get deep.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("healthchecks"),
        Just("formation"),
        Just("web"),
        Just("worker"),
        Just("type"),
        Just("path"),
        Just("port"),
        Just("attempts"),
        Just("timeout"),
        Just("command"),
        Just("httpHeaders"),
        Just("name"),
        Just("value"),
        Just("uptime"),
        Just("listening"),
        Just("quantity"),
        Just("stopSignal"),
        Just("warn"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u8..9).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop_oneof![
            Just("startup"),
            Just("readiness"),
            Just("liveness"),
            Just("/up"),
            Just("SIGINT")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        let key = key.clone().prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }

    #[test]
    fn what_is_accepted_is_in_range(file in any_json(), check in any_json()) {
        for file in [file, web(check)] {
            match read(&file) {
                Err(faults) => prop_assert!(!faults.is_empty() && faults.len() <= 20),
                Ok(p) => for (kind, care) in &p.app.care {
                    prop_assert!(care.stop_signal.is_none_or(|s| STOP_SIGNALS.iter().any(|(_, n)| *n == s)));
                    for c in &care.checks {
                        prop_assert!((1..=1000).contains(&c.attempts) && c.timeout_ms > 0 && c.wait_ms > 0);
                        prop_assert!(c.timeout_ms <= 3_600_000 && c.wait_ms <= 86_400_000 && c.delay_ms <= 86_400_000);
                        match &c.ask {
                            Ask::Http { path, headers, .. } => {
                                prop_assert!(path.starts_with('/') && !path.contains([' ', '\r', '\n']));
                                prop_assert!(headers.iter().all(|(n, v)| !n.contains(['\r', '\n']) && !v.contains(['\r', '\n'])));
                                prop_assert!(c.port.is_some() || kind.is_web());
                            }
                            Ask::Command { argv } => prop_assert!(!argv.is_empty() && !argv[0].is_empty()),
                            _ => {}
                        }
                    }
                },
            }
        }
    }
}

#[test]
fn deploy_scripts_as_heroku_and_dokku_write_them() {
    let said = |v: Value| {
        let parsed = read(&json!({ "scripts": v })).unwrap();
        (
            parsed.app.predeploy,
            parsed.app.postdeploy,
            parsed.warnings.len(),
        )
    };
    let some = |s: &str| Some(s.to_owned());
    assert_eq!(said(json!({"postdeploy": "seed"})), (None, some("seed"), 0));
    let object =
        json!({"postdeploy": {"command": "seed", "size": "standard-2x"}, "pr-predestroy": "x"});
    assert_eq!(said(object), (None, some("seed"), 0));
    assert_eq!(said(json!({"predeploy": "a"})), (some("a"), None, 0));
    let dokku = json!({"predeploy": "a", "dokku": {"predeploy": "b", "postdeploy": "c"}});
    assert_eq!(said(dokku), (some("b"), None, 1));
    let wrong = read(&json!({"scripts": {"dokku": {"predeploy": ["a"]}}})).unwrap_err();
    assert_eq!(
        wrong,
        ["scripts.dokku.predeploy has to be text, not a list."]
    );
}
