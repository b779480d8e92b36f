//! When an entry's ticks are.
//!
//! The rules are those of Vixie's cron as Debian ships it (cron(8), "Daylight Saving Time and other time changes"), by the
//! library `croner`: a job with a fixed hour and minute whose local time is skipped runs once, right after the gap; one
//! whose local time comes twice runs at the first. A job whose minute or hour begins with `*` goes by the clock: it has no
//! tick in the gap, and ticks in both of the doubled hours. The tests below are the definition.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use hokku_model::{
    AppId, Micros,
    cron::{Entry, EntryName},
};
use jiff::{Timestamp, tz::TimeZone};

/// Bytes of a schedule.
const LONGEST: usize = 256;

/// The ticks of one entry.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    /// How much later, in microseconds.
    later: i64,
}

impl Schedule {
    /// Reads a schedule: five fields, six with seconds in front, or `@yearly`, `@annually`, `@monthly`, `@weekly`,
    /// `@daily`, `@midnight`, `@hourly`.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that began with its place.
    pub fn parse(text: &str, timezone: &str) -> Result<Schedule, String> {
        let bad = |why: String| {
            let shown: String = text.chars().take(80).collect();
            Err(format!("{shown:?} is no cron schedule: {why}"))
        };
        if text.len() > LONGEST {
            return bad(format!("it is longer than {LONGEST} bytes"));
        }
        let text = match text.trim() {
            "@midnight" => "@daily",
            "@reboot" => {
                return bad("there is no boot here; use `worker`, or a release phase".into());
            }
            other => other,
        };
        let fields = text.split_ascii_whitespace().count();
        if !text.starts_with('@') && fields != 5 && fields != 6 {
            let hint = "expected minute, hour, day of the month, month, day of the week, such as \"30 4 * * *\"";
            return bad(format!("it has {fields} fields; {hint}"));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = match parser.parse(text) {
            Ok(cron) => cron,
            Err(e) => return bad(e.to_string().trim_end_matches('.').to_owned()),
        };
        let zone = TimeZone::get(timezone).map_err(|_| {
            let shown: String = timezone.chars().take(60).collect();
            format!("{shown:?} is no time zone that is known here; expected a name such as Europe/London")
        })?;
        let schedule = Schedule {
            cron,
            zone,
            later: 0,
        };
        // a leap year, so that 29 February is found in it
        match schedule.next(Micros(1_704_067_200_000_000)) {
            Some(_) => Ok(schedule),
            None => bad("no day ever fits it".into()),
        }
    }

    /// The schedule of an entry, with its jitter.
    ///
    /// # Errors
    /// As [`Schedule::parse`].
    pub fn of(entry: &Entry, app: AppId) -> Result<Schedule, String> {
        let mut schedule = Schedule::parse(&entry.schedule, &entry.timezone)?;
        schedule.later = jitter(entry.jitter, app, &entry.name);
        Ok(schedule)
    }

    /// The first tick after a time; `None`: there is none.
    pub fn next(&self, after: Micros) -> Option<Micros> {
        let after = after.0.checked_sub(self.later)?;
        let from = Timestamp::from_microsecond(after).ok()?;
        let from = from.to_zoned(self.zone.clone());
        let tick = self.cron.find_next_occurrence(&from, false).ok()?;
        let tick = tick.timestamp().as_microsecond();
        (tick > after).then_some(Micros(tick.checked_add(self.later)?))
    }

    /// In English: "At 04:30".
    pub fn describe(&self) -> String {
        self.cron.describe().trim_end_matches('.').to_owned()
    }
}

/// Up to so many seconds, as microseconds in steps of a millisecond; the same for an entry for ever, and spread evenly
/// over entries.
fn jitter(seconds: u64, app: AppId, name: &EntryName) -> i64 {
    // FNV-1a, then a mix of the upper bits: a hash that is the same in every version of this program
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in app.0.to_be_bytes().into_iter().chain(name.as_str().bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let steps = seconds.saturating_mul(1000);
    match steps {
        0 => 0,
        n => (hash % n) as i64 * 1000,
    }
}

/// What an entry's mark was made with; another text begins anew, so that no tick of before counts as missed.
pub fn print(entry: &Entry, paused: bool) -> String {
    match paused {
        true => "paused".into(),
        false => format!("{} {} {}", entry.schedule, entry.timezone, entry.jitter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Micros {
        Micros(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    fn show(t: Micros) -> String {
        Timestamp::from_microsecond(t.0).unwrap().to_string()
    }

    /// The first ticks after a time, in UTC, without what they share.
    fn ticks(schedule: &str, zone: &str, from: &str, n: usize) -> Vec<String> {
        let schedule = Schedule::parse(schedule, zone).unwrap();
        let mut t = at(from);
        (0..n)
            .map(|_| {
                t = schedule.next(t).unwrap();
                show(t)
            })
            .collect()
    }

    #[test]
    fn what_crontab_can_say() {
        for (schedule, want) in [
            ("30 4 * * *", "2026-03-02T04:30:00Z"),
            ("*/15 * * * *", "2026-03-01T12:15:00Z"),
            ("0 9-17/4 * * mon-fri", "2026-03-02T09:00:00Z"),
            ("0 0 1 jan *", "2027-01-01T00:00:00Z"),
            ("@daily", "2026-03-02T00:00:00Z"),
            ("@midnight", "2026-03-02T00:00:00Z"),
            ("@hourly", "2026-03-01T13:00:00Z"),
            ("0 0 L * *", "2026-03-31T00:00:00Z"),
            ("0 0 15W * *", "2026-03-16T00:00:00Z"),
            ("0 0 * * 5#2", "2026-03-13T00:00:00Z"),
            ("0 0 * * 5#L", "2026-03-27T00:00:00Z"),
            ("0 0 * * 7", "2026-03-08T00:00:00Z"),
            // either of the two fits, as in crontab(5)
            ("0 0 13 * fri", "2026-03-06T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("*/10 * * * * *", "2026-03-01T12:00:10Z"),
        ] {
            assert_eq!(
                ticks(schedule, "UTC", "2026-03-01T12:00:00Z", 1),
                [want],
                "{schedule}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let no = |text: &str, zone: &str| Schedule::parse(text, zone).unwrap_err();
        for (text, word) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("0 0 * * * * 2027", "7 fields"),
            ("60 * * * *", "60 * * * *"),
            ("0 0 30 2 *", "no day ever"),
            ("@reboot", "no boot"),
            ("@often", "@often"),
            ("nonsense 1 2 3 4", "nonsense"),
        ] {
            let said = no(text, "UTC");
            assert!(
                said.contains(word) && !said.contains('\n'),
                "{text}: {said}"
            );
        }
        assert!(no("@daily", "Europe/Atlantis").contains("Atlantis"));
        assert!(no(&"1,".repeat(200), "UTC").contains("longer"));
    }

    /// London, 29 March 2026: 01:00 GMT is 02:00 BST.
    #[test]
    fn a_local_time_that_is_skipped_runs_once_right_after_the_gap() {
        let from = "2026-03-28T12:00:00Z";
        assert_eq!(
            ticks("30 1 * * *", "Europe/London", from, 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        // just before and just after the gap nothing is doubled
        assert_eq!(
            ticks("59 0 * * *", "Europe/London", from, 2),
            ["2026-03-29T00:59:00Z", "2026-03-29T23:59:00Z"]
        );
        assert_eq!(
            ticks("0 2 * * *", "Europe/London", from, 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]
        );
    }

    /// London, 25 October 2026: 02:00 BST is 01:00 GMT again.
    #[test]
    fn a_local_time_that_comes_twice_runs_at_the_first() {
        let from = "2026-10-24T12:00:00Z";
        assert_eq!(
            ticks("30 1 * * *", "Europe/London", from, 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn jobs_at_intervals_go_by_the_clock() {
        assert_eq!(
            ticks("*/30 * * * *", "Europe/London", "2026-03-29T00:15:00Z", 3),
            [
                "2026-03-29T00:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:30:00Z"
            ]
        );
        let minutes = ticks("*/30 * * * *", "Europe/London", "2026-10-24T23:45:00Z", 6);
        let want = [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z",
            "2026-10-25T02:30:00Z",
        ];
        assert_eq!(minutes, want);
        // hours by a star, too: 01:00 comes twice
        assert_eq!(
            ticks("0 * * * *", "Europe/London", "2026-10-24T23:30:00Z", 3),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T02:00:00Z"
            ]
        );
    }

    #[test]
    fn half_an_hour_of_daylight_saving_and_midnight_gaps_too() {
        // Lord Howe: 02:00 to 02:30 is skipped on 4 October 2026
        assert_eq!(
            ticks(
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-03T12:00:00Z",
                1
            ),
            ["2026-10-03T15:30:00Z"]
        );
        // Cairo: midnight itself is skipped on 24 April 2026
        assert_eq!(
            ticks("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2),
            ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"]
        );
    }

    #[test]
    fn jitter_is_the_same_for_ever_and_spread() {
        let name = |n: u32| EntryName::of_command(&format!("job {n}"), 1);
        assert_eq!(
            jitter(600, AppId(7), &name(1)),
            jitter(600, AppId(7), &name(1))
        );
        assert_eq!(jitter(0, AppId(7), &name(1)), 0);
        let all: Vec<i64> = (0..1000).map(|n| jitter(60, AppId(7), &name(n))).collect();
        assert!(all.iter().all(|j| (0..60_000_000).contains(j)));
        for tenth in 0..10 {
            let of = |j: &&i64| **j / 6_000_000 == tenth;
            assert!(
                (60..=140).contains(&all.iter().filter(of).count()),
                "{tenth}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_text_is_read_or_refused(text in "[-0-9*,/@a-zLW# ]{0,20}") {
            let _ = Schedule::parse(&text, "UTC");
        }

        /// No tick lies at or before the time asked for, and none is jumped over: asked from anywhere in between, the
        /// same tick comes.
        #[test]
        fn the_next_tick_is_the_first_after(
            minute in 0u32..60, every in 1u32..30, fixed: bool, hour in 0u32..24,
            zone in prop::sample::select(vec!["UTC", "Europe/London", "America/St_Johns", "Australia/Lord_Howe"]),
            from in 1_767_225_600_000_000_i64..1_798_761_600_000_000, part in 0.0f64..1.0, jitter in 0u64..600,
        ) {
            let text = match fixed {
                true => format!("{minute} {hour} * * *"),
                false => format!("*/{every} * * * *"),
            };
            let mut entry = Entry::new(EntryName::of_command("x", 1), &text, "x");
            (entry.timezone, entry.jitter) = (zone.into(), jitter);
            let schedule = Schedule::of(&entry, AppId(1)).unwrap();
            let tick = schedule.next(Micros(from)).unwrap();
            prop_assert!(tick.0 > from);
            let between = from + ((tick.0 - 1 - from) as f64 * part) as i64;
            prop_assert_eq!(schedule.next(Micros(between)), Some(tick));
            prop_assert!(schedule.next(tick).unwrap() > tick);
        }
    }
}
