//! A message on its way out: a request to an app or an answer to a client, over HTTP/1.1 or HTTP/2.

use crate::buffers;
use crate::io::Io;
use crate::slot::Giver;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;
use std::future::poll_fn;
use std::io::IoSlice;

/// Shorter pieces are copied behind what waits to be written; longer ones are written beside it.
const COPIED: usize = 2048;

/// Nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The receiver has not got one byte of the message.
    pub untouched: bool,
}

/// How a body is framed on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// As it is: its length was told, or the connection ends with it.
    Plain,
    /// In chunks.
    Chunks,
    /// Not at all: the answer to a HEAD.
    None,
}

/// Where a message goes.
pub(crate) enum Sink<'a> {
    H1(H1<'a>),
    H2(Giver),
}

/// A message on an HTTP/1.1 connection.
pub(crate) struct H1<'a> {
    io: &'a Io,
    /// Not yet written.
    out: Vec<u8>,
    frames: Frames,
    touched: bool,
}

impl Drop for H1<'_> {
    fn drop(&mut self) {
        buffers::done_with(std::mem::take(&mut self.out));
    }
}

impl<'a> Sink<'a> {
    /// `head` is written with the first bytes of the body, or by [`Sink::flush`].
    pub fn h1(io: &'a Io, head: Vec<u8>, frames: Frames) -> Sink<'a> {
        Sink::H1(H1 {
            io,
            out: head,
            frames,
            touched: false,
        })
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        match self {
            Sink::H1(s) if s.out.is_empty() => Ok(()),
            Sink::H1(s) => s.write(&[], false).await,
            Sink::H2(_) => Ok(()),
        }
    }

    /// Sends a piece of the body; `last`: it is the last one, and these trailers come after it.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub async fn send(
        &mut self,
        data: &[u8],
        last: bool,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), Closed> {
        match self {
            Sink::H1(s) => s.send(data, last, trailers).await,
            Sink::H2(giver) => send_h2(giver, data, last, trailers).await,
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub async fn finish(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Closed> {
        self.send(&[], true, trailers).await
    }
}

async fn send_h2(
    giver: &Giver,
    data: &[u8],
    last: bool,
    trailers: Option<&HeaderMap>,
) -> Result<(), Closed> {
    let gone = |_| Closed { untouched: false };
    if !data.is_empty() {
        poll_fn(|cx| giver.poll_room(cx)).await.map_err(gone)?;
        giver.put(Frame::data(Bytes::copy_from_slice(data)));
    }
    if last {
        if let Some(trailers) = trailers {
            poll_fn(|cx| giver.poll_room(cx)).await.map_err(gone)?;
            giver.put(Frame::trailers(trailers.clone()));
        }
        giver.end();
    }
    Ok(())
}

impl H1<'_> {
    async fn send(
        &mut self,
        data: &[u8],
        last: bool,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), Closed> {
        match self.frames {
            Frames::None => self.write(&[], false).await,
            Frames::Plain if data.len() <= COPIED => {
                self.out.extend_from_slice(data);
                self.write(&[], false).await
            }
            Frames::Plain => self.write(data, false).await,
            Frames::Chunks => {
                if !data.is_empty() {
                    put_hex(&mut self.out, data.len());
                    self.out.extend_from_slice(b"\r\n");
                }
                let beside = data.len() > COPIED;
                if beside && last && trailers.is_none() {
                    return self.write(data, true).await;
                }
                if beside {
                    self.write(data, false).await?;
                } else {
                    self.out.extend_from_slice(data);
                }
                if !data.is_empty() {
                    self.out.extend_from_slice(b"\r\n");
                }
                if last {
                    self.out.extend_from_slice(b"0\r\n");
                    for (name, value) in trailers.into_iter().flatten() {
                        self.out.extend_from_slice(name.as_str().as_bytes());
                        self.out.extend_from_slice(b": ");
                        self.out.extend_from_slice(value.as_bytes());
                        self.out.extend_from_slice(b"\r\n");
                    }
                    self.out.extend_from_slice(b"\r\n");
                }
                self.write(&[], false).await
            }
        }
    }

    /// Writes what waits, then `data`, then the end of the last chunk.
    async fn write(&mut self, data: &[u8], ends_chunks: bool) -> Result<(), Closed> {
        if self.out.is_empty() && data.is_empty() {
            return Ok(());
        }
        let end: &[u8] = if ends_chunks { b"\r\n0\r\n\r\n" } else { b"" };
        let written = if data.is_empty() {
            self.io.write_one(&self.out).await
        } else {
            let mut parts = [
                IoSlice::new(&self.out),
                IoSlice::new(data),
                IoSlice::new(end),
            ];
            self.io.write_all(&mut parts).await
        };
        self.out.clear();
        match written {
            Ok(()) => {
                self.touched = true;
                Ok(())
            }
            Err((n, _)) => Err(Closed {
                untouched: !self.touched && n == 0,
            }),
        }
    }
}

fn put_hex(out: &mut Vec<u8>, n: usize) {
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        let d = (n >> (4 * i)) & 15;
        out.push(b"0123456789abcdef"[d]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_hex() {
        for n in [0, 1, 9, 10, 15, 16, 255, 256, 65_535, 65_536, 0xabc_def] {
            let mut out = Vec::new();
            put_hex(&mut out, n);
            assert_eq!(String::from_utf8_lossy(&out), format!("{n:x}"));
        }
    }
}
