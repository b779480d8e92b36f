//! Facts, in the past tense. Losing one is no harm: looking again gives the same answer.

use hokku_model::{
    DynoId,
    dyno::{DynoRecord, Exit},
    route::RouteTable,
};

/// What happened on this node.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The loop gave the order to start this dyno (it has chosen id and port).
    Ordered {
        /// What was ordered.
        record: DynoRecord,
    },
    /// A dyno was found running when the agent started. A web dyno is probed again; it counts as up at once if it was
    /// in the router's table (`routed`), so that an agent's restart takes nothing out of the routes.
    Adopted {
        /// What it is.
        record: DynoRecord,
        /// Is it in the table that the router keeps in its file? The file counts also while the router is away: a
        /// router that comes back serves from it.
        routed: bool,
        /// The shim's process id.
        pid: i32,
    },
    /// Its process runs.
    Running {
        /// Which.
        dyno: DynoId,
        /// The shim's process id.
        pid: i32,
    },
    /// It could not be started.
    StartFailed {
        /// Which.
        dyno: DynoId,
        /// Why, in words.
        error: String,
    },
    /// A health check of the dyno was made. Passes are told only when the try before failed or was the first.
    Checked {
        /// Which.
        dyno: DynoId,
        /// The check's place in [`hokku_model::health::Care::checks`] of the dyno's record.
        check: usize,
        /// What was wrong, in a sentence.
        outcome: Result<(), String>,
    },
    /// The loop gave the order to replace it.
    ReplaceOrdered {
        /// Which.
        dyno: DynoId,
    },
    /// A web dyno without checks for its start gave its first answer on its port.
    Answering {
        /// Which.
        dyno: DynoId,
    },
    /// A web dyno gave none within the boot limit ([`crate::limits::BOOT`] after its launch or adoption).
    BootTimedOut {
        /// Which.
        dyno: DynoId,
        /// Ports it listens on instead.
        listening: Vec<u16>,
    },
    /// It is gone, with everything it had started.
    Exited {
        /// Which.
        dyno: DynoId,
        /// How.
        exit: Exit,
    },
    /// The loop sent SIGTERM (or the type's stop signal) to all its processes.
    StopOrdered {
        /// Which.
        dyno: DynoId,
    },
    /// The loop ordered everything of it to be killed.
    KillOrdered {
        /// Which.
        dyno: DynoId,
    },
    /// The loop asked the router to report when nothing is in flight to it.
    DrainOrdered {
        /// Which.
        dyno: DynoId,
        /// After how long what is left is cut.
        deadline: std::time::Duration,
    },
    /// The loop sent this table to the router.
    TableSent {
        /// The table.
        table: RouteTable,
    },
    /// The router serves by the table of this version.
    Routed {
        /// Its version.
        version: u64,
    },
    /// The loop sent the certificates to the router.
    CertsSent {
        /// Which of Desired's they are.
        certs: u64,
        /// The version they were sent as.
        version: u64,
    },
    /// The router uses the certificates of this version, or of a newer one that it had.
    Certified {
        /// Their version.
        version: u64,
    },
    /// Nothing is in flight to the dyno any more.
    Drained {
        /// Which.
        dyno: DynoId,
    },
    /// The router said hello.
    RouterCame {
        /// The version it serves from; 0 for none.
        version: u64,
    },
    /// The connection to the router ended. The router itself may well live on.
    RouterWent,
    /// Somebody asked for this one dyno to be stopped (`ps:stop`): a formation dyno comes back by itself.
    StopAsked {
        /// Which.
        dyno: DynoId,
    },
    /// The loop gave the order to promote; the store's commit will show in the next Desired.
    PromoteOrdered {
        /// The app.
        app: hokku_model::AppId,
        /// The release.
        version: u32,
    },
    /// The loop gave the order to abandon.
    AbandonOrdered {
        /// The app.
        app: hokku_model::AppId,
        /// The release.
        version: u32,
    },
    /// The loop gave the order to claim a step of a release phase.
    ClaimOrdered {
        /// The app.
        app: hokku_model::AppId,
        /// The release.
        version: u32,
        /// Which step, from 0.
        step: usize,
    },
    /// The loop gave the order to write down how a release command ended.
    ConcludeOrdered {
        /// The app.
        app: hokku_model::AppId,
        /// Which dyno ran it.
        dyno: DynoId,
        /// How it ended.
        outcome: hokku_model::phase::Outcome,
    },
    /// What is kept of the end of this dyno was given up: the store has it.
    Forgotten {
        /// Which.
        dyno: DynoId,
    },
    /// Promote or Abandon could not be committed (store away); ask again.
    EndFailed {
        /// The app.
        app: hokku_model::AppId,
        /// The release.
        version: u32,
    },
}
