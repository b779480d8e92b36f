//! Starts real shims: as root with namespaces, as an ordinary user in a user namespace, and without walls.
#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]

use hokku_model::{
    dyno::Exit,
    shim::{AppTree, Frame, Isolation, Limits, Output, ShimPid, ShimSpec},
};
use std::{
    fs,
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::{
            fs::{PermissionsExt, chown},
            net::UnixStream,
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The app's user under root.
pub const APP_UID: u32 = 23_456;
/// The agent's user for what is to work without root.
const AGENT_UID: u32 = 34_567;

/// One way to isolate, and who starts the shim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    pub isolation: Isolation,
    pub user: Option<u32>,
}

fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl Way {
    /// The user that the process runs as.
    pub fn uid(self) -> u32 {
        match self.isolation {
            Isolation::Root { uid } => uid,
            _ => self.user.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
        }
    }
}

/// All ways that this machine and user have.
pub fn ways() -> Vec<Way> {
    let mut all = walled();
    all.push(plain());
    all
}

pub fn plain() -> Way {
    Way {
        isolation: Isolation::Plain,
        user: root().then_some(AGENT_UID),
    }
}

/// Those with namespaces.
pub fn walled() -> Vec<Way> {
    let mut all = vec![];
    if root() {
        all.push(Way {
            isolation: Isolation::Root { uid: APP_UID },
            user: None,
        });
    }
    let user = root().then_some(AGENT_UID);
    let mut probe = Command::new("unshare");
    probe.args(["-Urm", "true"]).stderr(Stdio::null());
    if let Some(u) = user {
        probe.uid(u).gid(u);
    }
    if probe.status().is_ok_and(|s| s.success()) {
        all.push(Way {
            isolation: Isolation::Userns,
            user,
        });
    } else {
        eprintln!("no unprivileged user namespaces here: not tested");
    }
    all
}

/// A node's folder with a slug, and one dyno's order to change.
pub struct Bench {
    pub way: Way,
    pub base: tempfile::TempDir,
    pub spec: ShimSpec,
}

impl Bench {
    pub fn new(way: Way, script: &str) -> Bench {
        let base = tempfile::tempdir().unwrap();
        let at = |n: &str| base.path().join(n);
        for d in ["slug/sub", "dyno", "logs"] {
            fs::create_dir_all(at(d)).unwrap();
        }
        fs::write(at("slug/hello"), "from the slug").unwrap();
        fs::copy(env!("CARGO_BIN_EXE_hokku-shim"), at("hokku-shim")).unwrap();
        fs::set_permissions(at("dyno"), fs::Permissions::from_mode(0o700)).unwrap();
        for d in ["", "dyno", "logs", "slug", "slug/sub", "slug/hello"] {
            chown(at(d), way.user, way.user).unwrap();
        }
        if let Isolation::Root { uid } = way.isolation {
            for d in ["slug", "slug/sub", "slug/hello"] {
                chown(at(d), Some(uid), Some(uid)).unwrap();
            }
        }
        let spec = ShimSpec {
            dir: at("dyno"),
            argv: ["/bin/bash", "-c", script].map(String::from).to_vec(),
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("HOME".into(), "/app".into()),
            ],
            cwd: "/app".into(),
            isolation: way.isolation,
            app: AppTree::Overlay {
                lower: vec![at("slug")],
            },
            binds: vec![],
            output: Output::Log {
                file: at("logs/dyno.log"),
                source: "app[web.1]".into(),
                max_bytes: 1 << 20,
            },
            limits: Limits::default(),
            hide: vec![],
            hostname: "web.1".into(),
        };
        Bench { way, base, spec }
    }

    pub fn attached(way: Way, script: &str, pty: Option<(u16, u16)>) -> Bench {
        let mut b = Bench::new(way, script);
        b.spec.output = Output::Attached { pty };
        b
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    pub fn command(&self) -> Command {
        let mut c = Command::new(self.path("hokku-shim"));
        c.env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(u) = self.way.user {
            c.uid(u).gid(u);
        }
        c
    }

    pub fn start(&self) -> Result<Dyno, String> {
        let mut child = loop {
            match self.command().spawn() {
                // another test forked while this one's copy of the program was being written
                Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                r => break r.unwrap(),
            }
        };
        let text = serde_json::to_vec(&self.spec).unwrap();
        child.stdin.take().unwrap().write_all(&text).unwrap();
        let mut said = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        child.wait().unwrap();
        let last = said.lines().last().unwrap_or_default();
        match last.strip_prefix("ok ") {
            Some(pid) => Ok(Dyno {
                pid: pid.parse().unwrap(),
                dir: self.spec.dir.clone(),
                notices: said
                    .lines()
                    .filter_map(|l| l.strip_prefix("notice "))
                    .map(String::from)
                    .collect(),
            }),
            None => Err(last.strip_prefix("error ").unwrap_or(last).to_owned()),
        }
    }

    /// Runs the script to its end and gives the exit and the log's texts.
    pub fn run(&self) -> (Exit, Vec<String>) {
        let exit = self.start().unwrap().exit();
        (exit, self.log())
    }

    pub fn log(&self) -> Vec<String> {
        texts(&self.path("logs/dyno.log"))
    }

    /// Waits until a line of the log has this text in it.
    pub fn wait_log(&self, text: &str) {
        until(&format!("log line with {text:?}"), || {
            self.log().iter().any(|l| l.contains(text))
        });
    }

    /// Does the process's user own what it can't be denied? The folder that stands for `/app`.
    pub fn app_path(&self) -> PathBuf {
        match self.way.isolation {
            Isolation::Plain => self.spec.dir.join("copy"),
            _ => "/app".into(),
        }
    }
}

pub fn texts(file: &Path) -> Vec<String> {
    let bytes = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .lines()
        .map(|l| {
            hokku_model::log::LogLine::parse(l)
                .unwrap_or_else(|| panic!("torn: {l}"))
                .text
        })
        .collect()
}

/// A running shim; killed when the test is over.
pub struct Dyno {
    pub pid: i32,
    pub dir: PathBuf,
    pub notices: Vec<String>,
}

impl Dyno {
    pub fn connect(&self) -> Conn {
        // the socket's path may be longer than an address can be
        let d = fs::File::open(&self.dir).unwrap();
        let s = UnixStream::connect(format!("/proc/self/fd/{}/ctl.sock", d.as_raw_fd())).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Conn { s, buf: vec![] }
    }

    /// Waits for the end, by `exit.json`, and for the shim itself to be gone.
    pub fn exit(&self) -> Exit {
        let file = self.dir.join("exit.json");
        until("exit.json", || file.exists());
        let exit = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        until("the shim's end", || !alive(self.pid));
        exit
    }

    pub fn json(&self) -> ShimPid {
        serde_json::from_slice(&fs::read(self.dir.join("shim.json")).unwrap()).unwrap()
    }
}

impl Drop for Dyno {
    fn drop(&mut self) {
        if alive(self.pid) {
            // SAFETY: takes no pointers
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            until("the shim's end", || !alive(self.pid));
        }
    }
}

/// An overlay's work folders are closed to their own user; opened, so that the test's folder can be removed.
impl Drop for Bench {
    fn drop(&mut self) {
        let mut work = self.path("dyno/work");
        for part in ["work", "incompat", "volatile"] {
            work.push(part);
            let _ = fs::set_permissions(&work, fs::Permissions::from_mode(0o700));
        }
    }
}

/// A client.
pub struct Conn {
    pub s: UnixStream,
    buf: Vec<u8>,
}

impl Conn {
    pub fn send(&mut self, f: Frame) {
        self.s.write_all(&f.encode()).unwrap();
    }

    /// `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(f) = Frame::decode(&mut self.buf).unwrap() {
                return Some(f);
            }
            let mut part = [0; 65_536];
            match self.s.read(&mut part) {
                Ok(0) => return None,
                Ok(n) => self.buf.extend_from_slice(&part[..n]),
                // the shim ended before it had read all of our input
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Reads to the end: standard output, standard error, exit.
    pub fn finish(&mut self) -> (Vec<u8>, Vec<u8>, Exit) {
        let (mut out, mut err) = (vec![], vec![]);
        loop {
            match self.next() {
                Some(Frame::Stdout(b)) => out.extend(b),
                Some(Frame::Stderr(b)) => err.extend(b),
                Some(Frame::Exited(e)) => {
                    assert_eq!(self.next(), None, "Exited is the last frame");
                    return (out, err, e);
                }
                f => panic!("unexpected {f:?} after {:?}", String::from_utf8_lossy(&out)),
            }
        }
    }

    /// Reads output until it holds this text.
    pub fn expect(&mut self, text: &str) -> String {
        let mut out = String::new();
        while !out.contains(text) {
            match self.next() {
                Some(Frame::Stdout(b) | Frame::Stderr(b)) => out += &String::from_utf8_lossy(&b),
                f => panic!("{f:?} while waiting for {text:?} after {out:?}"),
            }
        }
        out
    }
}

pub fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| {
        s.rsplit_once(") ")
            .is_some_and(|(_, r)| !r.starts_with(['Z', 'X']))
    })
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "waited 20 s for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Pids of processes on the host whose command line has this text.
pub fn processes(text: &str) -> Vec<i32> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|p| {
            let line = fs::read(format!("/proc/{p}/cmdline")).unwrap_or_default();
            alive(*p) && String::from_utf8_lossy(&line).contains(text)
        })
        .collect()
}
