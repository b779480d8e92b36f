//! One-off dynos: `app run`.

use super::{Command, Control, OneoffOrder, launch::Launch};
use hokku_core::{event::Event, observed::Dyno};
use hokku_model::{
    DynoId, DynoName, Micros,
    dyno::{DynoRecord, Purpose},
    run::Run,
    shim::Output,
};
use tokio::sync::oneshot;

/// One-off dynos that people may run of one app at the same time, when nothing was said.
const MOST_RUNS: usize = 50;

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
        let types;
        let (version, slug, types) = match (&order.release, &wish.current) {
            (Some(r), _) => {
                types = r.slug.as_ref().map(|s| &s.process_types);
                (r.version, r.slug.as_ref().map(|s| s.digest.clone()), types)
            }
            (None, Some(r)) => (r.version, r.slug.clone(), Some(&r.process_types)),
            (None, None) => (0, None, None),
        };
        let (Some(slug), Some(types)) = (slug, types) else {
            let why = format!(
                "{} has no code yet, so there is nothing to run in: push it first.",
                wish.name
            );
            return refuse(answer, why);
        };
        let most = wish.most_runs.map_or(MOST_RUNS, |n| n as usize);
        let mine = |d: &&Dyno| {
            d.record.app == order.app && d.record.purpose == Purpose::Run && d.record.oneoff
        };
        let running = self.observed.dynos.values().filter(mine).count();
        if order.purpose == Purpose::Run && running >= most {
            let why = format!(
                "{} already runs {running} one-off dynos, and {most} may run at once. \
                 See them with `app run:list`, stop some with `app run:stop`, or allow more with `app limits:set run --concurrency {}`.",
                wish.name,
                running + 1
            );
            return refuse(answer, why);
        }
        let command = resolve(order.command, |word| {
            types
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
        let quota = order.quota.or_else(|| {
            let run = wish.quotas.iter().find(|(k, _)| k.as_str() == "run");
            let own = wish.quotas.get(&order.kind);
            own.or(run.map(|(_, q)| q)).cloned()
        });
        let record = DynoRecord {
            id: DynoId(uuid::Uuid::now_v7().as_u128()),
            name: DynoName::new(order.kind, index),
            app: order.app,
            app_name: wish.name.clone(),
            version,
            slug: Some(slug),
            port: None,
            command: match &command {
                Command::Line(line) => line.clone(),
                Command::Argv(words) => shell_words::join(words),
            },
            started_at: Micros::now(),
            oneoff: true,
            purpose: order.purpose,
            quota: quota.unwrap_or_default(),
            care: Default::default(),
        };
        let output = order.attach.then_some(Output::Attached { pty: order.pty });
        self.apply(&Event::Ordered {
            record: record.clone(),
        });
        self.asked.insert(record.id, answer);
        let run = (record.purpose == Purpose::Run).then(|| Run {
            dyno: record.id,
            name: record.name.clone(),
            command: record.command.clone(),
            user: order.user,
            version,
            attached: order.attach,
            terminal: order.pty.is_some(),
            at: record.started_at,
            ended: None,
        });
        let mut launch = Launch::oneoff(record, command, order.env, output, order.time_to_live);
        launch.run = run;
        self.launch(launch);
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
