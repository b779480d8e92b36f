//! Handing the listening sockets to a new router process, so that an upgrade of the router loses no connection.
//!
//! Two routers of one folder, the *elder* and its *heir*, talk over `handover.sock` beside the control socket, one JSON
//! document a line. The heir connects:
//!
//! | heir says | elder says | what has happened |
//! | --- | --- | --- |
//! | | `Offer`, with descriptors | the heir holds copies of the control socket, of `handover.sock` and of all listening sockets; the elder goes on |
//! | `Ready` | `Yours` | the heir has its threads; the elder takes no orders from the agent any more and gives its table and certificates |
//! | `Running` | `Farewell` | the heir serves by them; the elder accepts no more |
//! | | | the heir accepts: connections and the agent waited in the kernel's queues, which both share |
//!
//! Until `Running` the elder accepts and serves as ever. If the heir fails, says nothing for [`PATIENCE`] or is gone
//! before that, the elder takes orders again as if nothing had happened. An heir that hears no `Farewell` ends.
//!
//! From then on the heir is to the elder what the agent was: it passes every order on (`Order`), the elder answers with
//! reports, and the agent is told `Applied` and `Drained` only when all generations agree or are gone ([`Quorum`]). An
//! elder may be the heir of another one; it agrees when that one does. The elder answers what its clients still ask,
//! each with `Connection: close` (GOAWAY in HTTP/2), keeps tunnels until the drain time of their app, and ends when its
//! last connection does. At most [`GENERATIONS`] elders are kept: older ones are told to stop, and one whose heir died
//! stops by itself.
//!
//! Who calls it: `lib` (the heir's side, before it serves) and `control` (all else). Tests: here, and with real sockets
//! in `tests/router/handover.rs`.

use anyhow::{Context, bail};
use hokku_model::DynoId;
use hokku_model::route::{CertTable, RouteTable, RouterOrder, RouterReport};
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// So long may either side be silent before the hand-over is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Elders that may live besides the router that accepts.
pub(crate) const GENERATIONS: u32 = 4;
/// Listening sockets that can be handed over; the kernel takes 253 descriptors at once.
const SOCKETS_MAX: usize = 64;

/// The heir speaks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "heir", rename_all = "kebab-case")]
pub(crate) enum Word {
    /// It has all it needs but the table.
    Ready {
        /// Its process id.
        pid: u32,
    },
    /// It can't: why.
    Failed { why: String },
    /// It serves as soon as it hears `Farewell`.
    Running,
    /// An order of the agent.
    Order { order: RouterOrder },
    /// So many generations may stay, the one that hears this included.
    Keep { generations: u32 },
    /// End what is in flight within the limits of a stop.
    Stop,
}

/// The elder speaks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "elder", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Comes with the descriptors: control socket, hand-over socket, listening sockets.
    Offer {
        /// The elder's process id.
        pid: u32,
    },
    /// No: why.
    Refused { why: String },
    /// What it serves by.
    Yours {
        table: RouteTable,
        certs: Option<CertTable>,
    },
    /// It accepts no more.
    Farewell,
    /// A report for the agent, or a part of one.
    Report { report: RouterReport },
}

/// What an elder gave.
pub(crate) struct Taken {
    wire: BufReader<UnixStream>,
    /// The elder's process id.
    pub pid: u32,
    pub control: UnixListener,
    pub handover: UnixListener,
    pub listeners: Vec<TcpListener>,
}

/// Asks the router that answers at `socket` for its sockets; `None` when none answers.
///
/// # Errors
/// It refuses, or talks another language.
pub(crate) fn take_over(socket: &Path) -> anyhow::Result<Option<Taken>> {
    let Ok(stream) = UnixStream::connect(socket) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut fds = receive_fds(&stream)?.into_iter();
    let mut wire = BufReader::new(stream);
    let pid = match read(&mut wire)? {
        Answer::Offer { pid } => pid,
        Answer::Refused { why } => bail!("the running router refuses the hand-over: {why}"),
        other => bail!("the running router said {other:?} instead of an offer"),
    };
    let (Some(control), Some(handover)) = (fds.next(), fds.next()) else {
        bail!("the running router offered no sockets");
    };
    Ok(Some(Taken {
        wire,
        pid,
        control: control.into(),
        handover: handover.into(),
        listeners: fds.map(TcpListener::from).collect(),
    }))
}

impl Taken {
    /// Says that all is prepared; gets what the elder serves by.
    ///
    /// # Errors
    /// The elder is gone or gave up waiting.
    pub fn ready(&mut self) -> anyhow::Result<(RouteTable, Option<CertTable>)> {
        let pid = std::process::id();
        self.say(&Word::Ready { pid })?;
        match read(&mut self.wire)? {
            Answer::Yours { table, certs } => Ok((table, certs)),
            other => bail!("the running router said {other:?} instead of giving its table"),
        }
    }

    /// Says that this router serves from now on; when the elder agrees, gives the wire on which orders go to it.
    ///
    /// # Errors
    /// The elder is gone or gave up waiting: it may serve itself, so this router must not.
    pub fn running(mut self) -> anyhow::Result<UnixStream> {
        self.say(&Word::Running)?;
        match read(&mut self.wire)? {
            Answer::Farewell => {}
            other => bail!("the running router said {other:?} instead of farewell"),
        }
        let stream = self.wire.into_inner();
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Tells the elder why nothing comes of it.
    pub fn failed(mut self, why: &anyhow::Error) {
        let why = format!("{why:#}");
        // an elder that is gone needs no reason
        let _ = self.say(&Word::Failed { why });
    }

    fn say(&mut self, word: &Word) -> anyhow::Result<()> {
        self.wire
            .get_mut()
            .write_all(&line(word)?)
            .context("the running router is gone")
    }
}

fn read(wire: &mut BufReader<UnixStream>) -> anyhow::Result<Answer> {
    let mut text = Vec::new();
    wire.take(crate::lines::LINE_MAX as u64)
        .read_until(b'\n', &mut text)
        .context("the running router says nothing")?;
    anyhow::ensure!(
        text.ends_with(b"\n"),
        "the running router ended the hand-over"
    );
    serde_json::from_slice(&text).context("the running router speaks another language")
}

/// One line of the wire.
pub(crate) fn line<T: Serialize>(said: &T) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    Ok(line)
}

/// Sends descriptors, with one byte of their own so that they can't be mixed up with a line.
pub(crate) fn send_fds(to: &impl AsRawFd, fds: &[RawFd]) -> anyhow::Result<()> {
    anyhow::ensure!(
        fds.len() <= SOCKETS_MAX + 2,
        "{} listening sockets are more than can be handed over ({SOCKETS_MAX})",
        fds.len() - 2
    );
    let rights = [ControlMessage::ScmRights(fds)];
    let (byte, flags) = ([IoSlice::new(b"!")], MsgFlags::MSG_NOSIGNAL);
    let sent = sendmsg::<()>(to.as_raw_fd(), &byte, &rights, flags, None)
        .context("the listening sockets can't be sent")?;
    anyhow::ensure!(sent == 1, "the listening sockets were not sent");
    Ok(())
}

fn receive_fds(from: &UnixStream) -> anyhow::Result<Vec<OwnedFd>> {
    let mut byte = [0];
    let mut room = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!([RawFd; SOCKETS_MAX + 2]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<SockaddrStorage>(from.as_raw_fd(), &mut room, Some(&mut space), flags)
        .context("the running router offers nothing")?;
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(some) = part {
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows them.
            fds.extend(some.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }));
        }
    }
    Ok(fds)
}

/// A copy of a descriptor that lives as long as the copy.
pub(crate) fn copy(fd: &impl AsRawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: the caller's reference keeps the descriptor open during the call.
    unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }.try_clone_to_owned()
}

/// Starts the program that is on disk now, as a process that is not this one's child: where this one was started by
/// systemd, so is the heir, to systemd's eyes.
///
/// # Errors
/// The program can't be executed.
pub(crate) fn start_heir(command: &[OsString]) -> anyhow::Result<()> {
    let (program, arguments) = command
        .split_first()
        .context("it is not known how this router was started")?;
    let mut heir = Command::new(program);
    heir.args(arguments).stdin(Stdio::null());
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        heir.env_remove(name);
    }
    // SAFETY: fork, _exit and setsid are async-signal-safe, and nothing else is called.
    unsafe {
        heir.pre_exec(|| match libc::fork() {
            -1 => Err(std::io::Error::last_os_error()),
            0 => nix::unistd::setsid().map(drop).map_err(Into::into),
            _ => libc::_exit(0),
        });
    }
    let mut between = heir
        .spawn()
        .with_context(|| format!("{} can't be started", Path::new(program).display()))?;
    between.wait()?;
    Ok(())
}

/// What the agent is told only when all generations agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A table of this version, or a newer one, is in force.
    Applied(u64),
    /// Nothing is in flight to this dyno.
    Drained(DynoId),
}

impl Claim {
    fn covers(self, asked: Claim) -> bool {
        match (self, asked) {
            (Claim::Applied(has), Claim::Applied(wants)) => has >= wants,
            (has, wants) => has == wants,
        }
    }
}

struct Question {
    claim: Claim,
    /// Has this router itself agreed?
    own: bool,
    /// Elders that have not.
    open: BTreeSet<u64>,
}

/// Collects the agreement of this router and its elders. Without elders every claim holds as soon as it is made.
#[derive(Default)]
pub(crate) struct Quorum {
    elders: BTreeSet<u64>,
    questions: Vec<Question>,
}

impl Quorum {
    /// An elder to be asked from now on.
    pub fn join(&mut self, elder: u64) {
        self.elders.insert(elder);
    }

    /// Are there elders?
    pub fn is_empty(&self) -> bool {
        self.elders.is_empty()
    }

    /// All elders were asked; what they said before counts no more.
    pub fn ask(&mut self, claim: Claim) {
        self.questions.retain(|q| !claim.covers(q.claim));
        if !self.elders.is_empty() {
            self.questions.push(Question {
                claim,
                own: false,
                open: self.elders.clone(),
            });
        }
    }

    /// This router agrees. Is that everyone?
    pub fn own(&mut self, claim: Claim) -> bool {
        let Some(q) = self.questions.iter_mut().find(|q| q.claim == claim) else {
            return true;
        };
        q.own = true;
        !self.agreed().is_empty()
    }

    /// An elder agrees; what everyone agrees on now.
    pub fn heard(&mut self, elder: u64, claim: Claim) -> Vec<Claim> {
        for q in &mut self.questions {
            if claim.covers(q.claim) {
                q.open.remove(&elder);
            }
        }
        self.agreed()
    }

    /// An elder is gone, and all that was in flight there; what everyone agrees on now.
    pub fn gone(&mut self, elder: u64) -> Vec<Claim> {
        self.elders.remove(&elder);
        for q in &mut self.questions {
            q.open.remove(&elder);
        }
        self.agreed()
    }

    fn agreed(&mut self) -> Vec<Claim> {
        let is_done = |q: &mut Question| q.own && q.open.is_empty();
        self.questions
            .extract_if(.., is_done)
            .map(|q| q.claim)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: Claim = Claim::Drained(DynoId(1));

    #[test]
    fn alone_every_claim_holds() {
        let mut q = Quorum::default();
        q.ask(D);
        assert!(q.own(D) && q.own(Claim::Applied(3)));
    }

    #[test]
    fn all_have_to_agree_in_any_order_or_be_gone() {
        let mut q = Quorum::default();
        q.join(1);
        q.join(2);
        q.ask(D);
        assert_eq!(q.heard(1, D), []);
        assert!(!q.own(D));
        assert_eq!(q.heard(2, Claim::Drained(DynoId(2))), []);
        assert_eq!(q.heard(2, D), [D]);
        assert_eq!(q.heard(2, D), [], "said once");

        q.ask(D);
        assert_eq!(q.heard(2, D), []);
        assert_eq!(q.gone(1), [], "this router has not agreed yet");
        assert!(q.own(D));
        assert!(!q.is_empty());
        assert_eq!(q.gone(2), []);
        assert!(q.is_empty());
    }

    #[test]
    fn a_question_asked_again_is_open_again() {
        let mut q = Quorum::default();
        q.join(1);
        q.ask(D);
        assert_eq!(q.heard(1, D), []);
        q.ask(D);
        assert!(!q.own(D));
        assert_eq!(q.heard(1, D), [D]);
    }

    #[test]
    fn a_newer_table_takes_the_place_of_an_older_one() {
        let mut q = Quorum::default();
        q.join(1);
        q.ask(Claim::Applied(1));
        q.ask(Claim::Applied(2));
        assert!(!q.own(Claim::Applied(2)));
        assert_eq!(q.heard(1, Claim::Applied(1)), []);
        assert_eq!(q.heard(1, Claim::Applied(2)), [Claim::Applied(2)]);
    }

    #[test]
    fn descriptors_arrive_with_their_line() {
        let (a, b) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        send_fds(&a, &[listener.as_raw_fd()]).unwrap();
        (&a).write_all(&line(&Answer::Farewell).unwrap()).unwrap();
        let fds = receive_fds(&b).unwrap();
        let mut wire = BufReader::new(b);
        assert!(matches!(read(&mut wire).unwrap(), Answer::Farewell));
        let [fd] = <[OwnedFd; 1]>::try_from(fds).unwrap();
        let same = TcpListener::from(fd).local_addr().unwrap();
        assert_eq!(same, listener.local_addr().unwrap());
        drop(a);
        assert!(read(&mut wire).is_err());
    }
}
