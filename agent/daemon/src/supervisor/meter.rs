//! What one dyno uses, looked at now and then: memory for R14, and what the kernel does not hold it to by itself.

use super::{Fact, Supervisor, folder};
use crate::sys::{
    cgroup::{self, Caps, Group, Kind},
    disk, proc,
};
use hokku_model::{DynoId, dyno::Exit, limits::Quota};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often memory is looked at where the kernel holds the hard limit, and where it does not.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_CLOSELY: Duration = Duration::from_millis(500);

/// How often a dyno over its soft limit is reported, as Heroku does.
const REPEAT: Duration = Duration::from_secs(20);

/// The least pause between two looks at the scratch disk; it is longer where a look takes long.
const LOOK_AT_DISK: Duration = Duration::from_secs(2);

/// A look at the disk takes at most one part in this many of the time.
const DISK_SHARE: u32 = 20;

/// Processes and threads of a dyno without a limit of its own: what a fork bomb comes to.
const MOST_PIDS: u64 = 8192;

/// The first look for the most memory; the pauses double up to [`LOOK`].
const FIRST_LOOK_FOR_PEAK: Duration = Duration::from_millis(50);

/// The folders that what a dyno writes is in.
const SCRATCH: [&str; 4] = ["upper", "copy", "tmp", "vartmp"];

/// Why a dyno was killed by its meter; set before it is.
pub type Cause = Arc<OnceLock<Exit>>;

/// The cgroup for a new dyno; `None` where there is none to be had.
pub fn group(dyno: DynoId, quota: &Quota) -> Option<Group> {
    let caps = Caps {
        memory: quota.memory,
        cpu: quota.cpu,
        cpu_weight: quota.cpu_weight,
        io_weight: None,
        pids: Some(quota.pids.unwrap_or(MOST_PIDS)),
    };
    cgroup::make(Kind::Dyno, &dyno.to_string(), &caps)
}

/// Looks until it is dropped. `pid` is the shim's.
pub async fn run(owner: Supervisor, dyno: DynoId, quota: Quota, pid: i32, cause: Cause) {
    let group = cgroup::existing(Kind::Dyno, &dyno.to_string());
    let dir = owner.folder(dyno);
    tokio::join!(
        memory(&owner, dyno, &quota, pid, group, &cause),
        disk(&owner, dyno, quota.disk, dir, &cause),
    );
}

async fn memory(
    owner: &Supervisor,
    dyno: DynoId,
    quota: &Quota,
    pid: i32,
    group: Option<Group>,
    cause: &Cause,
) {
    let Some(soft) = quota.memory_soft.or(quota.memory) else {
        return;
    };
    let held = group.as_ref().is_some_and(|g| g.memory().is_some());
    let pause = if held { LOOK } else { LOOK_CLOSELY };
    let mut reported: Option<Instant> = None;
    loop {
        sleep(pause).await;
        let used = match group.as_ref().and_then(Group::memory) {
            Some(used) => used,
            None => {
                let look = move || proc::memory_of_dyno(pid, soft);
                tokio::task::spawn_blocking(look).await.unwrap_or(0)
            }
        };
        if let Some(most) = quota.memory.filter(|most| !held && used > *most) {
            let _ = cause.set(Exit::Memory(most));
            owner.report(Fact::OverMemory { dyno, used, soft }).await;
            owner.kill(dyno);
            return;
        }
        if used <= soft {
            // at once when it comes again, unless it goes up and down all the time
            reported = reported.filter(|t| t.elapsed() < REPEAT);
        } else if reported.is_none_or(|t| t.elapsed() >= REPEAT) {
            reported = Some(Instant::now());
            if !owner.report(Fact::OverMemory { dyno, used, soft }).await {
                return;
            }
        }
    }
}

async fn disk(owner: &Supervisor, dyno: DynoId, most: Option<u64>, dir: PathBuf, cause: &Cause) {
    let Some(most) = most else { return };
    let mut pause = LOOK_AT_DISK;
    loop {
        sleep(pause).await;
        let dir = dir.clone();
        let look = move || {
            let began = std::time::Instant::now();
            let used: u64 = SCRATCH.iter().map(|n| disk::usage(&dir.join(n))).sum();
            (used, began.elapsed())
        };
        let Ok((used, took)) = tokio::task::spawn_blocking(look).await else {
            return;
        };
        if used > most {
            let _ = cause.set(Exit::Disk(most));
            owner.kill(dyno);
            return;
        }
        pause = LOOK_AT_DISK.max(took * DISK_SHARE);
    }
}

/// The most bytes of memory that were seen in use.
pub type Peak = Arc<AtomicU64>;

/// Looks at the memory of a dyno until it is dropped, where the kernel does not keep the most itself.
pub async fn peak(owner: Supervisor, dyno: DynoId, pid: i32, peak: Peak) {
    let dir = owner.folder(dyno);
    // an agent before this one may have seen more
    peak.fetch_max(folder::peak(&dir).unwrap_or(0), Ordering::Relaxed);
    let group = cgroup::existing(Kind::Dyno, &dyno.to_string());
    if group.is_some_and(|g| g.peak().is_some()) {
        return;
    }
    let mut pause = FIRST_LOOK_FOR_PEAK;
    loop {
        sleep(pause).await;
        let look = move || proc::memory_of_dyno(pid, 0);
        let used = tokio::task::spawn_blocking(look).await.unwrap_or(0);
        peak.fetch_max(used, Ordering::Relaxed);
        pause = (pause * 2).min(LOOK);
    }
}

/// Keeps it beside the dyno, for whoever writes its history.
pub fn write_peak(dir: &Path, dyno: DynoId, seen: &Peak) {
    let group = cgroup::existing(Kind::Dyno, &dyno.to_string());
    let most = group.and_then(|g| g.peak()).unwrap_or(0);
    folder::write_peak(dir, most.max(seen.load(Ordering::Relaxed)));
}

/// How it really ended: the shim sees a signal, and the meter or the kernel's counters know why.
pub fn explain(exit: Exit, dyno: DynoId, quota: &Quota, cause: &Cause) -> Exit {
    let killed = matches!(exit, Exit::Signal(libc::SIGKILL) | Exit::Lost);
    match cause.get() {
        Some(known) if killed => *known,
        _ if killed => match cgroup::existing(Kind::Dyno, &dyno.to_string()) {
            Some(group) if group.out_of_memory() => Exit::Memory(quota.memory.unwrap_or(0)),
            _ => exit,
        },
        _ => exit,
    }
}

/// Nothing lingers: what may be left inside is killed, and the group removed.
pub async fn end(dyno: DynoId) {
    let Some(group) = cgroup::existing(Kind::Dyno, &dyno.to_string()) else {
        return;
    };
    let _ = tokio::task::spawn_blocking(move || group.remove()).await;
}
