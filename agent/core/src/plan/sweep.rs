//! What belongs to no app any more: the dynos of destroyed apps, one-offs too.

use super::{Draft, stop};
use crate::{desired::Desired, limits, observed::Observed};

/// Retires every dyno whose app is not wanted.
pub(super) fn retire_destroyed(desired: &Desired, observed: &Observed, draft: &mut Draft) {
    for d in observed.dynos.values() {
        if desired.apps.contains_key(&d.record.app) {
            continue;
        }
        let leaves = || Some(format!("{} was destroyed", d.record.app_name));
        let times = stop::Times {
            drain: observed.waits.drain,
            even_routed: Some(limits::DESTROYED_AWAY),
        };
        stop::step(d, leaves, times, observed, draft);
    }
}
