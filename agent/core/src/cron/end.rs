//! What follows from the end of a run.

use hokku_model::{
    Micros,
    cron::{Open, Status, Trigger, Trouble},
    dyno::Exit,
};
use std::time::Duration;

/// The pause before the first retry; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause before a retry.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// When its process began; `None`: it could not be started.
    pub started_at: Option<Micros>,
    /// When its start was ordered: its time limit counts from there.
    pub ordered_at: Option<Micros>,
    /// When it ended.
    pub ended_at: Micros,
    /// How; `None`: it could not be started.
    pub exit: Option<Exit>,
    /// Somebody had ordered it to stop.
    pub stopped: bool,
}

impl End {
    /// Of a run whose process never began.
    pub fn unstarted(ended_at: Micros) -> End {
        End {
            started_at: None,
            ordered_at: None,
            ended_at,
            exit: None,
            stopped: false,
        }
    }
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// For the history.
    pub status: Status,
    /// It is tried again after this pause.
    pub retry: Option<Duration>,
    /// Somebody is to be told.
    pub trouble: Option<Trouble>,
}

/// Decides.
pub fn after(open: &Open, end: &End) -> After {
    let took = end.ended_at.since(end.ordered_at.unwrap_or(end.ended_at));
    let overdue = took >= Duration::from_secs(open.timeout);
    let status = match end.exit {
        _ if open.replaced => Status::Replaced,
        Some(Exit::Code(0)) => Status::Succeeded,
        Some(_) if overdue => Status::TimedOut,
        Some(_) if end.stopped => Status::Stopped,
        Some(_) | None => Status::Failed,
    };
    let trouble = match status {
        Status::Failed => Some(Trouble::Failed),
        Status::TimedOut => Some(Trouble::RanTooLong),
        _ => None,
    };
    let retry = trouble.filter(|_| open.retries > 0);
    After {
        status,
        retry: retry.map(|_| pause(open.run.attempt)),
        // an alert about an alert's command could go on for ever
        trouble: trouble.filter(|_| retry.is_none() && open.run.trigger != Trigger::Alert),
    }
}

/// The pause after so many attempts.
fn pause(attempts: u32) -> Duration {
    let factor = 2u32.saturating_pow(attempts.saturating_sub(1).min(16));
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::{
        AppId, DynoId,
        cron::{EntryName, Run},
    };

    fn open(retries: u32, attempt: u32) -> Open {
        let run = Run {
            entry: EntryName::of_command("x", 1),
            number: 1,
            trigger: Trigger::Schedule,
            status: Status::Running,
            tick: None,
            ticks: 1,
            attempt,
            user: None,
            dyno: None,
            release: None,
            claimed_at: Micros(0),
            started_at: None,
            ended_at: None,
            exit_code: None,
            peak_memory: None,
            reason: String::new(),
        };
        Open {
            app: AppId(1),
            run,
            dyno: DynoId(1),
            command: "x".into(),
            timeout: 60,
            retries,
            alone: true,
            not_before: Micros(0),
            replaced: false,
            env: Default::default(),
        }
    }

    fn end(seconds: i64, exit: Exit) -> End {
        End {
            started_at: Some(Micros(20_000)),
            ordered_at: Some(Micros(0)),
            ended_at: Micros(seconds * 1_000_000),
            exit: Some(exit),
            stopped: false,
        }
    }

    #[test]
    fn ends() {
        let of = |o: &Open, e: &End| {
            let a = after(o, e);
            (a.status, a.retry.map(|p| p.as_secs()), a.trouble)
        };
        let once = open(0, 1);
        assert_eq!(
            of(&once, &end(9, Exit::Code(0))),
            (Status::Succeeded, None, None)
        );
        let failed = Some(Trouble::Failed);
        assert_eq!(
            of(&once, &end(9, Exit::Code(1))),
            (Status::Failed, None, failed)
        );
        assert_eq!(
            of(&once, &end(9, Exit::Lost)),
            (Status::Failed, None, failed)
        );
        let long = Some(Trouble::RanTooLong);
        assert_eq!(
            of(&once, &end(60, Exit::Signal(15))),
            (Status::TimedOut, None, long)
        );
        // one that ends well at its limit ended well
        assert_eq!(
            of(&once, &end(61, Exit::Code(0))),
            (Status::Succeeded, None, None)
        );
        let nothing = End {
            started_at: None,
            ordered_at: None,
            exit: None,
            ..end(0, Exit::Lost)
        };
        assert_eq!(of(&once, &nothing), (Status::Failed, None, failed));
        let stopped = End {
            stopped: true,
            ..end(9, Exit::Signal(15))
        };
        assert_eq!(of(&open(5, 1), &stopped), (Status::Stopped, None, None));
        let replaced = Open {
            replaced: true,
            ..open(5, 1)
        };
        assert_eq!(
            of(&replaced, &end(9, Exit::Signal(15))),
            (Status::Replaced, None, None)
        );
    }

    #[test]
    fn retries_come_slower_and_slower_and_only_the_last_one_alerts() {
        let pauses: Vec<u64> = (1..9)
            .map(|n| {
                after(&open(1, n), &end(1, Exit::Code(1)))
                    .retry
                    .unwrap()
                    .as_secs()
            })
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(after(&open(1, 1), &end(1, Exit::Code(1))).trouble, None);
        let mut alert = open(0, 1);
        alert.run.trigger = Trigger::Alert;
        assert_eq!(after(&alert, &end(1, Exit::Code(1))).trouble, None);
    }
}
