//! Which part of a file is asked for (RFC 9110, section 14).
//!
//! Several ranges that make one piece together are sent as that piece. Several pieces are not worth a multipart answer:
//! the whole is sent, which section 14.2 allows, and which defuses requests for thousands of overlapping ranges.

/// More than so many ranges in one request are nobody's honest wish.
const MOST: usize = 16;

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything, as if no range had been asked for.
    Whole,
    /// From this byte, so many.
    Piece(u64, u64),
    /// 416: nothing of it is there.
    Beyond,
}

/// Reads the value of `Range` for a file of `size` bytes.
pub(super) fn part(value: &[u8], size: u64) -> Part {
    let Some(set) = std::str::from_utf8(value).ok().and_then(ranges_of) else {
        return Part::Whole;
    };
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    for (n, item) in set
        .split(',')
        .map(str::trim)
        .filter(|i| !i.is_empty())
        .enumerate()
    {
        if n >= MOST {
            return Part::Whole;
        }
        match piece(item, size) {
            // one bad range spoils the header, which is then ignored
            Err(()) => return Part::Whole,
            Ok(None) => {}
            Ok(Some(p)) => pieces.push(p),
        }
    }
    pieces.sort_unstable();
    let Some(&(first, mut end)) = pieces.first() else {
        return Part::Beyond;
    };
    for &(from, to) in &pieces[1..] {
        if from > end {
            return Part::Whole;
        }
        end = end.max(to);
    }
    Part::Piece(first, end - first)
}

/// What follows `bytes=`; units are compared without case.
fn ranges_of(value: &str) -> Option<&str> {
    let (unit, set) = value.split_once('=')?;
    let any = set.split(',').any(|i| !i.trim().is_empty());
    (unit.trim().eq_ignore_ascii_case("bytes") && any).then_some(set)
}

/// From and to (not included); `None` when nothing of it is there.
fn piece(item: &str, size: u64) -> Result<Option<(u64, u64)>, ()> {
    let number = |text: &str| {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        // a number too large for us is beyond any file
        Ok(text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (from, to) = item.split_once('-').ok_or(())?;
    let (from, to) = match (from.trim(), to.trim()) {
        ("", last) => {
            let last = number(last)?;
            (size.saturating_sub(last), if last == 0 { 0 } else { size })
        }
        (from, "") => (number(from)?, size),
        (from, to) => {
            let (from, to) = (number(from)?, number(to)?);
            if to < from {
                return Err(());
            }
            (from, size.min(to.saturating_add(1)))
        }
    };
    Ok((from < to).then_some((from, to)))
}

#[cfg(test)]
mod tests {
    use super::Part::{Beyond, Piece, Whole};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        for (value, expected) in [
            ("bytes=0-0", Piece(0, 1)),
            ("bytes=0-99", Piece(0, 100)),
            ("bytes=10-", Piece(10, 90)),
            ("bytes=-10", Piece(90, 10)),
            ("bytes=-1000", Piece(0, 100)),
            ("bytes=50-1000", Piece(50, 50)),
            ("Bytes = 5-6", Piece(5, 2)),
            ("bytes=100-", Beyond),
            ("bytes=-0", Beyond),
            ("bytes=200-300, 400-", Beyond),
            ("bytes=99999999999999999999999-", Beyond),
            ("bytes=0-99999999999999999999999", Piece(0, 100)),
            ("bytes=0-9, 10-19", Piece(0, 20)),
            ("bytes=10-19, 0-14,", Piece(0, 20)),
            ("bytes=0-9, 20-29", Whole),
            ("bytes=0-9, 200-", Piece(0, 10)),
            ("bytes=5-4", Whole),
            ("bytes=a-b", Whole),
            ("bytes=1", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes=+1-2", Whole),
            ("lines=0-1", Whole),
            ("bytes=0-1,x", Whole),
        ] {
            assert_eq!(part(value.as_bytes(), 100), expected, "{value}");
        }
        let many = format!("bytes={}", "0-,".repeat(17));
        assert_eq!(part(many.as_bytes(), 100), Whole);
        assert_eq!(part(b"bytes=0-", 0), Beyond);
    }

    proptest! {
        #[test]
        fn pieces_lie_inside(value in "bytes=([0-9]{0,3}-[0-9]{0,3},?){0,5}", size in 0u64..500) {
            if let Piece(from, n) = part(value.as_bytes(), size) {
                prop_assert!(n > 0 && from + n <= size);
            }
        }
    }
}
