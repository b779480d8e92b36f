//! One client connection: the socket as the HTTP server reads it, and what the thread's sweep knows about it.
//!
//! Bytes of heads are noted while they pass, so that their framing can be judged before they are parsed away.

use crate::config::Limits;
use crate::tls::{Alpn, Handshake};
use crate::{clock, framing};
use http::HeaderValue;
use nix::sys::socket::{Shutdown, shutdown};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// More than this of a head is not noted; the parser refuses it by size.
const HEAD_NOTED: usize = 160 * 1024;
/// Bytes of an unread body that are taken and thrown away before closing.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// What HTTP/2 connections begin with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
const LINGER: u8 = 3;
const FREE: u8 = 4;

/// What is known about a client connection. Touched by its own thread only; atomics make it `Send` for upgrades.
pub(crate) struct Wire {
    fd: AtomicI32,
    state: AtomicU8,
    since: AtomicU64,
    unread: AtomicBool,
    head: Mutex<Noted>,
    pub peer: SocketAddr,
    pub peer_text: HeaderValue,
    pub port_text: HeaderValue,
    /// How TLS was agreed on, if the client speaks it to us.
    pub tls: Option<Handshake>,
}

struct Noted {
    on: bool,
    bytes: Vec<u8>,
}

impl Wire {
    /// `peer` is the client as a PROXY header tells it, or else who connected. `local_port` is what `X-Forwarded-Port` says
    /// when no trusted peer knows better.
    pub fn new(
        stream: &TcpStream,
        peer: SocketAddr,
        local_port: u16,
        tls: Option<Handshake>,
    ) -> Arc<Wire> {
        let text = peer.ip().to_canonical().to_string();
        Arc::new(Wire {
            fd: AtomicI32::new(stream.as_raw_fd()),
            state: AtomicU8::new(IDLE),
            since: AtomicU64::new(clock::ms()),
            unread: AtomicBool::new(false),
            head: Mutex::new(Noted {
                on: true,
                bytes: Vec::new(),
            }),
            peer,
            peer_text: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown")),
            port_text: HeaderValue::from(local_port),
            tls,
        })
    }

    fn enter(&self, state: u8) {
        self.state.store(state, Relaxed);
        self.since.store(clock::ms(), Relaxed);
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, bytes: &[u8]) {
        let mut head = self.noted();
        if head.on && !bytes.is_empty() {
            if self.state.load(Relaxed) == IDLE {
                self.enter(HEAD);
            }
            let room = HEAD_NOTED.saturating_sub(head.bytes.len()).min(bytes.len());
            head.bytes.extend_from_slice(&bytes[..room]);
        }
    }

    /// A request begins. Tells why its head must be refused, if it must.
    pub fn begin(&self, has_body: bool) -> Option<&'static str> {
        self.enter(BUSY);
        let mut head = self.noted();
        let end = framing::head_end(&head.bytes);
        let fault = end.and_then(|end| framing::fault_of_head(&head.bytes[..end]));
        match end {
            Some(end) if !has_body && end < head.bytes.len() => drop(head.bytes.drain(..end)),
            _ => head.bytes.clear(),
        }
        head.on = !has_body;
        fault
    }

    /// The request is over; `unread` when the client may still be sending its body.
    pub fn done(&self, unread: bool) {
        if self.state.load(Relaxed) == FREE {
            return;
        }
        self.unread.store(unread, Relaxed);
        let mut head = self.noted();
        head.on = true;
        if head.bytes.capacity() > 8192 && head.bytes.is_empty() {
            head.bytes = Vec::new();
        }
        self.enter(if head.bytes.is_empty() { IDLE } else { HEAD });
    }

    /// From now on no limit of this list applies: HTTP/2, or a tunnel.
    pub fn set_free(&self) {
        self.enter(FREE);
        let mut head = self.noted();
        *head = Noted {
            on: false,
            bytes: Vec::new(),
        };
    }

    /// Is the connection silent for longer than its state allows?
    pub fn is_overdue(&self, now: u64, limits: &Limits) -> bool {
        let limit = match self.state.load(Relaxed) {
            IDLE => limits.keep_alive,
            HEAD => limits.head,
            LINGER => limits.close_grace,
            _ => return false,
        };
        u128::from(now.saturating_sub(self.since.load(Relaxed))) > limit.as_millis()
    }

    /// Ends the connection: pending reads and writes return at once.
    pub fn shut(&self) {
        let fd = self.fd.load(Relaxed);
        if fd >= 0 {
            // an error means that the peer was faster
            let _ = shutdown(fd, Shutdown::Both);
        }
    }
}

/// Counts one connection of a thread as long as it lives.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// How bytes come from the client and go there.
pub(crate) enum Io {
    /// As they are.
    Plain(TcpStream),
    /// Within TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// The socket itself, for its options.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Io::Plain(stream) => stream,
            Io::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Calls the same method of either stream.
macro_rules! either {
    ($io:expr, $stream:ident => $call:expr) => {
        match $io.get_mut() {
            Io::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Io::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, s => s.poll_read(cx, out))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, s => s.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, s => s.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, s => s.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, s => s.poll_shutdown(cx))
    }
}

/// The client's socket.
pub(crate) struct ClientIo {
    pub stream: Io,
    wire: Arc<Wire>,
    /// Bytes read while looking for the HTTP/2 preface.
    first: Vec<u8>,
    given: usize,
    write_shut: bool,
    lingered: usize,
    _counted: Counted,
}

impl ClientIo {
    pub fn new(stream: Io, wire: Arc<Wire>, counted: Counted) -> ClientIo {
        let first = Vec::new();
        ClientIo {
            stream,
            wire,
            first,
            given: 0,
            write_shut: false,
            lingered: 0,
            _counted: counted,
        }
    }

    /// Is HTTP/2 spoken? Over TLS that was agreed on; without, it waits for the first bytes and looks for the preface.
    ///
    /// # Errors
    /// When the client leaves before it has said which protocol it speaks.
    pub async fn speaks_h2(&mut self, tls: Option<&Handshake>) -> io::Result<bool> {
        if let Some(handshake) = tls {
            return Ok(handshake.alpn == Alpn::H2);
        }
        loop {
            self.stream.socket().readable().await?;
            match self.read_first() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if self.wire.state.load(Relaxed) == IDLE => self.wire.enter(HEAD),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            }
            let n = self.first.len().min(PREFACE.len());
            if self.first[..n] != PREFACE[..n] {
                return Ok(false);
            }
            if n == PREFACE.len() {
                return Ok(true);
            }
        }
    }

    fn read_first(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 8192];
        let n = self.stream.socket().try_read(&mut buffer)?;
        self.first.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

impl Drop for ClientIo {
    fn drop(&mut self) {
        self.wire.fd.store(-1, Relaxed);
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        if self.given < self.first.len() {
            let n = out.remaining().min(self.first.len() - self.given);
            out.put_slice(&self.first[self.given..self.given + n]);
            self.given += n;
            if self.given == self.first.len() {
                self.first = Vec::new();
                self.given = 0;
            }
        } else {
            ready!(Pin::new(&mut self.stream).poll_read(cx, out))?;
        }
        self.wire.saw(&out.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Closing with unread bytes would reset the connection, and the client might never see the answer: take them.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.write_shut = true;
            self.wire.enter(LINGER);
        }
        while self.wire.unread.load(Relaxed) && self.lingered < LINGER_BYTES {
            let mut waste = [0; 4096];
            let mut waste = ReadBuf::new(&mut waste);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut waste)) {
                Ok(()) if !waste.filled().is_empty() => self.lingered += waste.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
