//! Processes named beyond doubt: a pid alone may have been given to somebody else.

use super::proc;
use hokku_model::shim::ShimPid;
use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};
use tokio::io::{Interest, unix::AsyncFd};

/// A process that is held on to: its pid can't be mistaken while this exists.
#[derive(Debug)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    fd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Takes hold of the process, if it is still the one that was written down: same boot, same pid, same start.
    /// `None` when it is gone (a zombie is).
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn find(who: &ShimPid) -> io::Result<Option<Process>> {
        if fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim() != who.boot_id {
            return Ok(None);
        }
        // SAFETY: takes no pointers; a non-negative result is a new descriptor that nobody else owns
        let fd = unsafe {
            match libc::syscall(libc::SYS_pidfd_open, who.pid, 0) {
                n if n >= 0 => OwnedFd::from_raw_fd(n as i32),
                _ => {
                    let e = io::Error::last_os_error();
                    return match e.raw_os_error() {
                        Some(libc::ESRCH | libc::EINVAL) => Ok(None),
                        _ => Err(e),
                    };
                }
            }
        };
        // looked at only now: the descriptor names whoever has the pid, and from here on nobody else can get it
        if proc::is_gone(who.pid) || proc::start_ticks(who.pid) != Some(who.start_ticks) {
            return Ok(None);
        }
        // SAFETY: the descriptor is owned by what is registered and stays the same as long as that lives
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
        Ok(Some(Process { pid: who.pid, fd }))
    }

    /// Waits until it is gone. For the first process of a PID namespace that means: with all that was inside.
    pub async fn gone(&self) {
        // an error would mean that the descriptor can't be watched: then nothing can be waited for
        let _ = self.fd.readable().await;
    }

    /// SIGKILL; nothing happens when it is gone.
    pub fn kill(&self) {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null pointer stands for the usual kind of signal
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                libc::SIGKILL,
                none,
                0,
            );
        }
    }
}

/// Kills every process of this user that has `key=value` in its environment, until none is left (at most 100 rounds).
/// For dynos without walls whose shim is gone: nothing else tells which processes were theirs.
pub fn kill_marked(key: &str, value: &str) {
    let mark = format!("{key}={value}");
    for _ in 0..100 {
        let mut found = false;
        for pid in fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        {
            let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else {
                continue;
            };
            if environ.split(|b| *b == 0).any(|v| v == mark.as_bytes()) {
                found = true;
                // SAFETY: takes no pointers
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        if !found {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(pid: i32) -> ShimPid {
        ShimPid {
            pid,
            start_ticks: proc::start_ticks(pid).unwrap(),
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .unwrap()
                .trim()
                .to_owned(),
        }
    }

    #[tokio::test]
    async fn a_pid_that_was_given_to_somebody_else_is_not_the_process() {
        let me = who(std::process::id() as i32);
        assert!(Process::find(&me).unwrap().is_some());
        let reused = ShimPid {
            start_ticks: me.start_ticks - 1,
            ..me.clone()
        };
        assert!(Process::find(&reused).unwrap().is_none());
        let rebooted = ShimPid {
            boot_id: "00000000-0000-0000-0000-000000000000".into(),
            ..me.clone()
        };
        assert!(Process::find(&rebooted).unwrap().is_none());
        assert!(
            Process::find(&ShimPid {
                pid: i32::MAX,
                ..me.clone()
            })
            .unwrap()
            .is_none()
        );
        assert!(Process::find(&ShimPid { pid: 0, ..me }).unwrap().is_none());
    }

    #[tokio::test]
    async fn an_end_is_noticed_and_a_zombie_is_gone() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let w = who(child.id() as i32);
        let p = Process::find(&w).unwrap().unwrap();
        p.kill();
        p.gone().await;
        assert!(Process::find(&w).unwrap().is_none(), "not reaped yet");
        child.wait().unwrap();
    }

    #[test]
    fn marked_processes_are_killed_and_no_others() {
        let run = |v: &str| {
            std::process::Command::new("sleep")
                .arg("1000")
                .env("HOKKU_TEST_MARK", v)
                .spawn()
                .unwrap()
        };
        let id = std::process::id();
        let (mut a, mut b) = (run(&format!("one{id}")), run(&format!("one{id}0")));
        kill_marked_reaping(&format!("one{id}"), &mut a);
        assert!(b.try_wait().unwrap().is_none());
        b.kill().unwrap();
        b.wait().unwrap();
    }

    fn kill_marked_reaping(v: &str, child: &mut std::process::Child) {
        kill_marked("HOKKU_TEST_MARK", v);
        assert!(!child.wait().unwrap().success());
    }
}
