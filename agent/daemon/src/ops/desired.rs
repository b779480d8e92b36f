//! What the loop reads: the wishes, and which slugs may go.

use super::{Ops, OpsError, Result, app, cert, managed, phase, release};
use crate::store::Tx;
use hokku_core::desired::{AppWish, Desired, ReleaseWish};
use hokku_model::{
    AppId, Micros,
    app::App,
    health::AppJson,
    release::{Release, ReleaseStatus, SlugDigest},
    route::Front,
    routing::Routing,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, atomic::Ordering},
};

impl Ops {
    /// The wishes of this generation; made once per generation.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn desired(&self) -> Result<Arc<Desired>> {
        let cell = &self.inner.wishes;
        let last = cell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if last.generation != 0 && last.generation == self.store().generation() {
            return Ok(last);
        }
        let settings = self.inner.settings.load(Ordering::Relaxed);
        let new = Arc::new(self.store().read(|tx| self.wishes(tx)).await?);
        let mut cell = cell.lock().unwrap_or_else(PoisonError::into_inner);
        let same = settings == self.inner.settings.load(Ordering::Relaxed);
        if same && new.generation > cell.generation {
            *cell = new.clone();
        }
        Ok(new)
    }

    /// Slugs that must stay: of each app's current and candidate release, and of the newest one that served another
    /// slug before.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn kept_slugs(&self) -> Result<BTreeSet<(AppId, SlugDigest)>> {
        self.store()
            .read(|tx| {
                let mut kept = BTreeSet::new();
                for app in tx.list::<App>(app::APP)? {
                    let releases = release::all(tx, app.body.id)?;
                    let slugs = kept_of(&app.body, &releases).into_iter();
                    kept.extend(slugs.map(|s| (app.body.id, s)));
                }
                Ok::<_, OpsError>(kept)
            })
            .await
    }

    /// Slugs that may go when the budget is exceeded, with their bytes; the one released longest ago first.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn sweepable_slugs(&self) -> Result<Vec<(AppId, SlugDigest, u64)>> {
        self.store()
            .read(|tx| {
                let mut newest: BTreeMap<(AppId, SlugDigest), (Micros, u64)> = BTreeMap::new();
                for app in tx.list::<App>(app::APP)? {
                    let app = app.body;
                    let releases = release::all(tx, app.id)?;
                    let kept = kept_of(&app, &releases);
                    let swept = release::swept(tx, app.id)?;
                    for r in &releases {
                        let Some(slug) = &r.slug else { continue };
                        if !kept.contains(&slug.digest) && !swept.contains(slug.digest.as_str()) {
                            newest
                                .entry((app.id, slug.digest.clone()))
                                .or_insert((r.created_at, slug.size));
                        }
                    }
                }
                let mut all: Vec<_> = newest.into_iter().collect();
                all.sort_by_key(|(_, (at, _))| *at);
                Ok::<_, OpsError>(
                    all.into_iter()
                        .map(|((app, slug), (_, size))| (app, slug, size))
                        .collect(),
                )
            })
            .await
    }

    /// To be called before a slug's files are deleted: from then on no rollback chooses it. False: it is needed now
    /// and must stay.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn mark_swept(&self, app: AppId, slug: &SlugDigest) -> Result<bool> {
        self.store()
            .write(|tx| {
                let app = match app::load(tx, app) {
                    Ok(app) => app.body,
                    // An app that was destroyed needs nothing.
                    Err(OpsError::NotFound { .. }) => return Ok(true),
                    Err(e) => return Err(e),
                };
                if kept_of(&app, &release::all(tx, app.id)?).contains(slug) {
                    return Ok(false);
                }
                let kind = release::swept_kind(app.id);
                if tx.get::<()>(&kind, slug.as_str())?.is_none() {
                    tx.insert(&kind, slug.as_str(), &())?;
                }
                Ok(true)
            })
            .await
    }
}

impl Ops {
    fn wishes(&self, tx: &Tx) -> Result<Desired> {
        let settings = self.config().now();
        let mut apps = BTreeMap::new();
        for app in tx.list::<App>(app::APP)? {
            let app = app.body;
            let wish = |version: Option<u32>| -> Result<Option<ReleaseWish>> {
                let Some(version) = version else {
                    return Ok(None);
                };
                let release = self.made(tx, app.id, version)?;
                // Only a candidate's is looked at.
                let phase = match app.candidate == Some(version) {
                    true => phase::wish(tx, &release)?,
                    false => Default::default(),
                };
                let Some(slug) = release.slug.clone() else {
                    return Ok(Some(ReleaseWish {
                        version,
                        slug: None,
                        process_types: BTreeMap::new(),
                        files: Vec::new(),
                        app_json: AppJson::default(),
                        phase: Default::default(),
                        created_at: release.created_at,
                    }));
                };
                Ok(Some(ReleaseWish {
                    version,
                    files: slug.routing.files_roots(),
                    slug: Some(slug.digest),
                    process_types: slug.process_types,
                    app_json: slug.app_json,
                    phase,
                    created_at: release.created_at,
                }))
            };
            let routing = self.routing_of(tx, &app).unwrap_or_else(|e| {
                // one app's damage shall not stop the others
                tracing::error!(app = %app.name, "its routing can't be read: {e}");
                Routing::default()
            });
            let default = settings.default_host(app.name.as_str());
            let hosts = std::iter::once(&default)
                .chain(&app.domains)
                .map(|h| h.to_ascii_lowercase());
            let wish = AppWish {
                hosts: hosts.collect(),
                current: wish(app.current)?,
                candidate: wish(app.candidate)?,
                claim: app.phase,
                name: app.name,
                formation: app.formation,
                most_runs: (app.limits.iter())
                    .find(|(kind, _)| kind.as_str() == "run")
                    .and_then(|(_, l)| l.concurrency),
                quotas: (app.limits.into_iter())
                    .map(|(kind, l)| (kind, Box::new(l.quota())))
                    .collect(),
                restarts: app.restarts,
                maintenance: app.maintenance,
                routing,
            };
            apps.insert(app.id, wish);
        }
        let named = |name: &str| apps.iter().find(|(_, a)| a.name.as_str() == name);
        let default_app = match (settings.default_app.as_deref(), apps.len()) {
            (Some(name), _) => named(name).map(|(id, _)| *id),
            (None, 1) => apps.keys().next().copied(),
            (None, _) => None,
        };
        let health_app = settings.health_app.as_deref().and_then(named);
        let front = Front {
            trusted: settings.trusted()?,
            proxy_protocol: settings.proxy_protocol,
            health_path: settings.health_path.clone(),
            health_app: health_app.map(|(id, _)| *id),
            challenges: managed::answers(tx)?,
        };
        Ok(Desired {
            generation: tx.generation()?,
            default_app,
            front,
            certs: cert::version(tx)?,
            apps,
        })
    }
}

/// `releases` newest first.
fn kept_of(app: &App, releases: &[Release]) -> BTreeSet<SlugDigest> {
    let of = |version: Option<u32>| {
        let release = releases.iter().find(|r| Some(r.version) == version);
        release.and_then(release::digest).cloned()
    };
    let current = of(app.current);
    let before = releases.iter().find(|r| {
        Some(r.version) < app.current
            && r.status == ReleaseStatus::Succeeded
            && r.slug.is_some()
            && release::digest(r) != current.as_ref()
    });
    let before = before.and_then(release::digest).cloned();
    [current, of(app.candidate), before]
        .into_iter()
        .flatten()
        .collect()
}
