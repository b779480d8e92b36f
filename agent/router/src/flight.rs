//! A request on its way: its deadlines, its claim on a dyno, and in the end its log line.
//!
//! Deadlines are not timers: each thread looks through its flights every few milliseconds, leaves a verdict where one is
//! overdue, and wakes the task that waits.

use crate::clock;
use crate::config::Limits;
use crate::dyno::{Claim, Dyno};
use crate::log::Line;
use crate::pool::AppWire;
use crate::thread::Ctx;
use crate::wire::Wire;
use hokku_model::code::{self, Code};
use hokku_model::{AppId, DynoId};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// For a dyno.
    Queue,
    /// For a connection.
    Connect,
    /// For the first byte of the answer.
    FirstByte,
    /// For the next byte of the answer.
    Answer,
    /// It became a tunnel.
    Tunnel,
}

/// Why a request must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Boot,
    Connect,
    FirstByte,
    AppIdle,
    ClientIdle,
    /// The dyno's drain deadline, or the router's.
    Cut,
}

impl Verdict {
    pub fn code(self) -> Code {
        match self {
            Verdict::Boot => code::H20,
            Verdict::Connect => code::H19,
            Verdict::FirstByte => code::H12,
            Verdict::AppIdle => code::H15,
            Verdict::ClientIdle => code::H28,
            Verdict::Cut => code::H18,
        }
    }
}

/// How the request's body failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientFault {
    Gone,
    BadBody,
}

/// The part of a request's state that bodies, tunnels and the sweep share.
pub(crate) struct Flight {
    pub ctx: Rc<Ctx>,
    pub wire: Arc<Wire>,
    begun: u64,
    phase: Cell<Phase>,
    touched: Cell<u64>,
    verdict: Cell<Option<Verdict>>,
    /// The tunnel is asked to end politely.
    closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    claim: RefCell<Option<Claim>>,
    app_wire: RefCell<Option<Arc<AppWire>>>,
    /// The request's body is not wholly here, and the last look found nothing.
    pub starved_of_upload: Cell<bool>,
    /// The answer is not wholly here, and the last look found nothing.
    pub starved_of_answer: Cell<bool>,
    pub client_fault: Cell<Option<ClientFault>>,
    over: Cell<bool>,
}

impl Flight {
    /// A byte moved.
    pub fn touch(&self) {
        self.touched.set(self.ctx.coarse_ms());
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.touched.set(clock::ms());
    }

    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict.get()
    }

    /// Forgets a verdict that only ended one attempt.
    pub fn pardon(&self, v: Verdict) {
        if self.verdict.get() == Some(v) {
            self.verdict.set(None);
        }
    }

    pub fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Nobody waits for this request any more.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// The task to wake when there is a verdict.
    pub fn wake_here(&self, cx: &mut Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(w) = waker {
            w.wake();
        }
    }

    /// Runs `future` until it is done or a verdict falls.
    ///
    /// # Errors
    /// The verdict.
    pub async fn until<F: Future>(&self, future: F) -> Result<F::Output, Verdict> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Some(v) = self.verdict.get() {
                return Poll::Ready(Err(v));
            }
            self.wake_here(cx);
            future.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    pub fn assign(&self, claim: Claim) {
        *self.claim.borrow_mut() = Some(claim);
    }

    pub fn unassign(&self) {
        *self.app_wire.borrow_mut() = None;
        *self.claim.borrow_mut() = None;
    }

    pub fn uses(&self, wire: &Arc<AppWire>) {
        *self.app_wire.borrow_mut() = Some(wire.clone());
    }

    pub fn is_for(&self, dyno: DynoId) -> bool {
        self.claim
            .borrow()
            .as_ref()
            .is_some_and(|c| c.dyno().id == dyno)
    }

    pub fn is_tunnel(&self) -> bool {
        self.phase.get() == Phase::Tunnel
    }

    /// Asks a tunnel to close; plain requests go on.
    pub fn ask_to_close(&self) {
        self.closing.set(true);
        if self.phase.get() == Phase::Tunnel {
            self.wake();
        }
    }

    /// Ends it now. The claim is given up even if the task never runs again.
    pub fn cut(&self) {
        self.sentence(Verdict::Cut);
        if let Some(w) = self.app_wire.borrow().as_ref() {
            w.shut();
        }
        if self.phase.get() == Phase::Answer {
            self.wire.shut();
        }
        *self.claim.borrow_mut() = None;
    }

    fn sentence(&self, v: Verdict) {
        self.verdict.set(Some(v));
        self.wake();
    }

    /// Looks at the deadline of the present phase.
    pub fn check(&self, now: u64, limits: &Limits) {
        if self.verdict.get().is_some() {
            return;
        }
        let after = |since: u64, limit: Duration| {
            u128::from(now.saturating_sub(since)) >= limit.as_millis()
        };
        let touched = self.touched.get();
        match self.phase.get() {
            Phase::Queue if after(self.begun, limits.boot) => self.sentence(Verdict::Boot),
            Phase::Connect if after(touched, limits.connect) => self.sentence(Verdict::Connect),
            Phase::FirstByte => {
                let starved = self.starved_of_upload.get();
                let limit = if starved {
                    limits.idle
                } else {
                    limits.first_byte
                };
                if after(touched, limit) {
                    self.sentence(if starved {
                        Verdict::ClientIdle
                    } else {
                        Verdict::FirstByte
                    });
                }
            }
            Phase::Answer if after(touched, limits.idle) => {
                if self.starved_of_answer.get() {
                    self.sentence(Verdict::AppIdle);
                } else {
                    // the writer waits for the client and will not look at the verdict
                    self.sentence(Verdict::ClientIdle);
                    self.wire.shut();
                }
            }
            Phase::Tunnel if limits.tunnel_idle.is_some_and(|l| after(touched, l)) => {
                self.ask_to_close()
            }
            _ => {}
        }
    }
}

struct Entry {
    method: Method,
    path: Option<PathAndQuery>,
    host: HeaderValue,
    request_id: HeaderValue,
    fwd: HeaderValue,
    https: bool,
    protocol: &'static str,
    app: Option<AppId>,
    dyno: Option<Arc<Dyno>>,
    connect: Option<u64>,
    /// When the request was given to the dyno.
    given: Option<u64>,
    status: u16,
    bytes: u64,
    code: Option<Code>,
    sock: Option<&'static str>,
    concluded: bool,
    unread: bool,
}

/// Owns a flight. When it is dropped the request is over: the claim is given up and the line is logged. Unless it was
/// concluded before, the client went away (H27).
pub(crate) struct Ticket {
    pub flight: Rc<Flight>,
    /// Does the app let its answers be compressed?
    pub compress: bool,
    key: usize,
    entry: Box<Entry>,
}

impl Ticket {
    pub fn new<B>(ctx: &Rc<Ctx>, wire: &Arc<Wire>, request: &http::Request<B>) -> Ticket {
        let begun = clock::ms();
        let flight = Rc::new(Flight {
            ctx: ctx.clone(),
            wire: wire.clone(),
            begun,
            phase: Cell::new(Phase::Queue),
            touched: Cell::new(begun),
            verdict: Cell::new(None),
            closing: Cell::new(false),
            waker: RefCell::new(None),
            claim: RefCell::new(None),
            app_wire: RefCell::new(None),
            starved_of_upload: Cell::new(false),
            starved_of_answer: Cell::new(false),
            client_fault: Cell::new(None),
            over: Cell::new(false),
        });
        let key = ctx.flights.borrow_mut().insert(flight.clone());
        let headers = request.headers();
        let authority = || {
            request
                .uri()
                .authority()
                .and_then(|a| HeaderValue::from_str(a.as_str()).ok())
        };
        let host = headers.get(http::header::HOST).cloned().or_else(authority);
        let entry = Entry {
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            host: host.unwrap_or(HeaderValue::from_static("")),
            request_id: HeaderValue::from_static(""),
            fwd: wire.peer_text.clone(),
            https: false,
            protocol: match request.version() {
                Version::HTTP_2 => "http2.0",
                Version::HTTP_10 => "http1.0",
                _ => "http1.1",
            },
            app: None,
            dyno: None,
            connect: None,
            given: None,
            status: 499,
            bytes: 0,
            code: None,
            sock: None,
            concluded: false,
            unread: false,
        };
        Ticket {
            flight,
            compress: false,
            key,
            entry: Box::new(entry),
        }
    }

    pub fn forwarded(&mut self, request_id: HeaderValue, fwd: HeaderValue, https: bool) {
        self.entry.request_id = request_id;
        self.entry.fwd = fwd;
        self.entry.https = https;
    }

    pub fn of_app(&mut self, app: AppId, compress: bool) {
        self.entry.app = Some(app);
        self.compress = compress;
    }

    pub fn given_to(&mut self, dyno: &Arc<Dyno>, connect_ms: u64) {
        self.entry.dyno = Some(dyno.clone());
        self.entry.connect = Some(connect_ms);
        self.entry.given = Some(clock::ms());
    }

    /// The dyno of the last attempt, for the line of a failed request.
    pub fn tried(&mut self, dyno: &Arc<Dyno>) {
        self.entry.dyno = Some(dyno.clone());
    }

    pub fn status(&mut self, status: u16) {
        self.entry.status = status;
    }

    pub fn add_bytes(&mut self, n: usize) {
        self.entry.bytes += n as u64;
    }

    /// The client may still be sending a body that nobody reads.
    pub fn leaves_unread(&mut self) {
        self.entry.unread = true;
    }

    /// The answer is complete.
    pub fn conclude(&mut self) {
        self.entry.concluded = true;
    }

    /// The router failed the request with this code.
    pub fn fail(&mut self, c: Code) {
        if self.entry.concluded {
            return;
        }
        self.entry.code = Some(c);
        self.entry.status = c.status;
        self.entry.sock = match c {
            code::H18 => Some("backend"),
            code::H27 | code::H28 => Some("client"),
            _ => None,
        };
        self.entry.concluded = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.entry.concluded {
            self.fail(self.flight.verdict().map_or(code::H27, Verdict::code));
        }
        let flight = &self.flight;
        flight.over.set(true);
        flight.unassign();
        flight.wire.done(self.entry.unread);
        let ctx = &flight.ctx;
        ctx.flights.borrow_mut().remove(self.key);
        let e = &self.entry;
        let line = Line {
            code: e.code,
            sock: e.sock,
            method: e.method.as_str(),
            path: e.path.as_ref().map_or(&b"/"[..], |p| p.as_str().as_bytes()),
            host: e.host.as_bytes(),
            request_id: e.request_id.as_bytes(),
            fwd: e.fwd.as_bytes(),
            dyno: e.dyno.as_ref().map_or("", |d| &d.name),
            connect: e.connect,
            service: e.given.map(|g| clock::ms().saturating_sub(g)),
            status: e.status,
            bytes: e.bytes,
            protocol: e.protocol,
            https: e.https,
        };
        ctx.lines.borrow_mut().add(e.app, &line);
    }
}
