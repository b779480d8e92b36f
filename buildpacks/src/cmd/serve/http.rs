//! HTTP/1.1 on a socket: requests with bounded heads and bodies, answers with known lengths.

use super::answer::{Answer, Body};
use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    net::TcpStream,
};

/// The most bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;
/// The most bytes of a body that is read and thrown away to keep the connection.
const MAX_BODY: u64 = 1 << 20;

/// A request as far as files care.
#[derive(Debug)]
pub struct Request {
    /// Only the head of the answer is wanted.
    pub head: bool,
    /// The target as it came, with its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The client wants the connection closed after the answer.
    pub close: bool,
    /// GET or HEAD.
    pub method_allowed: bool,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.as_str())
    }
}

/// One connection.
pub struct Connection<'a> {
    stream: &'a TcpStream,
    buf: Vec<u8>,
}

impl<'a> Connection<'a> {
    /// Around a socket.
    pub fn new(stream: &'a TcpStream) -> Connection<'a> {
        Connection {
            stream,
            buf: Vec::new(),
        }
    }

    /// The next request; `None` at the end of the connection; a status when it can't be understood.
    pub fn request(&mut self) -> io::Result<Option<Result<Request, u16>>> {
        let end = loop {
            // blank lines before a request are to be skipped (RFC 9112, 2.2)
            while self.buf.starts_with(b"\r\n") {
                self.buf.drain(..2);
            }
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if self.buf.len() > MAX_HEAD {
                return Ok(Some(Err(431)));
            }
            let mut chunk = [0; 4096];
            let n = (&mut &*self.stream).read(&mut chunk)?;
            if n == 0 {
                return Ok(None);
            }
            self.buf.extend_from_slice(&chunk[..n]);
        };
        let head: Vec<u8> = self.buf.drain(..end + 4).collect();
        let (request, body) = match parse(&head[..end]) {
            Ok(r) => r,
            Err(status) => return Ok(Some(Err(status))),
        };
        if body > MAX_BODY {
            return Ok(Some(Err(413)));
        }
        let mut left = body as usize;
        let have = left.min(self.buf.len());
        self.buf.drain(..have);
        left -= have;
        io::copy(&mut (&mut &*self.stream).take(left as u64), &mut io::sink())?;
        Ok(Some(Ok(request)))
    }

    /// Sends an answer.
    pub fn send(&mut self, answer: Answer, head_only: bool, last: bool) -> io::Result<()> {
        let mut stream = self.stream;
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        for (k, v) in &answer.headers {
            head += &format!("{k}: {v}\r\n");
        }
        let len = answer.body.len();
        if answer.status != 304 {
            head += &format!("Content-Length: {len}\r\n");
        }
        if last {
            head += "Connection: close\r\n";
        }
        head += "\r\n";
        if head_only || answer.status == 304 {
            return stream.write_all(head.as_bytes());
        }
        match answer.body {
            Body::Text(t) => {
                head += &t;
                stream.write_all(head.as_bytes())
            }
            Body::File {
                mut file,
                from,
                len,
            } => {
                stream.write_all(head.as_bytes())?;
                file.seek(SeekFrom::Start(from))?;
                let sent = io::copy(&mut file.take(len), &mut stream)?;
                if sent == len {
                    Ok(())
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
            }
        }
    }
}

fn parse(head: &[u8]) -> Result<(Request, u64), u16> {
    let text = std::str::from_utf8(head).map_err(|_| 400u16)?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some(version), None) =
        (first.next(), first.next(), first.next(), first.next())
    else {
        return Err(400);
    };
    let old = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(505),
    };
    let mut headers = vec![];
    for l in lines {
        let (k, v) = l.split_once(':').ok_or(400u16)?;
        if k.is_empty() || k.contains([' ', '\t']) || headers.len() >= 200 {
            return Err(400);
        }
        headers.push((k.to_ascii_lowercase(), v.trim().to_owned()));
    }
    let get = |n: &str| {
        headers
            .iter()
            .find(|(k, _)| k == n)
            .map(|(_, v)| v.as_str())
    };
    if get("transfer-encoding").is_some() {
        return Err(411);
    }
    let lengths: Vec<&str> = headers
        .iter()
        .filter(|(k, _)| k == "content-length")
        .map(|(_, v)| v.as_str())
        .collect();
    let body = match lengths[..] {
        [] => 0,
        [l] if !l.is_empty() && l.bytes().all(|b| b.is_ascii_digit()) => {
            l.parse().map_err(|_| 413u16)?
        }
        _ => return Err(400),
    };
    let connection = get("connection").unwrap_or_default().to_ascii_lowercase();
    let close = connection.split(',').any(|t| t.trim() == "close")
        || (old && !connection.contains("keep-alive"));
    let path = match path.split_once("://") {
        Some((_, rest)) if !path.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => path,
    };
    Ok((
        Request {
            head: method == "HEAD",
            path: path.to_owned(),
            close,
            method_allowed: matches!(method, "GET" | "HEAD"),
            headers,
        },
        body,
    ))
}

/// The words of a status.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads() {
        let (r, body) = parse(
            b"HEAD http://x/a?b HTTP/1.1\r\nHost: x\r\nConnection: Close\r\nContent-Length: 3",
        )
        .unwrap();
        assert!(r.head && r.close && r.path == "/a?b" && body == 3);
        for (h, status) in [
            (&b"GET /"[..], 400),
            (b"GET / HTTP/2.0", 505),
            (b"GET / HTTP/1.1\r\nno colon", 400),
            (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked", 411),
            (
                b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
                400,
            ),
            (b"GET / HTTP/1.1\r\nContent-Length: +1", 400),
            (b"GET / HTTP/1.1\r\nA : b", 400),
            (b"\xff / HTTP/1.1", 400),
        ] {
            assert_eq!(parse(h).unwrap_err(), status);
        }
    }

    proptest! {
        #[test]
        fn any_head_is_read_or_refused(b in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&b);
        }
    }
}
