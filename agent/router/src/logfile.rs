//! The one thread that writes the request logs: appends batches, turns full files over, counts what a full disk eats.

use crate::clock::{self, Stamp};
use crate::log::Batch;
use hokku_model::AppId;
use std::collections::{HashMap, hash_map::Entry};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// A file is renamed to `.1` when it has grown to this.
const TURN_OVER: u64 = 8 * 1024 * 1024;

/// So many bytes are put together before they are written.
const GATHER: usize = 4 * 1024 * 1024;

/// When so many files were written to in one go, each got but a few lines for an open, a write and a close: the writer
/// rests, so that more come together.
const MANY: usize = 64;
const REST: Duration = Duration::from_millis(100);

/// Writes until all senders are gone.
pub(crate) fn write_all(folder: &Path, batches: Receiver<Vec<Batch>>) {
    let mut writer = Writer {
        folder: folder.to_owned(),
        lost: HashMap::new(),
        stamp: Stamp::new(),
    };
    while let Ok(first) = batches.recv() {
        let files = writer.take_all(std::iter::once(first).chain(batches.try_iter()));
        if files >= MANY {
            std::thread::sleep(REST);
        }
    }
}

impl Batch {
    fn add(&mut self, later: &Batch) {
        self.bytes.extend_from_slice(&later.bytes);
        self.lines += later.lines;
        self.lost += later.lost;
    }
}

struct Writer {
    folder: PathBuf,
    /// Lines per app that could not be written since the last success.
    lost: HashMap<Option<AppId>, u64>,
    stamp: Stamp,
}

impl Writer {
    /// Writes what there is, each file once; says how many files there were.
    fn take_all(&mut self, all: impl Iterator<Item = Vec<Batch>>) -> usize {
        let mut by_app: HashMap<Option<AppId>, Batch> = HashMap::new();
        let mut size = 0;
        for batches in all {
            for batch in batches {
                size += batch.bytes.len();
                match by_app.entry(batch.app) {
                    Entry::Vacant(e) => drop(e.insert(batch)),
                    Entry::Occupied(mut e) => e.get_mut().add(&batch),
                }
            }
            if size >= GATHER {
                break;
            }
        }
        let files = by_app.len();
        by_app.into_values().for_each(|b| self.take(b));
        files
    }

    fn take(&mut self, batch: Batch) {
        let lost = self.lost.remove(&batch.app).unwrap_or(0) + batch.lost;
        let mut bytes = batch.bytes;
        if lost > 0 {
            self.stamp.write(&mut bytes, clock::wall_micros());
            let _ = writeln!(
                bytes,
                " heroku[router]: Error L10 (output buffer overflow): {lost} messages dropped."
            );
        }
        if let Err(e) = self.append(batch.app, &bytes) {
            if self.lost.is_empty() {
                tracing::warn!(
                    "request log in {} cannot be written: {e}. Requests go on; dropped lines are counted.",
                    self.folder.display()
                );
            }
            self.lost.insert(batch.app, lost + batch.lines);
        }
    }

    /// Opens, appends, closes: so a file that was removed or renamed by someone else is simply made anew.
    fn append(&self, app: Option<AppId>, bytes: &[u8]) -> io::Result<()> {
        let name = app.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let path = self.folder.join(format!("{name}.log"));
        let mut file = open(&path)?;
        let size = file.metadata()?.len();
        if size >= TURN_OVER {
            std::fs::rename(&path, self.folder.join(format!("{name}.log.1")))?;
            file = open(&path)?;
        }
        if let Err(e) = file.write_all(bytes) {
            // a torn line would spoil the next one
            let _ = file.set_len(if size >= TURN_OVER { 0 } else { size });
            return Err(e);
        }
        Ok(())
    }
}

/// Readable by the owner and the group only: paths may hold secrets.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(text: &str, lost: u64) -> Batch {
        Batch {
            app: Some(AppId(7)),
            bytes: text.into(),
            lines: 1,
            lost,
        }
    }

    #[test]
    fn appends_turns_over_and_tells_losses() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(format!("{}.log", AppId(7)));
        let mut w = Writer {
            folder: dir.path().into(),
            lost: HashMap::new(),
            stamp: Stamp::new(),
        };
        let other = Batch {
            app: None,
            ..batch("of no app\n", 0)
        };
        let all = [vec![batch("one\n", 0), other], vec![batch("two\n", 5)]];
        assert_eq!(w.take_all(all.into_iter()), 2);
        let none = std::fs::read_to_string(dir.path().join("none.log")).unwrap();
        assert_eq!(none, "of no app\n");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("one\ntwo\n") && text.ends_with("5 messages dropped.\n"),
            "{text}"
        );

        std::fs::write(&file, vec![b'x'; TURN_OVER as usize]).unwrap();
        w.take(batch("three\n", 0));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "three\n");
        let old = dir.path().join(format!("{}.log.1", AppId(7)));
        assert_eq!(std::fs::metadata(old).unwrap().len(), TURN_OVER);

        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        w.take(batch("four\n", 0));
        std::fs::remove_dir(&file).unwrap();
        w.take(batch("five\n", 0));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("five\n") && text.contains(" 1 messages dropped."),
            "{text}"
        );
    }
}
