//! An app that tries to get out: each way by name, with what came of it.
//!
//! What it does: tries every way of `files`, `processes`, `kernel` and `network` in a process of its own, and prints
//! `HELD <name>: <refusal>`, `BROKE <name>: <what it got>` or `OPEN <name>: <why this host has no such wall>` for each,
//! then how many there were. The exit status is the number of those that broke, at most 100.
//! What it never does: harm a machine whose walls hold; no way writes more than a marker or takes more than it needs to
//! show that it could.
//! Who calls it: the end-to-end suite `escape`, in one-off dynos, in web dynos and in builds. Facts about the host come
//! as arguments, `name=value`.

mod files;
mod kernel;
mod network;
mod processes;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    os::fd::FromRawFd,
};

/// What the test tells about the host.
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    /// One of them; empty when it was not told.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// One that is a number, or 0.
    pub fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or(0)
    }
}

/// Begins a refusal to try: there is no such wall on a host like this one, and it is known.
pub const OPEN: &str = "open: ";

/// Not a way here, because the test told nothing of what it leads to: it is left out of all counts.
pub const SKIPPED: &str = "skipped";

/// `Ok`: what was gained. `Err`: how it was refused.
pub type Verdict = Result<String, String>;

/// One way out.
pub struct Way(pub &'static str, pub fn(&Facts) -> Verdict);

fn main() {
    let facts = std::env::args()
        .skip(1)
        .filter_map(|a| {
            let (k, v) = a.split_once('=')?;
            Some((k.to_owned(), v.to_owned()))
        })
        .collect();
    let facts = Facts(facts);
    if !facts.get("listen").is_empty() {
        listen(facts.get("listen"));
    }
    let only = facts.get("only").to_owned();
    let ways = [files::WAYS, processes::WAYS, kernel::WAYS, network::WAYS].concat();
    let (mut held, mut broke, mut open) = (0, 0, 0);
    for way in ways.iter().filter(|w| only.is_empty() || w.0 == only) {
        match apart(way, &facts) {
            Ok(got) => {
                broke += 1;
                println!("BROKE {}: {}", way.0, one_line(&got));
            }
            Err(why) if why == SKIPPED => {}
            Err(why) => match why.strip_prefix(OPEN) {
                Some(why) => {
                    open += 1;
                    println!("OPEN {}: {}", way.0, one_line(why));
                }
                None => {
                    held += 1;
                    println!("HELD {}: {}", way.0, one_line(&why));
                }
            },
        }
    }
    println!(
        "tried {} held {held} broke {broke} open {open}",
        held + broke + open
    );
    std::process::exit(broke.min(100));
}

/// As the other app: an abstract socket for the intruder to find.
fn listen(name: &str) -> ! {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    };
    let listener = SocketAddr::from_abstract_name(name).and_then(|a| UnixListener::bind_addr(&a));
    println!("listening: {}", listener.is_ok());
    loop {
        std::thread::park();
    }
}

impl Clone for Way {
    fn clone(&self) -> Way {
        Way(self.0, self.1)
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .take(160)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// In a process of its own, so that a way that kills its process is a way like others. Ten seconds at most.
fn apart(way: &Way, facts: &Facts) -> Verdict {
    let mut ends = [0; 2];
    // SAFETY: the array is as the call wants it; the descriptors are owned by the two files from here on; there is one
    // thread, so the child may do anything
    let (mut ours, pid) = unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        let pid = libc::fork();
        if pid == 0 {
            libc::close(ends[0]);
            libc::alarm(10);
            let mut theirs = File::from_raw_fd(ends[1]);
            let text = match (way.1)(facts) {
                Ok(got) => format!("+{got}"),
                Err(why) => format!("-{why}"),
            };
            let _ = theirs.write_all(text.as_bytes());
            libc::_exit(0);
        }
        libc::close(ends[1]);
        (File::from_raw_fd(ends[0]), pid)
    };
    if pid < 0 {
        return Err("no process to try it in".into());
    }
    let mut text = String::new();
    let _ = ours.read_to_string(&mut text);
    let mut status = 0;
    // SAFETY: the number outlives the call
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    match text.split_at_checked(1) {
        Some(("+", got)) => Ok(got.to_owned()),
        Some((_, why)) => Err(why.to_owned()),
        None => Err(format!("its process ended, status {status:#x}")),
    }
}

/// What the last call of the system said.
pub fn last() -> String {
    std::io::Error::last_os_error().to_string()
}

/// A call that must fail: what it gave is the gain.
pub fn refused(result: libc::c_long) -> Verdict {
    if result < 0 {
        Err(last())
    } else {
        Ok(format!("the call gave {result}"))
    }
}

/// Several tries; the first that gains ends them, else the last refusal counts.
pub fn any<T>(of: impl IntoIterator<Item = T>, mut each: impl FnMut(T) -> Verdict) -> Verdict {
    let mut last = Err("nothing of the kind is there".to_owned());
    for one in of {
        last = each(one);
        if last.is_ok() {
            return last;
        }
    }
    last
}

/// A result of the library: its success is the gain.
pub fn gained<T>(r: std::io::Result<T>, what: &str) -> Verdict {
    match r {
        Ok(_) => Ok(what.to_owned()),
        Err(e) => Err(e.to_string()),
    }
}
