//! What deciding costs.

use super::*;
use crate::spent;

#[test]
fn deciding_allocates_nothing_for_plain_paths() {
    let many = (0..100).map(|n| rule(&format!("/r{n}/x"), limit(n)));
    let ruled = app(rules(only("203.0.113.0/24"), many.collect()));
    let plain = app(Routing::default());
    let fields = HeaderMap::new();
    for (app, path) in [
        (&plain, "/"),
        (&plain, "//a/../%2f"),
        (&ruled, "/r50/x/y"),
        (&ruled, "//r50/%78"),
    ] {
        let request = get(path, &fields);
        let made = spent::during(|| _ = decide(app, &request));
        assert_eq!(made, 0, "{path}");
    }
}

/// Figures, not a check; how to run it stands beside those of look-ups.
#[test]
#[ignore = "for measuring"]
fn what_deciding_costs() {
    let with = |n: u64, settings| {
        let many = (0..n).map(|n| rule(&format!("/r{n}/x"), limit(n)));
        app(rules(settings, many.collect()))
    };
    let fields = HeaderMap::new();
    for (what, app, path) in [
        ("no rules", app(Routing::default()), "/some/path"),
        (
            "10 rules, none fits",
            with(10, Settings::default()),
            "/some/path",
        ),
        ("10 rules", with(10, Settings::default()), "/r5/x/some/path"),
        (
            "1000 rules",
            with(1000, Settings::default()),
            "/r500/x/some/path",
        ),
        (
            "1000 rules, odd path",
            with(1000, Settings::default()),
            "//r500/%78/some/path",
        ),
        ("allow list", with(0, only("203.0.113.0/24")), "/some/path"),
    ] {
        let request = get(path, &fields);
        let spent = spent::cpu_ns(|| {
            for _ in 0..1_000_000 {
                std::hint::black_box(decide(&app, std::hint::black_box(&request)));
            }
        });
        println!("{what:<22} {} ns", spent / 1_000_000);
    }
}
