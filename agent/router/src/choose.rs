//! Which app, which dyno, which connection: with waiting where there may soon be one.

use crate::admit::Refusal;
use crate::affinity::Tag;
use crate::app::{h1, h2c};
use crate::dyno::{Claim, Dyno};
use crate::flight::{Phase, Ticket, Verdict};
use crate::pick::{Pick, pick};
use crate::pool::Opening;
use crate::source::Source;
use crate::table::{App, Table};
use crate::thread::Ctx;
use hokku_model::code::{self, Code};
use hokku_model::route::AppState;
use hokku_model::routing::Proto;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

/// What a request is routed by.
pub(crate) struct Way<'a> {
    pub host: &'a str,
    pub path: &'a str,
}

impl Way<'_> {
    fn find<'t>(&self, table: &'t Table) -> Option<&'t Arc<App>> {
        table.find(self.host, self.path)
    }

    /// The app in a table.
    ///
    /// # Errors
    /// The answer, when there is none.
    pub fn app(&self, table: &Table) -> Result<Arc<App>, Refusal> {
        match self.find(table) {
            Some(app) => Ok(app.clone()),
            None if table.version == 0 => Err(Refusal::of(code::H99, self.host)),
            None => Err(Refusal::no_such_app()),
        }
    }
}

/// Waits for something, unless a deadline passes or the client leaves before.
async fn wait_for(
    ticket: &Ticket,
    body: &mut Source<'_>,
    mut what: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Code> {
    let waited = ticket.flight.until(poll_fn(|cx| {
        if body.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(code::H27));
        }
        what.as_mut().poll(cx).map(Ok)
    }));
    waited.await.map_err(Verdict::code)?
}

/// Waits for a place among the requests that the app, or its dynos together, take at once, where a limit was set.
///
/// # Errors
/// H11, when the wait is or would be too long.
pub(crate) async fn enter(
    ctx: &Ctx,
    ticket: &mut Ticket,
    body: &mut Source<'_>,
    app: &Arc<App>,
) -> Result<(), Refusal> {
    let gate = &app.gate;
    if gate.is_open() {
        return Ok(());
    }
    if let Some(pass) = gate.enter() {
        ticket.holds(pass);
        return Ok(());
    }
    let usual = u64::try_from(ctx.shared.limits.boot.as_millis()).unwrap_or(u64::MAX);
    let patience = app.routing.queue_ms.unwrap_or(usual);
    let full = || Refusal::of(code::H11, app.name.as_str());
    let flight = ticket.flight.clone();
    let place = Place::in_queue(&app.waiting, ctx.shared.limits.queue);
    if place.is_none() || patience == 0 || gate.expected_ms() > patience {
        return Err(full());
    }
    let _waiting = gate.wait();
    flight.enter(Phase::Place);
    loop {
        // armed before the gate is tried, so that nobody's leaving is missed
        let freed = gate.freed();
        let mut freed = pin!(freed);
        freed.as_mut().enable();
        if let Some(pass) = gate.enter() {
            ticket.holds(pass);
            flight.enter(Phase::Queue);
            return Ok(());
        }
        wait_for(ticket, body, freed)
            .await
            .map_err(|code| Refusal::of(code, app.name.as_str()))?;
    }
}

/// Finds a dyno and claims it, waiting if the app may get one. `app`: as it was found; `wanted`: the dyno that the client's cookie asks for; `attempts`: how many refused this request already.
///
/// # Errors
/// The answer, when there is none.
pub(crate) async fn choose(
    ctx: &Rc<Ctx>,
    ticket: &Ticket,
    body: &mut Source<'_>,
    way: &Way<'_>,
    app: &App,
    wanted: Option<Tag>,
    attempts: u32,
) -> Result<Claim, Refusal> {
    // the app was just found; a dyno that left the table since then takes no claim
    if attempts == 0
        && app.state != AppState::Maintenance
        && let Pick::Got(claim) = pick(app, &ctx.dice, wanted, false)
    {
        return Ok(claim);
    }
    let flight = ticket.flight.clone();
    let mut desperate = false;
    let mut place = None;
    loop {
        // armed before the table is read, so that no change is missed
        let changed = ctx.changed.notified();
        let nap = {
            let table = ctx.shared.routes.load();
            let Some(app) = way.find(&table) else {
                return Err(Refusal::no_such_app());
            };
            let refused = |code| Err(Refusal::of(code, app.name.as_str()));
            if app.state == AppState::Maintenance {
                return refused(code::H80);
            }
            match pick(app, &ctx.dice, wanted, desperate) {
                Pick::Got(claim) => return Ok(claim),
                // the gate let it in, so it is not to wait again: two drew the same place at once
                Pick::Full if !desperate => {
                    desperate = true;
                    continue;
                }
                Pick::Full => Some(Duration::from_millis(1)),
                Pick::Quarantined => Some(Duration::from_millis((50 << attempts.min(5)).min(1000))),
                Pick::Empty => {
                    match app.state {
                        AppState::Running | AppState::Maintenance => {}
                        AppState::Blank => return refused(code::H81),
                        AppState::Stopped => return refused(code::H14),
                        AppState::Crashed => return refused(code::H10),
                    }
                    if place.is_none() {
                        place = Place::in_queue(&app.waiting, ctx.shared.limits.queue);
                        if place.is_none() {
                            return refused(code::H11);
                        }
                    }
                    None
                }
            }
        };
        flight.enter(Phase::Queue);
        let waited = match nap {
            None => wait_for(ticket, body, pin!(changed)).await,
            Some(nap) => {
                desperate = true;
                let nap = pin!(async { _ = tokio::time::timeout(nap, changed).await });
                wait_for(ticket, body, nap).await
            }
        };
        waited.map_err(|code| Refusal::of(code, way.host))?;
    }
}

/// A place in an app's queue.
struct Place(Arc<AtomicU32>);

impl Place {
    fn in_queue(waiting: &Arc<AtomicU32>, limit: u32) -> Option<Place> {
        let place = Place(waiting.clone());
        (waiting.fetch_add(1, Relaxed) < limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A connection for one request.
pub(crate) enum Lease {
    H1(h1::Lease),
    H2(h2c::Link),
}

impl Lease {
    /// It served a request before.
    pub fn is_used(&self) -> bool {
        match self {
            Lease::H1(l) => l.used,
            Lease::H2(l) => l.used,
        }
    }
}

/// Why there is no connection.
pub(crate) enum NoLease {
    /// The dyno takes none.
    Refused,
    /// This machine has run out of something; the dyno is not to blame.
    Exhausted,
    /// A deadline was faster.
    Sentenced(Verdict),
}

/// A pooled connection, if one may be used.
pub(crate) fn pooled(ctx: &Ctx, dyno: &Dyno, proto: Proto, look_closely: bool) -> Option<Lease> {
    let mut pool = ctx.pool.borrow_mut();
    match proto {
        Proto::Http1 => pool.take(dyno, look_closely).map(Lease::H1),
        Proto::H2c => pool.link(dyno).map(Lease::H2),
    }
}

/// A new connection.
///
/// # Errors
/// When there is none to be had.
pub(crate) async fn connect(
    ctx: &Ctx,
    ticket: &Ticket,
    dyno: &Arc<Dyno>,
    proto: Proto,
) -> Result<Lease, NoLease> {
    let flight = &ticket.flight;
    flight.enter(Phase::Connect);
    let connecting = pin!(async {
        Ok(match proto {
            Proto::Http1 => Lease::H1(h1::Lease::connect(dyno).await?),
            Proto::H2c => Lease::H2(link(ctx, dyno).await?),
        })
    });
    match flight.until(connecting).await.map_err(NoLease::Sentenced)? {
        Ok(lease) => {
            dyno.release_from_quarantine();
            Ok(lease)
        }
        Err::<_, std::io::Error>(e) => {
            let ours = [
                libc::EMFILE,
                libc::ENFILE,
                libc::ENOBUFS,
                libc::ENOMEM,
                libc::EADDRNOTAVAIL,
            ];
            if !e.raw_os_error().is_some_and(|n| ours.contains(&n)) {
                return Err(NoLease::Refused);
            }
            tracing::warn!(
                "no connection to {} at {}: {e}. Raise the limit of open files.",
                dyno.name,
                dyno.addr
            );
            Err(NoLease::Exhausted)
        }
    }
}

/// The HTTP/2 connection to a dyno. While one is being made the others wait for it.
async fn link(ctx: &Ctx, dyno: &Arc<Dyno>) -> std::io::Result<h2c::Link> {
    loop {
        let opening = ctx.pool.borrow_mut().open_link(dyno);
        let opening = match opening {
            Opening::There(link) => return Ok(link),
            Opening::Yours(opening) => opening,
            Opening::Others(mut over) => {
                // an error is what says that it is over
                let _ = over.changed().await;
                continue;
            }
        };
        let link = h2c::Link::connect(dyno).await?;
        ctx.pool.borrow_mut().share(link.clone());
        drop(opening);
        return Ok(link);
    }
}
