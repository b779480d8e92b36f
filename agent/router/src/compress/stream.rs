//! The body of an app's answer as it is gathered, compressed, and sent.

use super::press::{Stream, Then};
use super::{GATHER, TURN, WHOLE_MAX};
use crate::body::{Answer, Broken};
use bytes::Bytes;
use hokku_model::code;
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};

/// Output is sent when there is so much of it, or when the app pauses.
const PIECE: usize = 16 * 1024;

type Next = Poll<Option<Result<Frame<Bytes>, Broken>>>;

/// How the app's body ended.
enum End {
    /// All is there.
    Whole,
    /// It broke off.
    Broken(Broken),
}

/// A body between app and client.
pub(crate) struct Squeezed {
    answer: Box<Answer>,
    /// `None`: what is held goes out as it is.
    stream: Option<Stream>,
    /// Gathered, or not yet compressed.
    held: VecDeque<Bytes>,
    end: Option<End>,
    trailers: Option<HeaderMap>,
    /// Compressed, not yet sent.
    out: Vec<u8>,
    /// Something went into the compressor and nothing was flushed since.
    dirty: bool,
    /// Bytes compressed in this turn.
    turn: usize,
    finished: bool,
}

impl Squeezed {
    pub fn new(answer: Box<Answer>) -> Squeezed {
        Squeezed {
            answer,
            stream: None,
            held: VecDeque::new(),
            end: None,
            trailers: None,
            out: Vec::new(),
            dirty: false,
            turn: 0,
            finished: false,
        }
    }

    /// Takes what the app sends until its body ends; false when that takes too long, is too much, or breaks off.
    pub async fn gather(&mut self) -> bool {
        let mut size = 0;
        // most bodies are here with their head and need no timer
        let mut timer = None;
        poll_fn(|cx| {
            while self.end.is_none() && size <= WHOLE_MAX {
                match self.poll_app(cx) {
                    Poll::Ready(n) => size += n,
                    Poll::Pending => {
                        let timer =
                            timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(GATHER)));
                        return timer.as_mut().poll(cx);
                    }
                }
            }
            Poll::Ready(())
        })
        .await;
        size <= WHOLE_MAX && matches!(self.end, Some(End::Whole))
    }

    /// All that was gathered, in one piece.
    pub fn gathered(&mut self) -> Bytes {
        if self.held.len() > 1 {
            let all: Vec<&[u8]> = self.held.iter().map(|b| &b[..]).collect();
            let all = Bytes::from(all.concat());
            self.held.clear();
            return all;
        }
        self.held.pop_front().unwrap_or_default()
    }

    /// Sends this in place of what was gathered.
    pub fn instead(&mut self, bytes: Bytes) {
        self.held.clear();
        self.held.push_back(bytes);
    }

    /// Sends everything through a compressor.
    pub fn through(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    /// Compression saved so many bytes of the whole body.
    pub fn saves(&self, n: usize) {
        self.answer.flight().saved.set(n as u64);
    }

    pub fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// The next of the app's bytes, how many, or the end.
    fn poll_app(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut size = 0;
        match ready!(self.answer.poll(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    size = data.len();
                    self.held.push_back(data);
                }
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    self.end = Some(End::Whole);
                }
            },
            Some(Err(broken)) => self.end = Some(End::Broken(broken)),
            None => self.end = Some(End::Whole),
        }
        Poll::Ready(size)
    }

    /// The next frame for the client.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Next {
        while !self.finished {
            if self.turn >= TURN {
                self.turn = 0;
                // woken only after the sockets were looked at; a plain wake would be served before them, many times over
                if pin!(tokio::task::yield_now()).poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            if let Some(piece) = self.held.pop_front() {
                if self.stream.is_none() {
                    if !piece.is_empty() {
                        return self.give(piece);
                    }
                } else {
                    self.press_piece(piece)?;
                }
            } else {
                match self.end.take() {
                    Some(End::Whole) => {
                        self.press(&[], Then::Finish)?;
                        self.finished = true;
                    }
                    Some(End::Broken(broken)) => {
                        self.end = Some(End::Broken(Broken(broken.0)));
                        return Poll::Ready(Some(Err(broken)));
                    }
                    None => {
                        if self.poll_app(cx).is_ready() {
                            continue;
                        }
                        if self.dirty {
                            self.press(&[], Then::Flush)?;
                            self.dirty = false;
                        }
                        if self.out.is_empty() {
                            return Poll::Pending;
                        }
                        // from here the client is waited for, until the next look
                        self.answer.is_fed();
                        return self.give_out();
                    }
                }
            }
            let pause = self.finished || self.turn >= TURN;
            if self.out.len() >= PIECE || (pause && !self.out.is_empty()) {
                return self.give_out();
            }
        }
        Poll::Ready(self.trailers.take().map(|t| Ok(Frame::trailers(t))))
    }

    /// Compresses as much of a piece as this turn allows.
    fn press_piece(&mut self, mut piece: Bytes) -> Result<(), Broken> {
        let now = piece.split_to(piece.len().min(TURN - self.turn));
        if !piece.is_empty() {
            self.held.push_front(piece);
        }
        self.turn += now.len();
        self.dirty = true;
        self.press(&now, Then::Hold)
    }

    fn press(&mut self, input: &[u8], then: Then) -> Result<(), Broken> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        stream.press(input, then, &mut self.out).map_err(|_| {
            self.answer.fail(code::H99);
            Broken("the answer could not be compressed")
        })
    }

    fn give_out(&mut self) -> Next {
        let bytes = Bytes::from(std::mem::take(&mut self.out));
        self.give(bytes)
    }

    fn give(&mut self, bytes: Bytes) -> Next {
        // told with the last bytes, because nobody may ask for more
        self.finished |=
            self.stream.is_none() && self.held.is_empty() && matches!(self.end, Some(End::Whole));
        self.answer.sends(bytes.len());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    pub fn is_end_stream(&self) -> bool {
        self.finished && self.out.is_empty() && self.trailers.is_none()
    }

    pub fn size_hint(&self) -> SizeHint {
        if self.stream.is_some() || self.trailers.is_some() {
            return SizeHint::default();
        }
        let held: usize = self.held.iter().map(Bytes::len).sum();
        let rest = match self.end {
            Some(_) => Some(0),
            None => self.answer.length(),
        };
        rest.map_or(SizeHint::default(), |n| {
            SizeHint::with_exact(n + held as u64)
        })
    }
}

impl Drop for Squeezed {
    fn drop(&mut self) {
        let passed = self.stream.is_none() && self.held.is_empty();
        if !passed && !self.is_end_stream() {
            self.answer.owes();
        }
        if let Some(stream) = self.stream.take() {
            self.answer.ctx().press.borrow_mut().end(stream);
        }
    }
}
