//! How long the kernel waits for what. One place, so that texts, timers and tests can't disagree.

use hokku_model::health::{Ask, Care};
use std::time::Duration;

/// A web dyno has to answer on `$PORT` within this after its launch (Dev Center "Dyno startup": R10 after 60 s).
pub const BOOT: Duration = Duration::from_secs(60);

/// A dyno of the formation that is neither up nor failed after this is killed: whoever should have reported is gone.
pub const BOOT_BACKSTOP: Duration = Duration::from_secs(15 * 60);

/// A process that gets no requests counts as good for a promotion once it has run for this long.
pub const GATE: Duration = Duration::from_secs(1);

/// What is in flight to a dyno that left the routes may take this long, unless its app says another drain time; then the
/// router cuts it.
pub const DRAIN: Duration = Duration::from_secs(30);

/// No app's drain time is longer than this: a year is as good as for ever, and no overflow.
pub const DRAIN_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How much longer than the drain time the router's report is awaited before the dyno is stopped without it. The router
/// closes tunnels one after the other within 5 s, and waits 1 s for their answers.
pub const DRAIN_MARGIN: Duration = Duration::from_secs(8);

/// From SIGTERM to SIGKILL (Dev Center "Dyno shutdown": R12 after 30 s).
pub const GRACE: Duration = Duration::from_secs(30);

/// A release command may take this long (Dev Center "Release Phase": one hour).
pub const RELEASE: Duration = Duration::from_secs(3600);

/// The waits that an operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// From launch to the first answer; see [`BOOT`].
    pub boot: Duration,
    /// From SIGTERM to SIGKILL; see [`GRACE`].
    pub grace: Duration,
    /// For what is in flight, where the app says nothing; see [`DRAIN`].
    pub drain: Duration,
    /// For a release command; see [`RELEASE`].
    pub release: Duration,
    /// See [`MEMORY_RESTART`].
    pub memory_restart: Duration,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits {
            boot: BOOT,
            grace: GRACE,
            drain: DRAIN,
            release: RELEASE,
            memory_restart: MEMORY_RESTART,
        }
    }
}

/// After this long without a replacement because of liveness checks, the next one of the app is the first again.
pub const CURES_CALM: Duration = Duration::from_secs(20 * 60);

/// The longest that the checks of a dyno's start may take by themselves: the backstop waits for so much longer.
pub fn checks(care: &Care) -> Duration {
    let longest = care.checks.iter().filter(|c| c.gates()).map(|c| {
        let tries = (c.timeout_ms + c.wait_ms).saturating_mul(u64::from(c.attempts));
        let uptime = match c.ask {
            Ask::Uptime { ms } => ms,
            _ => 0,
        };
        c.delay_ms.saturating_add(tries).saturating_add(uptime)
    });
    Duration::from_millis(longest.max().unwrap_or(0)).min(DRAIN_MAX)
}

/// A kill that showed no effect is ordered again after this.
pub const KILL_AGAIN: Duration = Duration::from_secs(10);

/// A dyno that was up this long starts its crash count anew.
pub const HEALTHY: Duration = Duration::from_secs(60);

/// A dyno above its soft memory limit is not replaced before it was up this long: a limit that is too small must not
/// make its app start over and over.
pub const MEMORY_RESTART: Duration = Duration::from_secs(5 * 60);

/// A table that the router did not confirm is sent again after this.
pub const TABLE_AGAIN: Duration = Duration::from_secs(10);

/// An ordered promotion or abandonment that does not show in Desired is ordered again after this.
pub const END_AGAIN: Duration = Duration::from_secs(10);

/// The same after the store said that it could not commit.
pub const END_RETRY: Duration = Duration::from_secs(1);

/// When a plan held actions, it is made again after this even if no event follows: one may have vanished.
pub const PLAN_AGAIN: Duration = Duration::from_secs(1);

/// With the router away this long, dynos of a destroyed app are stopped although it may still route to them.
pub const DESTROYED_AWAY: Duration = Duration::from_secs(5 * 60);

/// The past of a slot is forgotten when its last crash is older than this.
pub const SLOT_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// More dynos than this of one process type are never started, whatever the formation says.
pub const MOST_PER_TYPE: u32 = 1000;
