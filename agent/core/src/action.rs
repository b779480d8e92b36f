//! Orders, in the imperative. The order inside one plan does not matter; an action may fail or vanish.

use hokku_model::{
    AppId, DynoId, DynoName, Micros,
    phase::{Claim, Outcome},
    route::RouteTable,
};
use std::time::Duration;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a formation dyno of this release. The loop chooses id and port and applies `Ordered` before it acts.
    Start {
        /// Whose.
        app: AppId,
        /// `web.1`
        name: DynoName,
        /// Which release.
        version: u32,
    },
    /// Send this table to the router.
    Route {
        /// The whole table, with the next version number.
        table: RouteTable,
    },
    /// Send the certificates to the router. The loop reads them as they are now and applies `CertsSent` with the wish
    /// that they were read for.
    Certify {
        /// The version to send them as.
        version: u64,
    },
    /// Ask the router to report when nothing is in flight to a dyno that has left the table.
    Drain {
        /// Which.
        dyno: DynoId,
        /// After this the router cuts what is left.
        deadline: Duration,
    },
    /// Send SIGTERM, or its type's own stop signal, to all processes of the dyno.
    Stop {
        /// Which.
        dyno: DynoId,
    },
    /// Start another dyno in the place of this one, whose liveness check fails; it goes when the other is up (web) or
    /// first (others).
    Replace {
        /// Which.
        dyno: DynoId,
    },
    /// Kill all processes of the dyno.
    Kill {
        /// Which.
        dyno: DynoId,
    },
    /// Commit: this step of the candidate's release phase may run, in a dyno of an id that is fixed with it.
    Claim {
        /// Whose.
        app: AppId,
        /// Which release.
        version: u32,
        /// Which step, from 0.
        step: usize,
    },
    /// Start the dyno of the claim that Desired shows.
    RunStep {
        /// Whose.
        app: AppId,
        /// What was claimed.
        claim: Claim,
    },
    /// Commit: how the release command of this dyno ended. Its claim ends with it.
    Conclude {
        /// Whose.
        app: AppId,
        /// Which dyno.
        dyno: DynoId,
        /// How.
        outcome: Outcome,
    },
    /// The store has the end of this dyno: what is kept of it on disk may go.
    Forget {
        /// Which.
        dyno: DynoId,
    },
    /// Commit: the candidate is current now. Nothing old is taken out of the routes before this is committed.
    Promote {
        /// Whose.
        app: AppId,
        /// Which release.
        version: u32,
    },
    /// Commit: the candidate failed. The current release stays.
    Abandon {
        /// Whose.
        app: AppId,
        /// Which release.
        version: u32,
        /// Why, in words for the pusher: which dyno, what it did, what to do.
        reason: String,
    },
}

/// What to do, why, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Each action with its reason, a sentence for `ps:why` and the debug log.
    pub actions: Vec<(Action, String)>,
    /// Plan again at this time at the latest, even when no event comes.
    pub wake_at: Option<Micros>,
}
