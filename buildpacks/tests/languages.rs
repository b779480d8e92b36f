//! Ruby, Go, PHP, Java and Rust, as far as no runtime of the host is needed: errors for an app's author, and a runtime
//! from its makers.

use hokku_buildpacks::order::{Failure, Order, Outcome};
use std::{
    collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command,
};

const EXE: &str = env!("CARGO_BIN_EXE_hokku-buildpack");

struct Work(tempfile::TempDir);

impl Work {
    fn new() -> Work {
        Work(tempfile::tempdir().unwrap())
    }

    fn path(&self, p: &str) -> PathBuf {
        self.0.path().join(p)
    }

    fn write(&self, p: &str, text: &str) {
        let f = self.path(p);
        fs::create_dir_all(f.parent().unwrap()).unwrap();
        fs::write(&f, text).unwrap();
        if text.starts_with("#!") {
            fs::set_permissions(&f, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// A build on a machine that has no runtimes, where the makers are out of reach unless `makers` says otherwise.
    fn build(&self, files: &[(&str, &str)], makers: &[(&str, String)]) -> (Outcome, String) {
        for d in ["app", "env", "scratch"] {
            let _ = fs::remove_dir_all(self.path(d));
            fs::create_dir_all(self.path(d)).unwrap();
        }
        for (p, t) in files {
            self.write(&format!("app/{p}"), t);
        }
        let mut env: BTreeMap<String, String> = ["GO", "JDK", "RUST"]
            .iter()
            .map(|k| (format!("HOKKU_{k}_DIST"), "file:///nowhere".to_owned()))
            .collect();
        env.insert(
            "HOKKU_HOST_RUNTIMES".into(),
            self.path("host").display().to_string(),
        );
        env.extend(makers.iter().map(|(k, v)| (k.to_string(), v.clone())));
        let order = Order {
            build_dir: self.path("app"),
            cache_dir: self.path("cache"),
            env_dir: self.path("env"),
            scratch: self.path("scratch"),
            env,
            stack: "heroku-22".into(),
            request_id: "r".into(),
            source_version: "abc".into(),
            result: self.path("result.json"),
            ..Order::default()
        };
        fs::write(self.path("order.json"), serde_json::to_vec(&order).unwrap()).unwrap();
        let out = Command::new(EXE)
            .arg("drive")
            .arg(self.path("order.json"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        let outcome = serde_json::from_slice(&fs::read(self.path("result.json")).expect(&said));
        (outcome.unwrap(), said)
    }
}

#[test]
fn what_an_author_is_told() {
    let w = Work::new();
    let lock = "PLATFORMS\n  ruby\n\nRUBY VERSION\n   ruby 3.9.9p1\n";
    for (files, words) in [
        (
            vec![("Gemfile", "")],
            vec!["Gemfile.lock is required", "git add Gemfile.lock"],
        ),
        (
            vec![("Gemfile", ""), ("Gemfile.lock", lock)],
            vec![
                "asks for Ruby 3.9.9, which can't be had here",
                "Available: none",
                "HOKKU_RUNTIME_NEAREST",
            ],
        ),
        (
            vec![("go.mod", "module x\n\ngo 1.99\n")],
            vec!["go.mod asks for Go 1.99 or newer", "go.dev can't be asked"],
        ),
        (
            vec![("go.mod", "module x\n\nrequire y.org/z v1.0.0\n")],
            vec!["there is no go.sum", "go mod tidy"],
        ),
        (
            vec![("composer.json", r#"{"require":{"php":"^99"}}"#)],
            vec!["composer.json asks for PHP ^99"],
        ),
        (
            vec![("composer.json", r#"{"require":{"a/b":"*"}}"#)],
            vec!["no composer.lock", "composer update"],
        ),
        (
            vec![
                ("pom.xml", ""),
                ("system.properties", "java.runtime.version=99"),
            ],
            vec![
                "system.properties asks for OpenJDK 99",
                "adoptium.net can't be asked",
            ],
        ),
        (
            vec![("Cargo.toml", ""), ("rust-toolchain", "1.999")],
            vec![
                "rust-toolchain asks for Rust 1.999",
                "static.rust-lang.org can't be asked",
            ],
        ),
        (
            vec![("package.json", "{}"), ("bun.lock", ""), ("yarn.lock", "")],
            vec!["several lock files: yarn.lock, bun.lock"],
        ),
    ] {
        let (o, said) = w.build(&files, &[]);
        assert_eq!(o.failure, Some(Failure::Compile { status: 1 }), "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

/// Their archives hold a folder for each component. This one has scripts in place of compilers.
#[test]
fn rust_from_its_makers() {
    let w = Work::new();
    let arch = std::env::consts::ARCH;
    let name = format!("rust-1.999.0-{arch}-unknown-linux-gnu");
    let at = |p: &str| format!("made/{name}/{p}");
    w.write(&at("components"), "rustc\ncargo\nrust-docs\n");
    w.write(&at("rustc/bin/rustc"), "#!/bin/sh\necho rustc\n");
    w.write(&at("rust-docs/share/doc/index.html"), "long\n");
    w.write(
        &at("cargo/bin/cargo"),
        "#!/bin/sh\nmkdir -p \"$CARGO_TARGET_DIR/release\"\ncp \"$0\" \"$CARGO_TARGET_DIR/release/shop\"\necho \"cargo $*\"\n",
    );
    let file = w.path(&format!("{name}.tar.xz"));
    let s = Command::new("tar")
        .arg("-cJf")
        .arg(&file)
        .arg(&name)
        .current_dir(w.path("made"))
        .status()
        .unwrap();
    assert!(s.success());
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8_lossy(&sum.stdout)[..64].to_owned();
    w.write("host/cc", "#!/bin/sh\n");
    let manifest = |sum: &str| {
        let text = format!(
            "[pkg.rust]\nversion = \"1.999.0 (abc 2026-01-01)\"\n\n[pkg.rust.target.{arch}-unknown-linux-gnu]\nxz_url = \"file://{}\"\nxz_hash = \"{sum}\"\n",
            file.display()
        );
        w.write("dist/channel-rust-1.999.toml", &text);
    };
    let makers = [(
        "HOKKU_RUST_DIST",
        format!("file://{}", w.path("dist").display()),
    )];
    let files = [
        ("Cargo.toml", "[package]\n"),
        ("Cargo.lock", ""),
        ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.999\"\n"),
    ];
    manifest(&"0".repeat(64));
    let (o, said) = w.build(&files, &makers);
    assert_eq!(o.failure, Some(Failure::Compile { status: 1 }), "{said}");
    assert!(said.contains("damaged or was tampered with"), "{said}");
    manifest(&sum);
    let (o, said) = w.build(&files, &makers);
    assert_eq!(o.failure, None, "{said}");
    assert!(
        said.contains("Using Rust 1.999.0 (1.999 in rust-toolchain.toml)"),
        "{said}"
    );
    assert!(said.contains("cargo build --release"), "{said}");
    assert_eq!(o.default_types["web"], "./target/release/shop");
    assert!(w.path("app/target/release/shop").is_file());
    let (_, said) = w.build(&files, &makers);
    assert!(
        !said.contains("Downloading") && said.contains("Using cached dependencies"),
        "{said}"
    );
}
