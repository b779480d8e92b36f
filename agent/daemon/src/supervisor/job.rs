//! The task that owns one dyno: a mailbox, a connection to its shim, a probe. No policy.

use super::{Fact, Probe, StartOrder, Supervisor, first, folder, meter, watch::Watch};
use crate::sys::{
    process::Process,
    shim::{self, FrameReceiver, FrameSender, Gone, ShimConn},
};
use hokku_model::{DynoId, dyno::Exit, limits::Quota, shim::Frame};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};

/// After the order to kill, the shim itself is killed when it did not end within this time: it may be stopped or stuck.
/// Longer than a shim waits for a client to take the last output.
const KILL: Duration = Duration::from_secs(15);

/// How long one frame, or the end of a shim that hung up, may take.
const SOON: Duration = Duration::from_secs(2);

/// How long the ports of a dyno that did not answer are waited for.
const PORTS: Duration = Duration::from_secs(2);

/// The pause before the next probe when the answer was not the dyno's.
const AGAIN: Duration = Duration::from_millis(100);

/// How long the shim may take to clean up after it said how the process ended.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// What others ask of a dyno.
#[derive(Debug)]
pub enum Order {
    /// To all processes, to end them.
    Stop(i32),
    /// To all processes.
    Signal(i32),
    /// To all processes, and then to the shim.
    Kill,
    /// Ask for an answer.
    Probe(Probe),
    /// Ask for the ports.
    Listening(oneshot::Sender<Vec<u16>>),
}

/// One dyno's task.
pub struct Job {
    owner: Supervisor,
    dyno: DynoId,
    quota: Quota,
    cause: meter::Cause,
    peak: meter::Peak,
    mailbox: mpsc::Receiver<Order>,
}

type Probing = Pin<Box<dyn Future<Output = bool> + Send>>;

impl Job {
    /// A task that has nothing yet.
    pub fn new(
        owner: Supervisor,
        dyno: DynoId,
        quota: Quota,
        mailbox: mpsc::Receiver<Order>,
    ) -> Job {
        Job {
            owner,
            dyno,
            quota,
            cause: meter::Cause::default(),
            peak: meter::Peak::default(),
            mailbox,
        }
    }

    /// Starts it, and stays until it has ended.
    pub async fn begin(mut self, mut order: StartOrder) {
        let dyno = self.dyno;
        let spawned = self.owner.spawn(&mut order).await;
        // config vars are not kept longer than needed
        drop(order.spec);
        match spawned {
            Ok(conn) => {
                for n in &conn.notices {
                    tracing::warn!(%dyno, "{n}");
                }
                let pid = conn.process.pid;
                self.owner.report(Fact::Running { dyno, pid }).await;
                let process = conn.process.clone();
                let exit = self.metered(conn, order.probe).await;
                self.end(exit, Some(process)).await;
            }
            Err(e) => match e.downcast::<Gone>() {
                Ok(Gone { pid, exit }) => {
                    self.owner.report(Fact::Running { dyno, pid }).await;
                    self.end(exit, None).await;
                }
                Err(e) => {
                    folder::kill_shim(&self.owner.folder(dyno)).await;
                    folder::remove(self.owner.folder(dyno)).await;
                    meter::end(dyno).await;
                    self.owner.close(dyno);
                    let error = format!("{e:#}");
                    self.owner.report(Fact::StartFailed { dyno, error }).await;
                }
            },
        }
    }

    /// Stays with a dyno that was found, until it has ended.
    pub async fn carry_on(mut self, left: Result<ShimConn, Exit>) {
        match left {
            Ok(conn) => {
                let process = conn.process.clone();
                let exit = self.metered(conn, None).await;
                self.end(exit, Some(process)).await;
            }
            Err(exit) => self.end(exit, None).await,
        }
    }

    /// Reports the end, first of all, because a restart waits for it. Then the shim cleans up, and the folder goes; but
    /// only when the fact was taken: otherwise the next agent finds and reports it.
    async fn end(self, exit: Exit, shim: Option<Arc<Process>>) {
        let dyno = self.dyno;
        let exit = meter::explain(exit, dyno, &self.quota, &self.cause);
        if self.owner.is_run(dyno) {
            meter::write_peak(&self.owner.folder(dyno), dyno, &self.peak);
        }
        self.owner.close(dyno);
        let forgotten = !folder::is_kept(&self.owner.folder(dyno), dyno);
        self.owner.ending().insert(dyno, forgotten);
        if !self.owner.report(Fact::Exited { dyno, exit }).await {
            return;
        }
        if let Some(shim) = shim
            && timeout(CLEAN_UP, shim.gone()).await.is_err()
        {
            tracing::warn!(%dyno, "the shim of a dyno that ended did not finish cleaning up; it is killed");
            shim.kill();
            shim.gone().await;
        }
        meter::end(dyno).await;
        let forgotten = self.owner.ending().remove(&dyno);
        if forgotten != Some(false) {
            folder::remove(self.owner.folder(dyno)).await;
        }
    }

    /// Lives under the eyes of its meter.
    async fn metered(&mut self, conn: ShimConn, asked: Option<Probe>) -> Exit {
        let (owner, pid) = (self.owner.clone(), conn.process.pid);
        let (quota, cause) = (self.quota.clone(), self.cause.clone());
        let looks = meter::peak(owner.clone(), self.dyno, pid, self.peak.clone());
        let looks = self.owner.is_run(self.dyno).then(|| tokio::spawn(looks));
        let meter = meter::run(owner, self.dyno, quota, pid, cause);
        let meter = tokio::spawn(meter);
        let exit = self.live(conn, asked).await;
        meter.abort();
        if let Some(looks) = looks {
            looks.abort();
        }
        exit
    }

    async fn live(&mut self, conn: ShimConn, asked: Option<Probe>) -> Exit {
        let ShimConn {
            tx, rx, process, ..
        } = conn;
        let (mut tx, mut rx): (FrameSender, FrameReceiver) = (tx, rx);
        // Ends with this dyno's life.
        let mut watch = JoinSet::new();
        let asked = asked.and_then(|p| self.ask(p, &mut watch));
        let mut asked = asked.map(Asked::now);
        let mut probing: Option<Probing> = asked.as_ref().map(Asked::start);
        let mut answered = false;
        let mut waiting: Vec<oneshot::Sender<Vec<u16>>> = Vec::new();
        let mut ports_by: Option<Instant> = None;
        let mut kill_by: Option<Instant> = None;
        loop {
            tokio::select! {
                frame = rx.recv() => match frame {
                    Ok(Some(Frame::Exited(exit))) => break exit,
                    Ok(Some(Frame::Listening(ports))) => {
                        for w in waiting.drain(..) {
                            let _ = w.send(ports.clone());
                        }
                        if ports_by.take().is_none() {
                            continue;
                        }
                        match &asked {
                            Some(a) if answered && a.is_among(&ports) => self.answers(a, &mut watch).await,
                            // somebody else answered on the dyno's port
                            Some(a) if answered => probing = Some(a.start_later()),
                            _ => self.timed_out(ports).await,
                        }
                    }
                    Ok(Some(_)) => {}
                    // the shim was killed, or ended just before the connection was made
                    Ok(None) | Err(_) => break self.lost(&process).await,
                },
                () = process.gone() => break self.last_frame(&mut rx).await,
                Some(order) = self.mailbox.recv() => match order {
                    Order::Stop(n) => {
                        folder::mark_stopping(&self.owner.folder(self.dyno));
                        send(&mut tx, &Frame::Signal(n)).await;
                    }
                    Order::Signal(n) => {
                        send(&mut tx, &Frame::Signal(n)).await;
                    }
                    Order::Kill => {
                        send(&mut tx, &Frame::Kill).await;
                        kill_by.get_or_insert(Instant::now() + KILL);
                    }
                    Order::Probe(p) => if let Some(p) = self.ask(p, &mut watch) {
                        probing = Some(asked.insert(Asked::now(p)).start());
                    },
                    Order::Listening(answer) => {
                        waiting.push(answer);
                        send(&mut tx, &Frame::AskListening).await;
                    }
                },
                end = poll(&mut probing) => {
                    probing = None;
                    answered = end;
                    // whose answer it was, or what it listens on instead
                    ports_by = Some(Instant::now() + PORTS);
                    send(&mut tx, &Frame::AskListening).await;
                }
                () = until(ports_by) => {
                    ports_by = None;
                    if let Some(a) = asked.as_ref().filter(|_| answered) {
                        self.answers(a, &mut watch).await;
                    } else {
                        self.timed_out(Vec::new()).await;
                    }
                }
                () = until(kill_by) => {
                    kill_by = None;
                    process.kill();
                }
            }
        }
    }

    /// Gives the probe back when its first answer is to be awaited; otherwise its checks begin.
    fn ask(&self, probe: Probe, watch: &mut JoinSet<()>) -> Option<Probe> {
        watch.abort_all();
        if probe.asks_first() {
            return Some(probe);
        }
        self.watch(probe, watch);
        None
    }

    fn watch(&self, probe: Probe, watch: &mut JoinSet<()>) {
        if !probe.checks.is_empty() {
            watch.spawn(Watch::new(self.owner.clone(), self.dyno, probe).run());
        }
    }

    /// It gave its first answer: its checks begin.
    async fn answers(&self, asked: &Asked, watch: &mut JoinSet<()>) {
        let dyno = self.dyno;
        if !asked.probe.gated() {
            self.owner.report(Fact::Answering { dyno }).await;
        }
        self.watch(asked.probe.clone(), watch);
    }

    async fn timed_out(&self, listening: Vec<u16>) {
        let dyno = self.dyno;
        self.owner
            .report(Fact::BootTimeout { dyno, listening })
            .await;
    }

    /// The connection ended without a last frame.
    async fn lost(&self, process: &Process) -> Exit {
        // the end of a namespace's first process is complete only when all inside are gone
        if timeout(SOON, process.gone()).await.is_err() {
            process.kill();
            process.gone().await;
        }
        self.words().await
    }

    /// The process is gone; the last frame may still be in the socket.
    async fn last_frame(&self, rx: &mut FrameReceiver) -> Exit {
        while let Ok(Ok(Some(frame))) = timeout(SOON, rx.recv()).await {
            if let Frame::Exited(exit) = frame {
                return exit;
            }
        }
        self.words().await
    }

    /// What the shim left; processes without walls are killed when it left nothing.
    async fn words(&self) -> Exit {
        match shim::connect(&self.owner.folder(self.dyno)).await {
            Ok(shim::Found::Ended(exit)) => exit,
            Ok(shim::Found::Alive(_)) | Err(_) => Exit::Lost,
        }
    }
}

/// A probe and the end of its boot limit.
struct Asked {
    probe: Probe,
    by: Instant,
}

impl Asked {
    fn now(probe: Probe) -> Asked {
        let by = Instant::now() + probe.boot_limit;
        Asked { probe, by }
    }

    fn is_among(&self, ports: &[u16]) -> bool {
        let addr = self.probe.addr;
        addr.is_none_or(|a| ports.contains(&a.port()))
    }

    fn start(&self) -> Probing {
        let (probe, by) = (self.probe.clone(), self.by);
        Box::pin(async move { timeout_at(by, first::answer(&probe)).await.is_ok() })
    }

    /// Once more, after a pause.
    fn start_later(&self) -> Probing {
        let (probing, by) = (self.start(), self.by);
        Box::pin(async move {
            sleep_until(by.min(Instant::now() + AGAIN)).await;
            probing.await
        })
    }
}

/// The probe's end; never, when there is none.
async fn poll(probing: &mut Option<Probing>) -> bool {
    match probing {
        Some(p) => p.await,
        None => std::future::pending().await,
    }
}

async fn until(t: Option<Instant>) {
    match t {
        Some(t) => sleep_until(t).await,
        None => std::future::pending().await,
    }
}

/// A shim that takes nothing any more is noticed by its end.
async fn send(tx: &mut FrameSender, frame: &Frame) {
    let _ = timeout(SOON, tx.send(frame)).await;
}
