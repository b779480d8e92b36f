//! Deliberate faults in what the plan makes of health checks.

use crate::mutants::{add, noticed, noticed_by, tables};
use hokku_core::{
    action::Action,
    observed::{DynoState, Observed},
};
use hokku_model::{
    DynoId,
    route::{RouteTable, Target},
};
use std::net::{Ipv4Addr, SocketAddr};

/// The dynos of an app that are up and fail a check, and those that do not.
fn by_health(o: &Observed, table: &RouteTable, healthy: bool) -> Vec<DynoId> {
    let routed = table.apps.values().flat_map(|a| &a.targets);
    let of = routed.filter(|t| o.dynos.get(&t.dyno).is_some_and(|d| d.healthy() == healthy));
    of.map(|t| t.dyno).collect()
}

#[test]
fn routes_to_dynos_whose_checks_fail() {
    noticed_by("sick-routed", |_, o, _, p| {
        for table in tables(p) {
            for (id, app) in &mut table.apps {
                let Some(release) = app.release else { continue };
                for d in o.dynos.values() {
                    let r = &d.record;
                    let it = r.app == *id && r.version == release && d.takes_requests();
                    if let (true, DynoState::Up { .. }, false, Some(port)) =
                        (it && d.serves(), &d.state, d.healthy(), r.port)
                        && app.targets.iter().all(|t| t.dyno != r.id)
                    {
                        app.targets.push(Target {
                            dyno: r.id,
                            name: r.name.clone(),
                            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(),
                        });
                    }
                }
            }
        }
        // Sent once, as by a plan that believes in it.
        let sent = o.router.sent.as_ref().map(|t| &t.apps);
        p.actions
            .retain(|(a, _)| !matches!(a, Action::Route { table } if Some(&table.apps) == sent));
    });
}

#[test]
fn takes_all_out_of_the_routes_when_the_checks_of_all_fail() {
    noticed_by("emptied", |_, o, _, p| {
        for table in tables(p) {
            let sick = by_health(o, table, false);
            for app in table.apps.values_mut() {
                app.targets.retain(|t| !sick.contains(&t.dyno));
            }
        }
    });
}

#[test]
fn replaces_all_that_fail_at_once() {
    noticed(
        |_, o, now, p| {
            for d in o.dynos.values().filter(|d| d.serves()) {
                if d.dying().is_some() && d.replaced.is_none() {
                    let dyno = d.record.id;
                    p.actions.retain(|(a, _)| *a != Action::Replace { dyno });
                    add(p, now, Action::Replace { dyno });
                }
            }
        },
        &["cure-storm", "cure-budget"],
    );
}

#[test]
fn replaces_without_a_pause() {
    noticed_by("cure-budget", |_, o, now, p| {
        for d in o.dynos.values().filter(|d| d.serves()) {
            let busy = o
                .dynos
                .values()
                .any(|x| x.record.app == d.record.app && x.replaced.is_some());
            if d.dying().is_some() && !busy {
                let dyno = d.record.id;
                p.actions
                    .retain(|(a, _)| !matches!(a, Action::Replace { .. }));
                return add(p, now, Action::Replace { dyno });
            }
        }
    });
}

#[test]
fn replaces_dynos_that_are_well() {
    noticed(
        |_, o, now, p| {
            let well = o.dynos.values().find(|d| {
                d.serves() && d.takes_requests() && d.replaced.is_none() && d.record.care.gated()
            });
            if let Some(d) = well {
                let dyno = d.record.id;
                add(p, now, Action::Replace { dyno });
            }
        },
        &["cured-healthy"],
    );
}

#[test]
fn never_abandons_what_fails_its_check() {
    noticed(
        |_, o, _, p| {
            p.actions.retain(|(a, _)| match a {
                Action::Abandon { app, version, .. } => {
                    let mut of = o
                        .slots
                        .iter()
                        .filter(|(k, _)| (k.0, k.1) == (*app, *version));
                    !of.any(|(_, s)| s.text.contains("startup check"))
                }
                _ => true,
            })
        },
        &["unending"],
    );
}
