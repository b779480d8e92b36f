//! The body of an app's answer as it is gathered, compressed, and sent.

use super::press::{Jammed, Stream, Then};
use super::{Encoding, GATHER, Pressing, TURN, WHOLE_MAX, rules};
use crate::answer::{self, Cut};
use crate::flight::Ticket;
use crate::sink::Sink;
use crate::source::{Broken, Source};
use crate::thread::Ctx;
use hokku_model::code;
use http::HeaderMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

/// Output is sent when there is so much of it, or when the app pauses.
const PIECE: usize = 16 * 1024;

/// A compressor that goes back to its thread.
struct Borrowed {
    ctx: Rc<Ctx>,
    stream: Option<Stream>,
}

impl Borrowed {
    fn take(ctx: &Rc<Ctx>, encoding: Encoding, events: bool) -> Option<Borrowed> {
        let stream = ctx.press.borrow_mut().begin(encoding, events)?;
        Some(Borrowed {
            ctx: ctx.clone(),
            stream: Some(stream),
        })
    }

    fn press(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), Cut> {
        let pressed = match &mut self.stream {
            Some(stream) => stream.press(input, then, out),
            None => Err(Jammed),
        };
        pressed.map_err(|_| Cut::Here(code::H99))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.ctx.press.borrow_mut().end(stream);
        }
    }
}

/// Sends a body compressed. `start` begins the answer with the fields and the length it is given. `length`: of the body
/// as the app sends it, where that is known.
///
/// # Errors
/// When it does not become whole.
pub(crate) async fn pass_on<'a>(
    pressing: Pressing,
    start: impl Fn(Option<&HeaderMap>, Option<u64>) -> Sink<'a>,
    body: &mut Source<'_>,
    length: Option<u64>,
    ticket: &mut Ticket,
) -> Result<(), Cut> {
    let Pressing {
        encoding,
        events,
        mut fields,
    } = pressing;
    let ctx = ticket.flight.ctx.clone();
    let long = length.is_some_and(|n| n > WHOLE_MAX as u64);
    let mut held = Vec::new();
    if !events
        && !long
        && let Gathered::Whole = gather(body, &mut held, ticket).await
    {
        return whole(&ctx, encoding, fields, start, body, &held, ticket).await;
    }
    let Some(mut stream) = Borrowed::take(&ctx, encoding, events) else {
        // there were too many at once: this one goes as it is
        let mut sink = start(Some(&fields), length);
        if !held.is_empty() {
            ticket.add_bytes(held.len());
            sink.send(&held, false, None).await?;
            ticket.flight.moves(held.len());
            drop(held);
        }
        return answer::pump(body, &mut sink, ticket).await;
    };
    rules::encoded(&mut fields, encoding);
    let mut sink = start(Some(&fields), None);
    let mut out = Vec::new();
    let mut turn = 0;
    for piece in held.chunks(TURN) {
        press_piece(&mut stream, piece, &mut out, &mut turn, &mut sink, ticket).await?;
    }
    drop(held);
    stream_on(body, &mut sink, &mut stream, out, turn, ticket).await
}

/// What came of waiting for a whole body.
enum Gathered {
    /// It is whole: in `held`, or all of it still in the source.
    Whole,
    /// It takes too long, is too much, or breaks off.
    Not,
}

/// Takes what the app sends until its body ends.
async fn gather(body: &mut Source<'_>, held: &mut Vec<u8>, ticket: &Ticket) -> Gathered {
    // most bodies are here with their head and need no timer
    let mut timer = None;
    let flight = &ticket.flight;
    loop {
        if held.is_empty() && body.is_last() && body.data().len() <= WHOLE_MAX {
            return Gathered::Whole;
        }
        let n = body.data().len();
        held.extend_from_slice(body.data());
        body.consume(n);
        if held.len() > WHOLE_MAX {
            return Gathered::Not;
        }
        let more = poll_fn(|cx| match body.poll_data(cx) {
            Poll::Ready(more) => Poll::Ready(Some(more)),
            Poll::Pending => {
                flight.starved_of_answer.set(true);
                let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(GATHER)));
                timer.as_mut().poll(cx).map(|()| None)
            }
        })
        .await;
        flight.starved_of_answer.set(false);
        flight.touch();
        match more {
            Some(Ok(true)) => {}
            Some(Ok(false)) => return Gathered::Whole,
            // a break is found again by whoever reads on
            Some(Err(Broken::Lost | Broken::Malformed)) | None => return Gathered::Not,
        }
    }
}

async fn whole<'a>(
    ctx: &Ctx,
    encoding: Encoding,
    mut fields: HeaderMap,
    start: impl Fn(Option<&HeaderMap>, Option<u64>) -> Sink<'a>,
    body: &mut Source<'_>,
    held: &[u8],
    ticket: &mut Ticket,
) -> Result<(), Cut> {
    let original = if held.is_empty() { body.data() } else { held };
    if original.len() > TURN {
        tokio::task::yield_now().await;
    }
    let made = if original.len() < rules::LEAST {
        None
    } else {
        ctx.press.borrow_mut().whole(encoding, original)
    };
    if made.is_some() {
        rules::encoded(&mut fields, encoding);
    }
    let bytes = made.as_deref().unwrap_or(original);
    // trailers need chunks
    let length = body.trailers().is_none().then_some(bytes.len() as u64);
    let mut sink = start(Some(&fields), length);
    ticket.add_bytes(bytes.len());
    sink.send(bytes, true, body.trailers()).await?;
    ticket.flight.moves(bytes.len());
    let n = body.data().len();
    body.consume(n);
    Ok(())
}

/// Compresses a piece, in turns, and sends what came of it when that is enough.
async fn press_piece(
    stream: &mut Borrowed,
    piece: &[u8],
    out: &mut Vec<u8>,
    turn: &mut usize,
    sink: &mut Sink<'_>,
    ticket: &mut Ticket,
) -> Result<(), Cut> {
    for part in piece.chunks(TURN) {
        if *turn + part.len() > TURN {
            give(out, sink, ticket).await?;
            tokio::task::yield_now().await;
            *turn = 0;
        }
        *turn += part.len();
        stream.press(part, Then::Hold, out)?;
        if out.len() >= PIECE {
            give(out, sink, ticket).await?;
        }
    }
    Ok(())
}

async fn stream_on(
    body: &mut Source<'_>,
    sink: &mut Sink<'_>,
    stream: &mut Borrowed,
    mut out: Vec<u8>,
    mut turn: usize,
    ticket: &mut Ticket,
) -> Result<(), Cut> {
    // what was pressed before may be held back in the compressor
    let mut dirty = turn > 0;
    loop {
        let here = poll_fn(|cx| match body.poll_data(cx) {
            Poll::Ready(r) => Poll::Ready(Some(r)),
            Poll::Pending => Poll::Ready(None),
        });
        let more = match here.await {
            Some(more) => more.map_err(|_| Cut::Here(code::H18)),
            None => {
                if std::mem::take(&mut dirty) {
                    stream.press(&[], Then::Flush, &mut out)?;
                }
                give(&mut out, sink, ticket).await?;
                answer::next(body, sink, ticket).await
            }
        };
        match more {
            Err(cut) => {
                give(&mut out, sink, ticket).await?;
                sink.flush().await?;
                return Err(cut);
            }
            Ok(true) => {
                let n = body.data().len();
                press_piece(stream, body.data(), &mut out, &mut turn, sink, ticket).await?;
                body.consume(n);
                dirty = true;
            }
            Ok(false) => {
                stream.press(&[], Then::Finish, &mut out)?;
                ticket.add_bytes(out.len());
                sink.send(&out, true, body.trailers()).await?;
                ticket.flight.moves(out.len());
                return Ok(());
            }
        }
    }
}

async fn give(out: &mut Vec<u8>, sink: &mut Sink<'_>, ticket: &mut Ticket) -> Result<(), Cut> {
    if out.is_empty() {
        return Ok(());
    }
    ticket.add_bytes(out.len());
    sink.send(out, false, None).await?;
    ticket.flight.moves(out.len());
    out.clear();
    Ok(())
}
