//! The resident process: sets the dyno up, then waits for signals, output, clients and deadlines in one loop.

use crate::{
    app,
    call::{self, Why},
    cgroup::Cradle,
    clients::Clients,
    exec::{Execs, No, Stream},
    inside::Inside,
    launch::{Program, Walls},
    report::{self, Host},
    root, scope, seccomp,
    sink::Sink,
    stdio::{self, Ours},
};
use hokku_model::{
    dyno::Exit,
    shim::{Frame, Isolation, Output, ShimSpec},
};
use nix::{
    poll::PollFlags,
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use std::{
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

/// From SIGHUP, because the attached client is gone, to SIGKILL: Heroku's grace for every stop.
const HANGUP_GRACE: Duration = Duration::from_secs(30);

/// From the loss of the connection to the attached client to SIGHUP: so long somebody may attach again.
const ABANDONED: Duration = Duration::from_secs(3600);

/// How long a dyno to attach to waits for its first client.
const AWAIT_CLIENT: Duration = Duration::from_secs(60);

/// How long the attached client may take no byte of what is left after the process ended.
const STALLED: Duration = Duration::from_secs(10);

/// How long killed processes may take to vanish, and their output to end. Only a broken disk or driver, or a pipe
/// that was passed out of the dyno, makes it that long.
const VANISH: Duration = Duration::from_secs(5);

/// Said to an app whose process asked for a user namespace. Chromium then ends with "No usable sandbox!".
const NO_SANDBOX: &str = "hokku: a process asked for a user namespace, to build a sandbox of its own. A dyno has none: it is one. \
     Start Chromium, Chrome and Electron with --no-sandbox (Puppeteer: args: ['--no-sandbox']).";

/// Output read at once.
const CHUNK: usize = 32 * 1024;

/// Sets up and runs one dyno; comes back only when it could not be set up.
pub fn resident(
    spec: ShimSpec,
    host: Host,
    cradle: Result<Option<Cradle>, String>,
) -> Result<(), String> {
    let pid = Host::identify()?;
    let signals = signals()?;
    let sink = Sink::open(&spec.output)?;
    let mut notices = Vec::new();
    let plain = if spec.isolation == Isolation::Plain {
        for b in &spec.binds {
            notices.push(format!(
                "without namespaces nothing can be shown at {}",
                b.to.display()
            ));
        }
        Some(app::plain(&spec, &host)?)
    } else {
        root::build(&spec, &host, &mut notices)?;
        None
    };
    let cradle = cradle.unwrap_or_else(|e| {
        notices.push(format!("the dyno's limits are not held by the kernel: {e}"));
        None
    });
    let walls = Rc::new(Walls::new(&spec, plain, cradle));
    let program = Program::new(spec.argv.clone(), &[], &walls)?;
    call::prctl(libc::PR_SET_DUMPABLE, 0).why(|| "can't hide from the dyno".into())?;
    if scope::available() {
        call::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).why(|| "can't refuse new rights".into())?;
        scope::enter().why(|| "can't enter a scope of its own (Landlock)".into())?;
    }
    std::env::set_current_dir("/").why(|| "can't enter /".into())?;
    host.write_pid(&pid)?;
    let mut shim = Shim {
        inside: Inside::new(spec.isolation),
        clients: Clients::new(
            host.listener
                .try_clone()
                .why(|| "no descriptors left".into())?,
        ),
        uid: app::owner(&spec),
        host,
        sink,
        signals,
        program: Some(program),
        walls,
        execs: Execs::default(),
        main: None,
        questions: None,
        told: false,
        ours: Ours::default(),
        state: State::Waiting,
        limit: spec
            .limits
            .seconds
            .map(|s| Instant::now() + Duration::from_secs(s)),
        hangup: None,
        abandoned: None,
    };
    match spec.output {
        Output::Log { .. } => shim.start()?,
        Output::Attached { .. } => shim.hangup = Some(Instant::now() + AWAIT_CLIENT),
    }
    drop(spec);
    for n in notices {
        report::say(&format!("notice {n}"));
    }
    report::say(&format!("ok {}", pid.pid));
    report::leave()?;
    shim.run();
    std::process::exit(0)
}

/// Signals come through a descriptor. TERM, INT and HUP are for the case that somebody on the host (a shutdown) tells
/// the shim to end: it passes them on.
fn signals() -> Result<SignalFd, String> {
    let set = [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ];
    let set = SigSet::from_iter(set);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    set.thread_block()
        .and_then(|()| SignalFd::with_flags(&set, flags))
        .why(|| "can't set up signals".into())
}

/// How far the dyno's life has come.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// For a client.
    Waiting,
    /// The process runs.
    Running,
    /// It ended; what it left is killed and drained.
    Ending {
        exit: Exit,
        /// Children are left.
        children: bool,
        /// Nothing has moved since.
        since: Instant,
    },
}

struct Shim {
    host: Host,
    inside: Inside,
    clients: Clients,
    sink: Sink,
    signals: SignalFd,
    /// Until it was started.
    program: Option<Program>,
    /// What later commands start from.
    walls: Rc<Walls>,
    execs: Execs,
    uid: Option<u32>,
    main: Option<i32>,
    /// From the filter of calls, about user namespaces.
    questions: Option<OwnedFd>,
    /// Why there are none was explained.
    told: bool,
    ours: Ours,
    state: State,
    /// Everything is killed then.
    limit: Option<Instant>,
    /// The process gets SIGKILL then, because nobody is attached; before the start, the dyno ends.
    hangup: Option<Instant>,
    /// The process gets SIGHUP then, because the connection to the attached client was lost and nobody came back.
    abandoned: Option<Instant>,
}

/// What a polled descriptor is.
#[derive(Clone, Copy)]
enum Who {
    Signals,
    Door,
    Client(u64),
    Out,
    Err,
    In,
    Filter,
    Exec(u64, Stream),
}

impl Shim {
    fn start(&mut self) -> Result<(), String> {
        let Some(program) = self.program.take() else {
            return Ok(());
        };
        let (theirs, ours) = match &self.sink {
            Sink::Log { .. } => stdio::output(self.uid)?,
            Sink::Attached(a) => match a.terminal {
                Some(size) => stdio::terminal(self.uid, size)?,
                None => stdio::pipes(self.uid)?,
            },
        };
        self.ours = ours;
        match program.start(theirs) {
            Ok((pid, questions)) => {
                self.main = Some(pid);
                self.questions = questions;
                self.state = State::Running;
            }
            Err(e) => {
                self.sink.explain(&e.text, &mut self.clients);
                self.end(Exit::Code(e.status));
            }
        }
        Ok(())
    }

    /// A process wants a user namespace: it gets none, and the log gets the reason, once.
    fn asked(&mut self, events: PollFlags) {
        let asked = match &self.questions {
            Some(fd) if events.contains(PollFlags::POLLIN) => seccomp::say_no(fd),
            _ => Err("nobody is left behind the filter".into()),
        };
        match asked {
            Ok(true) if !self.told => {
                self.told = true;
                self.sink.explain(NO_SANDBOX, &mut self.clients);
            }
            Ok(_) => {}
            Err(_) => self.questions = None,
        }
    }

    fn end(&mut self, exit: Exit) {
        if !matches!(self.state, State::Ending { .. }) {
            self.program = None;
            self.limit = None;
            self.hangup = None;
            self.abandoned = None;
            let children = self.main.is_some();
            self.state = State::Ending {
                exit,
                children,
                since: Instant::now(),
            };
            self.execs.dyno_ends(&mut self.clients);
            if children {
                self.inside.kill();
            }
        }
    }

    fn run(&mut self) {
        let mut buf = vec![0; CHUNK];
        while !self.finished() {
            for (who, events) in self.wait() {
                match who {
                    Who::Signals => self.signalled(),
                    Who::Door => self.clients.accept(),
                    Who::Client(id) => self.client(id, events, &mut buf),
                    Who::Out => self.output(false, &mut buf),
                    Who::Err => self.output(true, &mut buf),
                    Who::In => self.feed(),
                    Who::Filter => self.asked(events),
                    Who::Exec(id, stream) => {
                        let clients = &mut self.clients;
                        if self.execs.moved(id, stream, events, &mut buf, clients) && !self.told {
                            self.told = true;
                            self.sink.explain(NO_SANDBOX, &mut self.clients);
                        }
                    }
                }
            }
            self.sink.settle(Instant::now());
            self.deadlines();
            self.execs
                .settle(&mut self.clients, &self.inside, Instant::now());
            self.sweep_clients();
        }
        let State::Ending { exit, .. } = self.state else {
            return;
        };
        self.sink.finish();
        let file = self.host.write_exit(exit);
        self.execs.finish(&mut self.clients);
        for c in &mut self.clients.all {
            if !self.execs.has(c.id) {
                c.tell(&Frame::Exited(exit));
            }
        }
        self.part();
        // those who wait know by now; syncing may take long on a busy disk
        if let Some(f) = file {
            let _ = f.sync_all();
            // SAFETY: takes no pointers
            unsafe { libc::fsync(self.host.dir.as_raw_fd()) };
        }
        app::throw_away(&self.host);
    }

    /// Waits for something to happen, or for the next deadline.
    fn wait(&mut self) -> Vec<(Who, PollFlags)> {
        let mut fds = Vec::with_capacity(8);
        let mut add = |who, fd: i32, events: PollFlags| {
            fds.push((
                who,
                libc::pollfd {
                    fd,
                    events: events.bits(),
                    revents: 0,
                },
            ));
        };
        add(Who::Signals, self.signals.as_raw_fd(), PollFlags::POLLIN);
        add(Who::Door, self.clients.listener(), PollFlags::POLLIN);
        if let Some(fd) = &self.questions {
            add(Who::Filter, fd.as_raw_fd(), PollFlags::POLLIN);
        }
        if self.sink.has_room(&mut self.clients) {
            for (who, fd) in [(Who::Out, &self.ours.out), (Who::Err, &self.ours.err)] {
                if let Some(fd) = fd {
                    add(who, fd.as_raw_fd(), PollFlags::POLLIN);
                }
            }
        }
        let (attached, room) = match &self.sink {
            Sink::Attached(a) => {
                if let Some(fd) = self.ours.stdin.as_ref().filter(|_| a.has_input()) {
                    add(Who::In, fd.as_raw_fd(), PollFlags::POLLOUT);
                }
                (a.client, a.has_room())
            }
            Sink::Log { .. } => (None, true),
        };
        self.execs
            .poll(&mut self.clients, |id, stream, fd, events| {
                add(Who::Exec(id, stream), fd, events);
            });
        for c in &self.clients.all {
            let mut events = PollFlags::empty();
            let room = (room || attached != Some(c.id)) && self.execs.has_room(c.id);
            events.set(PollFlags::POLLIN, room);
            events.set(PollFlags::POLLOUT, c.unread() > 0);
            add(Who::Client(c.id), c.fd(), events);
        }
        let timeout = self.next_deadline().map_or(-1, |t| {
            let left = t.saturating_duration_since(Instant::now());
            // rounded up, so that the deadline has passed when the call returns
            i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        let mut polled: Vec<libc::pollfd> = fds.iter().map(|f| f.1).collect();
        // SAFETY: pointer and length are those of `polled`
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
        fds.iter()
            .zip(polled)
            .filter(|(_, p)| p.revents != 0)
            .map(|((who, _), p)| (*who, PollFlags::from_bits_truncate(p.revents)))
            .collect()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let vanish = match self.state {
            State::Ending { since, .. } => Some(since + self.patience()),
            _ => None,
        };
        [
            self.limit,
            self.hangup,
            self.abandoned,
            self.sink.due(),
            self.execs.due(),
            vanish,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn deadlines(&mut self) {
        let now = Instant::now();
        if self.limit.is_some_and(|t| t <= now) {
            self.kill();
        }
        if self.abandoned.is_some_and(|t| t <= now) {
            self.abandoned = None;
            self.hang_up();
        }
        if self.hangup.is_some_and(|t| t <= now) {
            self.hangup = None;
            if self.state == State::Waiting {
                self.end(Exit::Signal(libc::SIGHUP));
            } else {
                self.kill();
            }
        }
    }

    fn kill(&mut self) {
        self.limit = None;
        match self.state {
            State::Waiting => self.end(Exit::Signal(libc::SIGKILL)),
            _ => self.inside.kill(),
        }
    }

    fn signal(&mut self, n: i32) {
        let deadly = matches!(
            n,
            libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM | libc::SIGKILL
        );
        match self.state {
            State::Waiting if deadly => self.end(Exit::Signal(n)),
            State::Waiting => {}
            _ if (1..=64).contains(&n) => {
                self.execs.dyno_is_told(n, &mut self.clients);
                self.inside.signal(n);
            }
            _ => {}
        }
    }

    fn signalled(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let n = info.ssi_signo as i32;
            // the dyno tells its shim nothing: a process that is seen from here is one of its own
            if n != libc::SIGCHLD && !self.inside.has(info.ssi_pid as i32) {
                self.signal(n);
            }
        }
        let (ended, left) = self.inside.reap();
        self.execs.reaped(&ended, Instant::now());
        if let Some((_, exit)) = ended.iter().find(|(pid, _)| Some(*pid) == self.main) {
            self.end(*exit);
        }
        if let State::Ending { children, .. } = &mut self.state {
            *children = left;
            if left {
                // one may have been born while the others were killed
                self.inside.kill();
            }
        }
    }

    fn output(&mut self, error: bool, buf: &mut [u8]) {
        let fd = if error {
            &mut self.ours.err
        } else {
            &mut self.ours.out
        };
        let Some(open) = fd else { return };
        match call::read(open, buf) {
            Ok(n) if n > 0 => {
                self.sink
                    .take(&buf[..n], error, Instant::now(), &mut self.clients);
                self.moved();
            }
            Err(e) if call::not_now(&e) => {}
            // the end; a terminal whose other side is closed says EIO
            _ => *fd = None,
        }
    }

    /// Something went on after the process's end, so the wait for the rest begins anew.
    fn moved(&mut self) {
        if let State::Ending { since, .. } = &mut self.state {
            *since = Instant::now();
        }
    }

    fn feed(&mut self) {
        if let Sink::Attached(a) = &mut self.sink {
            a.feed(&mut self.ours);
        }
    }

    fn client(&mut self, id: u64, events: PollFlags, buf: &mut [u8]) {
        let Some(c) = self.clients.get(id) else {
            return;
        };
        if events.contains(PollFlags::POLLOUT) && c.send() {
            self.execs.sent(id, Instant::now());
            self.moved();
        }
        let Some(c) = self.clients.get(id) else {
            return;
        };
        let frames = if events.contains(PollFlags::POLLIN) {
            c.receive(buf)
        } else {
            c.gone |= events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
            Vec::new()
        };
        for f in frames {
            self.frame(id, f);
        }
    }

    fn frame(&mut self, id: u64, frame: Frame) {
        if self.execs.has(id) {
            return self.execs.frame(id, frame, &self.inside);
        }
        match frame {
            Frame::Order(part) => {
                if !self.execs.order(id, part)
                    && let Some(c) = self.clients.get(id)
                {
                    c.gone = true;
                }
            }
            Frame::Exec => self.exec(id),
            Frame::Attach => self.attach(id),
            Frame::Signal(n) => self.signal(n),
            Frame::Kill => self.kill(),
            Frame::HangUp => {
                let attached = matches!(&self.sink, Sink::Attached(a) if a.client == Some(id));
                if attached {
                    self.hang_up();
                }
            }
            Frame::AskListening => {
                let ports = self.inside.listening();
                if let Some(c) = self.clients.get(id) {
                    c.tell(&Frame::Listening(ports));
                }
            }
            Frame::Stdin(_) | Frame::StdinEof | Frame::Resize(..) => self.input(id, frame),
            // these go the other way
            Frame::Stdout(_)
            | Frame::Stderr(_)
            | Frame::Listening(_)
            | Frame::Exited(_)
            | Frame::Executing
            | Frame::Refused(_) => {}
        }
    }

    /// Runs the order of a client inside.
    fn exec(&mut self, id: u64) {
        let started = match self.state {
            State::Running => self.execs.start(id, &self.walls),
            State::Waiting => Err("The dyno has not begun: it waits for its client."
                .to_owned()
                .into()),
            State::Ending { .. } => Err("The dyno is ending.".to_owned().into()),
        };
        let Some(c) = self.clients.get(id) else {
            return;
        };
        match started {
            Ok(()) => return c.tell(&Frame::Executing),
            Err(No::Refused(text)) => c.tell(&Frame::Refused(text)),
            Err(No::NotStarted(text, status)) => {
                c.tell(&Frame::Executing);
                c.give(format!("{text}\n").as_bytes(), true);
                c.tell(&Frame::Exited(Exit::Code(status)));
            }
        }
        // a few bytes, which a new connection takes at once
        c.send();
        c.gone = true;
    }

    fn attach(&mut self, id: u64) {
        let Sink::Attached(a) = &mut self.sink else {
            return;
        };
        a.client = Some(id);
        a.restart();
        if let Some(c) = self.clients.get(id) {
            a.hand_over(c);
        }
        self.hangup = None;
        self.abandoned = None;
        if self.state == State::Waiting
            && let Err(e) = self.start()
        {
            self.sink
                .explain(&format!("can't start the process: {e}"), &mut self.clients);
            self.end(Exit::Code(126));
        }
    }

    fn input(&mut self, id: u64, frame: Frame) {
        let Sink::Attached(a) = &mut self.sink else {
            return;
        };
        if a.client != Some(id) {
            return;
        }
        match frame {
            Frame::Stdin(bytes) => a.input(&bytes),
            Frame::StdinEof => a.end(),
            Frame::Resize(rows, cols) => {
                if let (Some(_), Some(t)) = (a.terminal, &self.ours.out) {
                    stdio::resize(t, (rows, cols));
                }
            }
            _ => {}
        }
        self.feed();
    }

    /// Nobody will read the output any more: SIGHUP, and later SIGKILL.
    fn hang_up(&mut self) {
        if let Sink::Attached(a) = &mut self.sink {
            a.let_go();
        }
        if self.state == State::Running {
            self.inside.signal(libc::SIGHUP);
            self.hangup = Some(Instant::now() + HANGUP_GRACE);
        }
    }

    /// Sends what waits, and lets go of clients that are gone. The attached one may come back: its connection ended
    /// without a word, as when the agent is killed.
    fn sweep_clients(&mut self) {
        for c in &mut self.clients.all {
            if c.unread() > 0 && !c.gone {
                c.send();
            }
        }
        let attached = match &self.sink {
            Sink::Attached(a) => a.client,
            Sink::Log { .. } => None,
        };
        let mut lost = false;
        let (execs, inside) = (&mut self.execs, &self.inside);
        self.clients.all.retain(|c| {
            lost |= c.gone && attached == Some(c.id);
            if c.gone {
                execs.hung_up(c.id, inside, Instant::now());
            }
            !c.gone
        });
        if lost && let Sink::Attached(a) = &mut self.sink {
            a.keep();
            if self.state == State::Running {
                self.abandoned = Some(Instant::now() + ABANDONED);
            }
        }
    }

    fn patience(&self) -> Duration {
        match &self.sink {
            Sink::Attached(a) if a.client.is_some() => STALLED,
            _ => VANISH,
        }
    }

    fn finished(&mut self) -> bool {
        let State::Ending {
            children, since, ..
        } = self.state
        else {
            return false;
        };
        let drained = self.ours.out.is_none() && self.ours.err.is_none();
        (!children && drained) || since + self.patience() <= Instant::now()
    }

    /// Gives each client the rest, and its end; those who take nothing are not waited for.
    fn part(&mut self) {
        let mut since = Instant::now();
        loop {
            self.clients.all.retain(|c| !c.gone && c.unread() > 0);
            if self.clients.all.is_empty() || since.elapsed() > STALLED {
                return;
            }
            let mut fds: Vec<_> = (self.clients.all.iter())
                .map(|c| libc::pollfd {
                    fd: c.fd(),
                    events: libc::POLLOUT,
                    revents: 0,
                })
                .collect();
            // SAFETY: pointer and length are those of `fds`
            unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 1000) };
            for c in &mut self.clients.all {
                if c.send() {
                    since = Instant::now();
                }
            }
        }
    }
}
