//! How the checks of each dyno went last, for people who ask; nothing is decided by it.

use super::{Probe, Supervisor, probe::Verdict, watch::Watch};
use futures_util::future::join_all;
use hokku_model::{DynoId, Micros, dyno::DynoRecord, health::Check};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A check by hand takes no longer than this, whatever its own limit is.
const BY_HAND: Duration = Duration::from_secs(30);

/// How a check went.
#[derive(Clone, Debug, PartialEq)]
pub struct Last {
    /// When it ended.
    pub at: Micros,
    /// How long it took.
    pub took: Duration,
    /// So many failed in a row, this one included.
    pub failures: u32,
    /// What was wrong, in sentences.
    pub outcome: Result<(), String>,
}

type Known = HashMap<DynoId, (Probe, Vec<Option<Last>>)>;

/// The probe of each dyno, with how its checks went.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Known>);

impl Seen {
    fn all(&self) -> MutexGuard<'_, Known> {
        // nothing that could panic runs under this lock
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dyno's checks begin.
    pub fn begin(&self, dyno: DynoId, probe: &Probe) {
        let none = vec![None; probe.checks.len()];
        self.all().insert(dyno, (probe.clone(), none));
    }

    /// One was made.
    pub fn note(&self, dyno: DynoId, check: usize, took: Duration, verdict: &Verdict) {
        let mut all = self.all();
        let Some(last) = all.get_mut(&dyno).and_then(|(_, l)| l.get_mut(check)) else {
            return;
        };
        let before = last.as_ref().map_or(0, |l| l.failures);
        *last = Some(went(before, took, verdict));
    }

    /// The dyno is gone.
    pub fn forget(&self, dyno: DynoId) {
        self.all().remove(&dyno);
    }
}

fn went(before: u32, took: Duration, verdict: &Verdict) -> Last {
    let outcome = match verdict {
        Verdict::Passed => Ok(()),
        Verdict::Failed(text) | Verdict::Unheard(text) => Err(text.clone()),
    };
    Last {
        at: Micros::now(),
        took,
        failures: outcome
            .as_ref()
            .err()
            .map_or(0, |_| before.saturating_add(1)),
        outcome,
    }
}

impl Supervisor {
    /// How each check of a dyno went last, in the order of its record.
    pub fn checked(&self, dyno: DynoId) -> Vec<Option<Last>> {
        let all = self.inner.seen.all();
        all.get(&dyno)
            .map(|(_, last)| last.clone())
            .unwrap_or_default()
    }

    /// Makes each check of a dyno once; of one without checks, whether it takes a connection on its port. Nothing follows
    /// from it.
    pub async fn check_now(&self, record: &DynoRecord) -> Vec<Last> {
        let known = self
            .inner
            .seen
            .all()
            .get(&record.id)
            .map(|(p, _)| p.clone());
        let mut probe = known.unwrap_or_else(|| Probe {
            addr: record
                .port
                .map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
            up: true,
            checks: vec![],
            app: record.app_name.to_string(),
            name: record.name.to_string(),
            host: String::new(),
            boot_limit: Duration::ZERO,
        });
        if probe.checks.is_empty() && probe.addr.is_some() {
            probe.checks.push(Check::default_of_web());
        }
        let watch = Watch::new(self.clone(), record.id, probe.clone());
        join_all(probe.checks.iter().map(|check| async {
            let begun = Instant::now();
            let verdict = tokio::time::timeout(BY_HAND, watch.ask(check)).await;
            let verdict = verdict.unwrap_or_else(|_| {
                Verdict::Failed(format!("It was given up after {} s.", BY_HAND.as_secs()))
            });
            went(0, begun.elapsed(), &verdict)
        }))
        .await
    }
}
