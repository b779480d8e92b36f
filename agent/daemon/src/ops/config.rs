//! Config vars: each change makes a release.

use super::{Actor, Ops, OpsError, Result, app, release};
use crate::store::Tx;
use anyhow::Context;
use hokku_model::{
    AppId, ConfigKey,
    api::{ConfigPatch, ConfigVars},
    app::App,
    release::Release,
};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// Bytes of all names and values together (Dev Center "Configuration and Config Vars": 64 kB).
const TOTAL: usize = 64 * 1024;

/// Names shown in a release's description; the rest is counted.
const SHOWN: usize = 20;

impl Ops {
    /// The config vars of the app's newest wish: the candidate's while one is rolled out, else the current release's.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn config_vars(&self, app: AppId) -> Result<ConfigVars> {
        self.store()
            .read(|tx| self.head_config(tx, &app::load(tx, app)?.body))
            .await
    }

    /// Sets and removes config vars; gives all of them and the release that it made, `None` when nothing changed.
    /// The release is a candidate when the app has a slug, else current at once. A candidate that is being rolled
    /// out is superseded by one with its slug and both changes.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when a name is bad, a value holds NUL, or all together exceed 64 kB.
    pub async fn patch_config(
        &self,
        actor: &Actor,
        app: AppId,
        patch: ConfigPatch,
    ) -> Result<(ConfigVars, Option<Release>)> {
        check(&patch)?;
        let (name, vars, release) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let mut vars = self.head_config(tx, &app.body)?;
                let changes = apply(&mut vars, &patch);
                if changes.is_empty() {
                    return Ok((app.body.name, vars, None));
                }
                check_total(&vars)?;
                let mut draft = release::Draft::new(actor, describe(&changes));
                draft.slug = release::head(tx, &app.body)?.and_then(|r| r.slug);
                draft.config = vars.clone();
                draft.carry = self.carry(tx, &app.body)?;
                draft.carry.extend(changes);
                let release = self.add_release(tx, &mut app, draft)?;
                app::save(tx, &mut app)?;
                Ok::<_, OpsError>((app.body.name, vars, Some(release)))
            })
            .await?;
        if let Some(r) = &release {
            tracing::info!(app = %name, user = %actor.user, version = r.version, "{}", r.description);
        }
        Ok((vars, release))
    }

    /// The config vars of one release.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn release_env(&self, app: AppId, version: u32) -> Result<ConfigVars> {
        self.store()
            .read(|tx| {
                app::load(tx, app)?;
                self.config_of(tx, app, version)
            })
            .await
    }

    /// The config vars that a change builds on.
    pub(super) fn head_config(&self, tx: &Tx, app: &App) -> Result<ConfigVars> {
        match app.candidate.or(app.current) {
            Some(version) => self.config_of(tx, app.id, version),
            None => Ok(ConfigVars::new()),
        }
    }

    pub(super) fn config_of(&self, tx: &Tx, app: AppId, version: u32) -> Result<ConfigVars> {
        let sealed = release::sealed(tx, app, version)?;
        self.unseal(&place("config vars", app, version), sealed)
    }

    pub(super) fn seal<T: Serialize>(&self, place: &str, value: &T) -> Result<Vec<u8>> {
        let plain = Zeroizing::new(serde_json::to_vec(value).context("can't write config vars")?);
        Ok(self.inner.keyring.seal(place, &plain)?)
    }

    pub(super) fn unseal<T: DeserializeOwned>(
        &self,
        place: &str,
        sealed: Option<Vec<u8>>,
    ) -> Result<T> {
        let sealed = sealed.with_context(|| format!("the database has no {place}"))?;
        let plain = self.inner.keyring.open(place, &sealed)?;
        Ok(serde_json::from_slice(&plain)
            .map_err(|_| anyhow::anyhow!("the {place} can't be read: they are no JSON object"))?)
    }
}

/// What goes into the seal: a value is of use nowhere else.
pub(super) fn place(what: &str, app: AppId, version: u32) -> String {
    format!("{what} of app {app} release {version}")
}

/// Changes the vars; gives what really changed.
pub(super) fn apply(vars: &mut ConfigVars, patch: &ConfigPatch) -> ConfigPatch {
    let mut changes = ConfigPatch::new();
    for (key, value) in patch {
        let old = match value {
            Some(value) => vars.insert(key.clone(), value.clone()),
            None => vars.remove(key),
        };
        if old != *value {
            changes.insert(key.clone(), value.clone());
        }
    }
    changes
}

/// As Heroku words it: "Set FOO, BAR config vars", "Remove FOO config vars".
pub(super) fn describe(changes: &ConfigPatch) -> String {
    let names = |set: bool| {
        let all: Vec<&str> = changes
            .iter()
            .filter(|(_, v)| v.is_some() == set)
            .map(|(k, _)| k.as_str())
            .collect();
        let rest = match all.len().saturating_sub(SHOWN) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        (!all.is_empty()).then(|| format!("{}{rest}", all[..all.len().min(SHOWN)].join(", ")))
    };
    match (names(true), names(false)) {
        (Some(set), Some(removed)) => format!("Set {set}; remove {removed} config vars"),
        (None, Some(removed)) => format!("Remove {removed} config vars"),
        (set, None) => format!("Set {} config vars", set.unwrap_or_default()),
    }
}

fn check(patch: &ConfigPatch) -> Result<()> {
    for (key, value) in patch {
        key.parse::<ConfigKey>()
            .map_err(|e| OpsError::invalid(e.0))?;
        if value.as_ref().is_some_and(|v| v.contains('\0')) {
            return Err(OpsError::invalid(format!(
                "The value of {key} holds a NUL byte, which no program's environment can hold. Encode it, for example as base64."
            )));
        }
    }
    Ok(())
}

fn check_total(vars: &ConfigVars) -> Result<()> {
    let total: usize = vars.iter().map(|(k, v)| k.len() + v.len()).sum();
    if total <= TOTAL {
        return Ok(());
    }
    Err(OpsError::invalid(format!(
        "The config vars would have {total} bytes in all, and may have {TOTAL} (64 kB). Put big values into a file or a store of your own."
    )))
}
