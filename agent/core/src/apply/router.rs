//! Facts about the router: what it was told, what it confirmed, what it may still send requests to.

use crate::observed::{DynoState, Observed};
use hokku_model::{DynoId, Micros, route::RouteTable};
use std::time::Duration;

impl Observed {
    pub(super) fn drain_ordered(&mut self, id: DynoId, deadline: Duration, now: Micros) {
        let Some(d) = self.dynos.get_mut(&id) else {
            return;
        };
        match d.state {
            DynoState::Starting { .. } | DynoState::Up { .. } => {
                d.state = DynoState::Draining {
                    since: now,
                    until: now.plus(deadline),
                };
            }
            DynoState::Draining { .. } => {}
            _ => return,
        }
        if self.router.connected {
            self.router.draining.insert(id);
        }
    }

    pub(super) fn table_sent(&mut self, table: &RouteTable, now: Micros) {
        let r = &mut self.router;
        r.newest = r.newest.max(table.version);
        // Even on a connection that broke meanwhile: the table may have arrived.
        let dynos = &self.dynos;
        r.known
            .extend(targets(table).filter(|d| dynos.contains_key(d)));
        if r.connected {
            r.sent = Some(table.clone());
            r.sent_at = now;
        }
    }

    pub(super) fn routed(&mut self, version: u64) {
        let r = &mut self.router;
        r.newest = r.newest.max(version);
        r.applied = r.applied.max(version);
        if let Some(t) = r.sent.as_ref().filter(|t| t.version == version) {
            let dynos = &self.dynos;
            r.known = targets(t).filter(|d| dynos.contains_key(d)).collect();
        }
    }

    pub(super) fn router_came(&mut self, version: u64, now: Micros) {
        let r = &mut self.router;
        r.connected = true;
        r.since = now;
        r.sent = None;
        r.applied = version;
        r.newest = r.newest.max(version);
        r.draining.clear();
        if version == 0 {
            r.known.clear();
        }
    }

    pub(super) fn drained(&mut self, id: DynoId, now: Micros) {
        self.router.draining.remove(&id);
        if let Some(d) = self.dynos.get_mut(&id)
            && matches!(d.state, DynoState::Draining { .. })
        {
            d.state = DynoState::Drained { since: now };
        }
    }

    pub(super) fn router_went(&mut self, now: Micros) {
        let r = &mut self.router;
        if r.connected {
            r.since = now;
        }
        r.connected = false;
        r.sent = None;
        r.draining.clear();
    }
}

fn targets(table: &RouteTable) -> impl Iterator<Item = DynoId> {
    table
        .apps
        .values()
        .flat_map(|a| a.targets.iter().map(|t| t.dyno))
}
