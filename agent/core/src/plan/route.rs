//! Which dynos get the requests of which hosts, and when the router has to be told.

use super::{
    Draft,
    crew::{Crew, wanted},
    restart,
};
use crate::{action::Action, desired::Desired, limits, observed::Observed};
use hokku_model::{
    Micros, ProcessType,
    route::{AppRoutes, AppState, RouteTable, Target},
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

/// Sends a table when the one that should be differs from the last one sent on this connection, or when the router
/// does not confirm it.
pub(super) fn publish(desired: &Desired, crews: &[Crew], observed: &Observed, draft: &mut Draft) {
    let r = &observed.router;
    if !r.connected {
        return;
    }
    let table = RouteTable {
        version: r.newest.saturating_add(1),
        apps: crews
            .iter()
            .map(|c| (c.app, routes(c, observed, draft.now)))
            .collect(),
        default_app: desired.default_app,
        front: desired.front.clone(),
    };
    let why = match &r.sent {
        None => "the router has just connected".to_owned(),
        Some(sent) if sent.apps != table.apps => changes(&sent.apps, &table.apps),
        Some(sent) if (sent.default_app, &sent.front) != (table.default_app, &table.front) => {
            "what stands in front of the router, or the default app, changed".to_owned()
        }
        Some(sent) if r.applied == sent.version => return,
        Some(sent) if r.applied > sent.version => format!(
            "the router serves by table {}, which is newer than {}, the last one sent",
            r.applied, sent.version
        ),
        Some(sent) => {
            if !draft.due(r.sent_at.plus(limits::TABLE_AGAIN)) {
                return;
            }
            format!("the router has not confirmed table {}", sent.version)
        }
    };
    draft.act(Action::Route { table }, why);
}

/// One app's part of the table. With the maintenance page on nothing is routed, so no request can slip through.
fn routes(crew: &Crew, observed: &Observed, now: Micros) -> AppRoutes {
    let mut routing = crew.wish.routing.clone();
    // The router needs it by itself, too: when it hands over to another one.
    let drain = u64::try_from(observed.waits.drain.as_millis()).unwrap_or(u64::MAX);
    routing.drain_ms.get_or_insert(drain);
    let state = state(crew, now);
    let targets = match state {
        AppState::Maintenance => vec![],
        _ => crew
            .targets
            .iter()
            .filter_map(|d| {
                Some(Target {
                    dyno: d.record.id,
                    name: d.record.name.clone(),
                    addr: SocketAddr::from((Ipv4Addr::LOCALHOST, d.record.port?)).into(),
                })
            })
            .collect(),
    };
    AppRoutes {
        hosts: crew.wish.hosts.clone(),
        release: crew.serving,
        targets,
        routing,
        ..AppRoutes::new(crew.wish.name.clone(), state)
    }
}

/// How an app without targets stands.
fn state(crew: &Crew, now: Micros) -> AppState {
    if crew.wish.maintenance {
        return AppState::Maintenance;
    }
    let Some(current) = crew.wish.current.as_ref().filter(|r| r.slug.is_some()) else {
        return AppState::Blank;
    };
    if wanted(crew.wish, current, &ProcessType::web()) == 0 {
        return AppState::Stopped;
    }
    let mut web = crew.current.iter().filter(|p| p.name.kind.is_web());
    // A slot that is started by this same plan is about to serve.
    let waits =
        web.all(|p| p.fresh.is_none() && p.stale.is_none() && restart::due(crew.app, p, now) > now);
    if waits && crew.targets.is_empty() {
        AppState::Crashed
    } else {
        AppState::Running
    }
}

fn changes(
    old: &BTreeMap<hokku_model::AppId, AppRoutes>,
    new: &BTreeMap<hokku_model::AppId, AppRoutes>,
) -> String {
    let mut names: Vec<&str> = new
        .iter()
        .filter(|(id, a)| old.get(id) != Some(a))
        .chain(old.iter().filter(|(id, _)| !new.contains_key(id)))
        .map(|(_, a)| a.name.as_str())
        .collect();
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    let more = match more {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("the routes of {}{more} changed", names.join(", "))
}
