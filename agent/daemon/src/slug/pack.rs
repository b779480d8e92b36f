//! From a tree to an archive: a tar whose bytes depend on names, contents and permissions alone, hashed and compressed
//! on its way out. The reading and hashing thread feeds two that compress.

use anyhow::{Context, bail};
use hokku_model::release::SlugDigest;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};
use tar::{EntryType, Header};

/// Permissions that a slug keeps; setuid and setgid are none of them.
pub const PERMISSIONS: u32 = 0o1777;
/// Bytes of a path inside a slug: it must fit into PATH_MAX behind the folder it is unpacked to.
pub const MAX_PATH: usize = 3000;
/// Each level holds a file descriptor while packing.
const MAX_DEPTH: usize = 200;
const LEVEL: i32 = 1;
const THREADS: u32 = 2;
const CHUNK: usize = 256 << 10;
/// 1980-01-01: GNU tar warns of earlier times. Nobody restores it.
const MTIME: u64 = 315_532_800;

/// Hashes what passes.
struct Hashing<W> {
    hash: blake3::Hasher,
    to: W,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.to.write(buf)?;
        self.hash.update(&buf[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Packs a tree into a file. Returns the digest, and the file, which is not synced.
///
/// In the tree itself setuid and setgid bits are cleared and special files deleted, so that it equals its archive.
pub fn pack(tree: &Path, file: File) -> anyhow::Result<(SlugDigest, File)> {
    let mut zstd = zstd::Encoder::new(file, LEVEL)?;
    zstd.multithread(THREADS)?;
    let to = Hashing {
        hash: blake3::Hasher::new(),
        to: zstd,
    };
    let mut packer = Packer {
        to: BufWriter::with_capacity(CHUNK / 2, to),
        chunk: vec![0; CHUNK],
        path: vec![],
    };
    let root = rustix::fs::open(
        tree,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(io::Error::from)
    .with_context(|| format!("can't read the built tree {}", tree.display()))?;
    rustix::fs::fchmod(&root, Mode::from(0o755))
        .map_err(io::Error::from)
        .with_context(|| format!("can't set the permissions of {}", tree.display()))?;
    packer.folder(&root, 0)?;
    // Two empty blocks end a tar.
    packer.to.write_all(&[0; 1024])?;
    let Hashing { hash, to } = packer.to.into_inner().map_err(|e| e.into_error())?;
    let file = to.finish()?;
    let digest = hash.finalize().to_hex();
    let digest = digest.as_str().parse().map_err(anyhow::Error::msg)?;
    Ok((digest, file))
}

struct Packer<W: Write> {
    to: BufWriter<W>,
    chunk: Vec<u8>,
    /// Of the entry at hand, below the tree's root.
    path: Vec<u8>,
}

impl<W: Write> Packer<W> {
    fn folder(&mut self, folder: &OwnedFd, depth: usize) -> anyhow::Result<()> {
        let mut names = self.names(folder).with_context(|| self.cant("read"))?;
        names.sort_unstable();
        if depth > MAX_DEPTH && !names.is_empty() {
            bail!(
                "{}: folders lie more than {MAX_DEPTH} deep",
                self.cant("pack")
            );
        }
        let above = self.path.len();
        for name in names {
            if above > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.as_bytes());
            if self.path.len() > MAX_PATH {
                bail!(
                    "{}: its path has more than {MAX_PATH} bytes",
                    self.cant("pack")
                );
            }
            self.entry(folder.as_fd(), &name, depth)?;
            self.path.truncate(above);
        }
        Ok(())
    }

    fn names(&self, folder: &OwnedFd) -> io::Result<Vec<CString>> {
        let mut names = vec![];
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn cant(&self, what: &str) -> String {
        let path = Path::new(OsStr::from_bytes(&self.path));
        format!("can't {what} {:?} in the built tree", path)
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> anyhow::Result<()> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(io::Error::from)
            .with_context(|| self.cant("read"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mode = stat.st_mode & PERMISSIONS;
        match kind {
            FileType::Directory | FileType::RegularFile => {
                let is_dir = kind == FileType::Directory;
                let fd = self
                    .open(parent, name, is_dir, stat.st_mode)
                    .map_err(io::Error::from)
                    .with_context(|| self.cant("read"))?;
                if is_dir {
                    self.header(EntryType::Directory, mode, 0, b"")?;
                    self.folder(&fd, depth + 1)?;
                } else {
                    self.header(EntryType::Regular, mode, stat.st_size as u64, b"")?;
                    self.content(File::from(fd), stat.st_size as u64)?;
                }
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())
                    .map_err(io::Error::from)
                    .with_context(|| self.cant("read"))?;
                self.header(EntryType::Symlink, 0o777, 0, target.as_bytes())?;
            }
            _ => {
                let path = Path::new(OsStr::from_bytes(&self.path));
                tracing::warn!(
                    "{path:?} is a socket, a pipe or a device: it is left out of the slug"
                );
                rustix::fs::unlinkat(parent, name, AtFlags::empty())
                    .map_err(io::Error::from)
                    .with_context(|| self.cant("delete"))?;
            }
        }
        Ok(())
    }

    fn open(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        is_dir: bool,
        mode: u32,
    ) -> Result<OwnedFd, Errno> {
        let kind = if is_dir {
            OFlags::DIRECTORY
        } else {
            OFlags::NONBLOCK
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        if mode & 0o7777 & !PERMISSIONS != 0 {
            rustix::fs::fchmod(&fd, Mode::from(mode & PERMISSIONS))?;
        }
        Ok(fd)
    }

    fn content(&mut self, mut file: File, size: u64) -> anyhow::Result<()> {
        let mut left = size;
        while left > 0 {
            let most = self
                .chunk
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = match file.read(&mut self.chunk[..most]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.with_context(|| self.cant("read"))?,
            };
            if n == 0 {
                bail!("{}: it shrank meanwhile", self.cant("pack"));
            }
            self.to.write_all(&self.chunk[..n])?;
            left -= n as u64;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> anyhow::Result<()> {
        let rest = size.next_multiple_of(512) - size;
        Ok(self.to.write_all(&[0; 512][..rest as usize])?)
    }

    /// Writes the header of the entry at `self.path`, before it GNU's entries for what has no room in it.
    fn header(&mut self, kind: EntryType, mode: u32, size: u64, link: &[u8]) -> anyhow::Result<()> {
        let path = std::mem::take(&mut self.path);
        let long = [
            (EntryType::GNULongName, &path[..]),
            (EntryType::GNULongLink, link),
        ];
        for (kind, text) in long.into_iter().filter(|(_, t)| t.len() > 100) {
            let size = text.len() as u64 + 1;
            self.block(kind, 0o644, size, b"././@LongLink", b"")?;
            self.to.write_all(text)?;
            self.to.write_all(&[0])?;
            self.pad(size)?;
        }
        self.block(kind, mode, size, &path, link)?;
        self.path = path;
        Ok(())
    }

    fn block(
        &mut self,
        kind: EntryType,
        mode: u32,
        size: u64,
        path: &[u8],
        link: &[u8],
    ) -> io::Result<()> {
        let mut header = Header::new_gnu();
        let fields = header.as_old_mut();
        for (field, text) in [(&mut fields.name, path), (&mut fields.linkname, link)] {
            let n = text.len().min(field.len());
            field[..n].copy_from_slice(&text[..n]);
        }
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(MTIME);
        header.set_size(size);
        header.set_cksum();
        self.to.write_all(header.as_bytes())
    }
}
