//! Which walls can be had on this machine: found out by trying, not by asking for versions.

use super::{disk, shim};
use hokku_model::{
    dyno::Exit,
    shim::{AppTree, Frame, Isolation, Limits, Output, ShimSpec},
};
use std::{
    fs,
    os::unix::fs::{DirBuilderExt, chown},
    path::Path,
    time::Duration,
};

/// How long one try may take.
const TRY: Duration = Duration::from_secs(20);

/// The kind of walls; under root each app has its own user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walls {
    /// Namespaces made by root, a user for each app.
    Root,
    /// Namespaces in a user namespace; all apps run as the agent's user.
    Userns,
    /// None.
    Plain,
}

/// What this machine can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The best walls that worked.
    pub walls: Walls,
    /// `/app` can be an overlay; otherwise the app's files are copied at each start.
    pub overlay: bool,
    /// What is missing and what that means, in plain words; to be said once.
    pub notices: Vec<String>,
}

impl Walls {
    /// As the shim takes it, for an app with this user id.
    pub fn of(self, uid: u32) -> Isolation {
        match self {
            Walls::Root => Isolation::Root { uid },
            Walls::Userns => Isolation::Userns,
            Walls::Plain => Isolation::Plain,
        }
    }
}

/// Starts a real dyno in each kind of walls until one works. `scratch` is a folder on the disk where dynos will be
/// (overlays depend on it); it is made and removed. `uid` is some user id of apps.
///
/// # Errors
/// Not even a process without walls could be started.
pub async fn detect(shim_exe: &Path, scratch: &Path, uid: u32) -> anyhow::Result<Capability> {
    let mut notices = Vec::new();
    if nix::unistd::geteuid().is_root() {
        match attempt(shim_exe, scratch, Isolation::Root { uid }).await {
            Ok(overlay) => return Ok(found(Walls::Root, overlay, notices)),
            Err(e) => notices.push(format!(
                "This machine gives root no namespaces, so apps see the host and each other: {e:#}"
            )),
        }
    } else {
        notices.push(
            "hokkud does not run as root: all apps run as its own user, and can't be kept from each other's \
             processes as well as with a user for each app."
                .into(),
        );
        match attempt(shim_exe, scratch, Isolation::Userns).await {
            Ok(overlay) => return Ok(found(Walls::Userns, overlay, notices)),
            Err(e) => notices.push(format!(
                "Unprivileged user namespaces can't be used, so apps see the host and each other, and /app does not \
                 exist: {e:#}"
            )),
        }
    }
    attempt(shim_exe, scratch, Isolation::Plain).await?;
    Ok(found(Walls::Plain, false, notices))
}

fn found(walls: Walls, overlay: bool, mut notices: Vec<String>) -> Capability {
    if !overlay && walls != Walls::Plain {
        notices.push(
            "overlayfs can't be used here: an app's files are copied at each start of a dyno, which takes time and \
             disk space."
                .into(),
        );
    }
    Capability {
        walls,
        overlay,
        notices,
    }
}

/// One try. True when the overlay worked.
async fn attempt(exe: &Path, scratch: &Path, isolation: Isolation) -> anyhow::Result<bool> {
    disk::remove_tree(scratch)?;
    let r = match prepare(scratch, isolation) {
        Ok(spec) => tokio::time::timeout(TRY, run(exe, &spec))
            .await
            .unwrap_or_else(|_| {
                Err(anyhow::anyhow!(
                    "a first process did not end within {} s",
                    TRY.as_secs()
                ))
            }),
        Err(e) => Err(e.into()),
    };
    let left = scratch.to_owned();
    // what can't be removed is in the way of nobody
    let _ = tokio::task::spawn_blocking(move || disk::remove_tree(&left)).await;
    r
}

fn prepare(scratch: &Path, isolation: Isolation) -> std::io::Result<ShimSpec> {
    let lower = scratch.join("slug");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(scratch)?;
    fs::create_dir(&lower)?;
    fs::write(lower.join("file"), "x")?;
    if let Isolation::Root { uid } = isolation {
        chown(&lower, Some(uid), Some(uid))?;
    }
    let script = "test -e file && echo y > new && test -r /proc/self/status";
    Ok(ShimSpec {
        dir: scratch.into(),
        argv: ["/bin/sh", "-c", script].map(String::from).to_vec(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/app".into(),
        isolation,
        app: AppTree::Overlay { lower: vec![lower] },
        binds: vec![],
        output: Output::Attached { pty: None },
        limits: Limits::default(),
        hide: vec![],
        hostname: "detect".into(),
    })
}

async fn run(exe: &Path, spec: &ShimSpec) -> anyhow::Result<bool> {
    let mut conn = shim::spawn(exe, spec).await?;
    let overlay = conn.notices.iter().all(|n| !n.starts_with("no overlay"));
    conn.tx.send(&Frame::Attach).await?;
    let mut words = Vec::new();
    while let Some(frame) = conn.rx.recv().await? {
        match frame {
            Frame::Stderr(b) | Frame::Stdout(b) if words.len() < 4096 => words.extend(b),
            Frame::Exited(Exit::Code(0)) => {
                conn.process.gone().await;
                return Ok(overlay);
            }
            Frame::Exited(e) => {
                anyhow::bail!(
                    "a first process: {e} {}",
                    String::from_utf8_lossy(&words).trim()
                )
            }
            _ => {}
        }
    }
    anyhow::bail!("the shim was killed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing;

    #[tokio::test]
    async fn what_is_detected_has_been_tried_and_nothing_is_left() {
        let d = tempfile::tempdir().unwrap();
        let scratch = d.path().join("try");
        let c = detect(&testing::shim_exe(), &scratch, 23_456)
            .await
            .unwrap();
        if nix::unistd::geteuid().is_root() {
            assert_eq!(c.walls, Walls::Root);
            assert_eq!(c.walls.of(7), Isolation::Root { uid: 7 });
        } else {
            assert!(c.notices.iter().any(|n| n.contains("root")));
        }
        assert!(!scratch.exists());
        assert_eq!(c.overlay, c.notices.iter().all(|n| !n.contains("overlay")));
    }

    #[tokio::test]
    async fn a_missing_shim_is_an_error_with_its_name() {
        let d = tempfile::tempdir().unwrap();
        let e = detect(Path::new("/nowhere/hokku-shim"), &d.path().join("try"), 1).await;
        assert!(format!("{:#}", e.unwrap_err()).contains("/nowhere/hokku-shim"));
    }
}
