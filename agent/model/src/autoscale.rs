//! Autoscaling of one process type, as its owner asked for it: `app autoscale web --min 2 --max 8 --target queue=50ms`.

use serde::{Deserialize, Serialize};

/// The wish for one process type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Never fewer dynos than this.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// What is to be kept below which value. Several: the one that asks for most dynos counts.
    pub targets: Targets,
}

/// Values to stay below; `None`: the signal is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Targets {
    /// Milliseconds that 95 of 100 requests wait in the router at most.
    pub queue_ms: Option<u32>,
    /// Percent of a dyno's CPU, mean over the dynos.
    pub cpu: Option<u32>,
    /// Percent of a dyno's memory, mean over the dynos.
    pub memory: Option<u32>,
    /// Requests in flight per dyno.
    pub inflight: Option<u32>,
    /// Jobs in the queue per worker dyno, as the app's own command or endpoint counts them.
    pub depth: Option<u32>,
}

impl Targets {
    /// Is nothing aimed at?
    pub fn is_empty(&self) -> bool {
        *self == Targets::default()
    }
}
