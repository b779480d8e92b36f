//! When the router has to be sent the certificates.

use super::Draft;
use crate::{action::Action, desired::Desired, limits, observed::Observed};

/// Sends them when those that should be differ from the last ones sent on this connection, or when the router does not
/// confirm them. A node that never had a certificate has nothing to send.
pub(super) fn publish(desired: &Desired, observed: &Observed, draft: &mut Draft) {
    let (r, c) = (&observed.router, &observed.router.certs);
    if !r.connected || desired.certs == 0 {
        return;
    }
    let why = match c.sent {
        None => "the router has just connected and has to get the certificates".to_owned(),
        Some((certs, _)) if certs != desired.certs => "the certificates changed".to_owned(),
        Some((_, version)) if c.applied == version => return,
        Some((_, version)) if c.applied > version => format!(
            "the router has certificates of version {}, which is newer than {version}",
            c.applied
        ),
        Some((_, version)) => {
            if !draft.due(c.sent_at.plus(limits::TABLE_AGAIN)) {
                return;
            }
            format!("the router has not confirmed the certificates of version {version}")
        }
    };
    // The store's versions are times, so one that was counted on from stays far below the next. No version is used
    // twice, so that a late report can't be taken for a confirmation.
    let version = match desired.certs > c.newest {
        true => desired.certs,
        false => c.newest.saturating_add(1),
    };
    draft.act(Action::Certify { version }, why);
}
