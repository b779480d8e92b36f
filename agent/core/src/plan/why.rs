//! `app ps:why web.1`: how a dyno stands, why, what it waits for, and what comes next and when.

use super::{
    explain::{self, of_dyno},
    health, plan,
};
use crate::{
    action::Action,
    desired::Desired,
    limits,
    observed::{Dyno, DynoState, Observed, Standing},
};
use hokku_model::{AppId, DynoId, DynoName, Micros};

/// One dyno of the name, or the empty slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// Which; `None` for a slot without a dyno.
    pub dyno: Option<DynoId>,
    /// Its release; 0 for a slot that has none.
    pub version: u32,
    /// `starting`, `up`, `stopping`, `crashed`, `down`.
    pub state: &'static str,
    /// When it came into that state.
    pub since: Option<Micros>,
    /// Why, in sentences.
    pub because: String,
    /// What has to happen first; empty when it waits for nothing.
    pub waits_for: String,
    /// What is done next; empty when nothing is.
    pub next: String,
    /// When at the latest.
    pub at: Option<Micros>,
    /// How its checks stand, a line each.
    pub checks: Vec<String>,
}

/// All dynos of this name, old and new during a rollout, and the slot when it is empty; at least one.
pub fn why(
    desired: &Desired,
    observed: &Observed,
    app: AppId,
    name: &DynoName,
    now: Micros,
) -> Vec<Why> {
    let orders = plan(desired, observed, now).actions;
    let mut dynos: Vec<&Dyno> = observed
        .dynos
        .values()
        .filter(|d| d.record.app == app && d.record.name == *name)
        .collect();
    dynos.sort_by_key(|d| (d.record.version, d.record.started_at));
    let mut all: Vec<Why> = dynos
        .iter()
        .map(|d| one(desired, observed, d, &orders, now))
        .collect();
    let slots = explain::crashed(desired, observed, app, now);
    if let Some(c) = slots.into_iter().find(|c| c.name == *name) {
        all.push(Why {
            dyno: None,
            version: c.version,
            state: "crashed",
            since: Some(c.since),
            because: c.text,
            waits_for: "the end of its back-off".into(),
            next: "it is started again".into(),
            at: Some(c.due.max(now)),
            checks: vec![],
        });
    } else if all.is_empty() {
        all.push(Why {
            dyno: None,
            version: 0,
            state: "down",
            since: None,
            because: explain::why(desired, observed, app, name, now),
            waits_for: String::new(),
            next: String::new(),
            at: None,
            checks: vec![],
        });
    }
    all
}

fn one(
    desired: &Desired,
    observed: &Observed,
    d: &Dyno,
    orders: &[(Action, String)],
    now: Micros,
) -> Why {
    let crew = explain::crew(desired, observed, d.record.app, now);
    let mut because = of_dyno(crew.as_ref(), observed, d, now);
    let care = &d.record.care;
    let (state, since) = d.state.shown();
    let signal = care.signal_name();
    let (mut waits_for, mut next, mut at) = (String::new(), String::new(), None);
    match d.state {
        DynoState::Starting { since } if d.pid == 0 => {
            waits_for = "its process".into();
            next = "it is given up".into();
            at = Some(since.plus(limits::BOOT_BACKSTOP));
        }
        DynoState::Starting { since } => {
            waits_for = match care.gated() {
                true => "its checks".into(),
                false => "its first answer on $PORT".into(),
            };
            next = "it is given up".into();
            at = (!care.gated()).then(|| since.plus(observed.waits.boot));
        }
        DynoState::Up { .. } => {
            if because.is_empty() {
                because = format!("{} of v{} is at work.", d.record.name, d.record.version);
            }
            let sick = crew
                .as_ref()
                .map(|c| (c, health::sick(c).collect::<Vec<_>>()));
            if let Some((c, sick)) = sick
                && sick.iter().any(|(s, _)| s.record.id == d.record.id)
            {
                next = "another one is started in its place".into();
                match health::blocked(c, d) {
                    Some(o) => {
                        waits_for =
                            format!("{}, which is starting or being replaced", o.record.name)
                    }
                    None => {
                        waits_for = "the pause between two replacements".into();
                        at = Some(health::due(c.app, observed, now).max(now));
                    }
                }
            }
        }
        DynoState::Draining { until, .. } => {
            waits_for = "the requests in flight".into();
            next = format!("it gets {signal}");
            at = Some(until);
        }
        DynoState::Drained { .. } => next = format!("it gets {signal}"),
        DynoState::Stopping {
            since,
            killed: None,
        } => {
            waits_for = "its processes to exit".into();
            next = "it gets SIGKILL".into();
            at = Some(since.plus(care.grace(observed.waits.grace)));
        }
        DynoState::Stopping {
            killed: Some(t), ..
        }
        | DynoState::Failed {
            killed: Some(t), ..
        } => {
            waits_for = "its killed processes to vanish".into();
            next = "it gets SIGKILL again".into();
            at = Some(t.plus(limits::KILL_AGAIN));
        }
        DynoState::Failed { killed: None, .. } => next = "it gets SIGKILL".into(),
    }
    // What the plan orders at this moment is the truth about what comes next.
    if let Some((action, reason)) = orders.iter().find(|(a, _)| names(a, d.record.id)) {
        (waits_for, at) = (String::new(), Some(now));
        next = format!("{}: {reason}", words(action, signal));
    }
    Why {
        dyno: Some(d.record.id),
        version: d.record.version,
        state,
        since: Some(since),
        because,
        waits_for,
        next,
        at,
        checks: checks(d),
    }
}

/// A line for each check.
fn checks(d: &Dyno) -> Vec<String> {
    let all = d.record.care.checks.iter().zip(&d.standings);
    all.map(|(c, s)| {
        let how = match s {
            Standing::Unknown => "not made yet".to_owned(),
            Standing::Good { .. } => "passes".to_owned(),
            Standing::Doubtful { times, text, .. } => {
                format!("failed {times} of {} times: {text}", c.attempts)
            }
            Standing::Bad { text, .. } => format!("fails: {text}"),
        };
        let warn = if c.warn { ", only warns" } else { "" };
        format!("{} ({}{warn}): {how}", c.name, c.purpose.as_str())
    })
    .collect()
}

fn names(a: &Action, id: DynoId) -> bool {
    match a {
        Action::Drain { dyno, .. }
        | Action::Stop { dyno }
        | Action::Replace { dyno }
        | Action::Kill { dyno } => *dyno == id,
        _ => false,
    }
}

fn words(a: &Action, signal: &str) -> String {
    match a {
        Action::Drain { .. } => "it drains now".into(),
        Action::Stop { .. } => format!("it gets {signal} now"),
        Action::Replace { .. } => "another one is started in its place now".into(),
        _ => "it gets SIGKILL now".into(),
    }
}
