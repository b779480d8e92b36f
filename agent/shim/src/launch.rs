//! From the shim to the app's program: fork, give up all rights, exec.

use crate::{
    app,
    call::{self, Why},
    cgroup::Cradle,
    limits, seccomp,
    stdio::{self, Theirs},
};
use hokku_model::shim::{Isolation, Limits, ShimSpec};
use std::{
    ffi::{CStr, CString},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::PathBuf,
    ptr,
    rc::Rc,
};

/// What every program of the dyno starts from: its own, and each command that is run inside it later. It holds the config
/// vars, out of the dyno's reach: nobody inside may look into the shim.
pub struct Walls {
    /// The user, where it is not the shim's own.
    pub uid: Option<u32>,
    env: Vec<(String, String)>,
    cwd: PathBuf,
    isolation: Isolation,
    limits: Limits,
    cradle: Option<Cradle>,
}

impl Walls {
    /// Of an order. In `plain` the app's folder stands for `/app`, in working directory and `HOME`, and a variable marks
    /// all processes of the dyno, because nothing else holds them together when the shim is killed. `cradle` is the
    /// cgroup that all are born in.
    pub fn new(spec: &ShimSpec, plain: Option<PathBuf>, cradle: Option<Cradle>) -> Walls {
        let mut env = spec.env.clone();
        let mut cwd = spec.cwd.clone();
        if let Some(tree) = plain {
            if let Ok(rest) = spec.cwd.strip_prefix("/app") {
                cwd = tree.join(rest);
            }
            env.retain(|(k, _)| k != "HOME");
            env.push(("HOME".into(), tree.to_string_lossy().into_owned()));
            env.push((MARK.into(), spec.dir.to_string_lossy().into_owned()));
        }
        Walls {
            uid: app::owner(spec),
            env,
            cwd,
            isolation: spec.isolation,
            limits: spec.limits.clone(),
            cradle,
        }
    }
}

/// Everything for `execve`, prepared before the fork.
pub struct Program {
    name: String,
    argv: Vec<CString>,
    env: Vec<CString>,
    path: String,
    walls: Rc<Walls>,
}

/// Why the program did not start, for the app's log, and the exit status that shells use for it.
pub struct NotStarted {
    /// For people.
    pub text: String,
    /// 127: not found. 126: found, but it can't be run.
    pub status: i32,
}

impl Program {
    /// Prepares. `more` are variables over those of the dyno.
    ///
    /// # Errors
    /// There is no program; an argument or variable holds a NUL byte: the name of the variable is given, never its value.
    pub fn new(
        argv: Vec<String>,
        more: &[(String, String)],
        walls: &Rc<Walls>,
    ) -> Result<Program, String> {
        let words = argv
            .iter()
            .map(call::cstring)
            .collect::<io::Result<_>>()
            .why(|| "can't pass the arguments".into())?;
        let own = walls.env.iter();
        let own = own.filter(|(k, _)| !more.iter().any(|(name, _)| name == k));
        let vars: Vec<&(String, String)> = own.chain(more).collect();
        let env = vars
            .iter()
            .map(|(k, v)| {
                if k.is_empty() || k.contains('=') {
                    return Err(format!("{k:?} can't be the name of a variable"));
                }
                call::cstring(format!("{k}={v}")).why(|| format!("can't pass the variable {k}"))
            })
            .collect::<Result<_, _>>()?;
        let path = vars.iter().rev().find(|(k, _)| k == "PATH");
        let path = path.map_or("/usr/local/bin:/usr/bin:/bin", |(_, p)| p);
        Ok(Program {
            name: argv.into_iter().next().ok_or("no program is named")?,
            argv: words,
            path: path.to_owned(),
            env,
            walls: walls.clone(),
        })
    }

    /// Starts it; `Ok` once the program runs. Gives the pid as the shim sees it, and where its filter asks, if it does.
    ///
    /// # Errors
    /// It can't be run.
    pub fn start(self, theirs: Theirs) -> Result<(i32, Option<OwnedFd>), NotStarted> {
        let broken = |text: String| NotStarted { text, status: 126 };
        let (ours, hand) = UnixDatagram::pair()
            .why(|| "can't make a pair of sockets".into())
            .map_err(broken)?;
        let (mut said, word) = stdio::word_pipe().map_err(broken)?;
        let pid = call::fork_pid()
            .why(|| "can't fork".into())
            .map_err(broken)?;
        if pid == 0 {
            let (status, text) = self.become_it(&theirs, &hand);
            let mut word = word;
            let _ = word.write_all(text.as_bytes());
            // SAFETY: ends the forked child without running the parent's clean-up
            unsafe { libc::_exit(status) };
        }
        drop((word, theirs, hand));
        let mut text = String::new();
        // the pipe closes by itself when the program was started
        let _ = said.read_to_string(&mut text);
        if text.is_empty() {
            return Ok((pid, seccomp::take(&ours)));
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        let status = if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            126
        };
        Err(NotStarted { text, status })
    }

    /// In the child: returns only when it failed.
    fn become_it(&self, theirs: &Theirs, hand: &UnixDatagram) -> (i32, String) {
        if let Err(e) = self.prepare(theirs, hand) {
            return (126, format!("can't start {:?}: {e}", self.name));
        }
        let e = self.exec();
        match e.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) if !self.name.contains('/') => (
                127,
                format!("{}: command not found (PATH is {})", self.name, self.path),
            ),
            Some(libc::ENOENT | libc::ENOTDIR) => (
                127,
                format!(
                    "{}: no such file, or its interpreter does not exist",
                    self.name
                ),
            ),
            Some(libc::E2BIG) => (
                126,
                format!(
                    "{}: arguments and config vars together are too long for Linux",
                    self.name
                ),
            ),
            _ => (126, format!("{}: {e}", self.name)),
        }
    }

    fn prepare(&self, theirs: &Theirs, hand: &UnixDatagram) -> Result<(), String> {
        call::setsid();
        for (i, fd) in theirs.fds.iter().enumerate() {
            // SAFETY: takes no pointers. All of the shim's descriptors are above 2
            call::check(unsafe { libc::dup2(fd.as_raw_fd(), i as i32) })
                .why(|| "can't set up its standard streams".into())?;
        }
        if theirs.terminal {
            // SAFETY: takes no pointers
            call::check(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })
                .why(|| "can't give it the terminal".into())?;
        }
        signals();
        // the shim itself can't be read from inside, but this copy of it may write its own files in /proc
        let _ = call::prctl(libc::PR_SET_DUMPABLE, 1);
        let walls = &self.walls;
        if let Some(cradle) = &walls.cradle {
            cradle.enter().why(|| "can't enter its cgroup".into())?;
        }
        limits::apply(&walls.limits, walls.isolation);
        if walls.isolation == Isolation::Plain {
            let _ = call::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64);
        } else {
            self.give_up_rights()?;
        }
        call::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).why(|| "can't refuse new rights".into())?;
        // SAFETY: takes no pointers
        unsafe { libc::umask(0o022) };
        std::env::set_current_dir(&walls.cwd)
            .why(|| format!("can't enter the folder {}", walls.cwd.display()))?;
        close_rest();
        no_cores().why(|| "can't keep core dumps in".into())?;
        // the last of all: what comes after it has to pass it
        if seccomp::available() {
            let listener = seccomp::install().why(|| "can't set the filter of calls".into())?;
            if let Some(listener) = listener {
                seccomp::hand_over(hand, &listener)
                    .why(|| "can't hand over the filter's questions".into())?;
            }
        }
        Ok(())
    }

    fn give_up_rights(&self) -> Result<(), String> {
        // SAFETY: a null pointer asks for a new, unnamed keyring
        unsafe { libc::syscall(libc::SYS_keyctl, 1, ptr::null::<u8>()) };
        let say = || "can't give up capabilities".to_string();
        limits::close_bounding_set().why(say)?;
        if let Some(uid) = self.walls.uid {
            // SAFETY: an empty list needs no pointer; the others take none
            unsafe {
                call::check(libc::setgroups(0, ptr::null()))
                    .and_then(|_| call::check(libc::setresgid(uid, uid, uid)))
                    .and_then(|_| call::check(libc::setresuid(uid, uid, uid)))
                    .why(|| format!("can't become user {uid}"))?;
            }
        }
        limits::drop_capabilities().why(say)
    }

    /// Tries the name as it is, or on PATH, as `execvpe` does.
    fn exec(&self) -> io::Error {
        if self.name.contains('/') {
            return self.exec_file(&self.argv[0]);
        }
        let mut best = io::Error::from_raw_os_error(libc::ENOENT);
        for dir in self.path.split(':') {
            let dir = if dir.is_empty() { "." } else { dir };
            let Ok(file) = call::cstring(format!("{dir}/{}", self.name)) else {
                continue;
            };
            let e = self.exec_file(&file);
            if !matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
                best = e;
                if best.raw_os_error() != Some(libc::EACCES) {
                    break;
                }
            }
        }
        best
    }

    fn exec_file(&self, file: &CStr) -> io::Error {
        let env = pointers(&self.env);
        let argv = pointers(&self.argv);
        // SAFETY: both lists end with a null pointer, and all they point to outlives the call
        unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), env.as_ptr()) };
        let e = io::Error::last_os_error();
        if e.raw_os_error() == Some(libc::ENOEXEC) {
            // a script without a first line that names its interpreter
            let mut script = vec![c"/bin/sh".as_ptr(), file.as_ptr()];
            script.extend(&argv[1..]);
            // SAFETY: as above
            unsafe { libc::execve(c"/bin/sh".as_ptr(), script.as_ptr(), env.as_ptr()) };
        }
        e
    }
}

/// The variable that marks the processes of a dyno without walls; its value is the dyno's folder.
pub const MARK: &str = "HOKKU_DYNO_DIR";

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter()
        .map(|s| s.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// No signal is ignored, handled or held back when the program begins.
fn signals() {
    // SAFETY: numbers and a set that outlives the call; signals that can't be changed are refused, which is fine
    unsafe {
        // by the call itself: the C library hides 32 and 33, which a starter may have left ignored
        let default = [0u64; 4];
        for n in 1..=64 {
            let old = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, n, default.as_ptr(), old, 8);
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// No memory of a crashed process leaves the dyno: a file of one byte is none, and for a limit of exactly 1 the kernel
/// does not start the host's handler of cores either. Source: `do_coredump` in Linux's fs/coredump.c.
fn no_cores() -> io::Result<()> {
    let one = libc::rlimit {
        rlim_cur: 1,
        rlim_max: 1,
    };
    // SAFETY: `one` outlives the call
    match call::check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const one) }) {
        // the starter's own limit is 0 and can't be raised
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => Ok(()),
        r => r.map(drop),
    }
}

/// Marks all descriptors above 2 to be closed by `execve`.
fn close_rest() {
    // SAFETY: takes no pointers
    let r = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if r < 0 {
        for fd in 3..4096 {
            // SAFETY: takes no pointers; numbers that are not open are refused
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}
