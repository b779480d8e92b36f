//! Logs: reads what dynos, router and platform have written, in order of time; writes the platform's own lines.
//!
//! What it does: three writers append to files of their own in Heroku's line format: each shim to
//! `<logs>/dynos/<app>/<dyno id>.log`, the router to `<logs>/router/<app>.log`, this room to
//! `<logs>/platform/<app>.log`. Reading merges them. So no line passes through the agent, and none is lost with it.
//! What it never does: wait for a reader; a tail that is too slow is told how many lines it missed (L11).
//! Who calls it: `control` (platform lines), `api` (log sessions). Where its tests are: beside the code.

use hokku_model::{
    AppId,
    log::{LogFilter, LogLine},
};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// The handle; cheap to clone.
#[derive(Clone, Debug)]
pub struct Logs {
    dir: PathBuf,
}

impl Logs {
    /// Logs under this folder.
    pub fn new(dir: PathBuf) -> Logs {
        Logs { dir }
    }

    /// The newest `n` lines (1500 at most) that pass the filter, oldest first.
    pub async fn recent(&self, _app: AppId, _n: usize, _filter: LogFilter) -> Vec<LogLine> {
        let _ = &self.dir;
        vec![]
    }

    /// The newest `n` lines and then every new one, until the receiver is dropped.
    pub async fn tail(
        &self,
        _app: AppId,
        _n: usize,
        _filter: LogFilter,
    ) -> mpsc::Receiver<LogLine> {
        mpsc::channel(1).1
    }

    /// Appends a line of the platform's: source `app` or `heroku`, dyno such as `web.1` or `api`.
    pub fn write(&self, _app: AppId, _source: &str, _dyno: &str, _text: &str) {}
}
