//! Processes by number: told apart from later ones that got the same number.

use hokku_model::shim::ShimPid;

/// Is the process still the one that was written down? A number alone may have been given to another process.
pub fn is_alive(shim: &ShimPid) -> bool {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim() == shim.boot_id && start_ticks(shim.pid) == Some(shim.start_ticks)
}

/// Is there no process of this number, or only a zombie?
pub fn is_gone(pid: i32) -> bool {
    stat(pid).is_none_or(|fields| matches!(fields.first().map(String::as_str), Some("Z" | "X")))
}

/// Field 22 of `/proc/<pid>/stat`: clock ticks from boot to the process's start.
pub fn start_ticks(pid: i32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// Bytes of memory of a process and everything that came from it. Pages that several of them share are counted once
/// for each.
pub fn memory_of_family(pid: i32) -> u64 {
    family(pid).into_iter().filter_map(resident).sum()
}

/// Bytes of memory of what came from a shim, without the shim. Above `enough` pages that several processes share are
/// counted once (PSS), which takes the kernel longer to say.
pub fn memory_of_dyno(shim: i32, enough: u64) -> u64 {
    let inside = &family(shim)[1..];
    let most: u64 = inside.iter().copied().filter_map(resident).sum();
    if most <= enough {
        return most;
    }
    inside.iter().map(|p| share(*p)).sum()
}

/// Microseconds of CPU time that what came from a shim has used, without the shim; what ended before counts as far as
/// its parent is still there.
pub fn cpu_of_dyno(shim: i32) -> u64 {
    let ticks = |pid: &i32| -> u64 {
        let fields = stat(*pid).unwrap_or_default();
        // utime, stime, cutime, cstime
        let of = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok());
        (11..=14).filter_map(of).sum()
    };
    let all: u64 = family(shim)[1..].iter().map(ticks).sum();
    // SAFETY: sysconf only reads.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    all * (1_000_000 / u64::try_from(per_second.max(1)).unwrap_or(100))
}

/// Bytes of memory that can be had without swapping.
pub fn memory_available() -> u64 {
    meminfo("MemAvailable:").unwrap_or(0)
}

/// The process, then its children, and theirs.
fn family(pid: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(|p| Some((p, stat(p)?.get(1)?.parse().ok()?)))
        .collect();
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == parent)
                .map(|(c, _)| *c),
        );
        at += 1;
    }
    family
}

/// Bytes of the machine's memory.
pub fn memory_of_machine() -> u64 {
    meminfo("MemTotal:").unwrap_or(u64::MAX)
}

fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn resident(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The process's share of anonymous and shared memory, and of swap.
fn share(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
    };
    let kib: u64 = ["Pss_Anon:", "Pss_Shmem:", "SwapPss:"]
        .into_iter()
        .filter_map(of)
        .sum();
    kib * 1024
}

/// The fields from the third on; the second, the name, may hold blanks and parentheses.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(
        text.rsplit_once(')')?
            .1
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    #[test]
    fn the_memory_of_children_counts() {
        let me = std::process::id() as i32;
        let before = memory_of_family(me);
        let script = "$x = 'x' x 50_000_000; $| = 1; print 1; sleep 60";
        let mut child = std::process::Command::new("sh")
            .args(["-c", "perl -e \"$1\"; true", "sh", script])
            .stdout(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let grown = memory_of_family(me) - before;
        let shell = child.id() as i32;
        let (most, shared) = (memory_of_dyno(shell, u64::MAX), memory_of_dyno(shell, 0));
        let group = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(grown > 40_000_000, "{grown}");
        assert!(most > 40_000_000 && shared > 40_000_000, "{most} {shared}");
        assert!(memory_of_machine() > 1 << 27);
    }

    #[test]
    fn a_reused_number_is_not_the_same_process() {
        let me = std::process::id() as i32;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap()
            .trim()
            .to_owned();
        let shim = ShimPid {
            pid: me,
            start_ticks: start_ticks(me).unwrap(),
            boot_id,
        };
        assert!(is_alive(&shim) && !is_gone(me));
        assert!(!is_alive(&ShimPid {
            start_ticks: shim.start_ticks + 1,
            ..shim.clone()
        }));
        assert!(!is_alive(&ShimPid {
            boot_id: "another".into(),
            ..shim
        }));
    }
}
