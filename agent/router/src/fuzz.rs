//! The codec, opened to the fuzz targets in `tests/fuzz`; there only with the feature `fuzz`, never in a program.
//!
//! What it does: reads messages one after the other as a connection does, from bytes that come in any pieces.

use crate::buffers::Buf;
use crate::http1::body::Left;
use crate::http1::chunk::Chunks;
use crate::http1::framing;
use crate::http1::head::{self, Head};
use crate::http1::scan::{ANSWER, REQUEST, Scan};
use crate::proxy_protocol::{self, Header};
use std::net::SocketAddr;

/// A request or an answer as the router understood it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Of a request; of an answer its reason phrase.
    pub first: Vec<u8>,
    /// Of a request.
    pub target: Vec<u8>,
    /// Of an answer.
    pub status: u16,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor: u8,
    /// Names and values in the order they came.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Out of its framing.
    pub body: Vec<u8>,
    /// Those fields after the last chunk that may stand there.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What was read from a connection's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The messages that are whole.
    pub messages: Vec<Message>,
    /// What came after them is refused; if not, it is not whole or there is nothing.
    pub refused: bool,
}

/// Which side of the router reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Requests of a client.
    Client,
    /// Answers of an app to requests of which each was a HEAD or none was.
    App {
        /// Was it a HEAD?
        to_head: bool,
    },
}

/// Reads all messages; the bytes come in these pieces.
pub fn read<'a>(side: Side, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut reader = Reader {
        side,
        buf: Buf::default(),
        scan: Scan::default(),
        at: None,
        done: Read::default(),
    };
    for piece in pieces {
        while reader.buf.room().len() < piece.len() {
            reader.buf.grow();
        }
        reader.buf.room()[..piece.len()].copy_from_slice(piece);
        reader.buf.filled(piece.len());
        if reader.run().is_err() {
            reader.done.refused = true;
            return reader.done;
        }
    }
    if let Some((message, Left::UntilClose)) = reader.at.take() {
        reader.done.messages.push(message);
    }
    reader.done
}

/// Takes a body out of its chunks; the bytes come in these pieces. Tells body, trailers and how many bytes were used;
/// `None` when they are no chunked body or not all of one.
pub fn unchunk<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Option<(Vec<u8>, Vec<u8>, usize)> {
    let (mut chunks, mut body, mut used) = (Chunks::new(), Vec::new(), 0);
    for piece in pieces {
        let mut piece = piece.to_vec();
        let found = chunks.take(&mut piece).ok()?;
        body.extend_from_slice(&piece[found.from..found.to]);
        used += found.used;
        if found.over {
            return Some((body, chunks.trailers().to_vec(), used));
        }
        assert_eq!(found.used, piece.len(), "bytes of the body were left over");
    }
    None
}

/// A PROXY header that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Client and the address it connected to; none when the connection's own addresses count.
    pub told: Option<(SocketAddr, SocketAddr)>,
    /// The header's bytes.
    pub length: usize,
}

/// Reads the PROXY header that the bytes begin with; nothing when it is not whole.
///
/// # Errors
/// Why it is none.
pub fn proxy_header(bytes: &[u8]) -> Result<Option<Proxy>, &'static str> {
    let found = proxy_protocol::parse(bytes)?;
    Ok(found.map(|(header, length)| Proxy {
        told: match header {
            Header::Proxied { client, server } => Some((client, server)),
            Header::Own => None,
        },
        length,
    }))
}

struct Reader {
    side: Side,
    buf: Buf,
    scan: Scan,
    at: Option<(Message, Left)>,
    done: Read,
}

impl Reader {
    fn run(&mut self) -> Result<(), ()> {
        loop {
            match &mut self.at {
                None => {
                    if !self.head()? {
                        return Ok(());
                    }
                }
                Some((_, Left::Nothing)) => {
                    let message = self.at.take().map(|(m, _)| m);
                    self.done.messages.extend(message);
                }
                Some(_) if self.buf.is_empty() => return Ok(()),
                Some((message, left)) => {
                    let mut trailers = Vec::new();
                    let taken = left.take(&mut self.buf, &mut trailers);
                    let (from, to) = taken.map_err(|_| ())?;
                    message.body.extend_from_slice(self.buf.at(from, to));
                    if !trailers.is_empty() {
                        let fields = head::trailers(&trailers).map_err(|_| ())?;
                        let pairs = fields.iter();
                        message
                            .trailers
                            .extend(pairs.map(|(n, v)| (n.as_str().into(), v.as_bytes().into())));
                    }
                }
            }
        }
    }

    /// Is a whole head there?
    fn head(&mut self) -> Result<bool, ()> {
        let client = self.side == Side::Client;
        let data = self.buf.data();
        let fresh = self.scan.is_fresh();
        let quick = match self.side {
            Side::Client => fresh.then(|| Head::quick_request(data)).flatten(),
            Side::App { .. } => fresh.then(|| Head::quick_answer(data)).flatten(),
        };
        let (head, end) = match quick {
            Some(quick) => quick,
            None => {
                let size = if client { &REQUEST } else { &ANSWER };
                let Some((start, end)) = self.scan.look(data, size).map_err(|_| ())? else {
                    return Ok(false);
                };
                let text = &data[start..end];
                let head = match self.side {
                    Side::Client => Head::request(text),
                    Side::App { .. } => Head::answer(text),
                };
                (head.map_err(|_| ())?, end)
            }
        };
        let framing = match self.side {
            Side::Client => framing::of_request(&head),
            Side::App { to_head } => framing::of_answer(&head, to_head),
        };
        let framing = framing.map_err(|_| ())?;
        self.buf.consume(end);
        self.scan = Scan::default();
        let message = Message {
            first: if client {
                head.method().into()
            } else {
                head.reason().into()
            },
            target: if client {
                head.target().into()
            } else {
                Vec::new()
            },
            status: head.status,
            minor: head.minor,
            fields: head
                .fields()
                .map(|f| (f.name.to_vec(), f.value.to_vec()))
                .collect(),
            ..Message::default()
        };
        self.at = Some((message, Left::of(framing)));
        Ok(true)
    }
}
