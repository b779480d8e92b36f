//! A request on its way: its deadlines, its claim on a dyno, and in the end its log line.
//!
//! Deadlines are not timers: each thread looks through its flights every few milliseconds, leaves a verdict where one is
//! overdue, and wakes the task that waits.

use crate::app::AppWire;
use crate::buffers;
use crate::clock;
use crate::config::Limits;
use crate::dyno::{Claim, Dyno};
use crate::gate::Pass;
use crate::log::Line;
use crate::metrics::{Count, Finished, NO_APP};
use crate::rules::Effective;
use crate::table::App;
use crate::thread::Ctx;
use crate::wire::Wire;
use hokku_model::DynoId;
use hokku_model::code::{self, Code};
use hokku_model::route::Passing;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// For a place among the requests that the app takes at once.
    Place,
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
    Place,
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
            Verdict::Place => code::H11,
            Verdict::Boot => code::H20,
            Verdict::Connect => code::H19,
            Verdict::FirstByte => code::H12,
            Verdict::AppIdle => code::H15,
            Verdict::ClientIdle => code::H28,
            Verdict::Cut => code::H18,
        }
    }
}

/// What an app's settings say about times.
#[derive(Clone, Copy, Default)]
struct Times {
    first_byte: Option<Duration>,
    idle: Option<Duration>,
    /// Milliseconds.
    queue: Option<u64>,
    /// Bytes a second; 0: no limit.
    rate: u32,
}

/// How fast the client was while it was waited for.
#[derive(Clone, Copy, Default)]
struct Pace {
    /// Milliseconds waited in this window.
    waited: u64,
    /// What had moved when it began.
    moved: u64,
    looked: u64,
}

/// The part of a request's state that bodies, tunnels and the sweep share.
pub(crate) struct Flight {
    pub ctx: Rc<Ctx>,
    begun: u64,
    phase: Cell<Phase>,
    touched: Cell<u64>,
    verdict: Cell<Option<Verdict>>,
    /// The tunnel is asked to end politely.
    closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    claim: RefCell<Option<Claim>>,
    app_wire: RefCell<Option<Rc<AppWire>>>,
    times: Cell<Times>,
    pace: Cell<Pace>,
    /// Bytes that came from the client or went to it.
    moved: Cell<u64>,
    /// The request's body is not wholly here, and the last look found nothing.
    pub starved_of_upload: Cell<bool>,
    /// The answer is not wholly here, and the last look found nothing.
    pub starved_of_answer: Cell<bool>,
    /// Bytes of the request's body that were read.
    pub uploaded: Cell<u64>,
    /// Bytes that compression saved.
    pub saved: Cell<u64>,
    /// Its app's row among the figures.
    slot: Cell<u32>,
    /// For its log line, and for who asks what is in flight.
    texts: RefCell<Texts>,
}

impl Flight {
    /// A byte moved.
    pub fn touch(&self) {
        self.touched.set(self.ctx.coarse_ms());
    }

    pub fn enter(&self, phase: Phase) {
        self.enter_at(phase, clock::ms());
    }

    /// The same, by a clock that was just looked at.
    pub fn enter_at(&self, phase: Phase, now: u64) {
        if phase == Phase::Tunnel {
            self.count(Count::TunnelsOpened);
        }
        self.phase.set(phase);
        self.touched.set(now);
    }

    /// Has the answer begun?
    pub fn is_answering(&self) -> bool {
        self.phase.get() == Phase::Answer
    }

    /// Bytes came from the client, or were taken by it.
    pub fn moves(&self, n: usize) {
        self.moved.set(self.moved.get() + n as u64);
        self.touch();
    }

    /// The app's own limits, and how long it lets requests wait.
    pub fn limit(&self, settings: &Effective, queue_ms: Option<u64>) {
        self.times.set(Times {
            first_byte: settings.first_byte,
            idle: settings.idle,
            queue: queue_ms,
            rate: settings.min_rate.unwrap_or(0),
        });
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

    /// Forgets any verdict: the answer that tells of it is to be sent.
    pub fn acquit(&self) {
        self.verdict.set(None);
    }

    pub fn is_closing(&self) -> bool {
        self.closing.get()
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

    /// Runs `future`, which is pinned elsewhere, until it is done or a verdict falls.
    ///
    /// # Errors
    /// The verdict.
    pub fn until<F: Future + Unpin>(
        &self,
        mut future: F,
    ) -> impl Future<Output = Result<F::Output, Verdict>> {
        poll_fn(move |cx| {
            if let Some(v) = self.verdict.get() {
                return Poll::Ready(Err(v));
            }
            self.wake_here(cx);
            Pin::new(&mut future).poll(cx).map(Ok)
        })
    }

    pub fn assign(&self, claim: Claim) {
        *self.claim.borrow_mut() = Some(claim);
    }

    pub fn unassign(&self) {
        *self.app_wire.borrow_mut() = None;
        *self.claim.borrow_mut() = None;
    }

    pub fn uses(&self, wire: &Rc<AppWire>) {
        *self.app_wire.borrow_mut() = Some(wire.clone());
    }

    pub fn is_for(&self, dyno: DynoId) -> bool {
        self.claim
            .borrow()
            .as_ref()
            .is_some_and(|c| c.dyno().id == dyno)
    }

    /// What it asks for, as somebody may see it who looks at the app: no query, and not without end.
    pub fn shown(&self, now: u64) -> Passing {
        let texts = self.texts.borrow();
        let path = texts
            .get(1)
            .split(|b| *b == b'?')
            .next()
            .unwrap_or_default();
        let text = |b: &[u8]| String::from_utf8_lossy(&b[..b.len().min(SHOWN)]).into_owned();
        Passing {
            method: text(texts.get(0)),
            path: text(path),
            ms: now.saturating_sub(self.begun),
        }
    }

    pub fn is_tunnel(&self) -> bool {
        self.phase.get() == Phase::Tunnel
    }

    /// Counts something that happened to the app's requests.
    pub fn count(&self, what: Count) {
        self.ctx.metrics.count(self.slot.get(), what, 1);
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
        *self.claim.borrow_mut() = None;
    }

    /// Did the client send or take too little in the last window in which it was waited for?
    fn is_slow(&self, now: u64, rate: u32, limits: &Limits) -> bool {
        let waits = match self.phase.get() {
            Phase::FirstByte => self.starved_of_upload.get(),
            Phase::Answer => !self.starved_of_answer.get(),
            _ => false,
        };
        let mut pace = self.pace.get();
        if waits && pace.looked > 0 {
            pace.waited += now.saturating_sub(pace.looked);
        }
        pace.looked = now;
        let window = u64::try_from(limits.rate_window.as_millis()).unwrap_or(u64::MAX);
        let mut slow = false;
        if pace.waited >= window {
            let moved = self.moved.get();
            slow = (moved - pace.moved).saturating_mul(1000) < u64::from(rate) * pace.waited;
            pace = Pace {
                waited: 0,
                moved,
                looked: now,
            };
        }
        self.pace.set(pace);
        slow
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
        let times = self.times.get();
        let or = |own: Option<Duration>, usual: Duration| own.unwrap_or(usual);
        let queue = || times.queue.map_or(limits.boot, Duration::from_millis);
        if times.rate > 0 && self.is_slow(now, times.rate, limits) {
            return self.sentence(Verdict::ClientIdle);
        }
        match self.phase.get() {
            Phase::Place if after(self.begun, queue()) => self.sentence(Verdict::Place),
            Phase::Queue if after(self.begun, queue()) => self.sentence(Verdict::Boot),
            Phase::Connect if after(touched, limits.connect) => self.sentence(Verdict::Connect),
            Phase::FirstByte => {
                let starved = self.starved_of_upload.get();
                let limit = if starved {
                    or(times.idle, limits.idle)
                } else {
                    or(times.first_byte, limits.first_byte)
                };
                if after(touched, limit) {
                    self.sentence(if starved {
                        Verdict::ClientIdle
                    } else {
                        Verdict::FirstByte
                    });
                }
            }
            Phase::Answer if after(touched, or(times.idle, limits.idle)) => {
                self.sentence(if self.starved_of_answer.get() {
                    Verdict::AppIdle
                } else {
                    Verdict::ClientIdle
                })
            }
            Phase::Tunnel if limits.tunnel_idle.is_some_and(|l| after(touched, l)) => {
                self.ask_to_close()
            }
            _ => {}
        }
    }
}

/// Bytes of a path that are shown.
const SHOWN: usize = 200;

/// Texts of a log line in one piece of memory, one after the other.
#[derive(Default)]
struct Texts {
    all: Vec<u8>,
    /// Ends of method, path, host, request id and forwarded-for.
    ends: [usize; 5],
}

impl Texts {
    fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        self.all.get(start..self.ends[i]).unwrap_or_default()
    }

    fn put(&mut self, i: usize, text: &[u8]) {
        self.all.extend_from_slice(text);
        self.ends[i..].fill(self.all.len());
    }
}

struct Entry {
    https: bool,
    protocol: &'static str,
    app: Option<Arc<App>>,
    tls_version: Option<&'static str>,
    tries: u32,
    dyno: Option<Arc<Dyno>>,
    connect: Option<u64>,
    /// When the request was given to the dyno.
    given: Option<u64>,
    status: u16,
    bytes: u64,
    code: Option<Code>,
    sock: Option<&'static str>,
    concluded: bool,
    pass: Option<Pass>,
}

/// Owns a flight. When it is dropped the request is over: the claim is given up and the line is logged. Unless it was
/// concluded before, the client went away (H27).
pub(crate) struct Ticket {
    pub flight: Rc<Flight>,
    /// Milliseconds from the accepted head to the dyno's connection, once it was given to one.
    pub queued: Option<u64>,
    key: usize,
    entry: Box<Entry>,
}

impl Ticket {
    /// A request begins whose head was whole at `begun`.
    pub fn new(
        ctx: &Rc<Ctx>,
        wire: &Rc<Wire>,
        begun: u64,
        method: &[u8],
        path: &[u8],
        host: &[u8],
        minor: u8,
    ) -> Ticket {
        let mut texts = Texts {
            all: buffers::text(),
            ends: [0; 5],
        };
        texts.put(0, method);
        texts.put(1, path);
        texts.put(2, host);
        let flight = Rc::new(Flight {
            ctx: ctx.clone(),
            begun,
            phase: Cell::new(Phase::Queue),
            touched: Cell::new(begun),
            verdict: Cell::new(None),
            closing: Cell::new(false),
            waker: RefCell::new(None),
            claim: RefCell::new(None),
            app_wire: RefCell::new(None),
            times: Cell::default(),
            pace: Cell::default(),
            moved: Cell::new(0),
            starved_of_upload: Cell::new(false),
            starved_of_answer: Cell::new(false),
            uploaded: Cell::new(0),
            saved: Cell::new(0),
            slot: Cell::new(NO_APP),
            texts: RefCell::new(texts),
        });
        let key = ctx.flights.borrow_mut().insert(flight.clone());
        let entry = Entry {
            https: wire.tls.is_some(),
            tls_version: wire.tls.as_ref().map(|t| t.version.name()),
            tries: 0,
            protocol: match minor {
                0 => "http1.0",
                1 => "http1.1",
                _ => "http2.0",
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
            pass: None,
        };
        Ticket {
            flight,
            queued: None,
            key,
            entry: Box::new(entry),
        }
    }

    /// Who asks, as it is told to the app.
    pub fn forwarded(&mut self, request_id: &[u8], fwd: &[u8], https: bool) {
        let mut texts = self.flight.texts.borrow_mut();
        texts.put(3, request_id);
        texts.put(4, fwd);
        drop(texts);
        self.entry.https = https;
    }

    pub fn of_app(&mut self, app: &Arc<App>) {
        self.flight.slot.set(app.slot);
        self.entry.app = Some(app.clone());
    }

    /// The app that was asked for, once it was found.
    pub fn app(&self) -> Option<&Arc<App>> {
        self.entry.app.as_ref()
    }

    /// Did the client use TLS?
    pub fn https(&self) -> bool {
        self.entry.https
    }

    /// Keeps the request's place among those that the app takes at once.
    pub fn holds(&mut self, pass: Pass) {
        self.entry.pass = Some(pass);
    }

    /// The request is about to be written to a dyno's connection, which took so long to get.
    pub fn given_to(&mut self, dyno: &Arc<Dyno>, connect_ms: u64, now: u64) {
        self.entry.dyno = Some(dyno.clone());
        self.entry.connect = Some(connect_ms);
        self.entry.given = Some(now);
        self.queued = Some(now.saturating_sub(self.flight.begun));
    }

    /// The dyno of the last attempt, for the line of a failed request.
    pub fn tried(&mut self, dyno: &Arc<Dyno>) {
        self.entry.tries += 1;
        self.entry.dyno = Some(dyno.clone());
    }

    pub fn status(&mut self, status: u16) {
        self.entry.status = status;
    }

    pub fn add_bytes(&mut self, n: usize) {
        self.entry.bytes += n as u64;
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
        flight.unassign();
        let ctx = &flight.ctx;
        ctx.flights.borrow_mut().remove(self.key);
        let e = &mut *self.entry;
        let now = clock::ms();
        let service = e.given.map(|g| now.saturating_sub(g));
        let waited = self
            .queued
            .unwrap_or_else(|| now.saturating_sub(flight.begun));
        ctx.metrics.record(
            flight.slot.get(),
            &Finished {
                status: e.status,
                code: e.code,
                queue: waited.saturating_sub(e.connect.unwrap_or(0)) * 1000,
                connect: e.connect.map(|ms| ms * 1000),
                service: service.map(|ms| ms * 1000),
                bytes_in: flight.uploaded.get(),
                bytes_out: e.bytes,
                saved: flight.saved.get(),
                retries: e.tries.saturating_sub(1),
                tunnel: flight.is_tunnel(),
            },
        );
        let texts = flight.texts.take();
        let text = |i: usize| texts.get(i);
        let line = Line {
            code: e.code,
            sock: e.sock,
            method: text(0),
            path: text(1),
            host: text(2),
            request_id: text(3),
            fwd: text(4),
            dyno: e.dyno.as_ref().map_or("", |d| &d.name),
            connect: e.connect,
            service,
            status: e.status,
            bytes: e.bytes,
            protocol: e.protocol,
            https: e.https,
            tls_version: e.tls_version,
        };
        ctx.lines
            .borrow_mut()
            .add(e.app.as_ref().map(|a| a.id), &line);
        buffers::done_with(texts.all);
    }
}
