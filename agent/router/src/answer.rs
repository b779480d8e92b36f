//! An app's answer on its way to the client.

use crate::app::Heard;
use crate::compress::{self, Plan};
use crate::flight::Ticket;
use crate::front::Front;
use crate::headers;
use crate::http1::head::Head;
use crate::http1::name::Known;
use crate::sink::{Closed, Sink};
use crate::source::Source;
use hokku_model::code::{self, Code};
use hokku_model::routing::{Compress, Settings};
use std::future::poll_fn;
use std::task::Poll;

/// Why an answer did not become whole.
pub(crate) enum Cut {
    /// The client takes no more.
    Client,
    /// The app or the router broke it off.
    Here(Code),
}

impl From<Closed> for Cut {
    fn from(_: Closed) -> Cut {
        Cut::Client
    }
}

/// Passes an answer on, whole. `asked`: the request's head.
///
/// # Errors
/// When that cannot be done.
pub(crate) async fn pass_on(
    front: &Front<'_>,
    ticket: &mut Ticket,
    settings: &Settings,
    asked: &Head,
    heard: &mut Heard<'_>,
) -> Result<(), Cut> {
    let to_head = asked.is(b"HEAD");
    let Heard {
        head, body, length, ..
    } = heard;
    let bodiless = to_head || matches!(head.status, 204 | 304);
    let told = if bodiless {
        head.first(Known::ContentLength)
            .and_then(|v| std::str::from_utf8(v).ok()?.parse().ok())
    } else {
        *length
    };
    let plan = match settings.compress.unwrap_or_default() {
        Compress::Off => Plan::Leave,
        _ => compress::plan(asked, to_head, head, told),
    };
    let start = |altered: Option<&http::HeaderMap>, length: Option<u64>| {
        let mut out = front.lines(head.status, head.reason());
        headers::answer(&mut out, head, settings, altered);
        front.start(out, head.status, length, !bodiless)
    };
    match plan {
        Plan::Leave => pump(body, &mut start(None, told), ticket).await,
        Plan::Vary(map) => pump(body, &mut start(Some(&map), told), ticket).await,
        // beside the request's own state, which stays small for those that need none of this
        Plan::Press(press) => Box::pin(compress::pass_on(press, start, body, told, ticket)).await,
    }
}

/// Waits for the next bytes of an answer, and sends before what is held back.
///
/// # Errors
/// When there will be none.
pub(crate) async fn next(
    body: &mut Source<'_>,
    sink: &mut Sink<'_>,
    ticket: &Ticket,
) -> Result<bool, Cut> {
    let here = poll_fn(|cx| match body.poll_data(cx) {
        Poll::Ready(r) => Poll::Ready(Some(r)),
        Poll::Pending => Poll::Ready(None),
    });
    let more = match here.await {
        Some(more) => more,
        None => {
            sink.flush().await?;
            let flight = &ticket.flight;
            flight.starved_of_answer.set(true);
            let more = poll_fn(|cx| body.poll_data(cx)).await;
            flight.starved_of_answer.set(false);
            flight.touch();
            more
        }
    };
    more.map_err(|_| Cut::Here(code::H18))
}

/// Sends a body as it comes.
///
/// # Errors
/// When it does not become whole.
pub(crate) async fn pump(
    body: &mut Source<'_>,
    sink: &mut Sink<'_>,
    ticket: &mut Ticket,
) -> Result<(), Cut> {
    let flight = ticket.flight.clone();
    loop {
        let more = match next(body, sink, ticket).await {
            Ok(more) => more,
            Err(cut) => {
                // what came before the break is the client's
                sink.flush().await?;
                return Err(cut);
            }
        };
        if !more {
            return Ok(sink.finish(body.trailers()).await?);
        }
        let (n, last) = (body.data().len(), body.is_last());
        ticket.add_bytes(n);
        sink.send(body.data(), last, body.trailers()).await?;
        body.consume(n);
        flight.moves(n);
        if last {
            return Ok(());
        }
    }
}
