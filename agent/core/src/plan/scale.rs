//! Start what the current release lacks: slots never filled, crashed ones when their back-off is over, and
//! replacements for those from before a restart order.

use super::{Draft, crew::Crew, restart};
use crate::action::Action;

/// Starts missing dynos of the current release. A web dyno is started beside the one it replaces; any other only
/// when the one before it is gone, so that a worker never runs twice in one release.
pub(super) fn fill(crew: &Crew, draft: &mut Draft) {
    let Some(current) = &crew.wish.current else {
        return;
    };
    for p in &crew.current {
        if p.fresh.is_some() || (p.occupied && !p.name.kind.is_web()) {
            continue;
        }
        if !draft.due(restart::due(crew.app, p, draft.now)) {
            continue;
        }
        let n = p.crashes();
        let reason = if let Some(why) = p.stale.and_then(|d| d.replaced.and(d.dying())) {
            format!("{} {why}: another one is started beside it", p.name)
        } else if p.stale.is_some() {
            format!(
                "a restart was ordered: {} is started beside the old one",
                p.name
            )
        } else if n > 0 {
            format!("{} crashed ({n} in a row) and its back-off is over", p.name)
        } else {
            format!("{} is wanted and does not run", p.name)
        };
        draft.act(
            Action::Start {
                app: crew.app,
                name: p.name.clone(),
                version: current.version,
            },
            reason,
        );
    }
}
