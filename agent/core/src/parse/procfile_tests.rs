use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

fn types(text: &str) -> Vec<(String, String)> {
    parse(text.as_bytes())
        .unwrap()
        .types
        .into_iter()
        .map(|(k, v)| (k.to_string(), v))
        .collect()
}

fn one(text: &str) -> String {
    types(text)
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join("|")
}

fn warnings(text: &str) -> String {
    parse(text.as_bytes())
        .unwrap()
        .warnings
        .iter()
        .map(|w| w.to_string())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Heroku's classic rule, to compare with.
fn heroku(text: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for line in text.trim_end_matches('\n').split('\n') {
        let line = line.trim_start_matches(is_blank);
        let end = line
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(line.len());
        let rest = &line[end..];
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        if end > 0 && rest.starts_with(is_blank) {
            out.insert(
                line[..end].to_owned(),
                rest.trim_matches(is_blank).to_owned(),
            );
        }
    }
    out.retain(|_, c| !c.is_empty());
    out
}

/// The table of how others read it, with our answer.
#[test]
fn the_table() {
    for (text, want) in [
        ("web:cmd", "web=cmd"),
        ("web : cmd", "web=cmd"),
        ("web cmd", "web=cmd"),
        ("   web: cmd", "web=cmd"),
        ("\tweb:\tcmd", "web=cmd"),
        ("web:", ""),
        ("web:   ", ""),
        ("web: a\nweb: b", "web=b"),
        ("web: a\r\nworker: b\r\n", "web=a|worker=b"),
        ("web: a\rworker: b", "web=a|worker=b"),
        ("\u{feff}web: a\nworker: b", "web=a|worker=b"),
        ("Web: a\nMyWorker: b", "MyWorker=b|Web=a"),
        ("background_worker: a", "background_worker=a"),
        ("worker.high: a", ""),
        ("web: a # note", "web=a # note"),
        ("  # c\nweb: a", "web=a"),
        (
            "web: gunicorn \\\n  --bind x \\\n  app\nworker: b",
            "web=gunicorn   --bind x   app|worker=b",
        ),
        ("web: a\nheroku ps:scale web=1", "web=a"),
        ("<<<<<<< HEAD\nweb: a\n=======\nweb: b\n>>>>>>> x", "web=b"),
        ("web: a\nweb:b", "web=a"),
        ("web:b\nweb: a", "web=a"),
        ("web:a\nweb:b", "web=b"),
        ("web : a\nweb: b\nweb :c", "web=b"),
        ("- web: a", ""),
        ("export A=b\nCMD x\nPASS=x\nworker  go", "worker=go"),
        ("web: a \\\nworker: b", "web=a|worker=b"),
        ("web: a \\", "web=a"),
        ("web: echo a\\\\", "web=echo a\\\\"),
        ("# web: a \\\nweb: b", "web=b"),
        (
            "web: echo \"$PORT\" '#x' && cd /app",
            "web=echo \"$PORT\" '#x' && cd /app",
        ),
        ("", ""),
        ("\n\n", ""),
    ] {
        assert_eq!(one(text), want, "{text:?}");
    }
    assert_eq!(
        one(&format!("{}: a\n{}: b", "x".repeat(64), "y".repeat(63))),
        format!("{}=b", "y".repeat(63))
    );
}

#[test]
fn odd_lines_are_named_with_their_number() {
    assert_eq!(warnings("web: a\n# x\n\nworker: b"), "");
    let w = warnings("Web: a\nheroku ps:scale web=1\nworker:\nrelease x\nx: 1\nx: 2\nx:3\n");
    for part in [
        "line 1: \"Web\" is not \"web\"",
        "line 2: \"heroku ps:scale web=1\" declares no process type",
        "line 3: \"worker\" has no command",
        "line 4: there is no colon",
        "line 6: \"x\" was declared in line 5 already; this line replaces it",
        "line 7: \"x\" was declared in line 6 already; this line is ignored",
    ] {
        assert!(w.contains(part), "{part} in\n{w}");
    }
    assert!(warnings("web: a \\\n b").contains("line 1: the command goes on to line 2"));
}

#[test]
fn files_that_are_no_text() {
    let e = parse(b"\xff\xfew\0e\0b\0").unwrap_err().to_string();
    assert!(e.contains("UTF-16"), "{e}");
    assert!(
        parse(b"web: \xe9")
            .unwrap_err()
            .to_string()
            .contains("line 1")
    );
    assert!(parse(&vec![b'a'; MAX_BYTES + 1]).is_err());
}

/// Where we read another thing than Heroku, and why.
const DIFFERENT: [(&str, &str); 16] = [
    ("054", "lines without colons"),
    ("118", "no blank after the colon, pasted commands"),
    ("123", "pasted command"),
    ("130", "blank before the colon"),
    ("132", "blank before the colon"),
    ("133", "blank before the colon"),
    ("134", "blank before the colon"),
    ("147", "pasted command"),
    ("155", "continued"),
    ("156", "continued"),
    ("157", "continued"),
    ("158", "continued"),
    ("159", "continued"),
    ("170", "pasted command"),
    ("174", "blank before the colon, a Dockerfile line"),
    ("178", "pasted command"),
];

#[test]
fn real_files() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/procfiles");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files.retain(|f| f.extension().is_some_and(|e| e == "Procfile"));
    assert!(files.len() >= 183, "{} files", files.len());
    let mut different = vec![];
    for f in files {
        let bytes = std::fs::read(&f).unwrap();
        let ours = parse(&bytes).unwrap_or_else(|e| panic!("{}: {e}", f.display()));
        let ours: BTreeMap<String, String> = ours
            .types
            .into_iter()
            .map(|(k, v)| (k.to_string(), v))
            .collect();
        if ours != heroku(std::str::from_utf8(&bytes).unwrap()) {
            different.push(f.file_name().unwrap().to_string_lossy()[..3].to_owned());
        }
    }
    let known: Vec<&str> = DIFFERENT.iter().map(|(n, _)| *n).collect();
    assert_eq!(different, known);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(b in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&b);
    }

    #[test]
    fn any_text_gives_sane_types(s in "(web|worker|release|Web|x-y|#|[ -~]{0,8})?[ \t]?:?[ \t]?[ -~]{0,12}(\\\\)?(\r\n|\n|\r)?") {
        let s = s.repeat(3);
        let p = parse(s.as_bytes()).unwrap();
        for c in p.types.values() {
            prop_assert!(!c.is_empty() && c.trim_matches(is_blank) == c && !c.contains(['\n', '\0']));
        }
        let lines = s.replace("\r\n", "\n").split(['\n', '\r']).count();
        for w in &p.warnings {
            prop_assert!(w.line >= 1 && w.line <= lines);
        }
    }

    #[test]
    fn a_plain_file_is_read_as_heroku_does(
        decl in proptest::collection::vec(("[a-z][a-z0-9_-]{0,8}", "[!-~&&[^\\\\]]([ -~&&[^\\\\]]{0,20}[!-~&&[^\\\\]])?"), 0..6),
        end in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let text: String = decl.iter().map(|(n, c)| format!("{n}: {c}{end}")).collect();
        let ours: BTreeMap<String, String> =
            parse(text.as_bytes()).unwrap().types.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        prop_assert_eq!(ours, heroku(&text));
    }
}

#[test]
fn cron_lines_are_entries_and_a_process_type_named_cron_stays_one() {
    let read = |text: &str| parse(text.as_bytes()).unwrap();
    let p = read(
        "web: w\ncron: 0 0 * * *  ./nightly  --all\ncron: @hourly tick\ncron: */5 * * * mon-fri ./nightly\n",
    );
    let all: Vec<_> = p
        .cron
        .iter()
        .map(|e| (e.schedule.as_str(), e.command.as_str()))
        .collect();
    assert_eq!(
        all,
        [
            ("0 0 * * *", "./nightly  --all"),
            ("@hourly", "tick"),
            ("*/5 * * * mon-fri", "./nightly")
        ]
    );
    assert_eq!((p.types.len(), p.warnings, p.faults), (1, vec![], vec![]));
    let p = read("cron: bundle exec clockwork clock.rb\n");
    assert_eq!((p.types.len(), p.cron.len()), (1, 0));
    let p = read("web: w\ncron: 61 0 * * * x\ncron: 0 0 * * *\n");
    let said: Vec<_> = p.faults.iter().map(ToString::to_string).collect();
    assert!(
        said[0].starts_with("line 2: \"61 0 * * *\" is no cron schedule"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with("line 3: the cron entry") && p.cron.is_empty(),
        "{said:?}"
    );
}
