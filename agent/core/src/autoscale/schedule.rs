//! `Mon-Fri 8:00` as people type it.

use hokku_model::autoscale::Days;

const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Reads days (names, ranges, lists; none: every day) and a time of the day: the days, and the minute from 0 to 1439.
///
/// # Errors
/// In words: what is no day or no time, and how to write it.
pub fn parse_at(text: &str) -> Result<(Days, u16), String> {
    let text = text.trim();
    let (days, time) = match text.rsplit_once(char::is_whitespace) {
        Some((days, time)) => (parse_days(days.trim())?, time),
        None => (Days::ALL, text),
    };
    let no_time = || {
        format!(
            "{time:?} is no time of the day: write it as 8:00 or 17:30, after the days if there are any"
        )
    };
    let (hour, minute) = time.split_once(':').ok_or_else(no_time)?;
    let digits = |t: &str, most: u16| {
        let plain = (1..=2).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        t.parse::<u16>().ok().filter(|n| plain && *n <= most)
    };
    match (digits(hour, 23), digits(minute, 59)) {
        (Some(h), Some(m)) if minute.len() == 2 => Ok((days, h * 60 + m)),
        _ => Err(no_time()),
    }
}

fn parse_days(text: &str) -> Result<Days, String> {
    let mut days = 0;
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (day(from)?, day(to)?);
        // from Friday to Monday goes over the weekend
        let length = (to + 7 - from) % 7;
        for d in 0..=length {
            days |= 1 << ((from + d) % 7);
        }
    }
    Ok(Days(days))
}

fn day(text: &str) -> Result<u8, String> {
    let text = text.trim();
    let is =
        |name: &&str| text.len() >= 3 && text.is_ascii() && text[..3].eq_ignore_ascii_case(name);
    let long = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    NAMES
        .iter()
        .position(|n| is(n) && (text.len() == 3 || long.contains(&text.to_ascii_lowercase().as_str())))
        .and_then(|d| u8::try_from(d).ok())
        .ok_or_else(|| format!("{text:?} is no day: there are {}, ranges such as Mon-Fri and lists such as Sat,Sun", NAMES.join(", ")))
}

/// As it is typed, days in order: `Mon-Fri 8:00`, `Sat,Sun 10:00`, `8:00` for every day.
pub fn spell_at(days: Days, minute: u16) -> String {
    let time = format!("{}:{:02}", minute / 60, minute % 60);
    if days == Days::ALL {
        return time;
    }
    let mut parts: Vec<(usize, usize)> = vec![];
    for d in (0..7).filter(|d| days.has(*d as u8)) {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == d => *last = d,
            _ => parts.push((d, d)),
        }
    }
    let spelled = parts.iter().map(|(a, b)| match b - a {
        0 => NAMES[*a].to_owned(),
        1 => format!("{},{}", NAMES[*a], NAMES[*b]),
        _ => format!("{}-{}", NAMES[*a], NAMES[*b]),
    });
    format!("{} {time}", spelled.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::autoscale::{At, Autoscale, Plan, Targets};
    use proptest::prelude::*;

    #[test]
    fn days_and_times() {
        for (text, days, minute, spelled) in [
            ("Mon 8:00", 0b1, 480, "Mon 8:00"),
            ("mon-fri 08:05", 0b1_1111, 485, "Mon-Fri 8:05"),
            ("Sat,Sun 23:59", 0b110_0000, 1439, "Sat,Sun 23:59"),
            ("Friday-Mon 0:00", 0b111_0001, 0, "Mon,Fri-Sun 0:00"),
            (" 17:30 ", 0b111_1111, 1050, "17:30"),
        ] {
            let (d, m) = parse_at(text).unwrap();
            assert_eq!((d.0, m), (days, minute), "{text}");
            assert_eq!(spell_at(d, m), spelled);
        }
        for bad in [
            "",
            "8",
            "8:0",
            "24:00",
            "8:60",
            "Mon",
            "Moon 8:00",
            "Mon- 8:00",
            "+8:00",
            "Mo 8:00",
            "8:00 Mon",
        ] {
            assert!(parse_at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_entry_that_began_last_holds() {
        let entry = |text: &str, min, max| {
            let (days, minute) = parse_at(text).unwrap();
            At {
                days,
                minute,
                min,
                max,
            }
        };
        let plan = Plan {
            wish: Autoscale {
                min: 1,
                max: 4,
                targets: Targets::default(),
            },
            depth_from: None,
            schedule: vec![
                entry("Mon-Fri 8:00", 6, Some(9)),
                entry("Mon-Fri 20:00", 2, None),
            ],
            zone: None,
        };
        let bounds = |text: &str| {
            let (days, minute) = parse_at(text).unwrap();
            let day = days.0.trailing_zeros() as u16;
            let wish = plan.at(day * 1440 + minute);
            (wish.min, wish.max)
        };
        assert_eq!(bounds("Mon 8:00"), (6, 9));
        assert_eq!(bounds("Mon 19:59"), (6, 9));
        assert_eq!(bounds("Mon 20:00"), (2, 4));
        assert_eq!(bounds("Sun 12:00"), (2, 4), "since Friday evening");
        assert_eq!(bounds("Mon 7:59"), (2, 4), "over the end of the week");
        assert_eq!(
            Plan {
                schedule: vec![],
                ..plan.clone()
            }
            .at(0)
            .min,
            1
        );
    }

    proptest! {
        #[test]
        fn spelled_is_read_again(bits in 1u8..128, minute in 0u16..1440) {
            prop_assert_eq!(parse_at(&spell_at(Days(bits), minute)), Ok((Days(bits), minute)));
        }

        #[test]
        fn any_text_is_taken_or_refused(s: String) {
            let _ = parse_at(&s);
        }
    }
}
