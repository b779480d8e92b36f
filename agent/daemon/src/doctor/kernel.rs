//! What the kernel and the machine give.

use super::{Check, Ground};
use crate::sys;
use std::{fs, path::PathBuf};

pub(super) fn root(g: &Ground) -> Check {
    if g.root {
        return Check::ok(
            "root",
            "This runs as root, so that everything can be looked at.",
        );
    }
    Check::warn(
        "root",
        "hokkud doctor does not run as root: ports, walls and the data folder may look worse than they are.",
        "sudo hokkud doctor",
    )
}

/// The users of apps are nobody else's.
pub(super) fn users(g: &Ground) -> Check {
    let first = u64::from(g.config.first_uid);
    // as many as the fence foresees
    let last = first + 9_999;
    for file in ["/etc/subuid", "/etc/subgid"] {
        if let Some(who) = overlap(&fs::read_to_string(file).unwrap_or_default(), first, last) {
            return Check::warn(
                "users",
                format!(
                    "Apps get the user ids from {first} on, and {file} gives ids of these to {who}: its containers would be the same users as apps."
                ),
                "Set first_uid in /etc/hokku/hokku.toml to a free range, such as 1500000000, before the first app is made; or change that line.",
            );
        }
    }
    let taken = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some(who) = holder(&taken, first, last) {
        return Check::fail(
            "users",
            format!("Apps get the user ids from {first} on, and the user {who} has one of these."),
            "Set first_uid in /etc/hokku/hokku.toml to where nobody is, and restart hokkud.",
        );
    }
    let mut needed = vec![];
    if !g.config.spawn_router {
        needed.push("hokku-router");
    }
    needed.extend(g.config.git_user.as_deref());
    let missing: Vec<_> = needed
        .iter()
        .filter(|n| !matches!(nix::unistd::User::from_name(n), Ok(Some(_))))
        .copied()
        .collect();
    if missing.is_empty() {
        return Check::ok(
            "users",
            format!("The user ids from {first} on are free for apps."),
        );
    }
    Check::fail(
        "users",
        format!("There is no user {}.", missing.join(" and no user ")),
        "systemd-sysusers hokku.conf",
    )
}

/// Whose range of `/etc/subuid` (`name:first:count`) overlaps.
fn overlap(text: &str, first: u64, last: u64) -> Option<String> {
    text.lines().find_map(|l| {
        let mut parts = l.trim().split(':');
        let who = parts.next()?;
        let from: u64 = parts.next()?.parse().ok()?;
        let count: u64 = parts.next()?.parse().ok()?;
        (from <= last && first < from.saturating_add(count)).then(|| who.to_owned())
    })
}

/// Who of `/etc/passwd` has an id in the range.
fn holder(text: &str, first: u64, last: u64) -> Option<String> {
    text.lines().find_map(|l| {
        let mut parts = l.split(':');
        let who = parts.next()?;
        let id: u64 = parts.nth(1)?.parse().ok()?;
        (first..=last).contains(&id).then(|| who.to_owned())
    })
}

/// A real first dyno is started in each kind of walls.
pub(super) fn walls(g: &Ground, shim: anyhow::Result<PathBuf>) -> anyhow::Result<Check> {
    let shim = match shim {
        Ok(shim) => shim,
        Err(e) => {
            return Ok(Check::fail(
                "walls",
                super::sentence(&format!("{e:#}")),
                "apt-get install --reinstall hokku",
            ));
        }
    };
    let scratch = g
        .config
        .data_dir
        .join("run")
        .join(format!("doctor-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(sys::detect::detect(&shim, &scratch, g.config.first_uid));
    let fix = "As root on a kernel with namespaces and overlayfs (Debian's has both; a container may not): see man hokkud.";
    Ok(match found {
        Err(e) => Check::fail("walls", format!("No dyno can be started here: {e:#}."), fix),
        Ok(c) if c.walls == sys::detect::Walls::Plain => {
            Check::fail("walls", c.notices.join(" "), fix)
        }
        Ok(c) if !c.notices.is_empty() => Check::warn("walls", c.notices.join(" "), fix),
        Ok(_) => Check::ok(
            "walls",
            "A dyno was started behind namespaces of its own, as a user of its own, on an overlay.",
        ),
    })
}

pub(super) fn landlock() -> Check {
    // SAFETY: asks for the version, which takes no pointer
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0usize,
            1u32,
        )
    };
    if version >= 6 {
        return Check::ok(
            "landlock",
            format!("Landlock has version {version}: abstract Unix sockets are kept apart."),
        );
    }
    let has = match version {
        ..=0 => "This host has no Landlock, or a container keeps it away".to_owned(),
        n => format!("Landlock has version {n} here, scopes came with 6"),
    };
    Check::warn(
        "landlock",
        format!("{has}: apps reach abstract Unix sockets of the host and of each other."),
        "Boot Linux 6.12 or newer (Debian 13, or bookworm-backports) with landlock among the modules of security.",
    )
}

pub(super) fn cgroups(g: &Ground) -> Check {
    let fix = "Boot with cgroups of version 2 and all their controllers (systemd.unified_cgroup_hierarchy=1; a container has to be given them), then: systemctl restart hokku-dynos hokkud";
    let notices = match &g.status {
        // the agent found it out when it settled there
        Ok(status) => status
            .notices
            .iter()
            .filter(|n| n.contains("cgroup"))
            .cloned()
            .collect(),
        Err(_) => sys::cgroup::missing(),
    };
    match notices.is_empty() {
        true => Check::ok(
            "cgroups",
            "The kernel holds dynos to their limits: memory, cpu, pids and io are delegated.",
        ),
        false => Check::warn("cgroups", notices.join(" "), fix),
    }
}

pub(super) fn swap() -> Check {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| kib(&text, name).unwrap_or(0) >> 10;
    let (memory, swap) = (of("MemTotal:"), of("SwapTotal:"));
    if swap == 0 && memory < 2048 {
        return Check::warn(
            "swap",
            format!(
                "This machine has {memory} MB of memory and no swap: a build beside the running apps may be killed."
            ),
            "fallocate -l 2G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile, and a line in /etc/fstab",
        );
    }
    Check::ok("swap", format!("{memory} MB of memory, {swap} MB of swap."))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// STA_UNSYNC of adjtimex(2).
const UNSYNC: i32 = 0x40;

pub(super) fn clock() -> Check {
    // SAFETY: all zeroes is a valid timex, and modes = 0 only reads
    let (r, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if r >= 0 && timex.status & UNSYNC == 0 {
        return Check::ok("clock", "The clock is kept by a time server.");
    }
    Check::warn(
        "clock",
        "Nothing keeps the clock right: certificates can't be got or checked once it is wrong.",
        "apt-get install systemd-timesyncd && timedatectl set-ntp true",
    )
}

/// Enough files may be open: each connection of the router is two.
pub(super) fn files(g: &Ground) -> Check {
    let pid = fs::read_to_string(g.config.data_dir.join("run/hokkud.pid")).unwrap_or_default();
    let pid: Option<u32> = pid.trim().parse().ok().filter(|_| g.status.is_ok());
    let Some(limits) = pid.and_then(|p| fs::read_to_string(format!("/proc/{p}/limits")).ok())
    else {
        return Check::ok(
            "files",
            "How many files the agent may open is seen once it runs.",
        );
    };
    match open_files(&limits) {
        Some(n) if n < 65_536 => Check::warn(
            "files",
            format!("The agent, and so every dyno, may open {n} files at most."),
            "Start it as hokkud.service, which asks for 1048576; where that gets less, raise fs.nr_open or the limit of the container.",
        ),
        Some(n) => Check::ok(
            "files",
            format!("The agent and its dynos may open {n} files."),
        ),
        None => Check::ok(
            "files",
            "The agent and its dynos may open as many files as they like.",
        ),
    }
}

/// The hard limit in `/proc/<pid>/limits`.
fn open_files(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_system() {
        let subuid = "ann:100000:65536\nbob:165536:65536\n";
        assert_eq!(overlap(subuid, 200_000, 209_999).as_deref(), Some("bob"));
        assert_eq!(overlap(subuid, 300_000, 309_999), None);
        assert_eq!(overlap("x:199999:1\nbroken\n", 200_000, 209_999), None);
        assert_eq!(
            overlap("x:199999:2", 200_000, 209_999).as_deref(),
            Some("x")
        );
        let passwd = "root:x:0:0::/:/bin/sh\nappy:x:200001:1::/:/bin/sh\n";
        assert_eq!(holder(passwd, 200_000, 209_999).as_deref(), Some("appy"));
        assert_eq!(
            kib("MemTotal:  2048 kB\nSwapTotal: 0 kB", "SwapTotal:"),
            Some(0)
        );
        assert_eq!(
            open_files(
                "Max open files            1024                 524288               files\n"
            ),
            Some(524_288)
        );
    }
}
