//! The client's side of one request: how its answer is begun, over HTTP/1 or HTTP/2.

use crate::http1::head::Head;
use crate::http1::name::Known;
use crate::io::Io;
use crate::outgoing::Outgoing;
use crate::sink::{Frames, Sink};
use crate::slot::{self, Taker};
use http::{HeaderMap, Response, StatusCode};
use std::cell::Cell;
use std::io::IoSlice;
use tokio::sync::oneshot;

/// Where the answer goes.
enum To<'a> {
    H1(&'a Io),
    H2(Cell<Option<oneshot::Sender<Response<Taker>>>>),
}

/// The client's side of one request.
pub(crate) struct Front<'a> {
    to: To<'a>,
    minor: u8,
    /// May another request follow on the connection?
    keep: Cell<bool>,
}

impl<'a> Front<'a> {
    /// An HTTP/1 client. `keep`: it wants to send more requests.
    pub fn h1(io: &'a Io, minor: u8, keep: bool) -> Front<'a> {
        Front {
            to: To::H1(io),
            minor,
            keep: Cell::new(keep),
        }
    }

    /// An HTTP/2 client, whose answer is expected there.
    pub fn h2(tell: oneshot::Sender<Response<Taker>>) -> Front<'static> {
        Front {
            to: To::H2(Cell::new(Some(tell))),
            minor: 2,
            keep: Cell::new(true),
        }
    }

    /// The connection ends with this answer.
    pub fn close(&self) {
        self.keep.set(false);
    }

    pub fn keeps(&self) -> bool {
        self.keep.get()
    }

    /// Begins an answer's head.
    pub fn lines(&self, status: u16, reason: &[u8]) -> Outgoing {
        match self.to {
            To::H2(_) => Outgoing::Map(HeaderMap::new()),
            To::H1(_) => {
                let version: &[u8] = if self.minor == 0 {
                    b"HTTP/1.0 "
                } else {
                    b"HTTP/1.1 "
                };
                Outgoing::text([
                    version,
                    itoa::Buffer::new().format(status).as_bytes(),
                    b" ",
                    reason,
                ])
            }
        }
    }

    /// Ends the head. `length` is told as `Content-Length`; `body`: bytes follow.
    pub fn start(
        &self,
        mut out: Outgoing,
        status: u16,
        length: Option<u64>,
        body: bool,
    ) -> Sink<'a> {
        let length = length.filter(|_| status != 204);
        if let Some(n) = length {
            out.put_number("content-length", n);
        }
        match (&self.to, out) {
            (To::H1(io), Outgoing::Text(mut text)) => {
                let frames = match (body, length) {
                    (false, _) => Frames::None,
                    (true, Some(_)) => Frames::Plain,
                    (true, None) if self.minor == 0 => {
                        self.keep.set(false);
                        Frames::Plain
                    }
                    (true, None) => {
                        text.extend_from_slice(b"transfer-encoding: chunked\r\n");
                        Frames::Chunks
                    }
                };
                match (self.minor, self.keep.get()) {
                    (0, true) => text.extend_from_slice(b"connection: keep-alive\r\n"),
                    (1.., false) => text.extend_from_slice(b"connection: close\r\n"),
                    _ => {}
                }
                text.extend_from_slice(b"\r\n");
                Sink::h1(io, text, frames)
            }
            (To::H2(tell), out) => {
                let (giver, taker) = slot::pair();
                if !body {
                    giver.end();
                }
                let mut response = Response::new(taker);
                *response.status_mut() =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                if let Outgoing::Map(map) = out {
                    *response.headers_mut() = map;
                }
                if let Some(tell) = tell.take() {
                    // a client that is gone has dropped the other end: the sink will tell
                    let _ = tell.send(response);
                }
                Sink::H2(giver)
            }
            // heads come from `lines`, which makes the right kind
            (To::H1(io), Outgoing::Map(_)) => Sink::h1(io, Vec::new(), Frames::None),
        }
    }

    /// Passes an interim answer on to a client that understands it.
    pub async fn interim(&self, head: &Head) {
        if let To::H1(io) = self.to
            && self.minor == 1
        {
            let mut out = self.lines(head.status, head.reason());
            out.copy(head, |f| {
                !f.known.is_hop_by_hop() && f.known != Known::ContentLength
            });
            self.write(io, out).await;
        }
    }

    /// Passes on that the protocol changes; true when the client has got it.
    pub async fn switch(&self, head: &Head) -> bool {
        let To::H1(io) = self.to else { return false };
        let mut out = self.lines(head.status, head.reason());
        out.copy(head, |f| {
            !f.known.is_hop_by_hop() && !matches!(f.known, Known::ContentLength | Known::Via)
        });
        out.put("connection", b"upgrade");
        if let Some(protocol) = head.first(Known::Upgrade) {
            out.put("upgrade", protocol);
        }
        out.put("via", b"1.1 hokku-router");
        self.write(io, out).await
    }

    async fn write(&self, io: &Io, out: Outgoing) -> bool {
        let Outgoing::Text(mut text) = out else {
            return false;
        };
        text.extend_from_slice(b"\r\n");
        io.write_all(&mut [IoSlice::new(&text)]).await.is_ok()
    }

    /// Tells a client that waits for it to send the request's body.
    pub async fn go_on(&self) {
        if let To::H1(io) = self.to {
            // a client that is gone shows when its body is read
            let _ = io
                .write_all(&mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")])
                .await;
        }
    }
}
