//! How many dynos a process type should have, from what its dynos and the router were measured to do.
//!
//! What it does: [`decide`] is a pure function of the wish, the recent past and the time. Quick up, slow down:
//!
//! * **Up** as soon as two samples in a row ask for more, by as much as they ask for, at most doubling at once; further
//!   only when the dynos ordered before are up and had [`SETTLE`] to work on what had piled up.
//! * **Down** only when every sample of the last [`CALM`] asked for fewer, with a margin of a tenth below the targets, by
//!   at most a fifth of the dynos, and at most once per [`PAUSE`].
//! * Requests that the platform refused or gave up on (H11, H12, H20 and their like) are demand that was not met: they ask
//!   for more dynos. What the app answers, errors included, and what a crash does, is no demand: more dynos mend neither.
//! * A queue tells that dynos are too few, never how many are too many. So the load per dyno at which the queue began is
//!   remembered for [`MEMORY`], and no step down goes back there.
//!
//! What it never does: go below `min`, above `max`, or beyond what the host has memory for (never into swap); give up
//! because requests fail (Heroku's does); react to one odd sample.
//! Who calls it: the agent's room `autoscale`, every [`EVERY`]. Tests: beside the code; whole load traces in `tests/autoscale/`.

mod decide;
mod sample;
mod schedule;
mod signal;
mod target;

pub use decide::{Decision, decide};
pub use sample::{Capacity, Past, Sample};
pub use schedule::{parse_at, spell_at};
pub use signal::{Ask, Signal};
pub use target::{parse_targets, spell_targets};

use std::time::Duration;

/// Samples are taken this often.
pub const EVERY: Duration = Duration::from_secs(5);

/// No step down unless samples asked for fewer for this long.
pub const CALM: Duration = Duration::from_secs(300);

/// The least time between two steps down, and from a step up to a step down.
pub const PAUSE: Duration = Duration::from_secs(60);

/// New dynos work this long on what had piled up before its rest asks for more.
pub const SETTLE: Duration = Duration::from_secs(10);

/// How long a learned capacity holds.
pub const MEMORY: Duration = Duration::from_secs(3600);

/// A step down leaves this part of each target free.
pub const MARGIN: f64 = 0.1;
