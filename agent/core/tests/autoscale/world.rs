//! A process type under load, second by second, as a fluid: requests come, wait in the router, are served by the dynos
//! that are up, or are given up on after 30 s (H12).

use hokku_core::autoscale::{EVERY, Sample};
use hokku_model::Micros;

/// Requests a second that one dyno serves.
pub const RATE: f64 = 40.0;
/// Seconds a dyno takes to boot.
pub const BOOT: u32 = 12;
/// Seconds a request takes when it does not wait.
pub const SERVICE: f64 = 0.125;
/// Seconds the router waits for an answer.
const PATIENCE: f64 = 30.0;

/// Something that decides on dynos.
pub trait Rule {
    fn name(&self) -> &'static str;
    /// Told each sample; gives the wanted number.
    fn want(&mut self, sample: Sample, wanted: u32) -> u32;
}

/// Load at a second: requests a second, and what part of its speed the app has.
pub struct Trace {
    pub name: &'static str,
    pub seconds: u32,
    pub load: fn(u32) -> (f64, f64),
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests that got no answer.
    pub failed: f64,
    /// Requests that waited for more than a second.
    pub slow: f64,
    /// Requests in all.
    pub all: f64,
    /// Dynos beyond what the load needed at 80 % use, in minutes.
    pub spare_minutes: f64,
    /// Times that the number went down and up again.
    pub turns: u32,
    /// Wanted dynos, by second.
    pub dynos: Vec<u32>,
    pub most: u32,
}

pub fn run(trace: &Trace, rule: &mut dyn Rule, start: u32) -> Outcome {
    let mut out = Outcome::default();
    let (mut wanted, mut up, mut booting) = (start, start, Vec::<u32>::new());
    let (mut backlog, mut down_before) = (0.0, false);
    let every = EVERY.as_secs() as u32;
    let mut sum = Sample::default();
    let (mut cpu, mut inflight, mut waits) = (0.0, 0.0, Vec::new());
    for t in 0..trace.seconds {
        let (load, speed) = (trace.load)(t);
        booting.retain(|at| {
            let here = *at <= t;
            up += u32::from(here);
            !here
        });
        let can = f64::from(up) * RATE * speed;
        let served = can.min(backlog + load);
        backlog += load - served;
        let wait = if can > 0.0 {
            backlog / can
        } else if backlog > 0.0 {
            PATIENCE
        } else {
            0.0
        };
        let refused = if can > 0.0 {
            (backlog - PATIENCE * can).max(0.0)
        } else {
            (backlog - PATIENCE * load).max(0.0)
        };
        backlog -= refused;
        out.all += load;
        out.failed += refused;
        if wait > 1.0 {
            out.slow += served;
        }
        let needed = (load / (RATE * 0.8)).ceil().max(1.0);
        out.spare_minutes += (f64::from(wanted) - needed).max(0.0) / 60.0;
        sum.requests += (served + refused).round() as u32;
        sum.refused += refused.round() as u32;
        cpu += if can > 0.0 {
            served / (f64::from(up) * RATE)
        } else {
            0.0
        };
        inflight += served * SERVICE + backlog;
        waits.push(wait * 1000.0);
        if (t + 1) % every == 0 {
            waits.sort_by(f64::total_cmp);
            let sample = Sample {
                at: Micros(i64::from(t + 1) * 1_000_000),
                seconds: f64::from(every),
                up,
                starting: booting.len() as u32,
                queue_ms: waits[waits.len() - 1],
                inflight: inflight / f64::from(every),
                cpu: Some(cpu / f64::from(every)),
                ..sum
            };
            let next = rule.want(sample, wanted);
            if next > wanted {
                booting.extend((wanted..next).map(|_| t + BOOT));
                out.turns += u32::from(down_before);
                down_before = false;
            } else if next < wanted {
                for _ in next..wanted {
                    if booting.pop().is_none() {
                        up -= 1;
                    }
                }
                down_before = true;
            }
            wanted = next;
            (sum, cpu, inflight) = (Sample::default(), 0.0, 0.0);
            waits.clear();
        }
        out.dynos.push(wanted);
        out.most = out.most.max(wanted);
    }
    out
}
