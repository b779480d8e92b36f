//! What the control loop does as the elder or the heir of another router; `handover` says how they talk.

use super::{Control, FOR_EVER, Heard, Heir, Role, Wire};
use crate::accept::Gate;
use crate::handover::{self, Answer, Claim, Word};
use crate::thread::Order;
use hokku_model::route::{RouteTable, RouterOrder};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The elder's side of a hand-over.
impl Control {
    pub(super) async fn offer(
        &mut self,
        stream: UnixStream,
        (orders, heirs): &(UnixListener, UnixListener),
        tell: &mpsc::Sender<Heard>,
    ) {
        let pid = std::process::id();
        let mut sockets = vec![orders.as_raw_fd(), heirs.as_raw_fd()];
        sockets.extend(self.parts.sockets.iter().map(AsRawFd::as_raw_fd));
        if let Err(e) = handover::send_fds(&stream, &sockets) {
            return tracing::warn!("a router that asked for a hand-over got none: {e:#}");
        }
        let number = self.number();
        let mut wire = Wire::new(number, stream, tell, Heard::Word);
        if self.heir.is_some() {
            let why = "another hand-over is under way".to_owned();
            wire.say(&Answer::Refused { why }).await;
        } else if wire.say(&Answer::Offer { pid }).await {
            let until = Instant::now() + handover::PATIENCE;
            self.heir = Some(Heir {
                wire,
                until,
                ready: None,
            });
        }
    }

    /// The heir is ready: it gets the table, and the agent's connection ends, so that no order is lost in between.
    pub(super) async fn give(&mut self, pid: u32) {
        self.session = None;
        let yours = Answer::Yours {
            table: self.parts.table.clone(),
            certs: self.parts.certs.clone(),
        };
        if let Some(heir) = &mut self.heir {
            heir.ready = Some(pid);
            if !heir.wire.say(&yours).await {
                self.keep("it does not listen");
            }
        }
    }

    /// Nothing comes of the hand-over.
    pub(super) fn keep(&mut self, why: &str) {
        self.heir = None;
        tracing::error!("the new router did not take over: {why}. This one goes on.");
    }

    pub(super) async fn retire(&mut self) {
        let Some(mut heir) = self.heir.take() else {
            return;
        };
        let Some(pid) = heir.ready else {
            return self.keep("it was not ready");
        };
        if !heir.wire.say(&Answer::Farewell).await {
            return self.keep("it does not listen");
        }
        tracing::info!(heir = pid, "a new router has taken over; this one finishes");
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::MainPid(pid)]);
        self.session = Some(heir.wire);
        self.parts.role.send_replace(Role::Retired);
        self.parts.gate.send_replace(Gate::Closed);
        self.parts.sockets.clear();
        self.all(|| Order::Retire).await;
        let table = std::mem::take(&mut self.parts.table);
        self.bid_farewell(&table);
        self.parts.table = table;
    }

    /// Tunnels to the dynos of this table end after the drain time of their app.
    pub(super) fn bid_farewell(&mut self, table: &RouteTable) {
        let now = Instant::now();
        let standard = self.parts.shared.limits.drain;
        for app in table.apps.values() {
            let own = app.routing.drain_ms.map(Duration::from_millis);
            let wait = own.unwrap_or(standard).min(FOR_EVER);
            for target in &app.targets {
                self.drains.farewell(target.dyno, now + wait);
            }
        }
    }

    pub(super) async fn hurry(&mut self, why: &str) {
        tracing::info!("this router has handed over and ends soon: {why}");
        self.tell_elders(&Word::Stop).await;
        self.parts.role.send_replace(Role::Hurried);
    }
}

/// The heir's side after a hand-over.
impl Control {
    pub(super) async fn follow(&mut self, stream: UnixStream, tell: &mpsc::Sender<Heard>) {
        let number = self.number();
        self.elders
            .push(Wire::new(number, stream, tell, Heard::Answer));
        self.quorum.join(number);
        self.parts.elders.store(self.elders.len(), SeqCst);
        let generations = handover::GENERATIONS - 1;
        self.tell_elders(&Word::Keep { generations }).await;
    }

    pub(super) async fn ask_elders(&mut self, claim: Claim, order: RouterOrder) {
        self.quorum.ask(claim);
        self.tell_elders(&Word::Order { order }).await;
    }

    pub(super) async fn tell_elders(&mut self, word: &Word) {
        let mut lost = Vec::new();
        for elder in &mut self.elders {
            if !elder.say(word).await {
                lost.push(elder.number);
            }
        }
        for number in lost {
            self.lose(number).await;
        }
    }

    pub(super) async fn lose(&mut self, number: u64) {
        self.elders.retain(|e| e.number != number);
        self.parts.elders.store(self.elders.len(), SeqCst);
        let agreed = self.quorum.gone(number);
        self.claim(agreed).await;
    }
}
