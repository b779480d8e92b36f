//! The cgroup that the dyno's processes are born in, and the shim's own place beside it.

use crate::call::{self, Why};
use hokku_model::shim::ShimSpec;
use std::{fs::File, io::Write, path::Path};

/// The dyno's `cgroup.procs`, opened while the host is still in sight: what may be written there is decided by who
/// opened it.
pub struct Cradle(File);

/// Opens the cgroup of the order, if there is one, and moves this process out of the agent's group: it is to outlive the
/// agent, and not to be counted or killed with what is inside.
///
/// # Errors
/// The groups are not there, or the kernel refuses.
pub fn open(spec: &ShimSpec) -> Result<Option<Cradle>, String> {
    let Some(group) = &spec.limits.cgroup else {
        return Ok(None);
    };
    let procs = |dir: &Path| {
        let path = dir.join("cgroup.procs");
        call::open(&path, libc::O_WRONLY)
            .map(File::from)
            .why(|| format!("can't open {}", path.display()))
    };
    let cradle = Cradle(procs(group)?);
    if let Some(top) = group.parent().and_then(Path::parent) {
        Cradle(procs(&top.join("shims"))?)
            .enter()
            .why(|| format!("can't enter {}/shims", top.display()))?;
    }
    Ok(Some(cradle))
}

impl Cradle {
    /// Moves the calling process in.
    ///
    /// # Errors
    /// The kernel refuses: the group is gone.
    pub fn enter(&self) -> std::io::Result<()> {
        (&self.0).write_all(b"0")
    }
}
