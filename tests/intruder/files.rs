//! Ways to the files of the host, of the agent and of other apps.

use super::{Facts, Verdict, Way, any, gained, last, refused};
use std::{
    ffi::CString,
    fs,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

pub const WAYS: &[Way] = &[
    Way("list the agent's data folder", |f| list(f.get("data"))),
    Way("read the store", |f| {
        below(
            f,
            &[
                "hokku.db",
                "store.db",
                "store/hokku.db",
                "keyring",
                "master.key",
            ],
        )
    }),
    Way("list the git repositories", |f| {
        list(&format!("{}/git", f.get("data")))
    }),
    Way("list all logs", |f| {
        list(&format!("{}/logs", f.get("data")))
    }),
    Way("list the dynos' folders", |f| {
        list(&format!("{}/dynos", f.get("data")))
    }),
    Way("list the slugs", |f| {
        list(&format!("{}/slugs", f.get("data")))
    }),
    Way("read the agent's settings", |f| read(f.get("settings"))),
    Way("read the other app's file by its path on the host", |f| {
        read(f.get("treasure"))
    }),
    Way("find the other app's file anywhere", |f| {
        find(f.get("mark"))
    }),
    Way("read the passwords of the host", |_| {
        any(["/etc/shadow", "/etc/gshadow", "/etc/shadow-"], read)
    }),
    Way("read who may become root", |_| any(["/etc/sudoers"], read)),
    Way("read the host's SSH keys", |_| {
        any(
            [
                "/etc/ssh/ssh_host_ed25519_key",
                "/etc/ssh/ssh_host_rsa_key",
                "/root/.ssh/authorized_keys",
            ],
            read,
        )
    }),
    Way("list people's homes", |_| any(["/root", "/home"], list)),
    Way("list the host's /var/lib", |_| {
        any(["/var/lib", "/var/log", "/srv", "/mnt", "/boot"], list)
    }),
    Way("find the host's /tmp", |f| list(f.get("dir"))),
    Way("leave through .. above the root", |f| {
        let up = format!("/../../../../../..{}", f.get("data"));
        list(&up)
    }),
    Way("leave through the old root", |_| {
        any(["/.old", "/.binds", "/proc/1/root", "/proc/1/cwd"], list)
    }),
    Way("take open files of the shim", |_| list("/proc/1/fd")),
    Way("leave by chroot and ..", chroot),
    Way("follow a link of its own to the host", |f| {
        let _ = symlink(f.get("data"), "/tmp/link");
        list("/tmp/link/")
    }),
    Way("link a file of root's into the app", |_| {
        any(["/etc/shadow", "/usr/bin/passwd", "/etc/passwd"], |p| {
            gained(
                fs::hard_link(p, "/app/linked").or_else(|_| fs::hard_link(p, "/tmp/linked")),
                p,
            )
        })
    }),
    Way("write to the system", |_| {
        any(
            [
                "/etc",
                "/usr",
                "/usr/bin",
                "/usr/local/bin",
                "/opt",
                "/bin",
                "/lib",
                "/",
                "/var",
                "/dev",
                "/sys",
                "/home",
            ],
            |d| gained(fs::write(format!("{d}/hokku-intruder"), "x"), d),
        )
    }),
    Way("change the accounts", |_| {
        any(
            [
                "/etc/passwd",
                "/etc/group",
                "/etc/hosts",
                "/etc/ld.so.preload",
                "/etc/environment",
            ],
            |p| gained(fs::OpenOptions::new().append(true).create(true).open(p), p),
        )
    }),
    Way("make a system file its own", |_| {
        any(["/etc/passwd", "/usr/bin/env", "/dev/null"], |p| {
            gained(fs::set_permissions(p, fs::Permissions::from_mode(0o777)), p)
        })
    }),
    Way("replace a device", |_| {
        gained(fs::remove_file("/dev/null"), "removed /dev/null")
    }),
    Way("write into a mapped file of the system", mapped),
    Way("make a device and read the disk", device),
    Way("open the machine's devices", devices),
    Way("write through sysfs", |_| walk_writable("/sys", 4)),
    Way("write to the control groups", |_| {
        any(
            [
                "/sys/fs/cgroup/cgroup.procs",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/release_agent",
            ],
            open_for_writing,
        )
    }),
    Way("give a file root's rights", |_| {
        let _ = fs::copy("/proc/self/exe", "/tmp/copy");
        let _ = fs::set_permissions("/tmp/copy", fs::Permissions::from_mode(0o6755));
        let c = CString::new("/tmp/copy").unwrap_or_default();
        // SAFETY: a C string; the numbers are root's
        refused(i64::from(unsafe { libc::chown(c.as_ptr(), 0, 0) }))
    }),
    Way("give a file capabilities", |_| {
        fs::write("/tmp/capable", "x").map_err(|e| e.to_string())?;
        // version 2 of the attribute, all bits permitted and effective
        let caps = [
            1u8, 0, 0, 2, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0,
        ];
        // SAFETY: C strings, and pointer and length of one array
        refused(i64::from(unsafe {
            libc::setxattr(
                c"/tmp/capable".as_ptr(),
                c"security.capability".as_ptr(),
                caps.as_ptr().cast(),
                caps.len(),
                0,
            )
        }))
    }),
    Way("watch the host's files", |f| {
        let path = CString::new(f.get("data")).unwrap_or_default();
        // SAFETY: a C string that outlives the call
        refused(unsafe {
            let fd = libc::inotify_init1(0);
            i64::from(libc::inotify_add_watch(
                fd,
                path.as_ptr(),
                libc::IN_ALL_EVENTS,
            ))
        })
    }),
    Way("open a file by its handle", handle),
    Way("fill the host's memory through /run", |_| {
        let mut file = fs::File::create("/run/fill").map_err(|e| e.to_string())?;
        let piece = vec![1u8; 1 << 20];
        for n in 0..64 {
            if let Err(e) = file.write_all(&piece) {
                let _ = fs::remove_file("/run/fill");
                return Err(format!("{n} MB, then {e}"));
            }
        }
        Ok("64 MB".into())
    }),
    Way("write the order that the shim reads at its end", |f| {
        any(["exit.json", "shim.json", "record.json", "ctl.sock"], |n| {
            open_for_writing(format!("{}/dynos/{}/{n}", f.get("data"), f.get("dyno")))
        })
    }),
];

fn list(path: &str) -> Verdict {
    match fs::read_dir(path) {
        Ok(entries) => {
            let names: Vec<_> = entries
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect();
            if names.is_empty() {
                Err("it is empty".into())
            } else {
                Ok(format!("{path}: {}", names.join(" ")))
            }
        }
        Err(e) => Err(e.to_string()),
    }
}

fn read(path: &str) -> Verdict {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(4096)
        .read_to_end(&mut text)
        .map_err(|e| e.to_string())?;
    if text.is_empty() {
        return Err("it is empty".into());
    }
    Ok(format!("{path}: {}", String::from_utf8_lossy(&text)))
}

fn open_for_writing(path: impl AsRef<Path>) -> Verdict {
    let path = path.as_ref();
    gained(
        fs::OpenOptions::new().write(true).open(path),
        &path.display().to_string(),
    )
}

fn below(f: &Facts, names: &[&str]) -> Verdict {
    any(names, |n| read(&format!("{}/{n}", f.get("data"))))
}

/// Looks for a file of this name in the whole tree, as far as it can be seen.
fn find(name: &str) -> Verdict {
    let mut folders = vec!["/".into()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let folder: std::path::PathBuf = folder;
        if folder.starts_with("/proc") || folder.starts_with("/sys") {
            continue;
        }
        for e in fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if !name.is_empty() && e.file_name().to_string_lossy() == name {
                return Ok(e.path().display().to_string());
            }
            if e.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(e.path());
            }
        }
    }
    Err(format!("not among {seen} files"))
}

fn chroot(_: &Facts) -> Verdict {
    let _ = fs::create_dir("/tmp/jail");
    // SAFETY: C strings
    refused(i64::from(unsafe { libc::chroot(c"/tmp/jail".as_ptr()) }))
}

/// A private mapping of a file that everybody runs, written through the process's own memory file.
fn mapped(_: &Facts) -> Verdict {
    let path = "/usr/bin/env";
    let before = fs::read(path).map_err(|e| e.to_string())?;
    let file = fs::File::open(path).map_err(|e| e.to_string())?;
    // SAFETY: a new mapping of a file that is open; nothing else is at the place the kernel chooses
    let at = unsafe {
        use std::os::fd::AsRawFd;
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(last());
    }
    let mut memory = fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")
        .map_err(|e| e.to_string())?;
    memory
        .seek(SeekFrom::Start(at as u64))
        .map_err(|e| e.to_string())?;
    let wrote = memory.write(b"intruder");
    let after = fs::read(path).map_err(|e| e.to_string())?;
    if before == after {
        Err(format!("only its own copy changed ({wrote:?})"))
    } else {
        Ok(path.into())
    }
}

fn device(f: &Facts) -> Verdict {
    let number = f.number("disk") as libc::dev_t;
    for path in [c"/tmp/disk", c"/app/disk", c"/dev/shm/disk", c"/run/disk"] {
        // SAFETY: a C string
        if unsafe { libc::mknod(path.as_ptr(), libc::S_IFBLK | 0o666, number) } == 0 {
            return Ok(format!("made {path:?}"));
        }
    }
    Err(last())
}

fn devices(_: &Facts) -> Verdict {
    const USUAL: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
    let mut names = vec![
        "mem".into(),
        "kmem".into(),
        "kmsg".into(),
        "port".into(),
        "fuse".into(),
        "kvm".into(),
        "net/tun".into(),
        "loop-control".into(),
    ];
    for e in fs::read_dir("/dev").map_err(|e| e.to_string())?.flatten() {
        let mode = e.metadata().map_or(0, |m| m.mode()) & libc::S_IFMT;
        let name = e.file_name().to_string_lossy().into_owned();
        if [libc::S_IFBLK, libc::S_IFCHR].contains(&mode) && !USUAL.contains(&name.as_str()) {
            names.push(name);
        }
    }
    any(names, |n| gained(fs::File::open(format!("/dev/{n}")), &n))
}

/// Any file that opens for writing.
fn walk_writable(top: &str, depth: u32) -> Verdict {
    let mut seen = 0;
    let mut folders = vec![(std::path::PathBuf::from(top), depth)];
    while let Some((folder, left)) = folders.pop() {
        for e in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = e.file_type() else { continue };
            if kind.is_dir() && left > 0 {
                folders.push((e.path(), left - 1));
            } else if kind.is_file() {
                seen += 1;
                if let Ok(got) = open_for_writing(e.path()) {
                    return Ok(got);
                }
            }
        }
    }
    Err(format!("none of {seen} files"))
}

/// A file handle names a file on a disk, whatever is mounted where; the number 2 is the top folder of an ext4 disk.
fn handle(_: &Facts) -> Verdict {
    let root = fs::File::open("/usr").map_err(|e| e.to_string())?;
    // struct file_handle: length 8, type 1 (inode and generation), inode 2
    let mut handle = [8u32, 1, 2, 0];
    // SAFETY: the array has the layout and size that its first word says
    refused(unsafe {
        use std::os::fd::AsRawFd;
        libc::syscall(
            libc::SYS_open_by_handle_at,
            root.as_raw_fd(),
            handle.as_mut_ptr(),
            libc::O_RDONLY,
        )
    })
}
