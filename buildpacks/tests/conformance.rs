//! Classic buildpacks by reference: the contract, asserted by buildpacks of our own (`conformance/`), and the ways to
//! name one.

use hokku_buildpacks::order::{Failure, Order, Outcome};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const EXE: &str = env!("CARGO_BIN_EXE_hokku-buildpack");
const PACKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");

struct Work(tempfile::TempDir);

impl Work {
    fn new() -> Work {
        Work(tempfile::tempdir().unwrap())
    }

    fn path(&self, p: &str) -> PathBuf {
        self.0.path().join(p)
    }

    fn build(
        &self,
        files: &[(&str, &str)],
        packs: &[&str],
        names: &[(&str, &str)],
    ) -> (Outcome, String) {
        self.configured(files, packs, names, &[])
    }

    fn configured(
        &self,
        files: &[(&str, &str)],
        packs: &[&str],
        names: &[(&str, &str)],
        config: &[(&str, &str)],
    ) -> (Outcome, String) {
        for d in ["app", "env", "scratch"] {
            let _ = fs::remove_dir_all(self.path(d));
            fs::create_dir_all(self.path(d)).unwrap();
        }
        for (p, t) in files {
            fs::write(self.path("app").join(p), t).unwrap();
        }
        let vars = [
            ("DATABASE_URL", "postgres://me:p%40ss@db/shop"),
            ("LINES_AND_QUOTES", "one\n\"two\" $three\n\n"),
            ("EMPTY", ""),
        ];
        for (k, v) in vars.iter().chain(config) {
            fs::write(self.path("env").join(k), v).unwrap();
        }
        let order = Order {
            build_dir: self.path("app"),
            cache_dir: self.path("cache"),
            env_dir: self.path("env"),
            scratch: self.path("scratch"),
            buildpacks: packs.iter().map(|p| p.to_string()).collect(),
            names: names
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            env: BTreeMap::from([("PORT".into(), "1".into()), ("GIT_DIR".into(), "x".into())]),
            stack: "heroku-22".into(),
            request_id: "r-1".into(),
            source_version: "abc".into(),
            result: self.path("result.json"),
            ..Order::default()
        };
        fs::write(self.path("order.json"), serde_json::to_vec(&order).unwrap()).unwrap();
        let _ = fs::remove_file(self.path("result.json"));
        let out = Command::new(EXE)
            .arg("drive")
            .arg(self.path("order.json"))
            .env("GIT_DIR", "/nowhere")
            .env("DATABASE_URL", "of the one who pushes")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        let outcome: Outcome =
            serde_json::from_slice(&fs::read(self.path("result.json")).expect(&said)).unwrap();
        assert_eq!(out.status.success(), outcome.failure.is_none(), "{said}");
        (outcome, said)
    }
}

fn pack(name: &str) -> String {
    format!("{PACKS}/{name}")
}

fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(args)
        .current_dir(dir)
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[test]
fn the_contract_as_buildpacks_see_it() {
    let w = Work::new();
    let (first, second) = (pack("first"), format!("file://{}", pack("second")));
    let packs = [first.as_str(), second.as_str()];
    let (o, said) = w.build(&[("conformance", "")], &packs, &[]);
    assert_eq!(o.failure, None, "{said}");
    assert_eq!(o.buildpacks, packs);
    assert_eq!(o.language, "Second");
    // only the last release counts
    let types: Vec<&str> = o.default_types.keys().map(String::as_str).collect();
    assert_eq!(types, ["console", "web"]);
    assert!(
        said.contains("out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n"),
        "{said}"
    );
    assert!(said.contains("builds so far: 0\n"), "{said}");
    // a buildpack writes into a copy of itself, and the next build gets a fresh one
    assert!(!Path::new(PACKS).join("first/export").exists());
    let (_, said) = w.build(&[("conformance", "")], &packs, &[]);
    assert!(said.contains("builds so far: 1\n"), "{said}");
    let order = Command::new("bash")
        .args(["-c", "for f in .profile.d/*.sh; do . $f; done; echo $ORDER"])
        .current_dir(w.path("app"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&order.stdout), "012\n");
}

#[test]
fn what_a_buildpack_refuses() {
    let w = Work::new();
    let first = pack("first");
    let (o, _) = w.build(&[("README", "")], &[&first], &[]);
    let Some(Failure::Undetected { message }) = o.failure else {
        panic!("{:?}", o.failure);
    };
    assert!(
        message.contains("not compatible") && message.contains("no file conformance"),
        "{message}"
    );
    let (o, said) = w.build(&[("conformance", ""), ("fail", "7")], &[&first], &[]);
    assert_eq!(o.failure, Some(Failure::Compile { status: 7 }), "{said}");
    // the second one sees that nothing was exported for it
    let (o, said) = w.build(&[("conformance", "")], &[&pack("second")], &[]);
    assert_eq!(o.failure, Some(Failure::Compile { status: 1 }), "{said}");
    assert!(said.contains("was not sourced"), "{said}");
}

#[test]
fn ways_to_name_one() {
    let w = Work::new();
    let repo = w.path("repo");
    let copy = |to: &Path| {
        let s = Command::new("cp")
            .arg("-r")
            .arg(pack("second"))
            .arg(to)
            .status()
            .unwrap();
        assert!(s.success());
    };
    copy(&repo);
    // this one does not ask for what the first one exports
    fs::write(
        repo.join("bin/compile"),
        "#!/bin/sh\necho compiled by version one\n",
    )
    .unwrap();
    git(&repo, &["init", "-q", "-b", "main"]);
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-qm", "one"]);
    git(&repo, &["tag", "v1"]);
    let sha = git(&repo, &["rev-parse", "HEAD"]);
    fs::write(
        repo.join("bin/compile"),
        "#!/bin/sh\necho compiled by version two\n",
    )
    .unwrap();
    git(&repo, &["commit", "-qam", "two"]);
    let s = Command::new("tar")
        .args(["-czf"])
        .arg(w.path("pack.tgz"))
        .args(["--exclude=.git", "repo"])
        .current_dir(w.0.path())
        .status()
        .unwrap();
    assert!(s.success());
    let url = format!("file://{}/.git", repo.display());
    let archive = format!("file://{}", w.path("pack.tgz").display());
    let folder = repo.display().to_string();
    let names = [
        ("acme/pack", folder.as_str()),
        ("heroku/python", url.as_str()),
    ];
    for (reference, version) in [
        (url.clone(), "two"),
        (format!("{url}#main"), "two"),
        (format!("{url}#v1"), "one"),
        (format!("{url}#{sha}"), "one"),
        (archive, "two"),
        (folder.clone(), "two"),
        ("acme/pack".into(), "two"),
        ("ACME/pack".into(), "two"),
        // the operator's word for a name that is built in
        ("heroku/python#v1".into(), "one"),
        ("heroku/python".into(), "two"),
    ] {
        let (o, said) = w.build(&[("x", "")], &[&reference], &names);
        assert_eq!(o.failure, None, "{reference}: {said}");
        assert!(
            said.contains(&format!("compiled by version {version}")),
            "{reference}: {said}"
        );
        // what is pinned is what was asked for
        assert_eq!(o.buildpacks, [reference]);
    }
    for (reference, why) in [
        ("acme/unknown".to_owned(), "no buildpack \"acme/unknown\""),
        (format!("{url}#no-such-branch"), "no-such-branch"),
        (format!("{url}#--upload-pack=x"), "dash"),
        (w.path("app").display().to_string(), "can't be had"),
    ] {
        let (o, said) = w.build(&[("x", "")], &[&reference], &names);
        let Some(Failure::Buildpack { message }) = o.failure else {
            panic!("{reference}: {:?} {said}", o.failure);
        };
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn an_app_names_its_buildpacks() {
    let w = Work::new();
    let (first, second) = (pack("first"), pack("second"));
    let dot = format!("# in this order\n{first}\r\n\n{second}\n");
    let files = [("conformance", ""), (".buildpacks", dot.as_str())];
    let (o, said) = w.build(&files, &[], &[]);
    assert_eq!(o.buildpacks, [first.clone(), second.clone()], "{said}");
    assert!(said.contains("named in .buildpacks"), "{said}");
    let json = format!(r#"{{"buildpacks":[{{"url":"{first}"}}]}}"#);
    let files = [files[0], files[1], ("app.json", json.as_str())];
    let (o, said) = w.build(&files, &[], &[]);
    assert_eq!(o.buildpacks, std::slice::from_ref(&first), "{said}");
    // those of the app count, and that is said
    let (o, said) = w.build(&files, &["hokku/procfile"], &[]);
    assert!(
        matches!(o.failure, Some(Failure::Undetected { .. })),
        "{said}"
    );
    assert!(said.contains("app.json are not used"), "{said}");
    let (o, said) = w.configured(
        &[("conformance", "")],
        &[],
        &[],
        &[("BUILDPACK_URL", &first)],
    );
    assert_eq!(o.buildpacks, [first], "{said}");
}

#[test]
fn why_a_buildpack_was_taken() {
    let w = Work::new();
    let files = [
        ("index.html", "<p>"),
        ("go.mod", "go 1.17\n"),
        ("Cargo.toml", "[package]\n"),
    ];
    let (o, said) = w.build(&files, &[], &[]);
    assert_eq!(o.language, "Go");
    assert!(said.contains("because of go.mod"), "{said}");
    assert!(said.contains("app buildpacks:set hokku/rust"), "{said}");
    // a page beside an app is no rival
    assert!(!said.contains("hokku/static"), "{said}");
    assert!(said.contains("go.mod names no module"), "{said}");
}
