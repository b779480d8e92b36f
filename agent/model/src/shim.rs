//! Between the agent and the shim: the order to start one process, and the frames on the shim's socket.
//!
//! The agent starts `hokku-shim` and writes one [`ShimSpec`] as JSON to its standard input, then closes it: config
//! values never touch a command line or the disk. From then on the shim is on its own. It owns `<dir>`:
//!
//! * `record.json`: the agent's own [`crate::dyno::DynoRecord`], written by the agent before the start
//! * `shim.json`: [`ShimPid`], written by the shim once the process runs
//! * `ctl.sock`: a Unix stream socket with [`Frame`]s; any number of clients
//! * `exit.json`: [`crate::dyno::Exit`], written (tmp, fsync, rename) when the process and all its children are gone

use crate::dyno::Exit;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything the shim needs to start one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShimSpec {
    /// The dyno's folder, mode 0700, existing.
    pub dir: PathBuf,
    /// Program and arguments, handed to execve as they are. `argv[0]` is looked up on the PATH of `env`.
    pub argv: Vec<String>,
    /// The whole environment; no value goes through a shell.
    pub env: Vec<(String, String)>,
    /// Working directory inside the dyno, usually `/app`.
    pub cwd: PathBuf,
    /// What keeps it apart from the rest of the machine.
    pub isolation: Isolation,
    /// What the process finds at `/app`.
    pub app: AppTree,
    /// More folders of the host that appear inside.
    pub binds: Vec<Bind>,
    /// Where its output goes.
    pub output: Output,
    /// Resource limits.
    pub limits: Limits,
    /// The host's folders that are hidden even where their parent is shown (the agent's own data).
    pub hide: Vec<PathBuf>,
    /// For the UTS namespace, such as `web.1`.
    pub hostname: String,
}

/// The walls around a dyno.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Real namespaces made by root; the process runs as this user and group.
    Root {
        /// The app's own user id, also used as group id.
        uid: u32,
    },
    /// Namespaces inside a user namespace of the agent's own user.
    Userns,
    /// None to be had: a process group and the app's tree as working directory.
    Plain,
}

/// What is at `/app`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppTree {
    /// Read-only layers below (first is topmost), a fresh writable layer in `<dir>/upper` on top.
    /// Where overlayfs can't be had, the shim copies the tree to `<dir>/copy` instead.
    Overlay {
        /// The unpacked slug.
        lower: Vec<PathBuf>,
    },
    /// This folder itself, writable: for builds.
    Bind {
        /// The folder.
        path: PathBuf,
    },
}

/// A folder or file of the host inside the dyno.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host.
    pub from: PathBuf,
    /// Inside.
    pub to: PathBuf,
    /// May the process write there?
    pub writable: bool,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Lines are appended to the file as `2026-11-21T12:00:00.000000+00:00 app[web.1]: text`, whoever listens.
    /// The file is rotated to `<file>.1` at `max_bytes`.
    Log {
        /// The file.
        file: PathBuf,
        /// `app[web.1]`
        source: String,
        /// Bytes before rotation.
        max_bytes: u64,
    },
    /// Bytes go to whoever is attached to `ctl.sock`; the process waits (pipes full) while they do not read. The
    /// process is started when the first client attaches, or ends with SIGHUP a minute later. Stdin comes from there too.
    /// When the connection is lost (without [`Frame::HangUp`]), the newest output is kept for the next one that attaches,
    /// up to a bound; after an hour without one comes SIGHUP.
    Attached {
        /// Rows and columns of the terminal; `None` for three plain pipes.
        pty: Option<(u16, u16)>,
    },
}

/// Resource limits; `None` leaves the host's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory that the process is told to live within, in the file that Heroku's buildpacks read. What holds
    /// it to that is the cgroup, or the agent.
    pub memory: Option<u64>,
    /// Processes and threads of the app's user (RLIMIT_NPROC); only where each app has its own.
    pub pids: Option<u64>,
    /// Open files.
    pub nofile: Option<u64>,
    /// CPU weight 1-10000, 100 is normal; builds get less. Falls back to `nice` where there is no cgroup.
    pub cpu_weight: Option<u32>,
    /// Seconds after which everything is killed and the exit is SIGKILL.
    pub seconds: Option<u64>,
    /// Bytes that one file may have (RLIMIT_FSIZE).
    #[serde(default)]
    pub file_size: Option<u64>,
    /// An existing cgroup (version 2) that the process is born in; its limits are set. The shim itself goes to the
    /// group `shims` beside that group's parent, so that it outlives what is inside.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

/// `shim.json`: who the shim is, so that a restarted agent knows it again (a pid alone may have been reused).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShimPid {
    /// The shim's process id, seen from the host.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks from boot to its start.
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`, to tell a reboot.
    pub boot_id: String,
}

/// One frame on `ctl.sock`: a type byte, a big-endian u32 length, the payload. Payloads are at most 64 KiB.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// Both ways: bytes of stdin, stdout, stderr (a PTY has only stdout).
    Stdin(Vec<u8>),
    /// Shim to client.
    Stdout(Vec<u8>),
    /// Shim to client.
    Stderr(Vec<u8>),
    /// Client to shim: end of stdin.
    StdinEof,
    /// Client to shim: this connection takes the output and gives the input. Only the newest attached one counts.
    Attach,
    /// Client to shim: the terminal's size, rows and columns.
    Resize(u16, u16),
    /// Client to shim: this signal to every process inside.
    Signal(i32),
    /// Client to shim: kill everything inside now.
    Kill,
    /// Client to shim: whoever was attached by this connection is gone for good. The process gets SIGHUP, as when a
    /// terminal is closed. A connection that ends without it was lost, and somebody may attach again.
    HangUp,
    /// Client to shim: which TCP ports do processes inside listen on?
    AskListening,
    /// Shim to client: the answer, as `(port, any address or only loopback)` pairs in JSON.
    Listening(Vec<u16>),
    /// Shim to client, last frame: how it ended.
    Exited(Exit),
    /// Client to shim: a part of an [`crate::exec::ExecOrder`] as JSON.
    Order(Vec<u8>),
    /// Client to shim: the order is complete; run it. From here on the connection is that command's alone: its streams,
    /// terminal, signals and end, as those of the dyno are for who is attached to it. A shim from before this frame
    /// closes the connection.
    Exec,
    /// Shim to client: the ordered command runs.
    Executing,
    /// Shim to client, last frame: it does not run; why, in sentences.
    Refused(String),
}

/// The most bytes a frame may carry.
pub const MAX_FRAME: usize = 64 * 1024;

impl Frame {
    /// The frame as bytes, with its header.
    pub fn encode(&self) -> Vec<u8> {
        let (t, p): (u8, Vec<u8>) = match self {
            Frame::Stdin(b) => (0, b.clone()),
            Frame::Stdout(b) => (1, b.clone()),
            Frame::Stderr(b) => (2, b.clone()),
            Frame::StdinEof => (3, vec![]),
            Frame::Attach => (4, vec![]),
            Frame::Resize(r, c) => (5, [r.to_be_bytes(), c.to_be_bytes()].concat()),
            Frame::Signal(n) => (6, n.to_be_bytes().to_vec()),
            Frame::Kill => (7, vec![]),
            Frame::HangUp => (30, vec![]),
            Frame::AskListening => (8, vec![]),
            Frame::Listening(ports) => (9, ports.iter().flat_map(|p| p.to_be_bytes()).collect()),
            Frame::Exited(e) => {
                let (k, n) = match e {
                    Exit::Code(c) => (0u8, *c),
                    Exit::Signal(s) => (1, *s),
                    // the shim does not know why it was killed; who does, does not tell it this way
                    Exit::Memory(_) | Exit::Disk(_) => (1, 9),
                    Exit::Lost => (2, 0),
                };
                let mut p = vec![k];
                p.extend(n.to_be_bytes());
                (10, p)
            }
            Frame::Order(b) => (20, b.clone()),
            Frame::Exec => (21, vec![]),
            Frame::Executing => (22, vec![]),
            Frame::Refused(text) => (23, text.as_bytes()[..text.len().min(MAX_FRAME)].to_vec()),
        };
        let mut out = Vec::with_capacity(5 + p.len());
        out.push(t);
        out.extend((p.len() as u32).to_be_bytes());
        out.extend(p);
        out
    }

    /// Takes one frame from the front of `buf`, if it is there whole; it is removed from `buf`.
    ///
    /// # Errors
    /// A type that does not exist, a length above [`MAX_FRAME`], a payload of the wrong size: the peer is broken,
    /// close the connection.
    pub fn decode(buf: &mut Vec<u8>) -> Result<Option<Frame>, String> {
        if buf.len() < 5 {
            return Ok(None);
        }
        let len = u32::from_be_bytes([buf[1], buf[2], buf[3], buf[4]]) as usize;
        if len > MAX_FRAME {
            return Err(format!("frame of {len} bytes"));
        }
        if buf.len() < 5 + len {
            return Ok(None);
        }
        let t = buf[0];
        let p: Vec<u8> = buf.drain(..5 + len).skip(5).collect();
        let int = |p: &[u8]| {
            p.try_into()
                .map(i32::from_be_bytes)
                .map_err(|_| format!("frame {t} of {len} bytes"))
        };
        Ok(Some(match (t, len) {
            (0, _) => Frame::Stdin(p),
            (1, _) => Frame::Stdout(p),
            (2, _) => Frame::Stderr(p),
            (3, 0) => Frame::StdinEof,
            (4, 0) => Frame::Attach,
            (5, 4) => Frame::Resize(
                u16::from_be_bytes([p[0], p[1]]),
                u16::from_be_bytes([p[2], p[3]]),
            ),
            (6, 4) => Frame::Signal(int(&p)?),
            (7, 0) => Frame::Kill,
            (30, 0) => Frame::HangUp,
            (8, 0) => Frame::AskListening,
            (9, n) if n % 2 == 0 => Frame::Listening(
                p.chunks(2)
                    .map(|c| u16::from_be_bytes([c[0], c[1]]))
                    .collect(),
            ),
            (10, 5) => Frame::Exited(match p[0] {
                0 => Exit::Code(int(&p[1..])?),
                1 => Exit::Signal(int(&p[1..])?),
                _ => Exit::Lost,
            }),
            (20, _) => Frame::Order(p),
            (21, 0) => Frame::Exec,
            (22, 0) => Frame::Executing,
            (23, _) => Frame::Refused(String::from_utf8_lossy(&p).into_owned()),
            _ => return Err(format!("frame of type {t} with {len} bytes")),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_survive_the_wire_in_pieces() {
        let frames = [
            Frame::Stdin(b"hi\0\xff".to_vec()),
            Frame::Stdout(vec![]),
            Frame::Stderr(vec![7; 1000]),
            Frame::StdinEof,
            Frame::Attach,
            Frame::Resize(24, 80),
            Frame::Signal(15),
            Frame::Kill,
            Frame::HangUp,
            Frame::AskListening,
            Frame::Listening(vec![80, 5000]),
            Frame::Exited(Exit::Code(3)),
            Frame::Exited(Exit::Signal(9)),
            Frame::Exited(Exit::Lost),
            Frame::Order(b"{}".to_vec()),
            Frame::Exec,
            Frame::Executing,
            Frame::Refused("no ü".into()),
        ];
        let (mut buf, mut got) = (vec![], vec![]);
        for b in frames.iter().flat_map(Frame::encode) {
            buf.push(b);
            got.extend(Frame::decode(&mut buf).unwrap());
        }
        assert_eq!(got, frames);
        assert!(buf.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(mut b: Vec<u8>) {
            while let Ok(Some(_)) = Frame::decode(&mut b) {}
        }
    }
}
