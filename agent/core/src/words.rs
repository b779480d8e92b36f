//! Sentences that both the log and `ps` use.

use hokku_model::dyno::DynoRecord;

/// Where a web dyno listens instead of its port, and what to do about it.
pub(crate) fn listens_instead(record: &DynoRecord, listening: &[u16]) -> String {
    let port = record.port.map_or(String::new(), |p| format!(" ({p})"));
    match listening {
        [] => format!("It listens on no port at all: it has to listen on 0.0.0.0:$PORT{port}."),
        [one] if Some(*one) == record.port => {
            format!("It listens on port {one}, but gave no answer there.")
        }
        [one] => {
            format!("It listens on port {one} instead: it has to listen on 0.0.0.0:$PORT{port}.")
        }
        many => {
            let list: Vec<String> = many.iter().map(u16::to_string).collect();
            let list = list.join(", ");
            if record.port.is_some_and(|p| many.contains(&p)) {
                format!("It listens on ports {list}, but gave no answer on $PORT{port}.")
            } else {
                format!(
                    "It listens on ports {list} instead: it has to listen on 0.0.0.0:$PORT{port}."
                )
            }
        }
    }
}

/// A duration for a reader: "0.3 s", "42 s", "5 min", "3 h".
pub(crate) fn spell(d: std::time::Duration) -> String {
    let s = d.as_secs();
    match s {
        0..10 if d.subsec_millis() >= 100 => format!("{s}.{} s", d.subsec_millis() / 100),
        0..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => format!("{} h", s / 3600),
        _ => format!("{} days", s / 86_400),
    }
}
