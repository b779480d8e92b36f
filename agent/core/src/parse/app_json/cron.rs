//! `cron` of `app.json`: Dokku's schema (its documentation, "Scheduled Cron Tasks": command, schedule,
//! `concurrency_policy`, `maintenance`) with optional keys of our own: name, timezone, overlap, missed, timeout, retries,
//! jitter.

use super::Reader;
use crate::cron::schedule::Schedule;
use hokku_model::{
    cron::{
        Entry, EntryName, LONGEST_COMMAND, MOST_ENTRIES, MOST_JITTER, MOST_RETRIES, MOST_TIMEOUT,
        Missed, Overlap,
    },
    health::AppJson,
};
use serde_json::{Map, Value};

const KEYS: [&str; 11] = [
    "command",
    "schedule",
    "name",
    "timezone",
    "overlap",
    "concurrency_policy",
    "maintenance",
    "missed",
    "timeout",
    "retries",
    "jitter",
];

impl Reader {
    pub(super) fn cron(&mut self, file: &Map<String, Value>, app: &mut AppJson) {
        let list = match file.get("cron") {
            None => return,
            Some(Value::Array(list)) => list,
            Some(other) => {
                self.wrong::<()>("cron", "a list of objects with command and schedule", other);
                return;
            }
        };
        if list.len() > MOST_ENTRIES {
            self.fault::<()>("cron", format!("has more than {MOST_ENTRIES} entries"));
            return;
        }
        let mut entries: Vec<(Entry, bool)> = vec![];
        for (i, v) in list.iter().enumerate() {
            let at = format!("cron[{i}]");
            let Some((entry, named)) = self.entry(&at, v) else {
                continue;
            };
            let same = |e: &&(Entry, bool)| named && e.1 && e.0.name == entry.name;
            if entries.iter().any(|e| same(&e)) {
                self.fault::<()>(
                    &format!("{at}.name"),
                    format!("is {:?}, as that of another entry", entry.name.as_str()),
                );
            }
            entries.push((entry, named));
        }
        name_apart(&mut entries);
        app.cron = entries.into_iter().map(|(e, _)| e).collect();
    }

    fn entry(&mut self, at: &str, v: &Value) -> Option<(Entry, bool)> {
        let o = self.object(at, v)?;
        let before = self.faults.len();
        for key in o.keys().filter(|k| !KEYS.contains(&k.as_str())) {
            self.warnings.push(format!(
                "{at}.{} is not known and left out.",
                super::shown(key)
            ));
        }
        let command = self.needed(o, at, "command");
        let schedule = self.needed(o, at, "schedule");
        if command.as_ref().is_some_and(|c| c.len() > LONGEST_COMMAND) {
            self.fault::<()>(
                &format!("{at}.command"),
                format!("is longer than {LONGEST_COMMAND} bytes"),
            );
        }
        let timezone = self.text(o, at, "timezone").unwrap_or("UTC".to_owned());
        if let Some(schedule) = &schedule
            && let Err(e) = Schedule::parse(schedule, &timezone)
        {
            self.fault::<()>(&format!("{at}.schedule"), format!("can't be used: {e}"));
        }
        let name = self.text(o, at, "name");
        let named = name.is_some();
        let name = match name.map(|n| n.parse::<EntryName>()) {
            None => Some(EntryName::of_command(command.as_deref().unwrap_or(""), 1)),
            Some(Ok(name)) => Some(name),
            Some(Err(e)) => self.fault(&format!("{at}.name"), format!("can't be used: {e}")),
        };
        let mut overlap = self.word(o, at, "overlap", &OVERLAPS);
        let policy = self.word(o, at, "concurrency_policy", &OVERLAPS);
        if o.contains_key("overlap") && o.contains_key("concurrency_policy") {
            self.fault::<()>(
                at,
                "has both overlap and concurrency_policy, which are the same: keep one",
            );
        }
        overlap = overlap.or(policy);
        let missed = self.word(o, at, "missed", &MISSED);
        let timeout = self.whole(o, at, "timeout", 1, MOST_TIMEOUT);
        let retries = self.whole(o, at, "retries", 0, u64::from(MOST_RETRIES));
        let jitter = self.whole(o, at, "jitter", 0, MOST_JITTER);
        let paused = self.flag(o, at, "maintenance").unwrap_or(false);
        if self.faults.len() > before {
            return None;
        }
        let mut entry = Entry::new(name?, schedule?.trim(), command?.trim());
        entry.timezone = timezone;
        entry.overlap = overlap.unwrap_or_default();
        entry.missed = missed.unwrap_or_default();
        entry.timeout = timeout.unwrap_or(entry.timeout);
        entry.retries = retries.unwrap_or(0) as u32;
        entry.jitter = jitter.unwrap_or(0);
        entry.paused = paused;
        Some((entry, named))
    }

    fn needed(&mut self, o: &Map<String, Value>, at: &str, key: &str) -> Option<String> {
        match self.text(o, at, key) {
            Some(s) if s.trim().is_empty() => self.fault(&format!("{at}.{key}"), "is empty"),
            Some(s) => Some(s),
            None if o.contains_key(key) => None,
            None => self.fault(&format!("{at}.{key}"), "is missing"),
        }
    }

    fn word<T: Copy>(
        &mut self,
        o: &Map<String, Value>,
        at: &str,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let said = self.text(o, at, key)?;
        let known = words.iter().find(|(w, _)| *w == said).map(|(_, v)| *v);
        known.or_else(|| {
            let all: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
            self.fault(
                &format!("{at}.{key}"),
                format!("has to be one of {}", all.join(", ")),
            )
        })
    }
}

const OVERLAPS: [(&str, Overlap); 3] = [
    ("allow", Overlap::Allow),
    ("forbid", Overlap::Forbid),
    ("replace", Overlap::Replace),
];

const MISSED: [(&str, Missed); 3] = [
    ("skip", Missed::Skip),
    ("once", Missed::Once),
    ("all", Missed::All),
];

/// Gives entries without a name of their own (false) one that no other has, in their order.
pub fn name_apart(entries: &mut [(Entry, bool)]) {
    let mut taken: std::collections::BTreeSet<EntryName> = entries
        .iter()
        .filter(|(_, named)| *named)
        .map(|(e, _)| e.name.clone())
        .collect();
    for (entry, _) in entries.iter_mut().filter(|(_, named)| !named) {
        let mut n = 1;
        while !taken.insert(entry.name.clone()) {
            n += 1;
            entry.name = EntryName::of_command(&entry.command, n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Vec<Entry> {
        parse(text.as_bytes()).unwrap().app.cron
    }

    fn faults(text: &str) -> Vec<String> {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn dokkus_entries_and_our_keys() {
        let all = read(
            r#"{"cron": [
                {"command": "python manage.py send", "schedule": "*/5 * * * *", "concurrency_policy": "allow"},
                {"command": "python manage.py send", "schedule": "@daily", "maintenance": true},
                {"name": "nightly", "command": "rake nightly", "schedule": "30 4 * * mon-fri", "timezone": "Europe/Berlin",
                 "overlap": "replace", "missed": "once", "timeout": 600, "retries": 2, "jitter": 30}
            ]}"#,
        );
        let names: Vec<&str> = all.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "python-manage-py-send",
                "python-manage-py-send-2",
                "nightly"
            ]
        );
        assert_eq!((all[0].overlap, all[1].paused), (Overlap::Allow, true));
        let e = &all[2];
        assert_eq!((e.overlap, e.missed), (Overlap::Replace, Missed::Once));
        assert_eq!((e.timeout, e.retries, e.jitter), (600, 2, 30));
        assert_eq!(e.timezone, "Europe/Berlin");
    }

    #[test]
    fn a_bad_entry_is_named() {
        let said = faults(
            r#"{"cron": [
                {"command": "a", "schedule": "every day"},
                {"command": "a"},
                {"command": "a", "schedule": "@daily", "timezone": "Mars/Olympus"},
                {"command": "a", "schedule": "@daily", "overlap": "maybe"},
                {"name": "A B", "command": "a", "schedule": "@daily", "retries": 99},
                "x"
            ]}"#,
        );
        let want = [
            "cron[0].schedule can't be used: \"every day\" is no cron schedule: it has 2 fields",
            "cron[1].schedule is missing",
            "cron[2].schedule can't be used: \"Mars/Olympus\" is no time zone",
            "cron[3].overlap has to be one of allow, forbid, replace",
            "cron[4].name can't be used: \"A B\"",
            "cron[4].retries has to be a whole number from 0 to 20",
            "cron[5] has to be an object",
        ];
        for (said, want) in said.iter().zip(want) {
            assert!(said.starts_with(want), "{said}");
        }
        assert_eq!(said.len(), want.len());
        let twice = r#"{"cron": [{"name": "a", "command": "x", "schedule": "@daily"}, {"name": "a", "command": "y", "schedule": "@daily"}]}"#;
        assert!(faults(twice)[0].starts_with("cron[1].name is \"a\""));
        assert!(faults(r#"{"cron": {}}"#)[0].starts_with("cron has to be a list"));
    }
}
