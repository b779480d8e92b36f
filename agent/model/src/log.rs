//! Log lines, in Heroku's format on disk as on the screen:
//! `2026-11-21T12:00:00.000000+00:00 app[web.1]: text` (Dev Center "Logging", "Log format").

use serde::{Deserialize, Serialize};

/// One line. Ordering of lines is by `time`, which sorts as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// RFC 3339 with six digits of fraction and `+00:00`: always 32 characters.
    pub time: String,
    /// `app` (the program, or users' actions) or `heroku` (the platform: states, router).
    pub source: String,
    /// `web.1`, `router`, `api`.
    pub dyno: String,
    /// Without the line end.
    pub text: String,
}

impl std::fmt::Display for LogLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}[{}]: {}",
            self.time, self.source, self.dyno, self.text
        )
    }
}

/// Characters of the time at the head of each line.
pub const TIME_LEN: usize = 32;

impl LogLine {
    /// Reads one stored line; `None` when it is not one (a torn write at a power cut).
    pub fn parse(line: &str) -> Option<LogLine> {
        let time = line.get(..TIME_LEN)?;
        let (source, rest) = line.get(TIME_LEN..)?.strip_prefix(' ')?.split_once('[')?;
        let (dyno, text) = rest.split_once("]:")?;
        if source.contains(' ') || dyno.contains(' ') {
            return None;
        }
        Some(LogLine {
            time: time.into(),
            source: source.into(),
            dyno: dyno.into(),
            text: text.strip_prefix(' ').unwrap_or(text).into(),
        })
    }
}

/// Which lines somebody wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogFilter {
    /// Only this dyno (`web.1`) or process type (`web`, all its dynos; `cron`, the runs of all cron entries).
    pub dyno: Option<String>,
    /// Only `app` or `heroku`.
    pub source: Option<String>,
}

impl LogFilter {
    /// Does the line pass?
    pub fn passes(&self, l: &LogLine) -> bool {
        self.source.as_ref().is_none_or(|s| *s == l.source)
            && self.dyno.as_ref().is_none_or(|d| {
                *d == l.dyno
                    || l.dyno.strip_prefix(d.as_str()).is_some_and(|rest| {
                        rest.strip_prefix('.').is_some_and(|n| {
                            !n.is_empty()
                                && (d == crate::cron::KIND || n.bytes().all(|b| b.is_ascii_digit()))
                        })
                    })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_and_parsed_is_the_same() {
        let l = LogLine {
            time: "2026-11-21T12:00:00.000000+00:00".into(),
            source: "app".into(),
            dyno: "web.1".into(),
            text: "a [b]: c".into(),
        };
        assert_eq!(l.time.len(), TIME_LEN);
        assert_eq!(LogLine::parse(&l.to_string()), Some(l.clone()));
        assert_eq!(LogLine::parse("torn"), None);
        let f = |d: &str| {
            LogFilter {
                dyno: Some(d.into()),
                source: None,
            }
            .passes(&l)
        };
        let run = LogLine {
            dyno: "cron.nightly".into(),
            ..l.clone()
        };
        let of = |d: &str| LogFilter {
            dyno: Some(d.into()),
            source: None,
        };
        assert!(
            of("cron").passes(&run) && of("cron.nightly").passes(&run) && !of("cro").passes(&run)
        );
        assert!(f("web") && f("web.1") && !f("we") && !f("web.") && !f("web.11") && !f("worker"));
    }
}
