//! HTTP/1.0 and 1.1 towards clients.

use super::Conn;
use crate::clock;
use crate::exchange::{self, After, Arrived};
use crate::front::Front;
use crate::http1::framing;
use crate::http1::head::Head;
use crate::http1::name::Known;
use crate::http1::scan::{Fault, REQUEST, Scan};
use crate::source::Source;
use crate::thread::Ctx;
use crate::tunnel::Tunnel;
use crate::wire::State;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// What HTTP/2 connections begin with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of an unread body that are taken and thrown away before closing.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// What comes after the requests that were there.
pub(super) enum Next {
    /// The client may send another one.
    Idle,
    End,
    Linger,
    Http2,
    Tunnel(Box<Tunnel>),
}

/// Serves the requests that are there or about to come. `first`: nothing came before on this connection.
pub(super) async fn serve(ctx: &Rc<Ctx>, conn: &mut Conn, mut first: bool) -> Next {
    loop {
        let head = match read_head(conn, first).await {
            Ok(Got::Head(head)) => head,
            Ok(Got::Preface) => return Next::Http2,
            Ok(Got::Nothing) => return Next::Idle,
            Ok(Got::End) => return Next::End,
            Err(fault) => {
                conn.wire.enter(State::Busy, clock::ms());
                let front = Front::h1(&conn.io, 1, false);
                exchange::refuse_head(ctx, &conn.wire, fault, &front).await;
                return Next::Linger;
            }
        };
        first = false;
        let now = clock::ms();
        conn.wire.enter(State::Busy, now);
        let more = keeps(&head);
        let front = Front::h1(&conn.io, head.minor, more && !ctx.is_stopping());
        let framing = match framing::of_request(&head) {
            Ok(framing) => framing,
            Err(fault) => {
                exchange::refuse_framing(ctx, &conn.wire, &head, fault, &front).await;
                return Next::Linger;
            }
        };
        let mut body = Source::upload(&conn.io, std::mem::take(&mut conn.buf), framing);
        let arrived = Arrived {
            head,
            framing,
            at: now,
        };
        let after = exchange::exchange(ctx, &conn.wire, &arrived, &mut body, &front).await;
        let over = body.is_over();
        conn.buf = body.rest();
        match after {
            // a client that said it sends nothing more has nothing that closing could reset
            After::Linger if !more && over && conn.buf.is_empty() && conn.io.ends_by_closing() => {
                return Next::End;
            }
            After::Next if ctx.is_stopping() => return Next::Linger,
            After::Next if conn.buf.is_empty() => return Next::Idle,
            After::Next => {}
            After::Linger => return Next::Linger,
            After::Break => return Next::End,
            After::Tunnel(tunnel) => return Next::Tunnel(tunnel),
        }
    }
}

/// Does the client want to send more requests on this connection?
fn keeps(head: &Head) -> bool {
    if head.minor == 0 {
        head.has_token(Known::Connection, b"keep-alive")
    } else {
        !head.has_token(Known::Connection, b"close")
    }
}

enum Got {
    Head(Head),
    Preface,
    /// Nothing was there to be read after all.
    Nothing,
    End,
}

async fn read_head(conn: &mut Conn, first: bool) -> Result<Got, Fault> {
    let mut scan = Scan::default();
    let mut begun = false;
    loop {
        let data = conn.buf.data();
        let n = data.len().min(PREFACE.len());
        if n == 0 {
            // nothing to look at yet
        } else if first && data[..n] == PREFACE[..n] {
            if n == PREFACE.len() {
                return Ok(Got::Preface);
            }
        } else if let Some((head, end)) =
            scan.is_fresh().then(|| Head::quick_request(data)).flatten()
        {
            conn.buf.consume(end);
            return Ok(Got::Head(head));
        } else if let Some((start, end)) = scan.look(data, &REQUEST)? {
            let head = Head::request(&data[start..end])?;
            conn.buf.consume(end);
            return Ok(Got::Head(head));
        }
        if !conn.buf.is_empty() {
            if !begun {
                begun = true;
                conn.wire.enter(State::Head, clock::ms());
            }
            if conn.buf.room().is_empty() {
                conn.buf.grow();
            }
        }
        let Conn { io, buf, .. } = conn;
        // the caller knows that something is there; if not, the connection is idle again
        let read = poll_fn(|cx| match io.poll_take(cx, buf) {
            Poll::Pending if buf.is_empty() => Poll::Ready(None),
            other => other.map(Some),
        });
        match read.await {
            None => return Ok(Got::Nothing),
            Some(Ok(1..)) => {}
            Some(Ok(0) | Err(_)) => return Ok(Got::End),
        }
    }
}

/// Closing with unread bytes would reset the connection, and the client might never see the answer: says that nothing
/// more comes, and takes what the client still sends.
pub(super) async fn linger(conn: &mut Conn) {
    if poll_fn(|cx| conn.io.poll_shutdown(cx)).await.is_err() {
        return;
    }
    conn.wire.enter(State::Linger, clock::ms());
    let mut taken = 0;
    while taken < LINGER_BYTES {
        let n = conn.buf.data().len();
        taken += n;
        conn.buf.consume(n);
        conn.buf.release();
        let Conn { io, buf, .. } = conn;
        match poll_fn(|cx| io.poll_fill(cx, buf)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}
