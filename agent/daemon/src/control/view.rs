//! Dynos as `ps` shows them.

use super::{Control, DynoView};
use hokku_core::{observed::DynoState, plan::explain};
use hokku_model::{AppId, DynoId, Micros, dyno::DynoRecord};

impl Control {
    /// The dynos of one app, or of all; slots that wait for their back-off are shown as crashed.
    pub(super) fn views(&self, app: Option<AppId>) -> Vec<DynoView> {
        let now = Micros::now();
        let wanted = |a: AppId| app.is_none_or(|w| w == a);
        let mut views: Vec<DynoView> = self
            .observed
            .dynos
            .values()
            .filter(|d| wanted(d.record.app))
            .map(|d| {
                let (state, since) = match d.state {
                    DynoState::Starting { since } => ("starting", since),
                    DynoState::Up { since } => ("up", since),
                    DynoState::Draining { since } | DynoState::Stopping { since, .. } => {
                        ("stopping", since)
                    }
                };
                let why = explain::why(
                    &self.desired,
                    &self.observed,
                    d.record.app,
                    &d.record.name,
                    now,
                );
                DynoView {
                    record: d.record.clone(),
                    state,
                    since,
                    pid: d.pid,
                    why,
                }
            })
            .collect();
        for ((app, name), slot) in self.observed.slots.iter().filter(|((a, _), _)| wanted(*a)) {
            let Some(wish) = self.desired.apps.get(app) else {
                continue;
            };
            let runs = self
                .observed
                .dynos
                .values()
                .any(|d| d.record.app == *app && d.record.name == *name);
            let asked = wish
                .formation
                .get(&name.kind)
                .is_some_and(|n| name.index <= *n);
            if runs || !asked || slot.crashes == 0 {
                continue;
            }
            let current = wish.current.as_ref();
            let record = DynoRecord {
                id: DynoId(0),
                name: name.clone(),
                app: *app,
                app_name: wish.name.clone(),
                version: slot.version,
                slug: None,
                port: None,
                command: current
                    .and_then(|r| r.process_types.get(&name.kind))
                    .cloned()
                    .unwrap_or_default(),
                started_at: slot.last,
                oneoff: false,
            };
            let why = explain::why(&self.desired, &self.observed, *app, name, now);
            views.push(DynoView {
                record,
                state: "crashed",
                since: slot.last,
                pid: 0,
                why,
            });
        }
        views.sort_by(|a, b| {
            (a.record.app, &a.record.name, a.record.id).cmp(&(
                b.record.app,
                &b.record.name,
                b.record.id,
            ))
        });
        views
    }
}
