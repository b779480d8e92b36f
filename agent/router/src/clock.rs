//! Time: a monotonic clock in whole milliseconds for deadlines, and the time stamp of log lines.

use nix::time::ClockId;

/// Milliseconds since the machine was started; never goes back.
pub(crate) fn ms() -> u64 {
    // the call cannot fail: Linux has this clock since 2.6
    ClockId::CLOCK_MONOTONIC.now().map_or(0, |t| {
        t.tv_sec().cast_unsigned() * 1000 + t.tv_nsec().cast_unsigned() / 1_000_000
    })
}

/// Microseconds since 1970 by the wall clock.
pub(crate) fn wall_micros() -> i64 {
    let (seconds, nanos) = wall();
    seconds * 1_000_000 + nanos / 1000
}

/// Milliseconds since 1970 by the wall clock, for `X-Request-Start`.
pub(crate) fn wall_ms() -> u64 {
    let (seconds, nanos) = wall();
    u64::try_from(seconds * 1000 + nanos / 1_000_000).unwrap_or(0)
}

/// Seconds since 1970, and nanoseconds besides.
fn wall() -> (i64, i64) {
    // the call cannot fail: Linux has always had this clock
    let now = ClockId::CLOCK_REALTIME.now();
    now.map_or((0, 0), |t| (t.tv_sec(), t.tv_nsec()))
}

/// Writes `2026-11-21T12:00:00.000000+00:00`; the calendar part is computed once a second.
pub(crate) struct Stamp {
    second: i64,
    text: String,
}

impl Stamp {
    pub fn new() -> Stamp {
        Stamp {
            second: i64::MIN,
            text: String::new(),
        }
    }

    /// Appends the 32 characters for `micros` since 1970.
    pub fn write(&mut self, out: &mut Vec<u8>, micros: i64) {
        let (second, mut fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        if second != self.second {
            let at = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            self.text = at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            self.second = second;
        }
        out.extend_from_slice(self.text.as_bytes());
        let mut digits = *b".000000+00:00";
        for d in digits[1..7].iter_mut().rev() {
            *d = b'0' + u8::try_from(fraction % 10).unwrap_or(0);
            fraction /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        let mut s = Stamp::new();
        let mut out = Vec::new();
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (1_764_000_000_000_042, "2025-11-24T16:00:00.000042+00:00"),
            (1_764_000_000_999_999, "2025-11-24T16:00:00.999999+00:00"),
            (-1, "1969-12-31T23:59:59.999999+00:00"),
        ] {
            out.clear();
            s.write(&mut out, micros);
            assert_eq!(String::from_utf8_lossy(&out), text);
            assert_eq!(out.len(), hokku_model::log::TIME_LEN);
        }
    }
}
