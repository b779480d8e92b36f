//! Which dyno gets a request: the one its cookie asks for; else, in the group of targets that its share falls to, of two
//! drawn at random the one with less in flight.

use crate::affinity::Tag;
use crate::dyno::{Claim, Dyno};
use crate::table::App;
use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// A small fast source of randomness, one per thread. Not for secrets.
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    pub fn new() -> Dice {
        let seed = std::hash::RandomState::new().build_hasher().finish();
        Dice(Cell::new(seed | 1))
    }

    /// 64 random bits (xorshift64*).
    pub fn roll(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `n`, which must not be 0.
    pub fn below(&self, n: usize) -> usize {
        usize::try_from((u128::from(self.roll()) * n as u128) >> 64).unwrap_or(0)
    }
}

/// What came of looking for a dyno.
pub(crate) enum Pick {
    /// This one, and it is counted.
    Got(Claim),
    /// There are some, but all are in quarantine.
    Quarantined,
    /// Each has as many requests as it takes, by what this table says.
    Full,
    /// There is none.
    Empty,
}

/// Finds a dyno and counts the request in. `wanted`: the dyno that the client's cookie asks for, which it gets as long as
/// that takes requests. With `desperate`, neither quarantine nor being full is a hindrance.
pub(crate) fn pick(app: &App, dice: &Dice, wanted: Option<Tag>, desperate: bool) -> Pick {
    if let Some(wanted) = wanted {
        let shared = app.shares.iter().flat_map(|g| &g.targets);
        let asked_for = app.targets.iter().chain(shared).find(|d| d.tag == wanted);
        if let Some(dyno) = asked_for.filter(|d| !d.is_quarantined())
            && let Some(claim) = dyno.claim()
        {
            return Pick::Got(claim);
        }
    }
    let most = app.routing.dyno_connections.map_or(u64::MAX, u64::from);
    if !app.shares.is_empty() {
        let number = dice.below(1000);
        let group = app.shares.iter().find(|g| number < usize::from(g.below));
        if let Some(group) = group
            && let Pick::Got(claim) = draw(&group.targets, dice, false, most)
        {
            return Pick::Got(claim);
        }
    }
    draw(&app.targets, dice, desperate, most)
}

/// Draws one of a group that has fewer than `most` requests: the gate lets only as many in as all of them take, but one
/// dyno of two may be full.
fn draw(targets: &[Arc<Dyno>], dice: &Dice, desperate: bool, most: u64) -> Pick {
    let fit = |d: &Arc<Dyno>| desperate || !d.is_quarantined();
    let full = |d: &Arc<Dyno>| !desperate && d.in_flight() >= most;
    let n = targets.len();
    if n > 1 {
        let a = dice.below(n);
        let b = (a + 1 + dice.below(n - 1)) % n;
        let (a, b) = (&targets[a], &targets[b]);
        let (first, second) = if b.in_flight() < a.in_flight() {
            (b, a)
        } else {
            (a, b)
        };
        for d in [first, second] {
            if fit(d)
                && !full(d)
                && let Some(claim) = d.claim()
            {
                return Pick::Got(claim);
            }
        }
    }
    let start = if n > 1 { dice.below(n) } else { 0 };
    let (mut quarantined, mut filled) = (false, false);
    for d in targets[start..].iter().chain(&targets[..start]) {
        if d.is_closed() {
            continue;
        }
        if !fit(d) {
            quarantined = true;
        } else if full(d) {
            filled = true;
        } else if let Some(claim) = d.claim() {
            return Pick::Got(claim);
        }
    }
    if filled {
        Pick::Full
    } else if quarantined {
        Pick::Quarantined
    } else {
        Pick::Empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dyno::for_test;
    use crate::table::{Group, for_test as app_for_test};
    use std::time::Duration;

    #[test]
    fn spreads_evenly_and_prefers_the_idle() {
        let dice = Dice::new();
        let targets: Vec<_> = (1..=4).map(for_test).collect();
        let held: Vec<_> = (0..4000)
            .map(|_| match draw(&targets, &dice, false, u64::MAX) {
                Pick::Got(c) => c,
                _ => panic!("all are fit"),
            })
            .collect();
        // two choices keep the heaviest within a few of the lightest
        let loads: Vec<_> = targets.iter().map(|t| t.in_flight()).collect();
        assert!(
            loads.iter().max().unwrap() - loads.iter().min().unwrap() < 20,
            "{loads:?}"
        );
        drop(held);
    }

    #[test]
    fn a_full_one_is_passed_over_while_another_is_not() {
        let dice = Dice::new();
        let targets: Vec<_> = (1..=5).map(for_test).collect();
        let mut held = vec![];
        for _ in 0..15 {
            match draw(&targets, &dice, false, 3) {
                Pick::Got(claim) => held.push(claim),
                _ => panic!("all are fit"),
            }
        }
        assert!(targets.iter().all(|t| t.in_flight() == 3));
        assert!(matches!(draw(&targets, &dice, false, 3), Pick::Full));
        assert!(matches!(draw(&targets, &dice, true, 3), Pick::Got(_)));
    }

    #[test]
    fn avoids_quarantine_and_closed() {
        let dice = Dice::new();
        let targets: Vec<_> = (1..=3).map(for_test).collect();
        targets[0].quarantine(Duration::from_secs(60));
        targets[1].close();
        for _ in 0..200 {
            match draw(&targets, &dice, false, u64::MAX) {
                Pick::Got(c) => assert_eq!(c.dyno().name, "web.3"),
                _ => panic!("web.3 is fit"),
            }
        }
        targets[2].close();
        assert!(matches!(
            draw(&targets, &dice, false, u64::MAX),
            Pick::Quarantined
        ));
        assert!(matches!(
            draw(&targets, &dice, true, u64::MAX),
            Pick::Got(_)
        ));
        targets[0].close();
        assert!(matches!(draw(&targets, &dice, true, u64::MAX), Pick::Empty));
        assert!(matches!(draw(&[], &dice, true, u64::MAX), Pick::Empty));
    }

    /// Main group `web.1` to `web.3`; 20 % go to `web.11` and `web.12`.
    fn shared() -> App {
        let mut app = app_for_test(Default::default());
        app.targets = (1..=3).map(for_test).collect();
        app.shares = vec![Group {
            below: 200,
            targets: (11..=12).map(for_test).collect(),
        }];
        app
    }

    fn got(app: &App, dice: &Dice, wanted: Option<Tag>) -> String {
        match pick(app, dice, wanted, false) {
            Pick::Got(c) => c.dyno().name.clone(),
            Pick::Quarantined => "quarantined".into(),
            Pick::Full | Pick::Empty => "empty".into(),
        }
    }

    #[test]
    fn a_share_gets_its_part() {
        let (app, dice) = (shared(), Dice::new());
        let of_share = (0..10_000)
            .filter(|_| matches!(&*got(&app, &dice, None), "web.11" | "web.12"))
            .count();
        // 2000 expected, a standard deviation is 40
        assert!((1700..2300).contains(&of_share), "{of_share}");
    }

    #[test]
    fn a_share_without_targets_falls_to_the_main_group() {
        let (mut app, dice) = (shared(), Dice::new());
        app.shares[0].below = 1000;
        assert!(got(&app, &dice, None).starts_with("web.1"));
        app.shares[0].targets[0].quarantine(Duration::from_secs(60));
        app.shares[0].targets[1].close();
        for _ in 0..100 {
            assert!(matches!(
                &*got(&app, &dice, None),
                "web.1" | "web.2" | "web.3"
            ));
        }
        app.shares[0].targets.clear();
        assert!(matches!(
            &*got(&app, &dice, None),
            "web.1" | "web.2" | "web.3"
        ));
        app.targets.clear();
        assert_eq!(got(&app, &dice, None), "empty");
    }

    #[test]
    fn a_client_comes_back_as_long_as_its_dyno_takes_requests() {
        let (app, dice) = (shared(), Dice::new());
        for dyno in [&app.targets[1], &app.shares[0].targets[0]] {
            for _ in 0..100 {
                assert_eq!(got(&app, &dice, Some(dyno.tag)), dyno.name);
            }
        }
        let left = &app.targets[1];
        left.quarantine(Duration::from_secs(60));
        assert_ne!(got(&app, &dice, Some(left.tag)), left.name);
        left.release_from_quarantine();
        left.close();
        assert_ne!(got(&app, &dice, Some(left.tag)), left.name);
        left.open();
        assert_eq!(got(&app, &dice, Some(left.tag)), left.name);
        // a cookie of yesterday's dyno
        assert!(got(&app, &dice, Some(for_test(99).tag)).starts_with("web."));
    }
}
