//! What dynos write, handed to journald as well: `journalctl HOKKU_APP=shop HOKKU_DYNO=web.1`. On by `[journal] dynos`.
//!
//! It reads the files that shims and platform write, as a tail does, so no dyno ever waits for journald. How far it has
//! come in each file is on disk before a line is sent: over a restart of the agent, or its death at any place, no line is
//! handed over twice, and at most one is not. The files stay what counts; `app logs` reads them.

use super::{Logs, list};
use crate::{config::Config, sys};
use hokku_model::{
    AppId,
    log::{LogLine, TIME_LEN},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    future::Future,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The pause between two looks at the files.
const PAUSE: Duration = Duration::from_millis(500);

/// Lines a second that one app may hand over for long, and how many at once. journald counts for the whole agent, so
/// without this one app's flood would silence the others and the agent itself.
const RATE: f64 = 200.0;
const BURST: f64 = 2000.0;

/// Bytes read at a time, and of one file in one look.
const CHUNK: usize = 64 * 1024;
const LOOK: usize = 4 << 20;

/// The apps with their names, to come.
pub type Names = Pin<Box<dyn Future<Output = BTreeMap<AppId, String>> + Send>>;

/// Takes a line for the journal: the app's name and the line.
type Sink<'a> = &'a mut dyn FnMut(&str, &LogLine);

/// Hands lines over as long as the settings say so, until shutdown. Turned on, it begins with what is written from then
/// on; turned off, it forgets how far it was.
pub async fn forward(
    logs: Logs,
    config: Arc<Config>,
    names: impl Fn() -> Names,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut reloads = config.reloads();
    let mut pass = Pass::new(&logs);
    let mut journal = None;
    let mut refused = false;
    loop {
        let on = config.now().journal.dynos;
        if on {
            if journal.is_none() {
                match sys::journal::Lines::open() {
                    Ok(lines) => journal = Some(lines),
                    Err(e) if !refused => {
                        refused = true;
                        tracing::warn!("journal.dynos is on, and journald can't be reached: {e}");
                    }
                    Err(_) => {}
                }
            }
            if let Some(lines) = journal.take() {
                let apps = names().await;
                let look = tokio::task::spawn_blocking(move || {
                    pass.look(&apps, &mut |app, line| lines.send(app, line));
                    (pass, lines)
                });
                match look.await {
                    Ok((same, lines)) => (pass, journal) = (same, Some(lines)),
                    Err(e) => {
                        tracing::error!(
                            "lines of dynos are not handed to the journal any more: {e}"
                        );
                        return;
                    }
                }
            }
        } else if journal.take().is_some() || pass.is_marked() {
            pass.forget();
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE), if on => {}
            _ = reloads.changed() => {}
            ended = shutdown.changed() => if ended.is_err() || *shutdown.borrow() { return },
        }
    }
}

/// What goes on from one look to the next.
struct Pass {
    logs: Logs,
    /// Where positions are kept, a folder for each app.
    dir: PathBuf,
    allowances: BTreeMap<AppId, Allowance>,
}

/// How many lines an app may hand over now.
struct Allowance {
    left: f64,
    at: Instant,
    skipped: u64,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * RATE).min(BURST);
        self.at = now;
        if self.left < 1.0 {
            self.skipped += 1;
            return false;
        }
        self.left -= 1.0;
        true
    }
}

impl Pass {
    fn new(logs: &Logs) -> Pass {
        Pass {
            dir: logs.dir.join("journal"),
            logs: logs.clone(),
            allowances: BTreeMap::new(),
        }
    }

    fn is_marked(&self) -> bool {
        self.dir.exists()
    }

    fn forget(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
        self.allowances.clear();
    }

    /// Hands over what was written since the last look.
    fn look(&mut self, apps: &BTreeMap<AppId, String>, to: Sink) {
        let first = !self.is_marked();
        for (app, name) in apps {
            if let Err(e) = self.look_at(*app, name, first, to) {
                // nothing was sent whose position could not be kept
                tracing::debug!(app = %name, "lines were not handed to the journal: {e}");
            }
        }
        if first {
            let _ = make_dir(&self.dir);
        }
        self.allowances.retain(|app, _| apps.contains_key(app));
    }

    fn look_at(&mut self, app: AppId, name: &str, first: bool, to: Sink) -> std::io::Result<()> {
        let dir = self.dir.join(app.to_string());
        let files = self.files(app);
        if first || !dir.exists() {
            make_dir(&dir)?;
        }
        for path in list(&dir) {
            let log = path.file_stem();
            if !files.iter().any(|f| f.file_stem() == log) {
                let _ = fs::remove_file(path);
            }
        }
        let now = Instant::now();
        let allowance = self.allowances.entry(app).or_insert(Allowance {
            left: BURST,
            at: now,
            skipped: 0,
        });
        for file in files {
            let Some(stem) = file.file_stem() else {
                continue;
            };
            let mark = dir.join(stem).with_extension("at");
            let mut reader = Reader::open(&mark, &file, first)?;
            reader.read(&file, &mut |line| {
                if allowance.take(Instant::now()) {
                    to(name, line);
                }
            })?;
        }
        if allowance.skipped > 0 && allowance.take(Instant::now()) {
            let n = std::mem::take(&mut allowance.skipped);
            let text = format!(
                "hokku left {n} lines out of the journal: more than {RATE} a second; app logs has them"
            );
            to(
                name,
                &LogLine {
                    time: super::now(),
                    source: "heroku".into(),
                    dyno: "journal".into(),
                    text,
                },
            );
        }
        Ok(())
    }

    /// What the app's dynos and the platform write; not the router's lines, one for each request.
    fn files(&self, app: AppId) -> Vec<PathBuf> {
        let files = self.logs.files(app);
        let mut all: Vec<_> = files.live();
        all.retain(|p| p.parent() != Some(self.logs.router.as_path()) && p.exists());
        all
    }
}

fn make_dir(dir: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// How far one file has been read. The mark is 16 bytes, which file and which offset, written in one call before a line
/// is sent.
struct Reader {
    mark: File,
    file: u64,
    offset: u64,
}

/// No file yet: the one that is there has no whole line.
const NONE: u64 = 0;

/// Which file it is, by its inode and the time at the head of its first line: an inode is given again as soon as it is
/// free.
fn identity(file: &File) -> std::io::Result<u64> {
    let mut head = [0; TIME_LEN];
    if file.read_at(&mut head, 0)? < head.len() {
        return Ok(NONE);
    }
    let mut hash = blake3::Hasher::new();
    hash.update(&file.metadata()?.ino().to_le_bytes());
    hash.update(&head);
    let mut id = [0; 8];
    hash.finalize_xof().fill(&mut id);
    Ok(u64::from_le_bytes(id).max(1))
}

impl Reader {
    /// `from_end`: of a file without a mark, what is in it counts as read.
    fn open(mark: &Path, log: &Path, from_end: bool) -> std::io::Result<Reader> {
        let mark = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(mark)?;
        let mut bytes = [0; 16];
        let known = mark.read_exact_at(&mut bytes, 0).is_ok();
        let (file, offset) = bytes.split_at(8);
        let number = |b: &[u8]| b.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let mut reader = Reader {
            mark,
            file: number(file),
            offset: number(offset),
        };
        if !known {
            let mut at = (NONE, 0);
            let rotated = log.with_extension("log.1");
            for path in [&rotated, log]
                .into_iter()
                .filter(|p| from_end && p.exists())
            {
                let log = File::open(path)?;
                match identity(&log)? {
                    NONE => {}
                    id => at = (id, log.metadata()?.len()),
                }
            }
            reader.keep(at.0, at.1)?;
        }
        Ok(reader)
    }

    fn keep(&mut self, file: u64, offset: u64) -> std::io::Result<()> {
        (self.file, self.offset) = (file, offset);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&file.to_le_bytes());
        bytes[8..].copy_from_slice(&offset.to_le_bytes());
        self.mark.write_all_at(&bytes, 0)
    }

    fn read(&mut self, log: &Path, to: &mut dyn FnMut(&LogLine)) -> std::io::Result<()> {
        let current = File::open(log)?;
        let id = identity(&current)?;
        if id == NONE {
            return Ok(());
        }
        if id != self.file {
            // Rotated: the rest of the one before first, or all of it when it was begun since. One that was rotated away
            // since has to be done without.
            if let Ok(before) = File::open(log.with_extension("log.1")) {
                let id = identity(&before)?;
                if id != self.file {
                    self.keep(id, 0)?;
                }
                self.read_file(&before, usize::MAX, to)?;
            }
            self.keep(id, 0)?;
        }
        self.read_file(&current, LOOK, to)
    }

    /// Whole lines only; the rest waits for its line end.
    fn read_file(
        &mut self,
        file: &File,
        most: usize,
        to: &mut dyn FnMut(&LogLine),
    ) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        while done < most {
            let n = file.read_at(&mut chunk, self.offset)?;
            let mut whole = 0;
            for line in chunk[..n].split_inclusive(|b| *b == b'\n') {
                let Some((_, text)) = line.split_last().filter(|(end, _)| **end == b'\n') else {
                    break;
                };
                whole += line.len();
                self.keep(self.file, self.offset + line.len() as u64)?;
                if let Some(line) = LogLine::parse(&String::from_utf8_lossy(text)) {
                    to(&line);
                }
            }
            if whole == 0 {
                // a line that no buffer holds is none of ours
                if n == chunk.len() {
                    self.keep(self.file, self.offset + n as u64)?;
                    continue;
                }
                return Ok(());
            }
            done += whole;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::DynoId;
    use std::io::Write;

    struct Bench {
        _dir: tempfile::TempDir,
        logs: Logs,
        app: AppId,
        apps: BTreeMap<AppId, String>,
    }

    impl Bench {
        fn new() -> Bench {
            let dir = tempfile::tempdir().unwrap();
            let logs = Logs::open(dir.path().join("logs"), dir.path().join("router")).unwrap();
            let app = AppId(1);
            Bench {
                _dir: dir,
                logs,
                app,
                apps: BTreeMap::from([(app, "shop".to_owned())]),
            }
        }

        fn file(&self) -> PathBuf {
            self.logs.dyno_file(self.app, DynoId(7)).unwrap()
        }

        fn say(&self, text: &str) {
            static SAID: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let n = SAID.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.add(&format!(
                "2026-11-21T12:00:00.{n:06}+00:00 app[web.1]: {text}\n"
            ));
        }

        fn add(&self, bytes: &str) {
            let mut f = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.file())
                .unwrap();
            f.write_all(bytes.as_bytes()).unwrap();
        }

        /// What one look hands over, by a pass that knows nothing but what is on disk.
        fn look(&self) -> Vec<String> {
            self.look_with(&mut Pass::new(&self.logs))
        }

        fn look_with(&self, pass: &mut Pass) -> Vec<String> {
            let mut got = vec![];
            pass.look(&self.apps, &mut |app, line| {
                got.push(format!("{app} {} {}", line.dyno, line.text))
            });
            got
        }
    }

    #[test]
    fn no_line_comes_twice_over_restarts_and_rotation() {
        let b = Bench::new();
        b.say("before it was turned on");
        assert!(b.look().is_empty());
        b.say("one");
        b.add("2026-11-21T12:00:00.000000+00:00 app[web.1]: ha");
        assert_eq!(b.look(), ["shop web.1 one"]);
        b.add("lf\n");
        b.say("two");
        fs::rename(b.file(), b.file().with_extension("log.1")).unwrap();
        b.say("three");
        assert_eq!(
            b.look(),
            ["shop web.1 half", "shop web.1 two", "shop web.1 three"]
        );
        assert!(b.look().is_empty());
        b.logs
            .write(b.app, "heroku", "web.1", "State changed from up to down");
        let other = b.logs.dyno_file(b.app, DynoId(8)).unwrap();
        fs::write(
            other,
            "2026-11-21T12:00:00.000000+00:00 app[worker.1]: new\n",
        )
        .unwrap();
        let mut got = b.look();
        got.sort();
        assert_eq!(
            got,
            [
                "shop web.1 State changed from up to down",
                "shop worker.1 new"
            ]
        );
        // rotated twice since the last look: what is left comes, once
        b.say("lost");
        fs::rename(b.file(), b.file().with_extension("log.1")).unwrap();
        b.say("four");
        fs::rename(b.file(), b.file().with_extension("log.1")).unwrap();
        b.say("five");
        assert_eq!(b.look(), ["shop web.1 four", "shop web.1 five"]);
        assert!(b.look().is_empty());
    }

    #[test]
    fn a_pass_that_dies_while_it_sends_repeats_nothing() {
        let b = Bench::new();
        b.look();
        for i in 0..10 {
            b.say(&format!("n{i}"));
        }
        let mut got = vec![];
        for _ in 0..20 {
            let mut sent = 0;
            let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                Pass::new(&b.logs).look(&b.apps, &mut |_, line| {
                    sent += 1;
                    if sent == 3 {
                        panic!("killed");
                    }
                    got.push(line.text.clone());
                });
            }));
            if died.is_ok() {
                break;
            }
        }
        // each death loses the line that was on its way, and no other
        assert_eq!(got, ["n0", "n1", "n3", "n4", "n6", "n7", "n9"]);
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let b = Bench::new();
        let mut pass = Pass::new(&b.logs);
        b.look_with(&mut pass);
        for i in 0..4000 {
            b.say(&i.to_string());
        }
        let got = b.look_with(&mut pass);
        assert!((2000..3500).contains(&got.len()), "{}", got.len());
        std::thread::sleep(Duration::from_millis(20));
        b.say("and on");
        let got = b.look_with(&mut pass);
        assert!(
            got.iter()
                .any(|l| l.contains("left ") && l.contains("lines out of the journal")),
            "{got:?}"
        );
    }

    #[test]
    fn marks_go_with_their_files() {
        let b = Bench::new();
        b.look();
        b.say("x");
        b.look();
        let marks = || list(&b.logs.dir.join("journal").join(b.app.to_string())).len();
        assert_eq!(marks(), 1);
        fs::remove_file(b.file()).unwrap();
        b.look();
        assert_eq!(marks(), 0);
        b.say("again");
        assert_eq!(b.look(), ["shop web.1 again"]);
        b.logs.forget(b.app);
        assert!(!b.logs.dir.join("journal").join(b.app.to_string()).exists());
    }
}
