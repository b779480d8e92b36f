//! Dynos as `ps` shows them.

use super::{Control, DynoView};
use hokku_core::{observed::DynoState, plan::explain};
use hokku_model::{AppId, DynoId, Micros, dyno::DynoRecord};

impl Control {
    /// Is this promoted release what the router serves by now?
    pub(super) fn serves(&self, app: AppId, version: u32) -> bool {
        let Some(wish) = self.desired.apps.get(&app) else {
            return true;
        };
        let current = wish.current.as_ref().map(|r| r.version);
        let web = wish
            .formation
            .iter()
            .any(|(kind, n)| kind.is_web() && *n > 0);
        let router = &self.observed.router;
        if current < Some(version) {
            // Promoted in the store, and not yet read from there.
            return false;
        }
        if current != Some(version) || !web || wish.maintenance || !router.connected {
            return true;
        }
        let sent = router.sent.as_ref().and_then(|t| t.apps.get(&app));
        router.confirmed() && sent.is_some_and(|routes| routes.release == Some(version))
    }

    /// The dynos of one app, or of all; slots that wait for their back-off are shown as crashed.
    pub(super) fn views(&self, app: Option<AppId>) -> Vec<DynoView> {
        let now = Micros::now();
        let wanted = |a: &AppId| app.is_none_or(|w| w == *a);
        let mut views = vec![];
        for dyno in self
            .observed
            .dynos
            .values()
            .filter(|d| wanted(&d.record.app))
        {
            let (state, since) = match dyno.state {
                DynoState::Starting { since } => ("starting", since),
                DynoState::Up { since } => ("up", since),
                DynoState::Draining { since, .. } | DynoState::Drained { since } => {
                    ("stopping", since)
                }
                DynoState::Stopping { since, .. } => ("stopping", since),
                DynoState::Failed { since, .. } => ("crashed", since),
            };
            views.push(DynoView {
                record: dyno.record.clone(),
                state,
                since,
                pid: dyno.pid,
                why: explain::why_dyno(&self.desired, &self.observed, dyno.record.id, now),
            });
        }
        for (id, wish) in self.desired.apps.iter().filter(|(id, _)| wanted(id)) {
            for crashed in explain::crashed(&self.desired, &self.observed, *id, now) {
                let types = wish.current.as_ref().map(|r| &r.process_types);
                let record = DynoRecord {
                    id: DynoId(0),
                    command: types
                        .and_then(|t| t.get(&crashed.name.kind))
                        .cloned()
                        .unwrap_or_default(),
                    name: crashed.name,
                    app: *id,
                    app_name: wish.name.clone(),
                    version: crashed.version,
                    slug: None,
                    port: None,
                    started_at: crashed.since,
                    oneoff: false,
                    purpose: Default::default(),
                    quota: Default::default(),
                    care: Default::default(),
                };
                views.push(DynoView {
                    record,
                    state: "crashed",
                    since: crashed.since,
                    pid: 0,
                    why: crashed.text,
                });
            }
        }
        views.sort_by(|a, b| {
            let key = |v: &DynoView| (v.record.app, v.record.name.clone(), v.record.id);
            key(a).cmp(&key(b))
        });
        views
    }
}
