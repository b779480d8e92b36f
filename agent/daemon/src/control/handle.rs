//! What other rooms can ask of the loop.

use bytes::Bytes;
use hokku_core::plan::why::Why;
use hokku_model::{AppId, DynoId, DynoName, dyno::DynoRecord};
use std::{collections::BTreeMap, path::PathBuf};
use tokio::sync::{mpsc, oneshot};

/// A push to the deploy branch, before git moves the ref.
#[derive(Debug)]
pub struct PushOrder {
    /// Which app.
    pub app: AppId,
    /// Who pushes, as e-mail or `root`.
    pub user: String,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// The bare repository.
    pub repository: PathBuf,
    /// `GIT_*` variables of the hook, so that git finds the pushed objects in their quarantine.
    pub git_env: Vec<(String, String)>,
    /// The new release serves without its release phase.
    pub skip_phase: bool,
}

/// What the pusher sees, as it happens.
#[derive(Debug)]
pub enum PushMessage {
    /// Output, with line ends.
    Output(Bytes),
    /// The end: the ref may move, or not.
    End {
        /// True: the new release is what the router serves.
        accepted: bool,
    },
}

/// A one-off dyno.
#[derive(Debug)]
pub struct OneoffOrder {
    /// Which app.
    pub app: AppId,
    /// Who asked.
    pub user: String,
    /// What for.
    pub purpose: hokku_model::dyno::Purpose,
    /// `run` unless the caller wants another name.
    pub kind: hokku_model::ProcessType,
    /// Another release than the current one. The caller has seen that its slug is there.
    pub release: Option<Box<hokku_model::release::Release>>,
    /// What it may use, instead of what is set for its kind.
    pub quota: Option<Box<hokku_model::limits::Quota>>,
    /// Program and arguments, unchanged; or one line for `bash -c`. A first word that is a process type of the
    /// release stands for its command.
    pub command: Command,
    /// More environment, over the config vars.
    pub env: BTreeMap<String, String>,
    /// Someone will attach: the process waits for that. Otherwise its output goes to the app's log.
    pub attach: bool,
    /// Rows and columns of a terminal; `None` for three pipes. Only with `attach`.
    pub pty: Option<(u16, u16)>,
    /// Seconds after which it is killed.
    pub time_to_live: Option<u64>,
}

/// What a one-off runs.
#[derive(Clone, Debug)]
pub enum Command {
    /// As it is.
    Argv(Vec<String>),
    /// A shell command line.
    Line(String),
}

/// A dyno as `ps` shows it.
#[derive(Clone, Debug)]
pub struct DynoView {
    /// Why it exists. For a crashed slot that waits for its back-off: the last dyno's.
    pub record: DynoRecord,
    /// `starting`, `up`, `crashed`, `stopping`.
    pub state: &'static str,
    /// When it came into that state.
    pub since: hokku_model::Micros,
    /// The shim's process id; 0 when none runs.
    pub pid: i32,
    /// Why, in words; empty when there is nothing to say.
    pub why: String,
}

/// A message to the loop. Answers go through the `oneshot`s.
#[derive(Debug)]
pub enum Order {
    /// See [`Handle::push`].
    Push(PushOrder, mpsc::Sender<PushMessage>),
    /// See [`Handle::run`].
    Run(OneoffOrder, oneshot::Sender<Result<DynoRecord, String>>),
    /// See [`Handle::dynos`].
    Dynos(Option<AppId>, oneshot::Sender<Vec<DynoView>>),
    /// See [`Handle::why`].
    Why(AppId, DynoName, oneshot::Sender<Vec<Why>>),
    /// See [`Handle::stop`].
    Stop(DynoId),
    /// See [`Handle::turns`].
    Turn(oneshot::Sender<()>),
    /// See [`Handle::reread`].
    Reread,
    /// See [`Handle::serves`].
    Serves(AppId, u32, oneshot::Sender<bool>),
}

/// The way to the loop; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    supervisor: crate::supervisor::Supervisor,
    logs: crate::logs::Logs,
    candidates: super::Candidates,
}

impl Handle {
    /// Puts a handle together; `run` does it.
    pub fn new(
        orders: mpsc::Sender<Order>,
        supervisor: crate::supervisor::Supervisor,
        logs: crate::logs::Logs,
        candidates: super::Candidates,
    ) -> Handle {
        Handle {
            candidates,
            orders,
            supervisor,
            logs,
        }
    }

    /// Builds and rolls out a commit. Messages come until `End`; dropping the receiver cancels a push that still
    /// waits, builds or rolls out, unless it was promoted already. A receiver that ends without `End` means: rejected, the agent
    /// is stopping.
    pub async fn push(&self, order: PushOrder) -> mpsc::Receiver<PushMessage> {
        let (tx, rx) = mpsc::channel(64);
        let _ = self.orders.send(Order::Push(order, tx)).await;
        rx
    }

    /// Starts a one-off dyno of the app's current release.
    ///
    /// # Errors
    /// In words for the caller: nothing is deployed yet, the limit of one-off dynos is reached, it can't be started.
    pub async fn run(&self, order: OneoffOrder) -> Result<DynoRecord, String> {
        let (tx, rx) = oneshot::channel();
        let _ = self.orders.send(Order::Run(order, tx)).await;
        rx.await
            .unwrap_or_else(|_| Err("the agent is stopping; try again in a moment".into()))
    }

    /// The dynos of one app, or of all, sorted by app and name; crashed slots that wait for their back-off included.
    pub async fn dynos(&self, app: Option<AppId>) -> Vec<DynoView> {
        let (tx, rx) = oneshot::channel();
        let _ = self.orders.send(Order::Dynos(app, tx)).await;
        rx.await.unwrap_or_default()
    }

    /// Why the dynos of this name stand as they do, and what comes next; at least one answer, unless the agent stops.
    pub async fn why(&self, app: AppId, name: DynoName) -> Vec<Why> {
        let (tx, rx) = oneshot::channel();
        let _ = self.orders.send(Order::Why(app, name, tx)).await;
        rx.await.unwrap_or_default()
    }

    /// Stops one dyno. One of the formation comes back by itself, as on Heroku.
    pub async fn stop(&self, dyno: DynoId) {
        let _ = self.orders.send(Order::Stop(dyno)).await;
    }

    /// Is this promoted release what the router serves by now? True also for an app without web dynos, for a release
    /// that is not the current one, and while no router is there to ask.
    pub async fn serves(&self, app: AppId, version: u32) -> bool {
        let (tx, rx) = oneshot::channel();
        let _ = self.orders.send(Order::Serves(app, version, tx)).await;
        rx.await.unwrap_or(true)
    }

    /// Waits until the loop has taken this question and answered it: as long as it is stuck, for ever.
    pub async fn turns(&self) -> bool {
        let (tx, rx) = oneshot::channel();
        let _ = self.orders.send(Order::Turn(tx)).await;
        rx.await.is_ok()
    }

    /// Says that the settings have changed.
    pub async fn reread(&self) {
        let _ = self.orders.send(Order::Reread).await;
    }

    /// Attaches to a one-off dyno that was started with `attach`.
    ///
    /// # Errors
    /// It is gone, or was not started to be attached to.
    pub async fn attach(&self, dyno: DynoId) -> anyhow::Result<crate::sys::shim::ShimConn> {
        self.supervisor.attach(dyno).await
    }

    /// Runs a command inside a dyno of any kind that runs; see [`crate::sys::exec::start`].
    ///
    /// # Errors
    /// In sentences: the dyno is gone, or does not take the command.
    pub async fn exec(
        &self,
        dyno: DynoId,
        order: &hokku_model::exec::ExecOrder,
    ) -> anyhow::Result<crate::sys::shim::ShimConn> {
        self.supervisor.exec(dyno, order).await
    }

    /// How each health check of a dyno went last, in the order of its record.
    pub fn checked(&self, dyno: DynoId) -> Vec<Option<crate::supervisor::Last>> {
        self.supervisor.checked(dyno)
    }

    /// Makes each health check of a dyno once, now. Nothing follows from it.
    pub async fn check_now(&self, record: &DynoRecord) -> Vec<crate::supervisor::Last> {
        self.supervisor.check_now(record).await
    }

    /// The last lines of a release's dynos from while it was rolled out; nothing of one that this agent did not roll out.
    pub async fn last_lines(&self, app: AppId, version: u32) -> Vec<hokku_model::log::LogLine> {
        self.candidates.last_lines(&self.logs, app, version).await
    }

    /// The logs, for those who only have this handle.
    pub fn logs(&self) -> &crate::logs::Logs {
        &self.logs
    }
}
