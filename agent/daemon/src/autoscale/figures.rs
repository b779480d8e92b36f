//! What the router counted of each app, read where Prometheus reads it too: the socket in the router's folder.

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{collections::BTreeMap, path::Path, time::Duration};
use tokio::{net::UnixStream, time::timeout};

/// To connect, ask and read.
const TIME: Duration = Duration::from_secs(3);

/// The most that is read: thousands of apps.
const MOST: usize = 64 << 20;

/// The codes of requests that found no dyno in time (Dev Center "Error Codes"): backlog too deep, backend connection
/// timeout, boot timeout, no dyno; not H12, which says that an app is slow, whatever the number of its dynos.
const REFUSED: [&str; 5] = ["H11", "H12", "H19", "H20", "H21"];

/// Counted since the router began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Requests that are over.
    pub requests: u64,
    /// Of these, failed by the router for want of capacity.
    pub refused: u64,
    /// Upper bounds in seconds, and how many requests waited at most so long.
    pub queue: Vec<(f64, u64)>,
    /// Seconds that requests were waiting or being served, added up.
    pub busy: f64,
    /// Requests being served or waiting now.
    pub now: u64,
}

/// The difference of two readings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Since {
    /// Requests that ended.
    pub requests: u32,
    /// Of these, refused.
    pub refused: u32,
    /// 95th percentile of the wait in milliseconds: the upper bound of its bucket.
    pub queue_ms: f64,
    /// Requests at once, mean.
    pub inflight: f64,
}

/// Asks the router whose socket it is.
///
/// # Errors
/// Nobody answers there, or not in time.
pub async fn ask(socket: &Path) -> anyhow::Result<BTreeMap<String, Figures>> {
    let text = timeout(TIME, get(socket))
        .await
        .context("the router took too long to tell its figures")??;
    Ok(read(&text))
}

async fn get(socket: &Path) -> anyhow::Result<String> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("nobody listens at {}", socket.display()))?;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get("/metrics")
        .header("host", "router")
        .header("connection", "close");
    let answer = send
        .send_request(request.body(Empty::<bytes::Bytes>::new())?)
        .await?;
    ensure!(
        answer.status().is_success(),
        "the router answered {} when asked for its figures",
        answer.status()
    );
    let body = Limited::new(answer.into_body(), MOST).collect().await;
    driver.abort();
    let body = body.map_err(|e| anyhow::anyhow!("the router's figures broke off: {e}"))?;
    String::from_utf8(body.to_bytes().into()).context("the router's figures are no text")
}

/// Reads Prometheus' text; what it does not know it leaves out.
fn read(text: &str) -> BTreeMap<String, Figures> {
    let mut all: BTreeMap<String, Figures> = BTreeMap::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("hokku_router_")) {
        let Some((name, labels, value)) = split(line) else {
            continue;
        };
        let Some(app) = label(labels, "app").filter(|a| !a.is_empty()) else {
            continue;
        };
        let f = all.entry(app.to_owned()).or_default();
        let number = value as u64;
        match name {
            "requests_total" => f.requests += number,
            "errors_total" if label(labels, "code").is_some_and(|c| REFUSED.contains(&c)) => {
                f.refused += number
            }
            "service_seconds_sum" | "queue_seconds_sum" => f.busy += value,
            "queue_seconds_bucket" => {
                let bound =
                    label(labels, "le").and_then(|b| b.trim_start_matches('+').parse().ok());
                f.queue.extend(bound.map(|b: f64| (b, number)));
            }
            "in_flight" | "queued" => f.now += number,
            _ => {}
        }
    }
    all
}

/// `name{labels} value`
fn split(line: &str) -> Option<(&str, &str, f64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    Some((name, labels, value.trim().parse().ok()?))
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels
        .split(',')
        .find_map(|l| l.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

impl Figures {
    /// What happened since an earlier reading. `None`: another router counts now.
    pub fn since(&self, before: &Figures, seconds: f64) -> Option<Since> {
        let requests = self.requests.checked_sub(before.requests)?;
        let refused = self.refused.checked_sub(before.refused)?;
        let earlier = |bound: f64| {
            before
                .queue
                .iter()
                .find(|(b, _)| *b == bound)
                .map_or(0, |(_, n)| *n)
        };
        let mut waits = Vec::with_capacity(self.queue.len());
        for (bound, n) in &self.queue {
            waits.push((*bound, n.checked_sub(earlier(*bound))?));
        }
        let all = waits.last().map_or(0, |(_, n)| *n);
        let slow = waits.iter().find(|(_, n)| *n as f64 >= 0.95 * all as f64);
        let longest = waits
            .iter()
            .rev()
            .map(|(b, _)| *b)
            .find(|b| b.is_finite())
            .unwrap_or(0.0);
        let queue_ms = match slow {
            Some((bound, _)) if all > 0 => bound.min(longest) * 1000.0,
            _ => 0.0,
        };
        // what has not ended yet is in no sum
        let inflight = ((self.busy - before.busy) / seconds).max(self.now as f64);
        Some(Since {
            requests: u32::try_from(requests).unwrap_or(u32::MAX),
            refused: u32::try_from(refused).unwrap_or(u32::MAX),
            queue_ms,
            inflight,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP hokku_router_requests_total Requests.
hokku_router_requests_total{app="shop",process="web",status="2xx"} 90
hokku_router_requests_total{app="shop",process="web",status="5xx"} 10
hokku_router_requests_total{app="",process="web",status="4xx"} 7
hokku_router_errors_total{app="shop",process="web",code="H11"} 4
hokku_router_errors_total{app="shop",process="web",code="H13"} 2
hokku_router_service_seconds_sum{app="shop",process="web",status="2xx"} 12.5
hokku_router_queue_seconds_bucket{app="shop",process="web",le="0.001"} 80
hokku_router_queue_seconds_bucket{app="shop",process="web",le="0.096"} 96
hokku_router_queue_seconds_bucket{app="shop",process="web",le="98.304"} 96
hokku_router_queue_seconds_bucket{app="shop",process="web",le="+Inf"} 100
hokku_router_queue_seconds_sum{app="shop",process="web"} 0.5
hokku_router_in_flight{app="shop",process="web"} 3
hokku_router_queued{app="shop",process="web"} 1
hokku_router_connections_open 5
"#;

    #[test]
    fn the_router_s_text_is_read() {
        let all = read(TEXT);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["shop"]);
        let f = &all["shop"];
        assert_eq!((f.requests, f.refused, f.now, f.busy), (100, 4, 4, 13.0));
        let since = f.since(&Figures::default(), 5.0).unwrap();
        assert_eq!(
            (since.requests, since.refused, since.queue_ms),
            (100, 4, 96.0)
        );
        assert_eq!(since.inflight, 4.0, "four now are more than 13 s in 5 s");
        assert_eq!(
            f.since(f, 5.0).unwrap(),
            Since {
                inflight: 4.0,
                ..Since::default()
            }
        );
        assert_eq!(
            Figures::default().since(f, 5.0),
            None,
            "a new router counts from 0"
        );
    }

    #[test]
    fn odd_lines_are_left_out() {
        assert!(
            read("hokku_router_requests_total{app=\"x\n} 1\nhokku_router_in_flight 5\nx{} 1\n")
                .is_empty()
        );
    }
}
