//! Covers what `/proc` and `/etc` tell about the host and its keepers. The same places as container engines cover.

use crate::{
    call::Why,
    mounts::{self, Access, OLD},
};
use nix::mount::{MsFlags, mount};
use std::{io, path::Path};

/// Files that are empty inside: the kernel's memory, keys, timers and addresses, and the host's passwords.
const EMPTY_FILES: [&str; 16] = [
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kpagecount",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/vmallocinfo",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
];

/// Folders that are empty inside: hardware, who may become whom, and the settings of the agent, which may hold secrets of
/// builds.
const EMPTY_FOLDERS: [&str; 6] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/dynamic_debug",
    "/proc/scsi",
    "/etc/hokku",
    "/etc/sudoers.d",
];

/// What may be read only: the host's settings, and orders to it.
const READ_ONLY: [&str; 6] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/driver",
];

/// Covers them. To be called in the new root, with `/proc` and `/etc` mounted and the host's tree still at [`OLD`].
///
/// # Errors
/// The kernel refuses a mount; the text says where.
pub fn cover() -> Result<(), String> {
    let null = format!("{OLD}/dev/null");
    let none = None::<&str>;
    for at in EMPTY_FILES.map(Path::new) {
        if at.symlink_metadata().is_ok_and(|m| m.is_file()) {
            mount(Some(&*null), at, none, MsFlags::MS_BIND, none)
                .why(|| format!("can't cover {}", at.display()))?;
        }
    }
    for at in EMPTY_FOLDERS.map(Path::new) {
        if at.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            mounts::memory(at, "mode=0555,size=4k,ro")?;
        }
    }
    for at in READ_ONLY.map(Path::new) {
        if at.symlink_metadata().is_ok() {
            read_only(at).why(|| format!("can't protect {}", at.display()))?;
        }
    }
    Ok(())
}

fn read_only(at: &Path) -> io::Result<()> {
    let none = None::<&str>;
    mount(Some(at), at, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
    mounts::restrict(at, Access::Read)
}
