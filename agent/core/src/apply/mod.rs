//! How facts change what is known.
//!
//! What it does: [`Observed::apply`], with the lines for the app's log that follow; facts about the router are in
//! `router.rs`. Facts about dynos that are not known are old news and change nothing.
//! What it never does: decide. What follows from a state is the plan's.
//! Who calls it: the agent's one loop, for each event.
//! Where its tests are: `tests/steps.rs`, `tests/properties.rs`, `tests/simulation/`.

mod health;
mod phase;
mod router;

use crate::{
    event::Event,
    limits, memory,
    observed::{Dyno, DynoState, Ending, Note, Observed, Slot, Standing},
    words::{listens_instead, spell},
};
use hokku_model::{
    DynoId, Micros,
    code::{R10, R12},
    dyno::{DynoRecord, Exit},
};

impl Observed {
    /// Takes a fact into account. `now` is when it was learnt. Returns what the app's log has to say about it.
    pub fn apply(&mut self, event: &Event, now: Micros) -> Vec<Note> {
        match event {
            Event::Ordered { record } => self.ordered(record, now),
            Event::Adopted {
                record,
                routed,
                pid,
            } => self.adopted(record, *routed, *pid, now),
            Event::Running { dyno, pid } => self.running(*dyno, *pid, now),
            Event::StartFailed { dyno, error } => self.start_failed(*dyno, error, now),
            Event::Answering { dyno } => self.answering(*dyno, now),
            Event::Checked {
                dyno,
                check,
                outcome,
            } => self.checked(*dyno, *check, outcome, now),
            Event::ReplaceOrdered { dyno } => self.replace_ordered(*dyno, now),
            Event::BootTimedOut { dyno, listening } => self.boot_timed_out(*dyno, listening, now),
            Event::Exited { dyno, exit } => self.exited(*dyno, *exit, now),
            Event::StopOrdered { dyno } => self.stop_ordered(*dyno, now),
            Event::KillOrdered { dyno } => self.kill_ordered(*dyno, now),
            Event::StopAsked { dyno } => {
                if let Some(d) = self.dynos.get_mut(dyno) {
                    d.stop_asked = true;
                }
                vec![]
            }
            Event::DrainOrdered { dyno, deadline } => {
                self.drain_ordered(*dyno, *deadline, now);
                vec![]
            }
            Event::Drained { dyno } => {
                self.drained(*dyno, now);
                vec![]
            }
            Event::TableSent { table } => {
                self.table_sent(table, now);
                vec![]
            }
            Event::Routed { version } => {
                self.routed(*version);
                vec![]
            }
            Event::CertsSent { certs, version } => {
                self.certs_sent(*certs, *version, now);
                vec![]
            }
            Event::Certified { version } => {
                self.certified(*version);
                vec![]
            }
            Event::RouterCame { version } => {
                self.router_came(*version, now);
                vec![]
            }
            Event::RouterWent => {
                self.router_went(now);
                vec![]
            }
            Event::PromoteOrdered { app, version } | Event::AbandonOrdered { app, version } => {
                let again = now.plus(limits::END_AGAIN);
                let version = *version;
                self.ending.insert(*app, Ending { version, again });
                vec![]
            }
            Event::ClaimOrdered { app, version, step } => {
                self.claim_ordered(*app, *version, *step, now);
                vec![]
            }
            Event::ConcludeOrdered { app, dyno, outcome } => {
                self.conclude_ordered(*app, *dyno, outcome, now);
                vec![]
            }
            Event::Forgotten { dyno } => {
                self.ended.remove(dyno);
                vec![]
            }
            Event::EndFailed { app, version } => {
                // Not removed: a store that is away would be asked again and again without a pause.
                if let Some(e) = self.ending.get_mut(app)
                    && e.version == *version
                {
                    e.again = now.plus(limits::END_RETRY);
                }
                vec![]
            }
        }
    }

    fn ordered(&mut self, record: &DynoRecord, now: Micros) -> Vec<Note> {
        if self.dynos.contains_key(&record.id) {
            return vec![];
        }
        let note = note(
            record,
            format!("Starting process with command `{}`", record.command),
        );
        self.dynos.insert(
            record.id,
            Dyno::new(record.clone(), DynoState::Starting { since: now }, 0),
        );
        vec![note]
    }

    fn adopted(&mut self, record: &DynoRecord, routed: bool, pid: i32, now: Micros) -> Vec<Note> {
        if self.dynos.contains_key(&record.id) {
            return vec![];
        }
        let mut dyno = Dyno::new(record.clone(), DynoState::Up { since: now }, pid);
        // Not since the order to start: how long after it the process began, nobody knows any more.
        if dyno.takes_requests() && routed {
            self.router.known.insert(record.id);
        } else if dyno.takes_requests() {
            dyno.state = DynoState::Starting { since: now };
        }
        if let DynoState::Up { .. } = dyno.state {
            // It was taken for good by the last agent; what has changed since is seen by the next tries.
            dyno.standings.fill(Standing::Good { since: now });
        }
        self.dynos.insert(record.id, dyno);
        vec![]
    }

    fn running(&mut self, id: DynoId, pid: i32, now: Micros) -> Vec<Note> {
        let Some(d) = self.dynos.get_mut(&id) else {
            return vec![];
        };
        let launched = d.pid == 0;
        d.pid = pid;
        if !launched || !matches!(d.state, DynoState::Starting { .. }) {
            return vec![];
        }
        if d.takes_requests() || d.record.care.gated() {
            d.state = DynoState::Starting { since: now };
            return vec![];
        }
        d.state = DynoState::Up { since: now };
        vec![note(&d.record, "State changed from starting to up")]
    }

    fn answering(&mut self, id: DynoId, now: Micros) -> Vec<Note> {
        match self.dynos.get_mut(&id) {
            Some(d) if matches!(d.state, DynoState::Starting { .. }) && d.started() => {
                d.state = DynoState::Up { since: now };
                vec![note(&d.record, "State changed from starting to up")]
            }
            _ => vec![],
        }
    }

    fn boot_timed_out(&mut self, id: DynoId, listening: &[u16], now: Micros) -> Vec<Note> {
        let Some(d) = self.dynos.get_mut(&id) else {
            return vec![];
        };
        let DynoState::Starting { since } = d.state else {
            // A dyno that was adopted while it had traffic keeps it: a probe that fails right after the agent's
            // restart is a weak reason to take the whole app out of the routes.
            return vec![];
        };
        d.state = DynoState::Failed {
            since: now,
            killed: None,
        };
        let record = d.record.clone();
        // The prober may have been given another limit than ours; below a second it is a test's.
        let seconds = now.since(since).as_secs().max(1);
        let instead = listens_instead(&record, listening);
        let text =
            format!("did not answer on its port within {seconds} seconds of launch. {instead}");
        self.crashed(&record, None, text, now);
        vec![note(
            &record,
            format!(
                "Error {} ({}) -> Web process failed to bind to $PORT within {seconds} seconds of launch. {instead}",
                R10.code, R10.desc
            ),
        )]
    }

    fn start_failed(&mut self, id: DynoId, error: &str, now: Micros) -> Vec<Note> {
        let Some(d) = self.forget(id) else {
            return vec![];
        };
        let mut notes = vec![note(
            &d.record,
            format!("Error R99 (Platform error) -> The dyno could not be started: {error}"),
        )];
        self.release_ended(&d, Err(format!("could not be started: {error}")));
        if d.stays() && !d.record.oneoff {
            self.crashed(
                &d.record,
                None,
                format!("could not be started: {error}"),
                now,
            );
            notes.push(note(&d.record, "State changed from starting to crashed"));
        }
        notes
    }

    fn exited(&mut self, id: DynoId, exit: Exit, now: Micros) -> Vec<Note> {
        let Some(d) = self.forget(id) else {
            return vec![];
        };
        self.release_ended(&d, phase::outcome(&d, exit, self.waits.release, now));
        let mut notes = vec![];
        match exit {
            Exit::Memory(_) => notes.push(note(&d.record, memory::r15())),
            Exit::Disk(_) => notes.push(note(
                &d.record,
                format!("Scratch disk quota exceeded: {exit}"),
            )),
            _ => {}
        }
        notes.push(note(
            &d.record,
            match exit {
                Exit::Lost => "Process is gone, with no exit status left behind".to_owned(),
                Exit::Memory(_) => format!("Process exited with status {}: {exit}", exit.status()),
                e => format!("Process exited with status {}", e.status()),
            },
        ));
        let from = match d.state {
            DynoState::Starting { .. } => "starting",
            _ => "up",
        };
        if d.record.oneoff {
            notes.push(note(
                &d.record,
                format!("State changed from {from} to complete"),
            ));
        } else if let DynoState::Failed { .. } = d.state {
            // Its crash was counted when it was given up.
            notes.push(note(&d.record, "State changed from starting to crashed"));
        } else if d.stays() {
            let (up, text) = match d.state {
                DynoState::Up { since } => (
                    Some(since),
                    format!("ended ({exit}) after {}", spell(now.since(since))),
                ),
                DynoState::Starting { since } if d.takes_requests() => (
                    None,
                    format!(
                        "ended ({exit}) {} after its start, before it answered on its port",
                        spell(now.since(since))
                    ),
                ),
                _ => (None, format!("ended ({exit}) right after its start")),
            };
            self.crashed(&d.record, up, text, now);
            notes.push(note(
                &d.record,
                format!("State changed from {from} to crashed"),
            ));
        }
        notes
    }

    fn stop_ordered(&mut self, id: DynoId, now: Micros) -> Vec<Note> {
        let replaced = self.dynos.get(&id).is_some_and(|d| {
            self.dynos.values().any(|o| {
                o.record.id != id
                    && o.record.app == d.record.app
                    && o.record.name == d.record.name
                    && o.stays()
            })
        });
        let Some(d) = self.dynos.get_mut(&id) else {
            return vec![];
        };
        let from = match d.state {
            DynoState::Stopping { .. } | DynoState::Failed { .. } => return vec![],
            DynoState::Starting { .. } => "starting",
            _ => "up",
        };
        d.state = DynoState::Stopping {
            since: now,
            killed: None,
        };
        let mut notes = vec![];
        if !replaced && !d.record.oneoff {
            notes.push(note(
                &d.record,
                format!("State changed from {from} to down"),
            ));
        }
        let signal = d.record.care.signal_name();
        let text = format!("Stopping all processes with {signal}");
        notes.push(note(&d.record, text));
        notes
    }

    fn kill_ordered(&mut self, id: DynoId, now: Micros) -> Vec<Note> {
        let usual = self.waits.grace;
        let Some(d) = self.dynos.get_mut(&id) else {
            return vec![];
        };
        let grace = d.record.care.grace(usual);
        let record = d.record.clone();
        let (state, why, crash) = match d.state {
            DynoState::Stopping { since, killed } => (
                DynoState::Stopping {
                    since,
                    killed: Some(now),
                },
                match killed {
                    Some(_) => None,
                    None if now.since(since) >= grace => Some(format!(
                        "Error {} ({}) -> Process failed to exit within {} of {}",
                        R12.code,
                        R12.desc,
                        seconds(grace),
                        record.care.signal_name()
                    )),
                    None => Some(String::new()),
                },
                false,
            ),
            DynoState::Failed { since, killed } => (
                DynoState::Failed {
                    since,
                    killed: Some(now),
                },
                killed.is_none().then(String::new),
                false,
            ),
            DynoState::Starting { since } if !record.oneoff && !d.stop_asked => (
                DynoState::Failed {
                    since: now,
                    killed: Some(now),
                },
                Some(format!(
                    "Error R99 (Platform error) -> The dyno did not come up within {}",
                    spell(now.since(since))
                )),
                true,
            ),
            _ => (
                DynoState::Stopping {
                    since: now,
                    killed: Some(now),
                },
                Some(String::new()),
                false,
            ),
        };
        d.state = state;
        if crash {
            self.crashed(&record, None, "did not come up".into(), now);
        }
        let Some(why) = why else {
            return vec![];
        };
        let mut notes = vec![];
        if !why.is_empty() {
            notes.push(note(&record, why));
        }
        notes.push(note(&record, "Stopping process with SIGKILL"));
        notes
    }

    fn forget(&mut self, id: DynoId) -> Option<Dyno> {
        self.router.known.remove(&id);
        self.router.draining.remove(&id);
        self.dynos.remove(&id)
    }

    /// Counts a crash. `up` is since when the dyno had been at work.
    fn crashed(&mut self, record: &DynoRecord, up: Option<Micros>, text: String, now: Micros) {
        self.slots
            .retain(|_, s| now.since(s.last()) < limits::SLOT_MEMORY);
        let key = (record.app, record.version, record.name.clone());
        let slot = self.slots.entry(key).or_insert_with(|| Slot {
            recent: vec![],
            text: String::new(),
        });
        if up.is_some_and(|since| now.since(since) >= limits::HEALTHY) {
            slot.recent.clear();
        }
        if slot.recent.len() >= Slot::REMEMBERED {
            slot.recent.remove(0);
        }
        slot.recent.push(now);
        slot.text = text;
    }
}

/// As Heroku spells it: "30 seconds".
fn seconds(d: std::time::Duration) -> String {
    match d.as_secs() {
        0 => format!("{} milliseconds", d.as_millis()),
        1 => "1 second".into(),
        n => format!("{n} seconds"),
    }
}

fn note(record: &DynoRecord, text: impl Into<String>) -> Note {
    Note {
        app: record.app,
        dyno: record.label(),
        text: text.into(),
    }
}
