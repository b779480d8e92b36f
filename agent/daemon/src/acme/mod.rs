//! Gets and renews certificates by ACME (RFC 8555).
//!
//! What it does: looks which managed names are due, and takes each through one order: account, challenge, proof,
//! certificate. Every step is in the store before the next, so that a new agent goes on where a killed one stood.
//! What it never does: decide *when* (that is `hokku_core::acme`); talk to the router (answers go into the store, and
//! the loop tells what the router has confirmed).
//! Who calls it: `run` starts [`keep`]. Where its tests are: the times' in `hokku-core`, the steps' in `ops`, all of it
//! with a real server in `tests/tests/e2e/acme.rs`.

mod client;
mod order;

use crate::{config::Config, ops::Ops};
use hokku_core::acme;
use hokku_model::{
    Micros,
    cert::{Managed, Served},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet};

/// Orders under way at once.
const AT_ONCE: usize = 4;

/// Looked again after this even if nothing is known to be due: clocks are set.
const LOOK: Duration = Duration::from_secs(3600);

/// After a failure of the store.
const PAUSE: Duration = Duration::from_secs(5);

/// What the room works with.
#[derive(Clone)]
pub struct Acme {
    config: Arc<Config>,
    ops: Ops,
    served: watch::Receiver<Served>,
}

impl Acme {
    /// `served` tells what the router has confirmed.
    pub fn new(config: Arc<Config>, ops: Ops, served: watch::Receiver<Served>) -> Acme {
        Acme {
            config,
            ops,
            served,
        }
    }
}

/// Orders what is due, until shutdown. An order that is cut off goes on with the next agent. Without the operator's
/// agreement to the authority's terms nothing is done.
pub async fn keep(room: Acme, mut shutdown: watch::Receiver<bool>) {
    if !room.config.acme.agree {
        return;
    }
    let mut bell = room.ops.bell();
    let mut busy: BTreeSet<String> = BTreeSet::new();
    let mut work: JoinSet<String> = JoinSet::new();
    loop {
        bell.borrow_and_update();
        let wait = match room.ops.managed().await {
            Ok(names) => room.start_due(names, &mut busy, &mut work),
            Err(e) => {
                tracing::error!("the managed names can't be read, trying again: {e}");
                PAUSE
            }
        };
        tokio::select! {
            _ = shutdown.wait_for(|s| *s) => return,
            Some(ended) = work.join_next() => match ended {
                Ok(host) => { busy.remove(&host); }
                Err(e) => tracing::error!("an order was cut short: {e}"),
            },
            changed = bell.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Acme {
    /// Starts what is due and not under way; says how long until something more is.
    fn start_due(
        &self,
        names: Vec<Managed>,
        busy: &mut BTreeSet<String>,
        work: &mut JoinSet<String>,
    ) -> Duration {
        let now = Micros::now();
        let mut wait = LOOK;
        for m in names {
            if busy.contains(&m.host) {
                continue;
            }
            let ask = m.issued.as_ref().and_then(|i| i.ask_at);
            let next = ask.map_or(acme::due(&m), |a| a.min(acme::due(&m)));
            if next > now {
                wait = wait.min(next.since(now));
            } else if busy.len() < AT_ONCE {
                busy.insert(m.host.clone());
                let room = self.clone();
                work.spawn(async move {
                    let host = m.host.clone();
                    if acme::due(&m) <= now {
                        order::attempt(&room, m).await;
                    } else {
                        order::ask_window(&room, m).await;
                    }
                    host
                });
            }
        }
        wait
    }
}
