//! Logs: reads what dynos, router and platform have written, in order of time; writes the platform's own lines.
//!
//! What it does: three writers append to files of their own in Heroku's line format: each shim to
//! `<logs>/dynos/<app>/<dyno id>.log`, the router to `<router logs>/<app>.log`, this room to
//! `<logs>/platform/<app>.log`. Reading merges them. So no line passes through the agent, and none is lost with it.
//! What it never does: wait for a reader; a tail that is too slow is told how many lines it missed (L11).
//! `journal` hands lines on to journald where the settings say so, beside the files.
//! Who calls it: `control` (platform lines), `api` (log sessions), `run` (`journal`). Where its tests are: beside the code.

mod cron;
pub mod journal;
mod one;
mod read;
mod tail;

pub use one::Reader;

use hokku_model::{
    AppId, DynoId,
    log::{LogFilter, LogLine},
};
use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

/// The most lines one session can ask back (Heroku keeps 1,500).
pub const MOST_LINES: usize = 1500;

/// Bytes of a log file before it is rotated.
const ROTATE_AT: u64 = 8 << 20;

/// Bytes of a dyno's log file before it is rotated, where an app's logs have this budget: the two files of a dyno that
/// crashed must outlive it, for they say why.
pub fn rotate_at(budget: u64) -> u64 {
    ROTATE_AT.min(budget / 4)
}

/// The most files of dynos that are kept of one app; a reader looks into each.
const MOST_FILES: usize = 256;

/// An empty file that is younger may be that of a dyno which just begins.
const YOUNG: Duration = Duration::from_secs(60);

/// The handle; cheap to clone.
#[derive(Clone, Debug)]
pub struct Logs {
    dir: PathBuf,
    router: PathBuf,
}

impl Logs {
    /// Logs under `dir`, whose sub-folders are made; the router's in a folder of its own, as it is another user.
    ///
    /// # Errors
    /// A folder can't be made.
    pub fn open(dir: PathBuf, router: PathBuf) -> std::io::Result<Logs> {
        for sub in [dir.join("dynos"), dir.join("platform"), router.clone()] {
            fs::create_dir_all(sub)?;
        }
        Ok(Logs { dir, router })
    }

    /// Where the shim of this dyno writes.
    ///
    /// # Errors
    /// The app's folder can't be made.
    pub fn dyno_file(&self, app: AppId, dyno: DynoId) -> std::io::Result<PathBuf> {
        let dir = self.dir.join("dynos").join(app.to_string());
        fs::create_dir_all(&dir)?;
        Ok(dir.join(format!("{dyno}.log")))
    }

    /// The newest `n` lines (at most [`MOST_LINES`]) that pass the filter, oldest first.
    pub async fn recent(&self, app: AppId, n: usize, filter: LogFilter) -> Vec<LogLine> {
        let files = self.files(app);
        tokio::task::spawn_blocking(move || {
            read::newest(&files.snapshot(), n.min(MOST_LINES), &filter)
        })
        .await
        .unwrap_or_default()
    }

    /// The newest `n` lines that these dynos wrote, oldest first.
    pub async fn of_dynos(&self, app: AppId, dynos: Vec<DynoId>, n: usize) -> Vec<LogLine> {
        let files = self.files(app);
        tokio::task::spawn_blocking(move || {
            let names: Vec<String> = dynos.iter().map(DynoId::to_string).collect();
            let mut mine = files.snapshot();
            mine.retain(|(path, _)| {
                let name = path.file_name().and_then(|n| n.to_str());
                let id = name.and_then(|n| n.split('.').next());
                path.starts_with(&files.dynos) && names.iter().any(|d| Some(d.as_str()) == id)
            });
            read::newest(&mine, n.min(MOST_LINES), &LogFilter::default())
        })
        .await
        .unwrap_or_default()
    }

    /// The newest `n` lines and then every new one, until the receiver is dropped. A receiver that does not keep up
    /// gets an `Error L11` line with the number of lines it missed.
    pub async fn tail(&self, app: AppId, n: usize, filter: LogFilter) -> mpsc::Receiver<LogLine> {
        let (tx, rx) = mpsc::channel(1024.max(n.min(MOST_LINES)));
        tokio::spawn(tail::follow(self.files(app), n.min(MOST_LINES), filter, tx));
        rx
    }

    /// All that one dyno has written and will write.
    pub fn reader(&self, app: AppId, dyno: DynoId) -> Reader {
        let folder = self.dir.join("dynos").join(app.to_string());
        Reader::new(folder.join(format!("{dyno}.log")))
    }

    /// Appends a line of the platform's: source `app` or `heroku`, dyno such as `web.1` or `api`. A text of several
    /// lines becomes several lines. A disk that is full loses the line, not the caller.
    pub fn write(&self, app: AppId, source: &str, dyno: &str, text: &str) {
        let path = self.dir.join("platform").join(format!("{app}.log"));
        let time = now();
        let lines: String = text
            .lines()
            .map(|l| format!("{time} {source}[{dyno}]: {l}\n"))
            .collect();
        if fs::metadata(&path).is_ok_and(|m| m.len() > ROTATE_AT) {
            let _ = fs::rename(&path, path.with_extension("log.1"));
        }
        let file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path);
        if let Err(e) = file.and_then(|mut f| f.write_all(lines.as_bytes())) {
            tracing::warn!(
                "a line for the log of app {app} is lost: can't write {}: {e}",
                path.display()
            );
        }
    }

    /// Deletes an app's logs.
    pub fn forget(&self, app: AppId) {
        let _ = fs::remove_dir_all(self.dir.join("dynos").join(app.to_string()));
        let _ = fs::remove_dir_all(self.dir.join("journal").join(app.to_string()));
        let _ = fs::remove_dir_all(self.dir.join("cron").join(app.to_string()));
        for dir in [&self.router, &self.dir.join("platform")] {
            for ext in ["log", "log.1"] {
                let _ = fs::remove_file(dir.join(format!("{app}.{ext}")));
            }
        }
    }

    /// Deletes the oldest files of dynos that are gone until the app's logs fit the budget (bytes) and are few enough
    /// to be read in one go, and those that hold nothing.
    pub fn sweep(&self, app: AppId, alive: impl Fn(&str) -> bool, budget: u64) {
        let dir = self.dir.join("dynos").join(app.to_string());
        let mut files: Vec<_> = list(&dir)
            .into_iter()
            .filter_map(|p| {
                fs::metadata(&p)
                    .ok()
                    .map(|m| (m.modified().ok(), m.len(), p))
            })
            .collect();
        let mut total: u64 = files.iter().map(|f| f.1).sum();
        let mut count = files.len();
        files.sort();
        for (written, len, path) in files {
            // a dyno that began after the caller looked who is alive has written nothing yet either
            let age = written.and_then(|t| t.elapsed().ok());
            let empty = len == 0 && age.is_some_and(|a| a > YOUNG);
            if total <= budget && count <= MOST_FILES && !empty {
                continue;
            }
            let id = path
                .file_name()
                .and_then(|n| n.to_str())
                .and_then(|n| n.split('.').next())
                .unwrap_or_default();
            if !alive(id) && fs::remove_file(&path).is_ok() {
                total -= len;
                count -= 1;
            }
        }
    }

    fn files(&self, app: AppId) -> Files {
        Files {
            dynos: self.dir.join("dynos").join(app.to_string()),
            others: [self.router.clone(), self.dir.join("platform")],
            app,
        }
    }
}

/// Where the lines of one app are.
#[derive(Clone, Debug)]
struct Files {
    dynos: PathBuf,
    others: [PathBuf; 2],
    app: AppId,
}

impl Files {
    /// The files that are written to, without rotated ones.
    fn live(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = list(&self.dynos)
            .into_iter()
            .filter(|p| p.extension().is_some_and(|e| e == "log"))
            .collect();
        all.extend(
            self.others
                .iter()
                .map(|d| d.join(format!("{}.log", self.app))),
        );
        all
    }

    /// All files with their lengths now, rotated ones too.
    fn snapshot(&self) -> Vec<(PathBuf, u64)> {
        self.live()
            .into_iter()
            .flat_map(|p| [p.with_extension("log.1"), p])
            .filter_map(|p| fs::metadata(&p).ok().map(|m| (p, m.len())))
            .collect()
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .map(|d| d.flatten().map(|e| e.path()).collect())
        .unwrap_or_default()
}

/// The time now as it stands at the head of a line.
pub fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs() -> (tempfile::TempDir, Logs) {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path().join("logs"), dir.path().join("router")).unwrap();
        (dir, logs)
    }

    fn line(i: usize, dyno: &str, text: &str) -> String {
        format!(
            "2026-11-21T12:00:{:02}.{:06}+00:00 app[{dyno}]: {text}\n",
            i / 100,
            i % 100
        )
    }

    #[tokio::test]
    async fn merges_files_by_time_and_filters() {
        let (_d, logs) = logs();
        let app = AppId(1);
        let (a, b) = (
            logs.dyno_file(app, DynoId(1)).unwrap(),
            logs.dyno_file(app, DynoId(2)).unwrap(),
        );
        for i in 0..3000 {
            let (f, d) = if i % 2 == 0 {
                (&a, "web.1")
            } else {
                (&b, "worker.1")
            };
            let mut f = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(f)
                .unwrap();
            f.write_all(line(i, d, &format!("n{i}")).as_bytes())
                .unwrap();
        }
        let texts = |l: Vec<LogLine>| l.into_iter().map(|l| l.text).collect::<Vec<_>>();
        assert_eq!(
            texts(logs.recent(app, 3, LogFilter::default()).await),
            ["n2997", "n2998", "n2999"]
        );
        let web = LogFilter {
            dyno: Some("web".into()),
            source: None,
        };
        assert_eq!(texts(logs.recent(app, 2, web).await), ["n2996", "n2998"]);
        assert_eq!(
            logs.recent(app, 9999, LogFilter::default()).await.len(),
            MOST_LINES
        );
        assert!(
            logs.recent(AppId(10), 10, LogFilter::default())
                .await
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_tail_sees_every_line_once_over_rotation() {
        let (_d, logs) = logs();
        let app = AppId(1);
        logs.write(app, "heroku", "web.1", "before");
        let mut rx = logs.tail(app, 10, LogFilter::default()).await;
        let next = async |rx: &mut mpsc::Receiver<LogLine>| {
            tokio::time::timeout(Duration::from_secs(5), rx.recv())
                .await
                .unwrap()
                .unwrap()
                .text
        };
        assert_eq!(next(&mut rx).await, "before");
        let path = logs.dyno_file(app, DynoId(5)).unwrap();
        for i in 0..500 {
            if i == 250 {
                fs::rename(&path, path.with_extension("log.1")).unwrap();
            }
            let mut f = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap();
            f.write_all(line(i, "web.1", &i.to_string()).as_bytes())
                .unwrap();
        }
        for i in 0..500 {
            assert_eq!(next(&mut rx).await, i.to_string());
        }
        logs.write(app, "app", "api", "two\nlines");
        assert_eq!(
            (next(&mut rx).await, next(&mut rx).await),
            ("two".into(), "lines".into())
        );
    }

    #[tokio::test]
    async fn sweeping_spares_the_living() {
        let (_d, logs) = logs();
        let app = AppId(1);
        for i in 1..=4u128 {
            fs::write(logs.dyno_file(app, DynoId(i)).unwrap(), vec![b'x'; 1000]).unwrap();
        }
        let alive = DynoId(1).to_string();
        logs.sweep(app, |id| id == alive, 1500);
        assert!(logs.dyno_file(app, DynoId(1)).unwrap().exists());
        assert_eq!(list(&logs.dir.join("dynos").join(app.to_string())).len(), 1);
    }

    #[tokio::test]
    async fn the_last_words_of_a_dyno_outlive_it_under_any_budget() {
        for budget in [100_000, 2_000_000, 64 << 20] {
            let (_d, logs) = logs();
            let app = AppId(1);
            for i in 1..=5u128 {
                let file = logs.dyno_file(app, DynoId(i)).unwrap();
                for path in [file.with_extension("log.1"), file] {
                    let f = fs::File::create(path).unwrap();
                    f.set_len(rotate_at(budget)).unwrap();
                }
            }
            logs.sweep(app, |_| false, budget);
            let left = list(&logs.dir.join("dynos").join(app.to_string()));
            let bytes: u64 = left.iter().map(|p| fs::metadata(p).unwrap().len()).sum();
            assert!(bytes <= budget, "{bytes} of {budget}");
            for ext in ["log", "log.1"] {
                let last = logs.dyno_file(app, DynoId(5)).unwrap();
                assert!(last.with_extension(ext).exists(), "{ext}, {budget}");
            }
        }
    }

    #[tokio::test]
    async fn sweeping_keeps_the_number_of_files_down() {
        let (_d, logs) = logs();
        let app = AppId(1);
        let file = |i: u128| logs.dyno_file(app, DynoId(i)).unwrap();
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        let write = |i: u128, text: &str, old: bool| {
            fs::write(file(i), text).unwrap();
            if old {
                let f = fs::File::options().append(true).open(file(i)).unwrap();
                f.set_modified(hour_ago).unwrap();
            }
        };
        write(1, "", true);
        write(2, "", false);
        write(3, "said something", true);
        logs.sweep(app, |_| false, 1 << 20);
        assert_eq!([1, 2, 3].map(|i| file(i).exists()), [false, true, true]);
        for i in 10..10 + MOST_FILES as u128 {
            write(i, "x", false);
        }
        logs.sweep(app, |id| id == DynoId(2).to_string(), 1 << 20);
        let left = list(&logs.dir.join("dynos").join(app.to_string())).len();
        assert_eq!(
            (left, file(3).exists(), file(2).exists()),
            (MOST_FILES, false, true)
        );
    }
}
