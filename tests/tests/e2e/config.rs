//! Config vars: what goes in comes out, byte for byte.

use crate::support::{Host, eventually};

const VALUES: &[(&str, &str)] = &[
    ("EMPTY", ""),
    ("BLANKS", "  two before, two after  "),
    (
        "NEWLINES",
        "-----BEGIN KEY-----\nabc\r\ndef\n\n-----END KEY-----\n",
    ),
    ("QUOTES", r#"it's "quoted" `back` \ \n \\"#),
    ("DOLLAR", "$HOME ${PATH} $(id) $$ !! %s"),
    ("EQUALS", "a=b=c&d=e"),
    ("HASH", "# no comment"),
    ("UNICODE", "żółć 日本語 🦀 \u{202e} \u{7f}"),
    ("JSON", r#"{"a": ["b", null], "c": "\u0000"}"#),
    ("TABS", "\ta\tb\t"),
    ("DASH", "-n"),
];

#[test]
fn values_are_byte_exact_from_the_command_line_to_the_app() {
    let host = Host::start();
    let repo = host.deploy("shop");
    let pairs: Vec<String> = VALUES.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut args = vec!["config:set", "-a", "shop"];
    args.extend(pairs.iter().map(String::as_str));
    host.app(&args).ok();
    for (k, v) in VALUES {
        let seen = host.get("shop", &format!("/env/{k}"));
        assert_eq!(
            (seen.status, seen.text().as_str()),
            (200, *v),
            "{k} as the app sees it"
        );
        let got = host.app(&["config:get", k, "-a", "shop"]).ok();
        assert_eq!(got.out(), format!("{v}\n"), "{k} by config:get");
    }
    let all = host.json(&["config", "-a", "shop"]);
    for (k, v) in VALUES {
        assert_eq!(all[k], *v, "{k} in the list");
    }
    // A new build changes none of them.
    repo.version("two");
    repo.push().ok();
    for (k, v) in VALUES {
        assert_eq!(host.get("shop", &format!("/env/{k}")).text(), *v, "{k}");
    }
    // One-off dynos get the same bytes.
    let run = host
        .app(&["run", "-a", "shop", "--", "./probe", "env", "NEWLINES"])
        .ok();
    assert_eq!(run.stdout, VALUES[2].1.as_bytes());
}

#[test]
fn a_large_value_arrives_whole() {
    let host = Host::start();
    host.deploy("shop");
    let value = "0123456789abcdef".repeat(1500);
    host.app(&["config:set", "-a", "shop", &format!("LARGE={value}")])
        .ok();
    assert_eq!(host.get("shop", "/env/LARGE").text(), value);
}

#[test]
fn setting_and_unsetting_take_effect_when_the_command_returns() {
    let host = Host::start();
    host.deploy("shop");
    let set = host.app(&["config:set", "COLOUR=blue", "-a", "shop"]).ok();
    set.says("v");
    assert_eq!(host.get("shop", "/env/COLOUR").text(), "blue");
    host.app(&["config:set", "COLOUR=red", "-a", "shop"]).ok();
    assert_eq!(host.get("shop", "/env/COLOUR").text(), "red");
    host.app(&["config:unset", "COLOUR", "-a", "shop"]).ok();
    assert_eq!(host.get("shop", "/env/COLOUR").status, 404);
    let gone = host.app(&["config:get", "COLOUR", "-a", "shop"]);
    assert_eq!(gone.out().trim(), "");
    let releases = host.json(&["releases", "-a", "shop"]);
    let text = releases.to_string();
    assert!(text.contains("Set COLOUR config vars"), "{text}");
    assert!(!text.contains("blue"), "values do not belong there: {text}");
}

#[test]
fn before_the_first_push_too() {
    let host = Host::start();
    let repo = host.create("shop");
    host.app(&["config:set", "EARLY=bird", "-a", "shop"]).ok();
    repo.write_probe();
    repo.version("one");
    repo.push().ok();
    assert_eq!(host.get("shop", "/env/EARLY").text(), "bird");
}

#[test]
fn two_people_at_once_lose_nothing() {
    let host = Host::start();
    host.deploy("shop");
    std::thread::scope(|s| {
        for who in ["A", "B"] {
            let host = &host;
            s.spawn(move || {
                for i in 0..4 {
                    host.app(&["config:set", &format!("{who}{i}={i}"), "-a", "shop"])
                        .ok();
                }
            });
        }
    });
    let all = host.json(&["config", "-a", "shop"]);
    for who in ["A", "B"] {
        for i in 0..4 {
            assert_eq!(all[format!("{who}{i}")], i.to_string(), "{all}");
        }
    }
    for name in ["A3", "B3"] {
        eventually("the app has them all", 20, || {
            (host.get("shop", &format!("/env/{name}")).text() == "3").then_some(())
        });
    }
}

#[test]
fn names_that_cannot_be_are_refused_in_words() {
    let host = Host::start();
    host.deploy("shop");
    for bad in ["A B=1", "1A=1", "__A=1", "A-B=1", "=1"] {
        let o = host.app(&["config:set", bad, "-a", "shop"]).fails();
        assert!(
            !o.err().trim().is_empty() && !o.err().contains("panicked"),
            "{o}"
        );
    }
    host.app(&["config:set", "NOVALUE", "-a", "shop"]).fails();
    assert_eq!(host.about("shop")["version"], "one");
}

#[test]
fn secrets_are_on_no_command_line_and_in_no_file() {
    let host = Host::start();
    host.deploy("shop");
    let secret = "correct-horse-battery-staple-4711";
    host.app(&["config:set", "-a", "shop", &format!("PASSWORD={secret}")])
        .ok();
    assert_eq!(host.get("shop", "/env/PASSWORD").text(), secret);
    for p in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let line = std::fs::read(p.path().join("cmdline")).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&line).contains(secret),
            "{}",
            String::from_utf8_lossy(&line)
        );
    }
    let mut folders = vec![host.dir().to_owned()];
    let mut looked = 0;
    while let Some(f) = folders.pop() {
        for e in std::fs::read_dir(&f).into_iter().flatten().flatten() {
            let Ok(kind) = e.file_type() else { continue };
            if kind.is_dir() {
                folders.push(e.path());
            } else if kind.is_file() {
                looked += 1;
                let bytes = std::fs::read(e.path()).unwrap_or_default();
                assert!(
                    !bytes.windows(secret.len()).any(|w| w == secret.as_bytes()),
                    "in plain text in {}",
                    e.path().display()
                );
            }
        }
    }
    assert!(looked > 10, "looked at {looked} files only");
}
