//! The side of the clients: one connection from its first byte to its last, HTTP/1 by our own codec (`h1`) or HTTP/2 by
//! hyper's (`h2`).
//!
//! What it does: finds out which protocol is spoken, reads heads, hands requests to `exchange`, closes properly. What it
//! never does: look at what is asked. Who calls it: `thread`. Tests: `tests/router/{head,limits,pipeline,streams}.rs`.
//!
//! A connection's task is small while it is idle: what a request needs is put beside it when its first byte comes.

mod h1;
mod h2;

use crate::buffers::Buf;
use crate::io::Io;
use crate::thread::Ctx;
use crate::wire::{Counted, State, Wire};
use h1::Next;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

/// A client's connection.
pub(crate) struct Conn {
    pub io: Io,
    /// Read, and not yet used.
    pub buf: Buf,
    pub wire: Rc<Wire>,
    _counted: Counted,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.wire.forget();
    }
}

/// Begins to serve a client on this thread.
pub(crate) fn serve(ctx: &Rc<Ctx>, stream: TcpStream, peer: SocketAddr, counted: Counted) {
    let local_port = stream.local_addr().map_or(80, |a| a.port());
    let opened = stream
        .set_nodelay(true)
        .and_then(|()| tokio::net::TcpStream::from_std(stream));
    let Ok(stream) = opened else { return };
    let io = Io::plain(stream);
    let wire = Wire::new(io.fd(), peer, local_port, false);
    begin(ctx, io, Buf::default(), wire, counted);
}

/// Serves a connection of which `first` was read already, and whose client and port are those of `wire`.
pub(crate) fn begin(ctx: &Rc<Ctx>, io: Io, first: Buf, wire: Rc<Wire>, counted: Counted) {
    let listed = Listed {
        key: ctx.wires.borrow_mut().insert(wire.clone()),
        ctx: ctx.clone(),
    };
    let conn = Conn {
        io,
        buf: first,
        wire,
        _counted: counted,
    };
    tokio::task::spawn_local(run(listed, conn));
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

async fn run(listed: Listed, mut conn: Conn) {
    let ctx = &listed.ctx;
    let mut first = true;
    loop {
        if conn.buf.is_empty() && !wait(ctx, &conn).await {
            return;
        }
        let next = Box::pin(h1::serve(ctx, &mut conn, first)).await;
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
        if ready.is_pending() && ctx.is_stopping() {
            return std::task::Poll::Ready(Err(std::io::ErrorKind::Interrupted.into()));
        }
        ready
    });
    ready.await.is_ok()
}
