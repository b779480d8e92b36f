//! One HTTP/1.1 connection to a dyno.

use super::dial::{Line, dial};
use super::{AppWire, Heard, NoAnswer};
use crate::buffers::Buf;
use crate::dyno::Dyno;
use crate::front::Front;
use crate::http1::framing::{self, Framing};
use crate::http1::head::Head;
use crate::http1::name::Known;
use crate::http1::scan::{ANSWER, Fault, Scan};
use crate::io::Io;
use crate::source::Source;
use nix::sys::socket::{MsgFlags, recv};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// Interim answers (1xx) before the final one.
const INTERIM_MAX: u32 = 32;

/// A connection, given to one request.
pub(crate) struct Lease {
    pub io: Io,
    pub wire: Rc<AppWire>,
    pub dyno: Arc<Dyno>,
    /// It served a request before.
    pub used: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.wire.forget();
    }
}

impl Lease {
    /// Makes a connection.
    ///
    /// # Errors
    /// What the system said: refused, out of descriptors, …
    pub async fn connect(dyno: &Arc<Dyno>) -> io::Result<Lease> {
        let io = match dial(&dyno.addr).await? {
            Line::Tcp(stream) => Io::plain(stream),
            Line::Unix(stream) => Io::unix(stream),
        };
        Ok(Lease {
            wire: Rc::new(AppWire::new(io.fd())),
            io,
            dyno: dyno.clone(),
            used: false,
        })
    }

    /// Has the app closed the connection, or said something unasked? The system is asked only when the reactor saw
    /// something, or to `look_closely`.
    pub fn is_stale(&self, look_closely: bool) -> bool {
        let mut byte = [0];
        (look_closely || self.io.has_event())
            && recv(
                self.io.fd(),
                &mut byte,
                MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
            ) != Err(nix::Error::EAGAIN)
    }
}

/// Waits for an answer's head. Interim answers but 100 are passed on to the client. `to_head`: the method was HEAD.
///
/// # Errors
/// When there is none, or none that may be passed on.
pub(crate) async fn hear<'l>(
    io: &'l Io,
    front: &Front<'_>,
    to_head: bool,
) -> Result<Heard<'l>, NoAnswer> {
    let mut buf = Buf::default();
    let mut interim = 0;
    loop {
        let head = read_head(io, &mut buf).await?;
        if matches!(head.status, 100..=199) && head.status != 101 {
            interim += 1;
            if interim > INTERIM_MAX {
                return Err(NoAnswer::Malformed(Fault::form("too many interim answers")));
            }
            if head.status != 100 {
                front.interim(&head).await;
            }
            continue;
        }
        let framing = framing::of_answer(&head, to_head).map_err(NoAnswer::Malformed)?;
        let closes = if head.minor == 0 {
            !head.has_token(Known::Connection, b"keep-alive")
        } else {
            head.has_token(Known::Connection, b"close")
        };
        return Ok(Heard {
            length: match framing {
                Framing::Nothing => Some(0),
                Framing::Length(n) => Some(n),
                Framing::Chunks | Framing::UntilClose => None,
            },
            reusable: !closes && framing != Framing::UntilClose,
            body: Source::answer(io, buf, framing),
            head,
        });
    }
}

async fn read_head(io: &Io, buf: &mut Buf) -> Result<Head, NoAnswer> {
    let mut scan = Scan::default();
    loop {
        let data = buf.data();
        if scan.is_fresh()
            && let Some((head, end)) = Head::quick_answer(data)
        {
            buf.consume(end);
            return Ok(head);
        }
        if !data.is_empty()
            && let Some((start, end)) = scan.look(data, &ANSWER).map_err(NoAnswer::Malformed)?
        {
            let head = Head::answer(&data[start..end]).map_err(NoAnswer::Malformed)?;
            buf.consume(end);
            return Ok(head);
        }
        if buf.is_held() && buf.room().is_empty() {
            buf.grow();
        }
        match poll_fn(|cx| io.poll_fill(cx, buf)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) if buf.is_empty() => return Err(NoAnswer::Silence),
            Ok(0) | Err(_) => return Err(NoAnswer::Torn),
        }
    }
}
