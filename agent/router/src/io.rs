//! A connection's byte stream, whatever it runs over. Reading and writing are told apart by nobody but the caller: one
//! task does both, so everything works through a shared reference.

use crate::buffers::Buf;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// What carries the bytes.
pub(crate) enum Stream {
    /// TCP as it is.
    Plain(TcpStream),
    /// A Unix socket: only apps are behind one.
    Unix(UnixStream),
    /// Within TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that is read and written by one task.
pub(crate) struct Io {
    fd: RawFd,
    stream: RefCell<Stream>,
}

impl Io {
    pub fn plain(stream: TcpStream) -> Io {
        Io {
            fd: stream.as_raw_fd(),
            stream: RefCell::new(Stream::Plain(stream)),
        }
    }

    pub fn unix(stream: UnixStream) -> Io {
        Io {
            fd: stream.as_raw_fd(),
            stream: RefCell::new(Stream::Unix(stream)),
        }
    }

    pub fn tls(stream: TlsStream<TcpStream>) -> Io {
        Io {
            fd: stream.get_ref().0.as_raw_fd(),
            stream: RefCell::new(Stream::Tls(Box::new(stream))),
        }
    }

    /// The socket, valid as long as this lives.
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Ready when reading would give something: bytes, the end, or an error. Needs no memory to read into.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_event() {
            return Poll::Ready(Ok(()));
        }
        match &*self.stream.borrow() {
            Stream::Plain(tcp) => tcp.poll_read_ready(cx),
            Stream::Unix(unix) => unix.poll_read_ready(cx),
            Stream::Tls(tls) => tls.get_ref().0.poll_read_ready(cx),
        }
    }

    /// Has the reactor seen anything that was not read, or is something decrypted? No system call, and nobody is woken
    /// later: a look costs a fifth of a poll.
    pub fn has_event(&self) -> bool {
        let seen = |tcp: &TcpStream| tcp.try_io(Interest::READABLE, || Ok(())).is_ok();
        match &mut *self.stream.borrow_mut() {
            Stream::Plain(tcp) => seen(tcp),
            Stream::Unix(unix) => unix.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Stream::Tls(tls) => {
                let (tcp, session) = tls.get_mut();
                // what was decrypted already says nothing on the socket
                match session.reader().fill_buf() {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => seen(tcp),
                    _ => true,
                }
            }
        }
    }

    /// Reads; 0 bytes are the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        match &mut *self.stream.borrow_mut() {
            Stream::Plain(tcp) => ready!(Pin::new(tcp).poll_read(cx, &mut into))?,
            Stream::Unix(unix) => ready!(Pin::new(unix).poll_read(cx, &mut into))?,
            Stream::Tls(tls) => ready!(Pin::new(tls.as_mut()).poll_read(cx, &mut into))?,
        }
        Poll::Ready(Ok(into.filled().len()))
    }

    /// Reads into memory that is taken only when there is something to read, and given back when there was not.
    pub fn poll_fill(&self, cx: &mut Context<'_>, buf: &mut Buf) -> Poll<io::Result<usize>> {
        if !buf.is_held() {
            ready!(self.poll_readable(cx))?;
        }
        self.poll_take(cx, buf)
    }

    /// The same where something is there to be read, most likely.
    pub fn poll_take(&self, cx: &mut Context<'_>, buf: &mut Buf) -> Poll<io::Result<usize>> {
        match self.poll_read(cx, buf.room()) {
            Poll::Ready(Ok(n)) => {
                buf.filled(n);
                Poll::Ready(Ok(n))
            }
            other => {
                buf.release();
                other
            }
        }
    }

    /// Writes some of the parts.
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self.stream.borrow_mut() {
            Stream::Plain(tcp) => match parts {
                [one] => Pin::new(tcp).poll_write(cx, one),
                all => Pin::new(tcp).poll_write_vectored(cx, all),
            },
            Stream::Unix(unix) => match parts {
                [one] => Pin::new(unix).poll_write(cx, one),
                all => Pin::new(unix).poll_write_vectored(cx, all),
            },
            Stream::Tls(tls) => match parts {
                [one] => Pin::new(tls.as_mut()).poll_write(cx, one),
                all => Pin::new(tls.as_mut()).poll_write_vectored(cx, all),
            },
        }
    }

    /// Pushes out what the stream itself holds back.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.stream.borrow_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    /// Tells the peer that nothing more comes.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.stream.borrow_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }

    /// Writes everything. Of a failure tells also how much was written before it.
    pub async fn write_all(&self, parts: &mut [IoSlice<'_>]) -> Result<(), (usize, io::Error)> {
        let mut parts = parts;
        let mut written = 0;
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match poll_fn(|cx| self.poll_write(cx, parts)).await {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    written += n;
                    IoSlice::advance_slices(&mut parts, n);
                }
                Err(e) => return Err((written, e)),
            }
        }
        match self.holds_back() {
            true => poll_fn(|cx| self.poll_flush(cx))
                .await
                .map_err(|e| (written, e)),
            false => Ok(()),
        }
    }

    /// Writes one piece. As [`Io::write_all`], with less to look after.
    pub async fn write_one(&self, piece: &[u8]) -> Result<(), (usize, io::Error)> {
        let n = poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(piece)]));
        match n.await {
            Ok(n) if n == piece.len() && !self.holds_back() => Ok(()),
            Ok(n) => self
                .write_all(&mut [IoSlice::new(&piece[n..])])
                .await
                .map_err(|(more, e)| (n + more, e)),
            Err(e) => Err((0, e)),
        }
    }

    /// Does the peer learn the end when the socket is closed? Within TLS it has to be told before.
    pub fn ends_by_closing(&self) -> bool {
        !self.holds_back()
    }

    /// Does it keep what was written until [`Io::poll_flush`]?
    fn holds_back(&self) -> bool {
        matches!(*self.stream.borrow(), Stream::Tls(_))
    }
}
