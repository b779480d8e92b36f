//! A small HTTP/1.1 client that hides nothing: one connection, every byte checked, no retries.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, as they came.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in the body of {} {}", self.status, self.text()))
    }
}

/// A connection that stays open between requests.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

fn bad(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Refused, or not within 10 s.
    pub fn open(to: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream: BufReader::new(stream),
        })
    }

    /// Sends one request.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(
        &mut self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for (n, v) in headers {
            head.push_str(&format!("{n}: {v}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut all = head.into_bytes();
        all.extend(body);
        self.stream.get_mut().write_all(&all)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut l = vec![];
        (&mut self.stream)
            .take(64 * 1024)
            .read_until(b'\n', &mut l)?;
        if !l.ends_with(b"\n") {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed within an answer or before it",
            ));
        }
        Ok(String::from_utf8_lossy(&l).trim_end().to_owned())
    }

    /// Reads the status line and the headers of an answer.
    ///
    /// # Errors
    /// The connection broke, or it is no HTTP.
    pub fn head(&mut self) -> io::Result<Response> {
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .ok_or_else(|| bad(format!("{first:?} is no status line")))?;
        let mut headers = vec![];
        loop {
            let l = self.line()?;
            if l.is_empty() {
                break;
            }
            let (n, v) = l.split_once(':').ok_or_else(|| bad(&l))?;
            headers.push((n.to_owned(), v.trim().to_owned()));
        }
        Ok(Response {
            status,
            headers,
            body: vec![],
        })
    }

    /// Reads one chunk of a chunked body; empty at its end.
    ///
    /// # Errors
    /// The connection broke, or it is no chunk.
    pub fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let l = self.line()?;
        let n = usize::from_str_radix(l.split(';').next().unwrap_or(""), 16).map_err(bad)?;
        let mut chunk = vec![0; n];
        self.stream.read_exact(&mut chunk)?;
        self.line()?;
        Ok(chunk)
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// The connection broke, or it is no HTTP.
    pub fn receive(&mut self, method: &str) -> io::Result<Response> {
        let mut r = self.head()?;
        if method == "HEAD" || r.status == 204 || r.status == 304 || r.status < 200 {
            return Ok(r);
        }
        if r.header("transfer-encoding")
            .is_some_and(|t| t.contains("chunked"))
        {
            loop {
                let c = self.chunk()?;
                if c.is_empty() {
                    break;
                }
                r.body.extend(c);
            }
        } else if let Some(n) = r.header("content-length") {
            let n = n.parse().map_err(bad)?;
            r.body = vec![0; n];
            self.stream.read_exact(&mut r.body)?;
        } else {
            self.stream.read_to_end(&mut r.body)?;
        }
        Ok(r)
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// The connection broke, or it is no HTTP.
    pub fn ask(
        &mut self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        self.send(method, host, path, headers, body)?;
        self.receive(method)
    }
}
