//! Where output goes, and input comes from.

use crate::{
    call,
    clients::{Client, Clients},
    lines::Lines,
    log::Log,
    stdio::{self, Ours},
};
use hokku_model::shim::Output;
use std::{collections::VecDeque, os::fd::OwnedFd, time::Instant};

/// While more input than this waits for the process, none is read from the client.
const MOST_INPUT: usize = 64 * 1024;

/// Bytes of output kept while nobody is attached; older ones are dropped, and counted.
const MOST_KEPT: usize = 256 * 1024;

/// The other side of the process's streams.
pub enum Sink {
    /// Lines to a file.
    Log {
        /// The file.
        log: Box<Log>,
        /// Started line of standard output, of standard error.
        lines: [Lines; 2],
    },
    /// Bytes to and from a client.
    Attached(Attached),
}

/// The state of an attachment.
#[derive(Default)]
pub struct Attached {
    /// A terminal of this size, or three pipes.
    pub terminal: Option<(u16, u16)>,
    /// The newest client that attached.
    pub client: Option<u64>,
    input: VecDeque<u8>,
    /// No more input comes after what waits.
    ended: bool,
    last: Option<u8>,
    /// The connection was lost: output is kept for the next client.
    keeps: bool,
    kept: Kept,
}

/// The newest output, with what was standard error.
#[derive(Default)]
struct Kept {
    parts: VecDeque<(bool, Vec<u8>)>,
    bytes: usize,
    dropped: u64,
}

impl Kept {
    fn push(&mut self, bytes: &[u8], error: bool) {
        self.bytes += bytes.len();
        self.parts.push_back((error, bytes.to_vec()));
        while self.bytes > MOST_KEPT && self.parts.len() > 1 {
            let oldest = self.parts.pop_front().map_or(0, |(_, b)| b.len());
            self.bytes -= oldest;
            self.dropped += oldest as u64;
        }
    }
}

impl Sink {
    /// As the order says.
    ///
    /// # Errors
    /// The log file can't be opened.
    pub fn open(output: &Output) -> Result<Sink, String> {
        Ok(match output {
            Output::Log {
                file,
                source,
                max_bytes,
            } => Sink::Log {
                log: Box::new(Log::open(file, source, *max_bytes)?),
                lines: Default::default(),
            },
            Output::Attached { pty } => Sink::Attached(Attached {
                terminal: *pty,
                ..Attached::default()
            }),
        })
    }

    /// May output be read from the process now?
    pub fn has_room(&self, clients: &mut Clients) -> bool {
        match self {
            Sink::Log { .. } => true,
            // nobody there any more: read and thrown away, so that the process can end in peace
            Sink::Attached(a) => a
                .client
                .and_then(|c| clients.get(c))
                .is_none_or(|c| c.has_room()),
        }
    }

    /// Takes output.
    pub fn take(&mut self, bytes: &[u8], error: bool, now: Instant, clients: &mut Clients) {
        match self {
            Sink::Log { log, lines } => {
                log.begin();
                lines[usize::from(error)].push(bytes, now, |l| log.line(l));
            }
            Sink::Attached(a) => {
                if let Some(c) = a.client.and_then(|c| clients.get(c)) {
                    c.give(bytes, error);
                } else if a.keeps {
                    a.kept.push(bytes, error);
                }
            }
        }
    }

    /// A message of the shim's own, in the place where the user looks.
    pub fn explain(&mut self, text: &str, clients: &mut Clients) {
        let terminal = matches!(self, Sink::Attached(a) if a.terminal.is_some());
        let end = if terminal { "\r\n" } else { "\n" };
        self.take(
            format!("{text}{end}").as_bytes(),
            !terminal,
            Instant::now(),
            clients,
        );
        self.settle(Instant::now());
    }

    /// Writes lines whose rest has not come in time, and the batch.
    pub fn settle(&mut self, now: Instant) {
        if let Sink::Log { log, lines } = self {
            for l in lines {
                if l.due().is_some_and(|t| t <= now) {
                    log.begin();
                    l.flush(|x| log.line(x));
                }
            }
            log.write();
            if log.due().is_some_and(|t| t <= now) {
                log.retry();
            }
        }
    }

    /// Writes all that is left.
    pub fn finish(&mut self) {
        if let Sink::Log { log, lines } = self {
            log.begin();
            for l in lines {
                l.flush(|x| log.line(x));
            }
            log.write();
            if log.due().is_some() {
                log.retry();
            }
        }
    }

    /// When [`Sink::settle`] has something to do by itself.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Sink::Log { log, lines } => [lines[0].due(), lines[1].due(), log.due()]
                .into_iter()
                .flatten()
                .min(),
            Sink::Attached(_) => None,
        }
    }
}

impl Attached {
    /// Of one client from the start.
    pub fn to(client: u64, terminal: Option<(u16, u16)>) -> Attached {
        Attached {
            terminal,
            client: Some(client),
            ..Attached::default()
        }
    }

    /// Takes input for the process.
    pub fn input(&mut self, bytes: &[u8]) {
        if !self.ended {
            self.input.extend(bytes);
        }
    }

    /// No more input comes.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// A new client begins with fresh input.
    pub fn restart(&mut self) {
        self.ended = false;
    }

    /// The connection was lost, and somebody may come back.
    pub fn keep(&mut self) {
        self.client = None;
        self.keeps = true;
    }

    /// Nobody will come back: what is written from now on is thrown away.
    pub fn let_go(&mut self) {
        self.client = None;
        self.keeps = false;
        self.kept = Kept::default();
    }

    /// Gives a new client what was kept, and says what was not.
    pub fn hand_over(&mut self, to: &mut Client) {
        self.keeps = false;
        let kept = std::mem::take(&mut self.kept);
        if kept.dropped > 0 {
            let (error, end) = match self.terminal {
                Some(_) => (false, "\r\n"),
                None => (true, "\n"),
            };
            let text = format!(
                "hokku: {} bytes of output from while nobody was attached were dropped{end}",
                kept.dropped
            );
            to.give(text.as_bytes(), error);
        }
        for (error, bytes) in kept.parts {
            to.give(&bytes, error);
        }
    }

    /// May input be read from the client?
    pub fn has_room(&self) -> bool {
        self.input.len() < MOST_INPUT
    }

    /// Is there something to write to the process?
    pub fn has_input(&self) -> bool {
        !self.input.is_empty() || self.ended
    }

    /// Writes what the process takes.
    pub fn feed(&mut self, ours: &mut Ours) {
        let Some(fd) = &ours.stdin else {
            self.input.clear();
            self.ended = false;
            return;
        };
        loop {
            let (bytes, _) = self.input.as_slices();
            if bytes.is_empty() {
                break;
            }
            match call::write(fd, bytes) {
                Ok(n) => {
                    self.last = bytes.get(n.wrapping_sub(1)).copied().or(self.last);
                    self.input.drain(..n);
                }
                Err(e) if call::not_now(&e) => return,
                Err(_) => {
                    // the process closed its standard input: it wants no more
                    ours.stdin = None;
                    self.input.clear();
                    return;
                }
            }
        }
        if std::mem::take(&mut self.ended) {
            match self.terminal {
                None => ours.stdin = None,
                Some(_) => self.hang_up(fd),
            }
        }
        if self.input.capacity() > MOST_INPUT {
            self.input.shrink_to(4096);
        }
    }

    /// A terminal's input ends by a character, twice when a line was begun.
    fn hang_up(&self, fd: &OwnedFd) {
        if let Some(eof) = stdio::end_of_input(fd) {
            let begun = self
                .last
                .is_some_and(|b| b != b'\n' && b != b'\r' && b != eof);
            let _ = call::write(fd, &[eof, eof][..1 + usize::from(begun)]);
        }
    }
}
