//! The supervisor: owns the dynos of this node.
//!
//! What it does: starts a shim for each order, passes signals on, asks a web dyno for its first answer, makes
//! health checks, notices ends at once, reports all that as facts, and finds the dynos again after a restart of the agent.
//! What it never does: decide when something starts, stops or is killed; restart anything; touch routes or releases.
//! Who calls it: `control` (orders), `api` through the loop's handle (`attach`). Facts go out through the channel that
//! `run` made.
//! Where its tests are: `tests.rs` here, with real shims and processes.

mod command;
mod first;
mod folder;
mod job;
mod kept;
mod meter;
mod on_failure;
mod probe;
mod refusal;
mod seen;
#[cfg(test)]
mod tests;
mod watch;

use crate::sys::{
    cgroup::{self, Kind},
    exec,
    shim::{self, Found, ShimConn},
};
use anyhow::{Context, bail};
use hokku_model::{
    DynoId,
    dyno::{DynoRecord, Exit},
    exec::ExecOrder,
    health::{Ask, Check, Purpose},
    limits::Quota,
    shim::ShimSpec,
};
use job::Order;
pub use kept::Remains;
pub use seen::Last;
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Orders that wait for one dyno. Each takes microseconds, so a full mailbox means that something is broken.
const MAILBOX: usize = 64;

/// How long the answer to [`Supervisor::listening`] may take.
const LISTENING: Duration = Duration::from_secs(5);

/// Where processes are limited per app: so many times a dyno's limit.
const SIBLINGS: u64 = 16;

/// One dyno to be started.
#[derive(Debug)]
pub struct StartOrder {
    /// Kept beside the dyno, for adoption.
    pub record: DynoRecord,
    /// For the shim. `dir` is set by the supervisor: [`Supervisor::folder`].
    pub spec: ShimSpec,
    /// How to find out that a web dyno answers.
    pub probe: Option<Probe>,
}

/// What a dyno is asked, and how.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where it is to listen; `None` when it is no web dyno.
    pub addr: Option<SocketAddr>,
    /// It counts as up already, as one that is adopted with traffic: the checks of its start are left out.
    pub up: bool,
    /// Its health checks.
    pub checks: Vec<Check>,
    /// The app's name, for who is told of a failure.
    pub app: String,
    /// The dyno's name: `web.1`.
    pub name: String,
    /// The `Host` header: a name that leads to the app, or frameworks refuse to answer.
    pub host: String,
    /// How long it may take to give its first answer.
    pub boot_limit: Duration,
}

impl Probe {
    /// Is its first answer awaited before its checks begin? Not when a check of its start asks the same port.
    fn asks_first(&self) -> bool {
        let asks = |c: &Check| {
            let kind = matches!(c.ask, Ask::Http { .. } | Ask::Tcp | Ask::Listening);
            kind && c.port.is_none() && c.gates() && c.purpose == Purpose::Startup
        };
        self.addr.is_some() && !self.up && !self.checks.iter().any(asks)
    }

    /// Has a check to pass before it is up?
    fn gated(&self) -> bool {
        self.checks.iter().any(Check::gates)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The process runs (or waits for its first client, when it is one to attach to).
    Running {
        /// Which.
        dyno: DynoId,
        /// The shim's process id on the host.
        pid: i32,
    },
    /// It could not be started; nothing of it is left.
    StartFailed {
        /// Which.
        dyno: DynoId,
        /// Why, in words.
        error: String,
    },
    /// A health check was made. Passes are told only when they are news.
    Checked {
        /// Which.
        dyno: DynoId,
        /// The check's place in [`Probe::checks`].
        check: usize,
        /// What was wrong, in sentences.
        outcome: Result<(), String>,
    },
    /// A probed dyno without checks that have to pass for its start gave its first answer.
    Answering {
        /// Which.
        dyno: DynoId,
    },
    /// A probed dyno gave none within the boot limit. It still runs.
    BootTimeout {
        /// Which.
        dyno: DynoId,
        /// The ports that it listens on instead, on any address.
        listening: Vec<u16>,
    },
    /// It uses more memory than its soft limit; repeated while it does.
    OverMemory {
        /// Which.
        dyno: DynoId,
        /// Bytes that it uses.
        used: u64,
        /// The soft limit, in bytes.
        soft: u64,
    },
    /// Something for the app's log, in a line.
    Said {
        /// Which.
        dyno: DynoId,
        /// What.
        text: String,
    },
    /// It is gone, with everything it had started.
    Exited {
        /// Which.
        dyno: DynoId,
        /// How.
        exit: Exit,
    },
}

/// A dyno that was found.
#[derive(Debug)]
pub struct Adopted {
    /// What the agent had written when it ordered the start.
    pub record: DynoRecord,
    /// The shim's process id; 0 when it is gone.
    pub pid: i32,
    /// How it is.
    pub state: AdoptedState,
    /// It was told to stop before the last agent ended.
    pub stopping: bool,
}

/// How an adopted dyno is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptedState {
    /// It runs.
    Running,
    /// It ended while no agent was there. A [`Fact::Exited`] follows.
    Exited(Exit),
}

type Jobs = HashMap<DynoId, mpsc::Sender<Order>>;

/// The handle; cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dynos: PathBuf,
    shim_exe: PathBuf,
    facts: mpsc::Sender<Fact>,
    jobs: Mutex<Jobs>,
    /// Dynos that ended and whose shims clean up; is nothing of them to be kept afterwards?
    ending: Mutex<HashMap<DynoId, bool>>,
    seen: seen::Seen,
}

impl Supervisor {
    /// A supervisor that knows of no dyno yet; to be followed by [`Supervisor::adopt`]. `dynos` holds a folder for each
    /// dyno, `shim_exe` is the program `hokku-shim`. Orders have to be given from within a tokio runtime.
    pub fn new(dynos: PathBuf, shim_exe: PathBuf, facts: mpsc::Sender<Fact>) -> Supervisor {
        let jobs = Mutex::default();
        Supervisor {
            inner: Arc::new(Inner {
                dynos,
                shim_exe,
                facts,
                jobs,
                ending: Mutex::default(),
                seen: seen::Seen::default(),
            }),
        }
    }

    /// The folder of a dyno.
    pub fn folder(&self, dyno: DynoId) -> PathBuf {
        self.inner.dynos.join(dyno.to_string())
    }

    /// Finds what an earlier agent has started. Folders that hold nothing to be adopted are removed. Facts about the
    /// adopted dynos may come before this returns.
    pub async fn adopt(&self) -> Vec<Adopted> {
        let list = folder::list(&self.inner.dynos);
        let known = list.clone();
        let sweep = move || {
            cgroup::sweep(Kind::Dyno, |name| {
                name.parse().is_ok_and(|id| known.contains(&id))
            })
        };
        // before anything new is started: its group would be unknown too
        let _ = tokio::task::spawn_blocking(sweep).await;
        let tasks: Vec<_> = list
            .into_iter()
            .map(|id| {
                let me = self.clone();
                tokio::spawn(async move { me.adopt_one(id).await })
            })
            .collect();
        let mut all = Vec::new();
        for t in tasks {
            all.extend(t.await.ok().flatten());
        }
        all
    }

    async fn adopt_one(&self, dyno: DynoId) -> Option<Adopted> {
        let dir = self.folder(dyno);
        let Some(record) = folder::record(&dir, dyno) else {
            // the start was never ordered: the record is written before
            folder::remove(dir).await;
            return None;
        };
        let mailbox = self.open(dyno)?;
        let (pid, state, left) = match shim::connect(&dir).await {
            Ok(Found::Alive(conn)) => (conn.process.pid, AdoptedState::Running, Ok(conn)),
            Ok(Found::Ended(exit)) => (0, AdoptedState::Exited(exit), Err(exit)),
            Err(e) => {
                tracing::error!(%dyno, "can't adopt a dyno, its shim is killed: {e:#}");
                let exit = folder::kill_shim(&dir).await;
                (0, AdoptedState::Exited(exit), Err(exit))
            }
        };
        let quota = Quota::clone(&record.quota);
        tokio::spawn(job::Job::new(self.clone(), dyno, quota, mailbox).carry_on(left));
        Some(Adopted {
            record,
            pid,
            state,
            stopping: folder::is_stopping(&dir),
        })
    }

    /// Starts a dyno. [`Fact::Running`] or [`Fact::StartFailed`] follows.
    pub fn start(&self, order: StartOrder) {
        let dyno = order.record.id;
        if let Some(mailbox) = self.open(dyno) {
            let quota = Quota::clone(&order.record.quota);
            tokio::spawn(job::Job::new(self.clone(), dyno, quota, mailbox).begin(order));
        } else {
            tracing::error!(%dyno, "a dyno of this id is there already; the order to start it is dropped");
        }
    }

    /// Asks a dyno to end by this signal to every process, and keeps on disk that it was asked.
    pub fn stop(&self, dyno: DynoId, signal: i32) {
        self.order(dyno, Order::Stop(signal));
    }

    /// Sends a signal to every process of the dyno.
    pub fn signal(&self, dyno: DynoId, signal: i32) {
        self.order(dyno, Order::Signal(signal));
    }

    /// Kills every process of the dyno, and its shim when that does not help. False when no such dyno is known.
    pub fn kill(&self, dyno: DynoId) -> bool {
        let known = self.jobs().contains_key(&dyno);
        self.order(dyno, Order::Kill);
        known
    }

    /// Removes what is kept of a one-off that has ended: its end is written down elsewhere. Until then it is found, and
    /// reported again, by each new agent.
    pub async fn forget(&self, dyno: DynoId) {
        if let Some(forgotten) = self.ending().get_mut(&dyno) {
            // its shim still cleans up there
            *forgotten = true;
            return;
        }
        let dir = self.folder(dyno);
        if dir.exists() {
            folder::remove(dir).await;
        }
    }

    fn ending(&self) -> MutexGuard<'_, HashMap<DynoId, bool>> {
        self.inner
            .ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a dyno that was adopted for an answer; [`Fact::Answering`] or [`Fact::BootTimeout`] follows.
    pub fn probe(&self, dyno: DynoId, probe: Probe) {
        self.order(dyno, Order::Probe(probe));
    }

    /// A connection to a dyno that was started to be attached to; [`hokku_model::shim::Frame::Attach`] is still to be
    /// sent on it.
    ///
    /// # Errors
    /// In words: there is no such dyno, or it has ended.
    pub async fn attach(&self, dyno: DynoId) -> anyhow::Result<ShimConn> {
        if !self.jobs().contains_key(&dyno) {
            bail!("There is no running dyno with the id {dyno}. It may have ended.");
        }
        match shim::connect(&self.folder(dyno)).await? {
            Found::Alive(conn) => Ok(conn),
            Found::Ended(exit) => bail!("The dyno has ended: {exit}."),
        }
    }

    /// Runs a command inside a dyno; see [`exec::start`].
    ///
    /// # Errors
    /// In sentences: there is no such dyno, it has ended, or does not take the command.
    pub async fn exec(&self, dyno: DynoId, order: &ExecOrder) -> anyhow::Result<ShimConn> {
        if !self.jobs().contains_key(&dyno) {
            bail!("There is no running dyno with the id {dyno}. It may have ended.");
        }
        exec::start(&self.folder(dyno), order).await
    }

    /// The TCP ports on which processes of the dyno listen; none when it is gone.
    pub async fn listening(&self, dyno: DynoId) -> Vec<u16> {
        let (tx, rx) = oneshot::channel();
        self.order(dyno, Order::Listening(tx));
        let answer = tokio::time::timeout(LISTENING, rx).await;
        answer.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Gives the order to the dyno's task. One that is gone needs no orders: its end was reported.
    fn order(&self, dyno: DynoId, order: Order) {
        let mailbox = self.jobs().get(&dyno).cloned();
        let Some(mailbox) = mailbox else { return };
        if let Err(mpsc::error::TrySendError::Full(order)) = mailbox.try_send(order) {
            // kept, not lost: it waits for its turn beside the mailbox
            tokio::spawn(async move { mailbox.send(order).await });
        }
    }

    /// A mailbox for a new dyno; `None` when it has one.
    fn open(&self, dyno: DynoId) -> Option<mpsc::Receiver<Order>> {
        let mut jobs = self.jobs();
        if jobs.contains_key(&dyno) {
            return None;
        }
        let (tx, rx) = mpsc::channel(MAILBOX);
        jobs.insert(dyno, tx);
        Some(rx)
    }

    fn close(&self, dyno: DynoId) {
        self.inner.seen.forget(dyno);
        self.jobs().remove(&dyno);
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // nothing that could panic runs under this lock
        self.inner
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports; false when nobody listens any more, because the agent is stopping.
    async fn report(&self, fact: Fact) -> bool {
        self.inner.facts.send(fact).await.is_ok()
    }

    async fn spawn(&self, order: &mut StartOrder) -> anyhow::Result<ShimConn> {
        let dir = self.folder(order.record.id);
        folder::create(&dir, &order.record)
            .with_context(|| format!("can't make the dyno's folder {}", dir.display()))?;
        order.spec.dir = dir;
        crate::sys::fault::point("dyno-folder");
        let limits = &mut order.spec.limits;
        match meter::group(order.record.id, &order.record.quota) {
            Some(group) => {
                limits.cgroup = Some(group.dir().to_owned());
                // the group's weight says it more exactly, and the same for all
                limits.cpu_weight = None;
            }
            // the kernel counts all of an app's processes together: room for its other dynos, and for those that
            // replace them
            None => {
                if let Some(n) = order.record.quota.pids {
                    limits.pids = Some(n.saturating_mul(SIBLINGS));
                }
            }
        }
        shim::spawn(&self.inner.shim_exe, &order.spec).await
    }
}
