//! The output of cron entries' runs, kept by a budget of its own: the app's log has no room for a month of them.

use super::{Logs, list};
use hokku_model::{AppId, DynoId, cron::EntryName, log::LogLine};
use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Files that are kept of one app; the oldest go first.
const MOST_FILES: usize = 10_000;

/// Bytes of one run's output that are shown: the last ones.
const MOST_SHOWN: u64 = 8 << 20;

impl Logs {
    fn run_file(&self, app: AppId, entry: &EntryName, run: u32) -> PathBuf {
        let dir = self.dir.join("cron").join(app.to_string());
        dir.join(format!("{entry}.{run}.log"))
    }

    /// Keeps what a run wrote beside the app's log, from which it goes earlier. Costs no room as long as it is in both.
    /// What can't be kept is said.
    pub fn keep_run(&self, app: AppId, dyno: DynoId, entry: &EntryName, run: u32) {
        let to = self.run_file(app, entry, run);
        let from = self.dir.join("dynos").join(app.to_string());
        let from = from.join(format!("{dyno}.log"));
        let link = |from: &Path, to: &Path| match fs::hard_link(from, to) {
            Err(e)
                if !matches!(
                    e.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::AlreadyExists
                ) =>
            {
                tracing::warn!(
                    "the output of a cron run is not kept in {}: {e}",
                    to.display()
                );
            }
            _ => {}
        };
        if let Some(dir) = to.parent() {
            let _ = fs::create_dir_all(dir);
        }
        link(&from, &to);
        link(&from.with_extension("log.1"), &to.with_extension("log.1"));
    }

    /// What a run has written, as log lines, oldest first, the last 8 MiB of it. `None`: nothing is there (any more).
    /// Blocking.
    pub fn run_output(
        &self,
        app: AppId,
        dyno: DynoId,
        entry: &EntryName,
        run: u32,
    ) -> Option<Vec<LogLine>> {
        let kept = self.run_file(app, entry, run);
        let live = self.dir.join("dynos").join(app.to_string());
        let live = live.join(format!("{dyno}.log"));
        let file = [kept, live].into_iter().find(|f| f.exists())?;
        let mut text = String::new();
        for part in [file.with_extension("log.1"), file] {
            text.push_str(&end_of(&part).unwrap_or_default());
        }
        Some(text.lines().filter_map(LogLine::parse).collect())
    }

    /// Deletes the oldest outputs of an app's runs until they fit the budget (bytes). Blocking.
    pub fn sweep_runs(&self, app: AppId, budget: u64) {
        let mut files: Vec<_> = list(&self.dir.join("cron").join(app.to_string()))
            .into_iter()
            .filter_map(|p| {
                let meta = fs::metadata(&p).ok()?;
                Some((meta.modified().ok(), meta.len(), p))
            })
            .collect();
        let mut total: u64 = files.iter().map(|f| f.1).sum();
        let mut count = files.len();
        files.sort();
        for (_, len, path) in files {
            if total <= budget && count <= MOST_FILES {
                return;
            }
            if fs::remove_file(&path).is_ok() {
                total -= len;
                count -= 1;
            }
        }
    }
}

fn end_of(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(MOST_SHOWN)))?;
    let mut bytes = vec![];
    file.take(MOST_SHOWN).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn output_outlives_the_apps_log_and_goes_by_its_own_budget() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::open(dir.path().join("logs"), dir.path().join("router")).unwrap();
        let (app, name) = (AppId(1), EntryName::of_command("x", 1));
        for n in 1..=5 {
            let dyno = DynoId(n.into());
            let file = logs.dyno_file(app, dyno).unwrap();
            let line = format!("2026-11-21T12:00:00.000000+00:00 app[cron.x]: run {n}\n");
            fs::File::create(&file)
                .unwrap()
                .write_all(line.as_bytes())
                .unwrap();
            logs.keep_run(app, dyno, &name, n);
            logs.keep_run(app, dyno, &name, n);
            fs::remove_file(file).unwrap();
            let long_ago =
                std::time::SystemTime::now() - std::time::Duration::from_secs(100 - u64::from(n));
            let f = fs::File::options()
                .append(true)
                .open(logs.run_file(app, &name, n))
                .unwrap();
            f.set_modified(long_ago).unwrap();
        }
        let said = |n: u32| {
            let lines = logs.run_output(app, DynoId(n.into()), &name, n)?;
            Some(
                lines
                    .into_iter()
                    .map(|l| l.text)
                    .collect::<Vec<_>>()
                    .join("|"),
            )
        };
        assert_eq!(
            (said(1).as_deref(), said(5).as_deref()),
            (Some("run 1"), Some("run 5"))
        );
        logs.sweep_runs(app, 120);
        assert_eq!((said(1), said(3)), (None, None));
        assert_eq!(said(5).as_deref(), Some("run 5"));
        logs.forget(app);
        assert_eq!(said(5), None);
    }
}
