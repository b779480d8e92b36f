//! Times as Heroku's tools show them: local, with the offset, and how long ago.

use jiff::{Timestamp, tz::TimeZone};

/// `2024/01/31 12:00:00 +0000 (~ 3h ago)`; what is older than a day has no `ago`. Text that is no RFC 3339 time comes
/// back as it is.
pub fn ago(text: &str) -> String {
    ago_at(text, Timestamp::now(), TimeZone::system())
}

/// The same without the `ago`.
pub fn date(text: &str) -> String {
    date_in(text, TimeZone::system())
}

fn date_in(text: &str, zone: TimeZone) -> String {
    match text.parse::<Timestamp>() {
        Ok(t) => t
            .to_zoned(zone)
            .strftime("%Y/%m/%d %H:%M:%S %z")
            .to_string(),
        Err(_) => text.to_owned(),
    }
}

fn ago_at(text: &str, now: Timestamp, zone: TimeZone) -> String {
    let Ok(then) = text.parse::<Timestamp>() else {
        return text.to_owned();
    };
    let date = date_in(text, zone);
    let seconds = (now.as_second() - then.as_second()).max(0);
    match seconds {
        0..60 => format!("{date} (~ {seconds}s ago)"),
        60..3600 => format!("{date} (~ {}m ago)", seconds / 60),
        3600..90_000 => format!("{date} (~ {}h ago)", seconds / 3600),
        _ => date,
    }
}

/// `90`, `90s`, `15m`, `2h`, `1d` as seconds.
///
/// # Errors
/// In words: it is none, or too long.
pub fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("expected a number with s, m, h or d, such as 15m".into()),
    };
    let n: u64 = digits
        .parse()
        .ok()
        .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
        .ok_or("expected a number with s, m, h or d, such as 15m")?;
    n.checked_mul(factor)
        .ok_or_else(|| "that is too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_heroku_shows_them() {
        let now: Timestamp = "2024-01-31T15:00:30Z".parse().unwrap();
        let show = |t: &str| ago_at(t, now, TimeZone::UTC);
        assert_eq!(
            show("2024-01-31T15:00:00Z"),
            "2024/01/31 15:00:00 +0000 (~ 30s ago)"
        );
        assert_eq!(
            show("2024-01-31T14:58:00Z"),
            "2024/01/31 14:58:00 +0000 (~ 2m ago)"
        );
        assert_eq!(
            show("2024-01-31T12:00:00Z"),
            "2024/01/31 12:00:00 +0000 (~ 3h ago)"
        );
        assert_eq!(show("2024-01-29T12:00:00Z"), "2024/01/29 12:00:00 +0000");
        assert_eq!(
            show("2024-01-31T15:00:31Z"),
            "2024/01/31 15:00:31 +0000 (~ 0s ago)"
        );
        assert_eq!(show("soon"), "soon");
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            date_in("2024-01-31T23:00:00Z", east),
            "2024/02/01 01:00:00 +0200"
        );
    }
}
