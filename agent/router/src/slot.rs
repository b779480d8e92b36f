//! One frame of a body that our code makes and hyper's HTTP/2 takes: the two meet here, one frame at a time.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::task::AbortHandle;

/// A body that ends too early, so that its stream must be reset.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body broke off")
    }
}
impl std::error::Error for Broken {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Broken,
}

struct Slot {
    frame: RefCell<Option<Frame<Bytes>>>,
    state: Cell<State>,
    /// Nobody takes frames any more.
    abandoned: Cell<bool>,
    giver: RefCell<Option<Waker>>,
    taker: RefCell<Option<Waker>>,
}

fn wake(place: &RefCell<Option<Waker>>) {
    let waker = place.borrow_mut().take();
    if let Some(w) = waker {
        w.wake();
    }
}

/// Both ends of a body.
pub(crate) fn pair() -> (Giver, Taker) {
    let slot = Rc::new(Slot {
        frame: RefCell::new(None),
        state: Cell::new(State::Open),
        abandoned: Cell::new(false),
        giver: RefCell::new(None),
        taker: RefCell::new(None),
    });
    let giver = Giver(slot.clone());
    (giver, Taker { slot, task: None })
}

/// Puts frames in. Dropped before the end was told, it breaks the body off.
pub(crate) struct Giver(Rc<Slot>);

impl Giver {
    /// Ready when there is room for a frame.
    ///
    /// # Errors
    /// When nobody takes frames any more.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.0.abandoned.get() {
            return Poll::Ready(Err(Broken));
        }
        if self.0.frame.borrow().is_none() {
            return Poll::Ready(Ok(()));
        }
        *self.0.giver.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts a frame where there is room for it.
    pub fn put(&self, frame: Frame<Bytes>) {
        *self.0.frame.borrow_mut() = Some(frame);
        wake(&self.0.taker);
    }

    /// After what was put in comes nothing more.
    pub fn end(&self) {
        self.0.state.set(State::Ended);
        wake(&self.0.taker);
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        if self.0.state.get() == State::Open {
            self.0.state.set(State::Broken);
            wake(&self.0.taker);
        }
    }
}

/// The body as hyper takes it.
pub(crate) struct Taker {
    slot: Rc<Slot>,
    task: Option<AbortHandle>,
}

impl Taker {
    /// A task that has no purpose any more when nobody takes the body.
    pub fn belongs_to(&mut self, task: AbortHandle) {
        self.task = Some(task);
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.slot.abandoned.set(true);
        wake(&self.slot.giver);
        let complete = self.is_end_stream();
        if let Some(task) = self.task.take_if(|_| !complete) {
            task.abort();
        }
    }
}

impl Body for Taker {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = self.slot.frame.borrow_mut().take();
        if let Some(frame) = frame {
            wake(&self.slot.giver);
            return Poll::Ready(Some(Ok(frame)));
        }
        match self.slot.state.get() {
            State::Ended => Poll::Ready(None),
            State::Broken => Poll::Ready(Some(Err(Broken))),
            State::Open => {
                *self.slot.taker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.slot.state.get() == State::Ended && self.slot.frame.borrow().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
