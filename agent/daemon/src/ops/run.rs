//! One-off dynos that people run: who ran what, and how it ended. The newest ones that ended are kept.

use super::{Ops, OpsError, Result, app};
use crate::store::Tx;
use hokku_model::{AppId, DynoId, Micros, app::App, dyno::Exit};
use std::collections::BTreeSet;

pub use hokku_model::run::Run;

/// So many that ended are kept of an app.
const KEPT: usize = 200;

fn kind(app: AppId) -> String {
    format!("run {app}")
}

/// Forgets all of an app that is gone.
pub(super) fn forget(tx: &Tx, app: AppId) -> Result<()> {
    for doc in tx.list::<Run>(&kind(app))? {
        tx.delete(&kind(app), &doc.key)?;
    }
    Ok(())
}

impl Ops {
    /// Writes down that a one-off is about to start.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn begin_run(&self, app: AppId, run: Run) -> Result<()> {
        self.store()
            .write(|tx| {
                app::load(tx, app)?;
                let kind = kind(app);
                let mut ended: Vec<_> = tx.list::<Run>(&kind)?;
                ended.retain(|d| d.body.ended.is_some());
                ended.sort_by_key(|d| d.body.at);
                let too_many = (ended.len() + 1).saturating_sub(KEPT);
                for doc in ended.iter().take(too_many) {
                    tx.delete(&kind, &doc.key)?;
                }
                Ok::<_, OpsError>(tx.insert(&kind, &run.dyno.to_string(), &run)?)
            })
            .await
    }

    /// Writes down how it ended. Only the first end counts; one that nobody wrote down needs none.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn end_run(&self, app: AppId, dyno: DynoId, exit: Exit) -> Result<()> {
        self.store()
            .write(|tx| {
                let doc = tx.get::<Run>(&kind(app), &dyno.to_string())?;
                let Some(mut doc) = doc.filter(|d| d.body.ended.is_none()) else {
                    return Ok(());
                };
                doc.body.ended = Some((Micros::now(), exit));
                Ok::<_, OpsError>(tx.replace(&kind(app), &mut doc)?)
            })
            .await
    }

    /// For the agent's start: those that have not ended and are not among `alive` are lost.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn end_lost_runs(&self, alive: &BTreeSet<DynoId>) -> Result<()> {
        let lost = self
            .store()
            .read(|tx| {
                let mut lost = vec![];
                for app in tx.list::<App>(app::APP)? {
                    let app = app.body.id;
                    let runs = tx.list::<Run>(&kind(app))?.into_iter();
                    let runs = runs.map(|d| d.body);
                    let gone = runs.filter(|r| r.ended.is_none() && !alive.contains(&r.dyno));
                    lost.extend(gone.map(|r| (app, r.dyno)));
                }
                Ok::<_, OpsError>(lost)
            })
            .await?;
        for (app, dyno) in lost {
            self.end_run(app, dyno, Exit::Lost).await?;
        }
        Ok(())
    }

    /// The one-offs of an app that run, or ended not too long ago; newest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn runs(&self, app: AppId) -> Result<Vec<Run>> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                let docs = tx.list::<Run>(&kind(app))?;
                let mut runs: Vec<Run> = docs.into_iter().map(|d| d.body).collect();
                runs.sort_by_key(|r| std::cmp::Reverse((r.at, r.dyno)));
                Ok(runs)
            })
            .await
    }
}
