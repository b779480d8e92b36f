//! What becomes of an entry's ticks.

use super::schedule::Schedule;
use hokku_model::{
    Micros,
    cron::{Entry, Missed, Overlap, Trigger},
};
use std::time::Duration;

/// A tick that is found so much later is run as if it were its time; an agent is replaced or restarted within that. What
/// is later was missed.
pub const GRACE: Duration = Duration::from_secs(60);

/// Runs of one entry under way at the same time, with `overlap` set to `allow`.
pub const MOST_RUNS: usize = 20;

/// Missed ticks are counted one by one up to this many; the rest is jumped over.
const MOST_COUNTED: u32 = 10_000;

/// `missed: all` makes up for ticks of this age at most.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What one or several ticks come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The tick; of several the last.
    pub tick: Micros,
    /// How many.
    pub ticks: u32,
    /// What is done about it.
    pub what: What,
}

/// What is done about a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A run.
    Run(Trigger),
    /// Nothing: a run was under way; in words.
    Skip(String),
    /// Nothing: nobody was there.
    Missed,
}

/// All that is decided now about one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// In order of their ticks. To be committed together with `until`, before any is carried out.
    pub claims: Vec<Claim>,
    /// Up to here, itself included, all ticks are decided.
    pub until: Micros,
    /// Runs that are under way are to be stopped for the new one.
    pub replaces: bool,
    /// When to look again; `None`: at the end of a run, or never.
    pub wake_at: Option<Micros>,
}

/// Decides the ticks after `until` that have come by `now`. `under_way` counts runs of the entry that have not ended,
/// retries that wait included.
pub fn judge(
    entry: &Entry,
    schedule: &Schedule,
    until: Micros,
    under_way: usize,
    now: Micros,
) -> Judgement {
    let mut judge = Judge {
        entry,
        under_way,
        said: Judgement {
            until,
            ..Judgement::default()
        },
        gap: None,
        counted: 0,
    };
    while let Some(tick) = schedule.next(judge.said.until) {
        if tick > now {
            judge.said.wake_at = Some(tick);
            break;
        }
        let late = now.since(tick);
        let blocked = match late > GRACE {
            true => judge.missed(tick, late, now),
            false => {
                judge.close();
                judge.on_time(tick);
                false
            }
        };
        if blocked {
            break;
        }
    }
    judge.close();
    judge.said
}

struct Judge<'a> {
    entry: &'a Entry,
    under_way: usize,
    said: Judgement,
    /// Missed ticks that are said together: how many, and the last.
    gap: Option<(u32, Micros)>,
    counted: u32,
}

impl Judge<'_> {
    fn claim(&mut self, tick: Micros, ticks: u32, what: What) {
        if let What::Run(_) = what {
            self.under_way += 1;
        }
        self.said.claims.push(Claim { tick, ticks, what });
    }

    /// True: it can't be decided before a run ends.
    fn missed(&mut self, tick: Micros, late: Duration, now: Micros) -> bool {
        let makes_up = self.entry.missed == Missed::All && late <= OLDEST;
        if makes_up {
            self.close();
            let most = match self.entry.overlap {
                Overlap::Allow => MOST_RUNS,
                Overlap::Forbid | Overlap::Replace => 1,
            };
            if self.under_way >= most {
                return true;
            }
            self.claim(tick, 1, What::Run(Trigger::Missed));
            self.said.until = tick;
            return false;
        }
        let (n, _) = self.gap.unwrap_or((0, tick));
        self.gap = Some((n + 1, tick));
        self.said.until = tick;
        self.counted += 1;
        if self.counted >= MOST_COUNTED {
            // the tick at the end of the grace is still on time
            let edge = Micros(now.0 - GRACE.as_micros() as i64 - 1);
            self.said.until = tick.max(edge);
            self.counted = 0;
        }
        false
    }

    fn on_time(&mut self, tick: Micros) {
        self.said.until = tick;
        let what = match self.entry.overlap {
            Overlap::Allow if self.under_way >= MOST_RUNS => {
                What::Skip(format!("{MOST_RUNS} runs were under way already"))
            }
            Overlap::Forbid if self.under_way > 0 => {
                What::Skip("the run before was still under way".into())
            }
            Overlap::Replace => {
                self.replace();
                What::Run(Trigger::Schedule)
            }
            Overlap::Allow | Overlap::Forbid => What::Run(Trigger::Schedule),
        };
        self.claim(tick, 1, what);
    }

    /// A tick of this very judgement that has not started gives way at once.
    fn replace(&mut self) {
        self.said.replaces |= self.under_way > 0;
        for claim in &mut self.said.claims {
            if let What::Run(_) = claim.what {
                claim.what = What::Skip("the next one came before it had started".into());
            }
        }
        self.under_way = 0;
    }

    /// Says what is known of ticks that were missed together.
    fn close(&mut self) {
        let Some((ticks, tick)) = self.gap.take() else {
            return;
        };
        let what = match self.entry.missed {
            Missed::Once => match self.entry.overlap {
                Overlap::Allow if self.under_way < MOST_RUNS => What::Run(Trigger::Missed),
                _ if self.under_way == 0 => What::Run(Trigger::Missed),
                _ => What::Skip("the run before was still under way".into()),
            },
            Missed::Skip | Missed::All => What::Missed,
        };
        self.claim(tick, ticks, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::{AppId, cron::EntryName};
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000_000;

    fn entry(overlap: Overlap, missed: Missed) -> Entry {
        let mut entry = Entry::new(EntryName::of_command("x", 1), "* * * * *", "x");
        (entry.overlap, entry.missed) = (overlap, missed);
        entry
    }

    /// Judged at minute `now` and a half, with everything decided up to minute `until`; in short words.
    fn said(overlap: Overlap, missed: Missed, under_way: usize, until: i64, now: i64) -> String {
        let entry = entry(overlap, missed);
        let schedule = Schedule::of(&entry, AppId(1)).unwrap();
        let now = Micros(now * MINUTE + MINUTE / 2);
        let said = judge(&entry, &schedule, Micros(until * MINUTE), under_way, now);
        let mut words: Vec<String> = said
            .claims
            .iter()
            .map(|c| {
                let what = match &c.what {
                    What::Run(t) => t.as_str(),
                    What::Skip(_) => "skip",
                    What::Missed => "nobody",
                };
                format!("{what} {}x{}", c.tick.0 / MINUTE, c.ticks)
            })
            .collect();
        words.extend(said.replaces.then(|| "replaces".into()));
        words.push(match said.wake_at {
            Some(t) => format!("wake {}", t.0 / MINUTE),
            None => "wait".into(),
        });
        words.join(", ")
    }

    #[test]
    fn policies() {
        use {Missed::*, Overlap::*};
        for (overlap, missed, under_way, until, now, want) in [
            (Forbid, Skip, 0, 9, 9, "wake 10"),
            (Forbid, Skip, 0, 9, 10, "schedule 10x1, wake 11"),
            (Forbid, Skip, 1, 9, 10, "skip 10x1, wake 11"),
            (Allow, Skip, 1, 9, 10, "schedule 10x1, wake 11"),
            (Allow, Skip, MOST_RUNS, 9, 10, "skip 10x1, wake 11"),
            (Replace, Skip, 1, 9, 10, "schedule 10x1, replaces, wake 11"),
            (Replace, Skip, 0, 9, 10, "schedule 10x1, wake 11"),
            // half a minute late is on time, a minute and a half is not
            (Forbid, Skip, 0, 8, 10, "nobody 9x1, schedule 10x1, wake 11"),
            (Forbid, Skip, 0, 1, 10, "nobody 9x8, schedule 10x1, wake 11"),
            (Forbid, Once, 0, 1, 10, "missed 9x8, skip 10x1, wake 11"),
            (Allow, Once, 0, 1, 10, "missed 9x8, schedule 10x1, wake 11"),
            (Forbid, Once, 1, 1, 10, "skip 9x8, skip 10x1, wake 11"),
            (Forbid, All, 0, 7, 10, "missed 8x1, wait"),
            (Forbid, All, 1, 7, 10, "wait"),
            (Forbid, All, 0, 8, 10, "missed 9x1, skip 10x1, wake 11"),
            (
                Allow,
                All,
                0,
                7,
                10,
                "missed 8x1, missed 9x1, schedule 10x1, wake 11",
            ),
            (
                Replace,
                All,
                0,
                8,
                10,
                "skip 9x1, schedule 10x1, replaces, wake 11",
            ),
            // years of minutes: counted up to a bound, and the last that was counted named
            (
                Forbid,
                Skip,
                0,
                0,
                2_000_000,
                "nobody 10000x10000, schedule 2000000x1, wake 2000001",
            ),
        ] {
            assert_eq!(
                said(overlap, missed, under_way, until, now),
                want,
                "{overlap:?} {missed:?} {under_way} {until}-{now}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_set_back_repeats_nothing() {
        assert_eq!(said(Overlap::Forbid, Missed::Skip, 0, 10, 5), "wake 11");
    }

    proptest! {
        /// However often it is asked, and however late: the ticks of all claims together are all ticks, each once.
        #[test]
        fn every_tick_is_decided_once(
            looks in prop::collection::vec((1i64..20 * MINUTE, 0usize..3), 1..20),
            overlap in prop::sample::select(vec![Overlap::Allow, Overlap::Forbid, Overlap::Replace]),
            missed in prop::sample::select(vec![Missed::Skip, Missed::Once, Missed::All]),
        ) {
            let entry = entry(overlap, missed);
            let schedule = Schedule::of(&entry, AppId(1)).unwrap();
            let (mut until, mut now, mut decided, mut last) = (Micros(0), 0, 0u64, Micros(0));
            for (pause, under_way) in looks {
                now += pause;
                let said = judge(&entry, &schedule, until, under_way, Micros(now));
                prop_assert!(said.until >= until && said.until <= Micros(now));
                for c in &said.claims {
                    prop_assert!(c.tick > last && c.ticks > 0);
                    last = c.tick;
                    decided += u64::from(c.ticks);
                }
                until = said.until;
                prop_assert_eq!(decided, (until.0 / MINUTE) as u64);
                // whatever is not decided waits for a run's end
                if said.wake_at.is_some() {
                    prop_assert_eq!(until.0 / MINUTE, now / MINUTE);
                } else {
                    prop_assert!(under_way > 0 || said.claims.iter().any(|c| matches!(c.what, What::Run(_))));
                }
            }
        }
    }
}
