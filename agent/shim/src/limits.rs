//! Limits of the process that is about to be started.

use crate::call;
use hokku_model::shim::{Isolation, Limits};

/// How much sooner than other processes a dyno is killed when the machine runs out of memory.
const OOM_SCORE: &str = "500";

/// The same for what has less than a dyno's weight, such as a build: it goes before anything that serves.
const OOM_SCORE_OF_LESSER: &str = "900";

/// Sets them for this process. What the host does not allow is left out: none of them is a wall.
pub fn apply(limits: &Limits, isolation: Isolation) {
    if let Some(n) = limits.nofile {
        let r = libc::rlimit {
            rlim_cur: n,
            rlim_max: n,
        };
        // SAFETY: `r` outlives the call
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const r) } < 0 {
            lower_only(n);
        }
    }
    if let Some(n) = limits.file_size {
        let r = libc::rlimit {
            rlim_cur: n,
            rlim_max: n,
        };
        // SAFETY: `r` outlives the call
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const r) };
    }
    // The kernel counts the processes of a user: only where each app has its own does that say something.
    if let (Some(n), Isolation::Root { .. }) = (limits.pids, isolation) {
        let r = libc::rlimit {
            rlim_cur: n,
            rlim_max: n,
        };
        // SAFETY: `r` outlives the call
        unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const r) };
    }
    let lesser = limits.cpu_weight.filter(|w| *w < 100);
    if let Some(w) = lesser {
        // SAFETY: take no pointers; best-effort class (2), lowest level (7)
        unsafe {
            libc::setpriority(libc::PRIO_PROCESS, 0, nice(w));
            libc::syscall(libc::SYS_ioprio_set, 1, 0, (2 << 13) | 7);
        }
    }
    let score = lesser.map_or(OOM_SCORE, |_| OOM_SCORE_OF_LESSER);
    let _ = std::fs::write("/proc/self/oom_score_adj", score);
}

/// Without rights the hard limit can't be raised.
fn lower_only(n: u64) {
    let mut r = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `r` outlives both calls
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut r) == 0 {
            r.rlim_cur = n.min(r.rlim_max);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const r);
        }
    }
}

/// The nice value that comes nearest to a CPU weight below 100: each step is a quarter more or less.
fn nice(weight: u32) -> i32 {
    let mut w = f64::from(weight.max(1));
    let mut n = 0;
    while w < 100.0 && n < 19 {
        w *= 1.25;
        n += 1;
    }
    n
}

/// No `execve` gives a capability back after this. To be called while the process has any.
///
/// # Errors
/// The kernel refuses.
pub fn close_bounding_set() -> std::io::Result<()> {
    for cap in 0..64 {
        match call::prctl(libc::PR_CAPBSET_DROP, cap) {
            // the kernel knows no more capabilities
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break,
            r => r?,
        }
    }
    Ok(())
}

/// Gives up all capabilities.
///
/// # Errors
/// The kernel refuses.
pub fn drop_capabilities() -> std::io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // version 3 of the call: two blocks of effective, permitted, inheritable
    let header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    let none = [[0u32; 3]; 2];
    // SAFETY: both have the layout of version 3 and outlive the call
    call::check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_nice_values() {
        assert_eq!([1, 10, 50, 99, 100].map(nice), [19, 11, 4, 1, 0]);
    }
}
