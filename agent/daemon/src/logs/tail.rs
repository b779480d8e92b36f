//! Following: waits on inotify, reads what was appended, hands it on without ever waiting for the reader.

use super::{Files, read};
use hokku_model::log::{LogFilter, LogLine};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{io::unix::AsyncFd, sync::mpsc, time::timeout};

/// One file that is followed.
pub(super) struct Followed {
    pub(super) file: File,
    inode: u64,
    offset: u64,
}

/// Sends the newest `n` lines, then new ones until the receiver is dropped.
pub(super) async fn follow(files: Files, n: usize, filter: LogFilter, tx: mpsc::Sender<LogLine>) {
    let mut tail = Tail {
        files,
        filter,
        followed: BTreeMap::new(),
        old: BTreeSet::new(),
        missed: 0,
        since: String::new(),
    };
    let watch = tail.watch();
    let snapshot = tail.files.snapshot();
    for (path, len) in &snapshot {
        tail.old.insert(path.clone());
        tail.open(path, *len);
    }
    for line in read::newest(&snapshot, n, &tail.filter) {
        if tx.send(line).await.is_err() {
            return;
        }
    }
    loop {
        tail.read(&tx);
        // The time-out covers folders that appear later, and the reader's end.
        let wait = async {
            match &watch {
                Ok(w) => {
                    if let Ok(mut ready) = w.readable().await {
                        let _ = w.get_ref().0.read_events();
                        ready.clear_ready();
                    }
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        tokio::select! {
            _ = timeout(Duration::from_secs(1), wait) => {}
            () = tx.closed() => return,
        }
    }
}

/// `Inotify` as tokio wants it.
struct Watch(Inotify);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

struct Tail {
    files: Files,
    filter: LogFilter,
    followed: BTreeMap<PathBuf, Followed>,
    /// Files that were there at the start; they are not new.
    old: BTreeSet<PathBuf>,
    missed: u64,
    since: String,
}

impl Tail {
    fn watch(&self) -> std::io::Result<AsyncFd<Watch>> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_FROM;
        for dir in self.files.others.iter().chain([&self.files.dynos]) {
            fs::create_dir_all(dir)?;
            inotify.add_watch(dir, flags)?;
        }
        // SAFETY: the descriptor is owned by the `Watch`, which returns the same one each time and is never changed.
        unsafe { AsyncFd::register_with_interest(Watch(inotify), tokio::io::Interest::READABLE) }
            .map_err(Into::into)
    }

    fn open(&mut self, path: &PathBuf, offset: u64) {
        if path.extension().is_none_or(|e| e != "log") {
            return;
        }
        if let Ok(file) = File::open(path)
            && let Ok(meta) = file.metadata()
        {
            self.followed.insert(
                path.clone(),
                Followed {
                    file,
                    inode: meta.ino(),
                    offset,
                },
            );
        }
    }

    /// Sends everything that was appended since the last time.
    fn read(&mut self, tx: &mpsc::Sender<LogLine>) {
        let mut lines = vec![];
        for path in self.files.live() {
            if !self.followed.contains_key(&path) {
                // Made and rotated since we looked: its first part is in the rotated file.
                let rotated = path.with_extension("log.1");
                if !self.old.contains(&rotated)
                    && let Some(mut f) = Followed::open(&rotated, 0)
                {
                    f.read(&mut lines);
                }
                self.open(&path, 0);
            }
            let Some(f) = self.followed.get_mut(&path) else {
                continue;
            };
            f.read(&mut lines);
            if fs::metadata(&path).is_ok_and(|m| m.ino() != f.inode) {
                // Rotated. Its writer may have appended between our read and the rename: once more, then the new one.
                f.read(&mut lines);
                self.open(&path, 0);
                if let Some(f) = self.followed.get_mut(&path) {
                    f.read(&mut lines);
                }
            }
        }
        lines.sort_by(|a, b| a.time.cmp(&b.time));
        lines.retain(|l| self.filter.passes(l));
        for line in lines {
            self.send(line, tx);
        }
    }

    fn send(&mut self, line: LogLine, tx: &mpsc::Sender<LogLine>) {
        if self.missed > 0 {
            let text = format!(
                "Error L11 (Tail buffer overflow) -> This tail session dropped {} messages since {}.",
                self.missed, self.since
            );
            let notice = LogLine {
                time: line.time.clone(),
                source: "heroku".into(),
                dyno: "logplex".into(),
                text,
            };
            if tx.try_send(notice).is_err() {
                self.missed += 1;
                return;
            }
            self.missed = 0;
        }
        if let Err(mpsc::error::TrySendError::Full(line)) = tx.try_send(line) {
            self.since = line.time;
            self.missed = 1;
        }
    }
}

impl Followed {
    pub(super) fn open(path: &Path, offset: u64) -> Option<Followed> {
        let file = File::open(path).ok()?;
        let inode = file.metadata().ok()?.ino();
        Some(Followed {
            file,
            inode,
            offset,
        })
    }

    /// Takes whole lines only; the rest waits for its line end.
    pub(super) fn read(&mut self, lines: &mut Vec<LogLine>) {
        let mut chunk = vec![0; 256 * 1024];
        while let Ok(n) = self.file.read_at(&mut chunk, self.offset) {
            let whole = chunk[..n]
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |i| i + 1);
            if whole == 0 {
                return;
            }
            lines.extend(
                chunk[..whole]
                    .split(|b| *b == b'\n')
                    .filter_map(|l| LogLine::parse(&String::from_utf8_lossy(l))),
            );
            self.offset += whole as u64;
        }
    }
}
