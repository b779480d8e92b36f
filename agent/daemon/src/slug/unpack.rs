//! From an archive to a tree, with nothing taken on trust.
//!
//! Only what [`super::pack`] writes is understood: folders before what they hold, files, symlinks, each path once.
//! An entry is made only in a folder that this run made itself, and nothing is replaced, so no symlink is followed.

use super::pack::{MAX_PATH, PERMISSIONS};
use anyhow::{Context, anyhow};
use hokku_model::release::SlugDigest;
use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};
use tar::{Archive, Entry, EntryType};

const CHUNK: usize = 128 << 10;
/// Bytes of a symlink's target: PATH_MAX.
const MAX_TEXT: u64 = 4096;

struct Hashing<R> {
    hash: blake3::Hasher,
    from: R,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.hash.update(&buf[..n]);
        Ok(n)
    }
}

/// Why it ended.
enum Stop {
    /// What is in the archive.
    Damaged(String),
    /// The machine: the disk, rights.
    Failed(anyhow::Error),
}

/// An error of the system while reading is the disk's; any other one was found in the bytes.
fn reading(e: io::Error) -> Stop {
    match e.raw_os_error() {
        Some(_) => Stop::Failed(anyhow!(e).context("can't read the archive")),
        None => Stop::Damaged(e.to_string()),
    }
}

fn writing(path: &[u8]) -> impl Fn(io::Error) -> Stop {
    move |e| {
        let text = format!("can't unpack {:?}", OsStr::from_bytes(path));
        Stop::Failed(anyhow!(e).context(text))
    }
}

/// Unpacks an archive into the new folder `to`, and compares its bytes with the digest. The caller removes `to` after a
/// failure. With `owner`, all belongs to that user and group.
///
/// # Errors
/// The archive is missing, damaged or hostile (R17), or the disk failed.
pub fn unpack(
    archive: &Path,
    to: &Path,
    owner: Option<u32>,
    digest: &SlugDigest,
) -> anyhow::Result<()> {
    let file = File::open(archive).with_context(|| {
        format!(
            "the slug {digest} is not on this node: can't read {}; push again, or roll back to another release",
            archive.display()
        )
    })?;
    let made = (|| {
        let zstd = zstd::Decoder::new(file).map_err(reading)?;
        let from = Hashing {
            hash: blake3::Hasher::new(),
            from: zstd,
        };
        let found = Unpacker::new(to, owner)?.all(from)?;
        if found.as_str() == digest.as_str() {
            Ok(())
        } else {
            Err(Stop::Damaged(format!("its content has the digest {found}")))
        }
    })();
    made.map_err(|stop| match stop {
        Stop::Failed(e) => e.context(format!("can't unpack the slug {digest}")),
        Stop::Damaged(why) => anyhow!(
            "Error R17 (Checksum error) -> the slug {digest} is damaged: {why} (in {}); push again, or roll back to \
             another release",
            archive.display()
        ),
    })
}

struct Unpacker<'a> {
    to: &'a Path,
    owner: Option<u32>,
    /// Folders made so far, below `to`.
    made: HashSet<Vec<u8>>,
    /// They get their permissions at the end: some may not be written to.
    modes: Vec<(PathBuf, u32)>,
    chunk: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    fn new(to: &'a Path, owner: Option<u32>) -> Result<Unpacker<'a>, Stop> {
        let new = Unpacker {
            to,
            owner,
            made: HashSet::from([vec![]]),
            modes: vec![(to.to_owned(), 0o755)],
            chunk: vec![0; CHUNK],
        };
        new.make_folder(to).map_err(writing(b""))?;
        Ok(new)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn all<R: Read>(mut self, from: Hashing<R>) -> Result<String, Stop> {
        let mut archive = Archive::new(from);
        let (mut long_path, mut long_link) = (None, None);
        for entry in archive.entries().map_err(reading)?.raw(true) {
            let mut entry = entry.map_err(reading)?;
            match entry.header().entry_type() {
                EntryType::GNULongName => long_path = Some(text(&mut entry)?),
                EntryType::GNULongLink => long_link = Some(text(&mut entry)?),
                _ => {
                    let path = long_path
                        .take()
                        .unwrap_or_else(|| entry.header().path_bytes().into_owned());
                    self.entry(&mut entry, &path, long_link.take())?;
                }
            }
        }
        let mut from = archive.into_inner();
        self.drain(&mut from)?;
        for (path, mode) in self.modes.iter().rev() {
            self.own(path)
                .and_then(|()| fs::set_permissions(path, Permissions::from_mode(*mode)))
                .map_err(writing(path.as_os_str().as_bytes()))?;
        }
        Ok(from.hash.finalize().to_hex().to_string())
    }

    /// What follows the archive's end counts for the digest; there is one empty block.
    fn drain(&mut self, from: &mut impl Read) -> Result<(), Stop> {
        let mut rest = 0;
        loop {
            match from.read(&mut self.chunk) {
                Ok(0) => return Ok(()),
                Ok(n) => rest += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(reading(e)),
            }
            if rest > CHUNK {
                return Err(Stop::Damaged("it goes on behind its end".into()));
            }
        }
    }

    fn entry(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: &[u8],
        long_link: Option<Vec<u8>>,
    ) -> Result<(), Stop> {
        let damaged = |why: &str| {
            let shown = path[..path.len().min(200)].escape_ascii();
            Stop::Damaged(format!("its entry \"{shown}\" {why}"))
        };
        let below = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        if path.len() > MAX_PATH || !path.split(|b| *b == b'/').all(below) {
            return Err(damaged("has no path inside the slug"));
        }
        let parent = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        if !self.made.contains(&path[..parent]) {
            return Err(damaged("lies in no folder of the slug"));
        }
        let place = self.to.join(OsStr::from_bytes(path));
        let made = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => damaged("comes twice"),
            _ => writing(path)(e),
        };
        let mode = entry.header().mode().map_err(reading)? & PERMISSIONS;
        match entry.header().entry_type() {
            EntryType::Directory => {
                self.make_folder(&place).map_err(made)?;
                self.made.insert(path.to_owned());
                self.modes.push((place, mode));
            }
            EntryType::Symlink => {
                let target = match long_link {
                    Some(target) => target,
                    None => entry
                        .header()
                        .link_name_bytes()
                        .unwrap_or_default()
                        .into_owned(),
                };
                if target.is_empty() || target.contains(&0) {
                    return Err(damaged("is a symlink to nowhere"));
                }
                std::os::unix::fs::symlink(OsStr::from_bytes(&target), &place).map_err(made)?;
                self.own(&place).map_err(writing(path))?;
            }
            EntryType::Regular => {
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&place)
                    .map_err(made)?;
                self.content(entry, &mut file, path)?;
                if let Some(uid) = self.owner {
                    std::os::unix::fs::fchown(&file, Some(uid), Some(uid))
                        .map_err(writing(path))?;
                }
                file.set_permissions(Permissions::from_mode(mode))
                    .map_err(writing(path))?;
            }
            other => {
                return Err(damaged(&format!(
                    "is no file, folder or symlink, but {other:?}"
                )));
            }
        }
        Ok(())
    }

    fn content(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        file: &mut File,
        path: &[u8],
    ) -> Result<(), Stop> {
        let mut left = entry.size();
        while left > 0 {
            let n = match entry.read(&mut self.chunk) {
                Ok(0) => return Err(Stop::Damaged("it ends within a file".into())),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(reading(e)),
            };
            file.write_all(&self.chunk[..n]).map_err(writing(path))?;
            left = left.saturating_sub(n as u64);
        }
        Ok(())
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        match self.owner {
            Some(uid) => std::os::unix::fs::lchown(path, Some(uid), Some(uid)),
            None => Ok(()),
        }
    }
}

/// The text of a long path or target.
fn text(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, Stop> {
    let size = entry.size();
    if size > MAX_TEXT + 1 {
        return Err(Stop::Damaged(format!("a path of {size} bytes is in it")));
    }
    let mut bytes = vec![];
    entry.read_to_end(&mut bytes).map_err(reading)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}
