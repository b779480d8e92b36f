//! Deliberate faults in the plan's output: each must be noticed by the invariant that is there for it. A simulation
//! is as good as its invariants.

use crate::world::{Mutant, World};
use hokku_core::{
    action::{Action, Plan},
    limits,
    observed::DynoState,
};
use hokku_model::{
    DynoId, Micros,
    route::{RouteTable, Target},
};
use std::net::{Ipv4Addr, SocketAddr};

/// Lives until somebody notices; most faults show within the first ten.
const LIVES: u64 = 300;

/// The fault must be noticed, and first by one of these invariants.
pub fn noticed(mutant: Mutant, by: &[&str]) {
    for seed in 0..LIVES {
        if let Some(wrong) = World::new(seed, Some(mutant)).live() {
            let name = wrong.split(':').next().unwrap_or_default();
            assert!(
                by.contains(&name),
                "seed {seed} noticed something else: {wrong}"
            );
            return;
        }
    }
    panic!("{LIVES} lives and nobody noticed");
}

/// The fault must be noticed by this invariant alone, which may need a rare life.
pub fn noticed_by(only: &'static str, mutant: Mutant) {
    let found = (0..10 * LIVES).any(|seed| {
        let mut w = World::new(seed, Some(mutant));
        w.only = Some(only);
        w.live().is_some()
    });
    assert!(found, "{} lives and {only} did not notice", 10 * LIVES);
}

pub fn add(p: &mut Plan, now: Micros, action: Action) {
    p.actions.push((action, "a fault".into()));
    p.wake_at.get_or_insert(now.plus(limits::PLAN_AGAIN));
}

pub fn tables(p: &mut Plan) -> impl Iterator<Item = &mut RouteTable> {
    p.actions.iter_mut().filter_map(|(a, _)| match a {
        Action::Route { table } => Some(table),
        _ => None,
    })
}

#[test]
fn stops_instead_of_draining() {
    noticed(
        |_, _, _, p| {
            for (a, _) in &mut p.actions {
                if let Action::Drain { dyno, .. } = a {
                    *a = Action::Stop { dyno: *dyno };
                }
            }
        },
        &["cut-in-flight"],
    );
}

#[test]
fn forgets_that_an_app_has_a_longer_drain_time() {
    noticed(
        |_, o, now, p| {
            for d in o.dynos.values() {
                let (dyno, state) = (d.record.id, &d.state);
                if let DynoState::Draining { since, .. } = state
                    && now.since(*since) >= limits::DRAIN + limits::DRAIN_MARGIN
                {
                    add(p, now, Action::Stop { dyno });
                }
            }
        },
        &["cut-in-flight"],
    );
}

#[test]
fn stops_with_the_table_that_leaves_it_out() {
    noticed(
        |_, o, now, p| {
            let kept = |t: &RouteTable| -> Vec<_> {
                t.apps
                    .values()
                    .flat_map(|a| a.targets.iter().map(|t| t.dyno))
                    .collect()
            };
            let Some(new) = tables(p).next().map(|t| kept(t)) else {
                return;
            };
            for dyno in o.router.sent.iter().flat_map(kept) {
                if o.dynos.contains_key(&dyno) && !new.contains(&dyno) {
                    add(p, now, Action::Stop { dyno });
                }
            }
        },
        &["stopped-while-routed"],
    );
}

#[test]
fn drains_before_the_router_knows() {
    noticed(
        |_, o, now, p| {
            for d in o
                .dynos
                .values()
                .filter(|d| d.stop_asked && d.takes_requests())
            {
                let (dyno, deadline) = (d.record.id, limits::DRAIN);
                if matches!(d.state, DynoState::Up { .. }) && o.router.known.contains(&dyno) {
                    add(p, now, Action::Drain { dyno, deadline });
                }
            }
        },
        &["drained-while-routed"],
    );
}

#[test]
fn promotes_before_the_dynos_answer() {
    noticed(
        |d, o, now, p| {
            for (app, wish) in &d.apps {
                if let Some(c) = &wish.candidate
                    && !o.ending.contains_key(app)
                {
                    let (app, version) = (*app, c.version);
                    add(p, now, Action::Promote { app, version });
                }
            }
        },
        &["promoted-early"],
    );
}

#[test]
fn never_promotes() {
    noticed(
        |_, _, _, p| {
            p.actions
                .retain(|(a, _)| !matches!(a, Action::Promote { .. }))
        },
        &["unending"],
    );
}

#[test]
fn never_abandons() {
    noticed(
        |_, _, _, p| {
            p.actions
                .retain(|(a, _)| !matches!(a, Action::Abandon { .. }))
        },
        &["unending"],
    );
}

#[test]
fn promotes_again_and_again() {
    noticed(
        |d, o, now, p| {
            for (app, e) in &o.ending {
                let wish = d.apps.get(app).and_then(|w| w.candidate.as_ref());
                if wish.is_some_and(|c| c.version == e.version)
                    && !p
                        .actions
                        .iter()
                        .any(|(a, _)| matches!(a, Action::Abandon { .. }))
                {
                    let (app, version) = (*app, e.version);
                    add(p, now, Action::Promote { app, version });
                }
            }
        },
        &["ended-twice", "promoted-early"],
    );
}

#[test]
fn restarts_a_candidate_instead_of_abandoning_it() {
    noticed(
        |_, o, _, p| {
            for (a, _) in &mut p.actions {
                if let Action::Abandon { app, version, .. } = a {
                    let mut slots = o.slots.keys().filter(|s| (s.0, s.1) == (*app, *version));
                    if let Some(slot) = slots.next() {
                        let (app, version, name) = slot.clone();
                        *a = Action::Start { app, name, version };
                    }
                }
            }
        },
        &["candidate-restarted"],
    );
}

#[test]
fn forgets_old_releases() {
    noticed_by("lingering", |d, o, _, p| {
        let old = |id: &DynoId| {
            o.dynos.get(id).is_some_and(|x| {
                let wish = d.apps.get(&x.record.app);
                let current = wish.and_then(|w| w.current.as_ref()).map(|r| r.version);
                current.is_some_and(|v| v > x.record.version)
            })
        };
        p.actions
            .retain(|(a, _)| !matches!(a, Action::Stop { dyno } if old(dyno)));
    });
}

#[test]
fn forgets_destroyed_apps() {
    noticed(
        |d, o, _, p| {
            let gone = |id: &DynoId| {
                o.dynos
                    .get(id)
                    .is_some_and(|x| !d.apps.contains_key(&x.record.app))
            };
            p.actions.retain(|(a, _)| {
                !matches!(a, Action::Stop { dyno } | Action::Drain { dyno, .. } if gone(dyno))
            });
        },
        &["lingering", "unrest"],
    );
}

#[test]
fn routes_a_candidate() {
    noticed(
        |d, o, _, p| {
            for t in tables(p) {
                for (id, routes) in &mut t.apps {
                    let wish = d.apps.get(id).and_then(|w| w.candidate.as_ref());
                    let of = o.dynos.values().filter(|x| {
                        x.record.app == *id && Some(x.record.version) == wish.map(|c| c.version)
                    });
                    for x in of.filter(|x| x.serves()) {
                        if let Some(port) = x.record.port {
                            routes.targets = vec![Target {
                                dyno: x.record.id,
                                name: x.record.name.clone(),
                                addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(),
                            }];
                        }
                    }
                }
            }
        },
        &["candidate-routed"],
    );
}

#[test]
fn routes_what_still_starts() {
    noticed(
        |d, o, _, p| {
            for t in tables(p) {
                for (id, routes) in &mut t.apps {
                    let wish = d.apps.get(id).and_then(|w| w.current.as_ref());
                    let of = o.dynos.values().filter(|x| {
                        x.record.app == *id && Some(x.record.version) == wish.map(|c| c.version)
                    });
                    for x in of.filter(|x| matches!(x.state, DynoState::Starting { .. })) {
                        if let Some(port) = x.record.port {
                            routes.targets.push(Target {
                                dyno: x.record.id,
                                name: x.record.name.clone(),
                                addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(),
                            });
                        }
                    }
                }
            }
        },
        &["unready-routed"],
    );
}

#[test]
fn mixes_two_releases() {
    noticed(
        |_, o, _, p| {
            let sent = o.router.sent.clone().unwrap_or_default();
            for t in tables(p) {
                for (id, routes) in &mut t.apps {
                    if sent
                        .apps
                        .get(id)
                        .is_none_or(|a| a.release == routes.release)
                    {
                        continue;
                    }
                    let old = sent
                        .apps
                        .get(id)
                        .into_iter()
                        .flat_map(|a| a.targets.clone());
                    for t in old.filter(|t| o.dynos.get(&t.dyno).is_some_and(|d| d.serves())) {
                        if !routes.targets.iter().any(|n| n.dyno == t.dyno) {
                            routes.targets.push(t);
                        }
                    }
                }
            }
        },
        &["two-releases-routed"],
    );
}

#[test]
fn routes_less_than_there_is() {
    noticed(
        |_, _, _, p| {
            for t in tables(p) {
                t.apps.values_mut().for_each(|a| a.targets.truncate(1));
            }
        },
        &["unrest", "endless"],
    );
}

#[test]
fn empties_the_routes_first() {
    // The table of a release whose predecessor served: empty once, full with the next.
    noticed(
        |_, o, _, p| {
            let sent = o.router.sent.clone().unwrap_or_default();
            for t in tables(p) {
                for (id, routes) in &mut t.apps {
                    let before = sent.apps.get(id).and_then(|a| a.release);
                    if before.is_some() && before != routes.release {
                        routes.targets.clear();
                    }
                }
            }
        },
        &["emptied"],
    );
}

#[test]
fn stops_the_old_before_its_replacement_is_up() {
    noticed(
        |d, o, _, p| {
            for t in tables(p) {
                for (id, routes) in &mut t.apps {
                    let Some(wish) = d.apps.get(id) else { continue };
                    routes.targets.retain(|t| {
                        let order = wish.restarts.newest_for(&t.name.kind, t.name.index);
                        o.dynos
                            .get(&t.dyno)
                            .is_some_and(|x| x.record.started_at >= order)
                    });
                }
            }
        },
        // The faulty table differs from what should be, so the plan sends it again and again.
        &["emptied", "endless"],
    );
}

#[test]
fn never_replaces_for_a_restart() {
    noticed(
        |d, o, _, p| {
            p.actions.retain(|(a, _)| match a {
                Action::Start { app, name, version } => !o.dynos.values().any(|x| {
                    x.record.app == *app
                        && x.record.name == *name
                        && x.record.version == *version
                        && d.apps.contains_key(app)
                        && x.stays()
                }),
                _ => true,
            });
        },
        &["unrest"],
    );
}

#[test]
fn ignores_the_back_off() {
    noticed(
        |d, o, now, p| {
            for (app, wish) in &d.apps {
                let Some(r) = &wish.current else { continue };
                for (a, v, name) in o.slots.keys() {
                    let wanted = wish.formation.get(&name.kind).copied().unwrap_or(0);
                    let runs = o
                        .dynos
                        .values()
                        .any(|x| x.record.app == *app && x.record.name == *name);
                    let starts = p
                        .actions
                        .iter()
                        .any(|(x, _)| matches!(x, Action::Start { name: n, .. } if n == name));
                    if a == app && *v == r.version && name.index <= wanted && !runs && !starts {
                        let (app, name, version) = (*app, name.clone(), *v);
                        add(p, now, Action::Start { app, name, version });
                    }
                }
            }
        },
        &["backoff"],
    );
}

#[test]
fn starts_twice() {
    noticed(
        |_, _, now, p| {
            let starts: Vec<_> = p.actions.iter().map(|(a, _)| a.clone()).collect();
            for a in starts
                .into_iter()
                .filter(|a| matches!(a, Action::Start { .. }))
            {
                add(p, now, a);
            }
        },
        &["twice", "candidate-restarted"],
    );
}

#[test]
fn kills_together_with_the_term() {
    noticed(
        |_, _, now, p| {
            let all: Vec<_> = p.actions.iter().map(|(a, _)| a.clone()).collect();
            for a in all {
                if let Action::Stop { dyno } = a {
                    add(p, now, Action::Kill { dyno });
                }
            }
        },
        &["killed-without-grace"],
    );
}

#[test]
fn never_kills() {
    noticed(
        |_, _, _, p| p.actions.retain(|(a, _)| !matches!(a, Action::Kill { .. })),
        &["lingering", "unrest"],
    );
}

#[test]
fn never_looks_again() {
    noticed(
        |_, _, _, p| p.wake_at = None,
        &["unending", "lingering", "unrest"],
    );
}

#[test]
fn gives_tables_old_numbers() {
    noticed(
        |_, o, _, p| {
            for t in tables(p) {
                // As an agent would that begins at 1 without asking the router.
                t.version = o.router.sent.as_ref().map_or(1, |s| s.version + 1);
            }
        },
        &["version-back", "unrest", "endless"],
    );
}

#[test]
fn starts_what_nobody_wants() {
    noticed(
        |d, _, now, p| {
            for (app, wish) in &d.apps {
                let version = wish.current.as_ref().map_or(0, |r| r.version);
                if version > 1 && !p.actions.is_empty() {
                    let (app, name) = (*app, "web.1".parse().expect("a name"));
                    add(
                        p,
                        now,
                        Action::Start {
                            app,
                            name,
                            version: version - 1,
                        },
                    );
                }
            }
        },
        &["unwanted-start"],
    );
}

#[test]
fn requests_to_what_was_stopped_are_noticed_by_themselves() {
    noticed_by("request-lost", |_, o, now, p| {
        for d in o
            .dynos
            .values()
            .filter(|d| d.stop_asked && d.takes_requests())
        {
            if matches!(d.state, DynoState::Up { .. }) {
                let dyno = d.record.id;
                add(p, now, Action::Stop { dyno });
            }
        }
        p.actions
            .retain(|(a, _)| !matches!(a, Action::Route { .. }) || o.router.sent.is_none());
    });
}

#[test]
fn a_flood_of_dynos_is_noticed_by_itself() {
    noticed_by("too-many", |_, _, now, p| {
        let starts: Vec<_> = p.actions.iter().map(|(a, _)| a.clone()).collect();
        for a in starts {
            if matches!(&a, Action::Start { name, .. } if name.kind.is_web()) {
                (0..12).for_each(|_| add(p, now, a.clone()));
            }
        }
    });
}

#[test]
fn kills_what_serves() {
    noticed_by("killed-while-routed", |_, o, now, p| {
        for d in o.dynos.values().filter(|d| d.stop_asked) {
            let dyno = d.record.id;
            if matches!(d.state, DynoState::Up { .. }) {
                add(p, now, Action::Kill { dyno });
            }
        }
    });
}

#[test]
fn wakes_at_once() {
    noticed(|_, _, now, p| p.wake_at = Some(now), &["woken-at-once"]);
}

#[test]
fn abandons_without_a_word() {
    noticed(
        |_, _, _, p| {
            for (a, _) in &mut p.actions {
                if let Action::Abandon { reason, .. } = a {
                    reason.clear();
                }
            }
        },
        &["abandoned-without-reason"],
    );
}

#[test]
fn routes_twice_or_astray() {
    noticed(
        |_, _, _, p| {
            for a in tables(p).flat_map(|t| t.apps.values_mut()) {
                a.targets.extend(a.targets.clone());
            }
        },
        &["routed-twice"],
    );
    noticed(
        |_, _, _, p| {
            for t in tables(p)
                .flat_map(|t| t.apps.values_mut())
                .flat_map(|a| &mut a.targets)
            {
                let astray = t.addr.port().unwrap_or_default() + 1;
                t.addr = SocketAddr::from((Ipv4Addr::LOCALHOST, astray)).into();
            }
        },
        &["routed-astray"],
    );
}

#[test]
fn never_sends_the_certificates() {
    noticed_by("unrest", |_, _, _, p| {
        p.actions
            .retain(|(a, _)| !matches!(a, Action::Certify { .. }))
    });
}

#[test]
fn sends_certificates_as_an_older_version() {
    noticed_by("certs-version", |_, _, _, p| {
        for (a, _) in &mut p.actions {
            if let Action::Certify { version } = a {
                *version = version.saturating_sub(1);
            }
        }
    });
}
