//! Removing a tree that somebody else filled, however deep, without following links or running out of descriptors.

use crate::call;
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd},
    path::Path,
};

/// Folders below this depth are moved to the top first.
const DEPTH: u32 = 60;

/// Removes `name` under the folder `dir`; that it does not exist is fine.
///
/// # Errors
/// The first thing that could not be removed; the rest was tried.
pub fn tree(dir: RawFd, name: &str) -> io::Result<()> {
    let mut moved = 0;
    let r = remove(dir, name.as_bytes(), dir, &mut moved, 0);
    let mut done = 0;
    while done < moved {
        done += 1;
        remove(dir, deep(done).as_bytes(), dir, &mut moved, 0)?;
    }
    r
}

fn deep(n: u64) -> String {
    format!(".removed-{n}")
}

fn remove(dir: RawFd, name: &[u8], top: RawFd, moved: &mut u64, depth: u32) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let os = std::ffi::OsStr::from_bytes(name);
    let c = call::cstring(os)?;
    // SAFETY: `c` is a C string
    let r = call::check(unsafe { libc::unlinkat(dir, c.as_ptr(), 0) });
    match r {
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if !matches!(e.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => return Err(e),
        Err(_) => {}
    }
    if depth >= DEPTH {
        *moved += 1;
        let to = call::cstring(deep(*moved))?;
        // SAFETY: both are C strings
        return call::check(unsafe { libc::renameat(dir, c.as_ptr(), top, to.as_ptr()) }).map(drop);
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_RDONLY;
    let fd = match call::open_at(dir, Path::new(os), flags, 0) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            // SAFETY: `c` is a C string; a link was removed above, so this is the folder itself
            call::check(unsafe { libc::fchmodat(dir, c.as_ptr(), 0o700, 0) })?;
            call::open_at(dir, Path::new(os), flags, 0)?
        }
        r => r?,
    };
    let mut first = Ok(());
    for entry in list(&fd)? {
        first = first.and(remove(fd.as_raw_fd(), &entry, top, moved, depth + 1));
    }
    first?;
    // SAFETY: `c` is a C string
    call::check(unsafe { libc::unlinkat(dir, c.as_ptr(), libc::AT_REMOVEDIR) }).map(drop)
}

/// The names in an open folder.
fn list(fd: &impl AsRawFd) -> io::Result<Vec<Vec<u8>>> {
    let copy = call::open_at(fd.as_raw_fd(), Path::new("."), libc::O_DIRECTORY, 0)?;
    let mut names = Vec::new();
    // SAFETY: the stream owns the copied descriptor; it is closed once; entries are read before the next call
    unsafe {
        let raw = copy.into_raw_fd();
        let stream = libc::fdopendir(raw);
        if stream.is_null() {
            let e = io::Error::last_os_error();
            drop(std::os::fd::OwnedFd::from_raw_fd(raw));
            return Err(e);
        }
        loop {
            let e = libc::readdir(stream);
            if e.is_null() {
                break;
            }
            let name = std::ffi::CStr::from_ptr((*e).d_name.as_ptr()).to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        libc::closedir(stream);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn deep_locked_and_linked_trees_go_and_nothing_else_does() {
        let t = tempfile::tempdir().unwrap();
        fs::create_dir(t.path().join("keep")).unwrap();
        fs::write(t.path().join("keep/file"), "x").unwrap();
        let top = t.path().join("x");
        fs::create_dir_all(top.join("locked/in")).unwrap();
        std::os::unix::fs::symlink("../keep", top.join("link")).unwrap();
        fs::set_permissions(top.join("locked"), fs::Permissions::from_mode(0o0)).unwrap();
        let dir = call::open(t.path(), libc::O_DIRECTORY).unwrap();
        let mut at = call::open(&top, libc::O_DIRECTORY).unwrap();
        for _ in 0..400 {
            call::mkdir_at(at.as_raw_fd(), "d", 0o700).unwrap();
            at = call::open_at(at.as_raw_fd(), Path::new("d"), libc::O_DIRECTORY, 0).unwrap();
        }
        drop(at);
        tree(dir.as_raw_fd(), "x").unwrap();
        tree(dir.as_raw_fd(), "x").unwrap();
        let left: Vec<_> = fs::read_dir(t.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["keep"]);
        assert!(t.path().join("keep/file").exists());
    }
}
