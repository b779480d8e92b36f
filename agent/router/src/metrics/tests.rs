//! Figures as a scrape sees them.

use super::*;
use hokku_model::code;
use std::collections::BTreeMap;

fn name(text: &str) -> AppName {
    text.parse().unwrap()
}

/// Reads the text format: series to value. Every line must be one that the format knows.
fn read(text: &str) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    let mut series = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                kinds.insert(name.to_owned(), kind).is_none(),
                "{name} twice"
            );
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (key, value) = line.rsplit_once(' ').unwrap();
        let name = key.split('{').next().unwrap();
        let known = ["", "_bucket", "_sum", "_count"].iter().any(|end| {
            name.strip_suffix(end)
                .is_some_and(|n| kinds.contains_key(n))
        });
        assert!(known, "{line} belongs to no family");
        let value: f64 = value.parse().unwrap();
        assert!(
            series.insert(key.to_owned(), value).is_none(),
            "{key} twice"
        );
    }
    series
}

#[test]
fn requests_are_counted_by_app_class_and_code() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.recorder(), metrics.recorder());
    let app = metrics.slot(AppId(1), &name("my-app"));
    for (recorder, times) in [(&one, 3), (&two, 4)] {
        for _ in 0..times {
            recorder.record(
                app,
                &Finished {
                    status: 200,
                    queue: 100,
                    connect: Some(0),
                    service: Some(18_000),
                    bytes_in: 5,
                    bytes_out: 13,
                    saved: 50,
                    ..Finished::default()
                },
            );
        }
    }
    one.record(
        app,
        &Finished {
            status: 503,
            code: Some(code::H12),
            service: Some(30_000_000),
            retries: 2,
            ..Finished::default()
        },
    );
    one.count(app, Count::TunnelsOpened, 1);
    one.count(app, Count::TunnelsOpened, 1);
    one.record(
        app,
        &Finished {
            status: 101,
            tunnel: true,
            service: Some(1),
            ..Finished::default()
        },
    );
    one.record(
        NO_APP,
        &Finished {
            status: 404,
            ..Finished::default()
        },
    );
    let gauges = Gauges {
        apps: vec![Standing {
            name: "my-app".into(),
            in_flight: 3,
            queued: 1,
            targets: 2,
            quarantined: 1,
        }],
        connections: 9,
        table_version: 7,
        draining: false,
    };
    let seen = read(&metrics.render(&gauges));
    let of = |key: &str| seen.get(&format!("hokku_router_{key}")).copied();
    let labels = "app=\"my-app\",process=\"web\"";
    for (key, value) in [
        (format!("requests_total{{{labels},status=\"2xx\"}}"), 7.0),
        (format!("requests_total{{{labels},status=\"5xx\"}}"), 1.0),
        (
            "requests_total{app=\"\",process=\"web\",status=\"4xx\"}".into(),
            1.0,
        ),
        (format!("errors_total{{{labels},code=\"H12\"}}"), 1.0),
        (
            format!("service_seconds_count{{{labels},status=\"2xx\"}}"),
            7.0,
        ),
        (
            format!("service_seconds_sum{{{labels},status=\"2xx\"}}"),
            0.126,
        ),
        (
            format!("service_seconds_bucket{{{labels},status=\"2xx\",le=\"0.016\"}}"),
            0.0,
        ),
        (
            format!("service_seconds_bucket{{{labels},status=\"2xx\",le=\"0.024\"}}"),
            7.0,
        ),
        (
            format!("service_seconds_bucket{{{labels},status=\"5xx\",le=\"+Inf\"}}"),
            1.0,
        ),
        (format!("connect_seconds_count{{{labels}}}"), 7.0),
        (format!("queue_seconds_count{{{labels}}}"), 9.0),
        (format!("received_bytes_total{{{labels}}}"), 35.0),
        (format!("sent_bytes_total{{{labels}}}"), 91.0),
        (format!("compression_saved_bytes_total{{{labels}}}"), 350.0),
        (format!("retries_total{{{labels}}}"), 2.0),
        (format!("tunnels_total{{{labels}}}"), 2.0),
        (format!("tunnels_open{{{labels}}}"), 1.0),
        (format!("in_flight{{{labels}}}"), 3.0),
        (format!("targets_quarantined{{{labels}}}"), 1.0),
        ("connections_open".into(), 9.0),
        ("table_version".into(), 7.0),
    ] {
        assert_eq!(of(&key), Some(value), "{key}");
    }
    let tunnel = format!("service_seconds_count{{{labels},status=\"1xx\"}}");
    assert_eq!(of(&tunnel), None, "tunnels are no service time");
}

#[test]
fn a_slot_that_changes_hands_begins_at_nothing() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder();
    let ok = Finished {
        status: 200,
        service: Some(1000),
        ..Finished::default()
    };
    let old = metrics.slot(AppId(1), &name("old"));
    recorder.record(old, &ok);
    recorder.record(old, &ok);
    metrics.keep(|_| false);
    let new = metrics.slot(AppId(2), &name("new"));
    assert_eq!(new, old);
    recorder.record(new, &ok);
    let seen = read(&metrics.render(&Gauges::default()));
    let of = |app: &str| {
        let key =
            format!("hokku_router_requests_total{{app=\"{app}\",process=\"web\",status=\"2xx\"}}");
        seen.get(&key).copied()
    };
    assert_eq!((of("old"), of("new")), (None, Some(1.0)));
    let sum = "hokku_router_service_seconds_sum{app=\"new\",process=\"web\",status=\"2xx\"}";
    assert_eq!(seen[sum], 0.001);
}

#[test]
fn apps_beyond_the_bound_share_a_row() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder();
    let mut last = 0;
    for n in 0..=SLOTS {
        last = metrics.slot(AppId(n as u128), &name(&format!("app-{n}")));
        recorder.record(
            last,
            &Finished {
                status: 204,
                ..Finished::default()
            },
        );
    }
    assert_eq!(last, OTHERS);
    let seen = read(&metrics.render(&Gauges::default()));
    assert_eq!(
        seen["hokku_router_requests_total{app=\"(others)\",process=\"web\",status=\"2xx\"}"],
        3.0
    );
    // a slot from nowhere harms nobody
    recorder.record(u32::MAX, &Finished::default());
}

#[test]
fn a_scrape_beside_a_writer_sees_whole_figures() {
    let metrics = Metrics::new();
    let slot = metrics.slot(AppId(1), &name("my-app"));
    let recorder = metrics.recorder();
    let key = "hokku_router_requests_total{app=\"my-app\",process=\"web\",status=\"2xx\"}";
    std::thread::scope(|s| {
        let writer = s.spawn(move || {
            for _ in 0..50_000 {
                recorder.record(
                    slot,
                    &Finished {
                        status: 200,
                        ..Finished::default()
                    },
                );
            }
        });
        let mut before = 0.0;
        while !writer.is_finished() {
            let now = read(&metrics.render(&Gauges::default()))
                .get(key)
                .copied()
                .unwrap_or(0.0);
            assert!(now >= before, "a counter never goes back");
            before = now;
        }
    });
    assert_eq!(read(&metrics.render(&Gauges::default()))[key], 50_000.0);
}
