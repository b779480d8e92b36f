//! A message's head: its bytes as they came, and where in them everything stands.
//!
//! Heads of HTTP/2 messages are brought into the same form, so that nothing behind this has to know both.

mod quick;

use super::name::{Known, known};
use super::scan::{Fault, Size};
use crate::request::Fields;
use http::{HeaderMap, HeaderValue};
use httparse::{Error, Header, ParserConfig, Request, Response, Status};
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// Header lines of one message.
pub(crate) const LINES_MAX: usize = 1000;
/// Heroku's limits.
const NAME_MAX: usize = 1000;
const METHOD_MAX: usize = 127;
const COOKIE_MAX: usize = 8192;
/// Most heads have fewer lines; for others there is another attempt.
const FEW: usize = 48;
/// So much memory is kept per thread for the next heads, and so large each piece may be: bytes, and lines.
const KEPT: usize = 64;
const BYTES_MAX: usize = 16 * 1024;
const LINES_KEPT_MAX: usize = 256;

#[derive(Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(part: &[u8], all: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(all.as_ptr() as usize);
        Span::new(start, start.wrapping_add(part.len()))
    }

    fn new(start: usize, end: usize) -> Span {
        // heads are bounded far below 4 GB
        let fit = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span {
            start: fit(start),
            end: fit(end),
        }
    }

    fn get(self, all: &[u8]) -> &[u8] {
        all.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
    known: Known,
}

/// A head of either kind.
pub(crate) struct Head {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// The bits of all [`Known`] among the lines.
    seen: u64,
    /// Method, or reason phrase.
    first: Span,
    /// Target.
    second: Span,
    /// Of an answer.
    pub status: u16,
    /// 0 for HTTP/1.0, 1 for 1.1, 2 for HTTP/2.
    pub minor: u8,
}

thread_local! {
    static SPARE: RefCell<Vec<(Vec<u8>, Vec<Line>)>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Head {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut lines = std::mem::take(&mut self.lines);
        if bytes.capacity() > BYTES_MAX || lines.capacity() > LINES_KEPT_MAX {
            return;
        }
        bytes.clear();
        lines.clear();
        // after the thread's end there is no list any more
        let _ = SPARE.try_with(|s| {
            let mut spare = s.borrow_mut();
            if spare.len() < KEPT {
                spare.push((bytes, lines));
            }
        });
    }
}

/// One field.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub known: Known,
}

impl Head {
    fn empty() -> Head {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let (bytes, lines) =
            spare.unwrap_or_else(|| (Vec::with_capacity(1024), Vec::with_capacity(16)));
        Head {
            bytes,
            lines,
            seen: 0,
            first: Span::default(),
            second: Span::default(),
            status: 0,
            minor: 1,
        }
    }

    /// Reads the whole head of a request, whose end [`super::scan::Scan`] has found.
    ///
    /// # Errors
    /// When it has not the form of one.
    pub fn request(text: &[u8]) -> Result<Head, Fault> {
        let head = match request::<FEW>(text) {
            Err(Error::TooManyHeaders) => request::<LINES_MAX>(text),
            other => other,
        };
        head.map_err(fault)?.checked_request()
    }

    /// Reads the whole head of an answer.
    ///
    /// # Errors
    /// When it has not the form of one.
    pub fn answer(text: &[u8]) -> Result<Head, Fault> {
        let head = match answer::<FEW>(text) {
            Err(Error::TooManyHeaders) => answer::<LINES_MAX>(text),
            other => other,
        };
        head.map_err(fault)?.checked_answer()
    }

    fn checked_request(self) -> Result<Head, Fault> {
        if self.method().len() > METHOD_MAX {
            return Err(Fault::limit(400, "The method's name is too long."));
        }
        if memchr::memchr(b'#', self.second.get(&self.bytes)).is_some() {
            return Err(Fault::form("There is a fragment in the request's target."));
        }
        self.checked_names()
    }

    fn checked_answer(self) -> Result<Head, Fault> {
        if self.all(Known::SetCookie).any(|v| v.len() > COOKIE_MAX) {
            return Err(Fault::limit(502, "A cookie is too large."));
        }
        self.checked_names()
    }

    fn checked_names(self) -> Result<Head, Fault> {
        // most heads are shorter than one name may be
        if self.bytes.len() > NAME_MAX && self.lines.iter().any(|l| l.name.len() > NAME_MAX) {
            return Err(Fault::limit(431, "The name of a field is too long."));
        }
        Ok(self)
    }

    fn keep(&mut self, text: &[u8], headers: &[Header<'_>]) {
        self.bytes.extend_from_slice(text);
        let mut seen = 0;
        self.lines.extend(headers.iter().map(|h| {
            let known = known(h.name.as_bytes());
            seen |= known.bit();
            Line {
                name: Span::of(h.name.as_bytes(), text),
                value: Span::of(h.value, text),
                known,
            }
        }));
        self.seen = seen;
    }

    /// Brings the head of an HTTP/2 request into this form.
    pub fn of_http2(parts: &http::request::Parts) -> Head {
        let mut head = Head::empty();
        head.minor = 2;
        head.first = head.put(parts.method.as_str().as_bytes());
        let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        head.second = head.put(target.as_bytes());
        head.bytes.extend_from_slice(b"\r\n");
        // the authority counts, not what a Host field says besides (RFC 9113, section 8.3.1)
        if let Some(authority) = parts.uri.authority() {
            head.add(b"host", authority.as_str().as_bytes());
        }
        let mut cookies = Vec::new();
        for (name, value) in &parts.headers {
            match name.as_str() {
                "host" if parts.uri.authority().is_some() => {}
                // HTTP/2 may split cookies over lines; HTTP/1.1 may not (RFC 9113, section 8.2.3)
                "cookie" => {
                    if !cookies.is_empty() {
                        cookies.extend_from_slice(b"; ");
                    }
                    cookies.extend_from_slice(value.as_bytes());
                }
                _ => head.add(name.as_str().as_bytes(), value.as_bytes()),
            }
        }
        if !cookies.is_empty() {
            head.add(b"cookie", &cookies);
        }
        head.bytes.extend_from_slice(b"\r\n");
        head
    }

    /// Are the lines of a head that came over HTTP/2 as short as HTTP/1 demands? To the app they go as such lines, and
    /// whether one is too long must not hang on the way it came.
    ///
    /// # Errors
    /// When one is not, or there are too many.
    pub fn check_lines(&self, size: &Size) -> Result<(), Fault> {
        // a space, and the version after another one
        let first = self.first.len() + self.second.len() + " ".len() + " HTTP/1.1".len();
        if first > size.first {
            return Err(Fault::limit(414, "The first line is too long."));
        }
        if self.lines.len() > LINES_MAX {
            return Err(Fault::limit(431, "There are more than 1000 header lines."));
        }
        let long = |f: Field<'_>| f.name.len() + ": ".len() + f.value.len() > size.line;
        if self.fields().any(long) {
            return Err(Fault::limit(431, "A line of the head is too long."));
        }
        if self.lines.iter().any(|l| l.name.len() > NAME_MAX) {
            return Err(Fault::limit(431, "The name of a field is too long."));
        }
        Ok(())
    }

    /// Brings the head of an HTTP/2 answer into this form.
    pub fn of_http2_answer(status: u16, headers: &HeaderMap) -> Head {
        let mut head = Head::empty();
        head.minor = 2;
        head.status = status;
        for (name, value) in headers {
            head.add(name.as_str().as_bytes(), value.as_bytes());
        }
        head.bytes.extend_from_slice(b"\r\n");
        head
    }

    fn put(&mut self, part: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(part);
        Span::new(start, self.bytes.len())
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let known = known(name);
        let name = self.put(name);
        self.bytes.extend_from_slice(b": ");
        let value = self.put(value);
        self.bytes.extend_from_slice(b"\r\n");
        self.seen |= known.bit();
        self.lines.push(Line { name, value, known });
    }

    /// The method, as sent.
    pub fn method(&self) -> &str {
        match self.method_bytes() {
            b"GET" => "GET",
            b"POST" => "POST",
            other => std::str::from_utf8(other).unwrap_or_default(),
        }
    }

    /// Is this the method?
    pub fn is(&self, method: &[u8]) -> bool {
        self.first.get(&self.bytes) == method
    }

    /// The method, as sent.
    pub fn method_bytes(&self) -> &[u8] {
        self.first.get(&self.bytes)
    }

    /// The target, as sent.
    pub fn target(&self) -> &str {
        std::str::from_utf8(self.second.get(&self.bytes)).unwrap_or_default()
    }

    /// The reason phrase of an answer.
    pub fn reason(&self) -> &[u8] {
        self.first.get(&self.bytes)
    }

    fn field(&self, line: &Line) -> Field<'_> {
        Field {
            name: line.name.get(&self.bytes),
            value: line.value.get(&self.bytes),
            known: line.known,
        }
    }

    /// All fields in the order they came.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|l| self.field(l))
    }

    /// Is there a field of one of these names?
    pub fn has_any<const N: usize>(&self, names: [Known; N]) -> bool {
        self.seen & names.iter().fold(0, |bits, k| bits | k.bit()) != 0
    }

    /// The values of a field the router knows.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let lines: &[Line] = match self.seen & known.bit() {
            0 => &[],
            _ => &self.lines,
        };
        lines
            .iter()
            .filter(move |l| l.known == known)
            .map(|l| l.value.get(&self.bytes))
    }

    /// The first value of a field the router knows.
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        self.all(known).next()
    }

    /// Is there a field of this name that has this among its comma-separated words?
    pub fn has_token(&self, known: Known, token: &[u8]) -> bool {
        self.all(known).any(|v| has_token(v, token))
    }

    /// The field in this line, counted from 0.
    pub fn line(&self, i: usize) -> Field<'_> {
        self.field(&self.lines[i])
    }

    /// Appends the lines that are to be kept, as they came. Neighbours are copied in one piece. `keep` is asked with the
    /// line's number.
    pub fn copy_lines(&self, out: &mut Vec<u8>, mut keep: impl FnMut(Known, usize) -> bool) {
        let mut run = None;
        for (i, line) in self.lines.iter().enumerate() {
            let start = line.name.start as usize;
            if keep(line.known, i) {
                run.get_or_insert(start);
            } else if let Some(from) = run.take() {
                out.extend_from_slice(&self.bytes[from..start]);
            }
        }
        if let Some(from) = run {
            let end = self.bytes.len().saturating_sub(2);
            out.extend_from_slice(&self.bytes[from..end]);
        }
    }
}

impl Span {
    fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

impl Fields for Head {
    fn get(&self, name: &str) -> Option<&[u8]> {
        match known(name.as_bytes()) {
            Known::Other | Known::LookAlike => self
                .fields()
                .find(|f| f.name.eq_ignore_ascii_case(name.as_bytes()))
                .map(|f| f.value),
            k => self.first(k),
        }
    }
}

/// Is `token` among the comma-separated words of `value`?
pub(crate) fn has_token(value: &[u8], token: &[u8]) -> bool {
    value
        .split(|b| *b == b',')
        .any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
}

fn request<const N: usize>(text: &[u8]) -> Result<Head, Error> {
    let mut room = [const { MaybeUninit::uninit() }; N];
    let mut parsed = Request::new(&mut []);
    if let Status::Partial = parsed.parse_with_uninit_headers(text, &mut room)? {
        return Err(Error::NewLine);
    }
    let mut head = Head::empty();
    head.first = Span::of(parsed.method.unwrap_or_default().as_bytes(), text);
    head.second = Span::of(parsed.path.unwrap_or_default().as_bytes(), text);
    head.minor = parsed.version.unwrap_or(1);
    head.keep(text, parsed.headers);
    Ok(head)
}

fn answer<const N: usize>(text: &[u8]) -> Result<Head, Error> {
    let mut room = [const { MaybeUninit::uninit() }; N];
    let mut parsed = Response::new(&mut []);
    let done =
        ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, text, &mut room)?;
    if let Status::Partial = done {
        return Err(Error::NewLine);
    }
    let mut head = Head::empty();
    // the parser leaves out reasons that are not ASCII: "HTTP/1.1 200 " is before them
    let line = memchr::memchr(b'\r', text).unwrap_or(0);
    head.first = Span::new(line.min(13), line);
    head.status = parsed.code.unwrap_or(0);
    head.minor = parsed.version.unwrap_or(1);
    head.keep(text, parsed.headers);
    Ok(head)
}

/// The lines of a chunked body's trailer section, without its last empty line. Fields that would change how the message
/// is read are left out (RFC 9110, section 6.5.1).
///
/// # Errors
/// When they are no header lines.
pub(crate) fn trailers(text: &[u8]) -> Result<HeaderMap, Fault> {
    let mut map = HeaderMap::new();
    if text.is_empty() {
        return Ok(map);
    }
    let mut whole = text.to_vec();
    whole.extend_from_slice(b"\r\n");
    let mut room = [httparse::EMPTY_HEADER; 64];
    let Status::Complete((_, fields)) =
        httparse::parse_headers(&whole, &mut room).map_err(fault)?
    else {
        return Err(Fault::form("The trailers are not header lines."));
    };
    for f in fields {
        let name = http::HeaderName::from_bytes(f.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(f.value))
            && may_trail(known(f.name.as_bytes()))
        {
            map.append(name, value);
        }
    }
    Ok(map)
}

/// May a field of this name stand in trailers?
pub(crate) fn may_trail(known: Known) -> bool {
    known.is_settable()
        && !matches!(
            known,
            Known::ContentEncoding | Known::ContentRange | Known::ContentType | Known::SetCookie
        )
}

fn fault(e: Error) -> Fault {
    match e {
        Error::TooManyHeaders => Fault::limit(431, "There are more than 1000 header lines."),
        Error::HeaderName => Fault::form("The name of a header field is not one."),
        Error::HeaderValue => Fault::form("The value of a header field has bytes it may not have."),
        Error::NewLine => Fault::form("A line of the head does not end as it has to."),
        Error::Status => Fault::form("The status is not a number of three digits."),
        Error::Version => Fault::form("The version of HTTP is none that is taken here."),
        Error::Token => Fault::form("The first line is not of HTTP's form."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_understood() {
        let text =
            b"PUT /a?b=c HTTP/1.1\r\nHost: a.test\r\nX-A:  1 \r\nVia:x\r\nX-B: \r\nvia: y\r\n\r\n";
        let h = Head::request(text).unwrap();
        assert_eq!((h.method(), h.target(), h.minor), ("PUT", "/a?b=c", 1));
        assert_eq!(h.get("x-a"), Some(&b"1"[..]));
        assert_eq!(h.get("x-b"), Some(&b""[..]));
        assert_eq!(h.get("via"), Some(&b"x"[..]));
        assert_eq!(h.all(Known::Via).collect::<Vec<_>>(), [b"x", b"y"]);
        let mut out = Vec::new();
        h.copy_lines(&mut out, |known, _| known != Known::Via);
        assert_eq!(out, b"Host: a.test\r\nX-A:  1 \r\nX-B: \r\n");
        let h = Head::answer(b"HTTP/1.0 299 Quite fine\r\nA: b\r\n\r\n").unwrap();
        assert_eq!(
            (h.status, h.reason(), h.minor),
            (299, &b"Quite fine"[..], 0)
        );
        for (text, reason) in [
            ("HTTP/1.1 200\r\n\r\n", &b""[..]),
            ("HTTP/1.1 200 \r\n\r\n", b""),
            ("HTTP/1.1 200 sch\u{f6}n\r\n\r\n", "sch\u{f6}n".as_bytes()),
        ] {
            assert_eq!(Head::answer(text.as_bytes()).unwrap().reason(), reason);
        }
    }

    #[test]
    fn hostile_heads() {
        for head in [
            "GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\r\n\tfolded\r\n\r\n",
            "GET / HTTP/1.1\r\n X: a\r\n\r\n",
            "GET / HTTP/1.1\r\nX : a\r\n\r\n",
            "GET / HTTP/1.1\r\nX\t: a\r\n\r\n",
            "GET / HTTP/1.1\r\nX\r\n\r\n",
            "GET / HTTP/1.1\r\n: a\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\rY: b\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\x7fb\r\n\r\n",
            "GET / HTTP/1.1\r\nX(: a\r\n\r\n",
            "GET / HTTP/1.1\r\nX\u{fc}: a\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /  HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET /\x01 HTTP/1.1\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET /#a HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/0.9\r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "G(T / HTTP/1.1\r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert!(Head::request(head.as_bytes()).is_err(), "{head:?}");
        }
        assert!(Head::request(b"GET /\xff HTTP/1.1\r\n\r\n").is_err());
        let many = |n: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(n));
        assert_eq!(
            Head::request(many(1000).as_bytes())
                .unwrap()
                .fields()
                .count(),
            1000
        );
        assert!(Head::request(many(1001).as_bytes()).is_err_and(|f| f.limit));
        let long = |n: usize| format!("GET / HTTP/1.1\r\n{}: b\r\n\r\n", "n".repeat(n));
        assert!(Head::request(long(1000).as_bytes()).is_ok());
        assert!(Head::request(long(1001).as_bytes()).is_err());
        let cookie = |n: usize| format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}\r\n\r\n", "c".repeat(n));
        assert!(Head::answer(cookie(8192).as_bytes()).is_ok());
        assert!(Head::answer(cookie(8193).as_bytes()).is_err_and(|f| f.limit));
        for bad in [
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 a\x01\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        ] {
            assert!(Head::answer(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_head_of_http2_has_the_limits_of_http1() {
        use super::super::scan::REQUEST;
        let asked = |path: &str, fields: &[(&str, String)]| {
            let mut request = http::Request::builder().uri(path);
            for (name, value) in fields {
                request = request.header(*name, value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let checked = Head::of_http2(&parts).check_lines(&REQUEST);
            checked.map_or_else(|fault| fault.status, |()| 200)
        };
        let long = |n: usize| "x".repeat(n);
        let path = |line: usize| format!("/{}", long(line - "GET / HTTP/1.1".len()));
        assert_eq!(asked(&path(8192), &[]), 200);
        assert_eq!(asked(&path(8193), &[]), 414);
        assert_eq!(asked("/", &[("a", long(8189))]), 200);
        assert_eq!(asked("/", &[("a", long(8190))]), 431);
        assert_eq!(asked("/", &[("a", long(8000)), ("b", long(8000))]), 200);
        // pieces of a cookie become one line
        let cookie = || ("cookie", long(4100));
        assert_eq!(asked("/", &[cookie()]), 200);
        assert_eq!(asked("/", &[cookie(), cookie()]), 431);
        assert_eq!(asked("/", &vec![("a", long(1)); 1000]), 200);
        assert_eq!(asked("/", &vec![("a", long(1)); 1001]), 431);
        assert_eq!(asked("/", &[(&long(1000), long(1))]), 200);
        assert_eq!(asked("/", &[(&long(1001), long(1))]), 431);
    }

    #[test]
    fn trailers_cannot_reframe() {
        let map =
            trailers(b"X-Sum: 7\r\nContent-Length: 3\r\nHost: x\r\nGrpc-Status: 0\r\n").unwrap();
        assert_eq!(map.len(), 2);
        assert_eq!(map["x-sum"], "7");
        assert!(trailers(b"X Sum: 7\r\n").is_err());
    }
}
