//! The side of the clients: one connection from its first byte to its last, HTTP/1 by our own codec (`h1`) or HTTP/2 by
//! hyper's (`h2`).
//!
//! What it does: finds out which protocol is spoken, reads heads, hands requests to `exchange`, closes properly. What it
//! never does: look at what is asked. Who calls it: `thread`. Tests: `tests/router/{head,limits,pipeline,streams}.rs`.
//!
//! A connection's task is small while it is idle: what a request needs is put beside it when its first byte comes.

mod h1;
mod h2;
mod worker;

use crate::accept::Via;
use crate::buffers::Buf;
use crate::io::Io;
use crate::proxy_protocol::{self, Header};
use crate::thread::Ctx;
use crate::tls::{self, Alpn};
use crate::wire::{Counted, State, Wire};
use h1::Next;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use tokio::time::Instant;

/// A client's connection.
pub(crate) struct Conn {
    pub io: Io,
    /// Read, and not yet used.
    pub buf: Buf,
    pub wire: Rc<Wire>,
    _counted: Counted,
}

impl Conn {
    fn new(io: Io, wire: Rc<Wire>, counted: Counted) -> Conn {
        Conn {
            io,
            buf: Buf::default(),
            wire,
            _counted: counted,
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.wire.forget();
    }
}

/// Begins to serve a client on this thread.
pub(crate) fn serve(
    ctx: &Rc<Ctx>,
    stream: TcpStream,
    peer: SocketAddr,
    via: Via,
    counted: Counted,
) {
    let opened = stream
        .set_nodelay(true)
        .and_then(|()| tokio::net::TcpStream::from_std(stream));
    let Ok(stream) = opened else { return };
    let port = stream.local_addr().map_or(80, |a| a.port());
    let announced = ctx.shared.routes.load().sends_proxy_header(peer.ip());
    if via == Via::Plain && !announced {
        let io = Io::plain(stream);
        let wire = Wire::new(io.fd(), peer, port, None);
        let listed = Listed::new(ctx, &wire);
        tokio::task::spawn_local(run(listed, Conn::new(io, wire, counted)));
        return;
    }
    let ctx = ctx.clone();
    // the greeting's memory is not held by the connection that follows
    tokio::task::spawn_local(async move {
        let greeted = tokio::select! {
            biased;
            greeted = Box::pin(greet(&ctx, stream, peer, port, via, announced)) => greeted,
            () = ctx.stop.notified() => return,
        };
        let Some((io, wire)) = greeted else { return };
        let listed = Listed::new(&ctx, &wire);
        // the sweep may have gone to sleep meanwhile
        ctx.wake_sweep();
        tokio::task::spawn_local(run(listed, Conn::new(io, wire, counted)));
    });
}

/// What comes before HTTP: the PROXY header of those who send one, then TLS. `None`: there is nobody to serve.
async fn greet(
    ctx: &Ctx,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    port: u16,
    via: Via,
    announced: bool,
) -> Option<(Io, Rc<Wire>)> {
    let deadline = Instant::now() + ctx.shared.limits.handshake;
    let (mut client, mut port) = (peer, port);
    if announced {
        match proxy_protocol::read_header(&stream, deadline).await {
            Ok(Header::Proxied { client: c, server }) => (client, port) = (c, server.port()),
            Ok(Header::Own) => {}
            Err(fault) => {
                proxy_protocol::complain(peer, &fault);
                return None;
            }
        }
    }
    if via == Via::Plain {
        let io = Io::plain(stream);
        let wire = Wire::new(io.fd(), client, port, None);
        return Some((io, wire));
    }
    match tls::accept(&ctx.shared.tls, stream, deadline).await {
        Ok((stream, handshake)) => {
            let io = Io::tls(stream);
            let wire = Wire::new(io.fd(), client, port, Some(handshake));
            Some((io, wire))
        }
        Err(why) => {
            tracing::debug!("no TLS with {client}: {why:?}");
            None
        }
    }
}

/// Keeps the connection in the thread's list for the sweep.
struct Listed {
    ctx: Rc<Ctx>,
    key: usize,
}

impl Listed {
    fn new(ctx: &Rc<Ctx>, wire: &Rc<Wire>) -> Listed {
        Listed {
            key: ctx.wires.borrow_mut().insert(wire.clone()),
            ctx: ctx.clone(),
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.ctx.wires.borrow_mut().remove(self.key);
    }
}

async fn run(listed: Listed, mut conn: Conn) {
    let ctx = &listed.ctx;
    if conn.wire.tls.as_ref().is_some_and(|t| t.alpn == Alpn::H2) {
        return Box::pin(h2::serve(ctx, conn)).await;
    }
    let mut first = true;
    loop {
        if conn.buf.is_empty() && !wait(ctx, &conn).await {
            return;
        }
        let next;
        (conn, next) = worker::serve(ctx, conn, first).await;
        first = false;
        match next {
            Next::Idle => {
                conn.buf.release();
                conn.wire.enter(State::Idle, ctx.coarse_ms());
            }
            Next::End => return,
            Next::Linger => return Box::pin(h1::linger(&mut conn)).await,
            Next::Http2 => return Box::pin(h2::serve(ctx, conn)).await,
            Next::Tunnel(tunnel) => return tunnel.run(conn).await,
        }
    }
}

/// Waits, without any memory to read into, until the client sends something.
async fn wait(ctx: &Ctx, conn: &Conn) -> bool {
    let ready = poll_fn(|cx| {
        let ready = conn.io.poll_readable(cx);
        if ready.is_pending() && ctx.is_closed() {
            return std::task::Poll::Ready(Err(std::io::ErrorKind::Interrupted.into()));
        }
        ready
    });
    ready.await.is_ok()
}
