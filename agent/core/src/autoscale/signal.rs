//! What each signal of one sample asks for.

use super::{Capacity, MARGIN, Sample};
use hokku_model::autoscale::Targets;
use std::fmt;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Time in the router's queue.
    Queue,
    /// Requests that got no dyno, or no answer in time.
    Refused,
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
    /// Requests in flight.
    Inflight,
    /// Jobs that wait.
    Depth,
    /// The load at which the queue was seen to begin.
    Capacity,
}

/// One signal's demand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    /// Which.
    pub signal: Signal,
    /// What was measured, in the signal's unit.
    pub value: f64,
    /// What it should stay below.
    pub target: f64,
    /// Dynos that would do.
    pub dynos: u32,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ask {
            value,
            target,
            dynos,
            ..
        } = self;
        match self.signal {
            Signal::Queue => write!(f, "queue {value:.0} ms of {target:.0} ms")?,
            Signal::Refused => write!(f, "{value:.0} requests got no answer in time")?,
            Signal::Cpu => write!(f, "CPU {value:.0}% of {target:.0}%")?,
            Signal::Memory => write!(f, "memory {value:.0}% of {target:.0}%")?,
            Signal::Inflight => write!(f, "{value:.1} in flight per dyno of {target:.0}")?,
            Signal::Depth => write!(f, "{value:.0} jobs per dyno of {target:.0}")?,
            Signal::Capacity => write!(
                f,
                "{value:.1} requests/s per dyno of the {target:.1} that were too many"
            )?,
        }
        write!(f, ", asks for {dynos}")
    }
}

/// Fewer than this share of requests refused is no demand: single slow pages time out at any number of dynos.
const REFUSED: f64 = 0.01;

/// What a sample asks for when dynos may be too few.
pub(super) fn up(targets: &Targets, s: &Sample) -> Vec<Ask> {
    let mut asks = level(targets, s, 1.0);
    let n = s.up.max(1);
    if let Some(target) = targets.queue_ms.map(f64::from)
        && s.queue_ms > target
    {
        // a queue grows without bound when dynos are too few: its length says little about how many are missing
        let more = (s.queue_ms / target.max(1.0) - 1.0).clamp(0.0, 4.0) / 4.0;
        asks.push(ask(
            Signal::Queue,
            s.queue_ms,
            target,
            n + ceil(f64::from(n) * more).max(1),
        ));
    }
    let refused = f64::from(s.refused);
    if s.refused > 0 && refused >= REFUSED * f64::from(s.requests) {
        let part = refused / f64::from(s.requests.max(s.refused));
        asks.push(ask(
            Signal::Refused,
            refused,
            0.0,
            n + ceil(f64::from(n) * part).max(1),
        ));
    }
    if let Some((value, target)) = memory(targets, s)
        && value > target
    {
        asks.push(ask(Signal::Memory, value, target, n + 1));
    }
    asks
}

/// What a sample asks for when dynos may be too many: with a margin, and with what was learned.
pub(super) fn down(targets: &Targets, s: &Sample, learned: Option<Capacity>) -> Vec<Ask> {
    let room = 1.0 - MARGIN;
    let mut asks = level(targets, s, room);
    if let Some(target) = targets.queue_ms.map(f64::from) {
        if s.queue_ms > target * room {
            asks.push(ask(Signal::Queue, s.queue_ms, target, s.up));
        }
        match learned {
            Some(c) if c.rate > 0.0 => {
                let rate = f64::from(s.requests) / s.seconds;
                asks.push(ask(
                    Signal::Capacity,
                    rate / f64::from(s.up.max(1)),
                    c.rate,
                    ceil(rate / (c.rate * room)),
                ));
            }
            _ => {}
        }
    }
    if s.refused > 0 {
        asks.push(ask(Signal::Refused, f64::from(s.refused), 0.0, s.up));
    }
    if let Some((value, target)) = memory(targets, s) {
        // what a dyno holds is not shared out among those that stay, as far as one can know
        let fits = value <= target * room;
        asks.push(ask(
            Signal::Memory,
            value,
            target,
            if fits { 0 } else { s.up },
        ));
    }
    asks
}

/// Signals that are in proportion to the load: they say how many dynos would do.
fn level(targets: &Targets, s: &Sample, room: f64) -> Vec<Ask> {
    let n = f64::from(s.up.max(1));
    let mut asks = Vec::new();
    let mut push = |signal, total: f64, target: f64| {
        if target > 0.0 {
            asks.push(ask(
                signal,
                total / n,
                target,
                ceil(total / (target * room)),
            ));
        }
    };
    if let (Some(target), Some(cpu)) = (targets.cpu, s.cpu) {
        push(Signal::Cpu, cpu * 100.0 * n, f64::from(target));
    }
    if let Some(target) = targets.inflight {
        push(Signal::Inflight, s.inflight, f64::from(target));
    }
    if let (Some(target), Some(depth)) = (targets.depth, s.depth) {
        push(Signal::Depth, depth, f64::from(target));
    }
    asks
}

fn memory(targets: &Targets, s: &Sample) -> Option<(f64, f64)> {
    Some((s.memory? * 100.0, f64::from(targets.memory?)))
}

fn ask(signal: Signal, value: f64, target: f64, dynos: u32) -> Ask {
    Ask {
        signal,
        value,
        target,
        dynos,
    }
}

/// A hair more than a whole number is that number.
fn ceil(x: f64) -> u32 {
    if x.is_nan() {
        0
    } else {
        (x - 1e-6).ceil().clamp(0.0, 1e6) as u32
    }
}
