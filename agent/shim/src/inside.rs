//! The processes inside the dyno: finding, signalling and reaping them, and what they listen on.

use hokku_model::{dyno::Exit, shim::Isolation};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// How often a session is looked through for what was born while it was killed.
const MOST_LOOKS: usize = 100;

/// All processes that came from the one this shim started.
pub struct Inside {
    plain: bool,
}

impl Inside {
    /// With walls the shim is PID 1 of a namespace; without, it is the one that orphans are given to.
    pub fn new(isolation: Isolation) -> Inside {
        let plain = isolation == Isolation::Plain;
        if plain {
            // SAFETY: takes no pointers
            unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        }
        Inside { plain }
    }

    /// Is this one of them? Behind walls a sender of signals that is outside has the number 0.
    pub fn has(&self, pid: i32) -> bool {
        match self.plain {
            true => self.pids().contains(&pid),
            false => pid != 0,
        }
    }

    /// Sends a signal to each of them, not to the shim.
    pub fn signal(&self, signal: i32) {
        if self.plain {
            for pid in self.pids() {
                // SAFETY: takes no pointers. The pid was a descendant's a moment ago; without walls nothing holds on to it
                unsafe { libc::kill(pid, signal) };
            }
        } else {
            // SAFETY: takes no pointers; for PID 1 of a namespace "all" ends at its walls
            unsafe { libc::kill(-1, signal) };
        }
    }

    /// Kills them all. A process that forks just now may be missed without walls: call again until nobody is left.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Sends a signal to each process of a session that a child of the shim leads. SIGKILL is sent until nobody is left,
    /// because one may be born while the others are looked up.
    pub fn signal_session(&self, leader: i32, signal: i32) {
        for _ in 0..MOST_LOOKS {
            let mut members = self.pids();
            members.retain(|p| session(*p) == Some(leader));
            for pid in &members {
                // SAFETY: takes no pointers. The leader was not waited for, so neither its number nor the session's is
                // reused
                unsafe { libc::kill(*pid, signal) };
            }
            if members.is_empty() || signal != libc::SIGKILL {
                return;
            }
        }
    }

    /// Takes the exit status of each child that ended. Gives them, with their pids, and whether children are left.
    pub fn reap(&self) -> (Vec<(i32, Exit)>, bool) {
        let mut ended = Vec::new();
        loop {
            let mut status = 0;
            // SAFETY: `status` outlives the call
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
            match pid {
                0 => return (ended, true),
                // SAFETY: reads a number of this thread's
                p if p < 0 && unsafe { *libc::__errno_location() } == libc::EINTR => {}
                p if p < 0 => return (ended, false),
                p if libc::WIFSIGNALED(status) => {
                    ended.push((p, Exit::Signal(libc::WTERMSIG(status))));
                }
                p if libc::WIFEXITED(status) => {
                    ended.push((p, Exit::Code(libc::WEXITSTATUS(status))));
                }
                _ => {}
            }
        }
    }

    /// Their pids, as this process sees them.
    pub fn pids(&self) -> Vec<i32> {
        let all = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.parse().ok());
        if !self.plain {
            return all.filter(|p: &i32| *p != 1).collect();
        }
        let parents: BTreeMap<i32, i32> = all.filter_map(|p| Some((p, parent(p)?))).collect();
        // SAFETY: takes nothing
        let me = unsafe { libc::getpid() };
        descendants(&parents, me)
    }

    /// The TCP ports on which one of them listens.
    pub fn listening(&self) -> Vec<u16> {
        let mut sockets = BTreeMap::new();
        for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            sockets.extend(listeners(&fs::read_to_string(table).unwrap_or_default()));
        }
        let mut ports = BTreeSet::new();
        for pid in self.pids() {
            let dir = format!("/proc/{pid}/fd");
            for fd in fs::read_dir(dir).into_iter().flatten().flatten() {
                if let Some(port) = inode(&fd.path()).and_then(|i| sockets.get(&i)) {
                    ports.insert(*port);
                }
            }
        }
        ports.into_iter().collect()
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    // a zombie can't be signalled and has no children any more
    let state = words.next()?;
    (state != "Z").then(|| words.next()?.parse().ok()).flatten()
}

/// Field 6 of `/proc/<pid>/stat`; `None` for one that has ended.
fn session(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = words.next()?;
    let ended = ["Z", "X"].contains(&state);
    (!ended).then(|| words.nth(2)?.parse().ok()).flatten()
}

fn descendants(parents: &BTreeMap<i32, i32>, of: i32) -> Vec<i32> {
    let mut found = vec![of];
    let mut i = 0;
    while i < found.len() {
        let p = found[i];
        let children = parents.iter().filter(|(c, par)| **par == p && **c != of);
        found.extend(children.map(|(c, _)| *c));
        i += 1;
    }
    found.split_off(1)
}

/// Inode and port of each listening socket in a table of `/proc/net`.
fn listeners(table: &str) -> Vec<(u64, u16)> {
    let line = |l: &str| {
        let mut words = l.split_ascii_whitespace();
        let local = words.nth(1)?;
        let state = words.nth(1)?;
        let inode = words.nth(5)?.parse().ok()?;
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == "0A").then_some((inode, port))
    };
    table.lines().skip(1).filter_map(line).collect()
}

fn inode(fd: &Path) -> Option<u64> {
    let to = fs::read_link(fd).ok()?;
    let text = to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_of_a_table() {
        let t = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3456 1 000 100 0 0 10 0\n\
   1: 0100007F:1388 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3457 1 000 20 4 30 10 -1\n\
   2: 00000000000000000000000000000000:01BB 0:0000 0A 0:0 00:0 0 1000 0 99 1 0\n\
   3: torn";
        assert_eq!(listeners(t), [(3456, 5000), (99, 443)]);
    }

    #[test]
    fn a_family_tree() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (1, 0), (7, 9)].into();
        assert_eq!(descendants(&parents, 2), [3, 4]);
        assert_eq!(descendants(&parents, 1), [2, 5, 3, 6, 4]);
    }
}
