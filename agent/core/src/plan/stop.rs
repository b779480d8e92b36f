//! The way out: leave the routes, see that the router knows, drain, SIGTERM, grace, SIGKILL. Each step is asked for
//! only when the one before it was observed, and each wait has an end.

use super::{Draft, crew::Crew};
use crate::{
    action::Action,
    limits,
    observed::{Dyno, DynoState, Observed},
};
use hokku_model::{DynoId, Micros};
use std::time::Duration;

/// Moves every dyno of an app that has to go one step further, and kills what never came up.
pub(super) fn retire(crew: &Crew, observed: &Observed, draft: &mut Draft) {
    let own = crew.wish.routing.drain_ms.map(Duration::from_millis);
    let times = Times {
        drain: own.unwrap_or(observed.waits.drain).min(limits::DRAIN_MAX),
        even_routed: None,
    };
    for d in &crew.dynos {
        let leaves = || crew.leaves(d);
        step(d, leaves, times, observed, draft);
    }
}

/// How long a dyno's way out may take.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// For what is in flight.
    pub drain: Duration,
    /// So long must the router have been away before the dyno is stopped although the router may still send it requests;
    /// none: never.
    pub even_routed: Option<Duration>,
}

/// One dyno's next step. `leaves` tells why a dyno that is starting or up has to go.
pub(super) fn step(
    d: &Dyno,
    leaves: impl Fn() -> Option<String>,
    times: Times,
    observed: &Observed,
    draft: &mut Draft,
) {
    let dyno = d.record.id;
    match d.state {
        DynoState::Starting { since } | DynoState::Up { since } => {
            if let Some(why) = leaves() {
                leave(d, since, why, times, observed, draft);
            } else if matches!(d.state, DynoState::Starting { .. })
                && !d.record.oneoff
                && draft.due(since.plus(limits::BOOT_BACKSTOP + limits::checks(&d.record.care)))
            {
                let why = format!("{} neither came up nor failed", d.record.name);
                draft.act(Action::Kill { dyno }, why);
            }
        }
        DynoState::Draining { until, .. } => drain_on(d, until, observed, draft),
        DynoState::Drained { .. } => {
            let why = format!("nothing is in flight to {} any more", d.record.name);
            draft.act(Action::Stop { dyno }, why);
        }
        DynoState::Stopping {
            since,
            killed: None,
        } => {
            let care = &d.record.care;
            if draft.due(since.plus(care.grace(observed.waits.grace))) {
                let signal = care.signal_name();
                let why = format!("{} did not exit after {signal}", d.record.name);
                draft.act(Action::Kill { dyno }, why);
            }
        }
        DynoState::Failed { killed: None, .. } => {
            let why = format!("{} did not come up in time", d.record.name);
            draft.act(Action::Kill { dyno }, why);
        }
        DynoState::Stopping {
            killed: Some(at), ..
        }
        | DynoState::Failed {
            killed: Some(at), ..
        } => {
            if draft.due(at.plus(limits::KILL_AGAIN)) {
                let why = format!("{} was killed and is still there", d.record.name);
                draft.act(Action::Kill { dyno }, why);
            }
        }
    }
}

fn leave(
    d: &Dyno,
    since: Micros,
    why: String,
    times: Times,
    observed: &Observed,
    draft: &mut Draft,
) {
    let dyno = d.record.id;
    if !d.takes_requests() {
        draft.act(Action::Stop { dyno }, why);
        return;
    }
    let r = &observed.router;
    let routed = r.known.contains(&dyno);
    if r.connected {
        if r.confirmed() && !routed {
            let deadline = times.drain;
            draft.act(Action::Drain { dyno, deadline }, why);
        }
        return;
    }
    // A dyno adopted outside the table may have been draining: it gets the time of a drain as well.
    let wait = match (routed, times.even_routed) {
        (false, _) => times.drain,
        (true, Some(wait)) => wait,
        (true, None) => return,
    };
    if draft.due(since.max(r.since).plus(wait)) {
        draft.act(
            Action::Stop { dyno },
            format!("{why}; the router is away and can't be asked to drain it"),
        );
    }
}

fn drain_on(d: &Dyno, until: Micros, observed: &Observed, draft: &mut Draft) {
    let dyno: DynoId = d.record.id;
    if draft.due(until.plus(limits::DRAIN_MARGIN)) {
        let why = format!("the time for draining {} is over", d.record.name);
        draft.act(Action::Stop { dyno }, why);
        return;
    }
    let r = &observed.router;
    if r.confirmed() && !r.draining.contains(&dyno) {
        let deadline = until.since(draft.now).max(Duration::from_millis(1));
        let why = format!(
            "the router connected anew and does not know that {} drains",
            d.record.name
        );
        draft.act(Action::Drain { dyno, deadline }, why);
    }
}
