//! One `hokkud` with its router, shims and dynos, in a directory of its own.

use super::{
    Load, Outcome, Repo, eventually,
    http::{Connection, Response},
    leftovers, root,
    slot::Slot,
};
use std::{
    fs::{self, File, Permissions},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

/// Whose agent it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum WhoAmI {
    /// The user who runs the tests.
    #[default]
    Me,
    /// An ordinary user, also when root runs the tests: www-data, which every Debian has.
    Ordinary,
}

/// How it is to be started.
pub struct Settings {
    /// Whose agent it is.
    pub who: WhoAmI,
    /// Seconds that a web dyno has for its first answer.
    pub boot_timeout: u64,
    /// Seconds from SIGTERM to SIGKILL.
    pub stop_grace: u64,
    /// How many ports dynos may have.
    pub ports: u16,
    /// More lines of the settings file, before its tables.
    pub more: String,
    /// The data directory; in the test's directory when absent.
    pub data: Option<PathBuf>,
    /// Run copies of the programs, which can be replaced: see [`Host::replace_agent`].
    pub copies: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            who: WhoAmI::Me,
            boot_timeout: 20,
            stop_grace: 5,
            ports: 190,
            more: String::new(),
            data: None,
            copies: false,
        }
    }
}

/// The programs of this workspace that a host needs.
const PROGRAMS: [&str; 4] = ["hokkud", "hokku-shim", "hokku-buildpack", "app"];
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running agent. At the end of the test all of it is stopped; whatever stays on the machine fails the test.
pub struct Host {
    dir: tempfile::TempDir,
    data: PathBuf,
    bin: PathBuf,
    slot: Slot,
    ids: Option<(u32, u32)>,
    agent: Mutex<Option<Child>>,
}

/// The probe, built with this test.
pub fn probe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_probe"))
}

impl Host {
    /// Starts one with the usual settings.
    pub fn start() -> Host {
        Host::start_with(Settings::default())
    }

    /// Starts one.
    ///
    /// # Panics
    /// A program was not built, or the agent does not come up.
    pub fn start_with(settings: Settings) -> Host {
        let built = probe().parent().expect("it lies in a directory");
        for p in PROGRAMS {
            assert!(
                built.join(p).exists(),
                "{} is not built: run `make test`, or `cargo build --workspace --all-targets` first",
                built.join(p).display()
            );
        }
        let dir = tempfile::Builder::new()
            .prefix("hokku-test-")
            .tempdir()
            .expect("a temporary directory");
        let ids = (settings.who == WhoAmI::Ordinary && root()).then(|| {
            let user = nix::unistd::User::from_name("www-data")
                .expect("the user database can be read")
                .expect("Debian has www-data");
            (user.uid.as_raw(), user.gid.as_raw())
        });
        let mut bin = built.to_owned();
        if settings.copies || ids.is_some() {
            // The workspace may lie where only root can look.
            bin = dir.path().join("bin");
            fs::create_dir(&bin).expect("it is new");
            for p in PROGRAMS {
                fs::copy(built.join(p), bin.join(p)).expect("a program can be copied");
            }
            for (d, (uid, gid)) in [dir.path(), &bin].into_iter().zip(ids.into_iter().cycle()) {
                nix::unistd::chown(d, Some(uid.into()), Some(gid.into())).expect("root may");
            }
        }
        let host = Host {
            data: settings
                .data
                .clone()
                .unwrap_or_else(|| dir.path().join("data")),
            dir,
            bin,
            slot: Slot::take(),
            ids,
            agent: Mutex::new(None),
        };
        host.make_dir("home");
        host.make_dir("repos");
        let first = host.slot.first_dyno();
        let last = first + settings.ports - 1;
        let text = format!(
            "data_dir = {:?}\napi_listen = \"127.0.0.1:{}\"\nrouter_listen = [\"{}\"]\napps_domain = \"localhost\"\n\
             dyno_ports = [{first}, {last}]\nfirst_uid = {}\nboot_timeout = {}\nstop_grace = {}\n{}",
            host.data,
            host.slot.api(),
            host.router(),
            host.slot.first_uid(),
            settings.boot_timeout,
            settings.stop_grace,
            settings.more
        );
        host.write("hokku.toml", text.as_bytes(), 0o600);
        host.start_agent();
        host
    }

    fn make_dir(&self, name: &str) -> PathBuf {
        let d = self.dir.path().join(name);
        fs::create_dir_all(&d).expect("a directory can be made");
        self.give(&d);
        d
    }

    fn give(&self, path: &Path) {
        if let Some((uid, gid)) = self.ids {
            nix::unistd::chown(path, Some(uid.into()), Some(gid.into())).expect("root may");
        }
    }

    /// Writes a file of the host's owner.
    pub fn write(&self, path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.dir.path().join(path);
        if let Some(parent) = path.parent()
            && !parent.exists()
        {
            fs::create_dir_all(parent).expect("a directory can be made");
            self.give(parent);
        }
        fs::write(&path, bytes).expect("a file can be written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        self.give(&path);
        path
    }

    /// The test's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The agent's data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A port of this test's that nothing of the platform uses.
    pub fn spare_port(&self) -> u16 {
        self.slot.spare()
    }

    /// The first user id that an app may get.
    pub fn first_uid(&self) -> u32 {
        self.slot.first_uid()
    }

    /// The first port that a dyno may get.
    pub fn first_dyno_port(&self) -> u16 {
        self.slot.first_dyno()
    }

    /// Where the API listens.
    pub fn api(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.slot.api()).into()
    }

    /// Where the router listens.
    pub fn router(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.slot.router()).into()
    }

    /// The settings file.
    pub fn settings_file(&self) -> PathBuf {
        self.dir.path().join("hokku.toml")
    }

    /// A command with the environment of the host's owner and nothing else: PATH with our programs, a home of its own.
    pub fn command(&self, program: &str) -> Command {
        let mut c = Command::new(program);
        let home = self.dir.path().join("home");
        c.env_clear()
            .env("PATH", format!("{}:{SYSTEM_PATH}", self.bin.display()))
            .env("HOME", &home)
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", std::env::temp_dir())
            .env("HOKKU_SOCKET", self.data.join("run/hokkud.sock"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_COMMITTER_NAME", "Ada")
            .env("GIT_COMMITTER_EMAIL", "ada@example.org")
            .current_dir(&home);
        // What a machine behind a proxy of its own needs to reach the package registries.
        for (name, value) in std::env::vars_os() {
            let n = name.to_string_lossy().to_lowercase();
            if n.contains("cert") || n.contains("ca_bundle") || n.ends_with("_proxy") {
                c.env(name, value);
            }
        }
        if let Some((uid, gid)) = self.ids {
            c.uid(uid).gid(gid);
        }
        c
    }

    /// Starts the agent again, on the same data, and waits until it answers.
    pub fn start_agent(&self) {
        self.start_agent_with(&[]);
    }

    /// The same, with more environment.
    pub fn start_agent_with(&self, env: &[(&str, &str)]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("agent.log"))
            .expect("the log can be written");
        let child = self
            .command(&self.bin.join("hokkud").to_string_lossy())
            .arg("--config")
            .arg(self.settings_file())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("hokkud starts");
        *self.agent.lock().expect("no panic") = Some(child);
        eventually("the agent answers", 30, || {
            if let Some(s) = self
                .agent
                .lock()
                .expect("no panic")
                .as_mut()
                .and_then(|c| c.try_wait().ok().flatten())
            {
                panic!("hokkud ended with {s}: {}", self.agent_log());
            }
            (TcpStream::connect(self.api()).is_ok() && TcpStream::connect(self.router()).is_ok())
                .then_some(())
        });
    }

    /// Replaces the file of the agent and the router by another one, as a package's upgrade does. Only with
    /// [`Settings::copies`].
    pub fn replace_agent(&self) {
        let (new, old) = (self.bin.join("hokkud.new"), self.bin.join("hokkud"));
        fs::copy(&old, &new).expect("a program can be copied");
        fs::rename(&new, &old).expect("a program can be replaced");
    }

    /// Waits until the agent has ended by itself.
    pub fn agent_ends(&self) {
        let child = self.agent.lock().expect("no panic").take();
        if let Some(mut c) = child {
            eventually("the agent ends", 30, || c.try_wait().ok().flatten());
        }
    }

    /// SIGKILL to the agent alone.
    pub fn kill_agent(&self) {
        if let Some(mut c) = self.agent.lock().expect("no panic").take() {
            let _ = c.kill();
            let _ = c.wait();
        }
    }

    /// SIGTERM to the agent alone; it has to end within 10 s.
    pub fn stop_agent(&self) {
        let child = self.agent.lock().expect("no panic").take();
        if let Some(mut c) = child {
            send(c.id() as i32, nix::sys::signal::Signal::SIGTERM);
            eventually("the agent ends after SIGTERM", 10, || {
                c.try_wait().ok().flatten()
            });
        }
    }

    /// SIGKILL to every process of this host at once, as when the power goes.
    pub fn power_cut(&self) {
        self.kill_agent();
        eventually("every process of the host is gone", 20, || {
            let left = self.processes();
            leftovers::kill(&left);
            left.is_empty().then_some(())
        });
    }

    /// What runs now of this host.
    pub fn processes(&self) -> Vec<String> {
        leftovers::of(self.dir.path())
            .into_iter()
            .filter(|l| l.starts_with("process "))
            .collect()
    }

    /// The process ids of its routers.
    ///
    /// # Panics
    /// There is none.
    pub fn router_pids(&self) -> Vec<i32> {
        let all = self.processes();
        let routers = all.iter().filter(|p| p.contains("hokkud router"));
        let pids: Vec<i32> = routers
            .filter_map(|p| p.split(' ').nth(1)?.parse().ok())
            .collect();
        assert!(!pids.is_empty(), "{all:?}");
        pids
    }

    /// All that the agent has logged.
    pub fn agent_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default()
    }

    /// `app …`, at most 100 s.
    pub fn app(&self, args: &[&str]) -> Outcome {
        self.app_with(args, b"")
    }

    /// `app …` with this on its standard input.
    pub fn app_with(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut c = self.command("app");
        c.args(args);
        Outcome::of(c, input, 100)
    }

    /// `app … --json`, parsed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut all = args.to_vec();
        all.push("--json");
        let o = self.app(&all).ok();
        serde_json::from_slice(&o.stdout).unwrap_or_else(|e| panic!("{e}: {o}"))
    }

    /// Makes an app and an empty repository with its remote.
    #[track_caller]
    pub fn create(&self, app: &str) -> Repo<'_> {
        let dir = self.make_dir(&format!("repos/{app}"));
        let repo = Repo::new(self, dir, app);
        repo.git(&["init", "-q", "-b", "main"]).ok();
        let mut c = self.command("app");
        c.args(["create", app]).current_dir(&repo.dir);
        Outcome::of(c, b"", 30).ok();
        repo
    }

    /// Makes an app of the probe and pushes it.
    #[track_caller]
    pub fn deploy(&self, app: &str) -> Repo<'_> {
        let repo = self.create(app);
        repo.write_probe();
        repo.version("one");
        repo.push().ok();
        repo
    }

    /// One request to an app through the router, on a connection of its own.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_get(&self, app: &str, path: &str) -> std::io::Result<Response> {
        Connection::open(self.router())?.ask(
            "GET",
            &format!("{app}.localhost"),
            path,
            &[("Connection", "close")],
            b"",
        )
    }

    /// The same, which must not fail.
    #[track_caller]
    pub fn get(&self, app: &str, path: &str) -> Response {
        match self.try_get(app, path) {
            Ok(r) => r,
            Err(e) => panic!("GET {path} of {app}: {e}"),
        }
    }

    /// Which version of the probe answers, if one does.
    pub fn serves(&self, app: &str) -> Option<String> {
        let r = self.try_get(app, "/").ok()?;
        if r.status != 200 {
            return None;
        }
        let v: serde_json::Value = serde_json::from_slice(&r.body).ok()?;
        Some(v["version"].as_str()?.to_owned())
    }

    /// This version has to answer now.
    #[track_caller]
    pub fn must_serve(&self, app: &str, version: &str) {
        let r = self.get(app, "/");
        assert_eq!(r.status, 200, "{}", r.text());
        assert_eq!(r.json()["version"], version, "{}", r.text());
    }

    /// The probe's answer about itself.
    #[track_caller]
    pub fn about(&self, app: &str) -> serde_json::Value {
        let r = self.get(app, "/");
        assert_eq!(r.status, 200, "{}", r.text());
        r.json()
    }

    /// The formation's dynos of an app, as (name, state, pid of the shim).
    #[track_caller]
    pub fn dynos(&self, app: &str) -> Vec<(String, String, i32)> {
        let v = self.json(&["ps", "-a", app]);
        v.as_array()
            .unwrap_or_else(|| panic!("no list: {v}"))
            .iter()
            .map(|d| {
                (
                    d["name"].as_str().unwrap_or_default().to_owned(),
                    d["state"].as_str().unwrap_or_default().to_owned(),
                    d["pid"].as_i64().unwrap_or(0) as i32,
                )
            })
            .collect()
    }

    /// Waits until exactly these dynos are up.
    #[track_caller]
    pub fn up(&self, app: &str, names: &[&str]) {
        let mut last = vec![];
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            last = self.dynos(app);
            if last.len() == names.len()
                && last
                    .iter()
                    .zip(names)
                    .all(|(d, n)| d.0 == *n && d.1 == "up")
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        panic!("expected {names:?} up, have {last:?}");
    }

    /// Waits for a line of the app's log with this in it; gives it back.
    #[track_caller]
    pub fn logged(&self, app: &str, text: &str) -> String {
        let mut last = String::new();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            last = self.app(&["logs", "-n", "1500", "-a", app]).ok().out();
            if let Some(l) = last.lines().find(|l| l.contains(text)) {
                return l.to_owned();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{text:?} is not in the log:\n{last}");
    }

    /// Starts a load on an app.
    pub fn load(&self, app: &str, rate: u32, connections: u32) -> Load {
        Load::start(
            self.router(),
            &format!("{app}.localhost"),
            rate,
            connections,
        )
    }
}

/// A signal to one process.
pub fn send(pid: i32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

impl Drop for Host {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        if failing {
            let log = self.agent_log();
            let tail: Vec<&str> = log.lines().rev().take(80).collect();
            eprintln!(
                "--- the agent's log, newest line first\n{}",
                tail.join("\n")
            );
        }
        let mut stop = self.command(&self.bin.join("hokkud").to_string_lossy());
        stop.arg("stop-all").arg("--data-dir").arg(&self.data);
        let stopped = stop
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output();
        if let Ok(Some(mut c)) = self.agent.lock().map(|mut a| a.take()) {
            if c.try_wait().ok().flatten().is_none() {
                std::thread::sleep(Duration::from_millis(300));
            }
            let _ = c.kill();
            let _ = c.wait();
        }
        let mut left = leftovers::of(self.dir.path());
        for _ in 0..100 {
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            left = leftovers::of(self.dir.path());
        }
        leftovers::kill(&left);
        if !left.is_empty() {
            let text = format!(
                "left on the machine after `hokkud stop-all` ({}):\n{}",
                match &stopped {
                    Ok(o) => format!("{}, {}", o.status, String::from_utf8_lossy(&o.stderr)),
                    Err(e) => e.to_string(),
                },
                left.join("\n")
            );
            if failing {
                eprintln!("{text}");
            } else {
                panic!("{text}");
            }
        }
    }
}
