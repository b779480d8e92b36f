//! What was started for a release that is being rolled out, so that a failed push can show what its own dynos said. In
//! memory: a push does not outlive the agent.

use crate::logs::{self, Logs};
use hokku_core::event::Event;
use hokku_model::{AppId, DynoId, log::LogLine};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Releases that are remembered, dynos of each, and the platform's lines about them.
const RELEASES: usize = 64;
const DYNOS: usize = 200;
const LINES: usize = 100;

/// Shown of a release that failed.
const LAST_LINES: usize = 50;

/// The dynos of one candidate, and what the platform said of them.
#[derive(Debug)]
struct Candidate {
    app: AppId,
    version: u32,
    dynos: Vec<DynoId>,
    said: VecDeque<LogLine>,
}

/// All that are remembered; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Candidates(Arc<Mutex<VecDeque<Candidate>>>);

impl Candidates {
    fn all(&self) -> MutexGuard<'_, VecDeque<Candidate>> {
        // nothing that could panic runs under this lock
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A dyno of a candidate is started.
    pub fn started(&self, app: AppId, version: u32, dyno: DynoId) {
        let mut all = self.all();
        if !all.iter().any(|c| (c.app, c.version) == (app, version)) {
            if all.len() >= RELEASES {
                all.pop_front();
            }
            all.push_back(Candidate {
                app,
                version,
                dynos: vec![],
                said: VecDeque::new(),
            });
        }
        let mine = all
            .iter_mut()
            .find(|c| (c.app, c.version) == (app, version));
        if let Some(c) = mine.filter(|c| c.dynos.len() < DYNOS) {
            c.dynos.push(dyno);
        }
    }

    /// The platform says something of a dyno.
    pub fn said(&self, dyno: DynoId, name: &str, text: &str) {
        let mut all = self.all();
        let Some(c) = all.iter_mut().find(|c| c.dynos.contains(&dyno)) else {
            return;
        };
        if c.said.len() >= LINES {
            c.said.pop_front();
        }
        c.said.push_back(LogLine {
            time: logs::now(),
            source: "heroku".into(),
            dyno: name.to_owned(),
            text: text.to_owned(),
        });
    }

    /// The dynos of a release, and what the platform said of them, oldest first.
    pub fn of(&self, app: AppId, version: u32) -> (Vec<DynoId>, Vec<LogLine>) {
        let all = self.all();
        let mine = all.iter().find(|c| (c.app, c.version) == (app, version));
        mine.map(|c| (c.dynos.clone(), c.said.iter().cloned().collect()))
            .unwrap_or_default()
    }

    /// The last lines that a release's dynos wrote while it was rolled out and that the platform said of them, oldest
    /// first. Of its own dynos alone: those that serve go on writing meanwhile.
    pub async fn last_lines(&self, logs: &Logs, app: AppId, version: u32) -> Vec<LogLine> {
        let (dynos, mut all) = self.of(app, version);
        all.extend(logs.of_dynos(app, dynos, LAST_LINES).await);
        all.sort_by(|a, b| a.time.cmp(&b.time));
        all.drain(..all.len().saturating_sub(LAST_LINES));
        all
    }
}

/// The dyno that an event is about.
pub(super) fn dyno_of(event: &Event) -> Option<DynoId> {
    match event {
        Event::Ordered { record } | Event::Adopted { record, .. } => Some(record.id),
        Event::Running { dyno, .. }
        | Event::StartFailed { dyno, .. }
        | Event::Answering { dyno }
        | Event::Checked { dyno, .. }
        | Event::BootTimedOut { dyno, .. }
        | Event::Exited { dyno, .. }
        | Event::StopOrdered { dyno }
        | Event::KillOrdered { dyno } => Some(*dyno),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_the_candidate_s_and_bounded() {
        let c = Candidates::default();
        let app = AppId(1);
        c.started(app, 2, DynoId(20));
        c.started(app, 2, DynoId(21));
        for i in 0..LINES + 5 {
            c.said(DynoId(20), "web.1", &format!("line {i}"));
            c.said(DynoId(9), "web.1", "of another release");
        }
        let (dynos, said) = c.of(app, 2);
        assert_eq!(dynos, [DynoId(20), DynoId(21)]);
        assert_eq!((said.len(), said[0].text.as_str()), (LINES, "line 5"));
        for v in 3..3 + RELEASES as u32 {
            c.started(app, v, DynoId(u128::from(v) * 100));
        }
        assert_eq!(c.of(app, 2), (vec![], vec![]));
        assert_eq!(c.of(app, 3).0, [DynoId(300)]);
    }
}
