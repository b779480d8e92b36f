//! The memory that requests run in, used again and again.
//!
//! What a request needs while it runs is some kilobytes, too much to keep for each connection: an idle one has none of it.
//! To take it from the allocator for each request, and to fill it, costs about a thousand instructions. So it is lent: a
//! worker is a future that never ends, takes a connection from its desk, serves the requests that are there, puts the
//! connection back with what comes next, and waits for another one.

use super::Conn;
use super::h1::{self, Next};
use crate::thread::Ctx;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

/// Workers without work that a thread keeps, each about 5 KB.
const KEPT: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

/// What is given to a worker.
struct Job {
    ctx: Rc<Ctx>,
    conn: Conn,
    first: bool,
}

#[derive(Default)]
struct Desk {
    job: Cell<Option<Job>>,
    done: Cell<Option<(Conn, Next)>>,
}

struct Worker {
    desk: Rc<Desk>,
    work: Pin<Box<dyn Future<Output = Infallible>>>,
}

impl Worker {
    fn new() -> Worker {
        let desk = Rc::<Desk>::default();
        Worker {
            work: Box::pin(work(desk.clone())),
            desk,
        }
    }
}

async fn work(desk: Rc<Desk>) -> Infallible {
    loop {
        let job = poll_fn(|_| match desk.job.take() {
            Some(job) => Poll::Ready(job),
            None => Poll::Pending,
        });
        let Job {
            ctx,
            mut conn,
            first,
        } = job.await;
        let next = h1::serve(&ctx, &mut conn, first).await;
        desk.done.set(Some((conn, next)));
    }
}

/// Has the requests of a connection served that are there or about to come: [`h1::serve`].
pub(super) async fn serve(ctx: &Rc<Ctx>, conn: Conn, first: bool) -> (Conn, Next) {
    let free = FREE.with_borrow_mut(Vec::pop);
    let mut worker = free.unwrap_or_else(Worker::new);
    worker.desk.job.set(Some(Job {
        ctx: ctx.clone(),
        conn,
        first,
    }));
    let done = poll_fn(|cx| {
        let Poll::Pending = worker.work.as_mut().poll(cx);
        match worker.desk.done.take() {
            Some(done) => Poll::Ready(done),
            None => Poll::Pending,
        }
    });
    let done = done.await;
    // whoever broke off in the middle is dropped with what it had begun
    FREE.with_borrow_mut(|free| {
        if free.len() < KEPT {
            free.push(worker);
        }
    });
    done
}
