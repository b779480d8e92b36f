//! What the shim leaves for others: words for its starter, `shim.json`, `exit.json`.

use crate::call::{self, Why};
use hokku_model::{dyno::Exit, shim::ShimPid};
use std::{
    fs,
    io::Write,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::Path,
};

/// What is opened while the host is still in sight.
pub struct Host {
    /// The dyno's folder.
    pub dir: OwnedFd,
    /// `ctl.sock`
    pub listener: UnixListener,
}

impl Host {
    /// Opens the folder and makes the socket.
    ///
    /// # Errors
    /// The folder does not exist or may not be written.
    pub fn open(path: &Path) -> Result<Host, String> {
        let dir = call::open(path, libc::O_DIRECTORY | libc::O_RDONLY)
            .why(|| format!("can't open the dyno's folder {}", path.display()))?;
        // through the descriptor: the name of a socket has 107 bytes, the folder's path may have more
        let sock = format!("/proc/self/fd/{}/ctl.sock", dir.as_raw_fd());
        let listener = UnixListener::bind(&sock)
            .why(|| format!("can't make the socket {}/ctl.sock", path.display()))?;
        listener
            .set_nonblocking(true)
            .why(|| "can't set up the socket".into())?;
        Ok(Host { dir, listener })
    }

    /// Who this process is on the host. Only before the host's `/proc` is left behind.
    pub fn identify() -> Result<ShimPid, String> {
        let say = || "can't read /proc/self/stat".to_string();
        let stat = fs::read_to_string("/proc/self/stat").why(say)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .why(|| "can't read the boot id".into())?;
        // the name in brackets may hold blanks and brackets itself
        let (head, tail) = stat
            .split_once('(')
            .zip(stat.rsplit_once(')'))
            .map_or(("", ""), |((head, _), (_, tail))| (head, tail));
        let start = tail.split_ascii_whitespace().nth(19);
        match (head.trim().parse(), start.map(str::parse)) {
            (Ok(pid), Some(Ok(start_ticks))) => Ok(ShimPid {
                pid,
                start_ticks,
                boot_id: boot.trim().to_owned(),
            }),
            _ => Err(say()),
        }
    }

    /// Writes `shim.json`.
    ///
    /// # Errors
    /// The folder is gone (its owner gave this dyno up) or the disk is full: nothing may be started then, because
    /// nobody would find it again.
    pub fn write_pid(&self, pid: &ShimPid) -> Result<(), String> {
        let text = serde_json::to_vec(pid).why(|| "can't write shim.json".into())?;
        self.put("shim.json", &text)
            .map(drop)
            .why(|| "can't write shim.json".into())
    }

    /// Writes `exit.json`. It is visible at once; the file that comes back is to be synced when nobody waits any more.
    pub fn write_exit(&self, exit: Exit) -> Option<fs::File> {
        let text = serde_json::to_vec(&exit).ok()?;
        self.put("exit.json", &text).ok()
    }

    /// A file that appears whole or not at all.
    fn put(&self, name: &str, text: &[u8]) -> std::io::Result<fs::File> {
        let tmp = format!("{name}.tmp");
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW;
        let mut f = fs::File::from(call::open_at(
            self.dir.as_raw_fd(),
            Path::new(&tmp),
            flags,
            0o600,
        )?);
        f.write_all(text)?;
        call::rename_at(self.dir.as_raw_fd(), &tmp, name)?;
        Ok(f)
    }
}

/// One line for the starter. That it went away is no reason to stop.
pub fn say(line: &str) {
    let mut text = line.replace('\n', " ");
    text.push('\n');
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Leaves the starter's pipes.
///
/// # Errors
/// There is no `/dev/null`.
pub fn leave() -> Result<(), String> {
    let null =
        call::open(Path::new("/dev/null"), libc::O_RDWR).why(|| "can't open /dev/null".into())?;
    for fd in 0..3 {
        // SAFETY: takes no pointers
        call::check(unsafe { libc::dup2(null.as_raw_fd(), fd) })
            .why(|| "can't leave the starter's pipes".into())?;
    }
    Ok(())
}
