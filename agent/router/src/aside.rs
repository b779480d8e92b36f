//! What is served beside the requests: metrics over a Unix socket and TCP, health over TCP. One thread for all.

use crate::config::Config;
use crate::metrics::{self, Gauges, Standing};
use crate::plain::{self, Answer, Listener};
use crate::reply::{Own, Reply};
use crate::thread::{Handle, Shared};
use crate::{control, health};
use http::{HeaderValue, Response, StatusCode, header};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Between two tries to bind what is taken.
const AGAIN: Duration = Duration::from_secs(1);

/// Where something is served.
#[derive(Clone)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Tcp(address) => write!(f, "{address}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Bound, not yet part of a runtime.
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Place {
    fn bind(&self) -> anyhow::Result<Bound> {
        Ok(match self {
            Place::Unix(path) => Bound::Unix(control::bind_socket(path)?),
            Place::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Bound::Tcp(listener)
            }
        })
    }
}

/// One thing to serve. Requests never wait for it: what can't be bound, because the router before this one still has it
/// or for a mistake in the settings, is tried again until it can.
struct Aside {
    what: &'static str,
    place: Place,
    bound: Option<Bound>,
}

impl Aside {
    fn new(what: &'static str, place: Place) -> Aside {
        let bound = place.bind();
        if let Err(e) = &bound {
            tracing::warn!("{what} cannot be served at {place} yet: {e:#}. It is tried again.");
        }
        Aside {
            what,
            place,
            bound: bound.ok(),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        match &self.bound {
            Some(Bound::Tcp(listener)) => listener.local_addr().ok(),
            Some(Bound::Unix(_)) | None => None,
        }
    }

    async fn serve(mut self, answer: Answer, mut stop: watch::Receiver<bool>) {
        let bound = loop {
            if let Some(bound) = self.bound.take().or_else(|| self.place.bind().ok()) {
                break bound;
            }
            tokio::select! {
                // a lost sender means stop as well
                _ = stop.wait_for(|s| *s) => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        };
        let listener = match bound {
            Bound::Tcp(l) => tokio::net::TcpListener::from_std(l).map(Listener::Tcp),
            Bound::Unix(l) => tokio::net::UnixListener::from_std(l).map(Listener::Unix),
        };
        match listener {
            Ok(listener) => plain::serve(listener, answer, stop).await,
            Err(e) => tracing::error!("{} cannot be served at {}: {e}", self.what, self.place),
        }
    }
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

/// Serves what the configuration asks for.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start(
    config: Wanted,
    shared: Arc<Shared>,
    threads: Vec<Handle>,
) -> anyhow::Result<Asides> {
    let socket = config.socket.map(|p| Aside::new("metrics", Place::Unix(p)));
    let metrics = config.metrics.map(|a| Aside::new("metrics", Place::Tcp(a)));
    let health = config.health.map(|a| Aside::new("health", Place::Tcp(a)));
    let address = |a: &Option<Aside>| a.as_ref().and_then(Aside::address);
    let (at_metrics, at_health) = (address(&metrics), address(&health));
    let (stop, stopped) = watch::channel(false);
    let any = socket.is_some() || metrics.is_some() || health.is_some();
    let thread = any.then(|| {
        crate::on_runtime("router-aside", move || async move {
            let of_metrics: Answer = {
                let shared = shared.clone();
                Rc::new(move |method, path, _| scrape(&shared, &threads, method, path))
            };
            let of_health: Answer = Rc::new(move |method, _, query| {
                let table = shared.routes.load();
                let draining = shared.draining.load(Relaxed);
                health::report(&table, &table.front, draining, method, query)
            });
            let tasks: Vec<_> = [
                (socket, &of_metrics),
                (metrics, &of_metrics),
                (health, &of_health),
            ]
            .into_iter()
            .filter_map(|(aside, answer)| Some((aside?, answer.clone())))
            .map(|(aside, answer)| tokio::task::spawn_local(aside.serve(answer, stopped.clone())))
            .collect();
            for task in tasks {
                // a panic was reported when it happened
                let _ = task.await;
            }
        })
    });
    Ok(Asides {
        metrics: at_metrics,
        health: at_health,
        stop,
        thread: thread.transpose()?,
    })
}

/// What the configuration asks for.
pub(crate) struct Wanted {
    socket: Option<PathBuf>,
    metrics: Option<SocketAddr>,
    health: Option<SocketAddr>,
}

impl Wanted {
    pub fn of(config: &Config) -> Wanted {
        Wanted {
            socket: config.metrics.clone(),
            metrics: config.metrics_listen,
            health: config.health_listen,
        }
    }
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
