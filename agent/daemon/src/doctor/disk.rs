//! Room and rights where data and temporary files are.

use super::{Check, Ground};
use nix::sys::statvfs::{FsFlags, Statvfs, statvfs};
use std::{os::unix::fs::PermissionsExt, path::Path};

pub(super) fn checks(g: &Ground) -> Vec<Check> {
    let data = &g.config.data_dir;
    let mut all = vec![];
    match statvfs(data) {
        Err(e) => all.push(Check::fail(
            "disk",
            format!(
                "The data folder {} can't be looked at: {e}.",
                data.display()
            ),
            "systemd-tmpfiles --create hokku.conf, or correct data_dir in /etc/hokku/hokku.toml",
        )),
        Ok(s) => {
            all.push(room(data, &s));
            all.push(inodes(data, &s));
            all.push(rights(data, &s));
        }
    }
    let noexec = statvfs("/tmp").is_ok_and(|s| s.flags().contains(FsFlags::ST_NOEXEC));
    all.push(match noexec {
        true => Check::warn(
            "tmp",
            "/tmp is mounted noexec: builds and apps that unpack programs there fail, if they see the host's /tmp (apps without walls do).",
            "mount -o remount,exec /tmp, and take noexec out of /etc/fstab or tmp.mount",
        ),
        false => Check::ok("tmp", "Programs may be run in /tmp."),
    });
    all
}

/// A number of bytes, as people say it.
fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 10 << 30 => format!("{} GB", b >> 30),
        b => format!("{} MB", b >> 20),
    }
}

fn room(data: &Path, s: &Statvfs) -> Check {
    let unit = s.fragment_size();
    let (free, all) = (s.blocks_available() * unit, s.blocks() * unit);
    let says = format!(
        "{} of {} are free for {}.",
        size(free),
        size(all),
        data.display()
    );
    let fix = "Delete what is not needed or make the disk larger; smaller budgets for slugs and logs are [retain] in /etc/hokku/hokku.toml.";
    match verdict(free, all, 256 << 20, 2 << 30) {
        Room::Enough => Check::ok("disk", says),
        Room::Little => Check::warn("disk", says, fix),
        Room::None => Check::fail("disk", format!("{says} Pushes will fail."), fix),
    }
}

fn inodes(data: &Path, s: &Statvfs) -> Check {
    let (free, all) = (s.files_available(), s.files());
    // file systems such as btrfs have no such number
    if all == 0 {
        return Check::ok(
            "inodes",
            "This file system sets no limit to the number of files.",
        );
    }
    let says = format!("{free} of {all} inodes are free for {}.", data.display());
    let fix = "Delete small files, such as old caches, or move the data folder to a file system with more inodes.";
    match verdict(free, all, 10_000, 200_000) {
        Room::Enough => Check::ok("inodes", says),
        Room::Little => Check::warn("inodes", says, fix),
        Room::None => Check::fail("inodes", format!("{says} Pushes will fail."), fix),
    }
}

#[derive(Debug, PartialEq)]
enum Room {
    Enough,
    Little,
    None,
}

/// Below `least`, or a hundredth, is none; little is below `fair` or a tenth, whichever is less.
fn verdict(free: u64, all: u64, least: u64, fair: u64) -> Room {
    match free {
        f if f < least.min(all / 20) || f < all / 100 && f < least * 4 => Room::None,
        f if f < fair.min(all / 10) => Room::Little,
        _ => Room::Enough,
    }
}

fn rights(data: &Path, s: &Statvfs) -> Check {
    let flags = s.flags();
    let there = |f, name| flags.contains(f).then_some(name);
    let wrong: Vec<_> = [
        there(FsFlags::ST_NOEXEC, "noexec"),
        there(FsFlags::ST_RDONLY, "read-only"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !wrong.is_empty() {
        return Check::fail(
            "data",
            format!(
                "{} is mounted {}, and apps are run from there.",
                data.display(),
                wrong.join(" and ")
            ),
            format!(
                "mount -o remount,exec,rw {}, and correct /etc/fstab",
                data.display()
            ),
        );
    }
    for (path, most) in [
        (data.join("secret.key"), 0o600),
        (data.join("hokku.db"), 0o600),
        (data.to_owned(), 0o711),
    ] {
        let Ok(meta) = std::fs::metadata(&path) else {
            continue;
        };
        let mode = meta.permissions().mode() & 0o777;
        if mode & !most != 0 {
            return Check::fail(
                "data",
                format!(
                    "{} has the mode {mode:o}, so others than hokku can read or change it.",
                    path.display()
                ),
                format!("chmod {most:o} {}", path.display()),
            );
        }
    }
    Check::ok(
        "data",
        format!(
            "{} is closed to others, and programs can be run from it.",
            data.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_is_enough() {
        let gb = 1u64 << 30;
        for (free, all, room) in [
            (20 * gb, 40 * gb, Room::Enough),
            (3 * gb, 40 * gb, Room::Enough),
            (gb, 40 * gb, Room::Little),
            (gb / 10, 40 * gb, Room::None),
            // a small disk is not scolded for being small
            (gb / 2, gb, Room::Enough),
            (gb / 15, gb, Room::Little),
            (gb / 50, gb, Room::None),
            (0, gb, Room::None),
        ] {
            assert_eq!(
                verdict(free, all, 256 << 20, 2 << 30),
                room,
                "{free} of {all}"
            );
        }
        assert_eq!(
            (size(5 << 20), size(12 << 30)),
            ("5 MB".into(), "12 GB".into())
        );
    }
}
