//! How an app's requests are handled: what its owner says, and what counts with everything together.

use super::{Actor, Ops, OpsError, Result, app, release};
use crate::store::Tx;
use hokku_core::{
    parse::hokku_toml::{self, MAX_RULES},
    routing::{ERROR_PAGE, MAINTENANCE_PAGE, Merged, Sources, merge},
};
use hokku_model::{
    AppId,
    app::App,
    routing::{Routing, laid_out},
    said::{RoutingPatch, RoutingView, Said},
};
use std::time::Duration;

/// The most keys that the owner can say for the app or for one path.
const MAX_KEYS: usize = 100;

impl Ops {
    /// What counts for an app's requests, and where each value came from.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn routing(&self, app: AppId) -> Result<RoutingView> {
        self.store()
            .read(|tx| self.view(tx, &app::load(tx, app)?.body))
            .await
    }

    /// Says, and takes back, settings of the owner: all of the patch or nothing. It counts at once, without a release
    /// and without a restart. Gives what counts then, and whether anything changed.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when a key or value can't be, as in `hokku.toml`, when the folder of `files` is named here,
    /// or when a redirect would lead back to itself.
    pub async fn patch_routing(
        &self,
        actor: &Actor,
        app: AppId,
        patch: &RoutingPatch,
    ) -> Result<(RoutingView, bool)> {
        let path = match &patch.path {
            Some(path) => Some(hokku_toml::parse_path(path).map_err(OpsError::invalid)?),
            None => None,
        };
        let mut settings = vec![];
        for (key, value) in &patch.set {
            if key == "files" {
                return Err(OpsError::invalid(
                    "files: the folder is checked and published with a release, so it is said in hokku.toml.",
                ));
            }
            let all =
                hokku_toml::parse_setting(key, value, path.is_some()).map_err(OpsError::invalid)?;
            settings.extend(all);
        }
        let (name, view, changed) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let mut owner = app.body.routing.clone();
                let level = match &path {
                    Some(path) => owner.rules.entry(path.clone()).or_default(),
                    None => &mut owner.app,
                };
                for key in &patch.unset {
                    unset(level, key, path.as_deref())?;
                }
                for setting in &settings {
                    level.set(setting.clone());
                }
                let keys = level.len();
                owner.rules.retain(|_, level| !level.is_empty());
                if keys > MAX_KEYS || owner.rules.len() > MAX_RULES {
                    return Err(OpsError::invalid(format!(
                        "An app's owner can say {MAX_KEYS} keys at a place, and rules for {MAX_RULES} paths. Put more into hokku.toml."
                    )));
                }
                if owner == app.body.routing {
                    let view = self.view(tx, &app.body)?;
                    return Ok((app.body.name, view, false));
                }
                let before = self.merged(tx, &app.body, &app.body.routing)?.endless();
                if let Some(way) = self.merged(tx, &app.body, &owner)?.endless().filter(|_| before.is_none()) {
                    return Err(OpsError::invalid(format!(
                        "redirect: with this a redirect never ends: {way}.\nA rule covers everything below its path, also where it leads to."
                    )));
                }
                app.body.routing = owner;
                app::save(tx, &mut app)?;
                let view = self.view(tx, &app.body)?;
                Ok::<_, OpsError>((app.body.name, view, true))
            })
            .await?;
        if changed {
            tracing::info!(app = %name, user = %actor.user, "routing changed");
        }
        Ok((view, changed))
    }

    fn view(&self, tx: &Tx, app: &App) -> Result<RoutingView> {
        let merged = self.merged(tx, app, &app.routing)?;
        let drain = Duration::from_secs(self.config().now().drain_timeout);
        let mut notes = merged.notes.clone();
        if let Some(way) = merged.endless() {
            notes.push(format!("A redirect never ends: {way}."));
        }
        let (settings, rules) = merged.rows(drain, app.maintenance);
        Ok(RoutingView {
            app: app.name.to_string(),
            release: app.current,
            settings,
            rules,
            notes,
        })
    }

    fn merged(&self, tx: &Tx, app: &App, owner: &Said) -> Result<Merged> {
        let Some(version) = app.current else {
            return Ok(merge(Sources {
                file: None,
                owner,
                error_page: None,
                maintenance_page: None,
            }));
        };
        let slug = release::entry(tx, app.id, version)?.body.slug;
        let vars = self.config_of(tx, app.id, version)?;
        Ok(merge(Sources {
            file: slug.as_ref().map(|s| (&s.routing, version)),
            owner,
            error_page: vars.get(ERROR_PAGE).map(String::as_str),
            maintenance_page: vars.get(MAINTENANCE_PAGE).map(String::as_str),
        }))
    }

    /// As the router is told it, with the folders of files where they are laid out for it.
    pub(super) fn routing_of(&self, tx: &Tx, app: &App) -> Result<Routing> {
        let mut routing = self.merged(tx, app, &app.routing)?.routing();
        let levels = std::iter::once(&mut routing.settings);
        let levels = levels.chain(routing.rules.iter_mut().map(|r| &mut r.settings));
        let mut files: Vec<_> = levels.filter_map(|s| s.files.as_mut()).collect();
        if files.is_empty() {
            return Ok(routing);
        }
        let current = app.current.map(|v| release::entry(tx, app.id, v));
        let slug = current.transpose()?.and_then(|e| e.body.slug);
        for f in &mut files {
            // a folder that can't be was refused when the file was pushed
            if let Some(slug) = &slug
                && let Some(place) = laid_out(app.id, &slug.digest, &f.root)
            {
                f.root = place;
            }
        }
        Ok(routing)
    }
}

/// Takes a key back; one that is not said is an error only when it can't be one.
fn unset(level: &mut hokku_model::said::Level, key: &str, path: Option<&str>) -> Result<()> {
    let plain = key.to_ascii_lowercase();
    if level.unset(&plain) || hokku_toml::find(&plain).is_some() {
        return Ok(());
    }
    // the parser's words, with its suggestion; a header that nobody set is as good as unset
    let value = if plain.contains('.') { "x" } else { "" };
    match hokku_toml::parse_setting(key, value, path.is_some()) {
        Ok(_) => Ok(()),
        Err(e) => Err(OpsError::invalid(e)),
    }
}
