//! The control loop: takes orders from the agent over a Unix socket, publishes tables, drains dynos, reports.
//!
//! One connection counts at a time, the newest. Without any, the router goes on with what it has.

use crate::drain::{Drains, Step};
use crate::lines::{LINE_MAX, read_line};
use crate::snapshot;
use crate::table::{Register, all_targets};
use crate::thread::{Handle, Order, Shared};
use anyhow::Context;
use hokku_model::route::{CertTable, RouteTable, RouterOrder, RouterReport};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// An agent that does not read its reports for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the control socket, readable and writable by its owner only.
///
/// # Errors
/// When another router answers there, or the path cannot be used.
pub(crate) fn bind_socket(path: &Path) -> anyhow::Result<std::os::unix::net::UnixListener> {
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            anyhow::bail!(
                "another router already answers at {}: stop it first",
                path.display()
            );
        }
        if !meta.file_type().is_socket() {
            anyhow::bail!(
                "{} is in the way: it is not a socket. Remove it or use another path",
                path.display()
            );
        }
        std::fs::remove_file(path)
            .with_context(|| format!("removing the stale socket {}", path.display()))?;
    }
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .context("making the control socket")?;
    // set before bind, the mode is the file's from its first moment
    nix::sys::stat::fchmod(&fd, nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    let address = UnixAddr::new(path)
        .with_context(|| format!("{} is too long for a socket", path.display()))?;
    bind(fd.as_raw_fd(), &address)
        .with_context(|| format!("the control socket {} cannot be made", path.display()))?;
    listen(&fd, Backlog::new(16)?)?;
    Ok(fd.into())
}

/// Tables of certificates read at once; they wait for each other. With more no order is taken until one is read.
const READING_MAX: usize = 4;

/// What a connection said.
enum Heard {
    Order(u64, RouterOrder),
    Gone(u64),
}

struct Session {
    number: u64,
    to: OwnedWriteHalf,
    reader: tokio::task::AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The loop's state.
pub(crate) struct Control {
    pub shared: Arc<Shared>,
    pub threads: Vec<Handle>,
    pub register: Register,
    pub snapshot: snapshot::Writer,
    pub certs: Arc<snapshot::Writer>,
    pub listen: Vec<SocketAddr>,
    /// Rung when a closed dyno has nothing in flight any more.
    pub empty: Arc<Notify>,
    session: Option<Session>,
    sessions: u64,
    drains: Drains,
    /// Tables of certificates that are being read, each until its report.
    reading: JoinSet<RouterReport>,
}

impl Control {
    pub fn new(
        shared: Arc<Shared>,
        threads: Vec<Handle>,
        register: Register,
        snapshot: snapshot::Writer,
        certs: snapshot::Writer,
        listen: Vec<SocketAddr>,
        empty: Arc<Notify>,
    ) -> Control {
        let drains = Drains::new(shared.limits.close_grace);
        Control {
            shared,
            threads,
            register,
            snapshot,
            certs: Arc::new(certs),
            listen,
            empty,
            session: None,
            sessions: 0,
            drains,
            reading: JoinSet::new(),
        }
    }

    /// Runs until `stop` says true.
    pub async fn run(mut self, listener: UnixListener, mut stop: watch::Receiver<bool>) {
        let (tell, mut heard) = mpsc::channel(16);
        let empty = self.empty.clone();
        loop {
            let wake_at = self.drains.wake_at();
            tokio::select! {
                // a lost sender means stop as well
                _ = stop.wait_for(|s| *s) => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.welcome(stream, tell.clone()).await,
                    Err(e) => {
                        tracing::warn!("cannot accept on the control socket: {e}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(said) = heard.recv(), if self.reading.len() < READING_MAX => match said {
                    Heard::Order(number, order) if self.is_current(number) => self.obey(order).await,
                    Heard::Gone(number) if self.is_current(number) => self.session = None,
                    // of a connection that was replaced
                    _ => {}
                },
                // of one that panicked the runtime has told
                Some(read) = self.reading.join_next() => if let Ok(report) = read {
                    self.report(report).await;
                },
                () = empty.notified() => {}
                () = async { sleep_until(wake_at.unwrap_or_else(Instant::now)).await }, if wake_at.is_some() => {}
            }
            self.drain_on().await;
        }
    }

    fn is_current(&self, number: u64) -> bool {
        self.session.as_ref().is_some_and(|s| s.number == number)
    }

    async fn welcome(&mut self, stream: UnixStream, tell: mpsc::Sender<Heard>) {
        self.sessions += 1;
        let number = self.sessions;
        let (from, to) = stream.into_split();
        let reader = tokio::spawn(read_orders(number, from, tell)).abort_handle();
        self.session = Some(Session { number, to, reader });
        let version = self.shared.routes.load().version;
        self.report(RouterReport::Hello {
            pid: std::process::id(),
            version,
            listen: self.listen.clone(),
        })
        .await;
    }

    async fn report(&mut self, report: RouterReport) {
        let Some(session) = &mut self.session else {
            return;
        };
        let Ok(mut line) = serde_json::to_vec(&report) else {
            return;
        };
        line.push(b'\n');
        if !matches!(
            timeout(PATIENCE, session.to.write_all(&line)).await,
            Ok(Ok(()))
        ) {
            self.session = None;
        }
    }

    async fn obey(&mut self, order: RouterOrder) {
        match order {
            RouterOrder::Table { table } => self.take(table).await,
            RouterOrder::Certs { certs } => self.read_certs(certs),
            RouterOrder::Drain { dyno, deadline_ms } => {
                self.register.close(dyno);
                // a year is as good as for ever, and no overflow
                let wait = Duration::from_millis(deadline_ms.min(365 * 24 * 3600 * 1000));
                self.drains.order(dyno, Instant::now() + wait);
            }
        }
    }

    /// Reads certificates on a thread of their own, because thousands take a while and routes must not wait for that.
    fn read_certs(&mut self, table: CertTable) {
        let (tls, file) = (self.shared.tls.clone(), self.certs.clone());
        self.reading.spawn_blocking(move || {
            let taken = tls.take(&table);
            if taken.fresh {
                file.store(&table);
            }
            RouterReport::CertsApplied {
                version: taken.version,
                refused: taken.refused,
            }
        });
    }

    async fn take(&mut self, routes: RouteTable) {
        if routes.version > self.shared.routes.load().version {
            let table = self.register.build(&routes);
            self.shared.routes.store(Arc::new(table));
            self.register.close_missing(&routes);
            for target in all_targets(&routes) {
                self.drains.forget(target.dyno);
            }
            self.look().await;
            self.snapshot.store(&routes);
        }
        let version = self.shared.routes.load().version;
        self.report(RouterReport::Applied { version }).await;
    }

    /// Waits until each thread has turned to the new table.
    async fn look(&self) {
        let mut seen = Vec::new();
        for thread in &self.threads {
            let (tell, told) = oneshot::channel();
            if thread.orders.send(Order::Look(tell)).await.is_ok() {
                seen.push(told);
            }
        }
        for told in seen {
            // the dropped sender of a thread that ends is an answer, too
            if timeout(PATIENCE, told).await.is_err() {
                tracing::warn!(
                    "a router thread has not turned to the new table within {PATIENCE:?}"
                );
            }
        }
    }

    async fn drain_on(&mut self) {
        for step in self.drains.steps(&self.register, Instant::now()) {
            match step {
                Step::Report(dyno) => self.report(RouterReport::Drained { dyno }).await,
                Step::Close(dyno) => self.all(|| Order::Close(dyno)).await,
                Step::Cut(dyno) => self.all(|| Order::Cut(dyno)).await,
            }
        }
        self.register.forget_empty();
    }

    async fn all(&self, order: impl Fn() -> Order) {
        for thread in &self.threads {
            // a thread that has ended has nothing in flight
            let _ = thread.orders.send(order()).await;
        }
    }
}

async fn read_orders(number: u64, from: OwnedReadHalf, tell: mpsc::Sender<Heard>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        match read_line(&mut from, &mut line, LINE_MAX).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                tracing::warn!("the agent's connection is given up: {e}");
                break;
            }
        }
        match serde_json::from_slice(&line) {
            Ok(order) => {
                if tell.send(Heard::Order(number, order)).await.is_err() {
                    return;
                }
            }
            Err(e) => {
                tracing::warn!("an order of the agent is not understood and was skipped: {e}")
            }
        }
        if line.capacity() > 1024 * 1024 {
            line = Vec::new();
        }
    }
    // the loop has ended: nobody is left to tell
    let _ = tell.send(Heard::Gone(number)).await;
}
