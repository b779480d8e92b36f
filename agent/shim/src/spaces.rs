//! Entering new namespaces.

use crate::call::Why;
use hokku_model::shim::{Isolation, ShimSpec};
use nix::sched::{CloneFlags, unshare};
use std::fs;

/// Moves this process into new namespaces; its next child is PID 1 of the new PID namespace. In a user namespace the
/// caller keeps its own user and group id, so that files of the agent's user stay its own.
///
/// # Errors
/// The kernel or its settings refuse.
pub fn enter(spec: &ShimSpec) -> Result<(), String> {
    let four = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    match spec.isolation {
        Isolation::Plain => return Ok(()),
        Isolation::Root { .. } => unshare(four).why(|| {
            "can't make namespaces (root without CAP_SYS_ADMIN, as in a container?)".into()
        })?,
        Isolation::Userns => {
            let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
            unshare(four | CloneFlags::CLONE_NEWUSER).why(|| {
                "can't make a user namespace (sysctl user.max_user_namespaces, \
                 kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns)"
                    .into()
            })?;
            for (file, text) in [
                ("setgroups", "deny".to_owned()),
                ("uid_map", format!("{uid} {uid} 1")),
                ("gid_map", format!("{gid} {gid} 1")),
            ] {
                fs::write(format!("/proc/self/{file}"), text)
                    .why(|| format!("can't set /proc/self/{file} of the new user namespace"))?;
            }
        }
    }
    nix::unistd::sethostname(&spec.hostname)
        .why(|| format!("can't set the host name {:?}", spec.hostname))
}
