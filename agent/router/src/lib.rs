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
//! are the agent's side; `snapshot` keeps the table over a restart; `handover` gives the listening sockets to a new
//! router. Before HTTP, `proxy_protocol` and `tls` greet the client. `decide` asks `health`, `rules` and `files` whether the
//! router answers by itself; `origin` knows who the client is behind a load balancer.

mod accept;
mod admit;
mod affinity;
mod answer;
mod app;
mod aside;
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
mod files;
mod flight;
mod front;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod gate;
mod handover;
mod headers;
mod health;
mod hosts;
mod http1;
mod io;
mod lines;
mod log;
mod logfile;
mod metrics;
mod nets;
mod origin;
mod outgoing;
mod own;
mod page;
mod path;
mod pick;
mod plain;
mod pool;
mod prefix;
mod proxy_protocol;
mod reply;
mod request;
mod rules;
mod sink;
mod slot;
mod slots;
mod snapshot;
mod source;
#[cfg(test)]
mod spent;
mod table;
mod thread;
mod tls;
mod tunnel;
mod upload;
mod websocket;
mod wire;

pub use config::{Config, Limits};
pub use tls::TlsCounts;

use accept::{Gate, Via};
use anyhow::Context;
use arc_swap::ArcSwap;
use control::Role;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::sync::{Notify, oneshot, watch};

/// Messages with log lines, each of about 64 KB, that may wait for the disk.
const LOG_QUEUE: usize = 256;

/// A router that runs on threads of its own.
pub struct Router {
    listen: Vec<SocketAddr>,
    listen_tls: Vec<SocketAddr>,
    tls: Arc<tls::Tls>,
    threads: Vec<(thread::Handle, JoinHandle<()>)>,
    gate: watch::Sender<Gate>,
    acceptor: JoinHandle<()>,
    stop_control: watch::Sender<bool>,
    control: JoinHandle<()>,
    writer: JoinHandle<()>,
    asides: aside::Asides,
    shared: Arc<thread::Shared>,
    role: watch::Receiver<Role>,
    elders: Arc<AtomicUsize>,
    stop_limit: Duration,
}

/// Runs a router until SIGTERM or SIGINT, or until it has handed over and nothing is left to do; then takes no more
/// connections, lets what is in flight finish within [`Limits::stop`], and returns. On SIGUSR2 it starts
/// [`Config::heir`].
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
        let (mut term, mut int, mut usr2) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::user_defined2())?,
        );
        let heir = config.heir.clone();
        let router = start(config)?;
        // Of an heir, systemd hears from the elder; without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                () = router.finished() => break,
                _ = usr2.recv() => match handover::start_heir(heir.as_deref().unwrap_or_default()) {
                    Ok(()) => tracing::info!("a new router was started to take over"),
                    Err(e) => tracing::error!("no new router takes over: {e:#}. This one goes on."),
                },
            }
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
    let socket = config.control.with_file_name("handover.sock");
    let mut taken = match config.take_over {
        true => handover::take_over(&socket)?,
        false => None,
    };
    let started = start_with(config, decide, &mut taken, &socket);
    if let (Err(e), Some(taken)) = (&started, taken) {
        taken.failed(e);
    }
    started
}

fn start_with(
    config: Config,
    decide: decide::Decider,
    taken: &mut Option<handover::Taken>,
    socket: &std::path::Path,
) -> anyhow::Result<Router> {
    let from_elder = taken.as_mut().map(|t| std::mem::take(&mut t.listeners));
    let listeners = bind(&config, from_elder.unwrap_or_default())?;
    let at = |wanted: Via| {
        let found = listeners.iter().filter(|(_, via)| *via == wanted);
        found
            .map(|(l, _)| l.local_addr())
            .collect::<Result<Vec<_>, _>>()
    };
    let (listen, listen_tls) = (at(Via::Plain)?, at(Via::Tls)?);
    let sockets = listeners
        .iter()
        .map(|(l, via)| Ok::<_, anyhow::Error>((handover::copy(l)?, *via)));
    let sockets = sockets.collect::<Result<_, _>>()?;
    std::fs::create_dir_all(&config.logs).with_context(|| {
        format!(
            "the folder of the request logs, {}, cannot be made",
            config.logs.display()
        )
    })?;
    let aside = aside::Wanted::of(&config);
    let (orders, heirs) = match taken {
        Some(t) => (t.control.try_clone()?, t.handover.try_clone()?),
        None => (
            control::bind_socket(&config.control)?,
            control::bind_socket(socket)?,
        ),
    };
    let empty = Arc::new(Notify::new());
    let metrics = metrics::Metrics::new();
    let key = affinity::Key::load(&config.snapshot.with_file_name("affinity.key"));
    let mut register = table::Register::new(empty.clone(), key, metrics.clone());
    let stored = snapshot::load(&config.snapshot, "route");
    let tls = Arc::new(tls::Tls::new()?);
    let certs_file = config.snapshot.with_file_name("certs.json");
    let limit = config.limits.connections;
    let stop_limit = config.limits.stop;
    let shared = Arc::new(thread::Shared {
        routes: ArcSwap::from_pointee(table::Table::default()),
        limits: config.limits,
        metrics,
        draining: AtomicBool::new(false),
        tls: tls.clone(),
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
    let snapshot = snapshot::Writer::start(config.snapshot, "route")
        .context("starting the snapshot thread")?;
    let certs_writer = snapshot::Writer::start(certs_file.clone(), "certificate")
        .context("starting the snapshot thread of the certificates")?;
    let asides = aside::start(aside, shared.clone(), handles.clone())?;
    let (gate, at_gate) = watch::channel(Gate::Wait);
    let acceptor = on_runtime("router-accept", {
        let (handles, shared) = (handles.clone(), shared.clone());
        move || async move {
            if let Err(e) = accept::accept_all(listeners, handles, limit, at_gate, &shared).await {
                tracing::error!("the listening sockets cannot be used: {e}");
            }
        }
    })?;

    // what an elder serves by is newer than what it has written down
    let (table, certs) = match taken {
        Some(t) => t.ready()?,
        None => (stored, None),
    };
    let certs = certs.or_else(|| Some(snapshot::load(&certs_file, "certificate")));
    for refused in certs.iter().flat_map(|c| tls.take(c).refused) {
        tracing::warn!("a stored certificate cannot be used: {refused}");
    }
    shared.routes.store(Arc::new(register.build(&table)));
    shared.routes.load().set_gates();
    let (role, its_role) = watch::channel(Role::Leading);
    let elders = Arc::new(AtomicUsize::new(0));
    let control = control::Control::new(control::Parts {
        shared: shared.clone(),
        threads: handles,
        register,
        snapshot,
        table,
        certs_file: Arc::new(certs_writer),
        certs,
        listen: listen.clone(),
        sockets,
        empty,
        gate: gate.clone(),
        role,
        elders: elders.clone(),
    });
    let (stop_control, stopped) = watch::channel(false);
    let (give, elder) = oneshot::channel();
    let control = on_runtime("router-control", move || async move {
        let sockets = UnixListener::from_std(orders)
            .and_then(|orders| Ok((orders, UnixListener::from_std(heirs)?)));
        match sockets {
            Ok(sockets) => control.run(sockets, elder, stopped).await,
            Err(e) => tracing::error!("the control sockets cannot be used: {e}"),
        }
    })?;
    if let Some(taken) = taken.take() {
        let pid = taken.pid;
        let wire = taken.running()?;
        tracing::info!(elder = pid, "took the listening sockets over");
        // the loop waits for it
        let _ = give.send(wire);
    }
    gate.send_replace(Gate::Open);
    Ok(Router {
        listen,
        listen_tls,
        tls,
        threads,
        gate,
        acceptor,
        stop_control,
        control,
        writer,
        asides,
        shared,
        role: its_role,
        elders,
        stop_limit,
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

    /// Waits until it has handed over and nothing is left to do, or has to hurry.
    pub async fn finished(&self) {
        let mut role = self.role.clone();
        // a control loop that has ended hands nothing over
        if role.wait_for(|r| *r != Role::Leading).await.is_err() {
            return std::future::pending().await;
        }
        let busy = || {
            let mut threads = self.threads.iter();
            threads.any(|(t, _)| t.connections.load(SeqCst) > 0)
                || self.elders.load(SeqCst) > 0
                || !self.acceptor.is_finished()
        };
        while busy() && *role.borrow() == Role::Retired {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes no more connections, lets what is in flight finish within [`Limits::stop`], and waits for that; so do the
    /// routers it took over from. WebSockets are asked to close at once, one after the other.
    pub fn stop(self) {
        let Router {
            threads,
            gate,
            acceptor,
            stop_control,
            control,
            writer,
            asides,
            shared,
            elders,
            stop_limit,
            ..
        } = self;
        // panics of these threads were reported when they happened
        shared.draining.store(true, SeqCst);
        gate.send_replace(Gate::Closed);
        let _ = acceptor.join();
        for (handle, _) in &threads {
            let _ = handle.orders.blocking_send(thread::Order::Stop);
        }
        let end = Instant::now() + stop_limit + Duration::from_secs(1);
        for (handle, thread) in threads {
            drop(handle);
            let _ = thread.join();
        }
        asides.stop();
        while elders.load(SeqCst) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = stop_control.send(true);
        let _ = control.join();
        let _ = writer.join();
    }
}

/// The sockets to serve: those that were handed in, those of the elder with a wanted address, new ones for the rest.
fn bind(
    config: &Config,
    mut from_elder: Vec<(TcpListener, Via)>,
) -> anyhow::Result<Vec<(TcpListener, Via)>> {
    let mut all = Vec::new();
    let ways = [
        (&config.listeners, &config.listen, Via::Plain),
        (&config.listeners_tls, &config.listen_tls, Via::Tls),
    ];
    let is_told = ways
        .iter()
        .any(|(bound, addresses, _)| !bound.is_empty() || !addresses.is_empty());
    if !is_told {
        all.append(&mut from_elder);
    }
    for (bound, addresses, via) in ways {
        for given in bound {
            let listener = given
                .try_clone()
                .context("a listening socket that was handed over cannot be used")?;
            all.push((listener, via));
        }
        for address in addresses {
            // port 0 takes what there is
            let fits = |(l, v): &(TcpListener, Via)| {
                *v == via
                    && l.local_addr().is_ok_and(|a| {
                        a.ip() == address.ip()
                            && (address.port() == 0 || a.port() == address.port())
                    })
            };
            let listener = match from_elder.iter().position(fits) {
                Some(i) => from_elder.remove(i).0,
                None => TcpListener::bind(address).with_context(|| {
                    format!("{address} cannot be listened on: is another server using the port?")
                })?,
            };
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
