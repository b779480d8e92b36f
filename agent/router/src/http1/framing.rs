//! How a message's body is framed, judged so that every reader comes to the same end (RFC 9112, section 6).

use super::head::Head;
use super::name::Known;
use super::scan::Fault;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunks,
    /// Until the connection ends: answers only.
    UntilClose,
}

/// The framing that the fields tell, the same for requests and answers.
fn told(head: &Head) -> Result<Framing, Fault> {
    if !head.has_any([Known::ContentLength, Known::TransferEncoding]) {
        return Ok(Framing::Nothing);
    }
    let (mut length, mut chunked) = (None, false);
    for f in head.fields() {
        match f.known {
            Known::ContentLength => {
                if length.is_some() {
                    return Err(Fault::form("There is more than one Content-Length."));
                }
                length = Some(
                    number(f.value)
                        .ok_or(Fault::form("The Content-Length is not a plain number."))?,
                );
            }
            Known::TransferEncoding => {
                if chunked {
                    return Err(Fault::form("There is more than one Transfer-Encoding."));
                }
                if !f.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::form(
                        "The only Transfer-Encoding taken is \"chunked\".",
                    ));
                }
                if head.minor == 0 {
                    return Err(Fault::form("HTTP/1.0 knows no Transfer-Encoding."));
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(Fault::form(
            "There are both Content-Length and Transfer-Encoding.",
        )),
        (Some(n), false) => Ok(Framing::Length(n)),
        (None, true) => Ok(Framing::Chunks),
        (None, false) => Ok(Framing::Nothing),
    }
}

/// How a request is framed.
///
/// # Errors
/// When readers could come to different ends, or when it has two Hosts.
pub(crate) fn of_request(head: &Head) -> Result<Framing, Fault> {
    if head.all(Known::Host).nth(1).is_some() {
        return Err(Fault::form("The request has more than one Host."));
    }
    told(head)
}

/// How an answer is framed. `to_head`: the request's method was HEAD.
///
/// # Errors
/// When readers could come to different ends.
pub(crate) fn of_answer(head: &Head, to_head: bool) -> Result<Framing, Fault> {
    let told = told(head)?;
    if to_head || matches!(head.status, 100..200 | 204 | 304) {
        return Ok(Framing::Nothing);
    }
    Ok(match told {
        Framing::Nothing => Framing::UntilClose,
        other => other,
    })
}

/// Digits and nothing else, at most 18 of them.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &str) -> Option<Framing> {
        let text = format!("POST / HTTP/1.1\r\n{lines}\r\n");
        of_request(&Head::request(text.as_bytes()).ok()?).ok()
    }

    fn answer(status: u16, lines: &str) -> Option<Framing> {
        let text = format!("HTTP/1.1 {status} X\r\n{lines}\r\n");
        of_answer(&Head::answer(text.as_bytes()).ok()?, false).ok()
    }

    #[test]
    fn framings() {
        for (lines, framing) in [
            ("", Some(Framing::Nothing)),
            ("Content-Length: 3\r\n", Some(Framing::Length(3))),
            ("content-length:003 \r\n", Some(Framing::Length(3))),
            ("Transfer-Encoding: chunked\r\n", Some(Framing::Chunks)),
            ("TRANSFER-ENCODING: CHUNKED\r\n", Some(Framing::Chunks)),
            (
                "X-Content-Length: 3\r\nContent-Length: 3\r\n",
                Some(Framing::Length(3)),
            ),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", None),
            ("Content-Length: 3\r\nContent-Length: 4\r\n", None),
            ("Content-Length: 3, 3\r\n", None),
            ("Content-Length: +3\r\n", None),
            ("Content-Length: -3\r\n", None),
            ("Content-Length: 0x3\r\n", None),
            ("Content-Length: 3 3\r\n", None),
            ("Content-Length: \r\n", None),
            ("Content-Length: 9999999999999999999\r\n", None),
            ("Content-Length: 18446744073709551617\r\n", None),
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", None),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", None),
            ("Transfer-Encoding: gzip, chunked\r\n", None),
            ("Transfer-Encoding: chunked, identity\r\n", None),
            ("Transfer-Encoding: chunked, chunked\r\n", None),
            ("Transfer-Encoding: identity\r\n", None),
            ("Transfer-Encoding: xchunked\r\n", None),
            ("Transfer-Encoding: \"chunked\"\r\n", None),
            ("Transfer-Encoding: chunked;q=1\r\n", None),
            ("Transfer-Encoding: \x0bchunked\r\n", None),
            (
                "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
                None,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                None,
            ),
            ("Host: a\r\nHost: a\r\n", None),
            ("Host: a\r\nhost: b\r\n", None),
        ] {
            assert_eq!(request(lines), framing, "{lines:?}");
        }
        let old = Head::request(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert!(of_request(&old).is_err());
        for (status, lines, framing) in [
            (200, "", Some(Framing::UntilClose)),
            (200, "Content-Length: 0\r\n", Some(Framing::Length(0))),
            (200, "Transfer-Encoding: chunked\r\n", Some(Framing::Chunks)),
            (204, "Content-Length: 7\r\n", Some(Framing::Nothing)),
            (
                304,
                "Transfer-Encoding: chunked\r\n",
                Some(Framing::Nothing),
            ),
            (200, "Content-Length: 1\r\nContent-Length: 1\r\n", None),
            (
                200,
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                None,
            ),
            (200, "Transfer-Encoding: gzip, chunked\r\n", None),
        ] {
            assert_eq!(answer(status, lines), framing, "{status} {lines:?}");
        }
    }
}
