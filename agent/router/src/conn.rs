//! One client connection from its first byte to its last: which protocol it speaks, and the server that runs it.

use crate::forward;
use crate::thread::Ctx;
use crate::wire::{ClientIo, Counted, Wire};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// A whole head may be as long as this.
const HEAD_MAX: usize = 128 * 1024;

/// Begins to serve a client on this thread.
pub(crate) fn serve(ctx: &Rc<Ctx>, stream: TcpStream, peer: SocketAddr, counted: Counted) {
    let local_port = stream.local_addr().map_or(80, |a| a.port());
    let opened = stream
        .set_nodelay(true)
        .and_then(|()| tokio::net::TcpStream::from_std(stream));
    let Ok(stream) = opened else { return };
    let wire = Wire::new(&stream, peer, local_port);
    let listed = Listed {
        key: ctx.wires.borrow_mut().insert(wire.clone()),
        ctx: ctx.clone(),
    };
    let io = ClientIo::new(stream, wire.clone(), counted);
    tokio::task::spawn_local(run(listed, io, wire));
}

/// Keeps the connection in the thread's list for the sweep.
struct Listed {
    ctx: Rc<Ctx>,
    key: usize,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.ctx.wires.borrow_mut().remove(self.key);
    }
}

async fn run(listed: Listed, mut io: ClientIo, wire: Arc<Wire>) {
    let ctx = &listed.ctx;
    let h2 = tokio::select! {
        h2 = io.speaks_h2() => h2,
        () = ctx.stop.notified() => return,
    };
    match h2 {
        Ok(true) => serve_h2(ctx, io, wire).await,
        Ok(false) => serve_h1(ctx, io, wire).await,
        Err(_) => {}
    }
}

async fn serve_h1(ctx: &Rc<Ctx>, io: ClientIo, wire: Arc<Wire>) {
    let service = service_fn(|request: http::Request<Incoming>| {
        let fault = wire.begin(!hyper::body::Body::is_end_stream(request.body()));
        let answer = forward::handle(ctx.clone(), wire.clone(), request, fault);
        async {
            let mut answer = answer.await;
            if let (true, Ok(a)) = (ctx.is_stopping(), &mut answer)
                && a.status() != http::StatusCode::SWITCHING_PROTOCOLS
            {
                let close = http::HeaderValue::from_static("close");
                a.headers_mut().insert(http::header::CONNECTION, close);
            }
            answer
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut stop = pin!(ctx.stop.notified());
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = &mut stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err_and(|e| e.is_parse()) {
        forward::log_unreadable(ctx, &wire);
    }
}

async fn serve_h2(ctx: &Rc<Ctx>, io: ClientIo, wire: Arc<Wire>) {
    wire.set_free();
    let limit = ctx.shared.limits.keep_alive;
    let last = Cell::new(Instant::now());
    let service = service_fn(|request: http::Request<Incoming>| {
        last.set(Instant::now());
        let (ctx, wire) = (ctx.clone(), wire.clone());
        forward::handle(ctx, wire, request, None)
    });
    let connection = hyper::server::conn::http2::Builder::new(Here)
        .max_concurrent_streams(256)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let mut retire = pin!(ctx.retire.notified());
    let is_busy = || {
        let flights = ctx.flights.borrow();
        flights.iter().any(|f| Arc::ptr_eq(&f.wire, &wire))
    };
    let idle = async {
        loop {
            let rest = limit.saturating_sub(last.get().elapsed());
            match rest.is_zero() {
                true if is_busy() => last.set(Instant::now()),
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
    while tokio::time::timeout(limit, &mut connection).await.is_err() && is_busy() {}
}

/// Runs HTTP/2 streams on the thread they came to.
#[derive(Clone)]
struct Here;

impl<F: Future + 'static> hyper::rt::Executor<F> for Here
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
