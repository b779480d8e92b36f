//! Autoscaling over whole load traces, beside Heroku's rule and a plain CPU rule.
//! `cargo test -p hokku-core --test autoscale -- --nocapture` prints the table; `HOKKU_PLOT=file.svg` draws it.

mod plot;
mod rules;
mod traces;
mod world;

use hokku_core::autoscale::{Past, Sample, decide, parse_targets};
use hokku_model::{Micros, autoscale::Autoscale};
use proptest::prelude::*;
use rules::{MAX, MIN};
use world::Outcome;

fn outcomes(trace: &world::Trace) -> Vec<(&'static str, Outcome)> {
    rules::all()
        .into_iter()
        .map(|mut r| (r.name(), world::run(trace, r.as_mut(), MIN)))
        .collect()
}

#[test]
fn fewer_requests_fail_than_with_the_others_and_nothing_flaps() {
    let mut drawn = Vec::new();
    println!(
        "{:12} {:15} {:>8} {:>8} {:>14} {:>6} {:>5}",
        "trace", "rule", "failed", "slow", "spare dyno-min", "turns", "most"
    );
    for trace in traces::ALL {
        let all = outcomes(trace);
        for (name, o) in &all {
            println!(
                "{:12} {name:15} {:8.0} {:8.0} {:14.1} {:6} {:5}",
                trace.name, o.failed, o.slow, o.spare_minutes, o.turns, o.most
            );
        }
        let (ours, others) = all.split_first().unwrap();
        for (name, other) in others {
            assert!(
                ours.1.failed <= other.failed,
                "{}: {name} fails fewer",
                trace.name
            );
            let late = |o: &Outcome| o.failed + o.slow;
            assert!(
                late(&ours.1) <= late(other),
                "{}: {name} has fewer late ones",
                trace.name
            );
        }
        assert!(ours.1.turns <= 2, "{}: {} turns", trace.name, ours.1.turns);
        assert!(ours.1.dynos.iter().all(|n| (MIN..=MAX).contains(n)));
        drawn.push((trace, all));
    }
    if let Some(file) = std::env::var_os("HOKKU_PLOT") {
        std::fs::write(file, plot::svg(&drawn)).unwrap();
    }
}

#[test]
fn what_more_dynos_do_not_mend_asks_for_none() {
    let trace = traces::ALL
        .iter()
        .find(|t| t.name == "failing app")
        .unwrap();
    let (_, ours) = &outcomes(trace)[0];
    assert!(ours.most <= 3, "{}", ours.most);
}

#[test]
fn the_host_s_memory_is_the_end() {
    let trace = traces::ALL.iter().find(|t| t.name == "step").unwrap();
    let wish = Autoscale {
        min: 2,
        max: 20,
        targets: parse_targets("cpu=70%").unwrap(),
    };
    let mut none = rules::Ours {
        wish: wish.clone(),
        past: Past::default(),
        room: 0,
    };
    assert_eq!(world::run(trace, &mut none, 2).most, 2);
}

#[test]
fn one_odd_sample_changes_nothing() {
    let wish = Autoscale {
        min: 1,
        max: 9,
        targets: parse_targets("queue=50ms").unwrap(),
    };
    let mut past = Past::default();
    for i in 1..50 {
        let queue_ms = if i % 3 == 0 { 5000.0 } else { 1.0 };
        past.add(Sample {
            at: Micros(i * 5_000_000),
            seconds: 5.0,
            up: 2,
            requests: 100,
            queue_ms,
            ..Sample::default()
        });
        let d = decide(&wish, &past, 2, 9, Micros(i * 5_000_000));
        assert_eq!(d.want, 2, "{}", d.why);
    }
}

#[test]
fn every_decision_tells_its_numbers() {
    let wish = Autoscale {
        min: 1,
        max: 9,
        targets: parse_targets("cpu=50%").unwrap(),
    };
    let mut past = Past::default();
    for i in 1..3 {
        past.add(Sample {
            at: Micros(i * 5_000_000),
            seconds: 5.0,
            up: 2,
            cpu: Some(0.9),
            ..Sample::default()
        });
    }
    let d = decide(&wish, &past, 2, 9, Micros(10_000_000));
    assert_eq!(
        (d.want, d.why.as_str()),
        (4, "2 to 4: CPU 90% of 50%, asks for 4")
    );
}

prop_compose! {
    fn sample()(up in 0u32..30, starting in 0u32..5, requests in 0u32..5000, refused in 0u32..5000,
                queue_ms in 0.0..1e6, inflight in 0.0..1e5, cpu in proptest::option::of(0.0..4.0f64),
                memory in proptest::option::of(0.0..2.0f64), depth in proptest::option::of(0.0..1e7f64)) -> Sample {
        Sample { at: Micros(0), seconds: 5.0, up, starting, requests, refused, queue_ms, inflight, cpu, memory, depth }
    }
}

proptest! {
    #[test]
    fn always_within_bounds_and_never_beyond_memory(
        samples in proptest::collection::vec(sample(), 0..150),
        min in 0u32..5, span in 0u32..20, wanted in 0u32..40, room in 0u32..10,
    ) {
        let targets = parse_targets("queue=50ms,cpu=70%,memory=80%,inflight=10,depth=100").unwrap();
        let wish = Autoscale { min, max: min + span, targets };
        let (mut past, mut now, mut wanted) = (Past::default(), Micros(0), wanted);
        for mut s in samples {
            now = Micros(now.0 + 5_000_000);
            s.at = now;
            past.add(s);
            let d = decide(&wish, &past, wanted, room, now);
            prop_assert!((min..=min + span).contains(&d.want), "{}", d.why);
            prop_assert!(d.want <= wanted.max(min) + room || wanted < min, "{}", d.why);
            past.decided(&d, wanted, now);
            wanted = d.want;
        }
    }
}
