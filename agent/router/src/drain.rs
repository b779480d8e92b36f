//! Dynos that are to become empty: by when, and what was done to hurry them.

use crate::table::Register;
use hokku_model::DynoId;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Requests finish by themselves.
    Open,
    /// Tunnels were asked to close.
    Closing,
    /// Everything was cut.
    Cut,
}

struct Drain {
    dyno: DynoId,
    stage: Stage,
    /// Not an order: this router has handed over, and its tunnels have to end some time, wanted dyno or not.
    farewell: bool,
    /// When the next stage begins.
    next: Instant,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Report that nothing is in flight.
    Report(DynoId),
    /// Ask tunnels to close, one after the other over this time.
    Close(DynoId, Duration),
    /// End what is left.
    Cut(DynoId),
}

/// Between two tunnels that are closed, when they are few.
const PAUSE: Duration = Duration::from_millis(10);
/// All tunnels of one dyno are asked to close within this.
const WINDOW_MAX: Duration = Duration::from_secs(5);

/// How long it takes to close so many tunnels one after the other: clients that come back at once must not come all
/// at the same moment.
pub(crate) fn window(tunnels: u64) -> Duration {
    let tunnels = u32::try_from(tunnels).unwrap_or(u32::MAX);
    PAUSE.saturating_mul(tunnels).min(WINDOW_MAX)
}

/// How many of so many tunnels have to be asked by now, evenly over the window; the first at once.
pub(crate) fn due(tunnels: usize, window: Duration, gone_by: Duration) -> usize {
    if gone_by >= window {
        return tunnels;
    }
    let share = gone_by.as_secs_f64() / window.as_secs_f64();
    // at most `tunnels`, so nothing is lost
    ((tunnels as f64 * share) as usize + 1).min(tunnels)
}

/// The list of drains.
pub(crate) struct Drains {
    list: Vec<Drain>,
    grace: Duration,
}

impl Drains {
    /// `grace`: between asking tunnels and cutting.
    pub fn new(grace: Duration) -> Drains {
        Drains {
            list: Vec::new(),
            grace,
        }
    }

    /// A drain is ordered, or ordered again, by an agent that knows no more of the first time: the earlier deadline
    /// counts.
    pub fn order(&mut self, dyno: DynoId, deadline: Instant) {
        self.push(dyno, deadline, false);
    }

    /// This router has handed over: tunnels to this dyno end at the deadline even if it stays.
    pub fn farewell(&mut self, dyno: DynoId, deadline: Instant) {
        self.push(dyno, deadline, true);
    }

    fn push(&mut self, dyno: DynoId, deadline: Instant, farewell: bool) {
        let mut same = self.list.iter_mut();
        match same.find(|d| d.dyno == dyno && d.farewell == farewell) {
            Some(d) if d.stage == Stage::Open => d.next = d.next.min(deadline),
            Some(_) => {}
            None => self.list.push(Drain {
                dyno,
                stage: Stage::Open,
                farewell,
                next: deadline,
            }),
        }
    }

    /// The dyno is in the table again.
    pub fn forget(&mut self, dyno: DynoId) {
        self.list.retain(|d| d.farewell || d.dyno != dyno);
    }

    /// When to look again, if nothing else happens.
    pub fn wake_at(&self) -> Option<Instant> {
        self.list.iter().map(|d| d.next).min()
    }

    /// Moves every drain on as far as it goes.
    pub fn steps(&mut self, register: &Register, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        let grace = self.grace;
        self.list.retain_mut(|d| {
            let in_flight = register.in_flight(d.dyno);
            if in_flight == 0 && !d.farewell {
                steps.push(Step::Report(d.dyno));
                return false;
            }
            if now >= d.next {
                let window = window(in_flight);
                let (stage, next, step) = match d.stage {
                    Stage::Open => (Stage::Closing, window + grace, Step::Close(d.dyno, window)),
                    Stage::Closing | Stage::Cut => (Stage::Cut, grace, Step::Cut(d.dyno)),
                };
                d.stage = stage;
                d.next = now + next;
                steps.push(step);
            }
            true
        });
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::AppId;
    use hokku_model::route::{AppRoutes, AppState, RouteTable, Target};

    #[test]
    fn asks_then_cuts_then_reports() {
        let id = DynoId(1);
        let target = Target {
            dyno: id,
            name: "web.1".parse().unwrap(),
            addr: "127.0.0.1:9".parse().unwrap(),
        };
        let app = AppRoutes {
            hosts: vec!["a".into()],
            targets: vec![target],
            ..AppRoutes::new("app".parse().unwrap(), AppState::Running)
        };
        let routes = RouteTable {
            version: 1,
            apps: [(AppId(1), app)].into(),
            ..RouteTable::default()
        };
        let mut register = Register::new(Default::default());
        let table = register.build(&routes);
        let claim = table.find("a").unwrap().targets[0].claim().unwrap();
        register.close_missing(&RouteTable::default());

        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut drains = Drains::new(second);
        drains.order(id, start + 10 * second);
        assert_eq!(drains.steps(&register, start), []);
        assert_eq!(drains.wake_at(), Some(start + 10 * second));
        assert_eq!(
            drains.steps(&register, start + 10 * second),
            [Step::Close(id, window(1))]
        );
        assert_eq!(drains.steps(&register, start + 10 * second), []);
        let late = start + 11 * second + window(1);
        assert_eq!(drains.steps(&register, late), [Step::Cut(id)]);
        drop(claim);
        assert_eq!(drains.steps(&register, late), [Step::Report(id)]);
        assert_eq!(drains.wake_at(), None);

        drains.order(DynoId(77), start + second);
        assert_eq!(
            drains.steps(&register, start),
            [Step::Report(DynoId(77))],
            "an unknown dyno has nothing in flight"
        );
    }

    #[test]
    fn the_earlier_deadline_of_two_orders_counts() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut drains = Drains::new(second);
        drains.order(DynoId(1), start + 10 * second);
        drains.order(DynoId(1), start + 20 * second);
        assert_eq!(drains.wake_at(), Some(start + 10 * second));
        drains.order(DynoId(1), start + 5 * second);
        assert_eq!(drains.wake_at(), Some(start + 5 * second));
        drains.farewell(DynoId(1), start + second);
        drains.forget(DynoId(1));
        assert_eq!(drains.wake_at(), Some(start + second), "no order");
    }

    #[test]
    fn few_tunnels_are_closed_soon_and_many_within_the_window() {
        assert_eq!(window(0), Duration::ZERO);
        assert_eq!(window(3), Duration::from_millis(30));
        assert_eq!(window(100_000), WINDOW_MAX);
        assert_eq!(window(u64::MAX), WINDOW_MAX);
        assert_eq!(due(0, window(0), Duration::ZERO), 0);
        for n in [1, 3, 499, 10_000] {
            let w = window(n as u64);
            assert_eq!(due(n, w, Duration::ZERO), 1, "the first at once");
            assert_eq!(due(n, w, w), n);
            let all: Vec<_> = (0..=1000).map(|i| due(n, w, w * i / 1000)).collect();
            let most = all.windows(2).map(|p| p[1] - p[0]).max().unwrap();
            assert!(most <= n / 1000 + 1, "evenly: {most} of {n} at once");
        }
    }
}
