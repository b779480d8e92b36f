//! Connections to dynos: made, kept while idle, checked before they are used again. One pool per thread.

use crate::body::Up;
use crate::clock;
use crate::config::Limits;
use crate::dyno::Dyno;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection unused for longer than this is looked at by a system call before it is used again.
const TRUSTED_MS: u64 = 20;

/// What is known about a connection to a dyno.
pub(crate) struct AppWire {
    fd: AtomicI32,
    received: AtomicBool,
}

impl AppWire {
    /// Ends the connection: pending reads and writes return at once.
    pub fn shut(&self) {
        let fd = self.fd.load(Relaxed);
        if fd >= 0 {
            // an error means that the app was faster
            let _ = shutdown(fd, Shutdown::Both);
        }
    }

    /// Has a byte come since the last request began?
    pub fn has_received(&self) -> bool {
        self.received.load(Relaxed)
    }

    /// Has the app closed the connection, or said something unasked?
    fn is_stale(&self) -> bool {
        let mut byte = [0];
        let fd = self.fd.load(Relaxed);
        fd < 0
            || recv(fd, &mut byte, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
                != Err(nix::Error::EAGAIN)
    }
}

/// The socket to a dyno.
///
/// An app may answer early and close while the request is still being written. Such a failed write is no error here: the
/// bytes are dropped, and reading will show whether there is an answer.
pub(crate) struct AppIo {
    pub stream: TcpStream,
    wire: Arc<AppWire>,
}

fn forgive(written: io::Result<usize>, all: usize) -> io::Result<usize> {
    match written {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(all)
        }
        other => other,
    }
}

impl Drop for AppIo {
    fn drop(&mut self) {
        self.wire.fd.store(-1, Relaxed);
    }
}

impl AsyncRead for AppIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, out))?;
        if out.filled().len() > before {
            self.wire.received.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AppIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream)
            .poll_write(cx, bytes)
            .map(|w| forgive(w, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bytes.iter().map(|b| b.len()).sum();
        Pin::new(&mut self.stream)
            .poll_write_vectored(cx, bytes)
            .map(|w| forgive(w, all))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One connection to a dyno, given to one request.
pub(crate) struct Lease {
    pub sender: SendRequest<Up>,
    pub wire: Arc<AppWire>,
    dyno: Arc<Dyno>,
    /// It served a request before.
    pub used: bool,
}

impl Lease {
    /// Makes a connection.
    ///
    /// # Errors
    /// What the system said: refused, out of descriptors, …
    pub async fn connect(dyno: &Arc<Dyno>) -> io::Result<Lease> {
        let stream = TcpStream::connect(dyno.addr).await?;
        stream.set_nodelay(true)?;
        let wire = Arc::new(AppWire {
            fd: AtomicI32::new(stream.as_raw_fd()),
            received: AtomicBool::new(false),
        });
        let io = TokioIo::new(AppIo {
            stream,
            wire: wire.clone(),
        });
        let (sender, connection) = http1::Builder::new()
            .handshake(io)
            .await
            .map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            // what went wrong is told to the request that was on it
            let _ = connection.with_upgrades().await;
        });
        Ok(Lease {
            sender,
            wire,
            dyno: dyno.clone(),
            used: false,
        })
    }

    /// To be called before each request.
    pub fn begin(&self) {
        self.wire.received.store(false, Relaxed);
    }
}

struct Idle {
    lease: Lease,
    since: u64,
}

/// A thread's unused connections, by dyno.
pub(crate) struct Pool {
    by_dyno: HashMap<u64, Vec<Idle>>,
}

impl Pool {
    pub fn new() -> Pool {
        Pool {
            by_dyno: HashMap::new(),
        }
    }

    /// The connection used last, if one is left that is open. `look_closely`: ask the system in any case.
    pub fn take(&mut self, dyno: &Dyno, look_closely: bool) -> Option<Lease> {
        let idle = self.by_dyno.get_mut(&dyno.serial)?;
        let now = clock::ms();
        while let Some(Idle { lease, since }) = idle.pop() {
            let doubtful = look_closely || now.saturating_sub(since) > TRUSTED_MS;
            if lease.sender.is_closed() || (doubtful && lease.wire.is_stale()) {
                continue;
            }
            return Some(lease);
        }
        None
    }

    /// Keeps a connection whose request is wholly over.
    pub fn give_back(&mut self, mut lease: Lease, limits: &Limits) {
        if lease.dyno.is_closed() || lease.sender.is_closed() {
            return;
        }
        lease.used = true;
        let idle = self.by_dyno.entry(lease.dyno.serial).or_default();
        if idle.len() < limits.pool_size {
            idle.push(Idle {
                lease,
                since: clock::ms(),
            });
        }
    }

    /// Closes all unused connections to a dyno.
    pub fn forget(&mut self, dyno: &Dyno) {
        self.by_dyno.remove(&dyno.serial);
    }

    /// Closes what is too old, and what leads to dynos that left the table.
    pub fn sweep(&mut self, limits: &Limits) {
        let now = clock::ms();
        self.by_dyno.retain(|_, idle| {
            idle.retain(|i| {
                u128::from(now.saturating_sub(i.since)) < limits.pool_idle.as_millis()
                    && !i.lease.dyno.is_closed()
                    && !i.lease.sender.is_closed()
            });
            !idle.is_empty()
        });
    }

    pub fn is_empty(&self) -> bool {
        self.by_dyno.is_empty()
    }
}
