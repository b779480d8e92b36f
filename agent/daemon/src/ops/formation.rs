//! The formation: how many dynos of which type, and orders to replace them.

use super::{Actor, Ops, OpsError, Result, app, limits, name, release};
use crate::store::Tx;
use hokku_model::{
    AppId, DynoName, Micros, ProcessType,
    api::{FormationUpdate, Quantity},
    app::App,
    limits::{Size, TypeLimits},
};
use std::collections::BTreeMap;

/// Dynos of one process type (Dev Center "Limits").
pub(super) const MOST: u32 = 100;

/// One process type of the formation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormationLine {
    /// The process type.
    pub kind: ProcessType,
    /// How many are wanted, 0 to 100.
    pub quantity: u32,
    /// The Procfile's command.
    pub command: String,
    /// The dyno size, as it is shown, when one was chosen.
    pub size: Option<&'static str>,
}

/// Which dynos are to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// All of the app's formation.
    All,
    /// Those of one process type.
    Type(ProcessType),
    /// One.
    Dyno(DynoName),
}

impl Ops {
    /// Every process type (but `release`) of the app's current release and its candidate, with its wanted number.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn formation(&self, app: AppId) -> Result<Vec<FormationLine>> {
        self.store()
            .read(|tx| {
                let app = app::load(tx, app)?.body;
                let commands = commands(tx, &app)?;
                Ok(commands.keys().map(|k| line(&app, &commands, k)).collect())
            })
            .await
    }

    /// Changes wanted numbers and sizes, all or none; gives the lines that were named.
    ///
    /// # Errors
    /// `NotFound` (app, process type, with a suggestion); `Invalid` when a number is out of 0 to 100, or there is
    /// no such size.
    pub async fn scale(
        &self,
        actor: &Actor,
        app: AppId,
        updates: &[FormationUpdate],
    ) -> Result<Vec<FormationLine>> {
        let (name, lines) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let commands = commands(tx, &app.body)?;
                let mut named = vec![];
                let before = app.body.formation.clone();
                let mut sized = false;
                for update in updates {
                    let kind = known(&app.body, &commands, &update.r#type)?;
                    if let Some(quantity) = &update.quantity {
                        let old = app.body.formation.get(&kind).copied().unwrap_or(0);
                        let new = count(&kind, old, quantity)?;
                        app.body.formation.insert(kind.clone(), new);
                    }
                    if let Some(size) = &update.size {
                        let mut new = app.body.limits.get(&kind).cloned().unwrap_or_default();
                        let size = TypeLimits {
                            size: Some(size.clone()),
                            ..TypeLimits::default()
                        };
                        size.check().map_err(OpsError::invalid)?;
                        if new.size.as_deref().map(Size::named)
                            != size.size.as_deref().map(Size::named)
                        {
                            new.set(&size);
                            sized |= limits::put(&mut app.body, &commands, &kind, new)?;
                        }
                    }
                    if !named.contains(&kind) {
                        named.push(kind);
                    }
                }
                if sized || app.body.formation != before {
                    app::save(tx, &mut app)?;
                }
                let lines = named
                    .iter()
                    .map(|k| line(&app.body, &commands, k))
                    .collect();
                Ok::<(_, Vec<FormationLine>), OpsError>((app.body.name, lines))
            })
            .await?;
        for l in &lines {
            tracing::info!(app = %name, user = %actor.user, "scaled to {}@{}", l.kind, l.quantity);
        }
        Ok(lines)
    }

    /// Orders formation dynos to be replaced.
    ///
    /// # Errors
    /// `NotFound` (app, process type, dyno).
    pub async fn restart(&self, actor: &Actor, app: AppId, which: Restart) -> Result<()> {
        let name = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let commands = commands(tx, &app.body)?;
                order(&mut app.body, &commands, &which)?;
                app::save(tx, &mut app)?;
                Ok::<_, OpsError>(app.body.name)
            })
            .await?;
        tracing::info!(app = %name, user = %actor.user, ?which, "restart ordered");
        Ok(())
    }
}

pub(super) type Commands = BTreeMap<ProcessType, String>;

/// What can be scaled: a type that only the current release has can be until the candidate is promoted.
pub(super) fn commands(tx: &Tx, app: &App) -> Result<Commands> {
    let mut all = Commands::new();
    for version in [app.current, app.candidate].into_iter().flatten() {
        let slug = release::load(tx, app.id, version)?.slug;
        all.extend(slug.into_iter().flat_map(|s| s.process_types));
    }
    all.retain(|kind, _| !kind.is_release());
    Ok(all)
}

fn line(app: &App, commands: &Commands, kind: &ProcessType) -> FormationLine {
    FormationLine {
        kind: kind.clone(),
        quantity: app.formation.get(kind).copied().unwrap_or(0),
        command: commands.get(kind).cloned().unwrap_or_default(),
        size: (app.limits.get(kind))
            .and_then(|l| Size::named(l.size.as_deref()?))
            .map(|s| s.shown),
    }
}

pub(super) fn known(app: &App, commands: &Commands, typed: &str) -> Result<ProcessType> {
    if let Ok(kind) = typed.parse()
        && commands.contains_key(&kind)
    {
        return Ok(kind);
    }
    let shown: String = typed.chars().filter(|c| !c.is_control()).take(64).collect();
    let hint = if commands.is_empty() {
        format!(
            " Nothing has been deployed to {} yet; push it first.",
            app.name
        )
    } else {
        name::suggest(typed, commands.keys().map(ProcessType::as_str))
    };
    Err(OpsError::not_found(
        "formation",
        format!("Couldn't find that process type ({shown}).{hint}"),
    ))
}

fn count(kind: &ProcessType, old: u32, quantity: &Quantity) -> Result<u32> {
    let shown;
    let wanted = match quantity {
        Quantity::Number(n) => {
            shown = n.to_string();
            Some(i64::from(*n))
        }
        Quantity::Text(t) => {
            shown = t.chars().filter(|c| !c.is_control()).take(32).collect();
            let digits = t.strip_prefix(['+', '-']).unwrap_or(t);
            let number = Some(digits)
                .filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|d| d.parse::<u32>().ok())
                .map(i64::from);
            match t.as_bytes().first() {
                Some(b'+') => number.map(|n| i64::from(old) + n),
                Some(b'-') => number.map(|n| i64::from(old) - n),
                _ => number,
            }
        }
    };
    wanted
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n <= MOST)
        .ok_or_else(|| {
            OpsError::invalid(format!(
                "Can't scale {kind} to {shown} (now {old}): give a number from 0 to {MOST}, or +1 and -1 to change it."
            ))
        })
}

/// A wider order makes the narrower ones before it superfluous, which keeps the record small.
pub(super) fn order(app: &mut App, commands: &Commands, which: &Restart) -> Result<()> {
    let r = &mut app.restarts;
    let newest = [r.all]
        .into_iter()
        .chain(r.by_type.values().copied())
        .chain(r.by_dyno.values().copied())
        .max()
        .unwrap_or_default();
    // The clock may have been set back since the last order.
    let now = Micros::now().max(Micros(newest.0.saturating_add(1)));
    match which {
        Restart::All => {
            r.all = now;
            r.by_type.clear();
            r.by_dyno.clear();
        }
        Restart::Type(kind) => {
            let kind = known(app, commands, kind.as_str())?;
            let r = &mut app.restarts;
            r.by_dyno
                .retain(|d, _| !d.parse::<DynoName>().is_ok_and(|d| d.kind == kind));
            r.by_type.insert(kind, now);
        }
        Restart::Dyno(dyno) => {
            let wanted = app.formation.get(&dyno.kind).copied().unwrap_or(0);
            if !commands.contains_key(&dyno.kind) || dyno.index > wanted {
                return Err(OpsError::not_found(
                    "dyno",
                    format!("Couldn't find that dyno ({dyno})."),
                ));
            }
            r.by_dyno.insert(dyno.to_string(), now);
        }
    }
    Ok(())
}
