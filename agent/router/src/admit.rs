//! Is a request one to be served at all, and which app's host and which target does it name?

use crate::headers;
use crate::http1::head::Head;
use crate::http1::name::Known;
use crate::page::Page;
use hokku_model::code::{self, Code};
use http::StatusCode;
use std::borrow::Cow;

/// Why the router answers by itself.
pub(crate) struct Refusal {
    pub page: Page,
    pub code: Option<Code>,
    /// The connection cannot be trusted, or is not worth keeping.
    pub close: bool,
}

impl Refusal {
    pub fn of(code: Code, app: &str) -> Refusal {
        Refusal {
            page: Page::of_code(code, app),
            code: Some(code),
            close: false,
        }
    }

    /// The request itself is at fault.
    pub fn bad(status: u16, text: &str) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Refusal {
            page: Page::refusal(status, text),
            code: Some(code::H26),
            close: true,
        }
    }

    pub fn no_such_app() -> Refusal {
        Refusal {
            page: Page::no_such_app(),
            code: None,
            close: false,
        }
    }
}

/// What a request asks for.
pub(crate) struct Asked<'a> {
    /// Lower case, without port and final dot; empty when an HTTP/1.0 client names none.
    pub host: Cow<'a, str>,
    /// As the client wrote it, where it stood in the target.
    pub authority: Option<&'a str>,
    /// Path and query.
    pub target: Cow<'a, str>,
    /// Where in it the query's question mark is.
    mark: Option<usize>,
    /// The client waits for `100 Continue`.
    pub expects: bool,
}

impl Asked<'_> {
    pub fn path(&self) -> &str {
        self.mark.map_or(&*self.target, |i| &self.target[..i])
    }

    pub fn query(&self) -> Option<&str> {
        self.mark.map(|i| &self.target[i + 1..])
    }
}

/// Authority and the rest of a target in absolute form.
fn absolute(target: &str) -> Option<(&str, &str)> {
    let scheme = ["http://", "https://"].into_iter().find(|s| {
        target
            .get(..s.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(s))
    })?;
    let rest = &target[scheme.len()..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// The authority in a request's target, where there is one, and the rest.
pub(crate) type Seen<'h> = (Option<&'h str>, Cow<'h, str>);

/// The target as it goes to the app, and the authority where it has one.
pub(crate) fn target(head: &Head) -> Option<Seen<'_>> {
    let target = head.target();
    match target.as_bytes().first() {
        Some(b'/') => Some((None, target.into())),
        Some(b'*') if target == "*" && head.is(b"OPTIONS") => Some((None, target.into())),
        _ => {
            let (authority, rest) = absolute(target)?;
            let rest: Cow<'_, str> = match rest.as_bytes().first() {
                Some(b'/') => rest.into(),
                _ => format!("/{rest}").into(),
            };
            Some((Some(authority), rest))
        }
    }
}

/// Looks at a request whose framing is sound. `seen`: what [`target`] gave.
///
/// # Errors
/// The answer, when it is not served.
pub(crate) fn admit<'h>(head: &'h Head, seen: Option<Seen<'h>>) -> Result<Asked<'h>, Refusal> {
    if head.is(b"CONNECT") {
        return Err(Refusal::bad(
            405,
            "CONNECT is not a method this server takes.",
        ));
    }
    let (authority, target) =
        seen.ok_or_else(|| Refusal::bad(400, "The request's target is neither a path nor a URL."))?;
    let named = authority.map(str::as_bytes).or(head.first(Known::Host));
    let host = match named {
        Some(text) => headers::host(text).map_err(|text| Refusal::bad(400, text))?,
        None if head.minor == 0 => Cow::Borrowed(""),
        None => {
            return Err(Refusal::bad(
                400,
                "The request has no Host, so there is no telling which app is meant.",
            ));
        }
    };
    let mut expects = false;
    for value in head.all(Known::Expect) {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::bad(
                417,
                "The only expectation taken is \"100-continue\".",
            ));
        }
        expects = head.minor == 1;
    }
    Ok(Asked {
        host,
        mark: memchr::memchr(b'?', target.as_bytes()),
        authority,
        target,
        expects,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: &str, lines: &str) -> Result<(String, String), u16> {
        let text = format!("{first}\r\n{lines}\r\n");
        let head = Head::request(text.as_bytes()).map_err(|f| f.status)?;
        let asked = admit(&head, target(&head)).map_err(|r| r.page.status.as_u16())?;
        Ok((asked.host.into_owned(), asked.target.into_owned()))
    }

    #[test]
    fn targets() {
        let host = "Host: a.test\r\n";
        for (first, wanted) in [
            ("GET /a?b HTTP/1.1", Ok(("a.test", "/a?b"))),
            ("GET http://b.test/x?y HTTP/1.1", Ok(("b.test", "/x?y"))),
            ("GET HTTP://B.test:81 HTTP/1.1", Ok(("b.test", "/"))),
            ("GET https://b.test?q HTTP/1.1", Ok(("b.test", "/?q"))),
            ("OPTIONS * HTTP/1.1", Ok(("a.test", "*"))),
            ("GET * HTTP/1.1", Err(400)),
            ("GET a.test HTTP/1.1", Err(400)),
            ("GET ftp://a.test/ HTTP/1.1", Err(400)),
            ("GET http:///x HTTP/1.1", Err(400)),
            ("GET http://user@a.test/ HTTP/1.1", Err(400)),
            ("CONNECT a.test:80 HTTP/1.1", Err(405)),
        ] {
            let got = of(first, host);
            let wanted = wanted.map(|(h, t)| (h.to_owned(), t.to_owned()));
            assert_eq!(got, wanted, "{first}");
        }
        assert_eq!(of("GET / HTTP/1.1", ""), Err(400));
        assert_eq!(of("GET / HTTP/1.0", ""), Ok((String::new(), "/".into())));
        assert_eq!(of("GET / HTTP/1.1", "Host: a\r\nExpect: x\r\n"), Err(417));
    }
}
