//! Starting a shim, finding it again, and talking to it.

use super::process::{self, Process};
use anyhow::{Context, bail};
use hokku_model::{
    dyno::Exit,
    shim::{Frame, ShimPid, ShimSpec},
};
use std::{fs, io, os::fd::AsRawFd, path::Path, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep, timeout},
};

/// How long a shim may take until it runs. Milliseconds, unless the app's files have to be copied.
const START: Duration = Duration::from_secs(120);

/// How long a shim that was ordered, but not heard of, may take to write `shim.json`: it may have been started just
/// before its agent died.
const APPEAR: Duration = Duration::from_secs(2);

/// The most bytes a shim says at its start.
const MOST_WORDS: u64 = 64 * 1024;

/// The variable that marks the processes of a dyno without walls; the shim sets it to the dyno's folder.
const MARK: &str = "HOKKU_DYNO_DIR";

/// A connection to a shim: what is sent, what is received, and the process itself. Dropping the sender hangs up.
#[derive(Debug)]
pub struct ShimConn {
    /// Frames to the shim.
    pub tx: FrameSender,
    /// Frames from the shim.
    pub rx: FrameReceiver,
    /// The shim's process.
    pub process: Arc<Process>,
    /// What the shim had to say at its start: things that are missing here. Empty for a connection made later.
    pub notices: Vec<String>,
}

/// Frames to the shim.
#[derive(Debug)]
pub struct FrameSender(OwnedWriteHalf);

impl FrameSender {
    /// Sends one frame; waits while the shim takes none.
    ///
    /// # Errors
    /// The shim is gone.
    pub async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.0.write_all(&frame.encode()).await
    }
}

/// Frames from the shim.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: OwnedReadHalf,
    buf: Vec<u8>,
}

impl FrameReceiver {
    /// The next frame; `None` when the shim is gone. Nothing is lost when this is cancelled.
    ///
    /// # Errors
    /// The connection broke, or what came is no frame.
    pub async fn recv(&mut self) -> io::Result<Option<Frame>> {
        loop {
            match Frame::decode(&mut self.buf) {
                Ok(Some(f)) => return Ok(Some(f)),
                Ok(None) => {}
                Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            }
            // at most one whole frame and this much of the next are ever held
            self.buf.reserve(32 * 1024);
            match self.stream.read_buf(&mut self.buf).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // it ended before it had read all that was sent; what it had to say was received before this
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }
}

/// What is left of a dyno in its folder.
#[derive(Debug)]
pub enum Found {
    /// The shim lives.
    Alive(ShimConn),
    /// It ended, with everything inside.
    Ended(Exit),
}

/// Starts a shim for this order and connects to it, as soon as the process runs (or, when it is one to attach to, waits
/// for its client). The order goes through a pipe, so that no config var is on a command line or disk.
///
/// # Errors
/// In words: the shim can't be started, or why it could not build the dyno. [`Gone`] when it had already ended.
pub async fn spawn(shim_exe: &Path, spec: &ShimSpec) -> anyhow::Result<ShimConn> {
    let order = serde_json::to_vec(spec).context("can't write the order for the shim")?;
    let mut child = tokio::process::Command::new(shim_exe)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("can't start the shim {}", shim_exe.display()))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("the shim has no pipes");
    };
    let talk = async {
        // when it fails at once it does not read everything; what it says tells more than our broken pipe
        let _ = stdin.write_all(&order).await;
        drop(stdin);
        let mut said = String::new();
        stdout.take(MOST_WORDS).read_to_string(&mut said).await?;
        child.wait().await?;
        io::Result::Ok(said)
    };
    let said = timeout(START, talk)
        .await
        .with_context(|| format!("the shim was not ready within {} s", START.as_secs()))?
        .context("can't talk to the shim")?;
    let last = said.lines().last().unwrap_or_default();
    if last.strip_prefix("ok ").is_none() {
        bail!(
            "{}",
            last.strip_prefix("error ")
                .unwrap_or("the shim ended without a word")
        );
    }
    let notices = said
        .lines()
        .filter_map(|l| l.strip_prefix("notice "))
        .map(String::from);
    let who = read_pid(&spec.dir).context("the shim left no shim.json")?;
    match alive(&spec.dir, &who).await? {
        Some(conn) => Ok(ShimConn {
            notices: notices.collect(),
            ..conn
        }),
        None => Err(Gone {
            pid: who.pid,
            exit: last_words(&spec.dir),
        }
        .into()),
    }
}

/// It was started, and had ended before the starter could connect.
#[derive(Debug, thiserror::Error)]
#[error("the process ended at once: {exit}")]
pub struct Gone {
    /// The shim's pid, while it lived.
    pub pid: i32,
    /// How it ended.
    pub exit: Exit,
}

/// Looks for the dyno of a folder: a shim that still lives, or how it ended. After a shim that was killed there may be
/// processes without walls; they are killed here.
///
/// # Errors
/// It lives, but can't be connected to.
pub async fn connect(dir: &Path) -> anyhow::Result<Found> {
    // counted from the order, not from now: an agent that dies again and again shall not wait again and again
    let ordered = fs::metadata(dir.join("record.json")).and_then(|m| m.modified());
    let age = ordered
        .ok()
        .and_then(|t| t.elapsed().ok())
        .unwrap_or_default();
    let end = Instant::now() + APPEAR.saturating_sub(age);
    let late = Instant::now() + START.saturating_sub(age);
    let who = loop {
        match read_pid(dir) {
            Some(w) => break Some(w),
            None if dir.join("exit.json").exists() => break None,
            // one that listens is still being set up: given up, it would come to life unknown
            None if Instant::now() > end && (Instant::now() > late || dial(dir).await.is_err()) => {
                break None;
            }
            None => sleep(Duration::from_millis(20)).await,
        }
    };
    if let Some(who) = &who
        && let Some(conn) = alive(dir, who).await?
    {
        return Ok(Found::Alive(conn));
    }
    let exit = last_words(dir);
    if exit == Exit::Lost {
        let mark = dir.to_string_lossy().into_owned();
        tokio::task::spawn_blocking(move || process::kill_marked(MARK, &mark)).await?;
    }
    Ok(Found::Ended(exit))
}

/// How it ended, as the shim has left it; `Lost` when it left nothing that can be read.
pub fn last_words(dir: &Path) -> Exit {
    fs::read(dir.join("exit.json"))
        .ok()
        .and_then(|t| serde_json::from_slice(&t).ok())
        .unwrap_or(Exit::Lost)
}

fn read_pid(dir: &Path) -> Option<ShimPid> {
    serde_json::from_slice(&fs::read(dir.join("shim.json")).ok()?).ok()
}

async fn alive(dir: &Path, who: &ShimPid) -> anyhow::Result<Option<ShimConn>> {
    let Some(process) = Process::find(who)? else {
        return Ok(None);
    };
    match dial(dir).await {
        Ok(stream) => {
            let (r, w) = stream.into_split();
            Ok(Some(ShimConn {
                tx: FrameSender(w),
                rx: FrameReceiver {
                    stream: r,
                    buf: Vec::new(),
                },
                process: Arc::new(process),
                notices: Vec::new(),
            }))
        }
        Err(e) => {
            // it may just be ending: then there is nobody to talk to, but an exit to be read
            if timeout(APPEAR, process.gone()).await.is_ok() {
                return Ok(None);
            }
            Err(e).with_context(|| format!("can't connect to the shim of {}", dir.display()))
        }
    }
}

/// Through the folder's descriptor: an address has 107 bytes, the folder's path may have more.
async fn dial(dir: &Path) -> io::Result<UnixStream> {
    let d = fs::File::open(dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/ctl.sock", d.as_raw_fd())).await
}
