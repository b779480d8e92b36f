//! The time as the log format wants it: `2026-11-21T12:00:00.000000+00:00`.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now, 32 characters.
pub fn now() -> String {
    let d = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    show(d.as_secs(), d.subsec_micros())
}

/// A time as text; years up to 9999 fit the format.
pub fn show(secs: u64, micros: u32) -> String {
    let (y, m, d) = date(secs / 86_400);
    let s = secs % 86_400;
    format!(
        "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{micros:06}+00:00",
        s / 3600,
        s / 60 % 60,
        s % 60
    )
}

/// Year, month and day of a day counted from 1970-01-01, by the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // counted from 0000-03-01, so that the leap day is the last day of a year
    let n = days + 719_468;
    let (era, n) = (n / 146_097, n % 146_097);
    // within 400 years: take out the leap days of each 4, 100, 400 years
    let year = (n - n / 1460 + n / 36_524 - n / 146_096) / 365;
    let day = n - (365 * year + year / 4 - year / 100);
    // months from March alternate 31 30 31 30 31 in groups of 153 days
    let month = (5 * day + 2) / 153;
    let d = day - (153 * month + 2) / 5 + 1;
    let m = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(m <= 2), m, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.000042+00:00"),
            (951_782_399, "2000-02-28T23:59:59.000042+00:00"),
            (951_782_400, "2000-02-29T00:00:00.000042+00:00"),
            (1_709_164_800, "2024-02-29T00:00:00.000042+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00.000042+00:00"),
            (1_795_262_400, "2026-11-21T12:00:00.000042+00:00"),
            (253_402_300_799, "9999-12-31T23:59:59.000042+00:00"),
        ] {
            assert_eq!(show(secs, 42), text);
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let leap =
            |y: u64| (y.is_multiple_of(4) && !y.is_multiple_of(100)) || y.is_multiple_of(400);
        let (mut y, mut m, mut d) = (1970, 1, 1);
        for n in 0..400_000 {
            assert_eq!(date(n), (y, m, d));
            let last = match m {
                2 if leap(y) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            d += 1;
            if d > last {
                (d, m) = (1, m + 1);
            }
            if m > 12 {
                (m, y) = (1, y + 1);
            }
        }
    }
}
