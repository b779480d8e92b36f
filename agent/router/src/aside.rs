//! What is served beside the requests: metrics over a Unix socket and TCP, health over TCP. One thread for all.

use crate::config::Config;
use crate::metrics::{self, Gauges, Standing};
use crate::plain::{self, Answer, Listener};
use crate::reply::{Own, Reply};
use crate::thread::{Handle, Shared};
use crate::{control, health};
use anyhow::Context;
use http::{HeaderValue, Response, StatusCode, header};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Listeners that are bound, so that what is wrong with them is said at start.
pub(crate) struct Bound {
    socket: Option<UnixListener>,
    metrics: Option<TcpListener>,
    health: Option<TcpListener>,
}

/// The running thread.
pub(crate) struct Asides {
    /// Where metrics are read over TCP.
    pub metrics: Option<SocketAddr>,
    /// Where health is asked over TCP.
    pub health: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Binds what the configuration asks for.
///
/// # Errors
/// An address is taken, a path cannot be used.
pub(crate) fn bind(config: &Config) -> anyhow::Result<Bound> {
    let tcp = |address: Option<SocketAddr>, what: &str| {
        let bound = address.map(|a| {
            TcpListener::bind(a)
                .and_then(|l| l.set_nonblocking(true).map(|()| l))
                .with_context(|| {
                    format!("{what} cannot be served on {a}: is another server using the port?")
                })
        });
        bound.transpose()
    };
    Ok(Bound {
        socket: config
            .metrics
            .as_deref()
            .map(control::bind_socket)
            .transpose()?,
        metrics: tcp(config.metrics_listen, "metrics")?,
        health: tcp(config.health_listen, "health")?,
    })
}

/// Serves what is bound.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start(
    bound: Bound,
    shared: Arc<Shared>,
    threads: Vec<Handle>,
) -> anyhow::Result<Asides> {
    let address = |l: &Option<TcpListener>| l.as_ref().and_then(|l| l.local_addr().ok());
    let (metrics, health) = (address(&bound.metrics), address(&bound.health));
    let (stop, stopped) = watch::channel(false);
    let any = bound.socket.is_some() || metrics.is_some() || health.is_some();
    let thread = any.then(|| {
        crate::on_runtime("router-aside", move || async move {
            if let Err(e) = serve(bound, shared, threads, stopped).await {
                tracing::error!("metrics and health cannot be served: {e}");
            }
        })
    });
    Ok(Asides {
        metrics,
        health,
        stop,
        thread: thread.transpose()?,
    })
}

impl Asides {
    /// Ends the thread. Panics of it were reported when they happened.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

async fn serve(
    bound: Bound,
    shared: Arc<Shared>,
    threads: Vec<Handle>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let of_metrics: Answer = {
        let shared = shared.clone();
        Rc::new(move |method, path, _| scrape(&shared, &threads, method, path))
    };
    let of_health: Answer = Rc::new(move |method, _, query| {
        let table = shared.routes.load();
        let draining = shared.draining.load(Relaxed);
        health::report(&table, &table.front, draining, method, query)
    });
    let tokio_tcp = tokio::net::TcpListener::from_std;
    let mut all = Vec::new();
    if let Some(l) = bound.socket {
        all.push((
            Listener::Unix(tokio::net::UnixListener::from_std(l)?),
            of_metrics.clone(),
        ));
    }
    if let Some(l) = bound.metrics {
        all.push((Listener::Tcp(tokio_tcp(l)?), of_metrics));
    }
    if let Some(l) = bound.health {
        all.push((Listener::Tcp(tokio_tcp(l)?), of_health));
    }
    let tasks: Vec<_> = all
        .into_iter()
        .map(|(listener, answer)| {
            tokio::task::spawn_local(plain::serve(listener, answer, stop.clone()))
        })
        .collect();
    for task in tasks {
        // a panic was reported when it happened
        let _ = task.await;
    }
    Ok(())
}

fn scrape(shared: &Shared, threads: &[Handle], method: &str, path: &str) -> Reply {
    let (status, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => (
            StatusCode::OK,
            shared.metrics.render(&gauges(shared, threads)),
        ),
        ("GET" | "HEAD", _) => (
            StatusCode::NOT_FOUND,
            "The figures are at /metrics.\n".into(),
        ),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET and HEAD.\n".into(),
        ),
    };
    let mut reply = Response::new(Own::Bytes(body.into()));
    *reply.status_mut() = status;
    let kind = HeaderValue::from_static(metrics::TYPE);
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}

fn gauges(shared: &Shared, threads: &[Handle]) -> Gauges {
    let table = shared.routes.load();
    let apps = table.apps.iter().map(|app| Standing {
        name: app.name.to_string(),
        in_flight: app.targets.iter().map(|d| d.in_flight()).sum(),
        queued: u64::from(app.waiting.load(Relaxed)),
        targets: app.targets.len() as u64,
        quarantined: app.targets.iter().filter(|d| d.is_quarantined()).count() as u64,
    });
    Gauges {
        apps: apps.collect(),
        connections: threads
            .iter()
            .map(|t| t.connections.load(Relaxed) as u64)
            .sum(),
        table_version: table.version,
        draining: shared.draining.load(Relaxed),
    }
}
