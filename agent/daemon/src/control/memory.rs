//! Dynos above their soft memory limit: Heroku's lines, and a replacement where the app's owner asked for it.

use super::Control;
use crate::ops::{Actor, Restart};
use hokku_core::memory;
use hokku_model::{
    DynoId, Micros,
    route::{Passing, RouterOrder},
};

impl Control {
    /// Says which requests a dyno had when it was found above its soft limit.
    pub(super) fn in_flight(&self, dyno: DynoId, count: usize, requests: &[Passing]) {
        if let Some(d) = self.observed.dynos.get(&dyno) {
            let text = memory::in_flight(count, requests);
            let name = d.record.name.to_string();
            let app = d.record.app;
            self.hands.logs.write(app, "heroku", &name, &text);
        }
    }

    /// Says so in the app's log, and orders one gracious replacement at most.
    pub(super) fn over_memory(&mut self, dyno: DynoId, used: u64, soft: u64) {
        let Some(d) = self.observed.dynos.get(&dyno) else {
            return;
        };
        let (app, name) = (d.record.app, d.record.name.clone());
        let mut lines = memory::r14(used, soft).to_vec();
        let replaced = memory::to_replace(&self.observed, dyno, Micros::now());
        if replaced {
            lines.push("Replacing the dyno, because memory-restart is set".into());
        }
        for line in &lines {
            self.hands
                .logs
                .write(app, "heroku", &name.to_string(), line);
        }
        if self.observed.router.connected && d.takes_requests() {
            let order = RouterOrder::ShowInFlight { dyno };
            self.hands.router.order(order);
        }
        if replaced {
            let ops = self.hands.ops.clone();
            tokio::spawn(async move {
                let actor = Actor::new("memory-restart");
                if let Err(e) = ops.restart(&actor, app, Restart::Dyno(name)).await {
                    tracing::warn!(%app, "a dyno above its soft memory limit is not replaced: {e}");
                }
            });
        }
    }
}
