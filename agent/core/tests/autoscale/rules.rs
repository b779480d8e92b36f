//! Three ways to decide: ours, Heroku's as the Dev Center describes it, and what a plain CPU rule does.

use crate::world::{Rule, SERVICE};
use hokku_core::autoscale::{Past, Sample, decide};
use hokku_model::autoscale::Autoscale;
use std::collections::VecDeque;

/// Ours.
pub struct Ours {
    pub wish: Autoscale,
    pub past: Past,
    pub room: u32,
}

impl Rule for Ours {
    fn name(&self) -> &'static str {
        "hokku"
    }
    fn want(&mut self, s: Sample, wanted: u32) -> u32 {
        self.past.add(s);
        let d = decide(&self.wish, &self.past, wanted, self.room, s.at);
        self.past.decided(&d, wanted, s.at);
        d.want
    }
}

/// "Dyno autoscaling" of the Dev Center: p95 response time against a target, one dyno a step, a minute apart at least,
/// gentler down than up, nothing while many requests fail.
pub struct Heroku {
    pub min: u32,
    pub max: u32,
    pub target_ms: f64,
    pub recent: VecDeque<Sample>,
    pub last: i64,
    pub low: u32,
}

impl Rule for Heroku {
    fn name(&self) -> &'static str {
        "Heroku's rule"
    }
    fn want(&mut self, s: Sample, wanted: u32) -> u32 {
        self.recent.push_back(s);
        if self.recent.len() > 12 {
            self.recent.pop_front();
        }
        if s.at.0 - self.last < 60_000_000 || self.recent.len() < 12 {
            return wanted;
        }
        self.last = s.at.0;
        let all: u32 = self.recent.iter().map(|s| s.requests).sum();
        let refused: u32 = self.recent.iter().map(|s| s.refused).sum();
        if refused * 20 > all {
            return wanted;
        }
        let mut p95: Vec<f64> = self
            .recent
            .iter()
            .map(|s| s.queue_ms + SERVICE * 1000.0)
            .collect();
        p95.sort_by(f64::total_cmp);
        let p95 = p95[p95.len() - 1];
        if p95 > self.target_ms {
            self.low = 0;
            return (wanted + 1).min(self.max);
        }
        self.low += u32::from(p95 < self.target_ms / 2.0);
        if self.low >= 3 {
            self.low = 0;
            return wanted.saturating_sub(1).max(self.min);
        }
        wanted
    }
}

/// CPU at 70 %, looked at each minute; down after five minutes of asking for fewer.
pub struct Cpu {
    pub min: u32,
    pub max: u32,
    pub recent: Vec<f64>,
    pub asked: VecDeque<u32>,
    pub last: i64,
}

impl Rule for Cpu {
    fn name(&self) -> &'static str {
        "plain CPU rule"
    }
    fn want(&mut self, s: Sample, wanted: u32) -> u32 {
        self.recent.extend(s.cpu);
        if s.at.0 - self.last < 60_000_000 {
            return wanted;
        }
        self.last = s.at.0;
        let cpu = self.recent.iter().sum::<f64>() / self.recent.len() as f64;
        self.recent.clear();
        let ask = ((f64::from(s.up) * cpu / 0.7).ceil() as u32).clamp(self.min, self.max);
        self.asked.push_back(ask);
        if self.asked.len() > 5 {
            self.asked.pop_front();
        }
        if ask > wanted {
            ask
        } else {
            self.asked
                .iter()
                .max()
                .copied()
                .unwrap_or(wanted)
                .min(wanted)
        }
    }
}

pub const MIN: u32 = 2;
pub const MAX: u32 = 20;

/// All three, fresh.
pub fn all() -> Vec<Box<dyn Rule>> {
    let targets = hokku_core::autoscale::parse_targets("queue=50ms,cpu=70%").unwrap();
    vec![
        Box::new(Ours {
            wish: Autoscale {
                min: MIN,
                max: MAX,
                targets,
            },
            past: Past::default(),
            room: 100,
        }),
        Box::new(Heroku {
            min: MIN,
            max: MAX,
            target_ms: 500.0,
            recent: VecDeque::new(),
            last: 0,
            low: 0,
        }),
        Box::new(Cpu {
            min: MIN,
            max: MAX,
            recent: vec![],
            asked: VecDeque::new(),
            last: 0,
        }),
    ]
}
