//! When to order which certificate: times, not deeds.
//!
//! What it does: says when a host name's certificate is due, by which challenge, and how that stands in Heroku's words.
//! What it never does: talk to a server, look at a clock, throw dice: the jitter comes from the name.
//! Who calls it: the agent's `acme` room, and whoever shows the state.

use crate::backoff;
use hokku_model::{
    Micros,
    cert::{Issued, Managed},
};
use std::time::Duration;

/// An order that is not done after this is given up and begun anew.
pub const ORDER: Duration = Duration::from_secs(10 * 60);

/// The longest pause between two attempts.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How often the server is asked for a renewal window when it does not say itself.
pub const ASK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// The pause after so many failures in a row: 10 s (the next way of proof), then 2, 6, 18, … minutes up to a day, each
/// up to a tenth longer by the name. Let's Encrypt allows 5 failed validations of a name an hour.
pub fn pause(failures: u32, host: &str) -> Duration {
    let seconds: u64 = match failures {
        0 => return Duration::ZERO,
        1 => 10,
        n => 120u64.saturating_mul(3u64.saturating_pow(n - 2)),
    };
    let seconds = seconds.min(LONGEST.as_secs());
    let spread = backoff::seed(host.bytes().chain(failures.to_be_bytes())) % 101;
    Duration::from_millis(seconds.saturating_mul(1000 + spread))
}

/// When a certificate is renewed: inside the window that the server suggests (RFC 9773, section 4.2), else after two
/// thirds of its life; which moment of the window, or of a thirtieth of the life before, is the name's.
pub fn renew_at(issued: &Issued, host: &str) -> Micros {
    let share = |from: Micros, to: Micros| {
        let span = to.0.saturating_sub(from.0).max(0);
        let part = backoff::seed(host.bytes()) % 1000;
        Micros(
            from.0
                .saturating_add((span / 1000).saturating_mul(part as i64)),
        )
    };
    if let Some(w) = issued.window {
        return share(w.start, w.end);
    }
    let life = issued
        .expires_at
        .0
        .saturating_sub(issued.starts_at.0)
        .max(0);
    let end = issued.starts_at.0.saturating_add(life / 3 * 2);
    share(Micros(end.saturating_sub(life / 30)), Micros(end))
}

/// When something is to be done for this name: an order to begin or to go on with.
pub fn due(m: &Managed) -> Micros {
    let wanted = match (&m.issued, m.asked_at, &m.order) {
        (_, _, Some(order)) => order.since,
        (_, Some(asked), None) => asked,
        (None, None, None) => m.created_at,
        (Some(issued), None, None) => renew_at(issued, &m.host),
    };
    match &m.trouble {
        None => wanted,
        Some(t) => {
            let pause = t.at.plus(pause(t.failures, &m.host));
            wanted.max(pause).max(t.retry_at.unwrap_or_default())
        }
    }
}

/// The way of proof for the next attempt: the ways are taken in turn, beginning anew after each good order.
pub fn way<T: Copy>(ways: &[T], m: &Managed) -> Option<T> {
    let failures = m.trouble.as_ref().map_or(0, |t| t.failures) as usize;
    ways.get(failures % ways.len().max(1)).copied()
}

/// How it stands, in the words of Heroku's `acm_status`.
pub fn status(m: &Managed, now: Micros) -> &'static str {
    let valid = m.issued.as_ref().is_some_and(|i| i.expires_at > now);
    match (&m.order, &m.trouble) {
        (_, Some(_)) if !valid => "failing",
        // A renewal that fails is a trouble worth showing only when the certificate nears its end.
        (_, Some(_)) if m.issued.as_ref().is_some_and(|i| late(i, now)) => "failing",
        _ if valid => "cert issued",
        (Some(_), _) => "in-progress",
        _ => "pending",
    }
}

/// Nine tenths of its life are over.
fn late(i: &Issued, now: Micros) -> bool {
    let life = i.expires_at.since(i.starts_at);
    now.since(i.starts_at) > life.mul_f64(0.9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::{
        AppId,
        cert::{AcmeOrder, Trouble, Window},
    };
    use proptest::prelude::*;

    const DAY: i64 = 24 * 3600 * 1_000_000;

    fn name(host: &str) -> Managed {
        Managed {
            host: host.into(),
            app: AppId(1),
            order: None,
            issued: None,
            trouble: None,
            asked_at: None,
            created_at: Micros(5),
        }
    }

    fn issued(days: i64) -> Issued {
        Issued {
            endpoint: "e".into(),
            starts_at: Micros(0),
            expires_at: Micros(days * DAY),
            window: None,
            ask_at: None,
        }
    }

    fn trouble(failures: u32, at: i64) -> Option<Trouble> {
        Some(Trouble {
            failures,
            at: Micros(at),
            reason: "no".into(),
            retry_at: None,
        })
    }

    #[test]
    fn a_new_name_is_due_at_once_and_an_order_goes_on_at_once() {
        let mut m = name("a.test");
        assert_eq!(due(&m), Micros(5));
        m.order = Some(AcmeOrder {
            url: None,
            sealed_key: String::new(),
            since: Micros(9),
        });
        assert_eq!(
            (due(&m), status(&m, Micros(10))),
            (Micros(9), "in-progress")
        );
    }

    #[test]
    fn renewal_comes_at_two_thirds_and_names_are_spread() {
        let times: std::collections::BTreeSet<i64> = (0..50)
            .map(|i| renew_at(&issued(90), &format!("{i}.test")).0)
            .collect();
        assert!(times.iter().all(|t| (57 * DAY..=60 * DAY).contains(t)));
        assert!(times.len() > 40, "{}", times.len());
    }

    #[test]
    fn the_servers_window_goes_before() {
        let (start, end) = (Micros(DAY), Micros(2 * DAY));
        let window = Some(Window { start, end });
        let i = Issued {
            window,
            ..issued(90)
        };
        assert!((DAY..2 * DAY).contains(&renew_at(&i, "a.test").0));
    }

    #[test]
    fn failures_take_the_next_way_and_longer_pauses() {
        let mut m = name("a.test");
        let ways = ["http-01", "tls-alpn-01"];
        let mut last = Duration::ZERO;
        for (n, wanted) in [(0, "http-01"), (1, "tls-alpn-01"), (2, "http-01")] {
            m.trouble = trouble(n, 0).filter(|_| n > 0);
            assert_eq!(way(&ways, &m), Some(wanted));
            assert!(pause(n, "a.test") >= last);
            last = pause(n, "a.test");
        }
        let within_hour: Duration = (1..=5).map(|n| pause(n, "a.test")).sum();
        assert!(within_hour > Duration::from_secs(3600), "{within_hour:?}");
        assert!(pause(40, "a.test") <= LONGEST.mul_f64(1.1));
        assert_eq!(way::<u8>(&[], &m), None);
    }

    #[test]
    fn a_server_that_says_when_is_obeyed() {
        let mut m = name("a.test");
        m.trouble = trouble(1, 100);
        let until = Micros(100 + 3 * DAY);
        if let Some(t) = &mut m.trouble {
            t.retry_at = Some(until);
        }
        m.asked_at = Some(Micros(200));
        assert_eq!(due(&m), until);
    }

    #[test]
    fn words() {
        let mut m = name("a.test");
        assert_eq!(status(&m, Micros(9)), "pending");
        m.trouble = trouble(1, 5);
        assert_eq!(status(&m, Micros(9)), "failing");
        m.issued = Some(issued(90));
        assert_eq!(status(&m, Micros(60 * DAY)), "cert issued");
        assert_eq!(status(&m, Micros(85 * DAY)), "failing");
        m.trouble = None;
        assert_eq!(status(&m, Micros(85 * DAY)), "cert issued");
        assert_eq!(status(&m, Micros(91 * DAY)), "pending");
    }

    proptest! {
        #[test]
        fn no_numbers_panic(a: i64, b: i64, n: u32, host in ".{0,20}", now: i64) {
            let mut m = name(&host);
            m.issued = Some(Issued { starts_at: Micros(a), expires_at: Micros(b), ..issued(1) });
            m.trouble = trouble(n, a);
            let _ = (due(&m), status(&m, Micros(now)), way(&[1, 2], &m));
        }
    }
}
