//! Facts about health checks: what each says now, and what follows for the dyno that it watches.

use super::note;
use crate::observed::{Cures, DynoState, Note, Observed, Standing};
use hokku_model::{DynoId, Micros, health::Purpose};

impl Observed {
    pub(super) fn checked(
        &mut self,
        id: DynoId,
        check: usize,
        outcome: &Result<(), String>,
        now: Micros,
    ) -> Vec<Note> {
        let Some(d) = self.dynos.get_mut(&id) else {
            return vec![];
        };
        let (Some(c), Some(standing)) =
            (d.record.care.checks.get(check), d.standings.get_mut(check))
        else {
            return vec![];
        };
        let was_bad = matches!(standing, Standing::Bad { .. });
        *standing = standing.next(c.attempts, outcome.as_ref().err(), now);
        let is_bad = matches!(standing, Standing::Bad { .. });
        let starting = matches!(d.state, DynoState::Starting { .. });
        let record = d.record.clone();
        let c = c.clone();
        let times = match c.attempts {
            1 => String::new(),
            n => format!(" {n} times in a row"),
        };
        let text = outcome.as_ref().err().map_or("", String::as_str);
        let failed = format!(
            "{} check {:?} failed{times}: {text}",
            title(c.purpose),
            c.name
        );
        let mut notes = vec![];
        if starting && is_bad && c.gates() {
            d.state = DynoState::Failed {
                since: now,
                killed: None,
            };
            let what = format!(
                "failed its {} check {:?}{times}: {text}",
                c.purpose.as_str(),
                c.name
            );
            self.crashed(&record, None, what, now);
            return vec![note(&record, failed)];
        }
        if starting && d.started() {
            d.state = DynoState::Up { since: now };
            notes.push(note(&record, "State changed from starting to up"));
        }
        let next = match c.purpose {
            _ if c.warn => "nothing is done about it, because it only warns",
            Purpose::Startup => return notes,
            Purpose::Readiness => "it gets no requests until it passes, while others can take them",
            Purpose::Liveness => "it gets no requests while others can take them, and is replaced",
        };
        if is_bad && !was_bad {
            notes.push(note(
                &record,
                format!("{} ({next})", failed.trim_end_matches('.')),
            ));
        } else if was_bad && !is_bad {
            let text = format!("{} check {:?} passes again", title(c.purpose), c.name);
            notes.push(note(&record, text));
        }
        notes
    }

    pub(super) fn replace_ordered(&mut self, id: DynoId, now: Micros) -> Vec<Note> {
        let Some(d) = self.dynos.get_mut(&id).filter(|d| d.replaced.is_none()) else {
            return vec![];
        };
        d.replaced = Some(now);
        let record = d.record.clone();
        self.cures.entry(record.app).or_default().count(now);
        let notes = vec![note(
            &record,
            "Replacing the process, because its liveness check fails",
        )];
        self.cures.retain(|_, c| !c.forgotten(now));
        notes
    }
}

impl Standing {
    /// After one more try: `failure` says what was wrong.
    fn next(&self, attempts: u32, failure: Option<&String>, now: Micros) -> Standing {
        let Some(text) = failure else {
            return match self {
                Standing::Good { since } => Standing::Good { since: *since },
                _ => Standing::Good { since: now },
            };
        };
        let text = text.clone();
        let (times, passed) = match self {
            Standing::Unknown => (1, false),
            Standing::Good { .. } => (1, true),
            Standing::Doubtful { times, passed, .. } => (times.saturating_add(1), *passed),
            Standing::Bad { since, .. } => {
                let since = *since;
                return Standing::Bad { since, text };
            }
        };
        if times >= attempts {
            Standing::Bad { since: now, text }
        } else {
            Standing::Doubtful {
                times,
                passed,
                text,
            }
        }
    }
}

impl Cures {
    fn count(&mut self, now: Micros) {
        if self.forgotten(now) {
            self.recent.clear();
        }
        if self.recent.len() >= Cures::REMEMBERED {
            self.recent.remove(0);
        }
        self.recent.push(now);
    }
}

fn title(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Startup => "Startup",
        Purpose::Readiness => "Readiness",
        Purpose::Liveness => "Liveness",
    }
}
