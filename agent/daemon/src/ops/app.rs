//! Apps: create, find, rename, destroy.

use super::{Actor, Ops, OpsError, Result, cert, cron, domain, managed, name, phase, release, run};
use crate::store::{Doc, Tx};
use hokku_model::{AppId, AppName, Micros, app::App, app::Restarts, said::Said};
use std::collections::BTreeMap;

pub(super) const APP: &str = "app";
const NAME: &str = "app-name";
const UID: &str = "next-uid";

/// More than anybody lists by hand; keeps the stored record small.
const BUILDPACKS: usize = 20;

pub(super) type AppDoc = Doc<App>;

/// The app's record.
pub(super) fn load(tx: &Tx, app: AppId) -> Result<AppDoc> {
    tx.get(APP, &app.to_string())?.ok_or_else(missing)
}

/// Writes the record back, unless somebody else has meanwhile.
pub(super) fn save(tx: &Tx, app: &mut AppDoc) -> Result<()> {
    app.body.updated_at = Micros::now();
    Ok(tx.replace(APP, app)?)
}

fn missing() -> OpsError {
    OpsError::not_found("app", "Couldn't find that app.")
}

fn parse_name(name: &str) -> Result<AppName> {
    name.parse()
        .map_err(|e: hokku_model::name::BadName| OpsError::invalid(e.0))
}

fn taken(name: &AppName) -> OpsError {
    OpsError::invalid(format!("Name {name} is already taken"))
}

impl Ops {
    /// Makes an app with release v1 "Initial release"; makes up a name when none is given.
    ///
    /// # Errors
    /// `Invalid` when the name is bad or taken.
    pub async fn create_app(&self, actor: &Actor, name: Option<&str>) -> Result<App> {
        let wanted = name.map(parse_name).transpose()?;
        let app = self
            .store()
            .write(|tx| self.insert_app(tx, actor, wanted.as_ref()))
            .await?;
        tracing::info!(app = %app.name, user = %actor.user, "created");
        Ok(app)
    }

    fn insert_app(&self, tx: &Tx, actor: &Actor, wanted: Option<&AppName>) -> Result<App> {
        let id = AppId(uuid::Uuid::new_v4().as_u128());
        let key = id.to_string();
        let name = match wanted {
            Some(name) if tx.claim(NAME, name.as_str(), &key)? => name.clone(),
            Some(name) => return Err(taken(name)),
            None => loop {
                let name = name::made_up()?;
                if tx.claim(NAME, name.as_str(), &key)? {
                    break name;
                }
            },
        };
        let now = Micros::now();
        let app = App {
            id,
            name,
            uid: next_uid(tx, self.config().first_uid)?,
            formation: BTreeMap::new(),
            current: None,
            candidate: None,
            next_version: 1,
            restarts: Restarts::default(),
            maintenance: false,
            routing: Said::default(),
            domains: vec![],
            acm: None,
            fence: hokku_model::fence::Fence::default(),
            buildpacks: vec![],
            limits: BTreeMap::new(),
            autoscale: BTreeMap::new(),
            phase: None,
            created_at: now,
            updated_at: now,
            released_at: None,
        };
        tx.insert(APP, &key, &app)?;
        let mut app = load(tx, id)?;
        let draft = release::Draft::new(actor, "Initial release".into());
        self.add_release(tx, &mut app, draft)?;
        save(tx, &mut app)?;
        Ok(app.body)
    }

    /// All apps, sorted by name.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn apps(&self) -> Result<Vec<App>> {
        let docs = self.store().read(|tx| tx.list::<App>(APP)).await?;
        let mut apps: Vec<App> = docs.into_iter().map(|d| d.body).collect();
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(apps)
    }

    /// One app by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn app(&self, id: AppId) -> Result<App> {
        self.store().read(|tx| Ok(load(tx, id)?.body)).await
    }

    /// One app by its id as text, or by its name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_app(&self, id_or_name: &str) -> Result<App> {
        self.store()
            .read(|tx| {
                let id = match id_or_name.parse::<AppId>() {
                    Ok(id) => Some(id),
                    Err(_) => tx.owner(NAME, id_or_name)?.and_then(|o| o.parse().ok()),
                };
                Ok(load(tx, id.ok_or_else(missing)?)?.body)
            })
            .await
    }

    /// Gives an app another name; its id, user and files stay.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the name is bad or taken.
    pub async fn rename_app(&self, actor: &Actor, app: AppId, name: &str) -> Result<App> {
        let name = parse_name(name)?;
        let (old, app) = self
            .store()
            .write(|tx| {
                let mut app = load(tx, app)?;
                let old = app.body.name.clone();
                if old == name {
                    return Ok((old, app.body));
                }
                if !tx.claim(NAME, name.as_str(), &app.key)? {
                    return Err(taken(&name));
                }
                tx.unclaim(NAME, old.as_str())?;
                app.body.name = name.clone();
                save(tx, &mut app)?;
                cert::touch(tx)?;
                Ok((old, app.body))
            })
            .await?;
        tracing::info!(app = %old, to = %app.name, user = %actor.user, "renamed");
        Ok(app)
    }

    /// Removes an app with its releases, builds and config vars; gives back what it was. Its Unix user id is never
    /// given again.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn destroy_app(&self, actor: &Actor, app: AppId) -> Result<App> {
        let app = self
            .store()
            .write::<_, OpsError>(|tx| {
                let app = load(tx, app)?;
                tx.delete(APP, &app.key)?;
                tx.unclaim(NAME, app.body.name.as_str())?;
                tx.forget(&app.key)?;
                domain::forget(tx, &app.body)?;
                cert::forget(tx, app.body.id)?;
                cron::forget(tx, app.body.id)?;
                managed::sync(tx, self.config())?;
                phase::forget(tx, app.body.id)?;
                run::forget(tx, app.body.id)?;
                for slug in tx.list::<()>(&release::swept_kind(app.body.id))? {
                    tx.delete(&release::swept_kind(app.body.id), &slug.key)?;
                }
                Ok(app.body)
            })
            .await?;
        tracing::info!(app = %app.name, user = %actor.user, "destroyed");
        Ok(app)
    }

    /// Maintenance page on or off.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_maintenance(&self, actor: &Actor, app: AppId, on: bool) -> Result<App> {
        let app = self
            .store()
            .write(|tx| {
                let mut app = load(tx, app)?;
                if app.body.maintenance != on {
                    app.body.maintenance = on;
                    save(tx, &mut app)?;
                }
                Ok::<_, OpsError>(app.body)
            })
            .await?;
        tracing::info!(app = %app.name, user = %actor.user, on, "maintenance mode");
        Ok(app)
    }

    /// Chooses the buildpacks, in order; none: the next build detects and pins them.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when there are too many or one can't be a name or URL.
    pub async fn set_buildpacks(
        &self,
        actor: &Actor,
        app: AppId,
        buildpacks: Vec<String>,
    ) -> Result<App> {
        if buildpacks.len() > BUILDPACKS {
            return Err(OpsError::invalid(format!(
                "An app can have {BUILDPACKS} buildpacks; these are {}.",
                buildpacks.len()
            )));
        }
        let bad = |b: &&String| {
            b.is_empty()
                || b.len() > 1024
                || b.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        if let Some(b) = buildpacks.iter().find(bad) {
            return Err(OpsError::invalid(format!(
                "{:?} is neither the name nor the URL of a buildpack.",
                b.chars().take(80).collect::<String>()
            )));
        }
        let app = self
            .store()
            .write(|tx| {
                let mut app = load(tx, app)?;
                if app.body.buildpacks != buildpacks {
                    app.body.buildpacks = buildpacks.clone();
                    save(tx, &mut app)?;
                }
                Ok::<_, OpsError>(app.body)
            })
            .await?;
        tracing::info!(app = %app.name, user = %actor.user, "buildpacks set");
        Ok(app)
    }
}

/// A user id that no app has ever had: files of a destroyed app must not become another app's.
fn next_uid(tx: &Tx, first: u32) -> Result<u32> {
    // Linux gives the last id a meaning of its own ("no change").
    const LAST: u32 = u32::MAX - 1;
    let mut uid = first;
    match tx.get::<u32>(UID, "1")? {
        Some(mut next) => {
            uid = next.body.max(first);
            next.body = uid.saturating_add(1);
            tx.replace(UID, &mut next)?;
        }
        None => tx.insert(UID, "1", &first.saturating_add(1))?,
    }
    if uid >= LAST {
        return Err(OpsError::conflict(format!(
            "All Unix user ids from {first} on are used up; set first_uid in the settings to a lower number."
        )));
    }
    Ok(uid)
}
