//! The ground: what the operating system gives, and its shapes.
//!
//! What it does: starts and finds shims (`shim`), runs commands through them (`exec`), tries which walls can be had here (`detect`), picks free ports
//! (`ports`), holds on to processes (`process`, `proc`), writes files that are whole or absent (`disk`), journald.
//! What it never does: know of apps or releases, decide anything. Who calls it: every room of the daemon.
//! Where its tests are: beside the code; `shim` and `detect` are tested with real shims, also by `supervisor`.

pub mod boot;
pub mod cgroup;
pub mod clock;
pub mod detect;
pub mod disk;
pub mod exec;
pub mod fault;
pub mod fence;
pub mod journal;
pub mod memory;
pub mod ports;
pub mod proc;
pub mod process;
pub mod shim;
pub mod stop;
pub mod watchdog;

#[cfg(test)]
pub(crate) mod testing;
