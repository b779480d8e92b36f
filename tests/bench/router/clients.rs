//! Clients that ask at a steady pace over kept connections, and notice when the backend behind a proxy is changed.
//!
//! `bench-clients ADDRESS HOST CONNECTIONS RATE` asks for `/who` so many times a second over so many connections, evenly
//! spread. On standard output comes a line `NANOSECONDS WHO` (since 1970) when a backend answers for the first time, and,
//! when standard input ends, `requests N failed N closed N p50 US p99 US`: answers that never came, connections that a
//! proxy closed, and times to the whole answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

#[derive(Default)]
struct Seen {
    who: RefCell<BTreeSet<String>>,
    requests: Cell<u64>,
    failed: Cell<u64>,
    closed: Cell<u64>,
    /// Microseconds of each answer.
    times: RefCell<Vec<u32>>,
    /// The first failures, in words.
    why: RefCell<Vec<String>>,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, host, connections, rate] = args.as_slice() else {
        return Err(io::Error::other(
            "use: bench-clients ADDRESS HOST CONNECTIONS RATE",
        ));
    };
    let connections: u32 = connections.parse().map_err(io::Error::other)?;
    let rate: f64 = rate.parse().map_err(io::Error::other)?;
    let request = format!(
        "GET /who HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Language: en\r\n\
         Accept-Encoding: identity\r\n\r\n"
    );
    let seen = Seen::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let every = Duration::from_secs_f64(f64::from(connections) / rate);
    let all = futures_util::future::join_all((0..connections).map(|n| {
        let first = Instant::now() + every * n / connections;
        client(address, &request, first, every, &seen)
    }));
    runtime.block_on(async {
        let mut stdin = tokio::io::stdin();
        let mut rest = [0; 64];
        let end = async { while stdin.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
        tokio::select! {
            _ = all => {}
            () = end => {}
        }
    });
    for why in seen.why.borrow().iter() {
        eprintln!("{why}");
    }
    let mut times = seen.times.borrow_mut();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0);
    println!(
        "requests {} failed {} closed {} p50 {} p99 {}",
        seen.requests.get(),
        seen.failed.get(),
        seen.closed.get(),
        at(50),
        at(99)
    );
    // the thread that reads standard input would be waited for
    std::process::exit(0);
}

async fn client(address: &str, request: &str, first: Instant, every: Duration, seen: &Seen) {
    let mut ticks = interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut wire: Option<TcpStream> = None;
    loop {
        ticks.tick().await;
        if let Some(open) = &wire
            && !matches!(open.try_read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
        {
            seen.closed.set(seen.closed.get() + 1);
            wire = None;
        }
        seen.requests.set(seen.requests.get() + 1);
        let sent = Instant::now();
        match ask(&mut wire, address, request).await {
            Ok((who, keep)) => {
                let took = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
                seen.times.borrow_mut().push(took);
                if !keep {
                    seen.closed.set(seen.closed.get() + 1);
                    wire = None;
                }
                if seen.who.borrow_mut().insert(who.clone()) {
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                    println!("{} {who}", now.unwrap_or_default().as_nanos());
                }
            }
            Err(e) => {
                seen.failed.set(seen.failed.get() + 1);
                if seen.why.borrow().len() < 5 {
                    seen.why.borrow_mut().push(e.to_string());
                }
                wire = None;
            }
        }
    }
}

/// One request; whose answer came, and whether the connection may be used again.
async fn ask(
    wire: &mut Option<TcpStream>,
    address: &str,
    request: &str,
) -> io::Result<(String, bool)> {
    let stream = match wire {
        Some(open) => open,
        None => {
            let fresh = TcpStream::connect(address).await?;
            fresh.set_nodelay(true)?;
            wire.insert(fresh)
        }
    };
    stream.write_all(request.as_bytes()).await?;
    let mut have = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut have).await? == 0 {
            return Err(io::Error::other(format!(
                "the connection ended after {} bytes of an answer",
                have.len()
            )));
        }
        let text = String::from_utf8_lossy(&have);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .split_once("content-length:")
            .and_then(|(_, l)| l.lines().next()?.trim().parse::<usize>().ok())
            .ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
        if body.len() < length {
            continue;
        }
        if !head.starts_with("http/1.1 200") {
            return Err(io::Error::other(head));
        }
        return Ok((body.to_owned(), !head.contains("connection: close")));
    }
}
