//! Pushes that run or wait. Who goes next is decided by `hokku_core::plan::build`; here are the pushers' ends. Nothing
//! of it is on disk: a push lives as long as its connection, so no lock can outlive its process.

use super::{PushMessage, PushOrder};
use hokku_core::plan::build::{BuildQueue, admit};
use hokku_model::{AppId, BuildId};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

type Pusher = mpsc::Sender<PushMessage>;

/// The queue of one node.
pub(super) struct Queue {
    parallel: usize,
    last: u128,
    running: BTreeMap<AppId, Running>,
    waiting: Vec<Waiting>,
}

struct Running {
    ticket: BuildId,
    what: String,
    /// Its build is done: it only waits for its rollout and takes no builder's place.
    built: bool,
}

struct Waiting {
    ticket: BuildId,
    order: PushOrder,
    to: Pusher,
    told: bool,
}

impl Queue {
    /// At most `parallel` builds at once.
    pub fn new(parallel: usize) -> Queue {
        Queue {
            parallel,
            last: 0,
            running: BTreeMap::new(),
            waiting: vec![],
        }
    }

    /// From now on at most so many builds at once; those that run go on.
    pub fn allow(&mut self, parallel: usize) {
        self.parallel = parallel;
    }

    /// Takes a push in; it starts with one of the next calls of [`Queue::next`].
    pub fn add(&mut self, order: PushOrder, to: Pusher) {
        self.last += 1;
        let ticket = BuildId(self.last);
        self.waiting.push(Waiting {
            ticket,
            order,
            to,
            told: false,
        });
    }

    /// The pushes whose turn it is. Those who wait are told for what, once; those superseded are told and ended;
    /// those who went away are forgotten.
    pub fn next(&mut self) -> Vec<(PushOrder, Pusher)> {
        self.waiting.retain(|w| !w.to.is_closed());
        if self.waiting.is_empty() {
            return vec![];
        }
        let admission = admit(&BuildQueue {
            running: self
                .running
                .iter()
                .map(|(app, r)| (*app, r.ticket))
                .collect(),
            waiting: self
                .waiting
                .iter()
                .map(|w| (w.order.app, w.ticket))
                .collect(),
            parallel: self.parallel + self.running.values().filter(|r| r.built).count(),
        });
        for (older, newer) in &admission.superseded {
            let by = self
                .waiting
                .iter()
                .find(|w| w.ticket == *newer)
                .map(|w| describe(&w.order));
            if let Some(older) = self.waiting.iter().find(|w| w.ticket == *older) {
                let by = by.unwrap_or_default();
                say(
                    &older.to,
                    &format!(" !     Push rejected: superseded by a newer push, {by}.\n"),
                );
                let _ = older.to.try_send(PushMessage::End { accepted: false });
            }
        }
        for (ticket, line) in &admission.waits {
            if let Some(w) = self
                .waiting
                .iter_mut()
                .find(|w| w.ticket == *ticket && !w.told)
            {
                let busy = self
                    .running
                    .get(&w.order.app)
                    .map(|r| format!(" ({})", r.what));
                say(
                    &w.to,
                    &format!("-----> Waiting. {line}{}\n", busy.unwrap_or_default()),
                );
                w.told = true;
            }
        }
        let ended: BTreeSet<BuildId> = admission
            .superseded
            .iter()
            .map(|(older, _)| *older)
            .collect();
        let started: BTreeSet<BuildId> = admission.start.into_iter().collect();
        let (go, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|w| started.contains(&w.ticket));
        self.waiting = stay
            .into_iter()
            .filter(|w| !ended.contains(&w.ticket))
            .collect();
        for w in &go {
            let running = Running {
                ticket: w.ticket,
                what: describe(&w.order),
                built: false,
            };
            self.running.insert(w.order.app, running);
        }
        go.into_iter().map(|w| (w.order, w.to)).collect()
    }

    /// The push at work for this app has built its slug and now waits for its rollout.
    pub fn built(&mut self, app: AppId) {
        if let Some(r) = self.running.get_mut(&app) {
            r.built = true;
        }
    }

    /// Is a push of this app at work?
    pub fn busy(&self, app: AppId) -> bool {
        self.running.contains_key(&app)
    }

    /// The push at work for this app has ended.
    pub fn ended(&mut self, app: AppId) {
        self.running.remove(&app);
    }
}

fn describe(order: &PushOrder) -> String {
    format!("{} by {}", short(&order.commit), order.user)
}

/// The first eight digits of a commit.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

fn say(to: &Pusher, text: &str) {
    let _ = to.try_send(PushMessage::Output(text.to_owned().into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(app: u128, commit: &str) -> (PushOrder, Pusher, mpsc::Receiver<PushMessage>) {
        let (tx, rx) = mpsc::channel(8);
        let order = PushOrder {
            app: AppId(app),
            user: "a@b".into(),
            commit: commit.into(),
            repository: "/r".into(),
            git_env: vec![],
            skip_phase: false,
        };
        (order, tx, rx)
    }

    fn said(rx: &mut mpsc::Receiver<PushMessage>) -> String {
        match rx.try_recv().unwrap() {
            PushMessage::Output(o) => String::from_utf8(o.to_vec()).unwrap(),
            PushMessage::End { accepted } => format!("end {accepted}"),
        }
    }

    fn started(q: &mut Queue) -> Vec<String> {
        q.next().into_iter().map(|(o, _)| o.commit).collect()
    }

    #[test]
    fn one_runs_the_newest_waits_the_older_is_superseded() {
        let mut q = Queue::new(2);
        let ((a, ta, _ra), (b, tb, mut rb), (c, tc, mut rc)) =
            (push(1, "aaaa"), push(1, "bbbb"), push(1, "cccc"));
        q.add(a, ta);
        assert_eq!(started(&mut q), ["aaaa"]);
        q.add(b, tb);
        assert!(started(&mut q).is_empty() && started(&mut q).is_empty());
        q.add(c, tc);
        assert!(started(&mut q).is_empty());
        assert!(said(&mut rb).contains("(aaaa by a@b)"));
        assert!(said(&mut rb).contains("superseded by a newer push, cccc by a@b"));
        assert_eq!(said(&mut rb), "end false");
        assert!(said(&mut rc).contains("Waiting"));
        assert!(q.busy(AppId(1)) && !q.busy(AppId(2)));
        q.ended(AppId(1));
        assert!(!q.busy(AppId(1)));
        assert_eq!(started(&mut q), ["cccc"]);
    }

    #[test]
    fn a_rollout_takes_no_builders_place_and_the_gone_are_forgotten() {
        let mut q = Queue::new(1);
        let ((a, ta, _ra), (b, tb, _rb), (c, tc, rc)) = (push(1, "a"), push(2, "b"), push(3, "c"));
        q.add(c, tc);
        q.add(a, ta);
        q.add(b, tb);
        drop(rc);
        assert_eq!(started(&mut q), ["a"]);
        q.built(AppId(1));
        assert_eq!(started(&mut q), ["b"]);
    }
}
