//! Why a dyno is as it is, in a sentence for `ps`. Reads the same crews as the steps, so that both agree.

use super::{
    Crew,
    crew::{Place, wanted},
    restart, sorted,
};
use crate::{
    desired::{AppWish, Desired},
    observed::{Dyno, DynoState, Observed, Standing},
    words::spell,
};
use hokku_model::{AppId, DynoId, DynoName, Micros, health::Purpose};
use std::time::Duration;

/// A slot of the current release that has no dyno because its last one crashed: `crashed` in `ps`.
#[derive(Clone, Debug, PartialEq)]
pub struct Crashed {
    /// `web.1`
    pub name: DynoName,
    /// The release.
    pub version: u32,
    /// When it crashed last.
    pub since: Micros,
    /// When it is started again.
    pub due: Micros,
    /// Why, and when it is tried again, in a sentence.
    pub text: String,
}

/// The slots of an app that wait for the end of their back-off.
pub fn crashed(desired: &Desired, observed: &Observed, app: AppId, now: Micros) -> Vec<Crashed> {
    let Some(crew) = crew(desired, observed, app, now) else {
        return vec![];
    };
    let version = crew.wish.current.as_ref().map_or(0, |r| r.version);
    let waits = |p: &Place| {
        let idle = p.fresh.is_none() && p.stale.is_none() && p.crashes() > 0;
        (idle && p.slot.is_some()).then(|| Crashed {
            name: p.name.clone(),
            version,
            since: p.slot.map_or(now, |s| s.last()),
            due: restart::due(app, p, now),
            text: why_crashed(app, p, now),
        })
    };
    crew.current.iter().filter_map(waits).collect()
}

/// Why the dyno of this name stands as it does, in one sentence, or one for each dyno of the name (old and new during
/// a rollout). Empty when it is at work and there is nothing to say.
pub fn why(
    desired: &Desired,
    observed: &Observed,
    app: AppId,
    name: &DynoName,
    now: Micros,
) -> String {
    let crew = crew(desired, observed, app, now);
    let mut dynos: Vec<&Dyno> = observed
        .dynos
        .values()
        .filter(|d| d.record.app == app && d.record.name == *name)
        .collect();
    dynos.sort_by_key(|d| (d.record.version, d.record.started_at));
    let mut said: Vec<String> = dynos
        .iter()
        .map(|d| of_dyno(crew.as_ref(), observed, d, now))
        .filter(|s| !s.is_empty())
        .collect();
    let place = crew.as_ref().and_then(|c| c.place(name));
    if let Some(p) = place.filter(|p| p.fresh.is_none() && p.crashes() > 0) {
        said.push(why_crashed(app, p, now));
    } else if dynos.is_empty() {
        said.push(match &crew {
            None => "There is no such app on this node.".into(),
            Some(c) => absent(c, name),
        });
    }
    said.join(" ")
}

/// The same for one dyno, where there are several of a name. Empty when there is nothing to say or no such dyno.
pub fn why_dyno(desired: &Desired, observed: &Observed, dyno: DynoId, now: Micros) -> String {
    let Some(d) = observed.dynos.get(&dyno) else {
        return String::new();
    };
    let crew = crew(desired, observed, d.record.app, now);
    of_dyno(crew.as_ref(), observed, d, now)
}

pub(super) fn crew<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    app: AppId,
    now: Micros,
) -> Option<Crew<'a>> {
    let wish = desired.apps.get(&app)?;
    let dynos = observed.dynos.values().filter(|d| d.record.app == app);
    Some(Crew::muster(app, wish, sorted(dynos), observed, now))
}

pub(super) fn of_dyno(crew: Option<&Crew>, observed: &Observed, d: &Dyno, now: Micros) -> String {
    let r = &d.record;
    let id = format!("{} of v{}", r.name, r.version);
    let leaves = match crew {
        None => Some(format!("{} was destroyed", r.app_name)),
        Some(c) => c.leaves(d),
    };
    match d.state {
        DynoState::Starting { .. } | DynoState::Up { .. } if leaves.is_some() => {
            let why = leaves.unwrap_or_default();
            let next = if !d.takes_requests() {
                "it is asked to end next"
            } else if observed.router.connected {
                "it leaves the routes, then drains, then stops"
            } else {
                "it runs on because the router is away and may still send it requests"
            };
            format!("{why}: {next}.")
        }
        DynoState::Starting { since } => {
            let ago = spell(now.since(since));
            if d.pid == 0 {
                format!("{id} was ordered {ago} ago; its process does not run yet.")
            } else if d.record.care.gated() {
                format!("{id} has run for {ago}; {}.", awaited(d))
            } else {
                let left = left(since, observed.waits.boot, now);
                let port = r.port.map_or(String::new(), |p| format!(" ({p})"));
                format!(
                    "{id} has run for {ago} and has not answered on $PORT{port} yet; it is given up in {left}."
                )
            }
        }
        DynoState::Up { .. } => up(crew, observed, d, &id),
        DynoState::Draining { since, until } => format!(
            "{id} left the routes {} ago; it gets {} when what is in flight has ended, in {} at the latest.",
            spell(now.since(since)),
            d.record.care.signal_name(),
            spell(until.since(now))
        ),
        DynoState::Drained { .. } => {
            let signal = d.record.care.signal_name();
            format!("Nothing is in flight to {id} any more; it gets {signal} next.")
        }
        DynoState::Stopping {
            since,
            killed: None,
        } => format!(
            "{id} got {} {} ago; it is killed in {} if it does not exit.",
            d.record.care.signal_name(),
            spell(now.since(since)),
            left(since, d.record.care.grace(observed.waits.grace), now)
        ),
        DynoState::Stopping {
            killed: Some(at), ..
        } => format!("{id} was killed {} ago.", spell(now.since(at))),
        DynoState::Failed { since, .. } => {
            let key = (r.app, r.version, r.name.clone());
            let text = observed.slots.get(&key).map_or("", |s| s.text.as_str());
            let ago = spell(now.since(since));
            format!("{id} was given up {ago} ago and is being killed: it {text}")
        }
    }
}

fn up(crew: Option<&Crew>, observed: &Observed, d: &Dyno, id: &str) -> String {
    let Some(crew) = crew.filter(|_| !d.record.oneoff) else {
        return String::new();
    };
    let version = d.record.version;
    if crew.candidate().is_some_and(|c| c.version == version) {
        let n = crew.gates.len();
        let up = crew
            .gates
            .iter()
            .filter(|p| p.fresh.is_some_and(Dyno::serves))
            .count();
        return format!("{id} is up and waits for the others of its release: {up} of {n} are up.");
    }
    if let Some((check, text)) = d.ailing() {
        let targeted = crew.targets.iter().any(|t| t.record.id == d.record.id);
        let what = match (d.takes_requests(), targeted) {
            (false, _) => "",
            (true, false) => "; it gets no requests until it passes",
            (true, true) => "; it gets requests all the same, because no other dyno is better",
        };
        let replaced = match check.purpose {
            Purpose::Liveness if d.replaced.is_some() => {
                ", and another one is started in its place"
            }
            Purpose::Liveness => ", and it is to be replaced",
            _ => "",
        };
        return format!(
            "{id} fails its {} check {:?}{what}{replaced}: {text}",
            check.purpose.as_str(),
            check.name
        );
    }
    let targeted = crew.targets.iter().any(|t| t.record.id == d.record.id);
    if d.takes_requests() && targeted && !observed.router.known.contains(&d.record.id) {
        return if observed.router.connected {
            format!("{id} is up; the router is being told.")
        } else {
            format!("{id} is up, but the router is away and can't be told.")
        };
    }
    if let Some(p) = crew.place(&d.record.name)
        && p.stale.is_some_and(|s| s.record.id == d.record.id)
    {
        return format!("{id} serves until its replacement is up: a restart was ordered.");
    }
    if crew.wish.current.as_ref().map(|r| r.version) != Some(version) {
        return format!("{id} serves until the dynos of the new release are known to be up.");
    }
    String::new()
}

/// What a dyno that starts waits for.
fn awaited(d: &Dyno) -> String {
    let checks = d.record.care.checks.iter().zip(&d.standings);
    let mut open = checks.filter(|(c, s)| c.gates() && !s.passed());
    match open.next() {
        None => "all its checks passed".into(),
        Some((c, Standing::Doubtful { times, text, .. })) => format!(
            "its {} check {:?} failed {times} of {} times: {}",
            c.purpose.as_str(),
            c.name,
            c.attempts,
            text.trim_end_matches('.')
        ),
        Some((c, _)) => format!("it waits for its {} check {:?}", c.purpose.as_str(), c.name),
    }
}

fn why_crashed(app: AppId, p: &Place, now: Micros) -> String {
    let Some(slot) = p.slot else {
        return String::new();
    };
    let due = restart::due(app, p, now);
    let next = if due <= now {
        "it is started again now".to_owned()
    } else {
        format!("it is started again in {}", spell(due.since(now)))
    };
    let times = match p.crashes() {
        1 => "once".to_owned(),
        n => format!("{n} times in a row"),
    };
    format!(
        "{} crashed {times}, last {} ago: it {}{} {}.",
        p.name,
        spell(now.since(slot.last())),
        slot.text,
        if slot.text.ends_with('.') { "" } else { ";" },
        next
    )
}

fn absent(crew: &Crew, name: &DynoName) -> String {
    let wish: &AppWish = crew.wish;
    let Some(release) = wish.current.as_ref().filter(|r| r.slug.is_some()) else {
        return format!(
            "{} has no release that could run: push one first.",
            wish.name
        );
    };
    if !release.process_types.contains_key(&name.kind) {
        return format!(
            "v{} of {} has no process type {}.",
            release.version, wish.name, name.kind
        );
    }
    match wanted(wish, release, &name.kind) {
        n if name.index > n => format!("{} is scaled to {n}.", name.kind),
        _ => format!("{name} is about to be started."),
    }
}

fn left(since: Micros, limit: Duration, now: Micros) -> String {
    spell(since.plus(limit).since(now))
}
