//! Files that appear whole or not at all, and removing trees that others filled.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Writes `name` in `dir`, mode 0600: a temporary file, synced, then renamed; the folder is synced too.
///
/// # Errors
/// Those of the file system; the old file is untouched then.
pub fn write_whole(dir: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    use io::Write;
    let tmp = dir.join(format!(".{name}.tmp"));
    let mut f = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&tmp)?;
    f.write_all(text)?;
    f.sync_all()?;
    fs::rename(&tmp, dir.join(name))?;
    fs::File::open(dir)?.sync_all()
}

/// Bytes that a folder and all in it take on the disk; what is mounted in it is not looked into, and a file with several
/// names counts for each. What vanishes meanwhile, or does not exist, is nothing.
pub fn usage(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(top) = path.symlink_metadata() else {
        return 0;
    };
    let mut bytes = top.blocks() * 512;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * 512;
            if meta.is_dir() && meta.dev() == top.dev() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

/// Removes a folder and all in it, also what its owner made unreadable for himself (an overlay's work folder). That it
/// does not exist is fine.
///
/// # Errors
/// Something could not be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        r => r,
    }
}

fn open_up(path: &Path) {
    let mut todo = vec![path.to_owned()];
    while let Some(p) = todo.pop() {
        if p.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            let _ = fs::set_permissions(&p, fs::Permissions::from_mode(0o700));
            todo.extend(
                fs::read_dir(&p)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|e| e.path()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_whole_and_private() {
        let d = tempfile::tempdir().unwrap();
        write_whole(d.path(), "record.json", b"one").unwrap();
        write_whole(d.path(), "record.json", b"two").unwrap();
        let f = d.path().join("record.json");
        assert_eq!(fs::read(&f).unwrap(), b"two");
        assert_eq!(f.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(d.path()).unwrap().count(), 1);
    }

    #[test]
    fn locked_folders_are_removed() {
        let d = tempfile::tempdir().unwrap();
        let top = d.path().join("x");
        fs::create_dir_all(top.join("work/work/in")).unwrap();
        fs::set_permissions(top.join("work/work"), fs::Permissions::from_mode(0o0)).unwrap();
        remove_tree(&top).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }
}
