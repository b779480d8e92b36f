//! What begins a rollout besides a config change, and its two ends.

use super::{Actor, Ops, OpsError, Result, app, config, release};
use crate::store::Tx;
use hokku_core::parse::app_json::first_quantities;
use hokku_model::{
    AppId, DynoName, Micros, ProcessType,
    app::App,
    release::{Release, ReleaseStatus, Slug},
};
use std::collections::BTreeMap;

/// Characters of a reason that are kept.
const REASON: usize = 8 * 1024;

/// What a build became.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployed {
    /// The candidate.
    pub release: Release,
    /// Process types with wanted dynos that the new Procfile no longer has; they leave the formation when the
    /// release is promoted.
    pub vanished: Vec<ProcessType>,
}

impl Ops {
    /// A build's slug becomes the candidate, described as "Deploy 1a2b3c4d". A web type that was never scaled gets
    /// one dyno; buildpacks are pinned unless the app has some.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn release_from_build(
        &self,
        actor: &Actor,
        app: AppId,
        slug: Slug,
        commit: &str,
    ) -> Result<Deployed> {
        let (name, deployed) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let short: String = commit.chars().take(8).collect();
                let mut draft = release::Draft::new(actor, format!("Deploy {short}"));
                draft.slug = Some(slug.clone());
                draft.config = self.head_config(tx, &app.body)?;
                draft.carry = self.carry(tx, &app.body)?;
                let release = self.add_release(tx, &mut app, draft)?;
                // The build has just stored it (again).
                let id = app.body.id;
                tx.delete(&release::swept_kind(id), slug.digest.as_str())?;
                let types = &slug.process_types;
                // As Heroku, which reads the file when an app is made.
                let served = |r: &Release| r.slug.is_some() && r.status == ReleaseStatus::Succeeded;
                if !release::all(tx, app.body.id)?.iter().any(served) {
                    for (kind, n) in first_quantities(&slug.app_json, types) {
                        app.body.formation.entry(kind.clone()).or_insert(n);
                    }
                }
                if types.contains_key(&ProcessType::web()) {
                    app.body.formation.entry(ProcessType::web()).or_insert(1);
                }
                // What was taken for want of a language is not pinned: one may come.
                if app.body.buildpacks.is_empty() && slug.buildpacks != ["hokku/procfile"] {
                    app.body.buildpacks.clone_from(&slug.buildpacks);
                }
                let wanted = app.body.formation.iter().filter(|(_, n)| **n > 0);
                let vanished = wanted
                    .filter(|(kind, _)| !types.contains_key(kind))
                    .map(|(kind, _)| kind.clone())
                    .collect();
                app::save(tx, &mut app)?;
                Ok::<_, OpsError>((app.body.name, Deployed { release, vanished }))
            })
            .await?;
        let version = deployed.release.version;
        tracing::info!(app = %name, user = %actor.user, version, "{}", deployed.release.description);
        Ok(deployed)
    }

    /// A candidate with slug and config vars of an old release; without a spec, of the eligible one before current.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when there is none before, it is current already, it never served, or its slug is gone.
    pub async fn rollback(&self, actor: &Actor, app: AppId, spec: Option<&str>) -> Result<Release> {
        let (name, release) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let old = rollback_target(tx, &app.body, spec)?;
                let description = format!("Rollback to v{}", old.version);
                let mut draft = release::Draft::new(actor, description);
                draft.config = self.config_of(tx, app.body.id, old.version)?;
                draft.carry = self.carry(tx, &app.body)?;
                draft.slug = old.slug;
                let release = self.add_release(tx, &mut app, draft)?;
                app::save(tx, &mut app)?;
                Ok::<_, OpsError>((app.body.name, release))
            })
            .await?;
        let version = release.version;
        tracing::info!(app = %name, user = %actor.user, version, "{}", release.description);
        Ok(release)
    }

    /// The candidate is current now. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is not the candidate any more.
    pub async fn promote(&self, app: AppId, version: u32) -> Result<Release> {
        let (name, release) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let mut release = release::load(tx, app.body.id, version)?;
                if app.body.current == Some(version) {
                    return Ok((app.body.name, release));
                }
                if app.body.candidate != Some(version) {
                    return Err(ended(&app.body, &release));
                }
                let end = release::End::new(ReleaseStatus::Succeeded, "");
                release::end(tx, &release, &end)?;
                release.status = end.status;
                app.body.candidate = None;
                app.body.current = Some(version);
                app.body.released_at = Some(Micros::now());
                let types = release.slug.as_ref().map(|s| &s.process_types);
                forget_types(&mut app.body, types.unwrap_or(&BTreeMap::new()));
                app::save(tx, &mut app)?;
                Ok((app.body.name, release))
            })
            .await?;
        tracing::info!(app = %name, version, "promoted");
        Ok(release)
    }

    /// The candidate failed; current stays. Config changes that came with other code, and may be good, become a
    /// candidate of their own. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was promoted.
    pub async fn abandon(&self, app: AppId, version: u32, reason: &str) -> Result<Release> {
        let reason: String = reason.chars().take(REASON).collect();
        let (name, release) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let mut release = release::load(tx, app.body.id, version)?;
                if release.status == ReleaseStatus::Failed {
                    return Ok((app.body.name, release));
                }
                if app.body.candidate != Some(version) {
                    return Err(ended(&app.body, &release));
                }
                let retry = self.retry(tx, &app.body, &release)?;
                app.body.candidate = None;
                let mut failure = reason.clone();
                if let Some(draft) = retry {
                    let next = self.add_release(tx, &mut app, draft)?.version;
                    let stop = if reason.ends_with(['.', '!', '?']) {
                        ""
                    } else {
                        "."
                    };
                    failure = format!(
                        "{reason}{stop} The config changes made meanwhile go on as v{next}."
                    );
                }
                let end = release::End::new(ReleaseStatus::Failed, &failure);
                release::end(tx, &release, &end)?;
                release.status = end.status;
                release.failure = end.failure;
                app::save(tx, &mut app)?;
                Ok((app.body.name, release))
            })
            .await?;
        tracing::info!(app = %name, version, "abandoned: {}", release.failure);
        Ok(release)
    }

    /// The config changes that a failed candidate carried, on top of the current release; nothing when they are all
    /// that it changed, for then it is they that failed.
    fn retry(&self, tx: &Tx, app: &App, failed: &Release) -> Result<Option<release::Draft>> {
        let carry = self.carry(tx, app)?;
        let Some(current) = app.current else {
            return Ok(None);
        };
        let current = release::load(tx, app.id, current)?;
        let mut vars = self.config_of(tx, app.id, current.version)?;
        let changes = config::apply(&mut vars, &carry);
        let same = release::digest(&current) == release::digest(failed)
            && self.config_of(tx, app.id, failed.version)? == vars;
        if changes.is_empty() || same {
            return Ok(None);
        }
        let actor = Actor::new(&failed.user);
        let mut draft = release::Draft::new(&actor, config::describe(&changes));
        draft.slug = current.slug;
        draft.config = vars;
        draft.carry = changes;
        Ok(Some(draft))
    }
}

fn rollback_target(tx: &Tx, app: &App, spec: Option<&str>) -> Result<Release> {
    let swept = release::swept(tx, app.id)?;
    let current = app.current.unwrap_or(0);
    let Some(spec) = spec else {
        let before = release::all(tx, app.id)?
            .into_iter()
            .find(|r| r.version < current && release::eligible(r, &swept));
        return before.ok_or_else(|| {
            OpsError::conflict(format!(
                "There is no release of {} before the current one that it could go back to.",
                app.name
            ))
        });
    };
    let old = release::find(tx, app.id, spec)?;
    let v = old.version;
    let why = match old.status {
        _ if app.candidate == Some(v) => format!("v{v} is being rolled out now"),
        // During a rollout this is the way to stop it.
        _ if v == current && app.candidate.is_none() => format!("v{v} is the current release"),
        ReleaseStatus::Failed => format!("v{v} failed and never served ({})", old.failure),
        _ if old.slug.is_none() => format!("v{v} has no slug: it was made before the first build"),
        _ if !release::eligible(&old, &swept) => {
            format!("the slug of v{v} was deleted to save space; push its commit again")
        }
        _ => return Ok(old),
    };
    Err(OpsError::conflict(format!("Can't roll back: {why}.")))
}

/// A type that comes back later begins anew, as on Heroku.
fn forget_types(app: &mut App, types: &BTreeMap<ProcessType, String>) {
    app.formation.retain(|kind, _| types.contains_key(kind));
    let r = &mut app.restarts;
    r.by_type.retain(|kind, _| types.contains_key(kind));
    r.by_dyno.retain(|dyno, _| {
        dyno.parse::<DynoName>()
            .is_ok_and(|d| types.contains_key(&d.kind))
    });
}

fn ended(app: &App, release: &Release) -> OpsError {
    let how = match (release.status, release.failure.as_str()) {
        (ReleaseStatus::Failed, why) => format!("it failed: {why}"),
        _ => "it was promoted".into(),
    };
    OpsError::conflict(format!(
        "v{} of {} is not being rolled out any more: {how}.",
        release.version, app.name
    ))
}
