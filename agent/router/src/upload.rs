//! A request's body on its way to the app, while its answer is waited for or passed on.

use crate::flight::Flight;
use crate::front::Front;
use crate::sink::{Closed, Sink};
use crate::source::{Broken, Source};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Why an upload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The app takes no more of it; there may be an answer nevertheless.
    Unwanted,
    /// The app's connection was closed before it got a byte.
    Unseen,
    /// The client left.
    Gone,
    /// The client's chunks are not formed as they have to be.
    Malformed,
    /// It is longer than the app lets it be.
    TooLong,
}

impl From<Closed> for Ended {
    fn from(closed: Closed) -> Ended {
        if closed.untouched {
            Ended::Unseen
        } else {
            Ended::Unwanted
        }
    }
}

/// How far an upload is.
#[derive(Default)]
pub(crate) struct Progress {
    /// Some of the body was given away, so the request cannot be sent once more.
    pub touched: Cell<bool>,
    /// The app has all of it.
    pub done: Cell<bool>,
}

/// Sends the head that waits in `up`, then the body. After that it watches whether the client leaves. `expects`: the
/// client waits to be told to go on.
pub(crate) async fn upload(
    body: &mut Source<'_>,
    up: &mut Sink<'_>,
    flight: &Flight,
    progress: &Progress,
    limit: u64,
    front: &Front<'_>,
    expects: bool,
) -> Ended {
    match pass_on(body, up, flight, progress, limit, front, expects).await {
        Err(ended) => ended,
        Ok(()) => {
            progress.done.set(true);
            poll_fn(|cx| body.poll_gone(cx)).await;
            Ended::Gone
        }
    }
}

async fn pass_on(
    body: &mut Source<'_>,
    up: &mut Sink<'_>,
    flight: &Flight,
    progress: &Progress,
    limit: u64,
    front: &Front<'_>,
    mut expects: bool,
) -> Result<(), Ended> {
    let mut passed = 0;
    loop {
        let here = poll_fn(|cx| match body.poll_data(cx) {
            Poll::Ready(r) => Poll::Ready(Some(r)),
            Poll::Pending => Poll::Ready(None),
        });
        let more = match here.await {
            Some(more) => more,
            None => {
                up.flush().await?;
                if std::mem::take(&mut expects) && !flight.is_answering() {
                    front.go_on().await;
                }
                flight.starved_of_upload.set(true);
                let more = poll_fn(|cx| body.poll_data(cx)).await;
                flight.starved_of_upload.set(false);
                more
            }
        };
        match more {
            Err(Broken::Lost) => return Err(Ended::Gone),
            Err(Broken::Malformed) => return Err(Ended::Malformed),
            Ok(false) => return Ok(up.finish(body.trailers()).await?),
            Ok(true) => {
                let n = body.data().len();
                passed += n as u64;
                if passed > limit {
                    return Err(Ended::TooLong);
                }
                let last = body.is_last();
                up.send(body.data(), last, body.trailers()).await?;
                progress.touched.set(true);
                body.consume(n);
                flight.moves(n);
                if last {
                    return Ok(());
                }
            }
        }
    }
}

/// Runs `main`, which is pinned elsewhere, while an upload goes on beside it.
///
/// # Errors
/// How the upload ended, when that ends the request.
pub(crate) fn beside<F: Future + Unpin>(
    upload: &mut Option<Pin<&mut impl Future<Output = Ended>>>,
    mut main: F,
) -> impl Future<Output = Result<F::Output, Ended>> + Unpin {
    poll_fn(move |cx| {
        if let Poll::Ready(done) = Pin::new(&mut main).poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if let Some(running) = upload
            && let Poll::Ready(ended) = running.as_mut().poll(cx)
        {
            *upload = None;
            if ended != Ended::Unwanted {
                return Poll::Ready(Err(ended));
            }
        }
        Poll::Pending
    })
}
