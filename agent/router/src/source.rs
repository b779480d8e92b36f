//! A body on its way in: a client's upload or an app's answer, over HTTP/1.1 or HTTP/2.

use crate::buffers::{Buf, LARGE, MEDIUM};
use crate::http1::body::Left;
use crate::http1::framing::Framing;
use crate::http1::head;
use crate::io::Io;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Incoming};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of later requests that are taken while one runs.
const PIPELINED: usize = 32 * 1024;

/// Why a body will not become whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The connection or the stream ended.
    Lost,
    /// Its chunks are not formed as they have to be.
    Malformed,
}

/// A body to be read.
pub(crate) enum Source<'a> {
    H1(H1<'a>),
    H2(H2),
}

/// A body on an HTTP/1.1 connection.
pub(crate) struct H1<'a> {
    io: &'a Io,
    buf: Buf,
    left: Left,
    ready: (usize, usize),
    /// How much memory it may be read into.
    most: usize,
    trailers: Option<Box<HeaderMap>>,
    /// The last read filled all there was room for.
    full: bool,
}

/// A body on an HTTP/2 stream.
pub(crate) struct H2 {
    body: Incoming,
    piece: Bytes,
    trailers: Option<Box<HeaderMap>>,
    over: bool,
}

impl<'a> Source<'a> {
    /// A client's body; `buf`: what was read after the head.
    pub fn upload(io: &'a Io, buf: Buf, framing: Framing) -> Source<'a> {
        Source::h1(io, buf, framing, MEDIUM)
    }

    /// An app's body; `buf`: what was read after the head.
    pub fn answer(io: &'a Io, buf: Buf, framing: Framing) -> Source<'a> {
        Source::h1(io, buf, framing, LARGE)
    }

    fn h1(io: &'a Io, buf: Buf, framing: Framing, most: usize) -> Source<'a> {
        Source::H1(H1 {
            io,
            buf,
            left: Left::of(framing),
            ready: (0, 0),
            most,
            trailers: None,
            full: false,
        })
    }

    pub fn h2(body: Incoming) -> Source<'static> {
        Source::H2(H2 {
            over: body.is_end_stream(),
            body,
            piece: Bytes::new(),
            trailers: None,
        })
    }

    /// Waits for bytes: true when there are some in [`Source::data`], false at the body's end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        match self {
            Source::H1(s) => s.poll_data(cx),
            Source::H2(s) => s.poll_data(cx),
        }
    }

    /// The bytes that are there.
    pub fn data(&self) -> &[u8] {
        match self {
            Source::H1(s) => s.buf.at(s.ready.0, s.ready.1),
            Source::H2(s) => &s.piece,
        }
    }

    /// So many of them were used.
    pub fn consume(&mut self, n: usize) {
        match self {
            Source::H1(s) => s.ready.0 = (s.ready.0 + n).min(s.ready.1),
            Source::H2(s) => drop(s.piece.split_to(n.min(s.piece.len()))),
        }
    }

    /// Does nothing come after [`Source::data`]? Trailers are known then.
    pub fn is_last(&self) -> bool {
        match self {
            Source::H1(s) => matches!(s.left, Left::Nothing),
            Source::H2(s) => s.over || s.body.is_end_stream(),
        }
    }

    /// Was everything read and used?
    pub fn is_over(&self) -> bool {
        self.is_last() && self.data().is_empty()
    }

    /// Bytes that are still to be used, where that is known.
    pub fn length(&self) -> Option<u64> {
        let here = self.data().len() as u64;
        match self {
            Source::H1(s) => s.left.length().map(|n| n + here),
            Source::H2(s) if s.over => Some(here),
            Source::H2(s) => s.body.size_hint().exact().map(|n| n + here),
        }
    }

    /// The lines after the body.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        match self {
            Source::H1(s) => s.trailers.as_deref(),
            Source::H2(s) => s.trailers.as_deref(),
        }
    }

    /// After the body: ready when the sender is gone. What comes of its next message is kept.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Source::H1(s) => loop {
                if s.buf.data().len() >= PIPELINED {
                    return Poll::Pending;
                }
                // most clients say nothing before they have the answer: no memory is held for that
                s.buf.release();
                match ready!(s.io.poll_fill(cx, &mut s.buf)) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Poll::Ready(()),
                }
            },
            // hyper drops what belongs to the stream
            Source::H2(_) => Poll::Pending,
        }
    }

    /// What was read beyond the body.
    pub fn rest(self) -> Buf {
        match self {
            Source::H1(s) => s.buf,
            Source::H2(_) => Buf::default(),
        }
    }
}

impl H1<'_> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        loop {
            if self.ready.0 < self.ready.1 {
                return Poll::Ready(Ok(true));
            }
            if let Left::Nothing = self.left {
                return Poll::Ready(Ok(false));
            }
            if !self.buf.is_empty() {
                let mut trailers = Vec::new();
                self.ready = self
                    .left
                    .take(&mut self.buf, &mut trailers)
                    .map_err(|_| Broken::Malformed)?;
                if !trailers.is_empty() {
                    let map = head::trailers(&trailers).map_err(|_| Broken::Malformed)?;
                    self.trailers = Some(Box::new(map));
                }
                continue;
            }
            // long bodies are read in larger pieces
            if self.full
                && self.buf.size() < self.most
                && self.left.length().is_none_or(|n| n > LARGE as u64 / 4)
            {
                self.buf.grow_to(self.most);
            }
            match ready!(self.io.poll_fill(cx, &mut self.buf)) {
                Ok(0) if matches!(self.left, Left::UntilClose) => self.left = Left::Nothing,
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Lost)),
                Ok(_) => self.full = self.buf.room().is_empty(),
            }
        }
    }
}

impl H2 {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        loop {
            if !self.piece.is_empty() {
                return Poll::Ready(Ok(true));
            }
            if self.over {
                return Poll::Ready(Ok(false));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok().map(Box::new);
                        self.over = true;
                    }
                },
                Some(Err(_)) => return Poll::Ready(Err(Broken::Lost)),
                None => self.over = true,
            }
        }
    }
}
