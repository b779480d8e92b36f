//! Durations and sizes as people write them, and back.

/// `"500ms"`, `"30s"`, `"1m30s"`, `"2h"`, `"7d"` as milliseconds.
pub(super) fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let (number, unit, after) = number(rest)?;
        let ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        // "1m1h" is more likely a slip than a wish
        if ms >= last {
            return None;
        }
        last = ms;
        total = total.checked_add(number.checked_mul(ms)?)?;
        rest = after;
    }
    (last != u64::MAX).then_some(total)
}

/// `"512B"`, `"64kB"`, `"10MB"` (10,000,000) and `"10MiB"` (10,485,760) as bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit, rest) = number(text)?;
    if !rest.is_empty() {
        return None;
    }
    let (_, bytes) = SIZES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*bytes)
}

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A number of at most 15 digits, the letters after it, and the rest.
fn number(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 15 {
        return None;
    }
    let (number, rest) = text.split_at(digits);
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (unit, rest) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, rest))
}

/// Milliseconds in the largest unit that needs no fraction.
pub(super) fn show_duration(ms: u64) -> String {
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
    ];
    match units
        .iter()
        .find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit))
    {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None if ms == 0 => "0s".into(),
        None => format!("{ms}ms"),
    }
}

/// Bytes in the unit that needs the fewest characters and no fraction.
pub(super) fn show_size(bytes: u64) -> String {
    let exact = SIZES.iter().filter(|(_, unit)| bytes.is_multiple_of(*unit));
    exact
        .map(|(name, unit)| format!("{}{name}", bytes / unit))
        .filter(|text| bytes > 0 || text == "0B")
        .min_by_key(String::len)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("30s", Some(30_000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("365d", Some(31_536_000_000)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("s", None),
            ("30 s", None),
            ("-1s", None),
            ("1.5s", None),
            ("30sec", None),
            ("1s1m", None),
            ("1s1s", None),
            ("999999999999999d", None),
            ("9999999999999999s", None),
        ] {
            assert_eq!(duration(text), ms, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10MB", Some(10_000_000)),
            ("10mb", Some(10_000_000)),
            ("10MiB", Some(10 << 20)),
            ("512B", Some(512)),
            ("0B", Some(0)),
            ("10M", None),
            ("10", None),
            ("1MB2kB", None),
            ("MB", None),
            ("999999999999999TB", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
        for (bytes, text) in [
            (0, "0B"),
            (1024, "1KiB"),
            (10_000_000, "10MB"),
            (1_500_000, "1500kB"),
            (7, "7B"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(n in 0..999_999_999_999u64, s in ".{0,12}") {
            prop_assert_eq!(duration(&show_duration(n)), Some(n));
            prop_assert_eq!(size(&show_size(n)), Some(n));
            let _ = (duration(&s), size(&s));
        }
    }
}
