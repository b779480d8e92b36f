//! Connections to dynos that are kept while idle, and checked before they are used again. One pool per thread.

use crate::app::{h1, h2c};
use crate::clock;
use crate::config::Limits;
use crate::dyno::Dyno;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use tokio::sync::watch;

struct Idle {
    lease: h1::Lease,
    since: u64,
}

#[derive(Default)]
struct Shelf {
    idle: Vec<Idle>,
    link: Option<h2c::Link>,
    /// Somebody makes one: its end is closed when that is over.
    opening: Weak<watch::Sender<()>>,
}

/// Who makes the HTTP/2 connection.
pub(crate) enum Opening {
    /// It is there.
    There(h2c::Link),
    /// The caller, who drops this when it has been shared or has failed.
    Yours(Rc<watch::Sender<()>>),
    /// Somebody else, until this is closed.
    Others(watch::Receiver<()>),
}

/// A thread's connections that are free to be used, by dyno.
pub(crate) struct Pool {
    by_dyno: HashMap<u64, Shelf, RandomState>,
}

impl Pool {
    pub fn new() -> Pool {
        Pool {
            by_dyno: HashMap::default(),
        }
    }

    /// The connection used last, if one is left that is open. `look_closely`: ask the system in any case.
    pub fn take(&mut self, dyno: &Dyno, look_closely: bool) -> Option<h1::Lease> {
        let shelf = self.by_dyno.get_mut(&dyno.serial)?;
        while let Some(Idle { lease, .. }) = shelf.idle.pop() {
            if !lease.is_stale(look_closely) {
                return Some(lease);
            }
        }
        None
    }

    /// The HTTP/2 connection, if it is open.
    pub fn link(&mut self, dyno: &Dyno) -> Option<h2c::Link> {
        let shelf = self.by_dyno.get_mut(&dyno.serial)?;
        shelf.link.take_if(|l| l.is_closed());
        shelf.link.clone()
    }

    /// The HTTP/2 connection, or who is to make it.
    pub fn open_link(&mut self, dyno: &Dyno) -> Opening {
        if let Some(link) = self.link(dyno) {
            return Opening::There(link);
        }
        let shelf = self.by_dyno.entry(dyno.serial).or_default();
        if let Some(opening) = shelf.opening.upgrade() {
            return Opening::Others(opening.subscribe());
        }
        let opening = Rc::new(watch::channel(()).0);
        shelf.opening = Rc::downgrade(&opening);
        Opening::Yours(opening)
    }

    /// Keeps a connection whose request is wholly over.
    pub fn give_back(&mut self, mut lease: h1::Lease, now: u64, limits: &Limits) {
        if lease.dyno.is_closed() {
            return;
        }
        lease.used = true;
        let shelf = self.by_dyno.entry(lease.dyno.serial).or_default();
        if shelf.idle.len() < limits.pool_size {
            shelf.idle.push(Idle { lease, since: now });
        }
    }

    /// Keeps an HTTP/2 connection for others to use as well.
    pub fn share(&mut self, mut link: h2c::Link) {
        if !link.dyno.is_closed() {
            link.used = true;
            let shelf = self.by_dyno.entry(link.dyno.serial).or_default();
            shelf.link = Some(link);
        }
    }

    /// Closes all unused connections to a dyno.
    pub fn forget(&mut self, dyno: &Dyno) {
        self.by_dyno.remove(&dyno.serial);
    }

    /// Closes what is too old, what the app has closed, and what leads to dynos that left the table.
    pub fn sweep(&mut self, limits: &Limits) {
        let now = clock::ms();
        self.by_dyno.retain(|_, shelf| {
            shelf.idle.retain(|i| {
                u128::from(now.saturating_sub(i.since)) < limits.pool_idle.as_millis()
                    && !i.lease.dyno.is_closed()
                    && !i.lease.is_stale(false)
            });
            shelf.link.take_if(|l| l.is_closed() || l.dyno.is_closed());
            !shelf.idle.is_empty() || shelf.link.is_some()
        });
    }

    pub fn is_empty(&self) -> bool {
        self.by_dyno.is_empty()
    }
}
