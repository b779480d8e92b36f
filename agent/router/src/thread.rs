//! One serving thread: its runtime, what it owns alone, and the orders it takes from acceptor and control loop.

use crate::accept::Via;
use crate::compress::Press;
use crate::config::Limits;
use crate::decide::Decider;
use crate::files::Roots;
use crate::flight::Flight;
use crate::log::{Batch, Lines};
use crate::metrics::{Metrics, Recorder};
use crate::pick::Dice;
use crate::pool::Pool;
use crate::slots::Slots;
use crate::table::Table;
use crate::tls::Tls;
use crate::wire::{Counted, Wire};
use crate::{client, clock, drain};
use arc_swap::ArcSwap;
use hokku_model::DynoId;
use hokku_model::route::{PASSING_MAX, Passing};
use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// When the router stops, idle connections stay open for so long: their clients may just be sending a request.
const FAREWELL: Duration = Duration::from_millis(500);

/// What all threads see.
pub(crate) struct Shared {
    pub routes: ArcSwap<Table>,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// The router is about to end: load balancers are told.
    pub draining: AtomicBool,
    pub tls: Arc<Tls>,
    pub decide: Decider,
}

/// Orders to a thread.
pub(crate) enum Order {
    /// Serve this client.
    Serve(TcpStream, SocketAddr, Via, Counted),
    /// There is a new table; answer when nothing here goes by the old one.
    Look(oneshot::Sender<()>),
    /// Ask this dyno's tunnels to close, one after the other over this time.
    Close(DynoId, Duration),
    /// End everything that is in flight to this dyno.
    Cut(DynoId),
    /// Tell what has been in flight to this dyno for longest, and how much there is.
    Show(DynoId, oneshot::Sender<(usize, Vec<Passing>)>),
    /// Another router takes the new connections: let clients go to it with the answer they get next.
    Retire,
    /// Finish what is in flight and end.
    Stop,
}

/// What others hold of a thread.
#[derive(Clone)]
pub(crate) struct Handle {
    pub orders: mpsc::Sender<Order>,
    /// Open client connections and tunnels.
    pub connections: Arc<AtomicUsize>,
}

/// What a thread owns. Never leaves it.
pub(crate) struct Ctx {
    pub shared: Arc<Shared>,
    pub connections: Arc<AtomicUsize>,
    pub pool: RefCell<Pool>,
    pub flights: RefCell<Slots<Rc<Flight>>>,
    pub wires: RefCell<Slots<Rc<Wire>>>,
    pub lines: RefCell<Lines>,
    pub press: RefCell<Press>,
    /// Folders of releases that are kept open.
    pub roots: RefCell<Roots>,
    /// This thread's figures.
    pub metrics: Recorder,
    pub dice: Dice,
    /// Rung after each new table.
    pub changed: Notify,
    /// Rung when the router stops: idle connections are closed.
    pub stop: Notify,
    /// Rung when the router hands over or is about to stop: clients that can be told without a race are.
    pub retire: Notify,
    stopping: Cell<bool>,
    /// Idle connections are not kept any more.
    closed: Cell<bool>,
    /// Rung when there is something to sweep again.
    busy: Notify,
    coarse: Cell<u64>,
}

impl Ctx {
    /// Milliseconds, as of the last sweep.
    pub fn coarse_ms(&self) -> u64 {
        self.coarse.get()
    }

    /// There is something to sweep again: a connection that was greeted long after it was handed over may find the sweep
    /// asleep.
    pub fn wake_sweep(&self) {
        self.busy.notify_one();
    }

    /// Is the next answer of each connection its last?
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Are idle connections not kept any more?
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn is_quiet(&self) -> bool {
        self.flights.borrow().is_empty()
            && self.wires.borrow().is_empty()
            && self.pool.borrow().is_empty()
            && self.lines.borrow().is_empty()
    }

    fn flights_to(&self, dyno: DynoId) -> Vec<Rc<Flight>> {
        self.flights
            .borrow()
            .iter()
            .filter(|f| f.is_for(dyno))
            .cloned()
            .collect()
    }

    fn sweep(&self) {
        let limits = &self.shared.limits;
        let now = clock::ms();
        self.coarse.set(now);
        for flight in self.flights.borrow().iter() {
            flight.check(now, limits);
        }
        for wire in self.wires.borrow().iter() {
            if wire.is_overdue(now, limits) {
                wire.shut();
            }
        }
        self.pool.borrow_mut().sweep(limits);
        self.lines.borrow_mut().hand_over();
    }
}

/// Starts a thread.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    number: usize,
    shared: Arc<Shared>,
    writer: SyncSender<Vec<Batch>>,
) -> std::io::Result<(Handle, std::thread::JoinHandle<()>)> {
    let (orders, inbox) = mpsc::channel(1024);
    let connections = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let count = connections.clone();
    let thread = std::thread::Builder::new()
        .name(format!("router-{number}"))
        .spawn(move || {
            let ctx = Rc::new(Ctx {
                metrics: shared.metrics.recorder(),
                shared,
                connections: count,
                pool: RefCell::new(Pool::new()),
                flights: RefCell::new(Slots::new()),
                wires: RefCell::new(Slots::new()),
                lines: RefCell::new(Lines::new(writer)),
                press: RefCell::new(Press::new()),
                roots: RefCell::default(),
                dice: Dice::new(),
                changed: Notify::new(),
                stop: Notify::new(),
                retire: Notify::new(),
                stopping: Cell::new(false),
                closed: Cell::new(false),
                busy: Notify::new(),
                coarse: Cell::new(clock::ms()),
            });
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, live(ctx.clone(), inbox));
            // dropping the tasks concludes what was cut
            drop(local);
            ctx.lines.borrow_mut().hand_over();
        })?;
    Ok((
        Handle {
            orders,
            connections,
        },
        thread,
    ))
}

async fn live(ctx: Rc<Ctx>, mut inbox: mpsc::Receiver<Order>) {
    tokio::task::spawn_local(sweep_on(ctx.clone()));
    while let Some(order) = inbox.recv().await {
        if let Order::Stop = order {
            break;
        }
        obey(&ctx, order);
    }
    drain(&ctx, inbox).await;
}

fn obey(ctx: &Rc<Ctx>, order: Order) {
    match order {
        Order::Serve(stream, peer, via, counted) => {
            ctx.busy.notify_one();
            client::serve(ctx, stream, peer, via, counted);
        }
        Order::Look(seen) => {
            ctx.pool.borrow_mut().sweep(&ctx.shared.limits);
            ctx.changed.notify_waiters();
            // nobody waits for the answer of a thread that took too long
            let _ = seen.send(());
        }
        Order::Close(dyno, window) => close_over(ctx.flights_to(dyno), window),
        Order::Show(dyno, to) => {
            let now = clock::ms();
            let flights = ctx.flights_to(dyno);
            let all = flights.iter().map(|f| f.shown(now)).collect();
            // nobody waits for the answer of a thread that took too long
            let _ = to.send((flights.len(), longest(all)));
        }
        Order::Cut(dyno) => ctx.flights_to(dyno).iter().for_each(|f| f.cut()),
        Order::Retire => retire(ctx),
        // given once
        Order::Stop => {}
    }
}

/// Those that have been on their way for longest, at most [`PASSING_MAX`].
pub(crate) fn longest(mut all: Vec<Passing>) -> Vec<Passing> {
    all.sort_by_key(|p| std::cmp::Reverse(p.ms));
    all.truncate(PASSING_MAX);
    all
}

fn retire(ctx: &Ctx) {
    ctx.stopping.set(true);
    ctx.retire.notify_waiters();
}

/// Asks tunnels to close evenly over a time; a request that becomes a tunnel after this is closed at once.
fn close_over(flights: Vec<Rc<Flight>>, window: Duration) {
    let (tunnels, others): (Vec<_>, Vec<_>) = flights.into_iter().partition(|f| f.is_tunnel());
    others.iter().for_each(|f| f.ask_to_close());
    tokio::task::spawn_local(async move {
        let begun = clock::ms();
        let mut asked = 0;
        loop {
            let gone_by = Duration::from_millis(clock::ms().saturating_sub(begun));
            let due = drain::due(tunnels.len(), window, gone_by);
            tunnels[asked..due].iter().for_each(|f| f.ask_to_close());
            asked = due;
            if asked == tunnels.len() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// Lets requests finish and ends tunnels, for as long as the limit allows. Orders are still obeyed.
async fn drain(ctx: &Rc<Ctx>, mut inbox: mpsc::Receiver<Order>) {
    let limits = &ctx.shared.limits;
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let all = || ctx.flights.borrow().iter().cloned().collect::<Vec<_>>();
    retire(ctx);
    let tunnels = all().iter().filter(|f| f.is_tunnel()).count();
    let window = drain::window(tunnels as u64).min(limits.stop / 2);
    close_over(all(), window);
    let begun = clock::ms();
    let end = begun.saturating_add(millis(limits.stop));
    // a request that is on its way on an idle connection is answered; then idle connections are closed
    let farewell = begun.saturating_add(millis(FAREWELL.min(limits.stop / 4)));
    let patience = begun.saturating_add(millis(window + limits.close_grace));
    let (mut closed, mut cut) = (false, false);
    while ctx.connections.load(Relaxed) > 0 && clock::ms() < end {
        while let Ok(order) = inbox.try_recv() {
            obey(ctx, order);
        }
        if !closed && clock::ms() >= farewell {
            closed = true;
            ctx.closed.set(true);
            ctx.stop.notify_waiters();
            for wire in ctx.wires.borrow().iter().filter(|w| w.is_idle()) {
                wire.shut_reading();
            }
        }
        if !cut && clock::ms() >= patience {
            cut = true;
            all().iter().filter(|f| f.is_tunnel()).for_each(|f| f.cut());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    all().iter().for_each(|f| f.cut());
    // a few turns for the tasks to answer
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

async fn sweep_on(ctx: Rc<Ctx>) {
    let tick = ctx.shared.limits.tick();
    loop {
        if ctx.is_quiet() {
            ctx.busy.notified().await;
            ctx.coarse.set(clock::ms());
        }
        tokio::time::sleep(tick).await;
        ctx.sweep();
    }
}
