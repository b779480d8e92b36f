//! One run of the driver behind its walls.

use super::{
    BuildFailed, BuildOrder, Builder,
    folder::{Folder, INSIDE},
    mask::Mask,
};
use crate::sys::{
    cgroup, proc,
    shim::{self, ShimConn},
};
use anyhow::Context;
use bytes::Bytes;
use hokku_buildpacks::order::Order;
use hokku_model::{
    dyno::Exit,
    shim::{AppTree, Bind, Frame, Isolation, Limits, Output, ShimSpec},
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Where the driver lies inside.
const DRIVER: &str = "/hokku/bin/hokku-buildpack";

/// CPU weight of a build against 100 of a dyno.
const WEIGHT: u32 = 20;

/// Processes and threads of a build.
const PIDS: u64 = 4096;

/// How often a build's memory is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// By itself.
    Exited(Exit),
    /// It took too long.
    TimedOut,
    /// The pusher went away.
    Cancelled,
    /// It used more memory than this, in bytes.
    OutOfMemory(u64),
}

/// Runs it to its end; output is masked and passed on.
pub async fn run(
    builder: &Builder,
    order: &BuildOrder,
    folder: &Folder,
    lines: &mpsc::Sender<Bytes>,
    mask: &mut Mask,
    cancel: &CancellationToken,
) -> Result<End, BuildFailed> {
    let config = builder.config.now();
    let settings = &config.build;
    let mut env = settings.env.clone();
    for name in &settings.pass_env {
        if let Ok(value) = std::env::var(name) {
            env.entry(name.clone()).or_insert(value);
        }
    }
    let file = folder.write_order(
        Order {
            buildpacks: order.buildpacks.clone(),
            env,
            stack: settings.stack.clone(),
            request_id: order.build.to_string(),
            source_version: order.commit.clone(),
            runtime_mirror: settings.runtime_mirror.clone(),
            names: settings.buildpacks.clone(),
            ..Order::default()
        },
        order.isolation,
    )?;
    let plain = order.isolation == Isolation::Plain;
    let driver = if plain {
        builder.buildpack.display().to_string()
    } else {
        DRIVER.to_owned()
    };
    let bind = |from: &std::path::Path, to: &str, writable| Bind {
        from: from.to_owned(),
        to: to.into(),
        writable,
    };
    let mut binds = vec![
        bind(folder.dir(), INSIDE, true),
        bind(&builder.buildpack, DRIVER, false),
    ];
    if let Some(mirror) = settings
        .runtime_mirror
        .as_deref()
        .filter(|m| m.starts_with('/'))
    {
        binds.push(bind(mirror.as_ref(), mirror, false));
    }
    // only the operator may name a folder of the host that would not be visible
    for at in settings.buildpacks.values() {
        if at.starts_with('/') && std::path::Path::new(at).is_dir() {
            binds.push(bind(at.as_ref(), at, false));
        }
    }
    let most = match settings.memory {
        0 => proc::memory_of_machine() / 5 * 4,
        most => most,
    };
    let id = order.build.to_string();
    let group = Held::new(&id, most);
    let spec = ShimSpec {
        dir: folder.dir().join("shim"),
        argv: vec![driver, "drive".into(), file.display().to_string()],
        env: [
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            ("HOME", "/app"),
            ("LANG", "C.UTF-8"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .to_vec(),
        cwd: "/app".into(),
        isolation: order.isolation,
        app: AppTree::Bind {
            path: folder.tree(),
        },
        binds: if plain { vec![] } else { binds },
        output: Output::Attached { pty: None },
        limits: Limits {
            memory: Some(most),
            pids: Some(PIDS),
            nofile: Some(65_536),
            cpu_weight: Some(WEIGHT),
            cgroup: group.0.as_ref().map(|g| g.dir().to_owned()),
            seconds: Some(settings.timeout),
            ..Limits::default()
        },
        hide: vec![builder.config.data_dir.clone()],
        hostname: "build".into(),
    };
    let began = Instant::now();
    let conn = shim::spawn(&builder.shim, &spec)
        .await
        .context("the build can't be started")?;
    let (watched, watching) = (CancellationToken::new(), cancel.child_token());
    let watch = tokio::spawn(watch(
        conn.process.pid,
        most,
        watched.clone(),
        watching.clone(),
    ));
    let exit = follow(conn, lines, mask, &watching).await;
    watch.abort();
    let exit = exit?;
    let rest = mask.end();
    if !rest.is_empty() {
        let _ = lines.send(rest.into()).await;
    }
    if cancel.is_cancelled() {
        return Ok(End::Cancelled);
    }
    if watched.is_cancelled() || group.out_of_memory() {
        return Ok(End::OutOfMemory(most));
    }
    let late = began.elapsed() >= Duration::from_secs(settings.timeout);
    Ok(if late && exit == Exit::Signal(libc::SIGKILL) {
        End::TimedOut
    } else {
        End::Exited(exit)
    })
}

/// The build's cgroup, where there is one to be had; it goes with this, and what may be left inside is killed.
struct Held(Option<cgroup::Group>);

impl Held {
    fn new(id: &str, memory: u64) -> Held {
        let caps = cgroup::Caps {
            memory: Some(memory),
            cpu: None,
            cpu_weight: Some(WEIGHT),
            io_weight: Some(WEIGHT),
            pids: Some(PIDS),
        };
        Held(cgroup::make(cgroup::Kind::Build, id, &caps))
    }

    fn out_of_memory(&self) -> bool {
        self.0.as_ref().is_some_and(cgroup::Group::out_of_memory)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            tokio::task::spawn_blocking(move || group.remove());
        }
    }
}

/// Ends the build when it uses more than `most` bytes, by looking twice a second: no cgroup is needed for that.
async fn watch(pid: i32, most: u64, over: CancellationToken, end: CancellationToken) {
    loop {
        tokio::time::sleep(LOOK).await;
        let used = tokio::task::spawn_blocking(move || proc::memory_of_family(pid)).await;
        if used.is_ok_and(|used| used > most) {
            over.cancel();
            end.cancel();
            return;
        }
    }
}

async fn follow(
    conn: ShimConn,
    lines: &mpsc::Sender<Bytes>,
    mask: &mut Mask,
    cancel: &CancellationToken,
) -> anyhow::Result<Exit> {
    let ShimConn {
        mut tx,
        mut rx,
        process: _process,
        ..
    } = conn;
    for frame in [Frame::Attach, Frame::StdinEof] {
        // one that ended at once takes no more, and has said why
        if tx.send(&frame).await.is_err() {
            break;
        }
    }
    let mut killed = false;
    loop {
        let frame = tokio::select! {
            frame = rx.recv() => frame.context("the wire to the build broke")?,
            () = cancel.cancelled(), if !killed => {
                killed = true;
                let _ = tx.send(&Frame::Kill).await;
                continue;
            }
        };
        match frame {
            Some(Frame::Stdout(bytes) | Frame::Stderr(bytes)) => {
                let shown = mask.pass(&bytes);
                if !shown.is_empty() {
                    let _ = lines.send(shown.into()).await;
                }
            }
            Some(Frame::Exited(exit)) => return Ok(exit),
            Some(_) => {}
            None => return Ok(Exit::Lost),
        }
    }
}
