//! The dyno's own file system: system folders of the host read-only, `/app`, private `/tmp`, and nothing else.

use crate::{
    app,
    call::{self, Why},
    mask,
    mounts::{self, Access, OLD, Source, bind, memory},
    report::Host,
};
use hokku_model::shim::{Isolation, ShimSpec};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    ffi::OsString,
    fs,
    os::{
        fd::AsRawFd,
        unix::fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

/// The sub-folders of the dyno's folder that are thrown away at the end.
pub const SCRATCH: [&str; 6] = ["root", "upper", "work", "copy", "tmp", "vartmp"];

/// Where binds wait until the host's tree is left.
const STAGES: &str = "/.binds";

/// An entry of the host's top folder that is shown inside.
enum Shown {
    Folder(OsString, Source),
    Link(OsString, PathBuf),
}

/// Builds the new root and makes it this process's root. Everything of the host that was not bound is out of reach
/// afterwards, save for descriptors that are open.
///
/// # Errors
/// A folder of the order does not exist, or the kernel refuses a mount; the text says which.
pub fn build(spec: &ShimSpec, host: &Host, notices: &mut Vec<String>) -> Result<(), String> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .why(|| "can't make the mounts private".into())?;
    for (name, mode) in [("root", 0o755), ("tmp", 0o1777), ("vartmp", 0o1777)] {
        folder(host, name, mode, None)?;
    }
    let shown = shown()?;
    let resolver = resolver();
    let devices = ["null", "zero", "full", "random", "urandom", "tty"]
        .map(|n| (n, Source::open(&Path::new("/dev").join(n))));
    let scratch = Source::open(&spec.dir.join("tmp"))?;
    let var_scratch = Source::open(&spec.dir.join("vartmp"))?;
    let cpu = Source::open(Path::new("/sys/devices/system/cpu"));
    let app = app::Parts::open(spec, host)?;
    let binds = spec
        .binds
        .iter()
        .map(|b| Ok((b, Source::open(&b.from)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let hidden: Vec<PathBuf> = spec
        .hide
        .iter()
        .flat_map(|p| [Some(p.clone()), p.canonicalize().ok()])
        .flatten()
        .collect();

    enter(&spec.dir.join("root"))?;
    for entry in shown {
        match entry {
            Shown::Folder(name, source) => bind(&source, &Path::new("/").join(name), Access::Read)?,
            Shown::Link(name, to) => symlink(to, Path::new("/").join(&name))
                .why(|| format!("can't make the link /{}", name.display()))?,
        }
    }
    accounts(spec, notices);
    for path in &hidden {
        if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            memory(path, "mode=0755,size=64k")?;
        }
    }
    let folders = ["/home", "/sys", "/var"];
    for f in folders {
        fs::create_dir_all(f).why(|| format!("can't make {f}"))?;
    }
    bind(&scratch, Path::new("/tmp"), Access::Write)?;
    bind(&var_scratch, Path::new("/var/tmp"), Access::Write)?;
    memory(Path::new("/run"), "mode=1777,size=16m")?;
    symlink("/run", "/var/run").why(|| "can't make the link /var/run".into())?;
    if let Some((at, source)) = resolver
        && let Err(e) = bind(&source, &at, Access::Read)
    {
        notices.push(format!("names of hosts may not be resolved inside: {e}"));
    }
    system(spec, cpu.ok(), notices)?;
    mask::cover()?;
    dev(spec, devices)?;
    app.mount(spec, notices)?;
    let mut staged = Vec::new();
    for (i, (b, source)) in binds.iter().enumerate() {
        let access = if b.writable {
            Access::Write
        } else {
            Access::Read
        };
        let stage = Path::new(STAGES).join(i.to_string());
        bind(source, &stage, access)?;
        staged.push((stage, Path::new("/").join(&b.to)));
    }
    // only now are names followed that the app's own files may have set up: a link to the host would lead nowhere
    umount2(OLD, MntFlags::MNT_DETACH)
        .map_err(std::io::Error::from)
        .and_then(|()| fs::remove_dir(OLD))
        .why(|| "can't leave the host's tree".into())?;
    for (stage, to) in staged {
        mounts::shift(&stage, &to)?;
        // empty by now; never more than the place itself is removed
        let _ = fs::remove_file(&stage).or_else(|_| fs::remove_dir(&stage));
    }
    let _ = fs::remove_dir(STAGES);
    seal(&hidden)
}

/// Makes a sub-folder of the dyno's folder, with this mode whatever the umask is.
pub fn folder(host: &Host, name: &str, mode: u32, uid: Option<u32>) -> Result<(), String> {
    let say = || format!("can't make the dyno's folder {name}");
    call::mkdir_at(host.dir.as_raw_fd(), name, 0o700).why(say)?;
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let d = call::open_at(host.dir.as_raw_fd(), Path::new(name), flags, 0).why(say)?;
    call::give(&d, uid).why(say)?;
    fs::File::from(d)
        .set_permissions(fs::Permissions::from_mode(mode))
        .why(say)
}

fn shown() -> Result<Vec<Shown>, String> {
    let mut all = Vec::new();
    for e in fs::read_dir("/").why(|| "can't list /".into())?.flatten() {
        let name = e.file_name();
        let wanted = name.to_str().is_some_and(|n| {
            ["usr", "bin", "sbin", "etc", "opt"].contains(&n) || (n.starts_with("lib"))
        });
        let Ok(kind) = e.file_type() else { continue };
        if wanted && kind.is_symlink() {
            let to = fs::read_link(e.path())
                .why(|| format!("can't read the link {}", e.path().display()))?;
            all.push(Shown::Link(name, to));
        } else if wanted && kind.is_dir() {
            let source = Source::open(&e.path())?;
            all.push(Shown::Folder(name, source));
        }
    }
    Ok(all)
}

/// `/etc/resolv.conf` may be a link into `/run` (systemd-resolved), which is private inside. The folder is shown, not
/// the file, because the file is replaced now and then.
fn resolver() -> Option<(PathBuf, Source)> {
    let file = Path::new("/etc/resolv.conf").canonicalize().ok()?;
    let folder = file.parent()?;
    if !folder.starts_with("/run/") && !folder.starts_with("/var/") {
        return None;
    }
    let nothing_but_names = folder.components().count() > 2;
    nothing_but_names
        .then(|| Source::open(folder).ok().map(|s| (folder.into(), s)))
        .flatten()
}

/// Makes a new, empty file system the root; the host's is at [`OLD`] from here on.
fn enter(at: &Path) -> Result<(), String> {
    memory(at, "mode=0755,size=4m")?;
    let old = at.join(&OLD[1..]);
    fs::create_dir(&old).why(|| "can't prepare the new root".into())?;
    nix::unistd::pivot_root(at, &old).why(|| "can't enter the new root".into())?;
    std::env::set_current_dir("/").why(|| "can't enter the new root".into())
}

/// Own `/etc/passwd` and `/etc/group`, so that the app's user has a name and a home.
fn accounts(spec: &ShimSpec, notices: &mut Vec<String>) {
    let (uid, gid) = match spec.isolation {
        Isolation::Root { uid } => (uid, uid),
        _ => (
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
        ),
    };
    let passwd = format!("app:x:{uid}:{gid}::/app:/bin/bash");
    let group = format!("app:x:{gid}:");
    for (file, entry) in [("/etc/passwd", passwd), ("/etc/group", group)] {
        if let Err(e) = account(Path::new(file), &entry) {
            notices.push(format!("the app's user has no name inside: {file}: {e}"));
        }
    }
}

/// Puts `entry` before the host's system accounts. People's accounts are left out: an app has no business with them.
fn account(file: &Path, entry: &str) -> Result<(), String> {
    let old = fs::read_to_string(file).why(|| "can't read it".into())?;
    let mut text = format!("{entry}\n");
    for line in old.lines() {
        let mut words = line.split(':');
        let name = words.next().unwrap_or_default();
        let id: Option<u32> = words.nth(1).and_then(|i| i.parse().ok());
        if name != "app" && id.is_some_and(|i| i < 1000 || i == 65_534) {
            text.push_str(line);
            text.push('\n');
        }
    }
    let tmp = Path::new("/.account");
    fs::write(tmp, text).why(|| "can't write it".into())?;
    let none = None::<&str>;
    mount(Some(tmp), file, none, MsFlags::MS_BIND, none).why(|| "can't cover it".into())?;
    mounts::restrict(file, Access::Read).why(|| "can't protect it".into())?;
    fs::remove_file(tmp).why(|| "can't clean up".into())
}

/// `/proc`, and of `/sys` only what programs count processors and memory by.
fn system(spec: &ShimSpec, cpu: Option<Source>, notices: &mut Vec<String>) -> Result<(), String> {
    fs::create_dir_all("/proc").why(|| "can't make /proc".into())?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
        .why(|| "can't mount /proc (is the agent in a container that hides parts of it?)".into())?;
    if let Some(cpu) = cpu
        && let Err(e) = bind(&cpu, Path::new("/sys/devices/system/cpu"), Access::Read)
    {
        notices.push(e);
    }
    if let Some(bytes) = spec.limits.memory {
        // where scripts of Heroku's buildpacks look to size pools and heaps
        let dir = "/sys/fs/cgroup/memory";
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(format!("{dir}/memory.limit_in_bytes"), format!("{bytes}\n")))
            .why(|| format!("can't write {dir}"))?;
    }
    Ok(())
}

fn dev(spec: &ShimSpec, devices: [(&str, Result<Source, String>); 6]) -> Result<(), String> {
    let dev = Path::new("/dev");
    fs::create_dir_all(dev).why(|| "can't make /dev".into())?;
    for (name, source) in devices {
        bind(&source?, &dev.join(name), Access::Device)?;
    }
    memory(&dev.join("shm"), "mode=1777,size=25%")?;
    fs::create_dir_all("/dev/pts").why(|| "can't make /dev/pts".into())?;
    // group 5 is tty; a user namespace has no such group
    let group = if spec.isolation == Isolation::Userns {
        ""
    } else {
        ",gid=5"
    };
    let options = format!("newinstance,ptmxmode=0666,mode=0620{group}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(
        Some("devpts"),
        "/dev/pts",
        Some("devpts"),
        flags,
        Some(&*options),
    )
    .why(|| "can't mount /dev/pts".into())?;
    for (link, to) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(to, dev.join(link)).why(|| format!("can't make /dev/{link}"))?;
    }
    Ok(())
}

/// Makes the top folder and the hidden ones unchangeable.
fn seal(hidden: &[PathBuf]) -> Result<(), String> {
    let none = None::<&str>;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for at in hidden.iter().map(PathBuf::as_path).chain([Path::new("/")]) {
        if at == Path::new("/") || at.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            mount(none, at, none, flags, none)
                .why(|| format!("can't make {} read-only", at.display()))?;
        }
    }
    Ok(())
}
