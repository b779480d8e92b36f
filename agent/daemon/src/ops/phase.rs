//! Release phases as the store knows them: which command may run, and how those that ran have ended.
//!
//! The claim is in the app's document, so there is one of an app at a time; what ran is a document of the release. Both
//! change in one transaction. Why a command runs at most once is told in `hokku_core::plan` (`plan/phase.rs`).

use super::{Actor, Ops, OpsError, Result, app, config, release};
use crate::store::Tx;
use hokku_core::desired::PhaseWish;
use hokku_model::{
    AppId, DynoId, DynoName, Micros, ProcessType,
    app::App,
    phase::{Claim, Outcome, Ran, Step},
    release::{Release, ReleaseStatus, Slug},
};

/// Characters of a reason that are kept.
const REASON: usize = 2000;

/// Where what ran is written down, by version.
pub(super) fn kind(app: AppId) -> String {
    format!("phase {app}")
}

fn ran(tx: &Tx, app: AppId, version: u32) -> Result<Vec<Ran>> {
    let doc = tx.get::<Vec<Ran>>(&kind(app), &version.to_string())?;
    Ok(doc.map(|d| d.body).unwrap_or_default())
}

fn write(tx: &Tx, app: AppId, version: u32, ran: Vec<Ran>) -> Result<()> {
    let (kind, key) = (kind(app), version.to_string());
    match tx.get::<Vec<Ran>>(&kind, &key)? {
        Some(mut doc) => {
            doc.body = ran;
            Ok(tx.replace(&kind, &mut doc)?)
        }
        None => Ok(tx.insert(&kind, &key, &ran)?),
    }
}

/// What a new release runs before it serves, in this order: Dokku's predeploy, the Procfile's release command, and with
/// the app's first deploy the postdeploy of `app.json`.
pub(super) fn steps(
    actor: &Actor,
    slug: Option<&Slug>,
    served: impl Fn() -> Result<bool>,
) -> Result<Vec<Step>> {
    let Some(slug) = slug.filter(|_| !actor.skips_phase) else {
        return Ok(vec![]);
    };
    let release = slug.process_types.iter().find(|(k, _)| k.is_release());
    let postdeploy = slug.app_json.postdeploy.as_ref();
    let postdeploy = match postdeploy {
        Some(line) if !served()? => Some(line),
        _ => None,
    };
    let all = [
        ("predeploy", slug.app_json.predeploy.as_ref()),
        ("release", release.map(|(_, c)| c)),
        ("postdeploy", postdeploy),
    ];
    let steps = all.into_iter().filter_map(|(name, command)| {
        let command = command?.trim();
        (!command.is_empty()).then(|| Step {
            name: name.into(),
            command: command.into(),
        })
    });
    Ok(steps.collect())
}

/// How far a release's phase has come, for the loop.
pub(super) fn wish(tx: &Tx, release: &Release) -> Result<PhaseWish> {
    if release.phase.is_empty() {
        return Ok(PhaseWish::default());
    }
    let ran = ran(tx, release.app, release.version)?;
    let ended = |r: &Ran| r.ended.as_ref().map(|(_, how)| how.clone());
    Ok(PhaseWish {
        steps: release.phase.clone(),
        done: ran.iter().filter(|r| ended(r) == Some(Ok(()))).count(),
        failed: ran.iter().find_map(|r| ended(r)?.err()),
    })
}

/// Forgets all phases of an app that is gone.
pub(super) fn forget(tx: &Tx, app: AppId) -> Result<()> {
    for doc in tx.list::<Vec<Ran>>(&kind(app))? {
        tx.delete(&kind(app), &doc.key)?;
    }
    Ok(())
}

impl Ops {
    /// The step may run, in a dyno of the id that is fixed here; nothing when it is not the candidate's next one, or
    /// another command of the app is claimed.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn claim_step(&self, app: AppId, version: u32, step: usize) -> Result<Option<Claim>> {
        let id = uuid::Uuid::now_v7().as_u128();
        let index = 1000 + (uuid::Uuid::new_v4().as_u128() % 9000) as u32;
        self.store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let release = release::load(tx, app.body.id, version)?;
                let phase = wish(tx, &release)?;
                let next =
                    app.body.candidate == Some(version) && !phase.over() && phase.done == step;
                let Some(named) = phase
                    .steps
                    .get(step)
                    .filter(|_| next && phase.failed.is_none())
                else {
                    return Ok(None);
                };
                if app.body.phase.is_some() {
                    return Ok(None);
                }
                let kind: ProcessType = "release"
                    .parse()
                    .map_err(|e| OpsError::invalid(format!("{e}")))?;
                let claim = Claim {
                    version,
                    step,
                    dyno: DynoId(id),
                    name: DynoName::new(kind, index),
                };
                let mut all = ran(tx, app.body.id, version)?;
                all.push(Ran {
                    step: named.name.clone(),
                    dyno: claim.dyno,
                    name: claim.name.clone(),
                    at: Micros::now(),
                    ended: None,
                });
                write(tx, app.body.id, version, all)?;
                app.body.phase = Some(claim.clone());
                app::save(tx, &mut app)?;
                Ok::<_, OpsError>(Some(claim))
            })
            .await
    }

    /// Writes down how the command of this dyno ended, and gives its claim back. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn conclude_step(&self, app: AppId, dyno: DynoId, outcome: Outcome) -> Result<()> {
        let outcome = outcome.map_err(|why| why.chars().take(REASON).collect::<String>());
        self.store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let Some(claim) = app.body.phase.take_if(|c| c.dyno == dyno) else {
                    return Ok(());
                };
                let mut all = ran(tx, app.body.id, claim.version)?;
                if let Some(mine) = all.iter_mut().find(|r| r.dyno == dyno) {
                    mine.ended = Some((Micros::now(), outcome.clone()));
                }
                write(tx, app.body.id, claim.version, all)?;
                app::save(tx, &mut app)
            })
            .await
    }

    /// The commands of a release's phase that ran or run, in order.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn phase(&self, app: AppId, version: u32) -> Result<Vec<Ran>> {
        self.store()
            .read(|tx| {
                release::load(tx, app, version)?;
                ran(tx, app, version)
            })
            .await
    }

    /// A candidate with slug and config vars of a release that failed: the newest one, unless another is named. Its
    /// release phase runs anew.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it did not fail, there is none, another one is being rolled out, or its slug is gone.
    pub async fn retry_release(
        &self,
        actor: &Actor,
        app: AppId,
        spec: Option<&str>,
    ) -> Result<Release> {
        let (name, release) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let failed = retry_target(tx, &app.body, spec)?;
                let what = failed.description.trim_start_matches("Retry of ");
                let what = what.split_once(": ").map_or(what, |(v, rest)| {
                    let is_version = v
                        .strip_prefix('v')
                        .is_some_and(|n| n.parse::<u32>().is_ok());
                    if is_version { rest } else { what }
                });
                let mut draft =
                    release::Draft::new(actor, format!("Retry of v{}: {what}", failed.version));
                draft.config = self.config_of(tx, app.body.id, failed.version)?;
                if let Some(current) = app.body.current {
                    let mut vars = self.config_of(tx, app.body.id, current)?;
                    let wanted = draft
                        .config
                        .iter()
                        .map(|(k, v)| (k.clone(), Some(v.clone())));
                    let gone = vars.keys().filter(|k| !draft.config.contains_key(*k));
                    let patch = gone.map(|k| (k.clone(), None)).chain(wanted).collect();
                    draft.carry = config::apply(&mut vars, &patch);
                }
                draft.slug = failed.slug;
                let release = self.add_release(tx, &mut app, draft)?;
                app::save(tx, &mut app)?;
                Ok::<_, OpsError>((app.body.name, release))
            })
            .await?;
        let version = release.version;
        tracing::info!(app = %name, user = %actor.user, version, "{}", release.description);
        Ok(release)
    }
}

fn retry_target(tx: &Tx, app: &App, spec: Option<&str>) -> Result<Release> {
    let failed = match spec {
        Some(spec) => release::find(tx, app.id, spec)?,
        None => {
            let newest = release::all(tx, app.id)?.into_iter().next();
            newest.ok_or_else(|| OpsError::conflict(format!("{} has no releases.", app.name)))?
        }
    };
    let v = failed.version;
    let digest = release::digest(&failed);
    let swept = release::swept(tx, app.id)?;
    let why = match failed.status {
        ReleaseStatus::Pending => format!("v{v} is being rolled out now"),
        ReleaseStatus::Succeeded => format!("v{v} did not fail"),
        ReleaseStatus::Failed if app.candidate.is_some() => {
            "another release is being rolled out now; wait until that has ended".into()
        }
        ReleaseStatus::Failed => match digest {
            None => format!("v{v} has no slug: it was made before the first build"),
            Some(d) if swept.contains(d.as_str()) => {
                format!("the slug of v{v} was deleted to save space; push its commit again")
            }
            Some(_) => return Ok(failed),
        },
    };
    Err(OpsError::conflict(format!("Can't retry: {why}.")))
}
