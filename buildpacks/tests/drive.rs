//! The executable as a whole: the classic interface, whole builds, the static server. Builds that fetch packages are
//! slow tests.

use hokku_buildpacks::order::{Failure, Order, Outcome};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

const EXE: &str = env!("CARGO_BIN_EXE_hokku-buildpack");

struct Work {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl Work {
    fn new() -> Work {
        let dir = tempfile::tempdir().unwrap();
        let mut env: BTreeMap<String, String> = [
            "SSL_CERT_FILE",
            "PIP_CERT",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "HTTPS_PROXY",
            "PIP_INDEX_URL",
            "NPM_CONFIG_REGISTRY",
        ]
        .into_iter()
        .filter_map(|k| Some((k.to_owned(), std::env::var(k).ok()?)))
        .collect();
        // the makers are never asked
        env.insert("HOKKU_NODE_DIST".into(), "file:///nowhere".into());
        env.insert("HOKKU_PYTHON_DIST".into(), "file:///nowhere".into());
        Work { dir, env }
    }

    fn path(&self, p: &str) -> PathBuf {
        self.dir.path().join(p)
    }

    fn write(&self, p: &str, text: &str) {
        let f = self.path(p);
        fs::create_dir_all(f.parent().unwrap()).unwrap();
        fs::write(&f, text).unwrap();
        if text.starts_with("#!") {
            fs::set_permissions(&f, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Builds a fresh `app` of these files with the cache of the last time.
    fn drive(&self, files: &[(&str, &str)], config: &[(&str, &str)]) -> (Outcome, String) {
        for d in ["app", "env", "scratch"] {
            let _ = fs::remove_dir_all(self.path(d));
            fs::create_dir_all(self.path(d)).unwrap();
        }
        for (p, t) in files {
            self.write(&format!("app/{p}"), t);
        }
        for (k, v) in config {
            fs::write(self.path("env").join(k), v).unwrap();
        }
        let order = Order {
            build_dir: self.path("app"),
            cache_dir: self.path("cache"),
            env_dir: self.path("env"),
            scratch: self.path("scratch"),
            env: self.env.clone(),
            stack: "heroku-22".into(),
            request_id: "r".into(),
            source_version: "abc".into(),
            runtime_mirror: Some(self.path("mirror").display().to_string())
                .filter(|_| self.path("mirror").exists()),
            result: self.path("result.json"),
            ..Order::default()
        };
        fs::write(self.path("order.json"), serde_json::to_vec(&order).unwrap()).unwrap();
        let _ = fs::remove_file(self.path("result.json"));
        let out = Command::new(EXE)
            .arg("drive")
            .arg(self.path("order.json"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        let outcome: Outcome =
            serde_json::from_slice(&fs::read(self.path("result.json")).expect(&said)).unwrap();
        assert_eq!(out.status.success(), outcome.failure.is_none(), "{said}");
        (outcome, said)
    }

    fn succeed(&self, files: &[(&str, &str)], config: &[(&str, &str)]) -> (Outcome, String) {
        let (o, said) = self.drive(files, config);
        assert!(o.failure.is_none(), "{said}");
        (o, said)
    }

    fn fail(&self, files: &[(&str, &str)], config: &[(&str, &str)]) -> String {
        let (o, said) = self.drive(files, config);
        assert!(
            matches!(o.failure, Some(Failure::Compile { status: 1 })),
            "{said}"
        );
        assert!(said.contains("\n !     Error: "), "{said}");
        said
    }

    /// A shell line as a dyno runs it.
    fn sh(&self, line: &str) -> String {
        let script = format!("for f in .profile.d/*.sh; do . \"$f\"; done; {line}");
        let out = Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.path("app"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("app"))
            .output()
            .unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        )
        .trim()
        .to_owned()
    }
}

fn call(args: &[&str]) -> Output {
    Command::new(EXE).args(args).output().unwrap()
}

#[test]
fn the_classic_interface() {
    let w = Work::new();
    w.write("app/index.html", "hi");
    let app = w.path("app").display().to_string();
    let text = |o: &Output| String::from_utf8_lossy(&o.stdout).into_owned();
    let o = call(&["static", "detect", &app]);
    assert!(o.status.success() && text(&o) == "Static\n");
    let o = call(&["python", "detect", &app]);
    assert!(!o.status.success() && o.stdout.is_empty() && !o.stderr.is_empty());
    assert_eq!(
        text(&call(&["node", "release", &app])),
        "---\ndefault_process_types:\n  web: \"npm start\"\n"
    );
    assert_eq!(text(&call(&["python", "release", &app])), "--- {}\n");
    let (cache, env) = (
        w.path("c").display().to_string(),
        w.path("e").display().to_string(),
    );
    assert!(
        call(&["static", "compile", &app, &cache, &env])
            .status
            .success()
    );
    assert_eq!(call(&["static", "compile", &app]).status.code(), Some(2));
    assert_eq!(call(&["cobol", "detect", &app]).status.code(), Some(2));
    assert_eq!(call(&[]).status.code(), Some(2));
}

#[test]
fn a_committed_program() {
    let w = Work::new();
    let files = [
        ("Procfile", "web: ./serve --x\nworker: bin/none\n"),
        ("serve", "echo"),
    ];
    let (o, said) = w.succeed(&files, &[]);
    assert_eq!(
        (o.language.as_str(), o.buildpacks[0].as_str()),
        ("Procfile", "hokku/procfile")
    );
    assert_eq!(o.procfile.as_deref(), Some(files[0].1.as_bytes()));
    assert!(
        said.contains("./serve was not executable")
            && said.contains("bin/none, but there is no such file"),
        "{said}"
    );
    assert!(fs::metadata(w.path("app/serve")).unwrap().mode() & 0o111 != 0);
}

fn sums(file: &Path, to: &str) {
    let o = Command::new("sha256sum")
        .arg(file.file_name().unwrap())
        .current_dir(file.parent().unwrap())
        .output()
        .unwrap();
    fs::write(file.with_file_name(to), o.stdout).unwrap();
}

fn tar(flags: &str, file: &Path, from: &Path, folder: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    assert!(
        Command::new("tar")
            .arg(flags)
            .arg(file)
            .arg("-C")
            .arg(from)
            .arg(folder)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn versions_that_can_not_be_had() {
    let mut w = Work::new();
    w.env.insert(
        "HOKKU_HOST_RUNTIMES".into(),
        w.path("none").display().to_string(),
    );
    let said = w.fail(&[("requirements.txt", ""), (".python-version", "3.7")], &[]);
    assert!(
        said.contains(".python-version asks for Python 3.7, which can't be had here"),
        "{said}"
    );
    assert!(
        said.contains("Available: none.") && said.contains("HOKKU_RUNTIME_NEAREST=1"),
        "{said}"
    );

    // a mirror with another version
    w.write("n/bin/node", "#!/bin/sh\necho mirrored\n");
    w.write(
        "n/bin/npm",
        "#!/bin/sh\necho \"npm $*\"\nmkdir -p node_modules/x && echo 1 > node_modules/x/f\n",
    );
    let file = w
        .path("mirror")
        .join(format!("node-18.1.0-{}.tar.gz", std::env::consts::ARCH));
    tar("-czf", &file, w.dir.path(), "n");
    sums(&file, "SHA256SUMS");
    let app = |v: &str| format!(r#"{{"engines":{{"node":"{v}"}},"dependencies":{{"x":"1"}}}}"#);
    let said = w.fail(
        &[("package.json", &app("20.x")), ("package-lock.json", "{}")],
        &[],
    );
    assert!(
        said.contains("package.json (engines.node) asks for Node.js 20.x")
            && said.contains("Available: 18.1.0."),
        "{said}"
    );
    let (_, said) = w.succeed(
        &[("package.json", &app("20.x")), ("package-lock.json", "{}")],
        &[("HOKKU_RUNTIME_NEAREST", "1")],
    );
    assert!(
        said.contains("Node.js 20.x can't be had here; 18.1.0 is used"),
        "{said}"
    );
    assert!(said.contains("npm ci --omit=dev"), "{said}");
    assert_eq!(w.sh("node"), "mirrored");
    let (_, said) = w.succeed(
        &[("package.json", &app("20.x")), ("package-lock.json", "{}")],
        &[("HOKKU_RUNTIME_NEAREST", "1")],
    );
    assert!(
        said.contains("Using cached dependencies") && !said.contains("npm ci"),
        "{said}"
    );
    assert!(
        fs::metadata(w.path("app/node_modules/x/f"))
            .unwrap()
            .nlink()
            > 1
    );

    // a damaged one
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    fs::remove_dir_all(w.path("cache")).unwrap();
    let said = w.fail(&[("package.json", &app("18"))], &[]);
    assert!(
        said.contains("SHA-256") && said.contains("tampered"),
        "{said}"
    );
}

#[test]
fn the_makers_are_asked_last_and_checked() {
    let mut w = Work::new();
    w.env.insert(
        "HOKKU_HOST_RUNTIMES".into(),
        w.path("none").display().to_string(),
    );
    w.env.insert(
        "HOKKU_NODE_DIST".into(),
        format!("file://{}", w.path("dist").display()),
    );
    let index = r#"[{"version":"v23.1.0","lts":false},{"version":"v22.9.0","lts":"Jod"},{"version":"v4.0.0","lts":false}]"#;
    w.write("dist/index.json", index);
    w.write("n/bin/node", "#!/bin/sh\necho made\n");
    w.write("n/bin/npm", "#!/bin/sh\nexit 0\n");
    let arch = if std::env::consts::ARCH == "aarch64" {
        "arm64"
    } else {
        "x64"
    };
    let file = w.path(&format!("dist/v22.9.0/node-v22.9.0-linux-{arch}.tar.xz"));
    tar("-cJf", &file, w.dir.path(), "n");
    sums(&file, "SHASUMS256.txt");
    let (_, said) = w.succeed(&[("package.json", r#"{"engines":{"node":">=18"}}"#)], &[]);
    assert!(
        said.contains("Using Node 22.9.0"),
        "long-term, not newest:\n{said}"
    );
    assert_eq!(w.sh("node; echo $NODE_ENV"), "made\nproduction");
    let said = w.fail(&[("package.json", r#"{"engines":{"node":"21"}}"#)], &[]);
    assert!(said.contains("Available: 4.0.0, 22.9.0, 23.1.0."), "{said}");
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn python_with_pip() {
    let w = Work::new();
    let files = [
        ("requirements.txt", "itsdangerous==2.2.0\n"),
        ("main.py", ""),
        ("Procfile", "web: x"),
    ];
    let (o, said) = w.succeed(&files, &[]);
    assert_eq!(o.buildpacks, ["heroku/python"]);
    assert!(said.contains("Successfully installed"), "{said}");
    let import = "python -c 'import itsdangerous, sys; print(itsdangerous.__name__, sys.prefix == sys.argv[1])' $HOME/.heroku/python";
    assert_eq!(w.sh(import), "itsdangerous True");
    assert_eq!(
        w.sh(&format!("export PYTHONHOME=$HOME/.heroku/python; {import}")),
        "itsdangerous True"
    );
    assert_eq!(
        w.sh("[ $WEB_CONCURRENCY -ge 1 ] && [ $DYNO_RAM -ge 1 ] && echo $PYTHONUNBUFFERED"),
        "true"
    );
    assert!(
        w.sh("pip --version").contains(".heroku/python"),
        "{}",
        w.sh("pip --version")
    );

    let (_, said) = w.succeed(&files, &[]);
    assert!(
        said.contains("Using cached dependencies") && !said.contains("Collecting"),
        "{said}"
    );
    assert_eq!(w.sh(import), "itsdangerous True");
    // the app's folder moved: its scripts still start
    fs::rename(w.path("app"), w.path("moved")).unwrap();
    let pip = Command::new(w.path("moved/.heroku/python/bin/pip"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(pip.status.success());
    fs::rename(w.path("moved"), w.path("app")).unwrap();

    // what was written into a linked file spoils the kept layer, and it is not used again
    let module = w.sh("python -c 'import itsdangerous; print(itsdangerous.__file__)'");
    assert!(fs::metadata(&module).unwrap().nlink() > 1, "{module}");
    fs::OpenOptions::new()
        .append(true)
        .open(&module)
        .unwrap()
        .write_all(b"\nbroken(\n")
        .unwrap();
    let (_, said) = w.succeed(&files, &[]);
    assert!(said.contains("Successfully installed"), "{said}");
    assert_eq!(w.sh(import), "itsdangerous True");

    // a failed build keeps what was there
    let said = w.fail(
        &[(
            "requirements.txt",
            "itsdangerous==2.2.0\nhokku-there-is-no-such-thing==1\n",
        )],
        &[],
    );
    assert!(
        said.contains("No matching distribution")
            && said.contains("Unable to install dependencies using pip"),
        "{said}"
    );
    let (_, said) = w.succeed(&files, &[]);
    assert!(said.contains("Using cached dependencies"), "{said}");

    // hooks see config vars and Python; a failing one fails the build
    let mut with_hook = files.to_vec();
    with_hook.push((
        "bin/post_compile",
        "echo \"hook $GREETING $(command -v python)\"; exit $CODE",
    ));
    let (_, said) = w.succeed(&with_hook, &[("GREETING", "hé"), ("CODE", "0")]);
    assert!(
        said.contains("\nhook hé ") && said.contains(".heroku/python/bin/python"),
        "{said}"
    );
    let said = w.fail(&with_hook, &[("CODE", "3")]);
    assert!(
        said.contains("Failed to run the bin/post_compile script") && said.contains("status 3"),
        "{said}"
    );
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn node_with_npm() {
    let w = Work::new();
    let package = r#"{"name":"n","version":"1.0.0","license":"MIT","dependencies":{"is-odd":"3.0.1"},"devDependencies":{"is-buffer":"2.0.5"}}"#;
    w.write("app/package.json", package);
    let made = Command::new("npm")
        .args(["install", "--package-lock-only", "--no-audit", "--no-fund"])
        .current_dir(w.path("app"))
        .output();
    if !made.is_ok_and(|o| o.status.success()) {
        eprintln!("left out: npm is not here");
        return;
    }
    let lock = fs::read_to_string(w.path("app/package-lock.json")).unwrap();
    let files = [
        ("package.json", package),
        ("package-lock.json", lock.as_str()),
    ];
    let (o, said) = w.succeed(&files, &[]);
    assert_eq!(o.default_types["web"], "npm start");
    assert!(
        said.contains("Installing dependencies using 'npm ci'"),
        "{said}"
    );
    assert_eq!(
        w.sh("node -e 'console.log(require(\"is-odd\")(3))'"),
        "true"
    );
    assert!(!w.path("app/node_modules/is-buffer").exists());
    let (_, said) = w.succeed(&files, &[]);
    assert!(said.contains("Using cached dependencies"), "{said}");

    // scripts run each time and see devDependencies, which are gone from the slug; the kept modules stay pristine
    let scripts = package.replace(
        "\"license\"",
        r#""scripts":{"postinstall":"echo '//dirty' >> node_modules/is-odd/index.js","build":"ls node_modules && echo $GREETING > out"},"license""#,
    );
    let files = [
        ("package.json", scripts.as_str()),
        ("package-lock.json", lock.as_str()),
    ];
    for round in ["npm ci", "Using cached dependencies"] {
        let (_, said) = w.succeed(&files, &[("GREETING", "hé")]);
        assert!(
            said.contains(round) && said.contains("is-buffer") && said.contains("Pruning"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(w.path("app/out")).unwrap(), "hé\n");
        let module = fs::read_to_string(w.path("app/node_modules/is-odd/index.js")).unwrap();
        assert_eq!(module.matches("dirty").count(), 1, "{round}");
        assert!(!w.path("app/node_modules/is-buffer").exists());
        assert!(
            fs::read_to_string(w.path("app/package.json"))
                .unwrap()
                .contains("postinstall")
        );
    }
    let failing = scripts.replace("ls node_modules", "exit 4");
    let said = w.fail(
        &[("package.json", &failing), ("package-lock.json", &lock)],
        &[],
    );
    assert!(
        said.contains("script \"build\" of package.json failed with status 4"),
        "{said}"
    );
}

struct Server(Child, u16);
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(w: &Work) -> Server {
    let mut c = Command::new(w.path("app/.hokku/static-server"));
    c.env_clear()
        .env("HOME", w.path("app"))
        .env("PORT", "0")
        .stdout(Stdio::piped());
    let mut child = c.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
    Server(child, port)
}

/// One answer on an open connection: status line and headers, and the body.
fn answer(stream: &mut BufReader<TcpStream>, head_only: bool) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let len = head
        .lines()
        .find_map(|l| l.strip_prefix("Content-Length: "))
        .map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; if head_only { 0 } else { len }];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn the_static_server() {
    let w = Work::new();
    let (o, _) = w.succeed(
        &[
            ("public/index.html", "home"),
            ("public/404.html", "lost"),
            ("secret", "x"),
        ],
        &[],
    );
    assert_eq!(o.default_types["web"], "$HOME/.hokku/static-server");
    let mut s = serve(&w);
    let mut c = BufReader::new(TcpStream::connect(("127.0.0.1", s.1)).unwrap());
    c.get_ref()
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut ask = |text: &str, head_only| {
        c.get_mut().write_all(text.as_bytes()).unwrap();
        answer(&mut c, head_only)
    };
    // several on one connection
    let (head, body) = ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n", false);
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n")
            && head.contains("Content-Type: text/html")
            && body == "home",
        "{head}"
    );
    let (head, _) = ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", true);
    assert!(head.contains("Content-Length: 4\r\n"), "{head}");
    let tag = head
        .lines()
        .find_map(|l| l.strip_prefix("ETag: "))
        .unwrap()
        .to_owned();
    let (head, _) = ask(
        &format!("GET / HTTP/1.1\r\nIf-None-Match: {tag}\r\n\r\n"),
        true,
    );
    assert!(head.starts_with("HTTP/1.1 304 "), "{head}");
    let (head, body) = ask("GET /../secret HTTP/1.1\r\n\r\n", false);
    assert!(
        head.starts_with("HTTP/1.1 404 ") && body == "lost",
        "{head}"
    );
    let (head, body) = ask("GET / HTTP/1.1\r\nRange: bytes=1-2\r\n\r\n", false);
    assert!(head.starts_with("HTTP/1.1 206 ") && body == "om", "{head}");
    let (head, _) = ask("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", false);
    assert!(
        head.starts_with("HTTP/1.1 405 ") && head.contains("Allow: GET, HEAD"),
        "{head}"
    );
    // two at once, then garbage
    assert_eq!(
        ask("GET / HTTP/1.1\r\n\r\nGET /nope HTTP/1.1\r\n\r\n", false).1,
        "home"
    );
    assert_eq!(ask("", false).1, "lost");
    let (head, _) = ask("garbage\r\n\r\n", false);
    assert!(
        head.starts_with("HTTP/1.1 400 ") && head.contains("Connection: close"),
        "{head}"
    );

    // SIGTERM ends it at once, in spite of an idle connection, with status 0
    let _idle = TcpStream::connect(("127.0.0.1", s.1)).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(s.0.id() as i32),
        nix::sys::signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(s.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_static_site_without_its_folder() {
    let w = Work::new();
    let said = w.fail(&[("static.json", r#"{"root":"dist"}"#)], &[]);
    assert!(
        said.contains("The folder \"dist\", which is to be served, does not exist"),
        "{said}"
    );
}
