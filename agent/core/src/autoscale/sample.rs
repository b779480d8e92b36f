//! What was measured, and how much of it is kept.

use super::{CALM, MEMORY};
use hokku_model::Micros;
use std::collections::VecDeque;

/// One process type over the last few seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// End of the interval.
    pub at: Micros,
    /// Its length in seconds, more than 0.
    pub seconds: f64,
    /// Dynos that were up at its end.
    pub up: u32,
    /// Dynos that were starting.
    pub starting: u32,
    /// Requests that ended.
    pub requests: u32,
    /// Of them those that the platform refused or gave up on for want of capacity (H11, H12, H19, H20, H21).
    pub refused: u32,
    /// 95th percentile of the time requests waited in the router, in milliseconds.
    pub queue_ms: f64,
    /// Requests in flight or waiting, over all dynos, mean.
    pub inflight: f64,
    /// Mean of the dynos' CPU use, 1 for all they may use.
    pub cpu: Option<f64>,
    /// Mean of the dynos' memory, 1 for their limit.
    pub memory: Option<f64>,
    /// Jobs that wait, as the app counts them.
    pub depth: Option<f64>,
}

/// A load per dyno that was found to be too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Requests a second and dyno when the queue began.
    pub rate: f64,
    /// When.
    pub at: Micros,
}

/// What is remembered of one process type. In memory only: after a restart it is learned anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    samples: VecDeque<Sample>,
    /// When dynos were added last.
    pub last_up: Option<Micros>,
    /// When dynos were taken away last.
    pub last_down: Option<Micros>,
    /// When the last dyno came up.
    pub came_up: Option<Micros>,
    /// The load that was too much.
    pub capacity: Option<Capacity>,
}

impl Past {
    /// Takes a sample; forgets what is older than it needs. A sample that is not newer than the last is left out.
    pub fn add(&mut self, sample: Sample) {
        if let Some(last) = self.samples.back() {
            if sample.at <= last.at {
                return;
            }
            if sample.up > last.up {
                self.came_up = Some(sample.at);
            }
        }
        let old = |s: &Sample| sample.at.since(s.at) > CALM * 2;
        while self.samples.front().is_some_and(old) {
            self.samples.pop_front();
        }
        if self
            .capacity
            .is_some_and(|c| sample.at.since(c.at) > MEMORY)
        {
            self.capacity = None;
        }
        self.samples.push_back(sample);
    }

    /// Samples, oldest first.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter()
    }

    /// The samples of the last [`CALM`], if there are any from its beginning on.
    pub(super) fn calm(&self, now: Micros) -> Option<impl Iterator<Item = &Sample>> {
        let first = self.samples.front()?;
        (now.since(first.at) >= CALM)
            .then(|| self.samples.iter().filter(move |s| now.since(s.at) <= CALM))
    }
}
