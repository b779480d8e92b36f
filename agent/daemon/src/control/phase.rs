//! Release phases: the hands of the plan's steps, and what people see of them.

use super::{Command, Control, launch::Launch};
use crate::{logs::Logs, ops::Ops};
use bytes::Bytes;
use hokku_core::event::Event;
use hokku_model::{
    AppId, DynoId, Micros,
    dyno::{DynoRecord, Exit, Purpose},
    phase::{Claim, Outcome},
    release::ReleaseStatus,
};
use std::{fmt::Write, time::Duration};
use tokio::sync::mpsc;

/// So often the output of a command is looked at while somebody watches.
const LOOK: Duration = Duration::from_millis(50);

/// The status of a one-off that could not be started, as a shell gives it for a program that it can't.
const NOT_STARTED: i32 = 126;

/// How much later than the loop the shim ends a command that takes too long: when no agent is there to do it.
const LATER: u64 = 60;

/// What there is to see of a release phase.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// A command begins: its step's name.
    Begins(String),
    /// Some of its output, with line ends.
    Output(Bytes),
    /// It ended.
    Ended(Outcome),
}

impl Control {
    pub(super) fn claim_step(&mut self, app: AppId, version: u32, step: usize) {
        self.apply(&Event::ClaimOrdered { app, version, step });
        let ops = self.hands.ops.clone();
        tokio::spawn(async move {
            match ops.claim_step(app, version, step).await {
                Ok(_) => crate::sys::fault::point("phase-claimed"),
                Err(e) => {
                    tracing::error!(%app, version, "a release phase can't be claimed, trying again: {e}")
                }
            }
        });
    }

    /// Starts the dyno of a claim. Its id is the claim's, so that it can't be there twice.
    pub(super) fn run_step(&mut self, app: AppId, claim: &Claim) {
        let Some(wish) = self.desired.apps.get(&app) else {
            return;
        };
        let candidate = wish.candidate.as_ref();
        let Some((release, step)) = candidate
            .filter(|c| c.version == claim.version)
            .and_then(|c| Some((c, c.phase.steps.get(claim.step)?)))
        else {
            return;
        };
        let record = DynoRecord {
            id: claim.dyno,
            name: claim.name.clone(),
            app,
            app_name: wish.name.clone(),
            version: claim.version,
            slug: release.slug.clone(),
            port: None,
            command: step.command.clone(),
            started_at: Micros::now(),
            oneoff: true,
            purpose: Purpose::Release,
            quota: (wish.quotas.get(&claim.name.kind).cloned()).unwrap_or_default(),
            care: Default::default(),
        };
        let command = Command::Line(step.command.clone());
        let seconds = self.observed.waits.release.as_secs() + self.observed.waits.grace.as_secs();
        self.apply(&Event::Ordered {
            record: record.clone(),
        });
        let env = Default::default();
        self.launch(Launch::oneoff(
            record,
            command,
            env,
            None,
            Some(seconds + LATER),
        ));
    }

    pub(super) fn conclude_step(&mut self, app: AppId, dyno: DynoId, outcome: Outcome) {
        crate::sys::fault::point("phase-ended");
        self.apply(&Event::ConcludeOrdered {
            app,
            dyno,
            outcome: outcome.clone(),
        });
        let ops = self.hands.ops.clone();
        tokio::spawn(async move {
            match ops.conclude_step(app, dyno, outcome).await {
                Ok(()) => crate::sys::fault::point("phase-concluded"),
                Err(e) => {
                    tracing::error!(%app, "the end of a release command can't be written down, trying again: {e}")
                }
            }
        });
    }

    pub(super) fn forget(&mut self, dyno: DynoId) {
        let supervisor = self.hands.supervisor.clone();
        tokio::spawn(async move { supervisor.forget(dyno).await });
        self.apply(&Event::Forgotten { dyno });
    }

    /// A one-off could not be started.
    pub(super) fn oneoff_failed(&self, dyno: DynoId) {
        let known = self.observed.dynos.get(&dyno);
        if let Some(d) = known.filter(|d| d.record.oneoff) {
            self.oneoff_ended(&d.record, Exit::Code(NOT_STARTED));
        }
    }

    /// A one-off of another kind ended: its end is written down where somebody asks for it, then its folder goes.
    pub(super) fn oneoff_ended(&self, record: &DynoRecord, exit: Exit) {
        let dyno = record.id;
        match record.purpose {
            // the plan says when
            Purpose::Release => {}
            Purpose::Run => {
                let hands = self.hands.clone();
                let app = record.app;
                tokio::spawn(async move {
                    match hands.ops.end_run(app, dyno, exit).await {
                        Ok(()) => hands.supervisor.forget(dyno).await,
                        // found again by the next agent
                        Err(e) => {
                            tracing::error!(%app, %dyno, "the end of a one-off dyno can't be written down: {e}")
                        }
                    }
                });
            }
            // `cron` writes it down
            Purpose::Cron { .. } => {}
            Purpose::Count => {
                let supervisor = self.hands.supervisor.clone();
                tokio::spawn(async move { supervisor.forget(dyno).await });
            }
        }
    }
}

/// What is to be seen of a release's phase, from its beginning: what was written before comes at once. Ends when the
/// phase is over, or when nobody listens.
pub fn watch(ops: Ops, logs: Logs, app: AppId, version: u32) -> mpsc::Receiver<Sight> {
    let (to, from) = mpsc::channel(64);
    tokio::spawn(async move { show(&ops, &logs, app, version, &to).await });
    from
}

async fn show(
    ops: &Ops,
    logs: &Logs,
    app: AppId,
    version: u32,
    to: &mpsc::Sender<Sight>,
) -> Option<()> {
    let mut bell = ops.bell();
    let mut shown = 0;
    loop {
        bell.mark_unchanged();
        let ran = ops.phase(app, version).await.ok()?;
        if let Some(step) = ran.get(shown) {
            to.send(Sight::Begins(step.step.clone())).await.ok()?;
            let ended = follow(ops, logs, (app, version, shown), step.dyno, to).await?;
            to.send(Sight::Ended(ended)).await.ok()?;
            shown += 1;
            continue;
        }
        let release = ops.release(app, version).await.ok()?;
        let failed = |r: &hokku_model::phase::Ran| matches!(r.ended, Some((_, Err(_))));
        if shown >= release.phase.len()
            || ran.iter().any(failed)
            || release.status != ReleaseStatus::Pending
        {
            return Some(());
        }
        tokio::select! {
            changed = bell.changed() => changed.ok()?,
            () = to.closed() => return None,
        }
    }
}

/// Passes on what one dyno writes until its end is written down.
async fn follow(
    ops: &Ops,
    logs: &Logs,
    (app, version, step): (AppId, u32, usize),
    dyno: DynoId,
    to: &mpsc::Sender<Sight>,
) -> Option<Outcome> {
    let mut reader = logs.reader(app, dyno);
    let mut bell = ops.bell();
    loop {
        bell.mark_unchanged();
        let ran = ops.phase(app, version).await.ok()?;
        let ended = ran.get(step).and_then(|r| r.ended.clone());
        loop {
            // All that is written is on disk before the end is: what is read now is complete.
            let (lines, back) = tokio::task::spawn_blocking(move || {
                let lines = reader.more();
                (lines, reader)
            })
            .await
            .ok()?;
            reader = back;
            let nothing = lines.is_empty();
            let mut text = String::new();
            for line in lines {
                let _ = writeln!(text, "{}", line.text);
            }
            if !nothing {
                to.send(Sight::Output(text.into())).await.ok()?;
            }
            match &ended {
                Some(_) if !nothing => continue,
                Some((_, how)) => return Some(how.clone()),
                None => {}
            }
            tokio::select! {
                changed = bell.changed() => { changed.ok()?; break }
                () = tokio::time::sleep(LOOK) => {}
                () = to.closed() => return None,
            }
        }
    }
}
