//! Having the dynos of runs started.

use super::{Cron, Live};
use crate::control::{Internal, handle::Command, launch::Launch, oneoff::resolve};
use crate::sys::clock::rfc3339;
use hokku_core::desired::Desired;
use hokku_model::{
    DynoId, DynoName, Micros, ProcessType,
    cron::{KIND, Open, dyno_number},
    dyno::{DynoRecord, Purpose},
};

/// The process type whose limits hold for runs when theirs has none.
const FALLBACK: &str = "run";

/// Beyond the time limit, when the agent is not there to stop a run in good order: seconds until its shim kills it.
const SPARE: u64 = 5;

impl Cron {
    /// Starts the runs whose turn it is; gives those that can never be started.
    pub(super) async fn start(&mut self) -> anyhow::Result<Vec<DynoId>> {
        let now = Micros::now();
        let waits = |o: &&Open| !self.live.contains_key(&o.dyno);
        let due: Vec<DynoId> = self
            .open
            .values()
            .filter(waits)
            .filter(|o| o.replaced || o.not_before <= now)
            .map(|o| o.dyno)
            .collect();
        if due.is_empty() {
            return Ok(vec![]);
        }
        let desired = self.hands.ops.desired().await?;
        let mut never = vec![];
        for dyno in due {
            let Some(open) = self.open.get(&dyno) else {
                continue;
            };
            if open.replaced {
                never.push(dyno);
                continue;
            }
            if !self.is_free(open) {
                continue;
            }
            let Some(launch) = self.launch(&desired, open) else {
                never.push(dyno);
                continue;
            };
            let since = launch.record.started_at;
            let stop_ordered = false;
            if self
                .to_loop
                .send(Internal::Cron(Box::new(launch)))
                .await
                .is_err()
            {
                return Ok(never);
            }
            self.live.insert(
                dyno,
                Live {
                    since,
                    stop_ordered,
                },
            );
        }
        Ok(never)
    }

    /// The order; `None`: the app is gone, or has nothing to run.
    fn launch(&self, desired: &Desired, open: &Open) -> Option<Launch> {
        let wish = desired.apps.get(&open.app)?;
        let release = wish.current.as_ref().filter(|r| r.slug.is_some())?;
        let types = &release.process_types;
        let of_type = |word: &str| {
            let known = types.iter().find(|(t, _)| t.as_str() == word);
            known.map(|(_, c)| c.clone())
        };
        let kind: ProcessType = KIND.parse().ok()?;
        let fallback: ProcessType = FALLBACK.parse().ok()?;
        let quota = [&kind, &fallback]
            .into_iter()
            .find_map(|k| wish.quotas.get(k));
        let record = DynoRecord {
            id: open.dyno,
            name: DynoName::new(kind.clone(), dyno_number(open.dyno)),
            app: open.app,
            app_name: wish.name.clone(),
            version: release.version,
            slug: release.slug.clone(),
            port: None,
            command: open.command.clone(),
            started_at: Micros::now(),
            oneoff: true,
            purpose: Purpose::Cron {
                entry: open.run.entry.to_string(),
                run: open.run.number.into(),
            },
            quota: quota.cloned().unwrap_or_default(),
            care: Default::default(),
        };
        let command = resolve(Command::Line(open.command.clone()), of_type);
        let grace = self.hands.config.now().stop_grace;
        let most = open.timeout.saturating_add(grace).saturating_add(SPARE);
        let mut env = open.env.clone();
        let run = &open.run;
        for (name, value) in [
            ("CRON_ENTRY", run.entry.to_string()),
            ("CRON_RUN", run.number.to_string()),
            ("CRON_TRIGGER", run.trigger.as_str().to_owned()),
            (
                "CRON_SCHEDULED_AT",
                run.tick.map(rfc3339).unwrap_or_default(),
            ),
        ] {
            // what an alert tells is about another run
            env.entry(name.to_owned()).or_insert(value);
        }
        Some(Launch::oneoff(record, command, env, None, Some(most)))
    }
}
