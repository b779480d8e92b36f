//! Memory above the soft limit: what is said, and when a dyno is replaced for it.

use crate::observed::{DynoState, Observed};
use hokku_model::{
    DynoId, Micros,
    code::{R14, R15},
    route::Passing,
};

/// Heroku's two lines (Dev Center "Error Codes", R14): `Process running mem=1028M(103.3%)`, and the code.
pub fn r14(used: u64, soft: u64) -> [String; 2] {
    let percent = used as f64 * 100.0 / soft.max(1) as f64;
    [
        format!("Process running mem={}M({percent:.1}%)", used >> 20),
        format!("Error {} ({})", R14.code, R14.desc),
    ]
}

/// The line that names the requests in flight: `Memory quota exceeded with 2 requests in flight: GET /a (3.2 s), …`.
pub fn in_flight(count: usize, requests: &[Passing]) -> String {
    let what = match count {
        0 => return "Memory quota exceeded with no requests in flight".into(),
        1 => "1 request".to_owned(),
        n => format!("{n} requests"),
    };
    let clean = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).collect() };
    let one = |p: &Passing| {
        let seconds = p.ms as f64 / 1000.0;
        format!("{} {} ({seconds:.1} s)", clean(&p.method), clean(&p.path))
    };
    let shown: Vec<String> = requests.iter().map(one).collect();
    let more = match count.saturating_sub(requests.len()) {
        0 => String::new(),
        n => format!(", and {n} more"),
    };
    format!(
        "Memory quota exceeded with {what} in flight: {}{more}",
        shown.join(", ")
    )
}

/// The line at the hard limit.
pub fn r15() -> String {
    format!("Error {} ({})", R15.code, R15.desc)
}

/// Is this dyno, which is above its soft limit, to be replaced now? Only where that was asked for, after
/// [`Waits::memory_restart`](crate::limits::Waits) at work, and while nothing else of the app's formation comes or goes: a leak in all dynos
/// at once replaces one after the other.
pub fn to_replace(observed: &Observed, dyno: DynoId, now: Micros) -> bool {
    let Some(d) = observed.dynos.get(&dyno) else {
        return false;
    };
    let DynoState::Up { since } = d.state else {
        return false;
    };
    let rests =
        |o: &crate::observed::Dyno| o.record.app != d.record.app || o.record.oneoff || o.serves();
    d.record.quota.memory_restart
        && !d.record.oneoff
        && !d.stop_asked
        && now.since(since) >= observed.waits.memory_restart
        && observed.dynos.values().all(rests)
}
