//! Is a request's head framed so that every reader sees the same message? What is not is refused here, because after
//! parsing the difference is gone: of two lengths only one is left (RFC 9112, sections 2.2, 3 and 6.3).

use http::{HeaderMap, header};
use memchr::memchr_iter;

/// Where the head ends: just after the empty line.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    let start = skip_empty_lines(bytes);
    let mut line = start;
    for end in memchr_iter(b'\n', &bytes[start..]).map(|i| i + start) {
        if matches!(&bytes[line..end], b"" | b"\r") {
            return Some(end + 1);
        }
        line = end + 1;
    }
    None
}

fn skip_empty_lines(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count()
}

/// Why the raw head must be refused, if it must.
pub(crate) fn fault_of_head(head: &[u8]) -> Option<&'static str> {
    let head = &head[skip_empty_lines(head)..];
    let (mut lengths, mut encodings, mut start) = (0, 0, 0);
    for end in memchr_iter(b'\n', head) {
        let line = &head[start..end];
        start = end + 1;
        let Some((b'\r', line)) = line.split_last() else {
            return Some("A line of the request's head ends in a bare line feed.");
        };
        if line.contains(&b'\r') {
            return Some("There is a bare carriage return in the request's head.");
        }
        match line.first() {
            Some(b'c' | b'C') if has_name(line, b"content-length") => lengths += 1,
            Some(b't' | b'T') if has_name(line, b"transfer-encoding") => encodings += 1,
            _ => {}
        }
    }
    match (lengths, encodings) {
        (1.., 1..) => Some("The request has both Content-Length and Transfer-Encoding."),
        (2.., _) => Some("The request has more than one Content-Length."),
        (_, 2..) => Some("The request has more than one Transfer-Encoding."),
        _ => None,
    }
}

fn has_name(line: &[u8], name: &[u8]) -> bool {
    line.len() > name.len()
        && line[name.len()] == b':'
        && line[..name.len()].eq_ignore_ascii_case(name)
}

/// Why the parsed headers must be refused, if they must.
pub(crate) fn fault_of_headers(headers: &HeaderMap) -> Option<&'static str> {
    if let Some(te) = headers.get(header::TRANSFER_ENCODING)
        && !te.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
    {
        return Some("The only Transfer-Encoding taken is \"chunked\".");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    if hosts.next().is_some() && hosts.next().is_some() {
        return Some("The request has more than one Host.");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads() {
        for (head, fine) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", true),
            (
                "POST / HTTP/1.1\r\nX-Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
                true,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
                false,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
                false,
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nCONTENT-LENGTH: 3\r\n\r\n",
                false,
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", false),
        ] {
            assert_eq!(fault_of_head(head.as_bytes()).is_none(), fine, "{head:?}");
            assert_eq!(head_end(head.as_bytes()), Some(head.len()), "{head:?}");
        }
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nbody\r\n\r\n"), Some(18));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(b in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..64)) {
            let _ = (head_end(&b), fault_of_head(&b));
        }
    }
}
