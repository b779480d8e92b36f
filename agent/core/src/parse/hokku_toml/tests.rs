use super::*;
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

/// Text, line and column of the first fault, a part of what is said, and whether a schema can see it.
const REFUSED: &[(&str, usize, usize, &str, bool)] = &[
    // keys
    (
        "[routing]\ntimout = '30s'",
        2,
        1,
        "Did you mean timeout?",
        true,
    ),
    (
        "[routing]\nheaders = {}",
        2,
        1,
        "Did you mean response_headers?",
        true,
    ),
    (
        "[routing]\nfrobnicate = 1",
        2,
        1,
        "Known are: proto, affinity",
        true,
    ),
    ("[routing]\nrule = []", 2, 1, "[[routing.rules]]", true),
    ("[routing]\nrewrite = '/x'", 2, 1, "is of a path", true),
    (
        "[routing]\nerror_page = 'https://x'",
        2,
        1,
        "config var ERROR_PAGE_URL",
        true,
    ),
    (
        "[[routing.rules]]\npath = '/'\nproto = 'h2c'",
        3,
        1,
        "is of the whole app",
        true,
    ),
    (
        "[[routing.rules]]\npath = '/'\nTimeout = '1s'",
        3,
        1,
        "Did you mean timeout?",
        true,
    ),
    (
        "[[routing.rules]]\ntimeout = '1s'",
        1,
        1,
        "the rule has no path",
        true,
    ),
    ("[rooting]\n", 1, 2, "Did you mean [routing]?", true),
    ("timeout = '30s'", 1, 1, "below a line [routing]", true),
    ("[[rules]]\npath = '/'", 1, 3, "[[routing.rules]]", true),
    ("routing = 3", 1, 11, "section", true),
    ("[routing]\nrules = 3", 2, 9, "list of tables", true),
    ("[routing]\nrules = [3]", 2, 10, "a rule is a table", true),
    // kinds
    ("[routing]\nproto = 'h3'", 2, 9, "can't be \"h3\"", true),
    (
        "[routing]\nproto = 'h2'",
        2,
        9,
        "Did you mean \"h2c\"?",
        true,
    ),
    (
        "[routing]\naffinity = 'yes'",
        2,
        12,
        "true or false, without quotes",
        true,
    ),
    ("[routing]\nhttps_only = 1", 2, 14, "true or false", true),
    ("[routing]\nhsts = 31536000", 2, 8, "\"30s\"", true),
    ("[routing]\nconnections = 0", 2, 15, "1 to 1000000", true),
    (
        "[routing]\nconnections = '5'",
        2,
        15,
        "without quotes",
        true,
    ),
    ("[routing]\nconnections = -5", 2, 15, "1 to 1000000", true),
    ("[routing]\ntimeout = 30", 2, 11, "with its unit", true),
    ("[routing]\ntimeout = '30 s'", 2, 11, "not a duration", true),
    ("[routing]\ntimeout = '0s'", 2, 11, "1ms to 1d", false),
    ("[routing]\ntimeout = 'none'", 2, 11, "not a duration", true),
    ("[routing]\nidle_timeout = '2d'", 2, 16, "1ms to 1d", false),
    ("[routing]\nqueue = '2h'", 2, 9, "0s to 1h", false),
    (
        "[routing]\nwebsocket_drain = '8d'",
        2,
        19,
        "0s to 7d",
        false,
    ),
    ("[routing]\nbody_limit = '10M'", 2, 14, "not a size", true),
    (
        "[routing]\nbody_limit = -1",
        2,
        14,
        "can't be this number",
        true,
    ),
    ("[routing]\nbody_limit = '2TB'", 2, 14, "at most 1TB", false),
    ("[routing]\nmin_rate = 1.5", 2, 12, "fraction", true),
    (
        "[routing]\ncompress = 'fastest'",
        2,
        12,
        "one of off, fast, balanced, small",
        true,
    ),
    ("[routing]\ncompress = 9", 2, 12, "can't be a number", true),
    (
        "[routing]\nmaintenance = 'on'",
        2,
        15,
        "true or false",
        true,
    ),
    ("[routing]\ncache = ''", 2, 9, "empty", true),
    (
        "[routing]\ncache = \"a\\r\\nSet-Cookie: b\"",
        2,
        9,
        "'\\r' can't be in a header",
        true,
    ),
    // headers
    (
        "[routing.request_headers]\nHost = 'x'",
        2,
        1,
        "router's own",
        true,
    ),
    (
        "[routing.request_headers]\nX-Forwarded-For = '1.2.3.4'",
        2,
        1,
        "router's own",
        true,
    ),
    (
        "[routing.response_headers]\nTransfer-Encoding = 'chunked'",
        2,
        1,
        "router's own",
        true,
    ),
    (
        "[routing.response_headers]\nconnection = false",
        2,
        1,
        "router's own",
        true,
    ),
    (
        "[routing.response_headers]\nContent-Encoding = 'gzip'",
        2,
        1,
        "how the body is written",
        true,
    ),
    (
        "[routing.response_headers]\n\"a b\" = 'x'",
        2,
        1,
        "not the name of a header",
        true,
    ),
    (
        "[routing.response_headers]\nX-A = 5",
        2,
        7,
        "a text in quotes",
        true,
    ),
    (
        "[routing.response_headers]\nX-A = true",
        2,
        7,
        "a text in quotes",
        true,
    ),
    (
        "[routing.response_headers]\nX-A = \"a\\nb\"",
        2,
        7,
        "can't be in a header",
        true,
    ),
    (
        "[routing.response_headers]\nX-A = 'é'",
        2,
        7,
        "can't be in a header",
        true,
    ),
    (
        "[routing.response_headers]\nX-A = 'b'\nx-a = 'c'",
        3,
        1,
        "there twice",
        false,
    ),
    ("[routing]\nresponse_headers = 'x'", 2, 20, "a table", true),
    // paths
    (
        "[[routing.rules]]\npath = 'api'",
        2,
        8,
        "Write \"/api\"",
        true,
    ),
    ("[[routing.rules]]\npath = '/a/../b'", 2, 8, "\"..\"", true),
    (
        "[[routing.rules]]\npath = '/a//b'",
        2,
        8,
        "empty parts",
        true,
    ),
    (
        "[[routing.rules]]\npath = '/api/*'",
        2,
        8,
        "without the \"*\"",
        true,
    ),
    (
        "[[routing.rules]]\npath = '/a?b'",
        2,
        8,
        "without its query",
        true,
    ),
    (
        "[[routing.rules]]\npath = 5",
        2,
        8,
        "can't be a number",
        true,
    ),
    (
        "[[routing.rules]]\npath = '/a'\nmaintenance = true\n[[routing.rules]]\npath = '/b'\ncompress = false\n[[routing.rules]]\npath = '/a/'",
        8,
        8,
        "a rule already, the 1st",
        false,
    ),
    (
        "[[routing.rules]]\npath = '/a'\nrewrite = 'x'",
        3,
        11,
        "begin with \"/\"",
        true,
    ),
    (
        "[[routing.rules]]\npath = '/a'",
        1,
        1,
        "says nothing",
        false,
    ),
    // redirects
    (
        "[routing]\nredirect = { to = '/x', status = 200 }",
        2,
        34,
        "301, 302, 303, 307 or 308",
        true,
    ),
    (
        "[routing]\nredirect = { to = '/x', status = '301' }",
        2,
        34,
        "without quotes",
        true,
    ),
    (
        "[routing]\nredirect = { status = 301 }",
        2,
        12,
        "leads nowhere",
        true,
    ),
    (
        "[routing]\nredirect = { to = 'https://x.test', code = 301 }",
        2,
        37,
        "no key code",
        true,
    ),
    (
        "[routing]\nredirect = '//evil.example'",
        2,
        12,
        "another host",
        true,
    ),
    (
        "[routing]\nredirect = 'example.org'",
        2,
        12,
        "https://",
        true,
    ),
    (
        "[routing]\nredirect = 'https://x.test/$host'",
        2,
        12,
        "only $path and $query",
        true,
    ),
    ("[routing]\nredirect = '/x/$path'", 2, 12, "/x$path", true),
    (
        "[routing]\nredirect = '/$path'",
        2,
        12,
        "Write \"$path\"",
        true,
    ),
    ("[routing]\nredirect = '$path'", 2, 12, "never ends", false),
    (
        "[routing]\nredirect = \"/x\\r\\nSet-Cookie: a\"",
        2,
        12,
        "without blanks",
        true,
    ),
    ("[routing]\nredirect = 5", 2, 12, "where it leads", true),
    (
        "[routing]\nredirect = '/x'",
        2,
        12,
        "never ends: every path → every path",
        false,
    ),
    (
        "[[routing.rules]]\npath = '/a'\nredirect = '/a/b'",
        3,
        12,
        "never ends: /a → /a",
        false,
    ),
    (
        "[[routing.rules]]\npath = '/a'\nredirect = '/b'\n[[routing.rules]]\npath = '/b'\nredirect = '/a$path'",
        3,
        12,
        "/a → /b → /a",
        false,
    ),
    // basic_auth
    (
        "[routing]\nbasic_auth = 'ann:secret'",
        2,
        14,
        "app routing:hash",
        true,
    ),
    (
        "[routing]\nbasic_auth = { users = {} }",
        2,
        24,
        "1 to 100 users",
        true,
    ),
    (
        "[routing]\nbasic_auth = { realm = 'x' }",
        2,
        14,
        "no table of users",
        true,
    ),
    (
        "[routing]\nbasic_auth = { user = {}, users = { a = 'x' } }",
        2,
        16,
        "Did you mean users?",
        true,
    ),
    (
        "[routing.basic_auth.users]\nann = 'hunter2'",
        2,
        7,
        "user ann: a password has to be hashed",
        true,
    ),
    (
        "[routing.basic_auth.users]\nann = 5",
        2,
        7,
        "app routing:hash",
        true,
    ),
    (
        "[routing.basic_auth.users]\nann = '$1$a$b'",
        2,
        7,
        "argon2id and bcrypt",
        true,
    ),
    (
        "[routing.basic_auth.users]\nann = '$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQxMjM$HkRAcwq5oQO8Ea9VWjO1Gx'",
        2,
        7,
        "costs more",
        true,
    ),
    (
        "[routing.basic_auth.users]\n'a:b' = 'x'",
        2,
        1,
        "without colons",
        true,
    ),
    (
        "[routing.basic_auth]\nrealm = 'a\"b'\nusers.a = 'x'",
        2,
        9,
        "realm",
        true,
    ),
    // networks
    (
        "[routing]\nallow = ['10.0.0.0/8', '10.0.0.1/8']",
        2,
        24,
        "Write 10.0.0.0/8",
        false,
    ),
    (
        "[routing]\nallow = ['localhost']",
        2,
        10,
        "not a network",
        true,
    ),
    (
        "[routing]\nallow = ['10.0.0.0/33']",
        2,
        10,
        "at most 32 bits",
        false,
    ),
    ("[routing]\nallow = []", 2, 9, "0.0.0.0/0", true),
    ("[routing]\nallow = [5]", 2, 10, "can't be a number", true),
    ("[routing]\nallow = true", 2, 9, "a list of networks", true),
    // files
    (
        "[routing]\nfiles = '/srv/www'",
        2,
        9,
        "inside the repository",
        true,
    ),
    (
        "[routing]\nfiles = '../secrets'",
        2,
        9,
        "without \"..\"",
        true,
    ),
    ("[routing]\nfiles = '.'", 2, 9, "source", true),
    ("[routing]\nfiles = '.git'", 2, 9, "git's folder", true),
    ("[routing]\nfiles = { index = 'x' }", 2, 9, "no root", true),
    (
        "[routing]\nfiles = { root = 'a', fallbak = 'b' }",
        2,
        23,
        "Did you mean fallback?",
        true,
    ),
    (
        "[routing]\nfiles = { root = 'a', fallback = '/etc/passwd' }",
        2,
        34,
        "inside the repository",
        true,
    ),
    (
        "[routing]\nfiles = { root = 'a', fallback = 'b', pass = true }",
        2,
        46,
        "nothing is passed on",
        true,
    ),
    (
        "[routing]\nfiles = { root = 'a', index = 'b/c' }",
        2,
        31,
        "without a folder",
        true,
    ),
    ("[routing]\nfiles = true", 2, 9, "a folder", true),
];

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

    /// A good file with one change anywhere: read or refused, and the fault is where there is text.
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
