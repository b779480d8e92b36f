//! Where a head ends, found as the bytes come, each looked at once. What no head can be is refused before it is whole.

use memchr::memchr_iter;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// For a request: what it is answered with.
    pub status: u16,
    /// Too much of something, not a wrong form.
    pub limit: bool,
    pub text: &'static str,
}

impl Fault {
    /// A wrong form.
    pub const fn form(text: &'static str) -> Fault {
        Fault {
            status: 400,
            limit: false,
            text,
        }
    }

    /// Too much of something.
    pub const fn limit(status: u16, text: &'static str) -> Fault {
        Fault {
            status,
            limit: true,
            text,
        }
    }
}

/// How large a head may be.
pub(crate) struct Size {
    /// The first line, without its end.
    pub first: usize,
    /// Each other line, without its end.
    pub line: usize,
    /// Everything.
    pub all: usize,
}

/// Of requests: Heroku's limits, and a bound for the sum.
pub(crate) const REQUEST: Size = Size {
    first: 8192,
    line: 8192,
    all: 1024 * 1024,
};
/// Of answers: Heroku's limits, and its buffer of 1 MB.
pub(crate) const ANSWER: Size = Size {
    first: 8192,
    line: 512 * 1024,
    all: 1024 * 1024,
};
/// Empty lines before a request that are passed over (RFC 9112, section 2.2).
const EMPTY_LINES: usize = 4;

/// Follows a head as it comes.
#[derive(Default)]
pub(crate) struct Scan {
    /// Everything before was looked at.
    seen: usize,
    /// Where the present line begins.
    line: usize,
    /// Where the first line begins.
    start: usize,
    empty: usize,
    begun: bool,
}

impl Scan {
    /// Was nothing looked at yet?
    pub fn is_fresh(&self) -> bool {
        self.seen == 0
    }

    /// Looks at what has come so far, which always begins with the same byte. Tells start and end of a whole head.
    ///
    /// # Errors
    /// When it can be no head.
    pub fn look(&mut self, bytes: &[u8], size: &Size) -> Result<Option<(usize, usize)>, Fault> {
        for i in memchr_iter(b'\n', &bytes[self.seen..]) {
            let end = self.seen + i;
            let line = &bytes[self.line..end];
            let Some((b'\r', line)) = line.split_last() else {
                return Err(Fault::form("A line of the head ends in a bare line feed."));
            };
            if line.is_empty() {
                if self.begun {
                    return Ok(Some((self.start, end + 1)));
                }
                self.empty += 1;
                self.start = end + 1;
                if self.empty > EMPTY_LINES {
                    return Err(Fault::form("There are only empty lines."));
                }
            } else {
                self.begins(line)?;
                self.fits(line.len(), size)?;
                self.begun = true;
            }
            self.line = end + 1;
        }
        self.seen = bytes.len();
        let rest = &bytes[self.line..];
        if rest != b"\r" {
            self.begins(rest)?;
        }
        // its carriage return may be there already
        self.fits(rest.len().saturating_sub(1), size)?;
        if bytes.len() - self.start > size.all {
            return Err(Fault::limit(431, "The head is too large."));
        }
        Ok(None)
    }

    /// What cannot be a first line is refused by its first byte, before there is a line.
    fn begins(&self, line: &[u8]) -> Result<(), Fault> {
        if !self.begun && line.first().is_some_and(|b| !b.is_ascii_graphic()) {
            return Err(Fault::form("This is not HTTP."));
        }
        Ok(())
    }

    fn fits(&self, line: usize, size: &Size) -> Result<(), Fault> {
        match self.begun {
            false if line > size.first => Err(Fault::limit(414, "The first line is too long.")),
            true if line > size.line => Err(Fault::limit(431, "A line of the head is too long.")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
        Scan::default().look(text, &REQUEST)
    }

    #[test]
    fn ends_are_found_and_wrong_lines_refused() {
        for (text, found) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Some((0, 27)))),
            (
                "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nmore",
                Ok(Some((4, 31))),
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\n", Ok(None)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r", Ok(None)),
            ("", Ok(None)),
            ("\r", Ok(None)),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Err(())),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Err(())),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Err(())),
            ("\nGET / HTTP/1.1\r\n\r\n", Err(())),
            ("\r\n\r\n\r\n\r\n\r\n\r\n", Err(())),
            ("\x16\x03\x01", Err(())),
        ] {
            assert_eq!(whole(text.as_bytes()).map_err(|_| ()), found, "{text:?}");
        }
    }

    #[test]
    fn limits() {
        let line = |n: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(n - 14));
        assert!(whole(line(8192).as_bytes()).is_ok());
        assert_eq!(whole(line(8193).as_bytes()).unwrap_err().status, 414);
        let field = |n: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(n - 3));
        assert!(whole(field(8192).as_bytes()).unwrap().is_some());
        assert_eq!(whole(field(8193).as_bytes()).unwrap_err().status, 431);
        let endless = field(9000);
        assert!(
            whole(&endless.as_bytes()[..8500]).is_err(),
            "before it is whole"
        );
        let all = format!("GET / HTTP/1.1\r\n{}", "X: 1234567\r\n".repeat(100_000));
        assert_eq!(whole(all.as_bytes()).unwrap_err().status, 431);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            text in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(b' ')], 0..40),
            cuts in proptest::collection::vec(0usize..40, 0..6),
        ) {
            let all = whole(&text);
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let mut scan = Scan::default();
            let mut last = Ok(None);
            for c in cuts {
                last = scan.look(&text[..c], &REQUEST);
                if last != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(last.map_err(|f| f.limit), all.map_err(|f| f.limit));
        }
    }
}
