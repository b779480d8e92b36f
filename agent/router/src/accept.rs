//! Takes new connections from all listening sockets and gives each to the thread that has the fewest.

use crate::thread::{Handle, Order, Shared};
use crate::wire::Counted;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long the first connections may wait in the kernel's queue for a router that never had a route table. The agent
/// that started it sends one within milliseconds; without one there are only errors to answer with.
const FIRST_TABLE: Duration = Duration::from_secs(2);

/// What a listening socket's clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// HTTP.
    Plain,
    /// HTTP within TLS.
    Tls,
}

/// May connections be accepted?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Not yet: another router still does.
    Wait,
    Open,
    /// No more.
    Closed,
}

/// Accepts while the gate is open and, within [`FIRST_TABLE`], there is a route table; a connection that was accepted is
/// always served. `limit`: connections at once over all threads.
pub(crate) async fn accept_all(
    listeners: Vec<(TcpListener, Via)>,
    threads: Vec<Handle>,
    limit: usize,
    mut gate: watch::Receiver<Gate>,
    shared: &Shared,
) -> io::Result<()> {
    // a lost sender means closed as well
    if gate.wait_for(|g| *g != Gate::Wait).await.is_err() {
        return Ok(());
    }
    let start = Instant::now();
    while shared.routes.load().version == 0 && start.elapsed() < FIRST_TABLE {
        let closed = gate.wait_for(|g| *g == Gate::Closed);
        if tokio::time::timeout(Duration::from_millis(5), closed)
            .await
            .is_ok()
        {
            break;
        }
    }
    let threads = Rc::new(threads);
    let mut tasks = tokio::task::JoinSet::new();
    for (listener, via) in listeners {
        listener.set_nonblocking(true)?;
        // SAFETY: the std listener owns its descriptor, always returns the same one, and closes it only when the AsyncFd
        // drops it, which deregisters first.
        let listener = unsafe { AsyncFd::register(listener) }.map_err(|e| e.into_parts().1)?;
        let (threads, gate) = (threads.clone(), gate.clone());
        tasks.spawn_local(async move { accept_one(&listener, via, &threads, limit, gate).await });
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn accept_one(
    listener: &AsyncFd<TcpListener>,
    via: Via,
    threads: &[Handle],
    limit: usize,
    mut gate: watch::Receiver<Gate>,
) {
    let closed = |g: &watch::Receiver<Gate>| *g.borrow() == Gate::Closed;
    while !closed(&gate) {
        while threads
            .iter()
            .map(|t| t.connections.load(Relaxed))
            .sum::<usize>()
            >= limit
        {
            if closed(&gate) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ready = tokio::select! {
            ready = listener.readable() => ready,
            _ = gate.wait_for(|g| *g == Gate::Closed) => return,
        };
        let Ok(mut ready) = ready else {
            return;
        };
        match ready.try_io(|l| l.get_ref().accept()) {
            Ok(Ok((stream, peer))) => hand_over(stream, peer, via, threads).await,
            Ok(Err(e)) => {
                // the client that left before it was served is no reason to pause
                if e.kind() != io::ErrorKind::ConnectionAborted
                    && e.kind() != io::ErrorKind::Interrupted
                {
                    tracing::warn!(
                        "cannot accept connections: {e}. Trying again; raise the limit of open files."
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Err(_would_block) => {}
        }
    }
}

async fn hand_over(stream: TcpStream, peer: SocketAddr, via: Via, threads: &[Handle]) {
    let fewest = threads.iter().min_by_key(|t| t.connections.load(Relaxed));
    let Some(thread) = fewest else { return };
    if stream.set_nonblocking(true).is_ok() {
        let counted = Counted::new(&thread.connections);
        // a thread that is gone has closed its side
        let _ = thread
            .orders
            .send(Order::Serve(stream, peer, via, counted))
            .await;
    }
}
