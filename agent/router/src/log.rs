//! One line per request in Heroku's Router 2.0 form, gathered per thread and handed over in batches.
//!
//! The serving threads never touch a file: when the writer is behind, batches are dropped and counted.

use crate::clock::{self, Stamp};
use foldhash::fast::RandomState;
use hokku_model::AppId;
use hokku_model::code::{self, Code};
use std::collections::HashMap;
use std::io::Write;
use std::sync::mpsc::{SyncSender, TrySendError};

/// A thread hands its lines over when it has gathered so many bytes, or at the next tick.
const BATCH: usize = 64 * 1024;

/// What a line tells. Missing figures stay empty, as Heroku's do.
pub(crate) struct Line<'a> {
    pub code: Option<Code>,
    /// `backend` or `client`: who broke off.
    pub sock: Option<&'static str>,
    pub method: &'a [u8],
    pub path: &'a [u8],
    pub host: &'a [u8],
    pub request_id: &'a [u8],
    pub fwd: &'a [u8],
    pub dyno: &'a str,
    /// Milliseconds.
    pub connect: Option<u64>,
    /// Milliseconds.
    pub service: Option<u64>,
    pub status: u16,
    pub bytes: u64,
    /// `http1.0`, `http1.1`, `http2.0`.
    pub protocol: &'static str,
    /// It came over TLS, to us or to a trusted peer before us.
    pub https: bool,
    /// `tls1.2` or `tls1.3`; `None`: TLS ended elsewhere, or there was none.
    pub tls_version: Option<&'static str>,
}

impl Line<'_> {
    /// Appends the line, with its end, to `out`.
    pub fn write(&self, out: &mut Vec<u8>, stamp: &mut Stamp, micros: i64) {
        out.reserve(320 + self.path.len() + self.host.len() + self.fwd.len());
        stamp.write(out, micros);
        out.extend_from_slice(b" heroku[router]: at=");
        let level = match self.code {
            None => "info",
            Some(c) if c == code::H80 || c == code::H81 => "info",
            Some(c) if c == code::H27 || c == code::H28 => "warning",
            Some(_) => "error",
        };
        out.extend_from_slice(level.as_bytes());
        // writing to a Vec cannot fail
        if let Some(c) = self.code {
            let _ = write!(out, " code={} desc=\"{}\"", c.code, c.desc);
        }
        if let Some(sock) = self.sock {
            let _ = write!(out, " sock={sock}");
        }
        out.extend_from_slice(b" method=");
        bare(out, self.method);
        out.extend_from_slice(b" path=\"");
        quoted(out, self.path);
        out.extend_from_slice(b"\" host=");
        bare(out, self.host);
        out.extend_from_slice(b" request_id=");
        bare(out, self.request_id);
        out.extend_from_slice(b" fwd=\"");
        quoted(out, self.fwd);
        out.extend_from_slice(b"\" dyno=");
        out.extend_from_slice(self.dyno.as_bytes());
        out.extend_from_slice(b" connect=");
        if let Some(ms) = self.connect {
            number(out, ms);
            out.extend_from_slice(b"ms");
        }
        out.extend_from_slice(b" service=");
        if let Some(ms) = self.service {
            number(out, ms);
            out.extend_from_slice(b"ms");
        }
        out.extend_from_slice(b" status=");
        number(out, u64::from(self.status));
        out.extend_from_slice(b" bytes=");
        number(out, self.bytes);
        out.extend_from_slice(b" protocol=");
        out.extend_from_slice(self.protocol.as_bytes());
        if self.https {
            out.extend_from_slice(b" tls=true tls_version=");
            out.extend_from_slice(self.tls_version.unwrap_or("unknown").as_bytes());
            out.push(b'\n');
        } else {
            out.extend_from_slice(b" tls=false\n");
        }
    }
}

fn number(out: &mut Vec<u8>, n: u64) {
    match n {
        0..10 => out.push(b'0' + n as u8),
        _ => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
    }
}

/// Not to be written inside quotes as it is.
const ODD: u8 = 1;
/// Not to be written without quotes.
const UNFIT: u8 = 2;

/// What each byte is to a field.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        let quotes = c == b'"' || c == b'\\';
        if c < b' ' || c == 0x7f || quotes {
            kinds[b] |= ODD;
        }
        if !c.is_ascii_graphic() || quotes {
            kinds[b] |= UNFIT;
        }
        b += 1;
    }
    kinds
};

/// Is one of the bytes of this kind?
fn has(text: &[u8], kind: u8) -> bool {
    let kinds = text.iter().fold(0, |all, b| all | KINDS[usize::from(*b)]);
    kinds & kind != 0
}

/// Inside quotes: no quote, no line end can end the field early.
fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    if !has(text, ODD) {
        return out.extend_from_slice(text);
    }
    for b in text {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *b]),
            0..=0x1f | 0x7f => out.push(b'?'),
            _ => out.push(*b),
        }
    }
}

/// Without quotes: nothing that would begin another field.
fn bare(out: &mut Vec<u8>, text: &[u8]) {
    if !has(text, UNFIT) {
        return out.extend_from_slice(text);
    }
    let fit = |b: &u8| {
        if KINDS[usize::from(*b)] & UNFIT == 0 {
            *b
        } else {
            b'?'
        }
    };
    out.extend(text.iter().map(fit));
}

/// Lines for one file.
pub(crate) struct Batch {
    /// `None`: requests that belong to no app.
    pub app: Option<AppId>,
    pub bytes: Vec<u8>,
    pub lines: u64,
    /// Lines dropped since the last batch of this app from this thread.
    pub lost: u64,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    lines: u64,
    lost: u64,
}

/// A thread's lines that the writer does not have yet.
pub(crate) struct Lines {
    by_app: HashMap<Option<AppId>, Gathered, RandomState>,
    size: usize,
    stamp: Stamp,
    writer: SyncSender<Vec<Batch>>,
}

impl Lines {
    pub fn new(writer: SyncSender<Vec<Batch>>) -> Lines {
        Lines {
            by_app: HashMap::default(),
            size: 0,
            stamp: Stamp::new(),
            writer,
        }
    }

    /// Adds a line to the app's log.
    pub fn add(&mut self, app: Option<AppId>, line: &Line<'_>) {
        let to = self.by_app.entry(app).or_default();
        let before = to.bytes.len();
        line.write(&mut to.bytes, &mut self.stamp, clock::wall_micros());
        to.lines += 1;
        self.size += to.bytes.len() - before;
        if self.size >= BATCH {
            self.hand_over();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Gives everything gathered to the writer as one message, however many apps it is of; never waits.
    pub fn hand_over(&mut self) {
        let mut all = Vec::with_capacity(self.by_app.len().min(256));
        for (app, g) in &mut self.by_app {
            if g.lines > 0 {
                all.push(Batch {
                    app: *app,
                    bytes: std::mem::take(&mut g.bytes),
                    lines: std::mem::take(&mut g.lines),
                    lost: std::mem::take(&mut g.lost),
                });
            }
        }
        self.size = 0;
        if all.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(all) | TrySendError::Disconnected(all)) =
            self.writer.try_send(all)
        {
            for b in all {
                self.by_app.entry(b.app).or_default().lost = b.lost + b.lines;
            }
        }
        if self.by_app.len() > 4096 {
            self.by_app.retain(|_, g| g.lost > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line() -> Line<'static> {
        Line {
            code: None,
            sock: None,
            method: b"GET",
            path: b"/a?b=c",
            host: b"my-app.example.com",
            request_id: b"0123456789abcdef0123",
            fwd: b"203.0.113.9",
            dyno: "web.1",
            connect: Some(0),
            service: Some(18),
            status: 200,
            bytes: 13,
            protocol: "http1.1",
            https: false,
            tls_version: None,
        }
    }

    fn text(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        line.write(&mut out, &mut Stamp::new(), 1_764_000_000_000_042);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn golden() {
        assert_eq!(
            text(&line()),
            "2025-11-24T16:00:00.000042+00:00 heroku[router]: at=info method=GET path=\"/a?b=c\" \
             host=my-app.example.com request_id=0123456789abcdef0123 fwd=\"203.0.113.9\" dyno=web.1 connect=0ms \
             service=18ms status=200 bytes=13 protocol=http1.1 tls=false\n"
        );
        let failed = Line {
            code: Some(code::H12),
            service: Some(30000),
            status: 503,
            bytes: 0,
            https: true,
            tls_version: Some("tls1.3"),
            ..line()
        };
        assert_eq!(
            text(&failed),
            "2025-11-24T16:00:00.000042+00:00 heroku[router]: at=error code=H12 desc=\"Request timeout\" method=GET \
             path=\"/a?b=c\" host=my-app.example.com request_id=0123456789abcdef0123 fwd=\"203.0.113.9\" dyno=web.1 \
             connect=0ms service=30000ms status=503 bytes=0 protocol=http1.1 tls=true tls_version=tls1.3\n"
        );
        let gone = Line {
            code: Some(code::H27),
            sock: Some("client"),
            dyno: "",
            connect: None,
            service: None,
            ..line()
        };
        assert!(text(&gone).contains(
            " at=warning code=H27 desc=\"Client Request Interrupted\" sock=client method=GET path="
        ));
        assert!(text(&gone).contains(" dyno= connect= service= status=200 "));
        for (code, level) in [
            (
                code::H28,
                "at=warning code=H28 desc=\"Client Connection Idle\" ",
            ),
            (code::H80, "at=info code=H80 desc=\"Maintenance mode\" "),
            (code::H81, "at=info code=H81 desc=\"Blank app\" "),
            (code::H99, "at=error code=H99 desc=\"Platform error\" "),
        ] {
            let line = Line {
                code: Some(code),
                ..line()
            };
            assert!(text(&line).contains(level), "{}", text(&line));
        }
        let over_tls = Line {
            https: true,
            tls_version: Some("tls1.3"),
            protocol: "http2.0",
            ..line()
        };
        assert!(
            text(&over_tls).ends_with(" protocol=http2.0 tls=true tls_version=tls1.3\n"),
            "{}",
            text(&over_tls)
        );
    }

    #[test]
    fn a_full_writer_costs_lines_but_no_time() {
        let (writer, reader) = std::sync::mpsc::sync_channel(1);
        let mut lines = Lines::new(writer);
        for _ in 0..3 {
            lines.add(None, &line());
            lines.add(None, &line());
            lines.hand_over();
        }
        assert_eq!(reader.recv().unwrap()[0].lines, 2);
        lines.add(None, &line());
        lines.hand_over();
        let later = &reader.recv().unwrap()[0];
        assert_eq!((later.lines, later.lost), (1, 4));
    }

    proptest! {
        #[test]
        fn no_field_breaks_out_of_its_place(path: Vec<u8>, host: Vec<u8>, fwd: Vec<u8>) {
            let t = Line { path: &path, host: &host, fwd: &fwd, ..line() };
            let mut out = Vec::new();
            t.write(&mut out, &mut Stamp::new(), 0);
            prop_assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
            let shown = String::from_utf8_lossy(&out).into_owned();
            let mut open = false;
            let mut escaped = false;
            let mut fields = 1;
            for c in shown.trim_end().chars() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => open = !open,
                    ' ' if !open => fields += 1,
                    _ => {}
                }
            }
            prop_assert!(!open);
            prop_assert_eq!(fields, 15, "{}", shown);
        }
    }
}
