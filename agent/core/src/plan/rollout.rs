//! The candidate against the current release: start its dynos beside, promote it when they are up, abandon it as
//! soon as one of them fails. None of its dynos is started a second time.

use super::{Draft, crew::Crew, phase};
use crate::{
    action::Action,
    desired::ReleaseWish,
    limits,
    observed::{DynoState, Observed},
};

/// One step of the rollout, if there is one.
pub(super) fn steer(crew: &Crew, observed: &Observed, draft: &mut Draft) {
    let Some(candidate) = crew.candidate() else {
        return;
    };
    let (app, version) = (crew.app, candidate.version);
    if let Some(e) = observed.ending.get(&app)
        && e.version == version
        && !draft.due(e.again)
    {
        return;
    }
    if let Some(reason) = failure(crew, candidate) {
        let why = match candidate.phase.failed {
            Some(_) => format!("the release phase of v{version} failed"),
            None => format!("a dyno of v{version} failed"),
        };
        draft.act(
            Action::Abandon {
                app,
                version,
                reason,
            },
            why,
        );
        return;
    }
    if !candidate.phase.over() {
        phase::claim(crew, candidate, observed, draft);
        return;
    }
    let mut up = 0;
    for p in &crew.gates {
        match p.fresh {
            // Only after somebody asked for it to be stopped: what is not web never runs twice in one release.
            None if p.occupied && !p.name.kind.is_web() => {}
            None => draft.act(
                Action::Start {
                    app,
                    name: p.name.clone(),
                    version,
                },
                format!(
                    "{} of v{version} has to be up before v{version} can serve",
                    p.name
                ),
            ),
            Some(d) => match d.state {
                DynoState::Up { .. } if d.takes_requests() => up += 1,
                DynoState::Up { since } if draft.due(since.plus(limits::GATE)) => up += 1,
                _ => {}
            },
        }
    }
    if up == crew.gates.len() {
        let why = match up {
            0 => format!("v{version} has nothing to run that could fail"),
            n => format!("all {n} dynos of v{version} that decide on it are up"),
        };
        draft.act(Action::Promote { app, version }, why);
    }
}

/// Why the candidate is to be abandoned, in words for the pusher.
fn failure(crew: &Crew, candidate: &ReleaseWish) -> Option<String> {
    let stays = match &crew.wish.current {
        Some(c) if c.slug.is_some() => format!(" v{} stays as it is.", c.version),
        _ => String::new(),
    };
    if let Some(reason) = phase::failure(crew, candidate, &stays) {
        return Some(reason);
    }
    let (place, slot) = crew.gates.iter().find_map(|p| Some((p, p.slot?)))?;
    Some(format!(
        "{name} of v{version} {what}{dot}{stays} See `app logs -d {name} -a {app}` for its output, fix it and push again.",
        name = place.name,
        version = candidate.version,
        what = slot.text,
        dot = if slot.text.ends_with('.') { "" } else { "." },
        app = crew.wish.name,
    ))
}
