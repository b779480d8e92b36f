//! Pushes that wait: one at work per app and the newest waiting one; an older waiting one is superseded. Nothing of it
//! is on disk: a push lives as long as its connection, so no lock can outlive its process.

use super::{PushMessage, PushOrder};
use hokku_model::{AppId, Micros};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

type Pusher = mpsc::Sender<PushMessage>;

/// The queue of one node.
#[derive(Default)]
pub(super) struct Queue {
    running: BTreeMap<AppId, Running>,
    waiting: BTreeMap<AppId, (PushOrder, Pusher)>,
}

struct Running {
    commit: String,
    user: String,
    since: Micros,
}

impl Queue {
    /// Takes a push in. An older one that waits for the same app is told that it is superseded.
    pub fn add(&mut self, order: PushOrder, to: Pusher) {
        if let Some(running) = self.running.get(&order.app) {
            let seconds = Micros::now().since(running.since).as_secs();
            say(
                &to,
                &format!(
                    "-----> Waiting: {} is deploying {} since {seconds} s; this push goes next\n",
                    running.user,
                    short(&running.commit)
                ),
            );
        }
        let by = format!("{} by {}", short(&order.commit), order.user);
        if let Some((_, older)) = self.waiting.insert(order.app, (order, to)) {
            say(
                &older,
                &format!(" !     Push rejected: superseded by a newer push of {by}.\n"),
            );
            let _ = older.try_send(PushMessage::End { accepted: false });
        }
    }

    /// The next push whose turn it is, marked as running. Pushers who went away are forgotten.
    pub fn next(&mut self) -> Option<(PushOrder, Pusher)> {
        self.waiting.retain(|_, (_, to)| !to.is_closed());
        let app = *self
            .waiting
            .keys()
            .find(|app| !self.running.contains_key(app))?;
        let (order, to) = self.waiting.remove(&app)?;
        let running = Running {
            commit: order.commit.clone(),
            user: order.user.clone(),
            since: Micros::now(),
        };
        self.running.insert(app, running);
        Some((order, to))
    }

    /// The push at work for this app has ended.
    pub fn ended(&mut self, app: AppId) {
        self.running.remove(&app);
    }
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
        };
        (order, tx, rx)
    }

    #[test]
    fn one_runs_the_newest_waits_the_older_is_superseded() {
        let mut q = Queue::default();
        let ((a, ta, _ra), (b, tb, mut rb), (c, tc, mut rc)) =
            (push(1, "aaaa"), push(1, "bbbb"), push(1, "cccc"));
        q.add(a, ta);
        assert_eq!(q.next().unwrap().0.commit, "aaaa");
        q.add(b, tb);
        assert!(q.next().is_none());
        q.add(c, tc);
        let said = |rx: &mut mpsc::Receiver<PushMessage>| match rx.try_recv().unwrap() {
            PushMessage::Output(o) => String::from_utf8(o.to_vec()).unwrap(),
            PushMessage::End { accepted } => format!("end {accepted}"),
        };
        assert!(said(&mut rb).contains("a@b is deploying aaaa"));
        assert!(said(&mut rb).contains("superseded by a newer push of cccc by a@b"));
        assert_eq!(said(&mut rb), "end false");
        assert!(said(&mut rc).contains("Waiting"));
        q.ended(AppId(1));
        assert_eq!(q.next().unwrap().0.commit, "cccc");
    }

    #[test]
    fn apps_do_not_wait_for_each_other_and_the_gone_are_forgotten() {
        let mut q = Queue::default();
        let ((a, ta, _ra), (b, tb, _rb), (c, tc, rc)) = (push(1, "a"), push(2, "b"), push(3, "c"));
        q.add(a, ta);
        q.add(b, tb);
        q.add(c, tc);
        drop(rc);
        assert_eq!([q.next(), q.next()].into_iter().flatten().count(), 2);
        assert!(q.next().is_none());
    }
}
