//! The decision.

use super::{Ask, CALM, Capacity, PAUSE, Past, SETTLE, Signal, signal};
use hokku_model::{Micros, autoscale::Autoscale};

/// How many dynos there should be, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Between `min` and `max`.
    pub want: u32,
    /// With the numbers it was made of: a line of the app's log when `want` changes, and of `autoscale:explain`.
    pub why: String,
    /// More are asked for than may or can be had.
    pub short: bool,
    /// A load that was found to be too much now; to be kept in [`Past::capacity`].
    pub learned: Option<Capacity>,
}

/// Decides. `wanted` is the number that was ordered last, `room` how many more dynos the host's memory has place for.
pub fn decide(wish: &Autoscale, past: &Past, wanted: u32, room: u32, now: Micros) -> Decision {
    let (min, max) = (wish.min, wish.max.max(wish.min));
    let keep = |why: String| Decision {
        want: wanted,
        why,
        short: false,
        learned: None,
    };
    if wanted < min || wanted > max {
        let want = wanted.clamp(min, max);
        return Decision {
            want,
            ..keep(format!("{wanted} is outside of {min} to {max}"))
        };
    }
    let mut newest = past.samples().rev();
    let (Some(last), Some(before)) = (newest.next(), newest.next()) else {
        return keep("nothing was measured yet".into());
    };
    let rises = |s| strongest(signal::up(&wish.targets, s));
    if let (Some(a), Some(b)) = (rises(last), rises(before)) {
        let ask = if a.dynos <= b.dynos { a } else { b };
        if ask.dynos > wanted {
            return up(ask, past, wanted, max, room, now);
        }
    }
    down(wish, past, wanted, now).unwrap_or_else(keep)
}

fn up(ask: Ask, past: &Past, wanted: u32, max: u32, room: u32, now: Micros) -> Decision {
    let keep = |why: String| Decision {
        want: wanted,
        why,
        short: false,
        learned: None,
    };
    let last = past.samples().next_back();
    let starting = last.map_or(0, |s| s.starting);
    if is_relative(ask.signal) {
        if starting > 0 || last.is_some_and(|s| s.up < wanted) {
            return keep(format!(
                "{ask}; {} of {wanted} are still starting",
                starting.max(1)
            ));
        }
        if past.came_up.is_some_and(|t| now.since(t) < SETTLE) {
            return keep(format!("{ask}; the newest dynos work on what had piled up"));
        }
    }
    let learned = last
        .filter(|_| ask.signal == Signal::Queue)
        .map(|s| Capacity {
            rate: f64::from(s.requests) / s.seconds / f64::from(s.up.max(1)),
            at: now,
        });
    if wanted == max {
        return Decision {
            learned,
            short: true,
            ..keep(format!("{ask}; {max} is the most allowed"))
        };
    }
    let want = ask
        .dynos
        .min(max)
        .min((wanted * 2).max(wanted + 2))
        .min(wanted.saturating_add(room));
    if want <= wanted {
        return Decision {
            learned,
            short: true,
            ..keep(format!(
                "{ask}; the host has no memory for more than {wanted}"
            ))
        };
    }
    Decision {
        want,
        why: format!("{wanted} to {want}: {ask}"),
        short: false,
        learned,
    }
}

/// `Err`: why not.
fn down(wish: &Autoscale, past: &Past, wanted: u32, now: Micros) -> Result<Decision, String> {
    if wanted == wish.min {
        return Err(format!("{wanted} do, and are the fewest allowed"));
    }
    let since = [past.last_up, past.last_down].into_iter().flatten().max();
    if let Some(t) = since
        && now.since(t) < PAUSE
    {
        return Err(format!(
            "{wanted} do; the last change was {} s ago",
            now.since(t).as_secs()
        ));
    }
    let Some(calm) = past.calm(now) else {
        return Err(format!(
            "{wanted} do; no {} s were measured yet",
            CALM.as_secs()
        ));
    };
    let capacity = past.capacity;
    let asks = calm.filter_map(|s| strongest(signal::down(&wish.targets, s, capacity)));
    let most = asks.max_by_key(|a| a.dynos);
    let floor = most.map_or(0, |a| a.dynos).max(wish.min);
    let want = floor.max(wanted - (wanted / 5).max(1));
    let why = most.map_or_else(|| "no load".into(), |a| a.to_string());
    if want >= wanted {
        return Err(format!(
            "{wanted} do; at most in {} s: {why}",
            CALM.as_secs()
        ));
    }
    Ok(Decision {
        want,
        why: format!("{wanted} to {want}: at most in {} s: {why}", CALM.as_secs()),
        short: false,
        learned: None,
    })
}

/// Does it ask for more than there are, rather than for a number that follows from the load?
fn is_relative(signal: Signal) -> bool {
    matches!(signal, Signal::Queue | Signal::Refused | Signal::Memory)
}

fn strongest(asks: Vec<Ask>) -> Option<Ask> {
    asks.into_iter()
        .max_by_key(|a| (a.dynos, std::cmp::Reverse(a.signal)))
}

impl Past {
    /// Takes note of a decision that was carried out.
    pub fn decided(&mut self, decision: &Decision, wanted: u32, now: Micros) {
        if decision.learned.is_some() {
            self.capacity = decision.learned;
        }
        match decision.want.cmp(&wanted) {
            std::cmp::Ordering::Greater => self.last_up = Some(now),
            std::cmp::Ordering::Less => self.last_down = Some(now),
            std::cmp::Ordering::Equal => {}
        }
    }
}
