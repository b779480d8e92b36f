//! Heads as nearly all are, read in one pass over their bytes: where they end, what stands where, and that nothing in
//! them is odd.
//!
//! This only says yes, or nothing. What it does not take, a head that is not whole yet for one, is left to
//! [`super::super::scan`] and the parser behind [`Head::request`], which judge it and have the words for it. What it takes
//! they take as well, and understand alike: the tests hold them against each other.

use super::{Head, Line, Span};
use crate::http1::name::known;

/// Longer heads are left to the others: below this no line, cookie or method is longer than it may be.
const SIZE_MAX: usize = 8000;
/// Longer names are left to the others, and longer methods.
const NAME_MAX: usize = 100;
/// So are more lines.
const LINES_MAX: usize = 64;

/// The bytes of which names and methods are made (RFC 9110, section 5.6.2).
static TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut b = 0;
    while b < 128 {
        let c = b as u8;
        token[b] = c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        b += 1;
    }
    token
};

impl Head {
    /// The head of a request at the beginning of `data`, if it is whole and plain, and where it ends.
    pub fn quick_request(data: &[u8]) -> Option<(Head, usize)> {
        let data = &data[..data.len().min(SIZE_MAX)];
        let method = token(data);
        let target = method + 1;
        let end = target + visible(data.get(target..)?);
        if method == 0 || method > NAME_MAX || data[method] != b' ' || end == target {
            return None;
        }
        let minor = match data.get(end..end + 11)? {
            b" HTTP/1.1\r\n" => 1,
            b" HTTP/1.0\r\n" => 0,
            _ => return None,
        };
        let mut head = Head::empty();
        head.first = Span::new(0, method);
        head.second = Span::new(target, end);
        head.minor = minor;
        let end = head.take_lines(data, end + 11)?;
        Some((head, end))
    }

    /// The head of an answer at the beginning of `data`, if it is whole and plain, and where it ends.
    pub fn quick_answer(data: &[u8]) -> Option<(Head, usize)> {
        let data = &data[..data.len().min(SIZE_MAX)];
        let minor = match data.get(..9)? {
            b"HTTP/1.1 " => 1,
            b"HTTP/1.0 " => 0,
            _ => return None,
        };
        let [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' '] = *data.get(9..13)? else {
            return None;
        };
        let digit = |d: u8| u16::from(d - b'0');
        let end = 13 + text(&data[13..]);
        if data.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        let mut head = Head::empty();
        head.first = Span::new(13, end);
        head.status = digit(a) * 100 + digit(b) * 10 + digit(c);
        head.minor = minor;
        let end = head.take_lines(data, end + 2)?;
        Some((head, end))
    }

    /// Reads the lines from `at` on, and keeps the bytes of the whole head; where it ends.
    fn take_lines(&mut self, data: &[u8], mut at: usize) -> Option<usize> {
        let mut seen = 0;
        loop {
            let rest = &data[at..];
            let name = token(rest);
            if name == 0 {
                if !rest.starts_with(b"\r\n") {
                    return None;
                }
                self.bytes.extend_from_slice(&data[..at + 2]);
                self.seen = seen;
                return Some(at + 2);
            }
            if *rest.get(name)? != b':' || name > NAME_MAX || self.lines.len() == LINES_MAX {
                return None;
            }
            let known = known(&rest[..name]);
            seen |= known.bit();
            let blank = |b: &u8| matches!(b, b' ' | b'\t');
            let mut start = name + 1;
            while rest.get(start).is_some_and(blank) {
                start += 1;
            }
            let line = start + text(&rest[start..]);
            if rest.get(line..line + 2)? != b"\r\n" {
                return None;
            }
            let mut end = line;
            while end > start && blank(&rest[end - 1]) {
                end -= 1;
            }
            self.lines.push(Line {
                name: Span::new(at, at + name),
                value: Span::new(at + start, at + end),
                known,
            });
            at += line + 2;
        }
    }
}

/// How many bytes of a token `data` begins with; at most all but one.
fn token(data: &[u8]) -> usize {
    let mut at = 0;
    loop {
        // eight at a time, where they are letters and dashes as nearly always
        at += while_eights(&data[at..], |x| {
            let low = (x | (0x20 * ONES)) & !HIGH;
            let letters = (low + (0x80 - 0x61) * ONES) & !(low + (0x80 - 0x7b) * ONES) & !x;
            let dash = x ^ (0x2d * ONES);
            let no_dash = ((dash & !HIGH) + (0x7f * ONES)) | dash;
            !letters & no_dash
        });
        match data.get(at) {
            Some(b) if TOKEN[usize::from(*b)] => at += 1,
            Some(_) => return at,
            None => return at.saturating_sub(1),
        }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// How many bytes come before the first that is marked, or before the last few, which are not looked at. `marks` sets the
/// high bit of each byte that is odd; above the lowest of them it may err.
#[inline(always)]
fn while_eights(data: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let mut at = 0;
    while let Some(eight) = data[at..].first_chunk::<8>() {
        let odd = marks(u64::from_le_bytes(*eight)) & HIGH;
        if odd != 0 {
            return at + odd.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// Marks this byte.
fn is(x: u64, byte: u64) -> u64 {
    let x = x ^ (byte * ONES);
    x.wrapping_sub(ONES) & !x
}

/// Marks bytes below this one, which is at most 0x80.
fn below(x: u64, byte: u64) -> u64 {
    x.wrapping_sub(byte * ONES) & !x
}

/// How many visible ASCII letters that may stand in a target `data` begins with.
fn visible(data: &[u8]) -> usize {
    let mut at = while_eights(data, |x| below(x, 0x21) | is(x, 0x7f) | is(x, 0x23) | x);
    while (data.get(at)).is_some_and(|b| b.is_ascii_graphic() && *b != b'#') {
        at += 1;
    }
    at
}

/// How many bytes of a field's value `data` begins with: everything but control characters, tabs among them allowed.
fn text(data: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += while_eights(&data[at..], |x| below(x, 0x20) | is(x, 0x7f));
        match data.get(at) {
            Some(b'\t' | b' '..=0x7e | 0x80..) => at += 1,
            _ => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::scan::{ANSWER, REQUEST, Scan, Size};
    use proptest::prelude::*;

    type Read = (
        Vec<u8>,
        Vec<u8>,
        u16,
        u8,
        Vec<(Vec<u8>, Vec<u8>, u8)>,
        u64,
        usize,
    );

    fn of(head: &Head, end: usize) -> Read {
        let fields = head.fields();
        let fields = fields.map(|f| (f.name.to_vec(), f.value.to_vec(), f.known as u8));
        (
            head.first.get(&head.bytes).to_vec(),
            head.second.get(&head.bytes).to_vec(),
            head.status,
            head.minor,
            fields.collect(),
            head.seen,
            end,
        )
    }

    fn careful(
        text: &[u8],
        size: &Size,
        read: fn(&[u8]) -> Result<Head, crate::http1::scan::Fault>,
    ) -> Option<Read> {
        let (start, end) = Scan::default().look(text, size).ok()??;
        let head = read(&text[start..end]).ok()?;
        Some(of(&head, end))
    }

    /// What is taken quickly is taken carefully, and understood alike.
    fn agree(text: &[u8]) -> Result<(), TestCaseError> {
        if let Some((head, end)) = Head::quick_request(text) {
            let careful = careful(text, &REQUEST, Head::request);
            prop_assert_eq!(
                Some(of(&head, end)),
                careful,
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
        if let Some((head, end)) = Head::quick_answer(text) {
            let careful = careful(text, &ANSWER, Head::answer);
            prop_assert_eq!(
                Some(of(&head, end)),
                careful,
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
        Ok(())
    }

    #[test]
    fn plain_heads_are_taken() {
        let request = b"GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nAccept:\t*/* \t\r\nX:\r\nCookie: a=\xff\tb\r\n\r\nmore";
        let (head, end) = Head::quick_request(request).unwrap();
        assert_eq!(
            (head.method(), head.target(), end),
            ("GET", "/a?b=c", request.len() - 4)
        );
        let values: Vec<_> = head.fields().map(|f| f.value).collect();
        assert_eq!(values, [&b"a.test"[..], b"*/*", b"", b"a=\xff\tb"]);
        let answer = b"HTTP/1.0 299 Quite fine\r\nContent-Length: 0\r\n\r\n";
        let (head, end) = Head::quick_answer(answer).unwrap();
        assert_eq!(
            (head.status, head.reason(), head.minor, end),
            (299, &b"Quite fine"[..], 0, answer.len())
        );
        for cut in 0..request.len() - 4 {
            assert!(Head::quick_request(&request[..cut]).is_none(), "{cut}");
        }
        for cut in 0..answer.len() {
            assert!(Head::quick_answer(&answer[..cut]).is_none(), "{cut}");
        }
        for text in [&request[..], answer, b"HTTP/1.1 200 \r\n\r\n"] {
            agree(text).unwrap();
        }
    }

    #[test]
    fn control_characters_are_found_wherever_they_stand() {
        for odd in (0..0x20).chain([0x7f]) {
            for n in 0..20 {
                for before in [b'a', b'\t', 0xff, 0x80, b' '] {
                    let mut bytes = vec![before; n];
                    bytes.push(odd);
                    bytes.extend_from_slice(b"\x01\x7f\rabc\x80\xff");
                    let found = text(&bytes);
                    let wanted = bytes
                        .iter()
                        .position(|b| *b != b'\t' && b.is_ascii_control());
                    assert_eq!(Some(found), wanted, "{bytes:?}");
                }
            }
        }
        assert_eq!(text(b""), 0);
        let bytes: Vec<u8> = (0..=255).collect();
        for (b, n) in bytes.iter().flat_map(|b| (0..20).map(move |n| (b, n))) {
            let mut bytes = b"Aa-zZbcd-XyEFghi-jkl"[..n].to_vec();
            bytes.extend_from_slice(&[*b, b'a', *b, b'-', b':', 0xff, b' ']);
            let first = |odd: fn(&u8) -> bool| bytes.iter().position(odd).unwrap();
            let odd = |b: &u8| !b.is_ascii_graphic() || *b == b'#';
            assert_eq!(visible(&bytes), first(odd), "{bytes:?}");
            assert_eq!(
                token(&bytes),
                first(|b| !TOKEN[usize::from(*b)]),
                "{bytes:?}"
            );
        }
        assert_eq!(text(b"abcdefghij"), 10);
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b": ".to_vec()),
            Just(b"Content-Length: 3\r\n".to_vec()),
            Just(b"transfer-encoding:chunked \r\n".to_vec()),
            Just(b"Host: a\r\n".to_vec()),
            Just(b"X_Forwarded_For: a\r\n".to_vec()),
            Just(b" folded\r\n".to_vec()),
            "[a-zA-Z!#$%&'*+.^_`|~0-9-]{1,8}:[ \t]{0,2}[ -~\t]{0,12}\r\n"
                .prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..4),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_careful_reader_agrees(
            first in prop_oneof![
                Just("GET / HTTP/1.1\r\n"),
                Just("POST /a#b HTTP/1.0\r\n"),
                Just("HTTP/1.1 200 OK\r\n"),
                Just("HTTP/1.1 204 \r\n"),
                Just("HTTP/1.1 304\r\n"),
                Just("\r\nGET /\u{fc} HTTP/1.1\r\n"),
                Just("GET  / HTTP/1.1\r\n"),
            ],
            lines in proptest::collection::vec(piece(), 0..6),
            changed in proptest::collection::vec((0usize..120, any::<u8>()), 0..3),
        ) {
            let mut text = first.as_bytes().to_vec();
            text.extend(lines.concat());
            text.extend_from_slice(b"\r\n\r\nmore");
            agree(&text)?;
            for (at, byte) in changed {
                let at = at % text.len();
                text[at] = byte;
            }
            agree(&text)?;
        }
    }
}
