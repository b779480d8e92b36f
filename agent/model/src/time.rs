//! Points in time as whole microseconds, so that the kernel can compute with them and SQL can store them.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// The time now, by the system's wall clock. Only the hands call this; the kernel gets time as an argument.
    pub fn now() -> Micros {
        let d = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Micros(d.as_micros() as i64)
    }

    /// This time plus `d`, saturating at the end of the range.
    pub fn plus(self, d: Duration) -> Micros {
        Micros(
            self.0
                .saturating_add(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// How long ago `earlier` was, seen from this time; zero when it lies ahead.
    pub fn since(self, earlier: Micros) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
