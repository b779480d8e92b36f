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
    /// When the next stage begins.
    next: Instant,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Report that nothing is in flight.
    Report(DynoId),
    /// Ask tunnels to close.
    Close(DynoId),
    /// End what is left.
    Cut(DynoId),
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

    /// A drain is ordered, or ordered again with another deadline.
    pub fn order(&mut self, dyno: DynoId, deadline: Instant) {
        self.forget(dyno);
        self.list.push(Drain {
            dyno,
            stage: Stage::Open,
            next: deadline,
        });
    }

    /// The dyno is in the table again.
    pub fn forget(&mut self, dyno: DynoId) {
        self.list.retain(|d| d.dyno != dyno);
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
            if register.in_flight(d.dyno) == 0 {
                steps.push(Step::Report(d.dyno));
                return false;
            }
            if now >= d.next {
                let (stage, step) = match d.stage {
                    Stage::Open => (Stage::Closing, Step::Close(d.dyno)),
                    Stage::Closing | Stage::Cut => (Stage::Cut, Step::Cut(d.dyno)),
                };
                d.stage = stage;
                d.next = now + grace;
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
        let mut register = Register::new(
            Default::default(),
            crate::affinity::Key::fresh(),
            crate::metrics::Metrics::new(),
        );
        let table = register.build(&routes);
        let claim = table.find("a", "/").unwrap().targets[0].claim().unwrap();
        register.close_missing(&RouteTable::default());

        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut drains = Drains::new(second);
        drains.order(id, start + 10 * second);
        assert_eq!(drains.steps(&register, start), []);
        assert_eq!(drains.wake_at(), Some(start + 10 * second));
        assert_eq!(
            drains.steps(&register, start + 10 * second),
            [Step::Close(id)]
        );
        assert_eq!(drains.steps(&register, start + 10 * second), []);
        assert_eq!(
            drains.steps(&register, start + 11 * second),
            [Step::Cut(id)]
        );
        drop(claim);
        assert_eq!(
            drains.steps(&register, start + 11 * second),
            [Step::Report(id)]
        );
        assert_eq!(drains.wake_at(), None);

        drains.order(DynoId(77), start + second);
        assert_eq!(
            drains.steps(&register, start),
            [Step::Report(DynoId(77))],
            "an unknown dyno has nothing in flight"
        );
    }
}
