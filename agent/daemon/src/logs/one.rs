//! The log of one dyno, from its beginning and over rotations.

use super::tail::Followed;
use hokku_model::log::LogLine;
use std::{os::unix::fs::MetadataExt, path::PathBuf};

/// Reads what one dyno writes; a file that is rotated away unread is lost, as for every reader.
pub struct Reader {
    path: PathBuf,
    at: Option<Followed>,
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Reader {
        Reader { path, at: None }
    }

    /// The lines that came since the last time. Blocks for as long as the disk takes.
    pub fn more(&mut self) -> Vec<LogLine> {
        let mut lines = vec![];
        if self.at.is_none() {
            if let Some(mut rotated) = Followed::open(&self.path.with_extension("log.1"), 0) {
                rotated.read(&mut lines);
            }
            self.at = Followed::open(&self.path, 0);
        }
        let Some(at) = &mut self.at else {
            return lines;
        };
        at.read(&mut lines);
        let inode = at.file.metadata().map(|m| m.ino()).ok();
        if std::fs::metadata(&self.path).is_ok_and(|m| Some(m.ino()) != inode) {
            // Rotated: what was written before the rename, then the new file.
            at.read(&mut lines);
            if let Some(mut new) = Followed::open(&self.path, 0) {
                new.read(&mut lines);
                self.at = Some(new);
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write};

    #[test]
    fn every_line_comes_once_over_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let write = |n: u32| {
            let line = format!("2026-11-21T12:00:00.{n:06}+00:00 app[release.1]: {n}\n");
            let mut f = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap();
            f.write_all(line.as_bytes()).unwrap();
        };
        let mut reader = Reader::new(path.clone());
        assert!(reader.more().is_empty(), "there is no file yet");
        let mut seen = vec![];
        for n in 0..100 {
            if n % 30 == 29 {
                fs::rename(&path, path.with_extension("log.1")).unwrap();
            }
            write(n);
            if n % 7 == 0 {
                seen.extend(reader.more().into_iter().map(|l| l.text));
            }
        }
        seen.extend(reader.more().into_iter().map(|l| l.text));
        let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(seen, all);
    }
}
