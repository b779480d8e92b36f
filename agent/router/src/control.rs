//! The control loop: takes orders from the agent over a Unix socket, publishes tables, drains dynos, reports.
//!
//! One connection counts at a time, the newest. Without any, the router goes on with what it has. Once the router has
//! handed over, its heir's connection takes that place; see `handover`.

mod generations;

use crate::accept::{Gate, Via};
use crate::drain::{Drains, Step};
use crate::handover::{self, Answer, Claim, Quorum, Word};
use crate::lines::{LINE_MAX, read_line};
use crate::snapshot;
use crate::table::{Register, all_targets};
use crate::thread::{Handle, Order, Shared, longest};
use anyhow::Context;
use hokku_model::DynoId;
use hokku_model::route::{CertTable, Passing, RouteTable, RouterOrder, RouterReport};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// An agent that does not read its reports for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is in flight is told by the threads that answer within this time.
const SHOWING: Duration = Duration::from_millis(500);
/// A year is as good as for ever, and no overflow.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

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

/// How this router stands to its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It accepts, and the agent talks to it.
    Leading,
    /// It has handed over, and ends with its last connection.
    Retired,
    /// It has handed over, and has to end soon.
    Hurried,
}

/// What a connection said.
enum Heard {
    Order(u64, RouterOrder),
    Word(u64, Word),
    Answer(u64, Answer),
    Gone(u64),
}

/// A connection: its writing half, and the task that reads.
struct Wire {
    number: u64,
    to: OwnedWriteHalf,
    reader: tokio::task::AbortHandle,
}

impl Wire {
    fn new<T: DeserializeOwned + Send + 'static>(
        number: u64,
        stream: UnixStream,
        tell: &mpsc::Sender<Heard>,
        hear: fn(u64, T) -> Heard,
    ) -> Wire {
        let (from, to) = stream.into_split();
        let reader = tokio::spawn(read_lines(number, from, tell.clone(), hear)).abort_handle();
        Wire { number, to, reader }
    }

    /// False when the other side is gone or does not read.
    async fn say<T: serde::Serialize>(&mut self, said: &T) -> bool {
        let Ok(line) = handover::line(said) else {
            return false;
        };
        matches!(
            timeout(PATIENCE, self.to.write_all(&line)).await,
            Ok(Ok(()))
        )
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A router that wants to take over.
struct Heir {
    wire: Wire,
    /// When it is given up.
    until: Instant,
    /// Its process, once it is ready.
    ready: Option<u32>,
}

/// What the control loop is started with.
pub(crate) struct Parts {
    pub shared: Arc<Shared>,
    pub threads: Vec<Handle>,
    pub register: Register,
    pub snapshot: snapshot::Writer,
    /// Where the last certificates are kept.
    pub certs_file: Arc<snapshot::Writer>,
    /// The table that is served by.
    pub table: RouteTable,
    /// The certificates that are shown.
    pub certs: Option<CertTable>,
    pub listen: Vec<SocketAddr>,
    /// Copies of the listening sockets, for an heir. Closed when there is one.
    pub sockets: Vec<(OwnedFd, Via)>,
    /// Rung when a closed dyno has nothing in flight any more.
    pub empty: Arc<Notify>,
    pub gate: watch::Sender<Gate>,
    pub role: watch::Sender<Role>,
    /// How many elders live.
    pub elders: Arc<AtomicUsize>,
}

/// The loop's state.
pub(crate) struct Control {
    parts: Parts,
    session: Option<Wire>,
    heir: Option<Heir>,
    elders: Vec<Wire>,
    quorum: Quorum,
    wires: u64,
    drains: Drains,
    /// Tables of certificates that are being read, each until its report.
    reading: JoinSet<RouterReport>,
}

impl Control {
    pub fn new(parts: Parts) -> Control {
        let drains = Drains::new(parts.shared.limits.close_grace);
        Control {
            parts,
            session: None,
            heir: None,
            elders: Vec::new(),
            quorum: Quorum::default(),
            wires: 0,
            drains,
            reading: JoinSet::new(),
        }
    }

    /// Runs until `stop` says true. `elder` gives the wire to the router that this one takes over from, when it has.
    pub async fn run(
        mut self,
        sockets: (UnixListener, UnixListener),
        elder: oneshot::Receiver<std::os::unix::net::UnixStream>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (tell, mut heard) = mpsc::channel(16);
        let empty = self.parts.empty.clone();
        let mut gate = self.parts.gate.subscribe();
        tokio::select! {
            _ = stop.wait_for(|s| *s) => return,
            _ = gate.wait_for(|g| *g != Gate::Wait) => {}
        }
        if let Ok(stream) = elder.await {
            match UnixStream::from_std(stream) {
                Ok(stream) => self.follow(stream, &tell).await,
                Err(e) => tracing::error!("the wire to the router before cannot be used: {e}"),
            }
        }
        let mut sockets = Some(sockets);
        loop {
            let wake_at = self.wake_at();
            let leading = *self.parts.role.borrow() == Role::Leading;
            if !leading {
                // an agent that connects must reach the heir, or nobody
                sockets = None;
            }
            let (orders, heirs) = (
                sockets.as_ref().map(|s| &s.0),
                sockets.as_ref().map(|s| &s.1),
            );
            let yielding = self.heir.as_ref().is_some_and(|h| h.ready.is_some());
            tokio::select! {
                // a lost sender means stop as well
                _ = stop.wait_for(|s| *s) => return,
                accepted = accept(orders), if !yielding => {
                    if let Some(stream) = taken(accepted).await {
                        self.welcome(stream, &tell).await;
                    }
                }
                accepted = accept(heirs) => {
                    if let (Some(stream), Some(s)) = (taken(accepted).await, &sockets) {
                        self.offer(stream, s, &tell).await;
                    }
                }
                Some(said) = heard.recv(), if self.reading.len() < READING_MAX => self.hear(said).await,
                // of one that panicked the runtime has told
                Some(read) = self.reading.join_next() => if let Ok(report) = read {
                    self.report(report).await;
                },
                _ = gate.changed(), if leading => self.tell_elders(&Word::Stop).await,
                () = empty.notified() => {}
                () = async { sleep_until(wake_at.unwrap_or_else(Instant::now)).await }, if wake_at.is_some() => {}
            }
            self.drain_on().await;
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let heir = self.heir.as_ref().map(|h| h.until);
        self.drains.wake_at().into_iter().chain(heir).min()
    }

    fn number(&mut self) -> u64 {
        self.wires += 1;
        self.wires
    }

    async fn hear(&mut self, said: Heard) {
        let session = self.session.as_ref().map(|s| s.number);
        let heir = self.heir.as_ref().map(|h| h.wire.number);
        match said {
            Heard::Order(n, order) if session == Some(n) => self.obey(order).await,
            Heard::Word(n, Word::Order { order }) if session == Some(n) => self.obey(order).await,
            Heard::Word(n, Word::Keep { generations }) if session == Some(n) => {
                match generations.checked_sub(1) {
                    Some(generations) => self.tell_elders(&Word::Keep { generations }).await,
                    None => self.hurry("there are too many newer ones").await,
                }
            }
            Heard::Word(n, Word::Stop) if session == Some(n) => self.hurry("it was told to").await,
            Heard::Word(n, Word::Ready { pid }) if heir == Some(n) => self.give(pid).await,
            Heard::Word(n, Word::Running) if heir == Some(n) => self.retire().await,
            Heard::Word(n, Word::Failed { why }) if heir == Some(n) => self.keep(&why),
            Heard::Answer(n, Answer::Report { report }) => {
                let agreed = match report {
                    RouterReport::Applied { version } => {
                        self.quorum.heard(n, Claim::Applied(version))
                    }
                    RouterReport::Drained { dyno } => self.quorum.heard(n, Claim::Drained(dyno)),
                    // the certificates of clients that come now are this router's
                    RouterReport::Hello { .. }
                    | RouterReport::CertsApplied { .. }
                    | RouterReport::InFlight { .. } => Vec::new(),
                };
                self.claim(agreed).await;
            }
            Heard::Gone(n) if session == Some(n) => {
                self.session = None;
                if *self.parts.role.borrow() == Role::Retired {
                    self.hurry("its heir is gone").await;
                }
            }
            Heard::Gone(n) if heir == Some(n) => self.keep("it ended"),
            Heard::Gone(n) if self.elders.iter().any(|e| e.number == n) => self.lose(n).await,
            // of a connection that was replaced, or out of turn
            _ => {}
        }
    }

    async fn welcome(&mut self, stream: UnixStream, tell: &mpsc::Sender<Heard>) {
        let number = self.number();
        self.session = Some(Wire::new(number, stream, tell, Heard::Order));
        let version = self.parts.shared.routes.load().version;
        self.report(RouterReport::Hello {
            pid: std::process::id(),
            version,
            listen: self.parts.listen.clone(),
        })
        .await;
    }

    async fn report(&mut self, report: RouterReport) {
        let private = *self.parts.role.borrow() != Role::Leading;
        let Some(session) = &mut self.session else {
            return;
        };
        let said = match private {
            true => session.say(&Answer::Report { report }).await,
            false => session.say(&report).await,
        };
        if !said {
            self.session = None;
            if private {
                self.parts.role.send_replace(Role::Hurried);
            }
        }
    }

    /// Tells what all generations agree on.
    async fn claim(&mut self, agreed: Vec<Claim>) {
        for claim in agreed {
            self.report(match claim {
                Claim::Applied(version) => RouterReport::Applied { version },
                Claim::Drained(dyno) => RouterReport::Drained { dyno },
            })
            .await;
        }
    }

    async fn obey(&mut self, order: RouterOrder) {
        match order {
            RouterOrder::Table { table } => self.take(table).await,
            RouterOrder::Certs { certs } => {
                self.parts.certs = Some(certs.clone());
                self.read_certs(certs);
            }
            RouterOrder::Drain { dyno, deadline_ms } => {
                self.ask_elders(
                    Claim::Drained(dyno),
                    RouterOrder::Drain { dyno, deadline_ms },
                )
                .await;
                self.parts.register.close(dyno);
                let wait = Duration::from_millis(deadline_ms).min(FOR_EVER);
                self.drains.order(dyno, Instant::now() + wait);
            }
            RouterOrder::ShowInFlight { dyno } => {
                let (count, requests) = self.in_flight(dyno).await;
                self.report(RouterReport::InFlight {
                    dyno,
                    count,
                    requests,
                })
                .await;
            }
        }
    }

    /// How many requests are in flight to a dyno, and those that have been for longest. Connections that an earlier router
    /// still has are not among them.
    async fn in_flight(&self, dyno: DynoId) -> (usize, Vec<Passing>) {
        let mut asked = Vec::new();
        for thread in &self.parts.threads {
            let (tell, told) = oneshot::channel();
            if thread.orders.try_send(Order::Show(dyno, tell)).is_ok() {
                asked.push(told);
            }
        }
        let (mut count, mut all) = (0, Vec::new());
        for told in asked {
            if let Ok(Ok((n, some))) = timeout(SHOWING, told).await {
                count += n;
                all.extend(some);
            }
        }
        (count, longest(all))
    }

    /// Reads certificates on a thread of their own, because thousands take a while and routes must not wait for that.
    fn read_certs(&mut self, table: CertTable) {
        let (tls, file) = (self.parts.shared.tls.clone(), self.parts.certs_file.clone());
        let leads = *self.parts.role.borrow() == Role::Leading;
        self.reading.spawn_blocking(move || {
            let taken = tls.take(&table);
            if taken.fresh && leads {
                file.store(&table);
            }
            RouterReport::CertsApplied {
                version: taken.version,
                refused: taken.refused,
            }
        });
    }

    async fn take(&mut self, routes: RouteTable) {
        if routes.version > self.parts.shared.routes.load().version {
            let table = self.parts.register.build(&routes);
            let table = Arc::new(table);
            self.parts.shared.routes.store(table.clone());
            table.set_gates();
            self.parts.register.close_missing(&routes);
            for target in all_targets(&routes) {
                self.drains.forget(target.dyno);
            }
            if !self.quorum.is_empty() {
                let order = RouterOrder::Table {
                    table: routes.clone(),
                };
                self.ask_elders(Claim::Applied(routes.version), order).await;
            }
            self.look().await;
            if *self.parts.role.borrow() == Role::Leading {
                self.parts.snapshot.store(&routes);
            } else {
                self.bid_farewell(&routes);
            }
            self.parts.table = routes;
        }
        let version = self.parts.shared.routes.load().version;
        if self.quorum.own(Claim::Applied(version)) {
            self.report(RouterReport::Applied { version }).await;
        }
    }

    /// Waits until each thread has turned to the new table.
    async fn look(&self) {
        let mut seen = Vec::new();
        for thread in &self.parts.threads {
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
        let now = Instant::now();
        if self.heir.as_ref().is_some_and(|h| h.until <= now) {
            self.keep("it says nothing");
        }
        for step in self.drains.steps(&self.parts.register, now) {
            match step {
                Step::Report(dyno) => {
                    if self.quorum.own(Claim::Drained(dyno)) {
                        self.report(RouterReport::Drained { dyno }).await;
                    }
                }
                Step::Close(dyno, window) => self.all(|| Order::Close(dyno, window)).await,
                Step::Cut(dyno) => self.all(|| Order::Cut(dyno)).await,
            }
        }
        self.parts.register.forget_empty();
    }

    async fn all(&self, order: impl Fn() -> Order) {
        for thread in &self.parts.threads {
            // a thread that has ended has nothing in flight
            let _ = thread.orders.send(order()).await;
        }
    }
}

async fn accept(socket: Option<&UnixListener>) -> std::io::Result<UnixStream> {
    match socket {
        Some(socket) => Ok(socket.accept().await?.0),
        None => std::future::pending().await,
    }
}

async fn taken(accepted: std::io::Result<UnixStream>) -> Option<UnixStream> {
    match accepted {
        Ok(stream) => Some(stream),
        Err(e) => {
            tracing::warn!("cannot accept on the control socket: {e}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn read_lines<T: DeserializeOwned>(
    number: u64,
    from: OwnedReadHalf,
    tell: mpsc::Sender<Heard>,
    hear: fn(u64, T) -> Heard,
) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        match read_line(&mut from, &mut line, LINE_MAX).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                tracing::warn!("a control connection is given up: {e}");
                break;
            }
        }
        match serde_json::from_slice(&line) {
            Ok(said) => {
                if tell.send(hear(number, said)).await.is_err() {
                    return;
                }
            }
            Err(e) => {
                tracing::warn!("a line on a control socket is not understood and was skipped: {e}")
            }
        }
        if line.capacity() > 1024 * 1024 {
            line = Vec::new();
        }
    }
    // the loop has ended: nobody is left to tell
    let _ = tell.send(Heard::Gone(number)).await;
}
