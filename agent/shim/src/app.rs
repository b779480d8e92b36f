//! What the process finds at `/app`.

use crate::{
    call::Why,
    mounts::{Access, Source, bind, place},
    remove,
    report::Host,
    root::folder,
};
use hokku_model::shim::{AppTree, Isolation, ShimSpec};
use nix::mount::{MsFlags, mount};
use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown, lchown, symlink},
    },
    path::{Path, PathBuf},
};

/// The parts of `/app`, opened on the host.
pub enum Parts {
    /// Layers, and room for changes.
    Overlay {
        /// First is topmost.
        lower: Vec<Source>,
        /// What the process writes.
        upper: Source,
        /// The kernel's scratch.
        work: Source,
        /// For a copy, where overlays can't be had.
        copy: Source,
    },
    /// A folder as it is.
    Bind(Source),
}

/// The user that the process runs as, when it is not the shim's own.
pub fn owner(spec: &ShimSpec) -> Option<u32> {
    match spec.isolation {
        Isolation::Root { uid } => Some(uid),
        _ => None,
    }
}

impl Parts {
    /// Opens them, and makes the folders for what is written.
    ///
    /// # Errors
    /// The slug or the folder is not there.
    pub fn open(spec: &ShimSpec, host: &Host) -> Result<Parts, String> {
        let uid = owner(spec);
        match &spec.app {
            AppTree::Bind { path } => {
                let s = Source::open(path)?;
                std::os::unix::fs::chown(path, uid, uid)
                    .why(|| format!("can't give {} to the app's user", path.display()))?;
                Ok(Parts::Bind(s))
            }
            AppTree::Overlay { lower } => {
                folder(host, "upper", 0o755, uid)?;
                folder(host, "work", 0o700, None)?;
                folder(host, "copy", 0o755, uid)?;
                let at = |n: &str| Source::open(&spec.dir.join(n));
                Ok(Parts::Overlay {
                    lower: lower
                        .iter()
                        .map(|p| Source::open(p))
                        .collect::<Result<_, _>>()?,
                    upper: at("upper")?,
                    work: at("work")?,
                    copy: at("copy")?,
                })
            }
        }
    }

    /// Puts them at `/app` of the new root.
    ///
    /// # Errors
    /// Neither an overlay nor a copy can be made.
    pub fn mount(&self, spec: &ShimSpec, notices: &mut Vec<String>) -> Result<(), String> {
        let at = Path::new("/app");
        let (lower, upper, work, copy) = match self {
            Parts::Bind(s) => return bind(s, at, Access::Write),
            Parts::Overlay {
                lower,
                upper,
                work,
                copy,
            } => (lower, upper, work, copy),
        };
        if lower.is_empty() {
            return bind(upper, at, Access::Write);
        }
        place(at, true).why(|| "can't make /app".into())?;
        let layers: Vec<_> = lower.iter().map(Source::path).collect();
        let mut options = format!(
            "lowerdir={},upperdir={},workdir={}",
            layers.join(":"),
            upper.path(),
            work.path()
        );
        if spec.isolation == Isolation::Userns {
            options.push_str(",userxattr");
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let try_it =
            |options: &str| mount(Some("overlay"), at, Some("overlay"), flags, Some(options));
        // what is written is thrown away, so the disk need not be synced for it, above all not at the end
        let Err(e) = try_it(&format!("{options},volatile")).or_else(|_| try_it(&options)) else {
            return Ok(());
        };
        notices.push(format!(
            "no overlay at /app ({e}): the app's files are copied at each start"
        ));
        for layer in lower.iter().rev() {
            copy_tree(
                Path::new(&layer.path()),
                Path::new(&copy.path()),
                owner(spec),
            )
            .why(|| "can't copy the app's files".into())?;
        }
        bind(copy, at, Access::Write)
    }
}

/// The app's tree where there are no mounts: the folder that stands for `/app`.
///
/// # Errors
/// It can't be copied.
pub fn plain(spec: &ShimSpec, host: &Host) -> Result<PathBuf, String> {
    match &spec.app {
        AppTree::Bind { path } => Ok(path.clone()),
        AppTree::Overlay { lower } => {
            folder(host, "copy", 0o755, None)?;
            let copy = spec.dir.join("copy");
            for layer in lower.iter().rev() {
                copy_tree(layer, &copy, None)
                    .why(|| format!("can't copy the app's files from {}", layer.display()))?;
            }
            Ok(copy)
        }
    }
}

/// Copies what is in `from` into the existing folder `to`, over what is there, with modes and times. Sockets, pipes
/// and devices are left out.
fn copy_tree(from: &Path, to: &Path, uid: Option<u32>) -> io::Result<()> {
    for e in fs::read_dir(from)? {
        let e = e?;
        let (src, dst) = (e.path(), to.join(e.file_name()));
        let meta = e.metadata()?;
        let kind = meta.file_type();
        if let Ok(there) = dst.symlink_metadata()
            && !(there.is_dir() && kind.is_dir())
        {
            if there.is_dir() {
                fs::remove_dir_all(&dst)?;
            } else {
                fs::remove_file(&dst)?;
            }
        }
        if kind.is_dir() {
            match fs::create_dir(&dst) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            copy_tree(&src, &dst, uid)?;
            finish(&fs::File::open(&dst)?, &meta, uid)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&src)?, &dst)?;
            if uid.is_some() {
                lchown(&dst, uid, uid)?;
            }
        } else if kind.is_file() {
            let mut out = fs::File::create_new(&dst)?;
            io::copy(&mut fs::File::open(&src)?, &mut out)?;
            finish(&out, &meta, uid)?;
        } else {
            debug_assert!(
                kind.is_socket()
                    || kind.is_fifo()
                    || kind.is_block_device()
                    || kind.is_char_device()
            );
        }
    }
    Ok(())
}

/// Owner, mode, and time of last change: Python trusts a `.pyc` by the time of its source.
fn finish(f: &fs::File, meta: &fs::Metadata, uid: Option<u32>) -> io::Result<()> {
    if uid.is_some() {
        fchown(f, uid, uid)?;
    }
    f.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o777))?;
    f.set_modified(meta.modified()?)
}

/// Throws away all that the process wrote.
pub fn throw_away(host: &Host) {
    let _ = nix::mount::umount2("/app", nix::mount::MntFlags::MNT_DETACH);
    for name in crate::root::SCRATCH {
        let _ = remove::tree(host.dir.as_raw_fd(), name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_modes_links_and_times_and_the_upper_layer_wins() {
        let t = tempfile::tempdir().unwrap();
        let (a, b, to) = (t.path().join("a"), t.path().join("b"), t.path().join("to"));
        for d in [&a, &b, &to] {
            fs::create_dir_all(d.join("sub")).unwrap();
        }
        fs::write(a.join("sub/x"), "lower").unwrap();
        fs::write(b.join("sub/x"), "upper").unwrap();
        fs::set_permissions(b.join("sub/x"), fs::Permissions::from_mode(0o750)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let f = fs::File::options()
            .write(true)
            .open(b.join("sub/x"))
            .unwrap();
        f.set_modified(time).unwrap();
        symlink("/nowhere", a.join("link")).unwrap();
        fs::create_dir(a.join("thing")).unwrap();
        fs::write(b.join("thing"), "a file now").unwrap();
        copy_tree(&a, &to, None).unwrap();
        copy_tree(&b, &to, None).unwrap();
        let meta = to.join("sub/x").metadata().unwrap();
        assert_eq!(fs::read_to_string(to.join("sub/x")).unwrap(), "upper");
        assert_eq!(
            (meta.mode() & 0o777, meta.modified().unwrap()),
            (0o750, time)
        );
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere")
        );
        assert_eq!(fs::read_to_string(to.join("thing")).unwrap(), "a file now");
    }
}
