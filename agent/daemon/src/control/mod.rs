//! The one loop: events in, `plan`, actions out.
//!
//! What it does: owns `Observed`, the queue of builds and the one-off dynos; carries out what `hokku-core` decides.
//! What it never does: decide *when*; that is `hokku_core::plan`. It never awaits long work inside the loop: that
//! runs in tasks, which report back by an event.
//! Who calls it: `api` and `git` through [`Handle`]; `run` starts it.
//! Where its tests are: the kernel's in `agent/core/tests/simulation.rs`, the loop's end to end in `tests/`.

mod act;
mod app_json;
mod candidates;
mod cron;
mod fence;
mod files;
mod handle;
mod hokku_toml;
mod launch;
mod memory;
mod oneoff;
mod phase;
mod push;
mod queue;
mod source;
mod sweep;
mod view;

pub use crate::supervisor::Last;
pub use candidates::Candidates;
pub use handle::{Command, DynoView, Handle, OneoffOrder, Order, PushMessage, PushOrder};
pub use phase::{Sight, watch};

use crate::{
    build::Builder,
    config::Config,
    logs::Logs,
    ops::Ops,
    router::{Link, LinkEvent},
    slug::Slugs,
    supervisor::{AdoptedState, Fact, Supervisor},
    sys::{detect::Walls, fence::Fence},
};
use hokku_core::{
    action::Plan,
    desired::Desired,
    event::Event,
    limits::Waits,
    observed::Observed,
    plan::{plan, why},
};
use hokku_model::{AppId, DynoId, Micros, cert::Served, dyno::DynoRecord, route::RouterReport};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Rounds of planning before the loop looks at its channels again: each action's own event may make the next one due.
const ROUNDS: usize = 8;

/// The rooms the loop gives orders to.
#[derive(Clone)]
pub struct Hands {
    /// The settings.
    pub config: Arc<Config>,
    /// The truth.
    pub ops: Ops,
    /// Processes.
    pub supervisor: Supervisor,
    /// The wire to the router.
    pub router: Link,
    /// Builds.
    pub builder: Builder,
    /// Slugs and their unpacked trees.
    pub slugs: Slugs,
    /// Logs.
    pub logs: Logs,
    /// Told what the router has confirmed.
    pub served: watch::Sender<Served>,
    /// What keeps apps apart in the network.
    pub fence: Fence,
    /// What keeps dynos apart on this host.
    pub walls: Walls,
    /// What was started for releases that are being rolled out.
    pub candidates: Candidates,
}

/// What the loop listens to.
pub struct Ears {
    /// From [`Handle`].
    pub orders: mpsc::Receiver<Order>,
    /// From the supervisor.
    pub facts: mpsc::Receiver<Fact>,
    /// From the router.
    pub reports: mpsc::Receiver<LinkEvent>,
    /// Rung after each commit.
    pub bell: watch::Receiver<u64>,
    /// Ends the loop.
    pub shutdown: watch::Receiver<bool>,
}

/// The loop's own state.
pub struct Control {
    hands: Hands,
    desired: Arc<Desired>,
    observed: Observed,
    /// What the router could not use of the certificates it took last, in words.
    refused: Vec<String>,
    /// Tasks report here.
    events: mpsc::Sender<Internal>,
    internal: mpsc::Receiver<Internal>,
    /// Runs whose asker waits until the process runs.
    asked: BTreeMap<DynoId, oneshot::Sender<Result<DynoRecord, String>>>,
    builds: queue::Queue,
    fences: fence::Fences,
    /// Destroyed apps whose files are deleted once their last dyno and their last build are gone.
    gone: BTreeSet<AppId>,
    laid: files::Laid,
    /// To the one who looks after cron.
    cron: mpsc::Sender<cron::Note>,
}

/// What tasks of the loop report.
enum Internal {
    /// Something happened.
    Event(Box<Event>),
    /// A push has its slug: another app's build may start.
    Built(AppId),
    /// A push ended: the next one of the app may start.
    PushEnded(AppId),
    /// A run of a cron entry is to be started.
    Cron(Box<launch::Launch>),
}

impl Control {
    /// Adopts what runs, then loops until shutdown. Dynos, router and their connections live on.
    ///
    /// # Errors
    /// The store can't be read at the start.
    pub async fn run(hands: Hands, mut ears: Ears) -> anyhow::Result<()> {
        let (events, internal) = mpsc::channel(1024);
        let desired = hands.ops.desired().await?;
        let settings = hands.config.now();
        let waits = waits(&settings);
        let builds = queue::Queue::new(settings.build.parallel);
        let (cron, notes) = mpsc::channel(cron::NOTES);
        let mut control = Control {
            hands,
            desired,
            observed: Observed {
                waits,
                ..Observed::default()
            },
            refused: vec![],
            events,
            internal,
            asked: BTreeMap::new(),
            builds,
            fences: BTreeMap::new(),
            gone: BTreeSet::new(),
            laid: files::Laid::default(),
            cron,
        };
        control.laid.follow(&control.hands, &control.desired);
        control.adopt().await;
        let alive = control.observed.dynos.keys().copied().collect();
        if let Err(e) = control.hands.ops.end_lost_runs(&alive).await {
            tracing::error!("one-off dynos that were lost can't be written down: {e}");
        }
        control.read_fences().await;
        control.gone = sweep::orphans(&control.hands.config.data_dir, &control.desired);
        control.sweep();
        control.keep_cron(notes, ears.shutdown.clone());
        loop {
            let wake_at = control.settle();
            tokio::select! {
                biased;
                changed = ears.shutdown.changed() => if changed.is_err() || *ears.shutdown.borrow() { return Ok(()) },
                Some(fact) = ears.facts.recv() => control.fact(fact),
                Some(report) = ears.reports.recv() => control.report(report),
                Some(internal) = control.internal.recv() => control.internal(internal),
                Ok(()) = ears.bell.changed() => {
                    ears.bell.borrow_and_update();
                    control.reread().await;
                    control.read_fences().await;
                }
                Some(order) = ears.orders.recv() => match order {
                    Order::Reread => control.settings_changed().await,
                    order => control.order(order),
                },
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Takes the newest wishes. A store that can't be read changes nothing: the apps go on as they are.
    async fn reread(&mut self) {
        match self.hands.ops.desired().await {
            Ok(desired) => {
                let old = std::mem::replace(&mut self.desired, desired);
                self.gone.extend(
                    old.apps
                        .keys()
                        .filter(|a| !self.desired.apps.contains_key(a)),
                );
                self.laid.follow(&self.hands, &self.desired);
            }
            Err(e) => tracing::error!("the store can't be read, the last known wishes stay: {e}"),
        }
    }

    /// Takes over what has changed in the settings file.
    async fn settings_changed(&mut self) {
        let settings = self.hands.config.now();
        self.observed.waits = waits(&settings);
        self.builds.allow(settings.build.parallel);
        self.hands.ops.settings_changed();
        self.reread().await;
    }

    /// Takes back every dyno that is alive.
    async fn adopt(&mut self) {
        let routed: BTreeSet<DynoId> = crate::router::snapshot(&self.hands.config)
            .apps
            .values()
            .flat_map(|a| a.targets.iter().map(|t| t.dyno))
            .collect();
        let mut count = 0;
        for found in self.hands.supervisor.adopt().await {
            let record = found.record;
            let dyno = record.id;
            let runs = found.state == AdoptedState::Running;
            count += usize::from(runs);
            let routed = routed.contains(&dyno);
            // One that is up is asked only by its checks.
            let up = routed || record.port.is_none();
            if runs && !found.stopping {
                let wish = self.desired.apps.get(&record.app);
                let domain = wish.and_then(|w| w.hosts.get(1)).map(String::as_str);
                if let Some(probe) = launch::probe(&self.hands.config.now(), &record, domain, up) {
                    self.hands.supervisor.probe(record.id, probe);
                }
            }
            self.apply(&Event::Adopted {
                record,
                routed,
                pid: found.pid,
            });
            if runs && found.stopping {
                self.apply(&Event::StopOrdered { dyno });
            }
        }
        if count > 0 {
            tracing::info!(count, "adopted running dynos");
        }
    }

    /// Plans and acts until there is nothing more to do now; says when to look again.
    fn settle(&mut self) -> Option<Micros> {
        let mut wake_at = None;
        for _ in 0..ROUNDS {
            let Plan {
                actions,
                wake_at: at,
            } = plan(&self.desired, &self.observed, Micros::now());
            wake_at = at;
            if actions.is_empty() {
                break;
            }
            for (action, reason) in actions {
                tracing::debug!(?action, reason, "acting");
                self.act(action);
            }
        }
        self.tell_served();
        self.fence();
        self.start_builds();
        self.forget_gone();
        wake_at
    }

    /// Tells whoever waits for the router what it has now.
    fn tell_served(&self) {
        let r = &self.observed.router;
        let table = r.sent.as_ref().filter(|_| r.confirmed());
        let challenges = table.map(|t| t.front.challenges.clone());
        let new = Served {
            challenges: challenges.unwrap_or_default(),
            certs: r.certs.confirmed(),
            refused: self.refused.clone(),
        };
        self.hands.served.send_if_modified(|old| {
            let changed = *old != new;
            if changed {
                *old = new;
            }
            changed
        });
    }

    fn apply(&mut self, event: &Event) {
        self.note_cron(event);
        for note in self.observed.apply(event, Micros::now()) {
            if let Some(dyno) = candidates::dyno_of(event) {
                self.hands.candidates.said(dyno, &note.dyno, &note.text);
            }
            self.hands
                .logs
                .write(note.app, "heroku", &note.dyno, &note.text);
        }
    }

    fn fact(&mut self, fact: Fact) {
        let event = match fact {
            Fact::Running { dyno, .. } if !self.observed.dynos.contains_key(&dyno) => {
                // Given up before it ran: it must not live on unknown.
                self.hands.supervisor.kill(dyno);
                return;
            }
            Fact::Running { dyno, pid } => {
                if let Some(asker) = self.asked.remove(&dyno)
                    && let Some(d) = self.observed.dynos.get(&dyno)
                {
                    let _ = asker.send(Ok(d.record.clone()));
                }
                Event::Running { dyno, pid }
            }
            Fact::StartFailed { dyno, error } => {
                if let Some(asker) = self.asked.remove(&dyno) {
                    let _ = asker.send(Err(error.clone()));
                }
                self.oneoff_failed(dyno);
                Event::StartFailed { dyno, error }
            }
            Fact::Answering { dyno } => Event::Answering { dyno },
            Fact::Checked {
                dyno,
                check,
                outcome,
            } => Event::Checked {
                dyno,
                check,
                outcome,
            },
            Fact::BootTimeout { dyno, listening } => Event::BootTimedOut { dyno, listening },
            Fact::Said { dyno, text } => {
                if let Some(d) = self.observed.dynos.get(&dyno) {
                    let (app, name) = (d.record.app, d.record.name.to_string());
                    self.hands.candidates.said(dyno, &name, &text);
                    self.hands.logs.write(app, "heroku", &name, &text);
                }
                return;
            }
            Fact::OverMemory { dyno, used, soft } => return self.over_memory(dyno, used, soft),
            Fact::Exited { dyno, exit } => Event::Exited { dyno, exit },
        };
        let ended = match &event {
            Event::Exited { dyno, exit } => self.observed.dynos.get(dyno).map(|d| {
                if d.record.oneoff {
                    self.oneoff_ended(&d.record, *exit);
                }
                d.record.app
            }),
            _ => None,
        };
        self.apply(&event);
        // not only at pushes: an app that writes much and crashes again and again leaves a log each time
        if let Some(app) = ended {
            let hands = self.hands.clone();
            tokio::spawn(sweep::logs(hands, vec![app], self.alive()));
        }
    }

    fn report(&mut self, event: LinkEvent) {
        let event = match event {
            LinkEvent::Came { version } => Event::RouterCame { version },
            LinkEvent::Went => Event::RouterWent,
            LinkEvent::Report(RouterReport::Applied { version }) => Event::Routed { version },
            LinkEvent::Report(RouterReport::Drained { dyno }) => Event::Drained { dyno },
            LinkEvent::Report(RouterReport::CertsApplied { version, refused }) => {
                for why in &refused {
                    tracing::warn!(version, "the router refused a certificate: {why}");
                }
                self.refused = refused;
                Event::Certified { version }
            }
            LinkEvent::Report(RouterReport::InFlight {
                dyno,
                count,
                requests,
            }) => return self.in_flight(dyno, count, &requests),
            LinkEvent::Report(RouterReport::Hello { version, .. }) => Event::RouterCame { version },
        };
        self.apply(&event);
    }

    fn internal(&mut self, internal: Internal) {
        match internal {
            Internal::Event(event) => {
                if let Event::StartFailed { dyno, error } = &*event {
                    if let Some(asker) = self.asked.remove(dyno) {
                        let _ = asker.send(Err(error.clone()));
                    }
                    self.oneoff_failed(*dyno);
                }
                self.apply(&event);
            }
            Internal::Cron(launch) => {
                let record = launch.record.clone();
                self.apply(&Event::Ordered { record });
                self.launch(*launch);
            }
            Internal::Built(app) => self.builds.built(app),
            Internal::PushEnded(app) => {
                self.builds.ended(app);
                self.sweep();
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Push(order, to) => self.builds.add(order, to),
            Order::Run(order, answer) => self.oneoff(order, answer),
            Order::Dynos(app, answer) => {
                let _ = answer.send(self.views(app));
            }
            Order::Serves(app, version, answer) => {
                let _ = answer.send(self.serves(app, version));
            }
            Order::Why(app, name, answer) => {
                let now = Micros::now();
                let said = why::why(&self.desired, &self.observed, app, &name, now);
                let _ = answer.send(said);
            }
            Order::Stop(dyno) => self.apply(&Event::StopAsked { dyno }),
            Order::Turn(answer) => {
                let _ = answer.send(());
            }
            Order::Reread => {}
        }
    }

    /// Deletes the files of destroyed apps that no dyno and no build uses any more.
    fn forget_gone(&mut self) {
        let used: BTreeSet<AppId> = self.observed.dynos.values().map(|d| d.record.app).collect();
        let builds = &self.builds;
        let free = |app: &AppId| !used.contains(app) && !builds.busy(*app);
        for app in self.gone.extract_if(.., free) {
            let hands = self.hands.clone();
            tokio::task::spawn_blocking(move || {
                hands.slugs.forget(app);
                hands.builder.forget(app);
                hands.logs.forget(app);
            });
        }
    }

    /// Starts the builds whose turn it is.
    fn start_builds(&mut self) {
        for (order, to) in self.builds.next() {
            let (hands, events) = (self.hands.clone(), self.events.clone());
            tokio::spawn(async move {
                let app = order.app;
                push::push(hands, order, to, &events).await;
                let _ = tokio::task::spawn_blocking(crate::sys::memory::give_back).await;
                let _ = events.send(Internal::PushEnded(app)).await;
            });
        }
    }

    /// Deletes what is over budget, away from the loop.
    fn sweep(&self) {
        let hands = self.hands.clone();
        let slug =
            |d: &hokku_core::observed::Dyno| d.record.slug.clone().map(|s| (d.record.app, s));
        let running: BTreeSet<_> = self.observed.dynos.values().filter_map(slug).collect();
        tokio::spawn(sweep::sweep(hands, self.alive(), running));
    }

    /// The dynos whose log may still be written.
    fn alive(&self) -> BTreeSet<String> {
        self.observed.dynos.keys().map(DynoId::to_string).collect()
    }
}

fn waits(settings: &Config) -> Waits {
    Waits {
        boot: Duration::from_secs(settings.boot_timeout),
        grace: Duration::from_secs(settings.stop_grace),
        drain: Duration::from_secs(settings.drain_timeout),
        release: Duration::from_secs(settings.release_timeout),
        memory_restart: Duration::from_secs(settings.memory_restart_after),
    }
}

async fn sleep_until(at: Option<Micros>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(Micros::now()).max(Duration::from_millis(1))).await,
        None => std::future::pending().await,
    }
}
