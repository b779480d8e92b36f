//! What a router is started with.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

/// Where the router listens, what it reads and writes, and its limits.
pub struct Config {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Listening sockets that are already bound, used besides `listen`.
    pub listeners: Vec<TcpListener>,
    /// The Unix socket for the agent. Created with mode 0600; a stale one is removed.
    pub control: PathBuf,
    /// Take the listening sockets over from the router that answers on `handover.sock` beside `control`, if one does.
    /// Those of its sockets that have an address of `listen` are used; all, when `listen` is empty.
    pub take_over: bool,
    /// Program and arguments of the process that takes over from this one on SIGUSR2; none: it can't be asked for so.
    pub heir: Option<Vec<OsString>>,
    /// The file with the last table, read at start and replaced (write, sync, rename) with each new table.
    pub snapshot: PathBuf,
    /// The folder of the request logs: `<app id>.log`, and `none.log` for requests of no app.
    pub logs: PathBuf,
    /// Threads that serve, 1 to 256.
    pub threads: usize,
    /// Are `X-Forwarded-Proto` and `X-Forwarded-Port` of peers on loopback believed (a load balancer's or TLS
    /// terminator's)? Others' never are.
    pub trust_loopback_forwarded: bool,
    /// Times and counts; the defaults are Heroku's.
    pub limits: Limits,
}

impl Config {
    /// A configuration with one thread per core, no listener yet, and Heroku's limits.
    pub fn new(control: PathBuf, snapshot: PathBuf, logs: PathBuf) -> Config {
        Config {
            listen: Vec::new(),
            listeners: Vec::new(),
            control,
            take_over: false,
            heir: None,
            snapshot,
            logs,
            threads: std::thread::available_parallelism().map_or(2, |n| n.get()),
            trust_loopback_forwarded: true,
            limits: Limits::default(),
        }
    }
}

/// Times and counts.
#[derive(Clone, Debug)]
pub struct Limits {
    /// To read a request's head, from its first byte.
    pub head: Duration,
    /// A client connection may be idle between requests; longer than the 60 s of load balancers.
    pub keep_alive: Duration,
    /// A request may wait for a dyno to boot (H20).
    pub boot: Duration,
    /// To connect to a dyno (H19).
    pub connect: Duration,
    /// To the first byte of the answer (H12).
    pub first_byte: Duration,
    /// Without a byte in either direction after that (H15, H28).
    pub idle: Duration,
    /// The same for tunnels (WebSockets); `None`: no limit.
    pub tunnel_idle: Option<Duration>,
    /// A dyno that refused a connection gets no request for so long.
    pub quarantine: Duration,
    /// A connection to an app is kept open unused for so long; below Node's 5 s.
    pub pool_idle: Duration,
    /// Unused connections kept per dyno and thread.
    pub pool_size: usize,
    /// Connection attempts per request before H21 or H19.
    pub attempts: u32,
    /// Requests of one app that may wait for a dyno (H11 above).
    pub queue: u32,
    /// Between a WebSocket's close frame and the end of its connection; also for clients that still send.
    pub close_grace: Duration,
    /// On SIGTERM requests in flight get so long to finish.
    pub stop: Duration,
    /// Tunnels of a router that has handed over stay so long, unless their app says another drain time.
    pub drain: Duration,
    /// Client connections at once; more wait in the kernel's queue.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: Duration::from_secs(30),
            keep_alive: Duration::from_secs(95),
            boot: Duration::from_secs(75),
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(55),
            tunnel_idle: None,
            quarantine: Duration::from_secs(5),
            pool_idle: Duration::from_secs(4),
            pool_size: 128,
            attempts: 10,
            queue: 1000,
            close_grace: Duration::from_secs(1),
            stop: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            connections: 50_000,
        }
    }
}

impl Limits {
    /// How often deadlines are looked at: 16 times in the shortest, between 5 and 250 ms.
    pub(crate) fn tick(&self) -> Duration {
        let all = [
            self.head,
            self.keep_alive,
            self.boot,
            self.connect,
            self.first_byte,
            self.idle,
            self.pool_idle,
            self.close_grace,
        ];
        let shortest = all.into_iter().min().unwrap_or(self.connect);
        (shortest / 16).clamp(Duration::from_millis(5), Duration::from_millis(100))
    }
}
