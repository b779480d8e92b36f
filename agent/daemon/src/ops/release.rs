//! Releases: how they are kept, made, found, and waited for. `rollout` has their ends.
//!
//! A release is an entry of the history, sealed config vars beside it; its end is another entry, so that nothing is
//! ever changed in place. One rule makes and orders them: a new release supersedes the candidate before it.
//!
//! `carry` is what keeps two changes at once from losing one: the config changes since the current release. When a
//! candidate fails, and it may have been the code or a rollback that failed it, they are tried again on the current
//! release.

use super::{Actor, Ops, OpsError, Result, app, config::place, phase};
use crate::store::{Entry, Tx};
use hokku_model::{
    AppId, Micros, ReleaseId,
    api::{ConfigPatch, ConfigVars},
    app::App,
    release::{Release, ReleaseStatus, Slug, SlugDigest},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

const RELEASE: &str = "release";
const END: &str = "release-end";
const CARRY: &str = "release-carry";

/// Where slugs that are gone are written down, by digest.
pub(super) fn swept_kind(app: AppId) -> String {
    format!("swept-slug {app}")
}

/// How a rollout ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct End {
    /// Succeeded or failed.
    pub status: ReleaseStatus,
    /// Why it failed.
    #[serde(default)]
    pub failure: String,
    /// The release that took its place during the rollout.
    #[serde(default)]
    pub superseded_by: Option<u32>,
    /// When.
    pub at: Micros,
}

impl End {
    pub(super) fn new(status: ReleaseStatus, failure: &str) -> End {
        End {
            status,
            failure: failure.into(),
            superseded_by: None,
            at: Micros::now(),
        }
    }
}

/// A release to be made.
pub(super) struct Draft {
    pub actor: Actor,
    pub description: String,
    pub slug: Option<Slug>,
    pub config: ConfigVars,
    pub carry: ConfigPatch,
}

impl Draft {
    pub(super) fn new(actor: &Actor, description: String) -> Draft {
        Draft {
            actor: actor.clone(),
            description,
            slug: None,
            config: ConfigVars::new(),
            carry: ConfigPatch::new(),
        }
    }
}

/// A release as it was made, with its sealed config vars.
pub(super) fn entry(tx: &Tx, app: AppId, version: u32) -> Result<Entry<Release>> {
    tx.entry(RELEASE, &app.to_string(), version)?
        .ok_or_else(|| missing(&format!("v{version}")))
}

/// The sealed config vars of a release alone.
pub(super) fn sealed(tx: &Tx, app: AppId, version: u32) -> Result<Option<Vec<u8>>> {
    let sealed = tx.sealed(RELEASE, &app.to_string(), version)?;
    sealed.ok_or_else(|| missing(&format!("v{version}")))
}

/// Releases as they were made, by app and version.
pub(super) type Made = BTreeMap<(AppId, u32), Arc<Release>>;

/// So many of them are remembered.
const MOST_MADE: usize = 64;

/// A release as it stands.
pub(super) fn load(tx: &Tx, app: AppId, version: u32) -> Result<Release> {
    let end = end_of(tx, app, version)?;
    Ok(with_end(entry(tx, app, version)?.body, end.as_ref()))
}

/// The release that a change builds on: the candidate during a rollout, else the current one.
pub(super) fn head(tx: &Tx, app: &App) -> Result<Option<Release>> {
    app.candidate
        .or(app.current)
        .map(|version| load(tx, app.id, version))
        .transpose()
}

/// All releases, newest first.
pub(super) fn all(tx: &Tx, app: AppId) -> Result<Vec<Release>> {
    let app = app.to_string();
    let ends: BTreeMap<u32, End> = tx
        .entries(END, &app)?
        .into_iter()
        .map(|e| (e.seq, e.body))
        .collect();
    Ok(tx
        .entries::<Release>(RELEASE, &app)?
        .into_iter()
        .map(|e| with_end(e.body, ends.get(&e.seq)))
        .collect())
}

/// Writes down the one end of a release.
pub(super) fn end(tx: &Tx, release: &Release, end: &End) -> Result<()> {
    let (app, id) = (release.app.to_string(), release.id.to_string());
    Ok(tx.append(END, &app, release.version, &id, end, None)?)
}

/// Slugs of this app that are gone.
pub(super) fn swept(tx: &Tx, app: AppId) -> Result<BTreeSet<String>> {
    let docs = tx.list::<()>(&swept_kind(app))?;
    Ok(docs.into_iter().map(|d| d.key).collect())
}

/// Did it serve, and can it again?
pub(super) fn eligible(release: &Release, swept: &BTreeSet<String>) -> bool {
    let there = |s: &Slug| !swept.contains(s.digest.as_str());
    release.status == ReleaseStatus::Succeeded && release.slug.as_ref().is_some_and(there)
}

pub(super) fn digest(release: &Release) -> Option<&SlugDigest> {
    release.slug.as_ref().map(|s| &s.digest)
}

/// By `v3`, `3` or id.
pub(super) fn find(tx: &Tx, app: AppId, spec: &str) -> Result<Release> {
    let digits = spec.strip_prefix('v').unwrap_or(spec);
    if let Ok(version) = digits.parse::<u32>()
        && !digits.starts_with('+')
    {
        return load(tx, app, version);
    }
    let id: ReleaseId = spec.parse().map_err(|_| missing(spec))?;
    let entry = tx.entry_by_id::<Release>(RELEASE, &id.to_string())?;
    match entry.filter(|e| e.body.app == app) {
        Some(e) => load(tx, app, e.seq),
        None => Err(missing(spec)),
    }
}

fn missing(spec: &str) -> OpsError {
    let shown: String = spec.chars().filter(|c| !c.is_control()).take(40).collect();
    OpsError::not_found("release", format!("Couldn't find that release ({shown})."))
}

fn end_of(tx: &Tx, app: AppId, version: u32) -> Result<Option<End>> {
    let entry = tx.entry::<End>(END, &app.to_string(), version)?;
    Ok(entry.map(|e| e.body))
}

fn with_end(mut release: Release, end: Option<&End>) -> Release {
    if let Some(end) = end {
        release.status = end.status;
        release.failure.clone_from(&end.failure);
    }
    release
}

impl Ops {
    /// Makes the next release: a candidate, or current at once when it has nothing to run. The caller saves the app.
    pub(super) fn add_release(
        &self,
        tx: &Tx,
        app: &mut app::AppDoc,
        draft: Draft,
    ) -> Result<Release> {
        let app = &mut app.body;
        let version = app.next_version;
        let runs = draft.slug.is_some();
        let served = || -> Result<bool> {
            let served = |r: &Release| r.slug.is_some() && r.status == ReleaseStatus::Succeeded;
            Ok(all(tx, app.id)?.iter().any(served))
        };
        let phase = phase::steps(&draft.actor, draft.slug.as_ref(), served)?;
        let release = Release {
            id: ReleaseId(uuid::Uuid::new_v4().as_u128()),
            app: app.id,
            version,
            slug: draft.slug,
            description: draft.description,
            user: draft.actor.user,
            phase,
            created_at: Micros::now(),
            status: match runs {
                true => ReleaseStatus::Pending,
                false => ReleaseStatus::Succeeded,
            },
            failure: String::new(),
        };
        let (key, id) = (app.id.to_string(), release.id.to_string());
        let sealed = self.seal(&place("config vars", app.id, version), &draft.config)?;
        tx.append(RELEASE, &key, version, &id, &release, Some(&sealed))?;
        if runs && !draft.carry.is_empty() {
            let sealed = self.seal(&place("config changes", app.id, version), &draft.carry)?;
            tx.append(CARRY, &key, version, &id, &(), Some(&sealed))?;
        }
        if let Some(old) = app.candidate.take() {
            let old = load(tx, app.id, old)?;
            let mut failed = End::new(ReleaseStatus::Failed, &format!("superseded by v{version}"));
            failed.superseded_by = Some(version);
            end(tx, &old, &failed)?;
        }
        match runs {
            true => app.candidate = Some(version),
            false => {
                app.current = Some(version);
                app.released_at = Some(release.created_at);
            }
        }
        app.next_version += 1;
        Ok(release)
    }

    /// The config changes since the current release, of the candidate that is being rolled out.
    pub(super) fn carry(&self, tx: &Tx, app: &App) -> Result<ConfigPatch> {
        let Some(version) = app.candidate else {
            return Ok(ConfigPatch::new());
        };
        match tx.entry::<()>(CARRY, &app.id.to_string(), version)? {
            Some(e) => self.unseal(&place("config changes", app.id, version), e.sealed),
            None => Ok(ConfigPatch::new()),
        }
    }

    /// A release as it was made, read once: one may have a thousand cron entries, and each start of a dyno needs it. Not
    /// from within a transaction that may make one.
    pub(super) fn made(&self, tx: &Tx, app: AppId, version: u32) -> Result<Arc<Release>> {
        let known = self
            .inner
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(release) = known.get(&(app, version)) {
            return Ok(release.clone());
        }
        drop(known);
        let release = Arc::new(entry(tx, app, version)?.body);
        let mut known = self
            .inner
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_MADE {
            known.clear();
        }
        known.insert((app, version), release.clone());
        Ok(release)
    }

    /// A release as it was made, whatever became of it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn release_made(&self, app: AppId, version: u32) -> Result<Arc<Release>> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                self.made(tx, app, version)
            })
            .await
    }

    /// All releases of an app, newest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn releases(&self, app: AppId) -> Result<Vec<Release>> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                all(tx, app)
            })
            .await
    }

    /// One release by its number.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn release(&self, app: AppId, version: u32) -> Result<Release> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                load(tx, app, version)
            })
            .await
    }

    /// One release by `v3`, `3` or its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_release(&self, app: AppId, spec: &str) -> Result<Release> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                find(tx, app, spec)
            })
            .await
    }

    /// A release by `v3`, `3` or its id, in which something can be run: its slug is there.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it has no slug, or that was deleted.
    pub async fn runnable_release(&self, app: AppId, spec: &str) -> Result<Release> {
        self.store()
            .read(|tx| {
                let app = app::load(tx, app)?.body;
                let release = find(tx, app.id, spec)?;
                let v = release.version;
                let why = match digest(&release) {
                    None => format!("v{v} has no slug: it was made before the first build"),
                    Some(d) if swept(tx, app.id)?.contains(d.as_str()) => {
                        format!("the slug of v{v} was deleted to save space; push its commit again")
                    }
                    Some(_) => return Ok(release),
                };
                Err(OpsError::conflict(format!("Can't run in it: {why}.")))
            })
            .await
    }

    /// The versions that are `eligible_for_rollback`: they served, and their slug is still there. The current one
    /// is among them.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn rollback_targets(&self, app: AppId) -> Result<BTreeSet<u32>> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                let swept = swept(tx, app)?;
                let releases = all(tx, app)?.into_iter();
                Ok(releases
                    .filter(|r| eligible(r, &swept))
                    .map(|r| r.version)
                    .collect())
            })
            .await
    }

    /// Waits until a release is promoted or abandoned. One that was superseded by a release with the same slug (a
    /// config change during its rollout) is followed: what comes back may have a higher version.
    ///
    /// # Errors
    /// `NotFound`, also when the app is destroyed meanwhile.
    pub async fn wait_release_end(&self, app: AppId, version: u32) -> Result<Release> {
        let mut bell = self.bell();
        let mut version = version;
        loop {
            bell.mark_unchanged();
            let (release, next) = self
                .store()
                .read(|tx| {
                    app::load(tx, app)?;
                    let release = load(tx, app, version)?;
                    let by = end_of(tx, app, version)?.and_then(|e| e.superseded_by);
                    let next = by.map(|by| load(tx, app, by)).transpose()?;
                    let next = next.filter(|n| digest(n) == digest(&release));
                    Ok::<_, OpsError>((release, next))
                })
                .await?;
            if let Some(next) = next {
                version = next.version;
            } else if release.status != ReleaseStatus::Pending {
                return Ok(release);
            } else if bell.changed().await.is_err() {
                return Err(OpsError::conflict("The agent is stopping."));
            }
        }
    }
}
