//! Landlock, for what namespaces do not keep apart: the network is shared, so abstract Unix sockets of the host and of
//! other apps would be in reach; without walls, so would signals to the agent and its memory.
//!
//! A process in a scope reaches its own kind and what was started from there, so debuggers inside a dyno work. The shim
//! enters it, before the dyno's process is there: what is run inside later (`exec`) is in the same scope then, and no
//! process could enter that of another. No right on
//! files is handled: that is what mounts are for. Source: landlock(7), linux/landlock.h.

use crate::call;
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Rules {
    files: u64,
    network: u64,
    scoped: u64,
}

/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL.
const ABSTRACT_AND_SIGNALS: u64 = 0b11;

/// LANDLOCK_CREATE_RULESET_VERSION.
const VERSION: u32 = 1;

/// The version of Landlock that has scopes, of kernel 6.12.
const WITH_SCOPES: i64 = 6;

/// Does this kernel have scopes?
pub fn available() -> bool {
    // SAFETY: asks for the version, which takes no pointer
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<Rules>(),
            0usize,
            VERSION,
        )
    };
    version >= WITH_SCOPES
}

/// Puts this process into a scope of its own for good; new rights have to be refused before.
///
/// # Errors
/// The kernel refuses.
pub fn enter() -> io::Result<()> {
    let rules = Rules {
        files: 0,
        network: 0,
        scoped: ABSTRACT_AND_SIGNALS,
    };
    // SAFETY: pointer and size are those of `rules`; the result is a new descriptor that nobody else owns
    let fd = unsafe {
        let fd = call::check(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const rules,
            size_of::<Rules>(),
            0,
        ))?;
        OwnedFd::from_raw_fd(fd as RawFd)
    };
    // SAFETY: takes no pointers
    let r = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fd.as_raw_fd(), 0) };
    call::check(r).map(drop)
}
