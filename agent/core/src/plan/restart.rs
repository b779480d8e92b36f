//! When a slot may be started: at once, or after the back-off of its crashes. And which restart order counts.

use super::crew::Place;
use crate::backoff;
use hokku_model::{AppId, Micros, ProcessType, app::Restarts};

/// The restart order that the dynos of a slot have to be newer than. An order from the future (the clock was set
/// back) is not yet given: otherwise every new dyno would be older than it, and replaced for ever.
pub(super) fn order(restarts: &Restarts, kind: &ProcessType, index: u32, now: Micros) -> Micros {
    let order = restarts.newest_for(kind, index);
    if order > now { Micros(0) } else { order }
}

/// When the slot may be started. Crashes from before a restart order do not count; a crash in the future (the clock
/// was set back) makes nobody wait.
pub(super) fn due(app: AppId, place: &Place, now: Micros) -> Micros {
    let Some(slot) = place.slot else {
        return Micros(0);
    };
    let last = slot.last();
    if last > now {
        return now;
    }
    match place.crashes() {
        0 => Micros(0),
        n => last.plus(wait(app, place, n)),
    }
}

fn wait(app: AppId, place: &Place, crashes: u32) -> std::time::Duration {
    let name = &place.name;
    let bytes = app.0.to_be_bytes().into_iter();
    let bytes = bytes.chain(name.kind.as_str().bytes());
    backoff::delay(
        crashes,
        backoff::seed(bytes.chain(name.index.to_be_bytes())),
    )
}
