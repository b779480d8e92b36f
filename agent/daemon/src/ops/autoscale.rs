//! Which process types follow their load, and within which bounds.

use super::{
    Actor, Ops, OpsError, Result, app,
    formation::{MOST, commands, known},
};
use hokku_model::{
    AppId, ProcessType,
    api::AutoscalePatch,
    autoscale::{At, Autoscale, DepthFrom, Plan},
};
use std::collections::BTreeMap;

/// Entries of one schedule.
const MOST_ENTRIES: usize = 50;

/// Characters of a command or a path.
const LONGEST: usize = 4096;

impl Ops {
    /// The plan of every process type that has one.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn autoscale(&self, app: AppId) -> Result<BTreeMap<ProcessType, Plan>> {
        let app = self.app(app).await?;
        Ok(app.autoscale)
    }

    /// Makes or changes the plan of a process type; what the patch does not name stays. A patch with a time changes the
    /// schedule's entry of that time.
    ///
    /// # Errors
    /// `NotFound` (app, process type); `Invalid`: bounds, a signal the type does not have, no bounds yet, too many entries.
    pub async fn set_autoscale(
        &self,
        actor: &Actor,
        app: AppId,
        kind: &str,
        patch: &AutoscalePatch,
    ) -> Result<(ProcessType, Plan)> {
        let (name, kind, plan) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let commands = commands(tx, &app.body)?;
                let kind = known(&app.body, &commands, kind)?;
                let before = app.body.autoscale.get(&kind);
                let plan = changed(&kind, before, patch).map_err(OpsError::invalid)?;
                if before != Some(&plan) {
                    app.body.autoscale.insert(kind.clone(), plan.clone());
                    app::save(tx, &mut app)?;
                }
                Ok::<_, OpsError>((app.body.name, kind, plan))
            })
            .await?;
        tracing::info!(app = %name, user = %actor.user, %kind, ?plan, "autoscale set");
        Ok((kind, plan))
    }

    /// Ends the following, or takes one entry of the schedule away; the number of dynos stays as it is.
    ///
    /// # Errors
    /// `NotFound`: app, no plan for the type, no entry for that time.
    pub async fn unset_autoscale(
        &self,
        actor: &Actor,
        app: AppId,
        kind: &str,
        at: Option<&str>,
    ) -> Result<()> {
        let at = at
            .map(hokku_core::autoscale::parse_at)
            .transpose()
            .map_err(OpsError::invalid)?;
        let name = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                let none = |what: String| OpsError::not_found("autoscale", what);
                let shown: String = kind.chars().filter(|c| !c.is_control()).take(64).collect();
                let plans = &mut app.body.autoscale;
                let key = kind
                    .parse::<ProcessType>()
                    .ok()
                    .filter(|k| plans.contains_key(k));
                let Some(key) = key else {
                    return Err(none(format!(
                        "{shown} does not follow its load; see: app autoscale"
                    )));
                };
                match at {
                    None => drop(plans.remove(&key)),
                    Some((days, minute)) => {
                        let entries = plans.get_mut(&key).map(|p| &mut p.schedule);
                        let before = entries.as_ref().map_or(0, |e| e.len());
                        let after = entries.map_or(0, |e| {
                            e.retain(|a| (a.days, a.minute) != (days, minute));
                            e.len()
                        });
                        if after == before {
                            return Err(none(format!(
                                "The schedule of {shown} has no entry for {}; see: app autoscale",
                                hokku_core::autoscale::spell_at(days, minute)
                            )));
                        }
                    }
                }
                app::save(tx, &mut app)?;
                Ok::<_, OpsError>(app.body.name)
            })
            .await?;
        tracing::info!(app = %name, user = %actor.user, kind, ?at, "autoscale unset");
        Ok(())
    }
}

/// The plan after the patch.
fn changed(
    kind: &ProcessType,
    before: Option<&Plan>,
    patch: &AutoscalePatch,
) -> std::result::Result<Plan, String> {
    let targets = patch
        .target
        .as_deref()
        .map(hokku_core::autoscale::parse_targets)
        .transpose()?;
    let mut plan = match before {
        Some(plan) => plan.clone(),
        None if patch.at.is_none() => {
            let (Some(max), Some(targets)) = (patch.max, targets) else {
                return Err(format!(
                    "{kind} does not follow its load yet: give --max and --target, such as: app autoscale {kind} --min 2 --max 8 --target inflight=10,cpu=70%"
                ));
            };
            let wish = Autoscale {
                min: patch.min.unwrap_or(1),
                max,
                targets,
            };
            Plan {
                wish,
                depth_from: None,
                schedule: vec![],
                zone: None,
            }
        }
        None => {
            return Err(format!(
                "{kind} does not follow its load yet: give its bounds without a time first"
            ));
        }
    };
    match &patch.at {
        Some(at) => {
            let (days, minute) = hokku_core::autoscale::parse_at(at)?;
            let Some(min) = patch.min else {
                return Err("Give --min with --at: the fewest dynos from that time on".into());
            };
            if targets.is_some() || patch.depth_command.is_some() || patch.depth_path.is_some() {
                return Err(
                    "A time of the schedule changes --min and --max only: set targets without --at"
                        .into(),
                );
            }
            let entry = At {
                days,
                minute,
                min,
                max: patch.max,
            };
            plan.schedule
                .retain(|a| (a.days, a.minute) != (days, minute));
            plan.schedule.push(entry);
            plan.schedule
                .sort_by_key(|a| (a.days.0.trailing_zeros(), a.minute));
        }
        None => {
            plan.wish.min = patch.min.unwrap_or(plan.wish.min);
            plan.wish.max = patch.max.unwrap_or(plan.wish.max);
            plan.wish.targets = targets.unwrap_or(plan.wish.targets);
        }
    }
    match (&patch.depth_command, &patch.depth_path) {
        (Some(_), Some(_)) => {
            return Err("Jobs are counted by a command or by a path, not both".into());
        }
        (Some(command), None) => plan.depth_from = Some(DepthFrom::Command(command.clone())),
        (None, Some(path)) => plan.depth_from = Some(DepthFrom::Path(path.clone())),
        (None, None) => {}
    }
    if let Some(zone) = &patch.zone {
        plan.zone = Some(zone.clone());
    }
    check(kind, &plan)?;
    Ok(plan)
}

fn check(kind: &ProcessType, plan: &Plan) -> std::result::Result<(), String> {
    let bounds = |min: u32, max: u32| match (min, max) {
        (min, max) if min > max => Err(format!("--min {min} is more than --max {max}")),
        (_, max) if max == 0 || max > MOST => {
            Err(format!("--max has to be 1 to {MOST}, not {max}"))
        }
        _ => Ok(()),
    };
    bounds(plan.wish.min, plan.wish.max)?;
    for entry in &plan.schedule {
        bounds(entry.min, entry.max.unwrap_or(plan.wish.max))?;
    }
    if plan.schedule.len() > MOST_ENTRIES {
        return Err(format!("A schedule has {MOST_ENTRIES} entries at most"));
    }
    let t = &plan.wish.targets;
    if !kind.is_web() && (t.queue_ms.is_some() || t.inflight.is_some()) {
        return Err(format!(
            "{kind} gets no requests, so queue and inflight say nothing of it: use cpu, memory, or depth with --depth-command"
        ));
    }
    if plan.wish.min == 0 && t.depth.is_none() {
        return Err(
            "--min 0 needs the target depth: nothing else tells that a first dyno is wanted".into(),
        );
    }
    match &plan.depth_from {
        None if t.depth.is_some() => {
            return Err("The target depth needs --depth-command or --depth-path: what counts the jobs that wait".into());
        }
        Some(DepthFrom::Command(c))
            if c.trim().is_empty() || c.len() > LONGEST || c.contains('\0') =>
        {
            return Err(format!(
                "--depth-command has to be a command of at most {LONGEST} characters"
            ));
        }
        Some(DepthFrom::Path(p))
            if !p.starts_with('/')
                || p.len() > LONGEST
                || !p.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            return Err("--depth-path has to be a path of the app, such as /internal/jobs".into());
        }
        _ => {}
    }
    if let Some(zone) = &plan.zone
        && jiff::tz::TimeZone::get(zone).is_err()
    {
        let shown: String = zone.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(format!(
            "There is no time zone {shown:?} on this host: give a name such as Europe/Berlin"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(min: u32, max: u32, target: &str) -> AutoscalePatch {
        AutoscalePatch {
            min: Some(min),
            max: Some(max),
            target: Some(target.into()),
            ..AutoscalePatch::default()
        }
    }

    #[test]
    fn patches_change_what_they_name() {
        let (web, worker): (ProcessType, ProcessType) =
            ("web".parse().unwrap(), "worker".parse().unwrap());
        let first = changed(&web, None, &patch(2, 8, "inflight=10")).unwrap();
        assert_eq!(
            (first.wish.min, first.wish.max, first.wish.targets.inflight),
            (2, 8, Some(10))
        );
        let more = changed(
            &web,
            Some(&first),
            &AutoscalePatch {
                max: Some(9),
                ..AutoscalePatch::default()
            },
        )
        .unwrap();
        assert_eq!(
            (more.wish.min, more.wish.max, more.wish.targets.inflight),
            (2, 9, Some(10))
        );
        let timed = AutoscalePatch {
            at: Some("Mon 8:00".into()),
            min: Some(6),
            zone: Some("Europe/Berlin".into()),
            ..AutoscalePatch::default()
        };
        let timed = changed(&web, Some(&more), &timed).unwrap();
        assert_eq!(
            (timed.wish.min, timed.schedule[0].min, timed.zone.as_deref()),
            (2, 6, Some("Europe/Berlin"))
        );
        let jobs = AutoscalePatch {
            depth_command: Some("./depth".into()),
            ..patch(0, 3, "depth=100")
        };
        assert_eq!(changed(&worker, None, &jobs).unwrap().wish.min, 0);
        for (kind, before, bad, word) in [
            (
                &web,
                None,
                AutoscalePatch {
                    min: Some(1),
                    ..AutoscalePatch::default()
                },
                "--max",
            ),
            (&web, None, patch(9, 8, "cpu=70%"), "--min 9"),
            (&web, None, patch(1, 101, "cpu=70%"), "1 to 100"),
            (&web, None, patch(0, 3, "cpu=70%"), "--min 0"),
            (&web, None, patch(1, 3, "depth=5"), "--depth-command"),
            (&worker, None, patch(1, 3, "queue=50ms"), "gets no requests"),
            (
                &web,
                Some(&first),
                AutoscalePatch {
                    at: Some("Mon 8:00".into()),
                    ..AutoscalePatch::default()
                },
                "--min",
            ),
            (
                &web,
                Some(&first),
                AutoscalePatch {
                    at: Some("Mon 8:00".into()),
                    min: Some(9),
                    ..AutoscalePatch::default()
                },
                "--max 8",
            ),
            (
                &web,
                Some(&first),
                AutoscalePatch {
                    zone: Some("Europe/Nowhere".into()),
                    ..AutoscalePatch::default()
                },
                "time zone",
            ),
            (
                &web,
                Some(&first),
                AutoscalePatch {
                    depth_path: Some("http://169.254.169.254/".into()),
                    ..AutoscalePatch::default()
                },
                "path of the app",
            ),
        ] {
            let e = changed(kind, before, &bad).unwrap_err();
            assert!(e.contains(word), "{e}");
        }
    }
}
