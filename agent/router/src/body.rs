//! Bodies on their way through, frame by frame, in both directions. Nothing is gathered here (see `compress`).

use crate::compress::Squeezed;
use crate::flight::{ClientFault, Flight, Ticket};
use crate::pool::Lease;
use crate::thread::Ctx;
use bytes::Bytes;
use hokku_model::code::{self, Code};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A body that ends too early, so that the connection it is on must be closed.
#[derive(Debug)]
pub(crate) struct Broken(pub &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
impl std::error::Error for Broken {}

/// A request's body, kept so that it can be sent to another dyno as long as nothing of it was taken.
pub(crate) struct Upload {
    body: RefCell<Incoming>,
    taken: Cell<bool>,
    ended: Cell<bool>,
}

impl Upload {
    /// `None` when there is no body.
    pub fn new(body: Incoming) -> Option<Rc<Upload>> {
        if body.is_end_stream() {
            return None;
        }
        Some(Rc::new(Upload {
            body: RefCell::new(body),
            taken: Cell::new(false),
            ended: Cell::new(false),
        }))
    }

    pub fn is_untouched(&self) -> bool {
        !self.taken.get()
    }

    pub fn is_complete(&self) -> bool {
        self.ended.get() || self.body.borrow().is_end_stream()
    }

    /// Is the length unknown, so that it has to be sent in chunks?
    pub fn is_chunked(&self) -> bool {
        self.body.borrow().size_hint().exact().is_none()
    }
}

/// Is the body, if there is one, wholly read?
pub(crate) fn is_complete(upload: Option<&Rc<Upload>>) -> bool {
    upload.is_none_or(|u| u.is_complete())
}

/// Did the client leave, or send what is no body?
fn fault(error: &hyper::Error) -> ClientFault {
    let cause = std::error::Error::source(error).and_then(|s| s.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => ClientFault::BadBody,
        _ => ClientFault::Gone,
    }
}

/// The request's body as it goes to the app.
pub(crate) struct Up {
    upload: Option<Rc<Upload>>,
    flight: Rc<Flight>,
}

impl Up {
    pub fn new(upload: Option<Rc<Upload>>, flight: Rc<Flight>) -> Up {
        Up { upload, flight }
    }
}

impl Body for Up {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let flight = &self.flight;
        let Some(upload) = &self.upload else {
            return Poll::Ready(None);
        };
        if flight.is_over() {
            return Poll::Ready(Some(Err(Broken("the request is over"))));
        }
        match Pin::new(&mut *upload.body.borrow_mut()).poll_frame(cx) {
            Poll::Pending => {
                flight.starved_of_upload.set(true);
                Poll::Pending
            }
            Poll::Ready(next) => {
                flight.starved_of_upload.set(false);
                flight.touch();
                upload.taken.set(true);
                if let Some(Ok(frame)) = &next {
                    let n = frame.data_ref().map_or(0, Bytes::len) as u64;
                    flight.uploaded.set(flight.uploaded.get() + n);
                }
                if next
                    .as_ref()
                    .is_none_or(|f| f.as_ref().is_ok_and(Frame::is_trailers))
                {
                    upload.ended.set(true);
                }
                Poll::Ready(next.map(|frame| {
                    frame.map_err(|e| {
                        flight.client_fault.set(Some(fault(&e)));
                        Broken("the client's body broke off")
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upload.as_ref().is_none_or(|u| u.is_complete())
    }

    fn size_hint(&self) -> SizeHint {
        self.upload
            .as_ref()
            .map_or(SizeHint::with_exact(0), |u| u.body.borrow().size_hint())
    }
}

/// The answer's body as it goes to the client.
pub(crate) enum Down {
    /// All of it.
    Page(Option<Bytes>),
    /// The app's.
    App(Box<Answer>),
    /// The app's, looked through by the compression.
    Squeezed(Box<Squeezed>),
}

/// The body of an app's answer, with all that must live until its end.
pub(crate) struct Answer {
    body: Incoming,
    ticket: Ticket,
    lease: Option<Lease>,
    upload: Option<Rc<Upload>>,
    ended: bool,
    owed: bool,
}

impl Down {
    /// Nothing to send.
    pub fn empty() -> Down {
        Down::Page(None)
    }

    /// The body of an app's answer; what is over at once is finished at once.
    pub fn answer(answer: Box<Answer>) -> Down {
        if answer.is_over() {
            Down::empty()
        } else {
            Down::App(answer)
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let uploaded = is_complete(self.upload.as_ref());
        if !uploaded {
            self.ticket.leaves_unread();
        }
        let ended = self.ended || self.body.is_end_stream();
        if ended && !self.owed {
            self.ticket.conclude();
        }
        let Some(lease) = self.lease.take() else {
            return;
        };
        if ended && uploaded {
            let ctx = &self.ticket.flight.ctx;
            ctx.pool.borrow_mut().give_back(lease, &ctx.shared.limits);
        } else {
            lease.wire.shut();
        }
    }
}

impl Answer {
    pub fn new(
        body: Incoming,
        ticket: Ticket,
        lease: Lease,
        upload: Option<Rc<Upload>>,
    ) -> Box<Answer> {
        Box::new(Answer {
            body,
            ticket,
            lease: Some(lease),
            upload,
            ended: false,
            owed: false,
        })
    }

    pub fn ctx(&self) -> &Rc<Ctx> {
        &self.ticket.flight.ctx
    }

    pub fn flight(&self) -> &Flight {
        &self.ticket.flight
    }

    /// Is nothing left to read?
    pub fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Of what is left to read, in bytes, when known.
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// So many bytes go to the client.
    pub fn sends(&mut self, n: usize) {
        self.ticket.add_bytes(n);
    }

    /// The app's body is read, but the client has not got all that was made of it.
    pub fn owes(&mut self) {
        self.owed = true;
    }

    /// There is something for the client to take, though the app has paused.
    pub fn is_fed(&self) {
        self.ticket.flight.starved_of_answer.set(false);
        self.ticket.flight.touch();
    }

    pub fn fail(&mut self, c: Code) {
        self.ticket.fail(c);
    }

    /// The next frame of the app's body. Whoever sends it on has to tell [`Answer::sends`].
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let flight = &self.ticket.flight;
        if let Some(verdict) = flight.verdict() {
            self.ticket.fail(verdict.code());
            return Poll::Ready(Some(Err(Broken("the answer was cut off"))));
        }
        flight.wake_here(cx);
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                flight.starved_of_answer.set(true);
                Poll::Pending
            }
            Poll::Ready(next) => {
                flight.starved_of_answer.set(false);
                flight.touch();
                match next {
                    Some(Ok(frame)) => {
                        // trailers come last
                        self.ended |= frame.is_trailers();
                        Poll::Ready(Some(Ok(frame)))
                    }
                    Some(Err(_)) => {
                        self.ticket.fail(code::H18);
                        Poll::Ready(Some(Err(Broken("the app broke off its answer"))))
                    }
                    None => {
                        self.ended = true;
                        Poll::Ready(None)
                    }
                }
            }
        }
    }
}

impl Body for Down {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        match this {
            Down::Page(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Down::App(answer) => {
                let next = answer.poll(cx);
                match &next {
                    Poll::Ready(None) => *this = Down::empty(),
                    Poll::Ready(Some(Ok(frame))) => {
                        answer.sends(frame.data_ref().map_or(0, Bytes::len));
                    }
                    _ => {}
                }
                next
            }
            Down::Squeezed(body) => {
                let next = body.poll(cx);
                if let Poll::Ready(None) = next {
                    *this = Down::empty();
                }
                next
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Down::Page(bytes) => bytes.is_none(),
            Down::App(answer) => answer.is_over(),
            Down::Squeezed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Down::Page(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Down::App(answer) => answer.body.size_hint(),
            Down::Squeezed(body) => body.size_hint(),
        }
    }
}
