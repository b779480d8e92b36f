//! Folders of a release that the router serves by itself, put where it can read them.
//!
//! Slugs are closed to the router, which is a user of its own. So the folder that `hokku.toml` names is laid at
//! `<data>/router/files/<app>/<digest>/<root>`: folders of the agent's, which nobody else can write to, and in them a hard
//! link to each file. What can't be linked, or that others than its owner can't read, is copied. Nothing is half there: a
//! folder is made under another name and renamed, and a marker beside it says in which boot that was; after a power cut it
//! is made again, as trees are (see [`super::place`]).
//!
//! The router's own folder belongs to the router, so the way down is walked without following symlinks, and `files` has
//! to be the agent's.

use super::place::{self, Places};
use anyhow::{Context, bail, ensure};
use hokku_model::{AppId, release::SlugDigest, routing::laid_out};
use rustix::{
    fs::{
        self, AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec,
        Timestamps,
    },
    io::Errno,
};
use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// Files and folders of one published folder.
const MOST: usize = 1_000_000;
/// Folders in folders.
const DEEPEST: usize = 64;
const MARKER: &str = "%ok";
const TEMPORARY: &str = "%tmp";

/// Lays a folder of an unpacked tree out for the router. Returns its path from the router's own folder, which is where a
/// router looks from. The caller holds the slug's lock.
///
/// # Errors
/// The slug has no such folder, or it can't be written, with the place.
pub(super) fn publish(
    places: &Places,
    app: AppId,
    digest: &SlugDigest,
    root: &str,
) -> anyhow::Result<String> {
    let path = laid_out(app, digest, root).with_context(|| {
        format!(
            "{root:?} is no folder inside the release: expected a path such as public or web/dist"
        )
    })?;
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let shown = || format!("can't lay out {root} of the slug {digest} for the router");
    let tree = open_folder(CWD, places.tree(app, digest)).with_context(shown)?;
    let source = beneath(&tree, root, OFlags::DIRECTORY).with_context(|| {
        format!(
            "{root:?}, which hokku.toml names as a folder of files, is no folder of the release"
        )
    })?;
    let place = place_for(places, app, digest).with_context(shown)?;
    let said = places.boot_line();
    if read_marker(&place, &name) == Some(said.clone()) && open_folder(&place, &name).is_ok() {
        return Ok(path);
    }
    let temporary = format!("{name}{TEMPORARY}");
    remove_at(places, app, digest, &temporary);
    fs::mkdirat(&place, &temporary, OPEN).with_context(shown)?;
    let made = open_folder(&place, &temporary).with_context(shown)?;
    let mut copy = Copy {
        tree: tree.as_fd(),
        left: MOST,
        skipped: 0,
    };
    let begin = if root == "." { "" } else { root };
    let laid = copy.folder(&source, &made, begin, 0);
    if let Err(e) = laid {
        remove_at(places, app, digest, &temporary);
        return Err(e).with_context(shown);
    }
    if copy.skipped > 0 {
        tracing::warn!(%app, slug = %digest, root, "{} entries are not served: symlinks that lead out of the release or to folders, pipes, devices", copy.skipped);
    }
    crate::sys::fault::point("public-laid");
    swap(&place, &temporary, &name).with_context(shown)?;
    crate::sys::fault::point("public-swapped");
    remove_at(places, app, digest, &temporary);
    remove_at(places, app, digest, &format!("{name}%old{TEMPORARY}"));
    mark(&place, &name, &said).with_context(shown)?;
    Ok(path)
}

/// Deletes what was published of a slug. A failure is logged.
pub(super) fn withdraw(places: &Places, app: AppId, digest: &SlugDigest) {
    place::remove(&places.public.join(app.to_string()).join(digest.as_str()));
    // goes with the last one; until then it is not empty
    let _ = std::fs::remove_dir(places.public.join(app.to_string()));
}

/// Removes what a crash left half made, and what belongs to no slug.
pub(super) fn clean(places: &Places) {
    for app in place::names(&places.public).unwrap_or_default() {
        let folder = places.public.join(&app);
        let app: Option<AppId> = app.to_str().and_then(|a| a.parse().ok());
        for name in place::names(&folder).unwrap_or_default() {
            let digest: Option<SlugDigest> = name.to_str().and_then(|n| n.parse().ok());
            let (Some(app), Some(digest)) = (app, digest) else {
                place::remove(&folder.join(&name));
                continue;
            };
            if !places.archive(app, &digest).exists() {
                withdraw(places, app, &digest);
                continue;
            }
            for root in place::names(&folder.join(&name)).unwrap_or_default() {
                if root.to_str().is_none_or(|r| r.ends_with(TEMPORARY)) {
                    place::remove(&folder.join(&name).join(root));
                }
            }
        }
    }
}

const OPEN: Mode = Mode::RWXU
    .union(Mode::RGRP)
    .union(Mode::XGRP)
    .union(Mode::ROTH)
    .union(Mode::XOTH);

fn open_folder(at: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::empty())
}

/// Opens below a folder, following no symlink out of it. Symlinks that stay inside count.
fn beneath(
    at: impl AsFd,
    name: impl rustix::path::Arg,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(
        at,
        name,
        flags | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
}

/// The folder of this slug's published folders, made if need be.
fn place_for(places: &Places, app: AppId, digest: &SlugDigest) -> anyhow::Result<OwnedFd> {
    let router = places.public.parent().unwrap_or(&places.public);
    std::fs::create_dir_all(router)?;
    let mut at = open_folder(CWD, router)?;
    for name in ["files", &app.to_string(), digest.as_str()] {
        match fs::mkdirat(&at, name, OPEN) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e).context(format!("can't make the folder {name}")),
        }
        let next = open_folder(&at, name).with_context(|| {
            format!(
                "{name} in {} is in the way: it is no folder",
                router.display()
            )
        })?;
        let owner = fs::fstat(&next)?.st_uid;
        if owner != nix::unistd::geteuid().as_raw() {
            bail!(
                "{name} in {} belongs to the user {owner} and not to the agent: remove it",
                router.display()
            );
        }
        // whatever the umask was
        fs::fchmod(&next, OPEN)?;
        at = next;
    }
    Ok(at)
}

fn remove_at(places: &Places, app: AppId, digest: &SlugDigest, name: &str) {
    let folder = places.public.join(app.to_string()).join(digest.as_str());
    place::remove(&folder.join(name));
}

/// Puts the new folder in the old one's place; there is one at each moment, if the file system can do that.
fn swap(place: &OwnedFd, new: &str, name: &str) -> rustix::io::Result<()> {
    match fs::renameat(place, new, place, name) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            match fs::renameat_with(place, new, place, name, RenameFlags::EXCHANGE) {
                // a file system that can't: for a moment there is none
                Err(Errno::INVAL | Errno::NOSYS) => {
                    fs::renameat(place, name, place, format!("{name}%old{TEMPORARY}"))?;
                    fs::renameat(place, new, place, name)
                }
                other => other,
            }
        }
        other => other,
    }
}

fn read_marker(place: &OwnedFd, name: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = fs::openat(place, format!("{name}{MARKER}"), flags, Mode::empty()).ok()?;
    io::read_to_string(File::from(fd)).ok()
}

fn mark(place: &OwnedFd, name: &str, text: &str) -> io::Result<()> {
    let temporary = format!("{name}{MARKER}{TEMPORARY}");
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(place, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
    io::Write::write_all(&mut File::from(file), text.as_bytes())?;
    Ok(fs::renameat(
        place,
        &temporary,
        place,
        format!("{name}{MARKER}"),
    )?)
}

/// One folder's way from the tree to the router.
struct Copy<'a> {
    /// Symlinks may lead anywhere inside of it.
    tree: BorrowedFd<'a>,
    /// Entries that may still come.
    left: usize,
    skipped: usize,
}

impl Copy<'_> {
    /// `path`: of the folder, from the tree.
    fn folder(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        path: &str,
        depth: usize,
    ) -> anyhow::Result<()> {
        ensure!(depth < DEEPEST, "{path} lies deeper than {DEEPEST} folders");
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            ensure!(self.left > 0, "there are more than {MOST} files");
            self.left -= 1;
            self.entry(from, to, name, path, depth)
                .with_context(|| format!("{path}/{}", name.to_string_lossy()))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &str,
        depth: usize,
    ) -> anyhow::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut it = fs::openat(from, name, flags, Mode::empty())?;
        let mut stat = fs::fstat(&it)?;
        let mut kind = FileType::from_raw_mode(stat.st_mode);
        let was_link = kind == FileType::Symlink;
        if was_link {
            let mut inside = path.as_bytes().to_vec();
            if !inside.is_empty() {
                inside.push(b'/');
            }
            inside.extend_from_slice(name.to_bytes());
            let Ok(target) = beneath(self.tree, inside, OFlags::PATH) else {
                self.skipped += 1;
                return Ok(());
            };
            stat = fs::fstat(&target)?;
            kind = FileType::from_raw_mode(stat.st_mode);
            it = target;
        }
        match kind {
            FileType::RegularFile => file(&it, &stat, to, name).map_err(Into::into),
            // through a symlink there might be no end to them
            FileType::Directory if !was_link => {
                fs::mkdirat(to, name, OPEN)?;
                let made = open_folder(to, name)?;
                fs::fchmod(&made, OPEN)?;
                let below = format!(
                    "{path}{}{}",
                    if path.is_empty() { "" } else { "/" },
                    name.to_string_lossy()
                );
                let source = open_folder(from, name)?;
                self.folder(&source, &made, &below, depth + 1)
            }
            _ => {
                self.skipped += 1;
                Ok(())
            }
        }
    }
}

/// Links a file, or copies it where its mode or the file system forbids that.
fn file(it: &OwnedFd, stat: &Stat, to: &OwnedFd, name: &CStr) -> io::Result<()> {
    // a name that leads to the very file that was looked at, whatever lies there now
    let itself = format!("/proc/self/fd/{}", it.as_raw_fd());
    if stat.st_mode & 0o004 != 0 {
        match fs::linkat(CWD, &itself, to, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(()),
            // another file system, too many names, or a kernel that links only what one owns
            Err(
                Errno::XDEV
                | Errno::MLINK
                | Errno::PERM
                | Errno::ACCESS
                | Errno::NOENT
                | Errno::OPNOTSUPP,
            ) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let mut source = File::open(&itself)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let mut made = File::from(fs::openat(to, name, flags, mode)?);
    io::copy(&mut source, &mut made)?;
    fs::fchmod(&made, mode)?;
    // the router tells clients when it changed
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec as _,
    };
    Ok(fs::futimens(
        &made,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )?)
}
