//! Carrying out the plan's actions. Each one that starts something half-done first says so to `Observed`.

use super::{Control, Internal, launch};
use hokku_core::{action::Action, event::Event};
use hokku_model::{AppId, DynoId, DynoName, Micros, dyno::DynoRecord, route::RouterOrder};

impl Control {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Start { app, name, version } => self.start(app, name, version),
            Action::Route { table } => {
                self.hands.router.order(RouterOrder::Table {
                    table: table.clone(),
                });
                self.apply(&Event::TableSent { table });
            }
            Action::Certify { version } => {
                let certs = self.desired.certs;
                self.apply(&Event::CertsSent { certs, version });
                let (ops, router) = (self.hands.ops.clone(), self.hands.router.clone());
                tokio::spawn(async move {
                    match ops.cert_table().await {
                        Ok(mut table) => {
                            table.version = version;
                            router.order(RouterOrder::Certs { certs: table });
                        }
                        Err(e) => {
                            tracing::error!("the certificates can't be read, trying again: {e}")
                        }
                    }
                });
            }
            Action::Drain { dyno, deadline } => {
                self.hands.router.order(RouterOrder::Drain {
                    dyno,
                    deadline_ms: deadline.as_millis() as u64,
                });
                self.apply(&Event::DrainOrdered { dyno, deadline });
            }
            Action::Stop { dyno } => {
                let dynos = &self.observed.dynos;
                let signal = dynos.get(&dyno).map(|d| d.record.care.signal());
                let signal = signal.unwrap_or(libc::SIGTERM);
                self.hands.supervisor.stop(dyno, signal);
                self.apply(&Event::StopOrdered { dyno });
            }
            Action::Replace { dyno } => self.apply(&Event::ReplaceOrdered { dyno }),
            Action::Kill { dyno } => {
                if self.hands.supervisor.kill(dyno) {
                    self.apply(&Event::KillOrdered { dyno });
                } else {
                    let exit = hokku_model::dyno::Exit::Lost;
                    self.apply(&Event::Exited { dyno, exit });
                }
            }
            Action::Promote { app, version } => {
                self.apply(&Event::PromoteOrdered { app, version });
                let (ops, events) = (self.hands.ops.clone(), self.events.clone());
                tokio::spawn(async move {
                    crate::sys::fault::point("before-promote");
                    let result = ops.promote(app, version).await;
                    crate::sys::fault::point("after-promote");
                    if let Err(e) = result {
                        tracing::error!(%app, version, "the release can't be promoted, trying again: {e}");
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                        let _ = events
                            .send(Internal::Event(Box::new(Event::EndFailed { app, version })))
                            .await;
                    }
                });
            }
            Action::Abandon {
                app,
                version,
                reason,
            } => {
                self.apply(&Event::AbandonOrdered { app, version });
                self.hands.logs.write(
                    app,
                    "heroku",
                    "api",
                    &format!("Release v{version} abandoned: {reason}"),
                );
                let (ops, events) = (self.hands.ops.clone(), self.events.clone());
                tokio::spawn(async move {
                    if let Err(e) = ops.abandon(app, version, &reason).await {
                        tracing::error!(%app, version, "the release can't be abandoned, trying again: {e}");
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                        let _ = events
                            .send(Internal::Event(Box::new(Event::EndFailed { app, version })))
                            .await;
                    }
                });
            }
        }
    }

    /// Chooses id and port, tells `Observed`, and starts the dyno in a task.
    fn start(&mut self, app: AppId, name: DynoName, version: u32) {
        let Some(wish) = self.desired.apps.get(&app) else {
            return;
        };
        let release = [&wish.candidate, &wish.current]
            .into_iter()
            .flatten()
            .find(|r| r.version == version);
        let Some((release, command)) =
            release.and_then(|r| Some((r, r.process_types.get(&name.kind)?)))
        else {
            return;
        };
        let record = DynoRecord {
            id: DynoId(uuid::Uuid::now_v7().as_u128()),
            port: name.kind.is_web().then(|| self.free_port()).flatten(),
            app,
            app_name: wish.name.clone(),
            version,
            slug: release.slug.clone(),
            command: command.clone(),
            started_at: Micros::now(),
            oneoff: false,
            purpose: Default::default(),
            quota: wish.quotas.get(&name.kind).cloned().unwrap_or_default(),
            care: release.app_json.care_of(&name.kind),
            name,
        };
        if wish
            .candidate
            .as_ref()
            .is_some_and(|c| c.version == version)
        {
            self.hands.candidates.started(app, version, record.id);
        }
        self.apply(&Event::Ordered {
            record: record.clone(),
        });
        self.launch(launch::Launch::formation(record));
    }

    /// Starts in a task; a failure comes back as an event.
    pub(super) fn launch(&self, launch: launch::Launch) {
        // a private port is closed to others before anybody listens on it
        self.fence();
        let (hands, events) = (self.hands.clone(), self.events.clone());
        tokio::spawn(async move {
            let dyno = launch.record.id;
            let order = launch.order(&hands).await;
            hands.fence.settled().await;
            match order {
                Ok(order) => hands.supervisor.start(order),
                Err(e) => {
                    let event = Event::StartFailed {
                        dyno,
                        error: format!("{e:#}"),
                    };
                    let _ = events.send(Internal::Event(Box::new(event))).await;
                }
            }
        });
    }

    fn free_port(&self) -> Option<u16> {
        let used = self
            .observed
            .dynos
            .values()
            .filter_map(|d| d.record.port)
            .collect();
        crate::sys::ports::free(self.hands.config.dyno_ports, &used)
    }
}
