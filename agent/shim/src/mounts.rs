//! Mounts: binds, read-only binds, private file systems.

use crate::call::{self, Why};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

/// Where the host is while the new root is being furnished.
pub const OLD: &str = "/.old";

/// Something of the host, opened before its tree was left: a place that can be bound, listed or used as a layer.
pub struct Source(OwnedFd);

impl Source {
    /// Opens it.
    ///
    /// # Errors
    /// It does not exist.
    pub fn open(path: &Path) -> Result<Source, String> {
        call::open_path(path)
            .map(Source)
            .why(|| format!("can't find {}", path.display()))
    }

    /// A path to it from inside the new root, as long as the host's tree is at [`OLD`]. It has no characters that
    /// mean something in mount options.
    pub fn path(&self) -> String {
        format!("{OLD}/proc/self/fd/{}", self.0.as_raw_fd())
    }

    /// Is it a folder?
    pub fn is_dir(&self) -> bool {
        fs::metadata(self.path()).is_ok_and(|m| m.is_dir())
    }
}

/// What a bind may be used for.
#[derive(Clone, Copy, PartialEq)]
pub enum Access {
    /// Look only; no devices, no set-user-id.
    Read,
    /// Also write; no devices, no set-user-id.
    Write,
    /// A device node.
    Device,
}

/// Shows `from` at `to`, which is made if needed (as a folder or file, as `from` is one).
///
/// # Errors
/// The place can't be made, or the kernel refuses.
pub fn bind(from: &Source, to: &Path, access: Access) -> Result<(), String> {
    let say = || format!("can't show a folder of the host at {}", to.display());
    place(to, from.is_dir()).why(say)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&*from.path()), to, None::<&str>, flags, None::<&str>).why(say)?;
    restrict(to, access).why(say)
}

/// Shows a bind at its final place, which is made if needed, and takes it away from where it was.
///
/// # Errors
/// The place can't be made (it lies in a folder that is shown read-only), or the kernel refuses.
pub fn shift(stage: &Path, to: &Path) -> Result<(), String> {
    let say = || format!("can't show a folder of the host at {}", to.display());
    let none = None::<&str>;
    place(to, stage.is_dir()).why(say)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(stage), to, none, flags, none).why(say)?;
    umount2(stage, MntFlags::MNT_DETACH).why(say)
}

/// Makes the place for a mount.
pub fn place(at: &Path, folder: bool) -> io::Result<()> {
    if at.symlink_metadata().is_ok_and(|m| m.is_dir() == folder) {
        return Ok(());
    }
    if folder {
        return fs::create_dir_all(at);
    }
    if let Some(p) = at.parent() {
        fs::create_dir_all(p)?;
    }
    if at.exists() {
        return Ok(());
    }
    fs::File::create(at).map(drop)
}

/// A private, empty file system in memory.
///
/// # Errors
/// The kernel refuses.
pub fn memory(at: &Path, options: &str) -> Result<(), String> {
    let say = || format!("can't make a private {}", at.display());
    place(at, true).why(say)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options)).why(say)
}

/// Sets the flags of a bind and of all mounts below it.
pub fn restrict(at: &Path, access: Access) -> io::Result<()> {
    let set = match access {
        Access::Read => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        Access::Write => libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        Access::Device => return Ok(()),
    };
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let p = call::cstring(at)?;
    // SAFETY: the path is a C string, and the size is that of the struct given
    let r = call::check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            p.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    });
    match r {
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => restrict_each(at, access),
        r => r.map(drop),
    }
}

/// The same on kernels before 5.12, mount by mount; flags that are set stay set.
fn restrict_each(at: &Path, access: Access) -> io::Result<()> {
    let table = fs::read_to_string(format!("{OLD}/proc/self/mountinfo"))?;
    for line in table.lines() {
        let mut words = line.split(' ').skip(4);
        let (Some(point), Some(options)) = (words.next(), words.next()) else {
            continue;
        };
        let point = Path::new(point);
        if !point.starts_with(at) {
            continue;
        }
        let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        flags |= MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        for o in options.split(',') {
            flags |= match o {
                "ro" => MsFlags::MS_RDONLY,
                "noexec" => MsFlags::MS_NOEXEC,
                "noatime" => MsFlags::MS_NOATIME,
                "nodiratime" => MsFlags::MS_NODIRATIME,
                "relatime" => MsFlags::MS_RELATIME,
                _ => MsFlags::empty(),
            };
        }
        if access == Access::Read {
            flags |= MsFlags::MS_RDONLY;
        }
        mount(None::<&str>, point, None::<&str>, flags, None::<&str>)?;
    }
    Ok(())
}
