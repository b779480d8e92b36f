//! Deliberate faults in the release phase.

use crate::mutants::{add, noticed, noticed_by};
use hokku_core::action::Action;
use hokku_model::phase::Claim;

#[test]
fn starts_a_release_whose_phase_is_not_over() {
    noticed(
        |d, _, now, p| {
            for (app, wish) in &d.apps {
                if let Some(c) = wish.candidate.as_ref().filter(|c| !c.phase.over())
                    && c.slug.is_some()
                    && c.process_types.keys().any(|k| k.is_web())
                {
                    let (app, version) = (*app, c.version);
                    let name = "web.1".parse().expect("a name");
                    add(p, now, Action::Start { app, name, version });
                }
            }
        },
        &["phase-early"],
    );
}

#[test]
fn promotes_a_release_whose_phase_is_not_over() {
    noticed_by("phase-skipped", |d, o, now, p| {
        for (app, wish) in &d.apps {
            if let Some(c) = wish.candidate.as_ref().filter(|c| !c.phase.over())
                && !o.ending.contains_key(app)
            {
                let (app, version) = (*app, c.version);
                add(p, now, Action::Promote { app, version });
            }
        }
    });
}

#[test]
fn runs_what_runs_already() {
    noticed(
        |d, o, now, p| {
            for (app, wish) in &d.apps {
                if let Some(claim) = &wish.claim
                    && o.dynos.contains_key(&claim.dyno)
                {
                    let (app, claim) = (*app, claim.clone());
                    add(p, now, Action::RunStep { app, claim });
                }
            }
        },
        &["phase-twice"],
    );
}

#[test]
fn runs_what_has_ended() {
    noticed(
        |d, o, now, p| {
            for (app, wish) in &d.apps {
                if let Some(claim) = &wish.claim
                    && o.ended.contains_key(&claim.dyno)
                {
                    let (app, claim) = (*app, claim.clone());
                    add(p, now, Action::RunStep { app, claim });
                }
            }
        },
        &["phase-twice"],
    );
}

#[test]
fn runs_a_new_release_beside_the_command_of_the_old_one() {
    noticed(
        |d, o, now, p| {
            for (app, wish) in &d.apps {
                if let (Some(claim), Some(c)) = (&wish.claim, &wish.candidate)
                    && c.version != claim.version
                    && o.dynos.contains_key(&claim.dyno)
                {
                    let claim = Claim {
                        version: c.version,
                        dyno: hokku_model::DynoId(u128::from(c.version) + 1),
                        ..claim.clone()
                    };
                    add(p, now, Action::RunStep { app: *app, claim });
                }
            }
        },
        &["phase-twice"],
    );
}

#[test]
fn forgets_an_end_that_the_store_has_not() {
    noticed(
        |_, o, now, p| {
            for dyno in o.ended.keys() {
                add(p, now, Action::Forget { dyno: *dyno });
            }
        },
        &["phase-forgotten"],
    );
}

#[test]
fn takes_every_end_for_a_good_one() {
    noticed(
        |_, _, _, p| {
            for (a, _) in &mut p.actions {
                if let Action::Conclude { outcome, .. } = a {
                    *outcome = Ok(());
                }
            }
        },
        &["phase-lied"],
    );
}

#[test]
fn never_writes_an_end_down() {
    noticed(
        |_, _, _, p| {
            p.actions
                .retain(|(a, _)| !matches!(a, Action::Conclude { .. }))
        },
        &["unending", "unrest"],
    );
}

#[test]
fn never_claims() {
    noticed(
        |_, _, _, p| {
            p.actions
                .retain(|(a, _)| !matches!(a, Action::Claim { .. }))
        },
        &["unending", "unrest"],
    );
}

#[test]
fn lets_a_command_run_for_ever() {
    noticed(
        |d, _, _, p| {
            p.actions.retain(|(a, _)| {
                let claimed = |dyno| {
                    d.apps
                        .values()
                        .any(|w| w.claim.as_ref().is_some_and(|c| c.dyno == dyno))
                };
                !matches!(a, Action::Stop { dyno } if claimed(*dyno))
            });
        },
        &["unending", "unrest"],
    );
}

#[test]
fn never_forgets() {
    noticed(
        |_, _, _, p| {
            p.actions
                .retain(|(a, _)| !matches!(a, Action::Forget { .. }))
        },
        &["unrest"],
    );
}
