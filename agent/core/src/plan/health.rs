//! Dynos whose liveness check fails are replaced, one after the other, with growing pauses: a dependency that is broken
//! makes the checks of all dynos fail, and must not restart them all.
//!
//! A web dyno is replaced as by a restart order: the new one is started beside it, and the old one goes when the new one
//! is up. So a replacement that does not come up costs nothing.

use super::{Draft, crew::Crew};
use crate::{
    action::Action,
    backoff,
    observed::{Cures, Dyno, DynoState, Observed},
};
use hokku_model::{AppId, Micros};

/// Replaces the next dyno of the current release that needs it, if it is time.
pub(super) fn cure(crew: &Crew, observed: &Observed, draft: &mut Draft) {
    let Some((d, why)) = sick(crew).next() else {
        return;
    };
    if blocked(crew, d).is_some() || !draft.due(due(crew.app, observed, draft.now)) {
        return;
    }
    draft.act(Action::Replace { dyno: d.record.id }, why);
}

/// The dynos of the current release that are to be replaced and are not yet, with the reason.
pub(super) fn sick<'a>(crew: &'a Crew) -> impl Iterator<Item = (&'a Dyno, String)> {
    let fresh = crew.current.iter().filter_map(|p| p.fresh);
    fresh
        .filter(|d| d.serves())
        .filter_map(|d| Some((d, format!("{} {}", d.record.name, d.dying()?))))
}

/// Why no dyno may be replaced just now: another one is being replaced, or one of the same type is starting.
pub(super) fn blocked<'a>(crew: &Crew<'a>, d: &Dyno) -> Option<&'a Dyno> {
    let busy = |o: &&&Dyno| {
        o.replaced.is_some()
            || matches!(o.state, DynoState::Starting { .. })
                && !o.record.oneoff
                && o.record.name.kind == d.record.name.kind
                && o.record.version == d.record.version
    };
    crew.dynos.iter().find(busy).copied()
}

/// When the next replacement may be ordered; at once when the clock was set back behind the last one.
pub(super) fn due(app: AppId, observed: &Observed, now: Micros) -> Micros {
    let Some(cures) = observed.cures.get(&app).filter(|c| !c.forgotten(now)) else {
        return Micros(0);
    };
    match cures.last() {
        last if last > now => now,
        last => last.plus(pause(app, cures)),
    }
}

fn pause(app: AppId, cures: &Cures) -> std::time::Duration {
    let n = u32::try_from(cures.recent.len()).unwrap_or(u32::MAX);
    // From the second step of the back-off on: a replacement is never followed by another at once.
    backoff::delay(n.saturating_add(1), backoff::seed(app.0.to_be_bytes()))
}
