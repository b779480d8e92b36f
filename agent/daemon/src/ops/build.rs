//! Builds: each attempt is written down.

use super::{Actor, Ops, OpsError, Result, app};
use crate::store::Tx;
use hokku_model::{
    AppId, BuildId, Micros,
    app::App,
    release::{Build, BuildStatus},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const BUILD: &str = "build";
const END: &str = "build-end";

/// Characters of a failure that are kept: the last ones.
const FAILURE: usize = 16 * 1024;

/// How a build ended: the version it became, or why it failed, in words.
pub type BuildEnd = std::result::Result<u32, String>;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct End {
    end: BuildEnd,
    at: Micros,
}

fn with_end(mut build: Build, end: Option<&End>) -> Build {
    let Some(End { end, at }) = end else {
        return build;
    };
    build.ended_at = Some(*at);
    match end {
        Ok(version) => {
            build.status = BuildStatus::Succeeded;
            build.release = Some(*version);
        }
        Err(why) => {
            build.status = BuildStatus::Failed;
            build.failure.clone_from(why);
        }
    }
    build
}

fn missing() -> OpsError {
    OpsError::not_found("build", "Couldn't find that build.")
}

fn all(tx: &Tx, app: AppId) -> Result<Vec<(u32, Build)>> {
    let app = app.to_string();
    let ends: BTreeMap<u32, End> = tx
        .entries(END, &app)?
        .into_iter()
        .map(|e| (e.seq, e.body))
        .collect();
    Ok(tx
        .entries::<Build>(BUILD, &app)?
        .into_iter()
        .map(|e| (e.seq, with_end(e.body, ends.get(&e.seq))))
        .collect())
}

/// Only the first end is written; gives the build as it stands.
fn end(tx: &Tx, build: BuildId, end: BuildEnd) -> Result<Build> {
    let id = build.to_string();
    let entry = tx.entry_by_id::<Build>(BUILD, &id)?.ok_or_else(missing)?;
    if let Some(e) = tx.entry::<End>(END, &entry.app, entry.seq)? {
        return Ok(with_end(entry.body, Some(&e.body)));
    }
    let end = End {
        end,
        at: Micros::now(),
    };
    tx.append(END, &entry.app, entry.seq, &id, &end, None)?;
    Ok(with_end(entry.body, Some(&end)))
}

impl Ops {
    /// Writes down that a build waits or runs.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the commit is not hex.
    pub async fn begin_build(&self, actor: &Actor, app: AppId, commit: &str) -> Result<Build> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if commit.len() > 64 || !commit.bytes().all(hex) {
            return Err(OpsError::invalid(format!(
                "{:?} is no commit: expected its 40 hex digits.",
                commit.chars().take(80).collect::<String>()
            )));
        }
        let build = Build {
            id: BuildId(uuid::Uuid::new_v4().as_u128()),
            app,
            commit: commit.into(),
            user: actor.user.clone(),
            status: BuildStatus::Pending,
            release: None,
            created_at: Micros::now(),
            ended_at: None,
            failure: String::new(),
        };
        self.store()
            .write(|tx| {
                let app = app::load(tx, app)?;
                let seq = tx.last_seq(BUILD, &app.key)?.saturating_add(1);
                let id = build.id.to_string();
                Ok::<_, OpsError>(tx.append(BUILD, &app.key, seq, &id, &build, None)?)
            })
            .await?;
        Ok(build)
    }

    /// Writes down how it ended. Only the first end counts.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn end_build(&self, build: BuildId, how: BuildEnd) -> Result<Build> {
        let how = how.map_err(|why| {
            let extra = why.chars().count().saturating_sub(FAILURE);
            why.chars().skip(extra).collect::<String>()
        });
        self.store().write(|tx| end(tx, build, how.clone())).await
    }

    /// Ends every build that is still pending, for the agent's start: nothing builds them any more. Gives their
    /// number.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn end_lost_builds(&self) -> Result<usize> {
        self.store()
            .write(|tx| {
                let mut n = 0;
                for app in tx.list::<App>(app::APP)? {
                    for (_, build) in all(tx, app.body.id)? {
                        if build.status == BuildStatus::Pending {
                            let why = "The agent stopped during this build. Push again.";
                            end(tx, build.id, Err(why.into()))?;
                            n += 1;
                        }
                    }
                }
                Ok(n)
            })
            .await
    }

    /// All builds of an app, newest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn builds(&self, app: AppId) -> Result<Vec<Build>> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                Ok(all(tx, app)?.into_iter().map(|(_, b)| b).collect())
            })
            .await
    }

    /// One build of an app, by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_build(&self, app: AppId, build: &str) -> Result<Build> {
        let id: BuildId = build.parse().map_err(|_| missing())?;
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                let entry = tx.entry_by_id::<Build>(BUILD, &id.to_string())?;
                let entry = entry.filter(|e| e.body.app == app).ok_or_else(missing)?;
                let end = tx.entry::<End>(END, &entry.app, entry.seq)?;
                Ok(with_end(entry.body, end.map(|e| e.body).as_ref()))
            })
            .await
    }
}
