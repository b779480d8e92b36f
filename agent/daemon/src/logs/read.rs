//! The newest lines of several files, merged by time.

use hokku_model::log::{LogFilter, LogLine};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Bytes read from the end of a file at a time.
const CHUNK: u64 = 256 * 1024;

/// The newest `n` lines that pass, oldest first. Each file is read up to the length given with it and no further.
pub fn newest(files: &[(PathBuf, u64)], n: usize, filter: &LogFilter) -> Vec<LogLine> {
    let mut files: Vec<_> = files
        .iter()
        .map(|(p, len)| (modified(p), p, *len))
        .collect();
    files.sort_by(|a, b| b.0.cmp(&a.0));
    let mut lines: Vec<LogLine> = Vec::new();
    for (modified, path, len) in files {
        // Files are visited newest first: once the n newest lines are all younger than a file's last write, neither
        // it nor any older file can add one.
        if lines.len() >= n && lines.first().is_some_and(|oldest| oldest.time > modified) {
            break;
        }
        lines.extend(last_lines(path, len, n, filter));
        lines.sort_by(|a, b| a.time.cmp(&b.time));
        if lines.len() > n {
            lines.drain(..lines.len() - n);
        }
    }
    lines
}

fn modified(path: &Path) -> String {
    let time = std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let stamp = time
        .and_then(|t| jiff::Timestamp::try_from(t).ok())
        .unwrap_or(jiff::Timestamp::MAX);
    stamp.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
}

/// The last `n` lines of one file that pass, in the file's order.
fn last_lines(path: &Path, len: u64, n: usize, filter: &LogFilter) -> Vec<LogLine> {
    let Ok(file) = File::open(path) else {
        return vec![];
    };
    let (mut end, mut newest_first, mut rest) = (len, Vec::new(), Vec::new());
    while end > 0 && newest_first.len() < n {
        let start = end.saturating_sub(CHUNK);
        let mut chunk = vec![0; (end - start) as usize];
        if file.read_exact_at(&mut chunk, start).is_err() {
            break;
        }
        chunk.append(&mut rest);
        // The first line of a chunk may begin in the one before it.
        let whole = if start == 0 {
            0
        } else {
            chunk
                .iter()
                .position(|b| *b == b'\n')
                .map_or(chunk.len(), |i| i + 1)
        };
        for raw in chunk[whole..].split(|b| *b == b'\n').rev() {
            if let Some(line) =
                LogLine::parse(&String::from_utf8_lossy(raw)).filter(|l| filter.passes(l))
            {
                newest_first.push(line);
                if newest_first.len() == n {
                    break;
                }
            }
        }
        chunk.truncate(whole);
        rest = chunk;
        end = start;
    }
    newest_first.reverse();
    newest_first
}
