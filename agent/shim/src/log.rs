//! The log file of one dyno: stamped lines, one write a batch, rotation, and an honest count of what the disk refused.

use crate::{
    call::{self, Why},
    clock,
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// Bytes gathered before they are written even within one round.
const BATCH: usize = 128 * 1024;

/// How long after a refused write the next one is tried when no new line comes.
const RETRY: Duration = Duration::from_secs(1);

/// An open log file.
pub struct Log {
    dir: OwnedFd,
    name: String,
    file: Option<OwnedFd>,
    /// ` app[web.1]: `
    label: Vec<u8>,
    /// ` heroku[web.1]: `, for what the shim itself has to say.
    own_label: Vec<u8>,
    max_bytes: u64,
    stamp: String,
    batch: Vec<u8>,
    lost: Option<Lost>,
    /// The last write ended within a line.
    torn: bool,
}

struct Lost {
    lines: u64,
    since: String,
    retry: Instant,
}

impl Log {
    /// Opens (and makes) the file. Its folder is kept open, so that rotation works from inside the dyno's walls.
    ///
    /// # Errors
    /// The folder or file can't be opened. A full disk is no error here.
    pub fn open(file: &Path, source: &str, max_bytes: u64) -> Result<Log, String> {
        let say = || format!("can't open the log file {}", file.display());
        let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str()))
        else {
            return Err(format!("{}: no file name", say()));
        };
        let dir = call::open(folder, libc::O_DIRECTORY | libc::O_RDONLY).why(say)?;
        let who = source.find('[').map_or("[dyno]", |i| &source[i..]);
        let mut log = Log {
            dir,
            name: name.to_owned(),
            file: None,
            label: format!(" {source}: ").into_bytes(),
            own_label: format!(" heroku{who}: ").into_bytes(),
            max_bytes,
            stamp: String::new(),
            batch: Vec::new(),
            lost: None,
            torn: false,
        };
        match log.reopen() {
            Err(e) if e.raw_os_error() != Some(libc::ENOSPC) => Err(e).why(say)?,
            _ => {}
        }
        Ok(log)
    }

    /// Begins a batch: its lines get the time of now.
    pub fn begin(&mut self) {
        self.stamp = clock::now();
    }

    /// Adds a line.
    pub fn line(&mut self, text: &[u8]) {
        self.batch.extend_from_slice(self.stamp.as_bytes());
        self.batch.extend_from_slice(&self.label);
        self.batch.extend_from_slice(text);
        self.batch.push(b'\n');
        if self.batch.len() > BATCH {
            self.write();
        }
    }

    /// Writes the batch. Never waits for space: what the disk refuses is counted and told later.
    pub fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.put(&batch);
        if batch.capacity() <= 16 * 1024 {
            batch.clear();
            self.batch = batch;
        }
    }

    /// When to call [`Log::retry`].
    pub fn due(&self) -> Option<Instant> {
        self.lost.as_ref().map(|l| l.retry)
    }

    /// Tries to say what was lost.
    pub fn retry(&mut self) {
        self.begin();
        self.put(b"");
    }

    fn put(&mut self, batch: &[u8]) {
        let mut text = Vec::new();
        if self.torn {
            text.push(b'\n');
        }
        if let Some(l) = &self.lost {
            text.extend_from_slice(self.stamp.as_bytes());
            text.extend_from_slice(&self.own_label);
            let (n, since) = (l.lines, &l.since);
            text.extend_from_slice(
                format!("Error L10 (disk full): {n} lines dropped since {since}.\n").as_bytes(),
            );
        }
        let head = text.len();
        let bytes: &[u8] = if head == 0 {
            batch
        } else {
            text.extend_from_slice(batch);
            &text
        };
        self.rotate(bytes.len() as u64);
        let done = self.append(bytes).unwrap_or(0);
        if done == bytes.len() {
            (self.lost, self.torn) = (None, false);
            return;
        }
        if done > 0 {
            self.torn = bytes[done - 1] != b'\n';
        }
        let kept = done.saturating_sub(head);
        let gone = batch[kept.min(batch.len())..]
            .iter()
            .filter(|b| **b == b'\n')
            .count() as u64;
        let retry = Instant::now() + RETRY;
        match &mut self.lost {
            // the note about earlier losses was written whole, so only the new ones remain to be told
            Some(l) if done >= head => {
                *l = Lost {
                    lines: gone,
                    since: self.stamp.clone(),
                    retry,
                }
            }
            Some(l) => {
                l.lines += gone;
                l.retry = retry;
            }
            None => {
                self.lost = Some(Lost {
                    lines: gone,
                    since: self.stamp.clone(),
                    retry,
                })
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(f) = &self.file else { return Ok(0) };
        loop {
            match call::write(f, bytes) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                r => return r,
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_NOFOLLOW;
        let f = call::open_at(self.dir.as_raw_fd(), Path::new(&self.name), flags, 0o640)?;
        self.file = Some(f);
        Ok(())
    }

    /// Before `more` bytes are written: begins a new file when this one is full, or was moved away by somebody else.
    fn rotate(&mut self, more: u64) {
        let Some(f) = &self.file else { return };
        let (Some((size, inode)), named) = (stat(f.as_raw_fd(), ""), self.named()) else {
            return;
        };
        if named != Some(inode) {
            let _ = self.reopen();
            return;
        }
        if size > 0 && size + more > self.max_bytes {
            let old = format!("{}.1", self.name);
            if call::rename_at(self.dir.as_raw_fd(), &self.name, &old).is_ok() {
                // a full disk may refuse the new file: then the next batch tries again
                let _ = self.reopen();
            }
        }
    }

    /// The inode that the file's name stands for now.
    fn named(&self) -> Option<u64> {
        stat(self.dir.as_raw_fd(), &self.name).map(|s| s.1)
    }
}

/// Size and inode of a file under a folder, or of the descriptor itself.
fn stat(fd: i32, name: &str) -> Option<(u64, u64)> {
    let n = call::cstring(name).ok()?;
    let mut s = std::mem::MaybeUninit::<libc::stat>::uninit();
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: `n` is a C string and `s` has room for the result, which is read only when the call filled it
    unsafe {
        call::check(libc::fstatat(fd, n.as_ptr(), s.as_mut_ptr(), flags)).ok()?;
        let s = s.assume_init();
        Some((s.st_size as u64, s.st_ino))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(log: &mut Log, text: &str) {
        log.begin();
        log.line(text.as_bytes());
        log.write();
    }

    #[test]
    fn lines_have_the_format_of_the_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let mut log = Log::open(&path, "app[web.1]", 1 << 20).unwrap();
        write(&mut log, "hello [x]: y");
        write(&mut log, "");
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text
            .lines()
            .map(|l| hokku_model::log::LogLine::parse(l).unwrap())
            .collect();
        assert_eq!(
            (&*lines[0].source, &*lines[0].dyno, &*lines[0].text),
            ("app", "web.1", "hello [x]: y")
        );
        assert_eq!((&*lines[1].text, lines.len()), ("", 2));
    }

    #[test]
    fn a_full_file_becomes_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let mut log = Log::open(&path, "app[web.1]", 1000).unwrap();
        for i in 0..40 {
            write(&mut log, &format!("line {i:02}"));
        }
        let new = fs::read_to_string(&path).unwrap();
        let old = fs::read_to_string(dir.path().join("app.log.1")).unwrap();
        assert!(new.len() <= 1000 && old.len() <= 1000 && old.len() > 900);
        assert!(new.ends_with("line 39\n"));
        let both = format!("{old}{new}");
        let first: usize = both[both.find("line ").unwrap() + 5..][..2]
            .parse()
            .unwrap();
        for i in first..40 {
            assert!(both.contains(&format!("line {i:02}\n")), "{i}");
        }
    }

    #[test]
    fn a_file_that_was_moved_or_deleted_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let mut log = Log::open(&path, "app[web.1]", 1 << 20).unwrap();
        write(&mut log, "one");
        fs::remove_file(&path).unwrap();
        write(&mut log, "two");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("two\n") && !text.contains("one"));
    }

    #[test]
    fn what_the_disk_refused_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        // this device answers each write as a full disk does
        let mut log = Log::open(Path::new("/dev/full"), "app[web.1]", 1 << 20).unwrap();
        log.begin();
        log.line(b"a");
        log.line(b"b");
        log.write();
        write(&mut log, "c");
        assert!(log.due().is_some());
        log.dir = call::open(dir.path(), libc::O_DIRECTORY).unwrap();
        log.name = "app.log".into();
        log.retry();
        assert!(log.due().is_none());
        write(&mut log, "d");
        let text = fs::read_to_string(dir.path().join("app.log")).unwrap();
        let (told, line) = text.split_once('\n').unwrap();
        assert!(
            told.contains(" heroku[web.1]: Error L10 (disk full): 3 lines dropped since 20"),
            "{told}"
        );
        assert!(line.ends_with(" app[web.1]: d\n"), "{line}");
    }
}
