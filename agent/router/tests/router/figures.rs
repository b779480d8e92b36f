//! What Prometheus and load balancers are told, over sockets of their own.

use crate::rig::*;
use hokku_model::AppId;
use hokku_model::route::{AppState, HEALTH_PATH};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Status and body of an answer.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, line: &str) -> (u16, String, String) {
    // as AWS' load balancers ask: the Host is an address
    let text = format!("{line} HTTP/1.1\r\nHost: 10.0.0.7:80\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

async fn scrape(socket: &Path) -> String {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (status, head, body) = ask(stream, "GET /metrics").await;
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    body
}

fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines
        .map(|l| l.rsplit_once(' ').unwrap())
        .map(|(k, v)| (k, v.parse().unwrap()))
        .collect()
}

fn with_asides(c: &mut hokku_router::Config) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    c.metrics = Some(c.control.with_file_name("metrics.sock"));
    (c.metrics_listen, c.health_listen) = (Some(any), Some(any));
}

/// A rig that has served some requests of each kind.
async fn busy() -> (Rig, Dyno) {
    let limits = hokku_router::Limits {
        attempts: 2,
        ..short()
    };
    let mut rig = Rig::with(with_asides, limits).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    for _ in 0..3 {
        let r = c
            .ask("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        assert_eq!(r.status, 200);
    }
    assert_eq!(
        c.ask("GET / HTTP/1.1\r\nHost: none.test\r\n\r\n")
            .await
            .status,
        404
    );
    rig.app(AppState::Running, &[(2, dead_addr().await)]).await;
    assert_eq!(rig.get("/").await.status, 503);
    rig.running(&[(1, d.addr)]).await;
    (rig, d)
}

#[tokio::test]
async fn requests_appear_among_the_figures() {
    let (mut rig, _dyno) = busy().await;
    let socket = rig.dir.path().join("metrics.sock");
    let labels = "app=\"my-app\",process=\"web\"";
    let done = format!("hokku_router_requests_total{{{labels},status=\"2xx\"}}");
    let failed = format!("hokku_router_requests_total{{{labels},status=\"5xx\"}}");
    // a request is counted when it is over, which is a moment after its answer
    let mut text = scrape(&socket).await;
    for _ in 0..1000 {
        let seen = series(&text);
        if seen.get(done.as_str()) == Some(&3.0) && seen.get(failed.as_str()) == Some(&1.0) {
            break;
        }
        tokio::task::yield_now().await;
        text = scrape(&socket).await;
    }
    let seen = series(&text);
    for (key, value) in [
        (done, 3.0),
        (failed, 1.0),
        (
            format!("hokku_router_errors_total{{{labels},code=\"H21\"}}"),
            1.0,
        ),
        (
            "hokku_router_requests_total{app=\"\",process=\"web\",status=\"4xx\"}".into(),
            1.0,
        ),
        (
            format!("hokku_router_received_bytes_total{{{labels}}}"),
            15.0,
        ),
        (
            format!("hokku_router_service_seconds_count{{{labels},status=\"2xx\"}}"),
            3.0,
        ),
        (format!("hokku_router_targets{{{labels}}}"), 1.0),
        (format!("hokku_router_in_flight{{{labels}}}"), 0.0),
        (
            "hokku_router_table_version".into(),
            rig.table.version as f64,
        ),
        ("hokku_router_draining".into(), 0.0),
    ] {
        assert_eq!(seen.get(key.as_str()), Some(&value), "{key}\n{text}");
    }
    let sent = format!("hokku_router_sent_bytes_total{{{labels}}}");
    assert!(seen[sent.as_str()] > 0.0);
    let quarantines = format!("hokku_router_quarantines_total{{{labels}}}");
    assert!(seen[quarantines.as_str()] >= 1.0);
    let retries = format!("hokku_router_retries_total{{{labels}}}");
    assert!(seen[retries.as_str()] >= 1.0, "{text}");
    // the same over TCP; and nothing else there
    let metrics = rig.asides().0.unwrap();
    let over_tcp = ask(TcpStream::connect(metrics).await.unwrap(), "GET /metrics").await;
    assert!(over_tcp.2.contains("hokku_router_requests_total{"));
    for (line, status) in [("GET /", 404), ("POST /metrics", 405)] {
        let stream = TcpStream::connect(metrics).await.unwrap();
        assert_eq!(ask(stream, line).await.0, status, "{line}");
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // an app that is gone is gone here as well
    rig.table.apps.clear();
    rig.apply().await;
    assert!(!scrape(&socket).await.contains("my-app"));
}

#[tokio::test]
async fn load_balancers_may_ask_at_a_port_of_their_own() {
    let mut rig = Rig::with(with_asides, short()).await;
    let health = rig.asides().1.unwrap();
    let ask = async |line: &str| ask(TcpStream::connect(health).await.unwrap(), line).await;
    assert_eq!(ask("GET /").await.0, 503, "no table yet");
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    for line in [
        "GET /",
        &format!("GET {HEALTH_PATH}"),
        "GET /any?app=my-app",
    ] {
        let (status, head, body) = ask(line).await;
        assert_eq!(
            (status, body.contains("\"status\":\"ok\"")),
            (200, true),
            "{line} {body}"
        );
        assert!(head.contains("cache-control: no-store"));
    }
    let (status, _, body) = ask("HEAD /").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(ask("GET /?app=other").await.0, 404);
    rig.running(&[]).await;
    let (status, _, body) = ask("GET /").await;
    assert_eq!(status, 503);
    assert!(body.contains("1 of 1 apps"), "{body}");
    rig.table.front.health_app = Some(AppId(99));
    rig.apply().await;
    assert_eq!(ask("GET /").await.0, 503);
    assert_eq!(d.count(), 0, "no question reached the app");
}

/// The requests come first: a router starts, and takes the address when it is free.
#[tokio::test]
async fn an_address_that_is_taken_is_waited_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut rig = Rig::with(|c| c.health_listen = Some(address), short()).await;
    assert_eq!(rig.asides().1, None);
    rig.app(AppState::Stopped, &[]).await;
    assert_eq!(rig.get("/").await.status, 503, "requests are served");
    drop(taken);
    let mut stream = None;
    until("the address is taken over", || {
        stream = std::net::TcpStream::connect(address).ok();
        stream.is_some()
    })
    .await;
    let stream = stream.unwrap();
    stream.set_nonblocking(true).unwrap();
    let answer = ask(TcpStream::from_std(stream).unwrap(), "GET /").await;
    assert_eq!(answer.0, 200, "an app that is to be stopped is no fault");
}

/// Prometheus' own parser reads what is served.
#[tokio::test]
#[ignore = "slow: run by .ci/run"]
async fn prometheus_own_parser_reads_it() {
    let (rig, _dyno) = busy().await;
    let text = scrape(&rig.dir.path().join("metrics.sock")).await;
    let venv = rig.dir.path().join("venv");
    let run = |program: &Path, args: &[&str]| {
        let done = std::process::Command::new(program)
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{}: {said}", program.display());
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let text_file = rig.dir.path().join("metrics.txt");
    std::fs::write(&text_file, &text).unwrap();
    run(
        Path::new("/usr/bin/python3"),
        &["-m", "venv", venv.to_str().unwrap()],
    );
    let python = venv.join("bin/python");
    run(
        &python,
        &["-m", "pip", "install", "-q", "prometheus_client==0.26.0"],
    );
    let script = "
import sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = {f.name: f for f in parse(open(sys.argv[1]).read())}
for f in families.values():
    print(f.name, f.type, len(f.samples))
    assert f.documentation, f.name
times = families['hokku_router_service_seconds']
assert times.type == 'histogram'
by_class = {}
for s in times.samples:
    if s.name.endswith('_bucket'):
        by_class.setdefault(s.labels['status'], []).append((float(s.labels['le']), s.value))
for buckets in by_class.values():
    assert buckets == sorted(buckets) and buckets[-1][0] == float('inf'), buckets
    assert [v for _, v in buckets] == sorted(v for _, v in buckets)
";
    let said = run(&python, &["-c", script, text_file.to_str().unwrap()]);
    for family in [
        "hokku_router_requests counter",
        "hokku_router_in_flight gauge",
        "hokku_router_queue_seconds histogram",
    ] {
        assert!(said.contains(family), "{said}");
    }
}
