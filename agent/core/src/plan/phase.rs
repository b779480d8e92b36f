//! The release phase: each of its commands is claimed in the store, run in a dyno of the id that was claimed, and its
//! end is written to the store. Nothing of the candidate starts before all of them ended well.
//!
//! At most once: a claimed dyno is started only while neither it nor its end is known, and what is known of it stays on
//! disk until the store has its end. So an agent that is killed anywhere leaves the next one either a dyno to adopt, an
//! end to write down, or a claim whose dyno never began.

use super::{Draft, crew::Crew};
use crate::{
    action::Action,
    desired::{Desired, ReleaseWish},
    observed::Observed,
};

/// Runs what is claimed, stops it when its time is over, and writes down its end. Also for a release that was
/// superseded meanwhile: its command is not cut off in the middle.
pub(super) fn carry_on(crew: &Crew, observed: &Observed, draft: &mut Draft) {
    let Some(claim) = &crew.wish.claim else {
        return;
    };
    let (app, dyno) = (crew.app, claim.dyno);
    if let Some(ended) = observed.ended.get(&dyno) {
        if draft.due(ended.again) {
            let outcome = ended.outcome.clone();
            let why = format!("{} has ended", claim.name);
            draft.act(Action::Conclude { app, dyno, outcome }, why);
        }
    } else if let Some(d) = observed.dynos.get(&dyno) {
        let limit = observed.waits.release;
        if d.stays() && draft.due(d.record.started_at.plus(limit)) {
            let why = format!("{} took longer than a release phase may", claim.name);
            draft.act(Action::Stop { dyno }, why);
        }
    } else if crew.candidate().is_some_and(|c| c.version == claim.version) {
        let claim = claim.clone();
        let why = format!(
            "{} of v{} is claimed and never began",
            claim.name, claim.version
        );
        draft.act(Action::RunStep { app, claim }, why);
    } else {
        let outcome = Err("did not begin: a newer release took its place".to_owned());
        let why = format!("v{} is not being rolled out any more", claim.version);
        draft.act(Action::Conclude { app, dyno, outcome }, why);
    }
}

/// Claims the candidate's next command, when no other one of the app is claimed.
pub(super) fn claim(crew: &Crew, candidate: &ReleaseWish, observed: &Observed, draft: &mut Draft) {
    let (app, version, step) = (crew.app, candidate.version, candidate.phase.done);
    if crew.wish.claim.is_some() {
        return;
    }
    if let Some(c) = observed.claiming.get(&app)
        && (c.version, c.step) == (version, step)
        && !draft.due(c.again)
    {
        return;
    }
    let why = format!("v{version} has to pass its release phase before it can serve");
    draft.act(Action::Claim { app, version, step }, why);
}

/// Why the candidate's release phase failed, in words for the pusher.
pub(super) fn failure(crew: &Crew, candidate: &ReleaseWish, stays: &str) -> Option<String> {
    let phase = &candidate.phase;
    let text = phase.failed.as_ref()?;
    let step = phase.steps.get(phase.done).map_or("release", |s| &s.name);
    Some(format!(
        "The {step} command of v{version} {text}.{stays} See its output with `app releases:output v{version} -a {app}`; \
         fix it and push again, or run it again with `app releases:retry -a {app}`.",
        version = candidate.version,
        app = crew.wish.name,
    ))
}

/// Gives up what is kept of ends that the store has, or that nobody asks for any more.
pub(super) fn forget(desired: &Desired, observed: &Observed, draft: &mut Draft) {
    for (dyno, ended) in &observed.ended {
        let wish = desired.apps.get(&ended.app);
        let claim = wish.and_then(|w| w.claim.as_ref());
        if claim.is_none_or(|c| c.dyno != *dyno) {
            let dyno = *dyno;
            draft.act(Action::Forget { dyno }, "the store has its end");
        }
    }
}
