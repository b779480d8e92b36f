//! Bytes: of trees, on disk, free.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt, path::Path};

/// Files with several names that were counted, by device and inode.
pub type Seen = HashSet<(u64, u64)>;

/// Bytes that a file or a folder with all it holds takes on disk. What can't be read counts 0.
pub fn on_disk(path: &Path, seen: &mut Seen) -> u64 {
    let mut sum = 0;
    walk(path, &mut |m| {
        if m.is_dir() || m.nlink() < 2 || seen.insert((m.dev(), m.ino())) {
            sum += m.blocks() * 512;
        }
    });
    sum
}

/// Bytes in all files of a tree.
pub fn content(path: &Path) -> u64 {
    let mut sum = 0;
    walk(path, &mut |m| {
        if m.is_file() {
            sum += m.len();
        }
    });
    sum
}

fn walk(path: &Path, each: &mut dyn FnMut(&fs::Metadata)) {
    let Ok(first) = fs::symlink_metadata(path) else {
        return;
    };
    each(&first);
    let mut folders = vec![];
    if first.is_dir() {
        folders.push(path.to_owned());
    }
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(m) = entry.metadata() else { continue };
            each(&m);
            if m.is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

/// Bytes free for this process on the file system of a path; 0 when it can't be asked.
pub fn free(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |v| v.f_bavail.saturating_mul(v.f_frsize))
}
