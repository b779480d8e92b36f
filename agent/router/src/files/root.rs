//! Opening a file below a folder, and never outside of it.
//!
//! The kernel does the looking up (`openat2` with `RESOLVE_BENEATH`, since Linux 5.6): no `..`, no symlink and no mount
//! trick leads out, whatever the name is. Where that call is missing or forbidden, each part of the name is opened by
//! itself, without following symlinks.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Folders that a thread keeps open.
const MOST: usize = 256;

/// Open folders by their path. Owned by one thread.
#[derive(Default)]
pub(crate) struct Roots {
    open: HashMap<Box<str>, OwnedFd>,
}

/// What lies under a name.
#[derive(Debug)]
pub(super) enum Entry {
    File(File, FileStat),
    Folder,
    /// Nothing, or what is not served: a symlink, a device, a file that may not be read.
    Nothing,
}

impl Roots {
    /// Looks a name up below a root.
    ///
    /// # Errors
    /// What the system has run out of, or a broken disk; not that there is no such file.
    pub(super) fn find(&mut self, root: &str, name: &[u8]) -> nix::Result<Entry> {
        for _ in 0..2 {
            let Some(folder) = self.folder(root)? else {
                return Ok(Entry::Nothing);
            };
            let found = entry(open_beneath(folder, name))?;
            // a folder that was deleted and made again is a new one; seldom enough to be asked for only here
            if !matches!(found, Entry::Nothing) || fstat(folder).is_ok_and(|s| s.st_nlink > 0) {
                return Ok(found);
            }
            self.open.remove(root);
        }
        Ok(Entry::Nothing)
    }

    fn folder(&mut self, root: &str) -> nix::Result<Option<BorrowedFd<'_>>> {
        if !self.open.contains_key(root) {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            match openat(AT_FDCWD, root, flags, Mode::empty()) {
                Ok(fd) => {
                    if self.open.len() >= MOST {
                        self.open.clear();
                    }
                    self.open.insert(root.into(), fd);
                }
                Err(e) if is_absence(e) => {
                    tracing::debug!("the folder {root} cannot be served: {e}");
                    return Ok(None);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(self.open.get(root).map(|fd| fd.as_fd()))
    }
}

fn entry(opened: nix::Result<OwnedFd>) -> nix::Result<Entry> {
    let fd = match opened {
        Ok(fd) => fd,
        Err(e) if is_absence(e) => return Ok(Entry::Nothing),
        Err(e) => return Err(e),
    };
    let stat = fstat(&fd)?;
    Ok(
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Entry::File(fd.into(), stat),
            SFlag::S_IFDIR => Entry::Folder,
            _ => Entry::Nothing,
        },
    )
}

fn is_absence(e: Errno) -> bool {
    [
        Errno::ENOENT,
        Errno::ENOTDIR,
        Errno::ELOOP,
        Errno::EXDEV,
        Errno::ENAMETOOLONG,
        Errno::EACCES,
        Errno::EPERM,
        Errno::ENXIO,
        Errno::EINVAL,
    ]
    .contains(&e)
}

/// A pipe without a writer must not be waited for.
const FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NOFOLLOW);

fn open_beneath(folder: BorrowedFd<'_>, name: &[u8]) -> nix::Result<OwnedFd> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if !MISSING.load(Relaxed) {
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let opened = openat2(folder, name, OpenHow::new().flags(FLAGS).resolve(resolve));
        // some sandboxes answer EPERM to calls they do not know
        if !matches!(opened, Err(Errno::ENOSYS | Errno::EPERM)) {
            return opened;
        }
        if matches!(opened, Err(Errno::ENOSYS)) {
            MISSING.store(true, Relaxed);
        }
    }
    walk(folder, name)
}

/// The same, one part after the other. The name has no `..` in it: `path` sees to that, and this looks again.
fn walk(folder: BorrowedFd<'_>, name: &[u8]) -> nix::Result<OwnedFd> {
    let parts: Vec<&[u8]> = name.split(|b| *b == b'/').collect();
    if parts.iter().any(|p| p.is_empty() || *p == b"..") {
        return Err(Errno::EXDEV);
    }
    let (last, folders) = parts.split_last().ok_or(Errno::ENOENT)?;
    let mut at: Option<OwnedFd> = None;
    for part in folders {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let from = at.as_ref().map_or(folder, |fd| fd.as_fd());
        at = Some(openat(from, *part, flags, Mode::empty())?);
    }
    let from = at.as_ref().map_or(folder, |fd| fd.as_fd());
    openat(from, *last, FLAGS, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Both ways of opening, with the same names.
    #[test]
    fn nothing_outside_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("sub/file"), "f").unwrap();
        symlink("../secret", root.join("link")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink("sub/file", root.join("inner")).unwrap();
        symlink("sub", root.join("subdir")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::S_IRWXU).unwrap();
        let folder: OwnedFd = File::open(&root).unwrap().into();
        for open in [open_beneath, walk] {
            let see = |name: &str| entry(open(folder.as_fd(), name.as_bytes()));
            assert!(matches!(see("sub/file"), Ok(Entry::File(..))));
            assert!(matches!(see("sub"), Ok(Entry::Folder)));
            assert!(matches!(see("."), Ok(Entry::Folder)));
            for name in [
                "../secret",
                "..",
                "sub/../../secret",
                "link",
                "etc/passwd",
                "etc",
                "inner",
                "subdir/file",
                "/etc/passwd",
                "sub/file/x",
                "pipe",
                "none",
            ] {
                assert!(
                    matches!(see(name), Ok(Entry::Nothing)),
                    "{name} {:?}",
                    see(name)
                );
            }
            assert!(matches!(see(&"x".repeat(300)), Ok(Entry::Nothing)));
            assert!(matches!(see(&"x/".repeat(3000)), Ok(Entry::Nothing)));
        }
    }

    #[test]
    fn a_folder_that_was_made_again_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let path = root.to_str().unwrap();
        let mut roots = Roots::default();
        assert!(matches!(roots.find(path, b"a"), Ok(Entry::Nothing)));
        for text in ["one", "two"] {
            std::fs::create_dir(&root).unwrap();
            std::fs::write(root.join("a"), text).unwrap();
            let Ok(Entry::File(file, stat)) = roots.find(path, b"a") else {
                panic!("no file")
            };
            assert_eq!(std::io::read_to_string(file).unwrap(), text);
            assert_eq!(stat.st_size, 3);
            std::fs::remove_dir_all(&root).unwrap();
            assert!(matches!(roots.find(path, b"a"), Ok(Entry::Nothing)));
        }
    }
}
