use super::*;
use proptest::prelude::*;

const LOCK: &str = "GEM\n  remote: https://rubygems.org/\n  specs:\n    mustermann (2.0.2)\n      ruby2_keywords (~> 0.0.1)\n    puma (5.6.5)\n      nio4r (~> 2.0)\n    rack (2.2.6)\n    rake (13.0.6)\n\nPLATFORMS\n  ruby\n  x86_64-linux\n\nDEPENDENCIES\n  puma\n\nRUBY VERSION\n   ruby 3.1.2p20\n\nBUNDLED WITH\n   2.3.15\n";

fn with(files: &[(&str, &str)]) -> Result<Plan, String> {
    plan(
        &Source::of(files.iter().copied()),
        &BTreeMap::new(),
        Some(Version(3, 2, 1)),
    )
}

fn rails(version: &str) -> String {
    LOCK.replace(
        "    rack (",
        &format!("    railties ({version})\n    rack ("),
    )
}

#[test]
fn a_lock_file() {
    let l = Lock::read(LOCK);
    assert_eq!(l.gem("puma").as_deref(), Some("5.6.5"));
    // a dependency of a gem is not a gem of its own
    assert_eq!(l.gem("nio4r"), None);
    assert_eq!(l.ruby.as_deref(), Some("3.1.2p20"));
    assert_eq!(l.bundled_with.as_deref(), Some("2.3.15"));
    assert_eq!(l.platforms, ["ruby", "x86_64-linux"]);
    assert!(!l.has_path);
    assert!(Lock::read("PATH\n  remote: .\n  specs:\n    mine (0.1)\n").has_path);
}

#[test]
fn which_ruby() {
    let without = LOCK.replace("RUBY VERSION\n   ruby 3.1.2p20\n\n", "");
    let of = |files: &[(&str, &str)]| {
        with(files).map(|p| (p.ruby.text, p.ruby.from.unwrap_or_default()))
    };
    let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
    assert_eq!(
        of(&[("Gemfile", "ruby '3.3.0'"), ("Gemfile.lock", LOCK)]),
        pair("3.1.2", "Gemfile.lock (RUBY VERSION)")
    );
    for (line, want) in [
        ("ruby '3.1.2'", "3.1.2"),
        ("ruby \"~> 3.1\" # as everywhere", "~> 3.1"),
        ("ruby '>= 3.0', '< 3.4', engine: 'ruby'", ">= 3.0, < 3.4"),
        ("ruby('3.2.0')", "3.2.0"),
    ] {
        assert_eq!(
            of(&[("Gemfile", line), ("Gemfile.lock", &without)]),
            pair(want, "Gemfile"),
            "{line}"
        );
    }
    assert_eq!(
        of(&[
            ("Gemfile", "ruby file: '.ruby-version'"),
            (".ruby-version", "ruby-3.1.2\n"),
            ("Gemfile.lock", &without)
        ]),
        pair("3.1.2", ".ruby-version")
    );
    assert_eq!(
        of(&[
            ("Gemfile", ""),
            (".tool-versions", "nodejs 20\nruby 3.1\n"),
            ("Gemfile.lock", &without)
        ]),
        pair("3.1", ".tool-versions")
    );
    // what the last build had
    assert_eq!(
        of(&[("Gemfile", ""), ("Gemfile.lock", &without)]),
        pair("3.2", "")
    );
    assert!(
        of(&[
            ("Gemfile", ""),
            (".ruby-version", "jruby"),
            ("Gemfile.lock", &without)
        ])
        .unwrap_err()
        .contains(".ruby-version holds \"jruby\"")
    );
}

#[test]
fn requirements_of_gems() {
    for (text, yes, no) in [
        ("3.1.2", "3.1.2", "3.1.3"),
        ("~> 3.1", "3.1.0 3.9.0", "4.0.0 3.0.9"),
        ("~> 3.1.2", "3.1.2 3.1.9", "3.2.0"),
        (">= 3.0, < 3.4", "3.0.0 3.3.9", "3.4.0"),
    ] {
        let r = gem_range(text).unwrap();
        for v in yes.split(' ') {
            assert!(r.holds(v.parse().unwrap()), "{v} in {text}");
        }
        for v in no.split(' ') {
            assert!(!r.holds(v.parse().unwrap()), "{v} not in {text}");
        }
    }
}

#[test]
fn mistakes() {
    for (files, want) in [
        (vec![("Gemfile", "")], "Gemfile.lock is required"),
        (
            vec![("Gemfile", ""), ("Gemfile.lock", "<<<<<<< HEAD\n")],
            "merge conflict",
        ),
        (
            vec![
                ("Gemfile", ""),
                ("Gemfile.lock", "PLATFORMS\n  x64-mingw32\n"),
            ],
            "not for Linux",
        ),
        (
            vec![
                ("Gemfile", ""),
                ("Gemfile.lock", "RUBY VERSION\n   ruby head\n"),
            ],
            "no version",
        ),
    ] {
        let e = with(&files).unwrap_err();
        assert!(e.contains(want), "{e}");
    }
}

#[test]
fn default_types() {
    let t = |lock: &str, more: &[(&str, &str)]| {
        let mut files = vec![("Gemfile", ""), ("Gemfile.lock", lock)];
        files.extend(more);
        types(&Source::of(files))
            .into_iter()
            .map(|(k, v)| format!("{k}: {v}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(
        t(LOCK, &[("config.ru", "")]),
        "console: bundle exec irb\nrake: bundle exec rake\nweb: bundle exec rackup config.ru -p ${PORT:-5000}"
    );
    assert!(!t(LOCK, &[]).contains("web:"));
    assert_eq!(
        t(&rails("7.1.3.2"), &[]),
        "console: bin/rails console\nrake: bundle exec rake\nweb: bin/rails server -p ${PORT:-5000} -e $RAILS_ENV"
    );
    assert!(t(&rails("3.2.22"), &[]).contains("web: bundle exec rails server"));
}

#[test]
fn what_is_planned() {
    let p = with(&[
        ("Gemfile", ""),
        ("Gemfile.lock", &rails("7.0.4")),
        ("Rakefile", ""),
        ("vendor/cache/rack-2.2.6.gem", ""),
        ("vendor/bundle/x", ""),
    ])
    .unwrap();
    assert!(p.rails && p.assets && p.vendored && p.committed_bundle && !p.system_gems);
    assert_eq!(p.without, "development:test");
    assert!(
        p.key
            .iter()
            .any(|(n, _)| n == "vendor/cache/rack-2.2.6.gem")
    );
    let env = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect()
    };
    let files = [("Gemfile", ""), ("Gemfile.lock", LOCK)];
    let with_env = |e: &[(&str, &str)]| plan(&Source::of(files), &env(e), None).unwrap();
    assert!(with_env(&[("HOKKU_SYSTEM_GEMS", "1")]).system_gems);
    assert_eq!(with_env(&[("BUNDLE_WITHOUT", "test")]).without, "test");
    // a new password installs nothing anew
    assert_eq!(
        with_env(&[("BUNDLE_GEMS__EXAMPLE__COM", "me:secret")]).key,
        with_env(&[]).key
    );
}

proptest! {
    #[test]
    fn any_lock_file_is_read(s in "[A-Z \\n()a-z.0-9~>]{0,200}") {
        let _ = plan(&Source::of([("Gemfile", s.as_str()), ("Gemfile.lock", s.as_str())]), &BTreeMap::new(), None);
    }
}
