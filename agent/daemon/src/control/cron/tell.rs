//! Alerts: from the store to their receivers. Each is tried until it has arrived everywhere or is a day old, so a receiver
//! may get one twice, with the same id.

use super::{Cron, Note, pass};
use crate::{
    alert::{self, Message},
    control::Hands,
    sys::clock,
};
use hokku_model::{
    Micros,
    cron::{Alert, Run, Trouble},
};
use std::{collections::BTreeMap, time::Duration};

/// Attempts of one alert: with the pauses between them about a day.
const TRIES: u32 = 30;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Lines of a run's output in an alert, and characters of each.
const LINES: usize = 20;
const LONGEST_LINE: usize = 400;

/// Alerts on their way at the same time.
const AT_ONCE: usize = 8;

impl Cron {
    /// Sends the alerts that are due.
    pub(super) fn tell(&mut self, now: Micros) {
        let due = self.alerts.values().filter(|a| a.not_before <= now);
        let due: Vec<Alert> = due
            .filter(|a| !self.sending.contains(&a.id))
            .cloned()
            .collect();
        for alert in due {
            if self.sending.len() >= AT_ONCE {
                return;
            }
            self.sending.insert(alert.id.clone());
            let (hands, told) = (self.hands.clone(), self.told.clone());
            tokio::spawn(async move {
                let outcome = send(&hands, &alert).await;
                let outcome = outcome.map_err(|e| format!("{e:#}"));
                pass(&told, Note::Told(Box::new(alert), outcome));
            });
        }
    }

    /// It arrived, is tried again, or given up.
    pub(super) async fn was_told(
        &mut self,
        mut alert: Alert,
        outcome: Result<(), String>,
    ) -> anyhow::Result<()> {
        self.sending.remove(&alert.id);
        self.stale = true;
        alert.tries += 1;
        let ops = &self.hands.ops;
        let label = format!("cron.{}", alert.run.entry);
        match outcome {
            Ok(()) => {
                let command = ops
                    .cron_alerts(alert.app)
                    .await
                    .ok()
                    .and_then(|a| a.command);
                let env = match &command {
                    Some(_) => environment(&message(&self.hands, &alert).await),
                    None => BTreeMap::new(),
                };
                ops.cron_alert_done(&alert, command.map(|c| (c, env)))
                    .await?;
            }
            Err(why) if alert.tries >= TRIES => {
                let text = format!("An alert never arrived and is given up: {why}");
                self.hands.logs.write(alert.app, "heroku", &label, &text);
                ops.cron_alert_done(&alert, None).await?;
            }
            Err(why) => {
                let pause = Duration::from_secs(5) * 2u32.pow(alert.tries.min(12));
                let pause = pause.min(LONGEST_PAUSE);
                alert.not_before = Micros::now().plus(pause);
                let text = format!(
                    "An alert did not arrive, trying again in {} s: {why}",
                    pause.as_secs()
                );
                self.hands.logs.write(alert.app, "heroku", &label, &text);
                ops.cron_alert_again(&alert).await?;
            }
        }
        Ok(())
    }
}

async fn send(hands: &Hands, alert: &Alert) -> anyhow::Result<()> {
    let to = hands.ops.cron_alerts(alert.app).await?;
    let message = message(hands, alert).await;
    let hook = async {
        match &to.webhook {
            Some(url) => alert::webhook(url, &message).await,
            None => Ok(()),
        }
    };
    let mail = async {
        match &to.email {
            Some(email) => alert::mail(email, &message).await,
            None => Ok(()),
        }
    };
    // one that does not answer shall not keep the other from being told
    let (hook, mail) = tokio::join!(hook, mail);
    hook.and(mail)
}

async fn message(hands: &Hands, alert: &Alert) -> Message {
    let run = &alert.run;
    let app = match hands.ops.app(alert.app).await {
        Ok(app) => app.name.to_string(),
        Err(_) => alert.app.to_string(),
    };
    let mut output = vec![];
    if let (Some(dyno), Some(_)) = (run.dyno, run.started_at) {
        let (logs, app, entry, n) = (hands.logs.clone(), alert.app, run.entry.clone(), run.number);
        let read = move || logs.run_output(app, dyno, &entry, n);
        let lines = tokio::task::spawn_blocking(read).await.ok().flatten();
        let lines = lines.unwrap_or_default();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        output.extend(
            last.iter()
                .map(|l| l.text.chars().take(LONGEST_LINE).collect::<String>()),
        );
    }
    Message {
        id: alert.id.clone(),
        event: alert.trouble.as_str().into(),
        entry: run.entry.to_string(),
        run: run.number,
        status: run.status.as_str().into(),
        trigger: run.trigger.as_str().into(),
        command: alert.command.clone(),
        scheduled_at: run.tick.map(clock::rfc3339),
        started_at: run.started_at.map(clock::rfc3339),
        ended_at: run.ended_at.map(clock::rfc3339),
        exit_code: run.exit_code,
        text: in_words(&app, alert.trouble, run),
        output,
        app,
    }
}

fn in_words(app: &str, trouble: Trouble, run: &Run) -> String {
    let entry = &run.entry;
    let why = match run.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    match trouble {
        Trouble::Failed => {
            let status = run
                .exit_code
                .map(|c| format!(" with exit status {c}"))
                .unwrap_or_default();
            let tries = match run.attempt {
                1 => String::new(),
                n => format!(" after {n} attempts"),
            };
            format!("The cron entry {entry} of {app} failed{status}{tries}{why}.")
        }
        Trouble::RanTooLong => {
            format!("The cron entry {entry} of {app} ran too long and was stopped{why}.")
        }
        Trouble::DidNotRun => {
            let at = run.tick.map(clock::rfc3339).unwrap_or_default();
            match run.ticks {
                1 => format!("The cron entry {entry} of {app} did not run at {at}{why}."),
                n => format!(
                    "The cron entry {entry} of {app} did not run {n} times, the last time at {at}{why}."
                ),
            }
        }
        Trouble::Test => format!("This is a test of the cron alerts of {app}. Nothing is wrong."),
    }
}

/// What an alert's command finds in its environment.
fn environment(m: &Message) -> BTreeMap<String, String> {
    let number = |n: Option<i32>| n.map(|n| n.to_string()).unwrap_or_default();
    let time = |t: &Option<String>| t.clone().unwrap_or_default();
    [
        ("CRON_ALERT_ID", m.id.clone()),
        ("CRON_EVENT", m.event.clone()),
        ("CRON_ENTRY", m.entry.clone()),
        ("CRON_RUN", m.run.to_string()),
        ("CRON_STATUS", m.status.clone()),
        ("CRON_TRIGGER", m.trigger.clone()),
        ("CRON_COMMAND", m.command.clone()),
        ("CRON_SCHEDULED_AT", time(&m.scheduled_at)),
        ("CRON_STARTED_AT", time(&m.started_at)),
        ("CRON_ENDED_AT", time(&m.ended_at)),
        ("CRON_EXIT_CODE", number(m.exit_code)),
        ("CRON_TEXT", m.text.clone()),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into()
}
