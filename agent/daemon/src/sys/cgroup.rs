//! Cgroups, version 2: what the kernel itself holds dynos and builds to.
//!
//! systemd gives hokku a part of its tree (`Delegate=yes`): that of the unit `hokku-dynos.service`, whose one process
//! only sleeps, and which is never restarted, or, where the agent runs in a delegated group by other means, the agent's own. The
//! agent's unit would not do: an inner group can't hold processes, so that a systemd before version 254 could never start
//! the agent again beside dynos that live on. Below the delegated group:
//!
//! * `shims`: every shim. It outlives what is inside its dyno, and says how that ended
//! * `dynos/<dyno id>`, `builds/<build id>`: what is inside, and nothing else; the limits are here
//! * `rest`: what was in the delegated group itself, which can't hold processes any more: the sleeper of the unit, or the
//!   agent where the group was its own
//!
//! Where nothing is delegated, [`notices`] says what that means. Version 1 is the host's and left alone.

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// The unit whose group is used.
const UNIT: &str = "hokku-dynos.service";

/// The controllers that limits need, and what is not held without one.
const CONTROLLERS: [(&str, &str); 4] = [
    (
        "memory",
        "memory limits are held by looking at each dyno every half second, which a fast one can outrun",
    ),
    (
        "cpu",
        "CPU caps are not held, and CPU weights below 100 become nice values",
    ),
    (
        "pids",
        "the number of processes is limited per app, not per dyno",
    ),
    (
        "io",
        "builds are not held back on the disk, save by their I/O priority",
    ),
];

/// How long killed processes may take to be gone.
const VANISH: Duration = Duration::from_secs(5);

/// Found once, at the agent's start.
static GROUND: OnceLock<Found> = OnceLock::new();

#[derive(Debug, Default)]
struct Found {
    /// The delegated group.
    root: Option<PathBuf>,
    notices: Vec<String>,
}

/// Whose processes a group holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A dyno's.
    Dyno,
    /// A build's.
    Build,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Kind::Dyno => "dynos",
            Kind::Build => "builds",
        }
    }
}

/// The limits of a group; `None` is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Bytes; above, everything inside is killed.
    pub memory: Option<u64>,
    /// Thousandths of one CPU.
    pub cpu: Option<u32>,
    /// 1 to 10,000; 100 is normal.
    pub cpu_weight: Option<u32>,
    /// 1 to 10,000; 100 is normal.
    pub io_weight: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    dir: PathBuf,
}

/// Looks for a delegated group and prepares it. To be called once, before anything is started.
pub fn settle() {
    let _ = GROUND.get_or_init(|| find(Path::new("/sys/fs/cgroup")));
}

/// What this host can't hold a dyno to, in words; empty when it has everything, and before [`settle`].
pub fn notices() -> Vec<String> {
    GROUND.get().map(|f| f.notices.clone()).unwrap_or_default()
}

/// The same for who is not the agent and changes nothing: looks for the unit's group and its controllers.
pub fn missing() -> Vec<String> {
    let mount = Path::new("/sys/fs/cgroup");
    let unit = mount.join("system.slice").join(UNIT);
    if !statfs(mount).is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        return without("this host does not have cgroups of version 2 at /sys/fs/cgroup").notices;
    }
    if !is_delegated(&unit) {
        return without(&format!(
            "no cgroup is delegated to hokku (start the unit {UNIT})"
        ))
        .notices;
    }
    let there = fs::read_to_string(unit.join("cgroup.controllers")).unwrap_or_default();
    let missing = CONTROLLERS
        .iter()
        .filter(|(c, _)| !there.split_whitespace().any(|t| t == *c));
    missing
        .map(|(c, meaning)| format!("The cgroup controller {c} is not there: {meaning}."))
        .collect()
}

/// Is there a delegated group?
pub fn delegated() -> bool {
    GROUND.get().is_some_and(|f| f.root.is_some())
}

/// A new group with these limits; `None` where there is no cgroup to be had. One that can't be made is said in the log:
/// the dyno runs without.
pub fn make(kind: Kind, id: &str, caps: &Caps) -> Option<Group> {
    let root = GROUND.get()?.root.as_ref()?;
    let group = Group {
        dir: root.join(kind.folder()).join(id),
    };
    match group.create(caps) {
        Ok(()) => Some(group),
        Err(e) => {
            tracing::warn!(
                "can't make the cgroup {}, so its limits are not held by the kernel: {e}",
                group.dir.display()
            );
            group.remove();
            None
        }
    }
}

/// The group that was made for it, if it is still there.
pub fn existing(kind: Kind, id: &str) -> Option<Group> {
    let dir = GROUND.get()?.root.as_ref()?.join(kind.folder()).join(id);
    dir.is_dir().then_some(Group { dir })
}

/// Removes the groups of this kind that nobody `knows`, with what may be in them.
pub fn sweep(kind: Kind, knows: impl Fn(&str) -> bool) {
    let Some(root) = GROUND.get().and_then(|f| f.root.as_ref()) else {
        return;
    };
    let entries = fs::read_dir(root.join(kind.folder()));
    for entry in entries.into_iter().flatten().flatten() {
        let unknown = entry.file_name().to_str().is_some_and(|n| !knows(n));
        if unknown && entry.path().is_dir() {
            Group { dir: entry.path() }.remove();
        }
    }
}

impl Group {
    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn create(&self, caps: &Caps) -> io::Result<()> {
        fs::create_dir(&self.dir)?;
        self.limit(caps)
    }

    fn limit(&self, caps: &Caps) -> io::Result<()> {
        // A controller that is missing has been said once; its file is not there.
        let set = |file: &str, text: String| {
            // never made: a folder of cgroups refuses that in other words than "not found"
            let open = fs::OpenOptions::new().write(true).open(self.dir.join(file));
            match open.and_then(|mut f| f.write_all(text.as_bytes())) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(io::Error::new(e.kind(), format!("{file} = {text}: {e}")))
                }
                _ => Ok(()),
            }
        };
        if let Some(bytes) = caps.memory {
            set("memory.max", bytes.to_string())?;
            // Swap would only make the machine slow before the same end.
            set("memory.swap.max", "0".into())?;
        }
        // Half a dyno is none: when one process has to go, all of them go.
        set("memory.oom.group", "1".into())?;
        if let Some(n) = caps.cpu {
            // thousandths of 100 ms, in microseconds
            set("cpu.max", format!("{} 100000", u64::from(n) * 100))?;
        }
        if let Some(w) = caps.cpu_weight {
            set("cpu.weight", w.to_string())?;
        }
        if let Some(w) = caps.io_weight {
            set("io.weight", format!("default {w}"))?;
        }
        if let Some(n) = caps.pids {
            set("pids.max", n.to_string())?;
        }
        Ok(())
    }

    /// Bytes of memory that can't be given back at once: all that is charged, without the page cache that nobody has
    /// touched for a while. `None` where the memory controller is missing.
    pub fn memory(&self) -> Option<u64> {
        let current: u64 = self.read("memory.current")?.trim().parse().ok()?;
        let swap = self
            .read("memory.swap.current")
            .and_then(|t| t.trim().parse().ok());
        let cache = field(&self.read("memory.stat")?, "inactive_file").unwrap_or(0);
        Some(current.saturating_sub(cache) + swap.unwrap_or(0))
    }

    /// Microseconds of CPU time used so far. `None` where the kernel does not say.
    pub fn cpu(&self) -> Option<u64> {
        field(&self.read("cpu.stat")?, "usage_usec")
    }

    /// The most bytes that were ever charged; `None` where the kernel does not count it (before Linux 5.19).
    pub fn peak(&self) -> Option<u64> {
        self.read("memory.peak")?.trim().parse().ok()
    }

    /// Has the kernel killed a process of it for want of memory?
    pub fn out_of_memory(&self) -> bool {
        let events = self.read("memory.events");
        events
            .and_then(|t| field(&t, "oom_kill"))
            .is_some_and(|n| n > 0)
    }

    /// Kills everything inside, in one step where the kernel has `cgroup.kill` (Linux 5.14).
    pub fn kill(&self) {
        if fs::write(self.dir.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for pid in self.read("cgroup.procs").unwrap_or_default().lines() {
            if let Ok(pid) = pid.parse() {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }

    /// Kills everything inside and removes it; waits for that, so not from async code.
    pub fn remove(&self) {
        let end = Instant::now() + VANISH;
        loop {
            match fs::remove_dir(&self.dir) {
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) && Instant::now() < end => {
                    self.kill();
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("can't remove the cgroup {}: {e}", self.dir.display());
                    return;
                }
                _ => return,
            }
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(file)).ok()
    }
}

/// The number after a word at a line's begin, as in `memory.stat` and `memory.events`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|n| n.trim().parse().ok())
}

fn find(mount: &Path) -> Found {
    let unified = statfs(mount).is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC);
    if !unified {
        return without(
            "this host does not have cgroups of version 2 at /sys/fs/cgroup (boot it with systemd.unified_cgroup_hierarchy=1)",
        );
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = own.lines().find_map(|l| l.strip_prefix("0::/")) else {
        return without("the agent's own cgroup is not known");
    };
    let own = mount.join(own);
    let beside = own
        .parent()
        .filter(|p| p.starts_with(mount))
        .map(|p| p.join(UNIT));
    if let Some(unit) = beside.filter(|u| is_delegated(u)) {
        return prepare(unit);
    }
    // The agent's own unit is left alone: it could not be started again beside dynos.
    let unit = own.file_name().is_some_and(|n| n == "hokkud.service");
    if !unit && is_delegated(&own) {
        return prepare(own);
    }
    without(&format!(
        "no cgroup is delegated to hokku (start the unit {UNIT}, or the agent with Delegate=yes)"
    ))
}

/// systemd marks what it has given away (since version 251).
fn is_delegated(group: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0u8; 8];
        let (Ok(path), Ok(name)) = (
            std::ffi::CString::new(group.as_os_str().as_encoded_bytes()),
            std::ffi::CString::new(*name),
        ) else {
            return false;
        };
        // SAFETY: both names are C strings, and the length is that of the buffer
        let n = unsafe {
            libc::getxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        };
        n == 1 && value[0] == b'1'
    })
}

/// Moves what is in the group out of the way: a group that has groups with limits below it can't hold processes.
fn make_room(root: &Path) -> io::Result<()> {
    let rest = root.join("rest");
    match fs::create_dir(&rest) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    for pid in fs::read_to_string(root.join("cgroup.procs"))?.lines() {
        match fs::write(rest.join("cgroup.procs"), pid) {
            // it has just ended
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
            r => r?,
        }
    }
    Ok(())
}

fn prepare(root: PathBuf) -> Found {
    if let Err(e) = make_room(&root) {
        return without(&format!(
            "what is in {} can't be moved out of the way: {e}",
            root.display()
        ));
    }
    for name in ["shims", "dynos", "builds"] {
        match fs::create_dir(root.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return without(&format!("can't make {}/{name}: {e}", root.display()));
            }
            _ => {}
        }
    }
    let mut missing = Vec::new();
    for (controller, meaning) in CONTROLLERS {
        let on = ["", "dynos", "builds"].iter().try_for_each(|dir| {
            let file = root.join(dir).join("cgroup.subtree_control");
            fs::write(file, format!("+{controller}"))
        });
        if let Err(e) = on {
            missing.push(format!(
                "The cgroup controller {controller} can't be used here ({e}): {meaning}."
            ));
        }
    }
    Found {
        root: Some(root),
        notices: missing,
    }
}

fn without(why: &str) -> Found {
    let meanings: Vec<_> = CONTROLLERS.iter().map(|c| c.1).collect();
    Found {
        root: None,
        notices: vec![format!(
            "The kernel does not hold dynos to their limits, because {why}: {}.",
            meanings.join("; ")
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_kernels_tables() {
        let t = "anon 4096\ninactive_file 12\ninactive_file_x 7\nfile 3";
        assert_eq!(field(t, "inactive_file"), Some(12));
        assert_eq!(field(t, "inactive"), None);
        assert_eq!(
            field("low 0\noom_kill 2\noom_group_kill 1\n", "oom_kill"),
            Some(2)
        );
    }

    #[test]
    fn a_host_without_version_2_is_told_in_one_sentence() {
        let d = tempfile::tempdir().unwrap();
        let found = find(d.path());
        assert_eq!((found.root, found.notices.len()), (None, 1));
        let text = &found.notices[0];
        assert!(
            text.contains("version 2") && text.contains("half second"),
            "{text}"
        );
        assert!(!is_delegated(d.path()));
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let d = tempfile::tempdir().unwrap();
        let group = Group {
            dir: d.path().join("x"),
        };
        let caps = Caps {
            memory: Some(1 << 20),
            cpu: Some(1500),
            cpu_weight: Some(20),
            io_weight: Some(10),
            pids: Some(64),
        };
        fs::create_dir(&group.dir).unwrap();
        let all = [
            "memory.max",
            "memory.oom.group",
            "cpu.max",
            "cpu.weight",
            "io.weight",
            "pids.max",
        ];
        for file in all {
            fs::write(group.dir.join(file), "").unwrap();
        }
        // and what the kernel has no file for is left out
        group.limit(&caps).unwrap();
        assert!(!group.dir.join("memory.swap.max").exists());
        let all = all.map(|f| group.read(f).unwrap());
        assert_eq!(
            all,
            ["1048576", "1", "150000 100000", "20", "default 10", "64"]
        );
        fs::write(d.path().join("x/memory.current"), "900\n").unwrap();
        fs::write(
            d.path().join("x/memory.stat"),
            "anon 1\ninactive_file 300\n",
        )
        .unwrap();
        fs::write(d.path().join("x/memory.events"), "oom 1\noom_kill 0\n").unwrap();
        assert_eq!((group.memory(), group.out_of_memory()), (Some(600), false));
    }
}
