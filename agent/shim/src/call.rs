//! Thin wrappers around calls of the kernel, and a way to say what was being done when one failed.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

/// Adds what was being done to an error.
pub trait Why<T> {
    /// `<what>: <error>`
    fn why(self, what: impl FnOnce() -> String) -> Result<T, String>;
}
impl<T, E: std::fmt::Display> Why<T> for Result<T, E> {
    fn why(self, what: impl FnOnce() -> String) -> Result<T, String> {
        self.map_err(|e| format!("{}: {e}", what()))
    }
}

/// Turns the result of a libc call into an `io::Result`.
pub fn check(r: impl Into<i64>) -> io::Result<i64> {
    let r = r.into();
    if r < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(r)
    }
}

/// A path or text for libc.
pub fn cstring(s: impl AsRef<std::ffi::OsStr>) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(s.as_ref().as_bytes()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a NUL byte in a path, argument or variable",
        )
    })
}

/// Which side of a fork this is.
pub enum Fork {
    /// The old process.
    Parent,
    /// The new one.
    Child,
}

/// Forks; this program has one thread only, so the child may do anything.
pub fn fork() -> io::Result<Fork> {
    match fork_pid()? {
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent),
    }
}

/// Forks and gives the child's pid to the parent, 0 to the child.
pub fn fork_pid() -> io::Result<i32> {
    // SAFETY: there is one thread, so no lock can be held by another one at the fork
    check(unsafe { libc::fork() }).map(|p| p as i32)
}

/// A new session; fails only when this process leads one already, which is as good.
pub fn setsid() {
    // SAFETY: takes no pointers
    unsafe { libc::setsid() };
}

/// An open file that only names a place; it keeps working after the mount tree was changed.
pub fn open_path(path: &Path) -> io::Result<OwnedFd> {
    open(path, libc::O_PATH)
}

/// Opens a file with `O_CLOEXEC`.
pub fn open(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    open_at(libc::AT_FDCWD, path, flags, 0)
}

/// Opens a file under a folder, with `O_CLOEXEC`.
pub fn open_at(dir: RawFd, path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let p = cstring(path)?;
    // SAFETY: `p` is a C string; a non-negative result is a new descriptor that nobody else owns
    let fd = check(unsafe { libc::openat(dir, p.as_ptr(), flags | libc::O_CLOEXEC, mode) })?;
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes a folder under another; one that exists is fine.
pub fn mkdir_at(dir: RawFd, name: &str, mode: u32) -> io::Result<()> {
    let p = cstring(name)?;
    // SAFETY: `p` is a C string
    match check(unsafe { libc::mkdirat(dir, p.as_ptr(), mode) }) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Renames within one folder.
pub fn rename_at(dir: RawFd, from: &str, to: &str) -> io::Result<()> {
    let (f, t) = (cstring(from)?, cstring(to)?);
    // SAFETY: both are C strings
    check(unsafe { libc::renameat(dir, f.as_ptr(), dir, t.as_ptr()) }).map(|_| ())
}

/// Gives a file to a user and group of the same number.
pub fn give(fd: &impl AsRawFd, uid: Option<u32>) -> io::Result<()> {
    match uid {
        // SAFETY: takes no pointers
        Some(u) => check(unsafe { libc::fchown(fd.as_raw_fd(), u, u) }).map(|_| ()),
        None => Ok(()),
    }
}

/// Makes reads and writes return at once.
pub fn nonblocking(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes no pointers
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(
            fd.as_raw_fd(),
            libc::F_SETFL,
            flags as i32 | libc::O_NONBLOCK,
        ))?;
    }
    Ok(())
}

/// One `read`; `WouldBlock` and `Interrupted` come back as errors.
pub fn read(fd: &impl AsRawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of `buf`
    check(unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) } as i64)
        .map(|n| n as usize)
}

/// One `write`; `WouldBlock` and `Interrupted` come back as errors.
pub fn write(fd: &impl AsRawFd, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of `buf`
    check(unsafe { libc::write(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len()) } as i64)
        .map(|n| n as usize)
}

/// `prctl` with one number.
pub fn prctl(option: i32, value: u64) -> io::Result<()> {
    // SAFETY: only options that take numbers are used here
    check(unsafe { libc::prctl(option, value, 0, 0, 0) }).map(|_| ())
}

/// Is this the error of a descriptor that has nothing to give or take right now?
pub fn not_now(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
