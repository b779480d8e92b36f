//! HTTP/2 towards clients: hyper frames it, the requests take the same way as all others.

use super::Conn;
use crate::app::h2c::Here;
use crate::clock;
use crate::exchange::{self, Arrived};
use crate::front::Front;
use crate::http1::framing::{self, Framing};
use crate::http1::head::Head;
use crate::http1::scan::REQUEST;
use crate::slot::Taker;
use crate::source::Source;
use crate::thread::Ctx;
use crate::wire::{State, Wire};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Requests of one client at once.
const STREAMS: u32 = 256;
/// Bytes of the fields of one request, names and values and 32 for each (RFC 9113, section 6.5.2); 16 KB would refuse what
/// HTTP/1 lets pass.
const FIELDS: u32 = 64 * 1024;

/// Serves a connection whose preface is in its buffer.
pub(super) async fn serve(ctx: &Rc<Ctx>, conn: Conn) {
    let wire = conn.wire.clone();
    wire.enter(State::Free, clock::ms());
    let limit = ctx.shared.limits.keep_alive;
    let (last, open) = (Cell::new(Instant::now()), Rc::new(Cell::new(0_usize)));
    let service = service_fn(|request: Request<Incoming>| {
        last.set(Instant::now());
        answer(ctx.clone(), wire.clone(), request, Open::count(&open))
    });
    let connection = hyper::server::conn::http2::Builder::new(Here)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(FIELDS)
        .serve_connection(TokioIo::new(conn), service);
    let mut connection = pin!(connection);
    let mut retire = pin!(ctx.retire.notified());
    let idle = async {
        loop {
            let rest = limit.saturating_sub(last.get().elapsed());
            match rest.is_zero() {
                true if open.get() > 0 => last.set(Instant::now()),
                true => return,
                false => tokio::time::sleep(rest).await,
            }
        }
    };
    // errors of HTTP/2 were told to the client by HTTP/2
    if !ctx.is_stopping() {
        tokio::select! {
            biased;
            _ = &mut connection => return,
            () = &mut retire => {}
            () = idle => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    // a client that is gone acknowledges nothing
    while tokio::time::timeout(limit, &mut connection).await.is_err() && open.get() > 0 {}
}

/// Counts a stream as long as its request runs.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn count(open: &Rc<Cell<usize>>) -> Open {
        open.set(open.get() + 1);
        Open(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The request ended without an answer.
#[derive(Debug)]
struct Unanswered;

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request ended without an answer")
    }
}
impl std::error::Error for Unanswered {}

/// Ends a task when nobody waits for it any more.
struct Guard(Option<tokio::task::AbortHandle>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

async fn answer(
    ctx: Rc<Ctx>,
    wire: Rc<Wire>,
    request: Request<Incoming>,
    open: Open,
) -> Result<Response<Taker>, Unanswered> {
    let (tell, told) = oneshot::channel();
    let (parts, body) = request.into_parts();
    let task = tokio::task::spawn_local(async move {
        let _open = open;
        let head = Head::of_http2(&parts);
        let front = Front::h2(tell);
        let fits = head.check_lines(&REQUEST);
        let framing = match fits.and_then(|()| framing::of_request(&head)) {
            Ok(Framing::Nothing) if !body.is_end_stream() => Framing::Chunks,
            Ok(framing) => framing,
            Err(fault) => {
                return exchange::refuse_framing(&ctx, &wire, &head, fault, &front).await;
            }
        };
        let arrived = Arrived {
            head,
            framing,
            at: clock::ms(),
        };
        let mut body = Source::h2(body);
        exchange::exchange(&ctx, &wire, &arrived, &mut body, &front).await;
    });
    let mut guard = Guard(Some(task.abort_handle()));
    let mut response = told.await.map_err(|_| Unanswered)?;
    if let Some(task) = guard.0.take() {
        response.body_mut().belongs_to(task);
    }
    Ok(response)
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.buf.is_empty() {
            let n = out.remaining().min(this.buf.data().len());
            out.put_slice(&this.buf.data()[..n]);
            this.buf.consume(n);
            this.buf.release();
            return Poll::Ready(Ok(()));
        }
        this.io
            .poll_read(cx, out.initialize_unfilled())
            .map_ok(|n| out.advance(n))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }
}
