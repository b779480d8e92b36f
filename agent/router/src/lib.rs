//! The data plane: takes HTTP requests, finds the app by its host name, gives each request to one of the app's dynos
//! and passes bytes on in both directions. Its own process, unprivileged, alive while the control plane is not.
//!
//! What it does: routes by the last table it was given; waits, retries and fails with Heroku's codes; tunnels; drains;
//! logs one line per request. What it never does: decide when a dyno gets traffic (the agent's tables say so), start or
//! signal processes, keep a body in memory (but for the bounded cache of compressed ones).
//! Who calls it: `hokkud router` calls [`serve`]; the agent talks to it through [`control_client`].
//! Tests: beside the code, and with real sockets in `tests/`.
//!
//! One acceptor hands connections to threads that share nothing but the table (`accept`, `thread`). A request goes
//! through `conn` (HTTP/1 or 2), `framing`, `headers`, `client`, `table` (`hosts`, `path`, `prefix`), `rules`, `pick`,
//! `affinity`, `pool`, `forward`, `compress`, `body`; or
//! `upgrade` when it becomes a tunnel. Before that `proxy_protocol` and `tls` greet the client. `flight` holds its deadlines and writes its line to `log`. `control` and `drain` are the agent's
//! side; `snapshot` keeps the table over a restart.

mod accept;
#[allow(dead_code, reason = "the data path takes them up next")]
mod affinity;
mod aside;
mod body;
#[allow(dead_code, reason = "the data path takes them up next")]
mod client;
mod clock;
mod compress;
mod config;
mod conn;
mod control;
pub mod control_client;
mod drain;
mod dyno;
#[allow(dead_code, reason = "the data path calls it next")]
mod files;
mod flight;
mod forward;
mod framing;
mod headers;
#[allow(dead_code, reason = "the data path asks it next")]
mod health;
mod hosts;
mod lines;
mod log;
mod logfile;
mod metrics;
mod nets;
#[allow(dead_code, reason = "the data path asks for an app's own pages next")]
mod page;
mod path;
mod pick;
mod plain;
mod pool;
mod prefix;
mod proxy_protocol;
#[allow(dead_code, reason = "the rooms that answer by themselves come next")]
mod reply;
#[allow(dead_code, reason = "the rooms that answer by themselves come next")]
mod request;
#[allow(dead_code, reason = "the data path takes them up next")]
mod rules;
mod slots;
mod snapshot;
#[cfg(test)]
mod spent;
#[allow(dead_code, reason = "the data path takes them up next")]
mod table;
mod thread;
mod tls;
mod upgrade;
mod websocket;
mod wire;

pub use config::{Config, Limits};
pub use tls::TlsCounts;

use accept::Via;
use anyhow::Context;
use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use tokio::sync::{Notify, watch};

/// Batches of log lines that may wait for the disk.
const LOG_QUEUE: usize = 256;

/// A router that runs on threads of its own.
pub struct Router {
    listen: Vec<SocketAddr>,
    listen_tls: Vec<SocketAddr>,
    tls: Arc<tls::Tls>,
    threads: Vec<(thread::Handle, JoinHandle<()>)>,
    stop_accepting: watch::Sender<bool>,
    acceptor: JoinHandle<()>,
    stop_control: watch::Sender<bool>,
    control: JoinHandle<()>,
    writer: JoinHandle<()>,
    asides: aside::Asides,
    shared: Arc<thread::Shared>,
}

/// Runs a router until SIGTERM or SIGINT; then takes no more connections, lets what is in flight finish within
/// [`Limits::stop`], and returns.
///
/// # Errors
/// When it cannot start: an address is taken, a folder is missing, another router answers on the control socket.
pub fn serve(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let wait = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        // armed before the first request is taken
        let (mut term, mut int) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let router = start(config)?;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        Ok::<_, anyhow::Error>(router)
    });
    wait?.stop();
    Ok(())
}

/// Starts a router and returns at once.
///
/// # Errors
/// As [`serve`].
pub fn start(config: Config) -> anyhow::Result<Router> {
    raise_file_limit();
    let listeners = bind(&config)?;
    let at = |wanted: Via| {
        let found = listeners.iter().filter(|(_, via)| *via == wanted);
        found
            .map(|(l, _)| l.local_addr())
            .collect::<Result<Vec<_>, _>>()
    };
    let (listen, listen_tls) = (at(Via::Plain)?, at(Via::Tls)?);
    std::fs::create_dir_all(&config.logs).with_context(|| {
        format!(
            "the folder of the request logs, {}, cannot be made",
            config.logs.display()
        )
    })?;
    let socket = control::bind_socket(&config.control)?;
    let aside = aside::Wanted::of(&config);

    let empty = Arc::new(Notify::new());
    let metrics = metrics::Metrics::new();
    let key = affinity::Key::load(&config.snapshot.with_file_name("affinity.key"));
    let mut register = table::Register::new(empty.clone(), key, metrics.clone());
    let stored = snapshot::load(&config.snapshot, "route");
    let tls = Arc::new(tls::Tls::new()?);
    let certs_file = config.snapshot.with_file_name("certs.json");
    let taken = tls.take(&snapshot::load(&certs_file, "certificate"));
    for refused in &taken.refused {
        tracing::warn!("a stored certificate cannot be used: {refused}");
    }
    let routes = ArcSwap::from_pointee(register.build(&stored));
    let limit = config.limits.connections;
    let shared = Arc::new(thread::Shared {
        routes,
        limits: config.limits,
        trust_loopback: config.trust_loopback_forwarded,
        metrics,
        draining: AtomicBool::new(false),
        tls: tls.clone(),
    });

    let (lines, batches) = std::sync::mpsc::sync_channel(LOG_QUEUE);
    let logs = config.logs;
    let writer = spawn("router-log", move || logfile::write_all(&logs, batches))?;
    let mut threads = Vec::new();
    for number in 0..config.threads.clamp(1, 256) {
        threads.push(
            thread::start(number, shared.clone(), lines.clone())
                .context("starting a router thread")?,
        );
    }
    drop(lines);
    let handles: Vec<_> = threads.iter().map(|(h, _)| h.clone()).collect();

    let snapshot = snapshot::Writer::start(config.snapshot, "route")
        .context("starting the snapshot thread")?;
    let certs = snapshot::Writer::start(certs_file, "certificate")
        .context("starting the snapshot thread of the certificates")?;
    let asides = aside::start(aside, shared.clone(), handles.clone())?;
    let control = control::Control::new(
        shared.clone(),
        handles.clone(),
        register,
        snapshot,
        certs,
        listen.clone(),
        empty,
    );
    let (stop_control, stopped) = watch::channel(false);
    let control = on_runtime("router-control", move || async move {
        match tokio::net::UnixListener::from_std(socket) {
            Ok(socket) => control.run(socket, stopped).await,
            Err(e) => tracing::error!("the control socket cannot be used: {e}"),
        }
    })?;
    let (stop_accepting, stopped) = watch::channel(false);
    let acceptor = on_runtime("router-accept", move || async move {
        if let Err(e) = accept::accept_all(listeners, handles, limit, stopped).await {
            tracing::error!("the listening sockets cannot be used: {e}");
        }
    })?;
    Ok(Router {
        listen,
        listen_tls,
        tls,
        threads,
        stop_accepting,
        acceptor,
        stop_control,
        control,
        writer,
        asides,
        shared,
    })
}

impl Router {
    /// Where it takes requests.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Where metrics and health are answered over TCP, as far as that was asked for.
    pub fn asides(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.asides.metrics, self.asides.health)
    }

    /// Where it takes requests over TLS.
    pub fn listen_tls(&self) -> &[SocketAddr] {
        &self.listen_tls
    }

    /// How TLS handshakes went so far.
    pub fn tls_counts(&self) -> TlsCounts {
        self.tls.counts()
    }

    /// Takes no more connections, lets what is in flight finish within [`Limits::stop`], and waits for that. WebSockets
    /// are asked to close at once.
    pub fn stop(self) {
        let Router {
            threads,
            stop_accepting,
            acceptor,
            stop_control,
            control,
            writer,
            asides,
            shared,
            ..
        } = self;
        // panics of these threads were reported when they happened
        shared.draining.store(true, Relaxed);
        let _ = stop_accepting.send(true);
        let _ = acceptor.join();
        for (handle, _) in &threads {
            let _ = handle.orders.blocking_send(thread::Order::Stop);
        }
        for (handle, thread) in threads {
            drop(handle);
            let _ = thread.join();
        }
        asides.stop();
        let _ = stop_control.send(true);
        let _ = control.join();
        let _ = writer.join();
    }
}

fn bind(config: &Config) -> anyhow::Result<Vec<(TcpListener, Via)>> {
    let mut all = Vec::new();
    let ways = [
        (&config.listeners, &config.listen, Via::Plain),
        (&config.listeners_tls, &config.listen_tls, Via::Tls),
    ];
    for (bound, addresses, via) in ways {
        for given in bound {
            let listener = given
                .try_clone()
                .context("a listening socket that was handed over cannot be used")?;
            all.push((listener, via));
        }
        for address in addresses {
            let listener = TcpListener::bind(address).with_context(|| {
                format!("{address} cannot be listened on: is another server using the port?")
            })?;
            all.push((listener, via));
        }
    }
    anyhow::ensure!(
        !all.is_empty(),
        "the router was given no address to listen on"
    );
    Ok(all)
}

/// Each request needs two descriptors; the usual soft limit of 1024 is soon reached.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(e) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("the limit of open files stays at {soft}: {e}");
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .with_context(|| format!("starting the thread {name}"))
}

/// A thread with a small runtime of its own.
fn on_runtime<F, Fut>(name: &str, run: F) -> anyhow::Result<JoinHandle<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    spawn(name, move || {
        tokio::task::LocalSet::new().block_on(&runtime, run())
    })
}
