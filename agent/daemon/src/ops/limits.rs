//! Limits of process types. A change replaces the type's dynos, as a restart order does; it makes no release.

use super::{
    Actor, Ops, OpsError, Restart, Result, app,
    formation::{Commands, commands, known, order},
};
use hokku_model::{AppId, ProcessType, app::App, limits::TypeLimits};

/// The process types of one-off dynos: they are in no Procfile, and can have limits all the same.
const RUN: &str = "run";
const ONEOFFS: [&str; 2] = [RUN, "cron"];

impl Ops {
    /// The limits of every process type that the app has, and of those that it had when they were set.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn limits(&self, app: AppId) -> Result<Vec<(ProcessType, TypeLimits)>> {
        self.store()
            .read(|tx| {
                let app = app::load(tx, app)?.body;
                let mut all = app.limits.clone();
                for kind in commands(tx, &app)?.into_keys() {
                    all.entry(kind).or_default();
                }
                Ok(all.into_iter().collect())
            })
            .await
    }

    /// Forgets the limits named in `unset` (all of them with `all`), then takes those of `change`. Dynos of the type
    /// are replaced when something changed for them.
    ///
    /// # Errors
    /// `NotFound` (app, process type); `Invalid` when a value is out of its range or a name is none.
    pub async fn set_limits(
        &self,
        actor: &Actor,
        app: AppId,
        kind: &str,
        change: &TypeLimits,
        unset: &[String],
    ) -> Result<TypeLimits> {
        let (name, kind, now) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let commands = commands(tx, &app.body)?;
                let kind = match kind.parse::<ProcessType>() {
                    Ok(kind)
                        if ONEOFFS.contains(&kind.as_str())
                            || app.body.limits.contains_key(&kind) =>
                    {
                        kind
                    }
                    _ => known(&app.body, &commands, kind)?,
                };
                let mut limits = app.body.limits.get(&kind).cloned().unwrap_or_default();
                for name in unset {
                    match name.as_str() {
                        "all" => limits = TypeLimits::default(),
                        name => limits.unset(name).map_err(OpsError::invalid)?,
                    }
                }
                change.check().map_err(OpsError::invalid)?;
                if change.concurrency.is_some() && kind.as_str() != RUN {
                    return Err(OpsError::invalid(format!(
                        "Only one-off dynos have a limit of how many may run at once: use the type run. How many {kind} dynos run is what `app ps:scale` says."
                    )));
                }
                limits.set(change);
                limits.check().map_err(OpsError::invalid)?;
                if put(&mut app.body, &commands, &kind, limits.clone())? {
                    app::save(tx, &mut app)?;
                }
                Ok::<_, OpsError>((app.body.name, kind, limits))
            })
            .await?;
        tracing::info!(app = %name, user = %actor.user, %kind, ?now, "limits set");
        Ok(now)
    }
}

/// Writes the limits of a type into the app and orders its dynos to be replaced where it matters to them. False: they
/// were the same before.
pub(super) fn put(
    app: &mut App,
    commands: &Commands,
    kind: &ProcessType,
    limits: TypeLimits,
) -> Result<bool> {
    let before = app.limits.get(kind).cloned().unwrap_or_default();
    if before == limits {
        return Ok(false);
    }
    let runs = app.formation.get(kind).is_some_and(|n| *n > 0) && commands.contains_key(kind);
    if runs && before.quota() != limits.quota() {
        order(app, commands, &Restart::Type(kind.clone()))?;
    }
    if limits.is_empty() {
        app.limits.remove(kind);
    } else {
        app.limits.insert(kind.clone(), limits);
    }
    Ok(true)
}
