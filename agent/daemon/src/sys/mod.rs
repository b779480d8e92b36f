//! The ground: what the operating system gives, and its shapes.
//!
//! What it does: journald, processes by number, shims, ports, what this host can do.
//! What it never does: know of apps or releases, decide anything. Who calls it: every room of the daemon.
//! Where its tests are: beside the code.

pub mod fault;
pub mod journal;
pub mod proc;
pub mod shim;
pub mod stop;
