//! Loads. Each is requests a second and the app's speed at a second.

use crate::world::Trace;

fn wave(t: u32, period: f64) -> f64 {
    (f64::from(t) / period * std::f64::consts::TAU).sin()
}

/// Repeatable noise of -1 to 1.
fn noise(t: u32) -> f64 {
    let x = (u64::from(t) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    f64::from(((x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as u32 % 2001) / 1000.0
        - 1.0
}

pub const ALL: &[Trace] = &[
    Trace {
        name: "step",
        seconds: 3600,
        load: |t| (if t < 600 { 40.0 } else { 400.0 }, 1.0),
    },
    Trace {
        name: "ramp",
        seconds: 3600,
        load: |t| (40.0 + f64::from(t.min(1800)) * 0.25, 1.0),
    },
    Trace {
        name: "spike",
        seconds: 3600,
        load: |t| {
            (
                if (900..1020).contains(&t) {
                    500.0
                } else {
                    50.0
                },
                1.0,
            )
        },
    },
    Trace {
        name: "flapping",
        seconds: 7200,
        load: |t| (if t / 120 % 2 == 0 { 60.0 } else { 200.0 }, 1.0),
    },
    Trace {
        name: "day",
        seconds: 14_400,
        load: |t| {
            (
                (200.0 + 160.0 * wave(t, 14_400.0)) * (1.0 + 0.15 * noise(t)),
                1.0,
            )
        },
    },
    // answers 500 at once: more dynos mend nothing
    Trace {
        name: "failing app",
        seconds: 3600,
        load: |_| (60.0, 1.0),
    },
    // a slow database for ten minutes: the app serves a twentieth
    Trace {
        name: "stuck app",
        seconds: 3600,
        load: |t| (120.0, if (900..1500).contains(&t) { 0.05 } else { 1.0 }),
    },
];
