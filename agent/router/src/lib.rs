//! The data plane: takes HTTP requests, finds the app by its host name, gives each request to one of the app's dynos
//! and passes bytes on in both directions. Its own process, unprivileged, alive while the control plane is not.
//!
//! What it does: routes by the last table it was given; waits, retries and fails with Heroku's codes; tunnels; drains;
//! logs one line per request. What it never does: decide when a dyno gets traffic (the agent's tables say so), start or
//! signal processes, keep a body in memory (but for the bounded cache of compressed ones).
//! Who calls it: `hokkud router` calls [`serve`]; the agent talks to it through [`control_client`].
//! Tests: beside the code, and with real sockets in `tests/`.
//!
//! One acceptor hands connections to threads that share nothing but the table (`accept`, `thread`). `client` reads a
//! request's head with the strict codec of `http1` (or gets it from HTTP/2) and hands it to `exchange`, which is a straight
//! line for all of them: `admit`, `decide`, `choose` (`table`, `gate`, `pick`, `pool`), `headers`, then `upload` one way
//! and, through `app`, `answer` with `compress` the other; or `tunnel` when the protocol is switched, or `own` when the
//! router answers by itself. `source` and `sink` are bodies on their way in and out over either protocol, `io` and
//! `buffers` what they run on. `flight` holds a request's deadlines and writes its line to `log`. `control` and `drain`
//! are the agent's side; `snapshot` keeps the table over a restart.

mod accept;
mod admit;
mod answer;
mod app;
mod buffers;
mod choose;
mod client;
mod clock;
mod compress;
mod config;
mod control;
pub mod control_client;
mod decide;
mod drain;
mod dyno;
mod exchange;
mod flight;
mod front;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod gate;
mod headers;
mod http1;
mod io;
mod lines;
mod log;
mod logfile;
mod outgoing;
mod own;
mod page;
mod pick;
mod pool;
mod reply;
mod request;
mod sink;
mod slot;
mod slots;
mod snapshot;
mod source;
mod table;
mod thread;
mod tunnel;
mod upload;
mod websocket;
mod wire;

pub use config::{Config, Limits};

use anyhow::Context;
use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{Notify, watch};

/// Batches of log lines that may wait for the disk.
const LOG_QUEUE: usize = 256;

/// A router that runs on threads of its own.
pub struct Router {
    listen: Vec<SocketAddr>,
    threads: Vec<(thread::Handle, JoinHandle<()>)>,
    stop_accepting: watch::Sender<bool>,
    acceptor: JoinHandle<()>,
    stop_control: watch::Sender<bool>,
    control: JoinHandle<()>,
    writer: JoinHandle<()>,
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
    start_deciding(config, decide::decide)
}

fn start_deciding(config: Config, decide: decide::Decider) -> anyhow::Result<Router> {
    raise_file_limit();
    let listeners = bind(&config)?;
    let listen: Vec<_> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()?;
    std::fs::create_dir_all(&config.logs).with_context(|| {
        format!(
            "the folder of the request logs, {}, cannot be made",
            config.logs.display()
        )
    })?;
    let socket = control::bind_socket(&config.control)?;

    let empty = Arc::new(Notify::new());
    let mut register = table::Register::new(empty.clone());
    let stored = snapshot::load(&config.snapshot);
    let routes = ArcSwap::from_pointee(register.build(&stored));
    let limit = config.limits.connections;
    let shared = Arc::new(thread::Shared {
        routes,
        limits: config.limits,
        trust_loopback: config.trust_loopback_forwarded,
        decide,
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

    let snapshot =
        snapshot::Writer::start(config.snapshot).context("starting the snapshot thread")?;
    let control = control::Control::new(
        shared,
        handles.clone(),
        register,
        snapshot,
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
        threads,
        stop_accepting,
        acceptor,
        stop_control,
        control,
        writer,
    })
}

impl Router {
    /// Where it takes requests.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
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
            ..
        } = self;
        // panics of these threads were reported when they happened
        let _ = stop_accepting.send(true);
        let _ = acceptor.join();
        for (handle, _) in &threads {
            let _ = handle.orders.blocking_send(thread::Order::Stop);
        }
        for (handle, thread) in threads {
            drop(handle);
            let _ = thread.join();
        }
        let _ = stop_control.send(true);
        let _ = control.join();
        let _ = writer.join();
    }
}

fn bind(config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    let mut all = Vec::new();
    for given in &config.listeners {
        all.push(
            given
                .try_clone()
                .context("a listening socket that was handed over cannot be used")?,
        );
    }
    for address in &config.listen {
        let listener = TcpListener::bind(address).with_context(|| {
            format!("{address} cannot be listened on: is another server using the port?")
        })?;
        all.push(listener);
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
