//! Whole folders: linked, copied, fingerprinted, removed.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::Path,
};

/// How the files of one tree become those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Hard links: no bytes are copied. Where the file system refuses (another mount, too many links), copies.
    Link,
    /// Copies of their own, for trees that programs write into. Block clones where the file system has them.
    Copy,
}

/// What was seen on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Files and symbolic links.
    pub files: u64,
    /// Bytes in files.
    pub bytes: u64,
    /// Of `files`, how many were copied byte by byte.
    pub copied: u64,
    /// Sum over all entries of a hash of path, size, mode and time: changes when a file is written in place.
    pub fingerprint: u64,
}

fn fnv(mut h: u64, bytes: &[u8]) -> u64 {
    for b in bytes {
        h = (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    }
    h
}

impl Seen {
    fn note(&mut self, at: u64, m: &fs::Metadata) {
        let mut h = fnv(at, &m.mode().to_le_bytes());
        if !m.is_dir() {
            self.files += 1;
            self.bytes += m.len();
            h = fnv(h, &m.len().to_le_bytes());
            h = fnv(h, &m.mtime().to_le_bytes());
            h = fnv(h, &m.mtime_nsec().to_le_bytes());
        }
        self.fingerprint = self.fingerprint.wrapping_add(h);
    }
}

/// Makes `to` like `from`: folders anew, files linked or copied, symbolic links as they are. Devices, sockets and pipes
/// are left out. `to` may exist; files of the same name in it are replaced.
///
/// # Errors
/// The first file that can't be read or made, with its path.
pub fn replicate(from: &Path, to: &Path, how: How) -> io::Result<Seen> {
    let mut seen = Seen::default();
    walk(from, Some(to), how, 0xcbf2_9ce4_8422_2325, &mut seen)?;
    Ok(seen)
}

/// Looks at a tree without touching it.
///
/// # Errors
/// The first folder that can't be read.
pub fn look(at: &Path) -> io::Result<Seen> {
    let mut seen = Seen::default();
    walk(at, None, How::Link, 0xcbf2_9ce4_8422_2325, &mut seen)?;
    Ok(seen)
}

fn named(e: io::Error, path: &Path) -> io::Error {
    io::Error::new(
        e.kind(),
        Named {
            path: path.display().to_string(),
            source: e,
        },
    )
}

#[derive(Debug)]
struct Named {
    path: String,
    source: io::Error,
}
impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.source)
    }
}
impl std::error::Error for Named {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn walk(from: &Path, to: Option<&Path>, how: How, hash: u64, seen: &mut Seen) -> io::Result<()> {
    let meta = fs::metadata(from).map_err(|e| named(e, from))?;
    if let Some(to) = to {
        // writable until it is filled, whatever its mode
        match fs::DirBuilder::new()
            .mode(meta.mode() & 0o777 | 0o700)
            .create(to)
        {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && to.is_dir() => {}
            r => r.map_err(|e| named(e, to))?,
        }
    }
    for entry in fs::read_dir(from).map_err(|e| named(e, from))? {
        let entry = entry.map_err(|e| named(e, from))?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let path = from.join(&name);
        let target = to.map(|t| t.join(&name));
        let hash = fnv(fnv(hash, b"/"), name.as_bytes());
        if kind.is_dir() {
            walk(&path, target.as_deref(), how, hash, seen)?;
        } else if kind.is_file() || kind.is_symlink() {
            seen.note(hash, &entry.metadata().map_err(|e| named(e, &path))?);
            if let Some(target) = target {
                place(&path, &target, how, seen).map_err(|e| named(e, &target))?;
            }
        }
    }
    seen.note(hash, &meta);
    if let Some(to) = to
        && meta.mode() & 0o700 != 0o700
    {
        fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o777))?;
    }
    Ok(())
}

fn place(from: &Path, to: &Path, how: How, seen: &mut Seen) -> io::Result<()> {
    if how == How::Link {
        match fs::hard_link(from, to) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                remove(to)?;
                if fs::hard_link(from, to).is_ok() {
                    return Ok(());
                }
            }
            // EXDEV, EMLINK, EPERM: a copy does as well
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::EXDEV | libc::EMLINK | libc::EPERM | libc::EOPNOTSUPP)
                ) => {}
            Err(e) => return Err(e),
        }
    } else if to.symlink_metadata().is_ok() {
        remove(to)?;
    }
    seen.copied += 1;
    let meta = from.symlink_metadata()?;
    if meta.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    fs::copy(from, to)?;
    // compiled Python checks the time of its source
    fs::File::options()
        .write(true)
        .open(to)
        .or_else(|_| fs::File::open(to))?
        .set_modified(meta.modified()?)
}

/// Removes a file or a whole tree, folders without write permission too. Nothing there is no error.
///
/// # Errors
/// What could not be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    let meta = match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        m => m?,
    };
    if !meta.is_dir() {
        return fs::remove_file(path);
    }
    if let Err(e) = fs::remove_dir_all(path) {
        if e.kind() == io::ErrorKind::NotFound {
            return Ok(());
        }
        open_up(path);
        fs::remove_dir_all(path).map_err(|e| named(e, path))?;
    }
    Ok(())
}

/// Makes all folders writable for their owner.
fn open_up(path: &Path) {
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for e in fs::read_dir(path).into_iter().flatten().flatten() {
        if e.file_type().is_ok_and(|t| t.is_dir()) {
            open_up(&e.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let d = tempfile::tempdir().unwrap();
        let p = d.path();
        fs::create_dir_all(p.join("a/deep/er")).unwrap();
        fs::write(p.join("a/x"), "1").unwrap();
        fs::write(p.join("a/deep/er/run"), "#!").unwrap();
        fs::set_permissions(p.join("a/deep/er/run"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("nowhere/at/all", p.join("a/link")).unwrap();
        fs::create_dir(p.join("a/closed")).unwrap();
        fs::write(p.join("a/closed/f"), "z").unwrap();
        fs::set_permissions(p.join("a/closed"), fs::Permissions::from_mode(0o555)).unwrap();
        d
    }

    #[test]
    fn linked_and_copied_trees_are_alike() {
        let d = tree();
        let (a, b, c) = (d.path().join("a"), d.path().join("b"), d.path().join("c"));
        let linked = replicate(&a, &b, How::Link).unwrap();
        let copied = replicate(&a, &c, How::Copy).unwrap();
        assert_eq!(
            (linked.files, linked.copied, linked.bytes),
            (4, 0, 1 + 2 + 14 + 1)
        );
        assert_eq!(copied.copied, 4);
        assert_eq!(linked.fingerprint, copied.fingerprint);
        assert_eq!(
            fs::metadata(b.join("x")).unwrap().ino(),
            fs::metadata(a.join("x")).unwrap().ino()
        );
        assert_ne!(
            fs::metadata(c.join("x")).unwrap().ino(),
            fs::metadata(a.join("x")).unwrap().ino()
        );
        assert_eq!(
            fs::metadata(c.join("deep/er/run")).unwrap().mode() & 0o777,
            0o755
        );
        assert_eq!(
            fs::read_link(b.join("link")).unwrap(),
            Path::new("nowhere/at/all")
        );
        assert_eq!(look(&a).unwrap().fingerprint, linked.fingerprint);
        assert_eq!(look(&b).unwrap().fingerprint, linked.fingerprint);
        // again over what is there
        replicate(&a, &b, How::Link).unwrap();
        remove(&a).unwrap();
        remove(&b).unwrap();
        remove(&c).unwrap();
        remove(&c).unwrap();
        assert_eq!(fs::read_dir(d.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_write_in_place_changes_the_fingerprint() {
        let d = tree();
        let a = d.path().join("a");
        let before = look(&a).unwrap().fingerprint;
        let f = fs::OpenOptions::new()
            .append(true)
            .open(a.join("x"))
            .unwrap();
        std::io::Write::write_all(&mut &f, b"2").unwrap();
        assert_ne!(look(&a).unwrap().fingerprint, before);
    }
}
