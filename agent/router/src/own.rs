//! Sends answers that the router gives by itself.

use crate::flight::Ticket;
use crate::front::Front;
use crate::http1::name::known;
use crate::reply::{Own, Reply};
use crate::sink::Closed;
use std::os::unix::fs::FileExt;
use std::pin::pin;

/// Bytes of a file that are read and written at a time.
const PIECE: usize = 64 * 1024;

/// Sends the answer; `to_head`: without its body. Ends the ticket.
pub(crate) async fn send(front: &Front<'_>, ticket: &mut Ticket, reply: Reply, to_head: bool) {
    if ticket.flight.ctx.is_stopping() {
        front.close();
    }
    let (mut parts, own) = reply.into_parts();
    if let Some(hsts) = ticket.app().and_then(|a| a.rules.hsts(ticket.https())) {
        let name = http::header::STRICT_TRANSPORT_SECURITY;
        parts.headers.insert(name, hsts.clone());
    }
    let status = parts.status.as_u16();
    ticket.status(status);
    let reason = parts.status.canonical_reason().unwrap_or("");
    let mut out = front.lines(status, reason.as_bytes());
    for (name, value) in &parts.headers {
        let k = known(name.as_str().as_bytes());
        if !k.is_hop_by_hop() && k != crate::http1::name::Known::ContentLength {
            out.put(name.as_str(), value.as_bytes());
        }
    }
    // of a 304 only those who made it know how long the body would be
    let length = (status != 304).then(|| own.len());
    let body = !to_head && own.len() > 0 && !matches!(status, 204 | 304);
    let mut sink = front.start(out, status, length, body);
    let flight = ticket.flight.clone();
    flight.enter(crate::flight::Phase::Answer);
    let sent = {
        let sending = pin!(async {
            if !body {
                return sink.flush().await;
            }
            match own {
                Own::Bytes(bytes) => {
                    ticket.add_bytes(bytes.len());
                    sink.send(&bytes, true, None).await
                }
                Own::File { file, offset, len } => {
                    let mut piece = vec![0; PIECE.min(usize::try_from(len).unwrap_or(PIECE))];
                    let mut at = 0;
                    while at < len {
                        let want = piece.len().min(usize::try_from(len - at).unwrap_or(PIECE));
                        let n = match file.read_at(&mut piece[..want], offset + at) {
                            // a file that became shorter can only be told by breaking off
                            Ok(0) | Err(_) => {
                                ticket.fail(hokku_model::code::H99);
                                sink.flush().await?;
                                return Err(Closed { untouched: false });
                            }
                            Ok(n) => n,
                        };
                        at += n as u64;
                        ticket.add_bytes(n);
                        sink.send(&piece[..n], at == len, None).await?;
                        flight.moves(n);
                    }
                    Ok(())
                }
            }
        });
        flight.until(sending).await
    };
    match sent {
        Ok(Ok(())) => ticket.conclude(),
        Ok(Err(_)) => front.close(),
        Err(verdict) => {
            ticket.fail(verdict.code());
            front.close();
        }
    }
}
