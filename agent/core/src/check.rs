//! Invariants: what must hold in every state of a node, whatever failed or got lost on the way there.
//!
//! What it does: names what is wrong with a state, for the simulation and for debug builds of the loop.
//! What it never does: repair. It does not share code with the plan's steps, so that one mistake is not made twice.
//! Where its tests are: `tests/simulation/` shows each of these to fail on a deliberate fault.

use crate::{
    backoff,
    desired::Desired,
    limits,
    observed::{Dyno, DynoState, Observed, Standing},
};
use hokku_model::{DynoId, Micros, dyno, health::Purpose};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is wrong with this state, each as `name: details`; empty when nothing is.
///
/// Holds after every [`Observed::apply`]; `now` is the time of the last one.
pub fn check(desired: &Desired, observed: &Observed, now: Micros) -> Vec<String> {
    let mut wrong = vec![];
    routes(desired, observed, &mut wrong);
    way_out(desired, observed, now, &mut wrong);
    slots(desired, observed, now, &mut wrong);
    starts(desired, observed, &mut wrong);
    certs(desired, observed, &mut wrong);
    cures(observed, &mut wrong);
    sick(observed, &mut wrong);
    phases(desired, observed, &mut wrong);
    wrong
}

/// No certificates that were never wished for, and none counted as confirmed on a connection that ended.
fn certs(desired: &Desired, observed: &Observed, wrong: &mut Vec<String>) {
    let c = &observed.router.certs;
    if let Some((certs, version)) = c.sent {
        if certs > desired.certs {
            wrong.push(format!("certs-astray: {certs} of {}", desired.certs));
        }
        if version < certs || version > c.newest {
            wrong.push(format!(
                "certs-version: {certs} as {version} of {}",
                c.newest
            ));
        }
    }
    if !observed.router.connected && (c.sent.is_some() || c.applied != 0) {
        wrong.push("certs-stale: certificates of a connection that ended are counted".into());
    }
}

/// One release per app in a table; never the candidate's; only dynos that are up when the table is sent.
fn routes(desired: &Desired, observed: &Observed, wrong: &mut Vec<String>) {
    let Some(table) = &observed.router.sent else {
        return;
    };
    let mut seen = BTreeSet::new();
    for (id, app) in &table.apps {
        let mut versions = BTreeSet::new();
        let wish = desired.apps.get(id);
        for t in &app.targets {
            if !seen.insert(t.dyno) {
                wrong.push(format!("routed-twice: {} {}", app.name, t.dyno));
            }
            let Some(d) = observed.dynos.get(&t.dyno) else {
                continue; // It ended after the table was sent; the next table leaves it out.
            };
            let r = &d.record;
            versions.insert(r.version);
            let astray = t.addr.port().is_none() || t.addr.port() != r.port;
            if r.app != *id || !d.takes_requests() || astray {
                wrong.push(format!("routed-astray: {} to {r:?}", app.name));
            }
            let candidate = wish.and_then(|w| w.candidate.as_ref()).map(|c| c.version);
            let current = wish.and_then(|w| w.current.as_ref()).map(|c| c.version);
            if candidate == Some(r.version) && current != candidate {
                wrong.push(format!("candidate-routed: {} v{}", r.name, r.version));
            }
            if matches!(
                d.state,
                DynoState::Starting { .. } | DynoState::Failed { .. }
            ) {
                wrong.push(format!("unready-routed: {} v{}", r.name, r.version));
            }
        }
        if versions.len() > 1 {
            wrong.push(format!("two-releases-routed: {} {versions:?}", app.name));
        }
    }
}

/// Nothing that the router may send requests to is drained or stopped, save for destroyed apps while it is away.
fn way_out(desired: &Desired, observed: &Observed, now: Micros, wrong: &mut Vec<String>) {
    for d in observed.dynos.values().filter(|d| d.takes_requests()) {
        let r = &d.record;
        if !observed.router.known.contains(&r.id) || d.stays() {
            continue;
        }
        let away = !observed.router.connected
            && now.since(observed.router.since) >= limits::DESTROYED_AWAY;
        let destroyed = !desired.apps.contains_key(&r.app);
        match d.state {
            DynoState::Draining { .. } | DynoState::Drained { .. } => {
                wrong.push(format!("drained-while-routed: {} v{}", r.name, r.version));
            }
            // Once stopped under the exception it stays so when the router comes back, until a table is confirmed.
            DynoState::Stopping { .. }
                if !(destroyed && (away || !observed.router.confirmed())) =>
            {
                wrong.push(format!("stopped-while-routed: {} v{}", r.name, r.version));
            }
            _ => {}
        }
    }
}

/// No slot has two dynos that are as wanted, and no worker runs twice in one release.
fn slots(desired: &Desired, observed: &Observed, now: Micros, wrong: &mut Vec<String>) {
    let mut held: BTreeMap<_, Vec<&Dyno>> = BTreeMap::new();
    for d in observed.dynos.values().filter(|d| !d.record.oneoff) {
        let r = &d.record;
        held.entry((r.app, r.version, &r.name)).or_default().push(d);
    }
    for ((app, version, name), dynos) in held {
        if !name.kind.is_web() {
            if dynos.len() > 1 {
                wrong.push(format!("twice: {} dynos of {name} v{version}", dynos.len()));
            }
            continue;
        }
        let Some(wish) = desired.apps.get(&app) else {
            continue; // Its restart orders are not known (any more), and none of its dynos is as wanted.
        };
        let order = wish.restarts.newest_for(&name.kind, name.index);
        let order = if order > now { Micros(0) } else { order };
        let fresh = |d: &&&Dyno| d.stays() && d.replaced.is_none() && d.record.started_at >= order;
        let n = dynos.iter().filter(fresh).count();
        // Two may be adopted: one of them was on its way out when the agent was lost. None is started beside another.
        let ordered = dynos.iter().filter(fresh).any(|d| d.pid == 0);
        if n > 1 && ordered {
            wrong.push(format!("twice: {n} dynos of {name} v{version}"));
        }
    }
}

/// No start before its back-off was over; no second start of a candidate's dyno that failed.
fn starts(desired: &Desired, observed: &Observed, wrong: &mut Vec<String>) {
    for ((app, version, name), slot) in &observed.slots {
        let Some(wish) = desired.apps.get(app) else {
            continue;
        };
        let is = |r: &Option<crate::desired::ReleaseWish>| {
            r.as_ref().is_some_and(|r| r.version == *version)
        };
        let (candidate, current) = (is(&wish.candidate), is(&wish.current));
        let order = wish.restarts.newest_for(&name.kind, name.index);
        let of_slot = |d: &&Dyno| {
            let r = &d.record;
            (&r.app, &r.version, &r.name) == (app, version, name) && !r.oneoff
        };
        for d in observed.dynos.values().filter(of_slot) {
            let started = d.record.started_at;
            if candidate && !current && started > slot.last() {
                wrong.push(format!("candidate-restarted: {name} v{version}"));
            }
            // A crash at the very moment of a start may have come after it, so it is left out.
            let before = slot.recent.iter().filter(|t| **t < started);
            let counted: Vec<&Micros> = before.filter(|t| **t >= order).collect();
            let Some(last) = counted.last() else {
                continue;
            };
            let wait = shortest(counted.len() as u32);
            if started.since(**last) < wait {
                wrong.push(format!(
                    "backoff: {name} v{version} started {:?} after crash {} in a row",
                    started.since(**last),
                    counted.len()
                ));
            }
        }
    }
}

/// Nothing of a candidate is started before its release phase is over; one release command of an app runs at a time, and
/// none that has ended begins again.
fn phases(desired: &Desired, observed: &Observed, wrong: &mut Vec<String>) {
    let mut running = BTreeSet::new();
    for d in observed.dynos.values() {
        let r = &d.record;
        if r.purpose == dyno::Purpose::Release {
            if !running.insert(r.app) {
                wrong.push(format!("phase-twice: {} and another", r.name));
            }
            if observed.ended.contains_key(&r.id) {
                wrong.push(format!("phase-twice: {} runs and has ended", r.name));
            }
        }
        let wish = desired.apps.get(&r.app);
        let candidate = wish.and_then(|w| w.candidate.as_ref());
        let current = wish.and_then(|w| w.current.as_ref()).map(|c| c.version);
        if let Some(c) = candidate
            && c.version == r.version
            && current != Some(c.version)
            && !r.oneoff
            && (c.phase.failed.is_some() || c.phase.done < c.phase.steps.len())
        {
            wrong.push(format!(
                "phase-early: {} of v{} was started before its release phase was over",
                r.name, r.version
            ));
        }
    }
}

/// Of each app one dyno at a time is replaced because of its liveness check, with growing pauses.
fn cures(observed: &Observed, wrong: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for d in observed.dynos.values().filter(|d| d.replaced.is_some()) {
        if !seen.insert(d.record.app) {
            wrong.push(format!("cure-storm: {} and another", d.record.name));
        }
    }
    for (app, cures) in &observed.cures {
        for (i, pair) in cures.recent.windows(2).enumerate() {
            let pause = pair[1].since(pair[0]);
            // As after one crash more than there were replacements; the first ones may have been forgotten.
            if pair[1] > pair[0] && pause < shortest(i as u32 + 2) || pair[0] == pair[1] {
                wrong.push(format!("cure-budget: {app} after {pause:?}"));
            }
        }
    }
}

/// A table that was made while one dyno's checks failed, and another's of its release did not, leaves the first out.
fn sick(observed: &Observed, wrong: &mut Vec<String>) {
    let Some(table) = &observed.router.sent else {
        return;
    };
    let at = observed.router.sent_at;
    for app in table.apps.values() {
        let routed = app
            .targets
            .iter()
            .filter_map(|t| observed.dynos.get(&t.dyno));
        let (mut bad, mut good) = (None, false);
        for d in routed {
            let checks = d.record.care.checks.iter().zip(&d.standings);
            let mut asked = checks.filter(|(c, _)| !c.warn && c.purpose != Purpose::Startup);
            if asked
                .clone()
                .any(|(_, s)| matches!(s, Standing::Bad { since, .. } if *since < at))
            {
                bad = Some(d);
            }
            good |= asked.all(|(_, s)| match s {
                Standing::Good { since } => *since < at,
                _ => false,
            });
        }
        if let Some(d) = bad.filter(|_| good) {
            wrong.push(format!(
                "sick-routed: {} v{}",
                d.record.name, d.record.version
            ));
        }
    }
}

/// The shortest wait that the jitter allows after this many crashes.
fn shortest(crashes: u32) -> std::time::Duration {
    let by_seed = (0..32).map(|seed| backoff::delay(crashes, seed));
    by_seed.min().unwrap_or_default().mul_f64(0.9)
}

/// Dynos that are neither as wanted nor on a way out with an end: for tests that let a node come to rest.
pub fn unrest(desired: &Desired, observed: &Observed) -> Vec<String> {
    let mut odd = vec![];
    for d in observed.dynos.values() {
        let r = &d.record;
        let wish = desired.apps.get(&r.app);
        let version = wish.and_then(|w| w.current.as_ref()).map(|c| c.version);
        if !d.serves() {
            odd.push(format!("{} v{} is {:?}", r.name, r.version, d.state));
        } else if wish.is_none() {
            odd.push(format!("{} v{} of a destroyed app", r.name, r.version));
        } else if !r.oneoff && version != Some(r.version) {
            odd.push(format!("{} v{} is of an old release", r.name, r.version));
        }
    }
    if desired.certs != 0 && observed.router.certs.confirmed() != desired.certs {
        odd.push("the router has not confirmed the certificates".into());
    }
    if !observed.router.confirmed() {
        odd.push("the router has not confirmed its table".into());
    }
    let gone: Vec<DynoId> = observed
        .router
        .known
        .iter()
        .filter(|d| !observed.dynos.contains_key(d))
        .copied()
        .collect();
    if !gone.is_empty() {
        odd.push(format!("the router knows dynos that are gone: {gone:?}"));
    }
    odd
}
