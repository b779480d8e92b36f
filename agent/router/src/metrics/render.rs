//! Prometheus' text format, version 0.0.4: `# HELP`, `# TYPE`, and a line for each series.

use super::histogram::{BOUNDS, bound};
use super::table::{CLASSES, Count, Row, Times};
use std::fmt::Write;

/// The content type of what is rendered.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How an app stands at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub name: String,
    /// Requests and tunnels given to dynos and unfinished.
    pub in_flight: u64,
    /// Requests that wait for a dyno.
    pub queued: u64,
    pub targets: u64,
    /// Of these, in quarantine.
    pub quarantined: u64,
}

/// What is looked at when someone asks, not counted before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    pub apps: Vec<Standing>,
    /// Client connections and tunnels that are open.
    pub connections: u64,
    /// Version of the table that is served from.
    pub table_version: u64,
    /// Is the router about to end?
    pub draining: bool,
}

type Rows = [(String, Box<Row<u64>>)];

/// Figures that are 0 and were never anything else are left out, but for the sums per app.
pub(super) fn text(rows: &Rows, gauges: &Gauges) -> String {
    let mut out = String::with_capacity(4096 + rows.len() * 4096);
    let o = &mut out;
    head(
        o,
        "requests_total",
        "counter",
        "Requests that are over, by class of status.",
    );
    for (app, row) in rows {
        for (class, n) in row.classes.iter().enumerate().filter(|(_, n)| **n > 0) {
            let status = Label::Class(class);
            line(o, "requests_total", app, &[status], *n);
        }
    }
    head(
        o,
        "errors_total",
        "counter",
        "Requests that the router failed, by Heroku's code.",
    );
    for (app, row) in rows {
        for (code, n) in row.codes.iter().enumerate().filter(|(_, n)| **n > 0) {
            line(o, "errors_total", app, &[Label::Code(code)], *n);
        }
    }
    head(
        o,
        "service_seconds",
        "histogram",
        "From giving a request to a dyno until the end of its answer; no tunnels.",
    );
    for (app, row) in rows {
        for (class, times) in row.service.iter().enumerate().take(CLASSES) {
            histogram(o, "service_seconds", app, &[Label::Class(class)], times);
        }
    }
    head(
        o,
        "queue_seconds",
        "histogram",
        "From a request's arrival until a dyno was found for it.",
    );
    for (app, row) in rows {
        histogram(o, "queue_seconds", app, &[], &row.queue);
    }
    head(
        o,
        "connect_seconds",
        "histogram",
        "To get a connection to a dyno; a pooled one takes no time.",
    );
    for (app, row) in rows {
        histogram(o, "connect_seconds", app, &[], &row.connect);
    }
    for (name, what, help) in [
        (
            "received_bytes_total",
            Count::BytesIn,
            "Bytes of request bodies.",
        ),
        (
            "sent_bytes_total",
            Count::BytesOut,
            "Bytes of answers' bodies, as sent.",
        ),
        (
            "compression_saved_bytes_total",
            Count::Saved,
            "Bytes that compression saved.",
        ),
        (
            "retries_total",
            Count::Retries,
            "Further attempts after one that failed.",
        ),
        (
            "quarantines_total",
            Count::Quarantines,
            "Dynos that were put into quarantine.",
        ),
        (
            "tunnels_total",
            Count::TunnelsOpened,
            "Requests that became WebSockets or other tunnels.",
        ),
    ] {
        head(o, name, "counter", help);
        for (app, row) in rows {
            line(o, name, app, &[], row.count(what));
        }
    }
    head(
        o,
        "tunnels_open",
        "gauge",
        "WebSockets and other tunnels that are open.",
    );
    for (app, row) in rows {
        let open =
            (row.count(Count::TunnelsOpened)).saturating_sub(row.count(Count::TunnelsClosed));
        line(o, "tunnels_open", app, &[], open);
    }
    for (name, help, of) in [
        (
            "in_flight",
            "Requests and tunnels given to dynos and unfinished.",
            (|s| s.in_flight) as fn(&Standing) -> u64,
        ),
        ("queued", "Requests that wait for a dyno.", |s| s.queued),
        ("targets", "Dynos that requests may go to.", |s| s.targets),
        (
            "targets_quarantined",
            "Dynos that refused a connection and rest.",
            |s| s.quarantined,
        ),
    ] {
        head(o, name, "gauge", help);
        for standing in &gauges.apps {
            line(o, name, &standing.name, &[], of(standing));
        }
    }
    for (name, help, n) in [
        (
            "connections_open",
            "Client connections and tunnels that are open.",
            gauges.connections,
        ),
        (
            "table_version",
            "Version of the route table that is served from.",
            gauges.table_version,
        ),
        (
            "draining",
            "1 when the router is about to end.",
            u64::from(gauges.draining),
        ),
    ] {
        head(o, name, "gauge", help);
        let _ = writeln!(o, "{PREFIX}{name} {n}");
    }
    out
}

const PREFIX: &str = "hokku_router_";

#[derive(Clone, Copy)]
enum Label {
    Class(usize),
    Code(usize),
    /// A bucket's upper bound; `None`: no bound.
    Bound(Option<usize>),
}

// writing to a String cannot fail
fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(
        out,
        "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}"
    );
}

fn line(out: &mut String, name: &str, app: &str, labels: &[Label], value: u64) {
    labelled(out, name, "", app, labels);
    let _ = writeln!(out, " {value}");
}

/// All apps have but one process type that takes requests.
fn labelled(out: &mut String, name: &str, ending: &str, app: &str, labels: &[Label]) {
    let _ = write!(out, "{PREFIX}{name}{ending}{{app=\"");
    escape(out, app);
    out.push_str("\",process=\"web\"");
    for label in labels {
        let _ = match label {
            Label::Class(class) => write!(out, ",status=\"{}xx\"", class + 1),
            Label::Code(code) => write!(out, ",code=\"H{code:02}\""),
            Label::Bound(Some(bucket)) => write!(out, ",le=\"{}\"", Seconds(bound(*bucket))),
            Label::Bound(None) => write!(out, ",le=\"+Inf\""),
        };
    }
    out.push('}');
}

fn histogram(out: &mut String, name: &str, app: &str, labels: &[Label], times: &Times<u64>) {
    let all: u64 = times.buckets.iter().sum();
    if all == 0 {
        return;
    }
    let mut sum = 0;
    for (bucket, n) in times.buckets.iter().enumerate().take(BOUNDS) {
        sum += n;
        labelled_bucket(out, name, app, labels, Some(bucket));
        let _ = writeln!(out, " {sum}");
    }
    labelled_bucket(out, name, app, labels, None);
    let _ = writeln!(out, " {all}");
    labelled(out, name, "_sum", app, labels);
    let _ = writeln!(out, " {}", Seconds(times.sum));
    labelled(out, name, "_count", app, labels);
    let _ = writeln!(out, " {all}");
}

fn labelled_bucket(
    out: &mut String,
    name: &str,
    app: &str,
    labels: &[Label],
    bucket: Option<usize>,
) {
    let bound = Label::Bound(bucket);
    match labels {
        [one] => labelled(out, name, "_bucket", app, &[*one, bound]),
        _ => labelled(out, name, "_bucket", app, &[bound]),
    }
}

/// Backslash, quote and line end, as the format wants it.
fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Microseconds as seconds, exactly.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{micros:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}
