//! One-off dynos: `app run`.

use super::{Command, Control, OneoffOrder, launch::Launch};
use hokku_core::event::Event;
use hokku_model::{
    DynoId, DynoName, Micros,
    dyno::{DynoRecord, Purpose},
    shim::Output,
};
use tokio::sync::oneshot;

/// One-off dynos of one app at the same time.
const MOST_ONEOFFS: usize = 50;

impl Control {
    /// Starts a one-off of the current release; the asker is answered once its process runs.
    pub(super) fn oneoff(
        &mut self,
        order: OneoffOrder,
        answer: oneshot::Sender<Result<DynoRecord, String>>,
    ) {
        let refuse = |answer: oneshot::Sender<_>, why: String| drop(answer.send(Err(why)));
        let Some(wish) = self.desired.apps.get(&order.app) else {
            return refuse(answer, "the app is gone".into());
        };
        let Some(release) = wish.current.as_ref().filter(|r| r.slug.is_some()) else {
            let why = format!(
                "{} has no code yet, so there is nothing to run in: push it first.",
                wish.name
            );
            return refuse(answer, why);
        };
        // runs of cron entries have a bound of their own
        let cron = |p: &Purpose| matches!(p, Purpose::Cron { .. });
        let mine = |d: &&hokku_core::observed::Dyno| {
            d.record.app == order.app && d.record.oneoff && !cron(&d.record.purpose)
        };
        if self.observed.dynos.values().filter(mine).count() >= MOST_ONEOFFS {
            let why = format!(
                "{} already has {MOST_ONEOFFS} one-off dynos: stop some with `app ps:stop`.",
                wish.name
            );
            return refuse(answer, why);
        }
        let command = resolve(order.command, |word| {
            release
                .process_types
                .iter()
                .find(|(t, _)| t.as_str() == word)
                .map(|(_, c)| c.clone())
        });
        let taken = |index| {
            self.observed
                .dynos
                .values()
                .any(|d| d.record.app == order.app && d.record.name.index == index)
        };
        let Some(index) = (0..100)
            .map(|_| 1000 + random() % 9000)
            .find(|i| !taken(*i))
        else {
            return refuse(
                answer,
                "no free number was found for the dyno; try again".into(),
            );
        };
        let quota = wish.quotas.get(&order.kind).cloned().unwrap_or_default();
        let record = DynoRecord {
            id: DynoId(uuid::Uuid::now_v7().as_u128()),
            name: DynoName::new(order.kind, index),
            app: order.app,
            app_name: wish.name.clone(),
            version: release.version,
            slug: release.slug.clone(),
            port: None,
            command: match &command {
                Command::Line(line) => line.clone(),
                Command::Argv(words) => shell_words::join(words),
            },
            started_at: Micros::now(),
            oneoff: true,
            purpose: order.purpose,
            quota,
            care: Default::default(),
        };
        let output = order.attach.then_some(Output::Attached { pty: order.pty });
        self.apply(&Event::Ordered {
            record: record.clone(),
        });
        self.asked.insert(record.id, answer);
        self.launch(Launch::oneoff(
            record,
            command,
            order.env,
            output,
            order.time_to_live,
        ));
    }
}

/// A first word that is a process type stands for its command; the rest is appended (Dev Center "One-Off Dynos").
pub(super) fn resolve(command: Command, of_type: impl Fn(&str) -> Option<String>) -> Command {
    match command {
        Command::Argv(words) => match words
            .split_first()
            .and_then(|(first, rest)| Some((of_type(first)?, rest)))
        {
            Some((line, [])) => Command::Line(line),
            Some((line, rest)) => Command::Line(format!("{line} {}", shell_words::join(rest))),
            None => Command::Argv(words),
        },
        Command::Line(line) => {
            let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match of_type(first) {
                Some(known) if rest.is_empty() => Command::Line(known),
                Some(known) => Command::Line(format!("{known} {rest}")),
                None => Command::Line(line),
            }
        }
    }
}

fn random() -> u32 {
    (uuid::Uuid::new_v4().as_u128() >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_type_stands_for_its_command() {
        let of = |w: &str| (w == "worker").then(|| "rake jobs".to_owned());
        let show = |c| match resolve(c, of) {
            Command::Line(l) => format!("line {l}"),
            Command::Argv(a) => format!("argv {a:?}"),
        };
        assert_eq!(show(Command::Line("worker".into())), "line rake jobs");
        assert_eq!(show(Command::Line("worker -v".into())), "line rake jobs -v");
        assert_eq!(show(Command::Line("ls; worker".into())), "line ls; worker");
        assert_eq!(
            show(Command::Argv(vec!["worker".into(), "a b".into()])),
            "line rake jobs 'a b'"
        );
        assert_eq!(
            show(Command::Argv(vec!["echo".into(), "$X".into()])),
            r#"argv ["echo", "$X"]"#
        );
    }
}
