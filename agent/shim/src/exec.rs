//! Commands inside the running dyno, each for one client of `ctl.sock`: `app ps:exec`, and checks of kind `command`.
//!
//! Each goes through the code that the dyno's own process went through (`launch`): same namespaces, user, limits, cgroup
//! and filter. It leads a session of its own, and what is sent to it reaches that session: a process that leaves it lives
//! on with the dyno, as one that a login shell left behind.

use crate::{
    call,
    clients::Clients,
    inside::Inside,
    launch::{Program, Walls},
    seccomp,
    sink::Attached,
    stdio::{self, Ours},
};
use hokku_model::{
    dyno::Exit,
    exec::{ExecOrder, MAX_ORDER},
    shim::Frame,
};
use nix::poll::PollFlags;
use std::{
    os::fd::{AsRawFd, OwnedFd, RawFd},
    rc::Rc,
    time::{Duration, Instant},
};

/// Commands of people at the same time.
const MOST: usize = 8;

/// Checks at the same time: as many as a process type may have, less one.
const MOST_CHECKS: usize = 15;

/// After the command's end its output is read until none came for so long: a terminal hands it on with a delay, and what
/// it left behind may keep a pipe open for ever.
const LINGER: Duration = Duration::from_millis(150);

/// How long a client may take no byte of what is left after the command's end.
const STALLED: Duration = Duration::from_secs(10);

/// Said to who has a command in a dyno that is told to end, and that ends.
const DYNO_IS_TOLD: &str = "hokku: the dyno is told to end";
const DYNO_ENDS: &str = "hokku: the dyno ends, and this command with it.";

/// One of a command's streams.
#[derive(Clone, Copy)]
pub enum Stream {
    /// Standard output, or the terminal.
    Out,
    /// Standard error.
    Err,
    /// Standard input.
    In,
    /// Its filter's questions about user namespaces.
    Filter,
}

/// One command.
struct Exec {
    /// The client it was ordered by, which is its name here too.
    client: u64,
    /// That client is there.
    there: bool,
    /// The leader of its session, until its end was seen.
    pid: Option<i32>,
    ours: Ours,
    input: Attached,
    questions: Option<OwnedFd>,
    check: bool,
    grace: Duration,
    /// SIGKILL is due then: nobody is there for it any more.
    hangup: Option<Instant>,
    /// How it ended, and when something moved last after that.
    ended: Option<(Exit, Instant)>,
    /// The client was told how it ended; it has to take that, and then the connection is closed.
    told: bool,
}

/// Why a command does not run.
pub enum No {
    /// In words.
    Refused(String),
    /// As a shell would: a text for standard error, and a status.
    NotStarted(String, i32),
}

impl From<String> for No {
    fn from(text: String) -> No {
        No::Refused(text)
    }
}

/// All of them, and orders that have come in part.
#[derive(Default)]
pub struct Execs {
    all: Vec<Exec>,
    orders: Vec<(u64, Vec<u8>)>,
}

impl Execs {
    /// A part of a client's order. False: it is too long, so the client is broken.
    pub fn order(&mut self, client: u64, part: Vec<u8>) -> bool {
        match self.orders.iter_mut().find(|(c, _)| *c == client) {
            Some((_, have)) => {
                have.extend_from_slice(&part);
                have.len() <= MAX_ORDER
            }
            None => {
                self.orders.push((client, part));
                true
            }
        }
    }

    /// Runs a client's order.
    ///
    /// # Errors
    /// It does not run; then the connection has nothing more to do.
    pub fn start(&mut self, client: u64, walls: &Rc<Walls>) -> Result<(), No> {
        let order = self.orders.iter().position(|(c, _)| *c == client);
        let order = order.map(|i| self.orders.swap_remove(i).1);
        let order: ExecOrder = serde_json::from_slice(&order.unwrap_or_default())
            .map_err(|e| format!("The order can't be read: {e}."))?;
        if let Some(fault) = order.fault() {
            return Err(fault.into());
        }
        let most = if order.check { MOST_CHECKS } else { MOST };
        let same = self.all.iter().filter(|e| e.check == order.check);
        if same.count() >= most {
            let text = format!("{most} commands run in this dyno already, which is the most.");
            return Err(text.into());
        }
        let say = |e: String| No::Refused(format!("The command can't be started: {e}."));
        let program = Program::new(order.argv, &order.env, walls).map_err(say)?;
        let streams = match order.pty {
            Some(size) => stdio::terminal(walls.uid, size),
            None => stdio::pipes(walls.uid),
        };
        let (theirs, ours) = streams.map_err(say)?;
        let (pid, questions) = program
            .start(theirs)
            .map_err(|e| No::NotStarted(e.text, e.status))?;
        self.all.push(Exec {
            client,
            there: true,
            pid: Some(pid),
            ours,
            input: Attached::to(client, order.pty),
            questions,
            check: order.check,
            grace: Duration::from_millis(order.grace_ms),
            hangup: None,
            ended: None,
            told: false,
        });
        Ok(())
    }

    /// Has this client a command here?
    pub fn has(&self, client: u64) -> bool {
        self.all.iter().any(|e| e.client == client)
    }

    /// May input be read from this client?
    pub fn has_room(&self, client: u64) -> bool {
        let mut all = self.all.iter().filter(|e| e.client == client);
        all.all(|e| e.input.has_room())
    }

    /// What is to be waited for.
    pub fn poll(&self, clients: &mut Clients, mut add: impl FnMut(u64, Stream, RawFd, PollFlags)) {
        for e in &self.all {
            // nobody there any more: read and thrown away, so that the command can end in peace
            if !e.there || clients.get(e.client).is_none_or(|c| c.has_room()) {
                for (stream, fd) in [(Stream::Out, &e.ours.out), (Stream::Err, &e.ours.err)] {
                    if let Some(fd) = fd {
                        add(e.client, stream, fd.as_raw_fd(), PollFlags::POLLIN);
                    }
                }
            }
            if let Some(fd) = e.ours.stdin.as_ref().filter(|_| e.input.has_input()) {
                add(e.client, Stream::In, fd.as_raw_fd(), PollFlags::POLLOUT);
            }
            if let Some(fd) = &e.questions {
                add(e.client, Stream::Filter, fd.as_raw_fd(), PollFlags::POLLIN);
            }
        }
    }

    /// A stream has moved. Gives true when the command asked for a user namespace, and was refused.
    pub fn moved(
        &mut self,
        client: u64,
        stream: Stream,
        events: PollFlags,
        buf: &mut [u8],
        clients: &mut Clients,
    ) -> bool {
        let Some(e) = self.all.iter_mut().find(|e| e.client == client) else {
            return false;
        };
        match stream {
            Stream::Out => e.output(false, buf, clients),
            Stream::Err => e.output(true, buf, clients),
            Stream::In => e.input.feed(&mut e.ours),
            Stream::Filter => {
                let asked = match &e.questions {
                    Some(fd) if events.contains(PollFlags::POLLIN) => seccomp::say_no(fd),
                    _ => Err("nobody is left behind the filter".into()),
                };
                if asked.is_err() {
                    e.questions = None;
                }
                return asked == Ok(true);
            }
        }
        false
    }

    /// A frame of a client that has a command here.
    pub fn frame(&mut self, client: u64, frame: Frame, inside: &Inside) {
        let Some(e) = self.all.iter_mut().find(|e| e.client == client) else {
            return;
        };
        match frame {
            Frame::Stdin(bytes) => e.input.input(&bytes),
            Frame::StdinEof => e.input.end(),
            Frame::Resize(rows, cols) => {
                if let (Some(_), Some(t)) = (e.input.terminal, &e.ours.out) {
                    stdio::resize(t, (rows, cols));
                }
            }
            Frame::Signal(n) if (1..=64).contains(&n) => e.signal(n, inside),
            Frame::Kill => e.signal(libc::SIGKILL, inside),
            _ => {}
        }
        e.input.feed(&mut e.ours);
    }

    /// A client went away: its command gets SIGHUP, and SIGKILL after its grace.
    pub fn hung_up(&mut self, client: u64, inside: &Inside, now: Instant) {
        self.orders.retain(|(c, _)| *c != client);
        if let Some(e) = self.all.iter_mut().find(|e| e.client == client && e.there) {
            e.there = false;
            // those who read know by the end of their input too
            e.ours.stdin = None;
            e.signal(libc::SIGHUP, inside);
            e.hangup = Some(now + e.grace);
        }
    }

    /// Children of the shim that ended.
    pub fn reaped(&mut self, ended: &[(i32, Exit)], now: Instant) {
        for (pid, exit) in ended {
            if let Some(e) = self.all.iter_mut().find(|e| e.pid == Some(*pid)) {
                e.pid = None;
                e.ended = Some((*exit, now));
            }
        }
    }

    /// All processes of the dyno get this signal: those of these commands too.
    pub fn dyno_is_told(&self, signal: i32, clients: &mut Clients) {
        self.say(&format!("{DYNO_IS_TOLD} (signal {signal})."), clients);
    }

    /// The dyno ends, and all of them with it.
    pub fn dyno_ends(&self, clients: &mut Clients) {
        self.say(DYNO_ENDS, clients);
    }

    fn say(&self, text: &str, clients: &mut Clients) {
        for e in self.all.iter().filter(|e| e.ended.is_none() && !e.check) {
            if let Some(c) = clients.get(e.client) {
                let terminal = e.input.terminal.is_some();
                let end = if terminal { "\r\n" } else { "\n" };
                c.give(format!("{text}{end}").as_bytes(), !terminal);
            }
        }
    }

    /// When [`Execs::settle`] has something to do by itself.
    pub fn due(&self) -> Option<Instant> {
        let ends = self.all.iter().filter_map(|e| {
            let (_, since) = e.ended?;
            Some(since + if e.told { STALLED } else { LINGER })
        });
        ends.chain(self.all.iter().filter_map(|e| e.hangup)).min()
    }

    /// Tells who has to know of an end, kills what was hung up on, and forgets what is over.
    pub fn settle(&mut self, clients: &mut Clients, inside: &Inside, now: Instant) {
        for e in &mut self.all {
            if e.hangup.is_some_and(|t| t <= now) {
                e.hangup = None;
                e.signal(libc::SIGKILL, inside);
            }
            let Some((exit, since)) = e.ended else {
                continue;
            };
            let drained = e.ours.out.is_none() && e.ours.err.is_none();
            if !e.told && (drained || since + LINGER <= now) {
                e.told = true;
                e.ended = Some((exit, now));
                if let Some(c) = clients.get(e.client) {
                    c.tell(&Frame::Exited(exit));
                    c.send();
                }
            }
        }
        self.all.retain(|e| {
            let Some((_, since)) = e.ended.filter(|_| e.told) else {
                return true;
            };
            let client = clients.get(e.client).filter(|_| e.there);
            client.is_some_and(|c| {
                let over = c.unread() == 0 || since + STALLED <= now;
                c.gone |= over;
                !over
            })
        });
    }

    /// Some bytes were sent to this client.
    pub fn sent(&mut self, client: u64, now: Instant) {
        if let Some(e) = self.all.iter_mut().find(|e| e.client == client && e.told)
            && let Some((_, since)) = &mut e.ended
        {
            *since = now;
        }
    }

    /// The dyno has ended: tells each how its command did.
    pub fn finish(&mut self, clients: &mut Clients) {
        for e in self.all.iter_mut().filter(|e| !e.told) {
            e.told = true;
            let exit = e
                .ended
                .map_or(Exit::Signal(libc::SIGKILL), |(exit, _)| exit);
            if let Some(c) = clients.get(e.client) {
                c.tell(&Frame::Exited(exit));
            }
        }
    }
}

impl Exec {
    fn output(&mut self, error: bool, buf: &mut [u8], clients: &mut Clients) {
        let fd = if error {
            &mut self.ours.err
        } else {
            &mut self.ours.out
        };
        let Some(open) = fd else { return };
        match call::read(open, buf) {
            Ok(n) if n > 0 => {
                if let Some(c) = clients.get(self.client).filter(|_| !self.told) {
                    c.give(&buf[..n], error);
                }
                if let Some((_, since)) = &mut self.ended {
                    *since = Instant::now();
                }
            }
            Err(e) if call::not_now(&e) => {}
            // the end; a terminal whose other side is closed says EIO
            _ => *fd = None,
        }
    }

    fn signal(&self, signal: i32, inside: &Inside) {
        if let Some(pid) = self.pid {
            inside.signal_session(pid, signal);
        }
    }
}
