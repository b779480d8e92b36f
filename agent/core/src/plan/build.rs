//! Which requested build runs next: one per app at a time, the newest request wins, a limit for the whole node.

use hokku_model::{AppId, BuildId};
use std::collections::{BTreeMap, BTreeSet};

/// Builds of the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildQueue {
    /// Those that run.
    pub running: Vec<(AppId, BuildId)>,
    /// Those that wait, oldest first.
    pub waiting: Vec<(AppId, BuildId)>,
    /// How many may run at once on this node; 0 counts as 1.
    pub parallel: usize,
}

/// What to do with the queue. Every waiting build is in exactly one of the lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission {
    /// Start these now.
    pub start: Vec<BuildId>,
    /// Tell these that a newer push took their place: `(older, newer)`.
    pub superseded: Vec<(BuildId, BuildId)>,
    /// These go on waiting, for what: a line for the pusher.
    pub waits: Vec<(BuildId, String)>,
}

/// Decides which waiting builds start, end or go on waiting.
pub fn admit(queue: &BuildQueue) -> Admission {
    let newest: BTreeMap<AppId, BuildId> = queue.waiting.iter().copied().collect();
    let mut busy: BTreeSet<AppId> = queue.running.iter().map(|(app, _)| *app).collect();
    let limit = queue.parallel.max(1);
    let mut running = queue.running.len();
    let mut out = Admission::default();
    for (app, build) in &queue.waiting {
        let newer = newest[app];
        if newer != *build {
            out.superseded.push((*build, newer));
        } else if busy.contains(app) {
            out.waits.push((
                *build,
                "Another build of this app is running; this one starts when it has ended.".into(),
            ));
        } else if running >= limit {
            out.waits.push((
                *build,
                format!(
                    "{running} of {limit} builds are running on this machine; this one starts when one has ended."
                ),
            ));
        } else {
            running += 1;
            busy.insert(*app);
            out.start.push(*build);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(list: &[(u128, u128)]) -> Vec<(AppId, BuildId)> {
        list.iter().map(|(a, b)| (AppId(*a), BuildId(*b))).collect()
    }

    #[test]
    fn table() {
        // running, waiting, limit; started, superseded, waiting
        type Case<'a> = (
            &'a [(u128, u128)],
            &'a [(u128, u128)],
            usize,
            &'a [u128],
            &'a [(u128, u128)],
            &'a [u128],
        );
        let cases: &[Case] = &[
            (&[], &[], 1, &[], &[], &[]),
            (&[], &[(1, 1)], 1, &[1], &[], &[]),
            (&[], &[(1, 1)], 0, &[1], &[], &[]),
            (&[(1, 1)], &[(1, 2)], 2, &[], &[], &[2]),
            (&[(1, 1)], &[(1, 2), (1, 3)], 2, &[], &[(2, 3)], &[3]),
            (&[(1, 1)], &[(2, 2)], 1, &[], &[], &[2]),
            (&[(1, 1)], &[(1, 2), (2, 3)], 2, &[3], &[], &[2]),
            (&[], &[(1, 1), (2, 2), (1, 3)], 1, &[2], &[(1, 3)], &[3]),
            (&[], &[(1, 1), (2, 2), (3, 3)], 2, &[1, 2], &[], &[3]),
        ];
        for (running, waiting, parallel, start, superseded, waits) in cases {
            let queue = BuildQueue {
                running: ids(running),
                waiting: ids(waiting),
                parallel: *parallel,
            };
            let got = admit(&queue);
            let start: Vec<_> = start.iter().map(|b| BuildId(*b)).collect();
            assert_eq!(got.start, start, "{queue:?}");
            let superseded: Vec<_> = superseded
                .iter()
                .map(|(a, b)| (BuildId(*a), BuildId(*b)))
                .collect();
            assert_eq!(got.superseded, superseded, "{queue:?}");
            let waits: Vec<_> = waits.iter().map(|b| BuildId(*b)).collect();
            assert_eq!(
                got.waits.iter().map(|w| w.0).collect::<Vec<_>>(),
                waits,
                "{queue:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn each_waiting_build_has_one_fate(
            running in prop::collection::btree_map(0u128..6, Just(()), 0..3),
            waiting in prop::collection::vec(0u128..6, 0..12),
            parallel in 0usize..4,
        ) {
            let queue = BuildQueue {
                running: running.keys().map(|a| (AppId(*a), BuildId(1000 + a))).collect(),
                waiting: waiting.iter().enumerate().map(|(i, a)| (AppId(*a), BuildId(i as u128))).collect(),
                parallel,
            };
            let a = admit(&queue);
            let mut all: Vec<BuildId> = a.start.clone();
            all.extend(a.superseded.iter().map(|s| s.0));
            all.extend(a.waits.iter().map(|w| w.0));
            all.sort();
            prop_assert_eq!(all, queue.waiting.iter().map(|w| w.1).collect::<Vec<_>>());
            let room = parallel.max(1).saturating_sub(queue.running.len());
            prop_assert!(a.start.len() <= room);
            if room > 0 && a.start.is_empty() {
                prop_assert!(a.waits.iter().all(|w| w.1.contains("of this app")));
            }
        }
    }
}
