use super::{refused::REFUSED, *};
use hokku_model::routing::{Compress, Files, Proto};
use hokku_model::said::Level;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

const ARGON: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM$HkRAcwq5oQO8Ea9VWjO1GxPPgFE2uU3ckXq5wBl8pA8";

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
});

/// Does the schema take this text?
fn schema_takes(text: &str) -> bool {
    let value: Value = toml::from_str(text).unwrap();
    VALIDATOR.is_valid(&value)
}

fn app(text: &str) -> Level {
    let text = format!("[routing]\n{text}");
    let said = parse(&text).unwrap_or_else(|e| panic!("{e}"));
    assert!(schema_takes(&text), "the schema refuses\n{text}");
    said.app
}

fn one(text: &str) -> Setting {
    app(text).iter().next().unwrap().clone()
}

/// Every kind of value in every form that is taken; the schema takes it too.
#[test]
fn what_is_taken() {
    for (text, is) in [
        ("proto = \"h2c\"", Setting::Proto(Proto::H2c)),
        ("proto = 'http1'", Setting::Proto(Proto::Http1)),
        ("affinity = true", Setting::Affinity(true)),
        ("https_only = false", Setting::HttpsOnly(false)),
        ("hsts = true", Setting::Hsts(Some(31_536_000))),
        ("hsts = \"30d\"", Setting::Hsts(Some(2_592_000))),
        ("hsts = false", Setting::Hsts(None)),
        ("hsts = \"none\"", Setting::Hsts(None)),
        ("connections = 5_00", Setting::Connections(Some(500))),
        ("dyno_connections = 20", Setting::DynoConnections(Some(20))),
        ("connections = 0xff", Setting::Connections(Some(255))),
        ("connections = \"none\"", Setting::Connections(None)),
        ("queue = \"1m30s\"", Setting::Queue(Some(90_000))),
        ("queue = \"none\"", Setting::Queue(None)),
        (
            "websocket_drain = \"2h\"",
            Setting::WebsocketDrain(Some(7_200_000)),
        ),
        ("timeout = \"500ms\"", Setting::Timeout(500)),
        ("idle_timeout = \"5m\"", Setting::IdleTimeout(300_000)),
        ("body_limit = \"10MB\"", Setting::BodyLimit(10_000_000)),
        ("body_limit = 1048576", Setting::BodyLimit(1 << 20)),
        ("min_rate = \"1KiB\"", Setting::MinRate(1024)),
        ("compress = \"small\"", Setting::Compress(Compress::Small)),
        ("compress = false", Setting::Compress(Compress::Off)),
        ("compress = true", Setting::Compress(Compress::Balanced)),
        (
            "request_headers = { X-A = \"b\" }",
            Setting::RequestHeader("x-a".into(), Some("b".into())),
        ),
        (
            "response_headers.Server = false",
            Setting::ResponseHeader("server".into(), None),
        ),
        (
            "cache = \"public, max-age=60\"",
            Setting::Cache("public, max-age=60".into()),
        ),
        (
            "allow = \"10.0.0.0/8, ::1\"",
            Setting::Allow(vec!["10.0.0.0/8".into(), "::1/128".into()]),
        ),
        (
            "allow = [\"203.0.113.7\"]",
            Setting::Allow(vec!["203.0.113.7/32".into()]),
        ),
        ("maintenance = true", Setting::Maintenance(true)),
        (
            "files = './public/'",
            Setting::Files(Files {
                root: "public".into(),
                index: "index.html".into(),
                fallback: None,
                pass: true,
            }),
        ),
        (
            "files = { root = 'dist', index = 'i.htm', fallback = '200.html' }",
            Setting::Files(Files {
                root: "dist".into(),
                index: "i.htm".into(),
                fallback: Some("200.html".into()),
                pass: false,
            }),
        ),
    ] {
        assert_eq!(one(text), is, "{text}");
    }
    let Setting::Redirect(r) = one("redirect = \"https://example.org$path$query\"") else {
        panic!()
    };
    assert_eq!(
        (r.to.as_str(), r.status),
        ("https://example.org$path$query", 302)
    );
    let Setting::Redirect(r) = one("redirect = { to = 'http://x.test/', status = 308 }") else {
        panic!()
    };
    assert_eq!(r.status, 308);
    let text = format!("basic_auth = {{ realm = 'Staff', users = {{ ann = '{ARGON}' }} }}");
    let Setting::BasicAuth(auth) = one(&text) else {
        panic!()
    };
    assert_eq!(
        (auth.realm.as_str(), auth.users["ann"].as_str()),
        ("Staff", ARGON)
    );
    assert_eq!(parse("").unwrap(), Said::default());
    assert_eq!(parse("[routing]\n# nothing\n").unwrap(), Said::default());
}

#[test]
fn rules() {
    let text = "[[routing.rules]]\npath = \"/api/\"\nrewrite = \"/v2\"\ntimeout = \"1m\"\n[[routing.rules]]\npath = \"/\"\ncompress = false\n";
    let said = parse(text).unwrap();
    assert!(schema_takes(text));
    let paths: Vec<&str> = said.rules.keys().map(String::as_str).collect();
    assert_eq!(paths, ["/", "/api"]);
    assert_eq!(said.rules["/api"].len(), 2);
    assert_eq!(said.files_roots().len(), 0);
}

#[test]
fn what_is_refused() {
    for (text, line, column, part, seen) in REFUSED {
        let faults = parse(text).expect_err(text);
        let first = &faults.0[0];
        let shown = faults.render(NAME);
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        assert_eq!((first.line, first.column), (*line, *column), "{shown}");
        assert!(
            shown.starts_with(&format!("hokku.toml:{line}:{column}: ")),
            "{shown}"
        );
        assert!(!first.message.ends_with('.'), "{shown}");
        assert_eq!(schema_takes(text), !seen, "the schema on\n{text}");
    }
    // every key has a value that is refused
    for key in KEYS {
        assert!(
            REFUSED.iter().any(|(t, ..)| t.contains(key.name)),
            "{}",
            key.name
        );
    }
}

#[test]
fn what_people_read() {
    let text = "[routing]\ntimeout = \"30s\"\n\n[[routing.rules]]\npath = \"/old\"\nredirect = { to = \"/new\", status = 200 }\ncompres = false\n";
    assert_eq!(
        parse(text).unwrap_err().render("hokku.toml"),
        r#"hokku.toml:6:36: 200 is not the status of a redirect
  6 | redirect = { to = "/new", status = 200 }
    |                                    ^^^
    = Write 301, 302, 303, 307 or 308, without quotes.

hokku.toml:7:1: there is no key compres
  7 | compres = false
    | ^^^^^^^
    = Did you mean compress?
"#
    );
}

#[test]
fn a_plain_password_is_not_repeated() {
    let shown = parse("[routing.basic_auth]\nusers = { ann = 'correct horse' }")
        .unwrap_err()
        .to_string();
    assert!(
        shown.contains("users = { ann = ***************") && !shown.contains("horse"),
        "{shown}"
    );
    let said = parse_setting("basic_auth", "ann:correct-horse", false).unwrap_err();
    assert!(
        said.contains("routing:hash") && !said.contains("horse"),
        "{said}"
    );
}

#[test]
fn what_is_no_toml() {
    for (text, line) in [
        ("[routing\n", 1),
        ("[routing]\na = \n", 2),
        ("[routing]\ntimeout = 30s\n", 2),
        ("a = 1\na = 2", 2),
        ("[routing]\ntimeout = \"1s\n", 2),
    ] {
        let faults = parse(text).unwrap_err();
        assert_eq!(faults.0[0].line, line, "{faults}");
    }
    let e = parse_bytes(b"\xff\xfea\0b\0").unwrap_err().to_string();
    assert!(e.contains("hokku.toml:1:1: the file is UTF-16"), "{e}");
    let e = parse_bytes(b"a\nb\xff").unwrap_err().to_string();
    assert!(e.contains("hokku.toml:2:1: "), "{e}");
    let e = parse(&" ".repeat(MAX_BYTES + 1)).unwrap_err().to_string();
    assert!(e.contains("more than the 262144"), "{e}");
    assert_eq!(
        parse_bytes(b"\xef\xbb\xbf[routing]\r\naffinity = true\r\n")
            .unwrap()
            .app
            .len(),
        1
    );
}

#[test]
fn counts_are_bounded() {
    let many = |n: usize, f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<String>();
    let rules = |n| {
        many(n, &|i| {
            format!("[[routing.rules]]\npath = '/{i}'\nmaintenance = true\n")
        })
    };
    assert_eq!(parse(&rules(MAX_RULES)).unwrap().rules.len(), MAX_RULES);
    assert!(
        parse(&rules(MAX_RULES + 1))
            .unwrap_err()
            .to_string()
            .contains("there are 201 rules")
    );
    let headers = |n| {
        format!(
            "[routing.response_headers]\n{}",
            many(n, &|i| format!("x-{i} = 'a'\n"))
        )
    };
    assert!(parse(&headers(50)).is_ok() && parse(&headers(51)).is_err());
    let nets = |n| {
        format!(
            "[routing]\nallow = [{}]",
            many(n, &|i| format!("'10.0.{}.{}',", i / 250, i % 250))
        )
    };
    assert!(parse(&nets(500)).is_ok() && parse(&nets(501)).is_err());
    let faults = parse(&many(50, &|i| format!("x{i} = 1\n"))).unwrap_err();
    assert_eq!(faults.0.len(), 20);
    assert!(faults.to_string().contains("30 more faults"));
    for begin in ["", "[routing]\n", "[routing.redirect]\n"] {
        let flood = format!("{begin}{}", many(20_000, &|i| format!("key{i}=1\n")));
        assert_eq!(parse(&flood).unwrap_err().0.len(), 20);
    }
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse(&deep).is_err());
}

#[test]
fn settings_from_a_command_line() {
    for (key, value, is) in [
        ("timeout", "30s", "30s"),
        ("timeout", "\"30s\"", "30s"),
        ("affinity", "true", "true"),
        ("connections", "500", "500"),
        ("connections", "none", "none"),
        ("compress", "off", "off"),
        ("compress", "false", "off"),
        ("hsts", "true", "365d"),
        ("body_limit", "10MB", "10MB"),
        (
            "redirect",
            "https://example.org/",
            "{ to = \"https://example.org/\", status = 302 }",
        ),
        (
            "redirect",
            "{ to = '/x', status = 301 }",
            "{ to = \"/x\", status = 301 }",
        ),
        ("allow", "10.0.0.0/8,192.0.2.1", "10.0.0.0/8,192.0.2.1/32"),
        ("allow", "['10.0.0.0/8']", "10.0.0.0/8"),
        ("cache", "public, max-age=60", "public, max-age=60"),
        ("response_headers.X-Max", "5", "\"5\""),
        ("response_headers.X-Max", "a = b", "\"a = b\""),
        ("request_headers.X-Debug", "false", "false"),
    ] {
        let all = parse_setting(key, value, false).unwrap_or_else(|e| panic!("{key}={value}: {e}"));
        assert_eq!(show(&all[0]), is, "{key}={value}");
    }
    let two = parse_setting("response_headers", "{ X-A = 'b', Server = false }", true).unwrap();
    assert_eq!(two.len(), 2);
    for (key, value, path, part) in [
        ("timout", "1s", false, "Did you mean timeout?"),
        ("timeout", "1", false, "with its unit"),
        ("timeout", "soon", false, "\"soon\" is not a duration"),
        ("proto", "h2c", true, "is of the whole app"),
        ("rewrite", "/x", false, "is of a path"),
        ("affinity", "maybe", false, "true or false"),
        ("response_headers.Host", "x", false, "router's own"),
        ("response_headers.A B", "x", false, "not the name"),
        ("timeout.x", "1s", false, "no key timeout.x"),
        ("timeout", "1s\naffinity = true", false, "not a duration"),
    ] {
        let e = parse_setting(key, value, path).unwrap_err();
        assert!(e.contains(part), "{key}={value}: {e}");
    }
}

/// A text with everything: each key, with the table's example.
fn everything() -> String {
    let lines = |scopes: &[Scope]| -> String {
        let keys = KEYS.iter().filter(|k| scopes.contains(&k.scope));
        keys.map(|k| format!("{} = {}\n", k.name, k.example.replace("$argon2id$…", ARGON)))
            .collect()
    };
    format!(
        "[routing]\n{}\n[[routing.rules]]\npath = \"/x\"\n{}",
        lines(&[Scope::App, Scope::Both]),
        lines(&[Scope::Both, Scope::Rule])
    )
}

#[test]
fn the_table_of_keys_tells_the_truth() {
    let text = everything();
    let said = parse(&text).unwrap_or_else(|e| panic!("{e}"));
    assert!(schema_takes(&text));
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let section = &schema["properties"]["routing"]["properties"];
    let rule = &section["rules"]["items"]["properties"];
    for key in KEYS {
        let topics = |level: &Level| level.iter().any(|s| s.topic() == key.name);
        assert_eq!(topics(&said.app), key.scope != Scope::Rule, "{}", key.name);
        assert_eq!(
            topics(&said.rules["/x"]),
            key.scope != Scope::App,
            "{}",
            key.name
        );
        assert_eq!(
            section.get(key.name).is_some(),
            key.scope != Scope::Rule,
            "{}",
            key.name
        );
        assert_eq!(
            rule.get(key.name).is_some(),
            key.scope != Scope::App,
            "{}",
            key.name
        );
        let at = if key.scope == Scope::Rule {
            rule
        } else {
            section
        };
        assert_eq!(at[key.name]["description"], key.what);
    }
    assert_eq!(
        section.as_object().unwrap().len(),
        KEYS.iter().filter(|k| k.scope != Scope::Rule).count() + 1
    );
}

#[test]
fn the_documentation_names_every_key() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/deb");
    let example = std::fs::read_to_string(folder.join("app-hokku.toml")).unwrap();
    let said = parse(&example).unwrap_or_else(|e| panic!("{e}"));
    assert!(schema_takes(&example));
    let page = std::fs::read_to_string(folder.join("hokku.toml.5")).unwrap();
    for key in KEYS {
        let mut levels = std::iter::once(&said.app).chain(said.rules.values());
        assert!(
            levels.any(|l| l.iter().any(|s| s.topic() == key.name)),
            "{} is not in the example",
            key.name
        );
        assert!(
            page.contains(&format!("\n.BR {} ", key.name))
                || page.contains(&format!("\n.B {}\n", key.name)),
            "{} is not in the page",
            key.name
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_bytes(&bytes).map_err(|e| e.to_string());
    }

    #[test]
    fn no_text_panics(
        text in "(\\[\\[?(routing|rules|routing\\.rules|routing.request_headers)\\]\\]?\n|(path|timeout|redirect|files|allow|basic_auth|compress|cache|X-A|\"\") ?= ?([0-9.]{1,4}|'[^']{0,9}'|\"[ -~é\\\\]{0,9}\"|true|\\[|\\{ to = '/x'|\\}|\\])?[\n,]|.){0,12}",
        key in ".{0,20}", value in ".{0,30}",
    ) {
        let _ = parse(&text).map_err(|e| e.to_string());
        let _ = (parse_setting(&key, &value, true), parse_path(&key));
        for k in KEYS {
            let _ = parse_setting(k.name, &value, false);
        }
    }

    /// A good file with one change anywhere: read by the schema too, or refused, with the fault where there is text.
    #[test]
    fn a_damaged_file_has_its_fault_in_it(at in any::<prop::sample::Index>(), c in any::<char>(), drop in 0..3usize) {
        let text = everything();
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let damaged: String = chars[..at].iter().chain([&c]).chain(chars[at..].iter().skip(drop)).collect();
        if let Err(faults) = parse(&damaged) {
            let lines: Vec<&str> = damaged.split('\n').collect();
            for f in &faults.0 {
                prop_assert!(f.line >= 1 && f.line <= lines.len());
                prop_assert!(f.column >= 1 && f.column <= lines[f.line - 1].chars().count() + 1, "{}", faults);
            }
        } else {
            prop_assert!(schema_takes(&damaged), "the schema refuses\n{}", damaged);
        }
    }

    /// What is shown can be set again.
    #[test]
    fn what_is_shown_is_read_back(ms in 1..86_400_000u64, n in 1..1_000_000u32, text in "[ -~]{1,30}", bytes in 0..1_000_000_000_000u64) {
        let text = text.trim();
        for setting in [
            Setting::Timeout(ms),
            Setting::Queue(Some(ms.min(3_600_000))),
            Setting::Queue(None),
            Setting::Connections(Some(n)),
            Setting::DynoConnections(Some(n)),
            Setting::BodyLimit(bytes),
            Setting::Compress(Compress::Fast),
            Setting::ResponseHeader("x-a".into(), Some(text.to_owned())),
            Setting::ResponseHeader("x-a".into(), None),
            Setting::Files(Files { root: "a b/c".into(), index: "i".into(), fallback: Some("f\"\\".replace('\\', "")), pass: false }),
        ] {
            let read = parse_setting(&setting.key(), &show(&setting), false);
            prop_assert_eq!(read, Ok(vec![setting]));
        }
    }
}
