//! Bytes to lines: whole lines at once, long ones in pieces, a started line after a pause.

use std::time::{Duration, Instant};

/// The most bytes in one log line; longer ones are split (Heroku's limit).
pub const MAX_LINE: usize = 10_000;

/// How long the rest of a line is waited for.
pub const PAUSE: Duration = Duration::from_millis(500);

/// The started line of one stream.
#[derive(Default)]
pub struct Lines {
    start: Vec<u8>,
    since: Option<Instant>,
}

impl Lines {
    /// Takes bytes and gives each line, without its end, to `line`.
    pub fn push(&mut self, bytes: &[u8], now: Instant, mut line: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            if self.start.is_empty() {
                split(without_cr(&rest[..end]), &mut line);
            } else {
                self.start.extend_from_slice(&rest[..end]);
                split(without_cr(&self.start), &mut line);
                self.start.clear();
            }
            rest = &rest[end + 1..];
        }
        self.start.extend_from_slice(rest);
        while self.start.len() > MAX_LINE {
            let n = cut(&self.start);
            line(&self.start[..n]);
            self.start.drain(..n);
        }
        self.since = (!self.start.is_empty()).then_some(now);
    }

    /// When the started line is to be given out as it is.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|t| t + PAUSE)
    }

    /// Gives out the started line, if there is one.
    pub fn flush(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.start.is_empty() {
            line(without_cr(&self.start));
            self.start = Vec::new();
        }
        self.since = None;
    }
}

fn without_cr(l: &[u8]) -> &[u8] {
    l.strip_suffix(b"\r").unwrap_or(l)
}

fn split(mut l: &[u8], line: &mut impl FnMut(&[u8])) {
    while l.len() > MAX_LINE {
        let n = cut(l);
        line(&l[..n]);
        l = &l[n..];
    }
    line(l);
}

/// Where to cut a long line: not inside a character of UTF-8, when it is that.
fn cut(l: &[u8]) -> usize {
    (MAX_LINE - 3..=MAX_LINE)
        .rev()
        .find(|i| l[*i] & 0xC0 != 0x80)
        .unwrap_or(MAX_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut l, mut out) = (Lines::default(), vec![]);
        for p in pieces {
            l.push(p, Instant::now(), |x| out.push(x.to_vec()));
        }
        l.flush(|x| out.push(x.to_vec()));
        out
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        let mut text = b"one\n\ntwo\r\n\xff\0three\r\n".to_vec();
        text.extend("é".repeat(9_000).bytes());
        text.extend(b"\nlast");
        let whole = run(&[&text]);
        for step in [1, 2, 3, 7, 4096] {
            let pieces: Vec<&[u8]> = text.chunks(step).collect();
            assert_eq!(run(&pieces), whole, "in pieces of {step}");
        }
        assert_eq!(
            &whole[..4],
            &[&b"one"[..], b"", b"two", b"\xff\0three"].map(<[u8]>::to_vec)
        );
        assert_eq!(whole[4].len(), 10_000);
        assert_eq!(whole[5].len(), 8_000);
        assert_eq!(whole[6], b"last");
    }

    #[test]
    fn a_character_is_not_torn_and_nothing_is_lost() {
        let mut text = vec![b'a'];
        text.extend("é".repeat(20_000).bytes());
        let got = run(&[&text]);
        assert!(got.iter().all(|l| std::str::from_utf8(l).is_ok()));
        assert!(got.iter().all(|l| l.len() <= MAX_LINE));
        assert_eq!(got.concat(), text);
        let raw = vec![0x80; 25_000];
        assert_eq!(run(&[&raw]).concat(), raw);
    }

    #[test]
    fn a_started_line_is_due_after_a_pause() {
        let (mut l, t) = (Lines::default(), Instant::now());
        assert_eq!(l.due(), None);
        l.push(b"wait", t, |_| panic!("no line yet"));
        assert_eq!(l.due(), Some(t + PAUSE));
        l.push(b"\n", t, |x| assert_eq!(x, b"wait"));
        assert_eq!(l.due(), None);
    }
}
