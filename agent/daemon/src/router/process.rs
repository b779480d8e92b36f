//! Starting a router that outlives the agent.

use crate::{config::Config, sys::ports};
use anyhow::Context;
use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    os::{fd::FromRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::net::UnixStream;

/// The router's own log is begun anew when it has grown to this.
const LOG_MAX: u64 = 1024 * 1024;

/// Starts `hokkud router` in a session of its own and waits until it answers, up to five seconds; or, when it is to take
/// over from another router, does not wait: the other one answers until then.
///
/// # Errors
/// It could not be started, or ended at once (its output is in `<data>/router/router.log`).
pub(super) async fn spawn(config: &Config, take_over: bool) -> anyhow::Result<()> {
    let dir = super::dir(config);
    std::fs::create_dir_all(dir.join("logs"))
        .with_context(|| format!("can't make {}", dir.display()))?;
    let mut log = std::fs::File::options();
    let log = log
        .append(true)
        .create(true)
        .open(dir.join("router.log"))
        .context("can't make the router's own log file")?;
    let said_before = log.metadata().map_or(0, |m| m.len());
    if !take_over || said_before > LOG_MAX {
        log.set_len(0)?;
    }
    let exe = std::env::current_exe().context("can't find the agent's own program file")?;
    let mut command = std::process::Command::new(exe);
    command.arg("router").arg("--dir").arg(&dir);
    if nix::unistd::geteuid().is_root() {
        // The uid below the apps' own: nobody else's, so that the data plane holds no rights of root's or an app's.
        let uid = config.first_uid - 1;
        command.arg("--uid").arg(uid.to_string());
        for path in [&dir, &dir.join("logs")] {
            std::os::unix::fs::chown(path, Some(uid), Some(uid))
                .context("can't give the router its folder")?;
        }
    }
    for (n, addr) in config.router_listen.iter().enumerate() {
        // only the first is announced
        let addr = match n {
            0 => ports::again(*addr, &config.router_addr_file()),
            _ => *addr,
        };
        command.arg("--listen").arg(addr.to_string());
    }
    if take_over {
        command.arg("--take-over");
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: setsid is async-signal-safe; the router must not get the terminal's Ctrl-C that is meant for the agent.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
    }
    let mut child = command.spawn().context("can't start `hokkud router`")?;
    if take_over {
        std::thread::spawn(move || match child.wait() {
            Ok(status) if !status.success() => tracing::error!(
                "the new router ended with {status}, see {}/router.log; if it had not taken over, the old one goes on",
                dir.display()
            ),
            _ => {}
        });
        return Ok(());
    }
    for _ in 0..500 {
        if UnixStream::connect(dir.join("router.sock")).await.is_ok() {
            // Reaped by a thread that costs nothing while it waits, so that no zombie is left when it ends.
            std::thread::spawn(move || child.wait());
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            let said = std::fs::read_to_string(dir.join("router.log")).unwrap_or_default();
            anyhow::bail!("it ended with {status}: {}", said.trim());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!(
        "it does not answer on {}/router.sock after 5 s",
        dir.display()
    )
}

/// Writes where the router takes requests to `<data>/run/router.addr`, for scripts that gave it port 0.
pub(super) fn announce(config: &Config, listen: &[SocketAddr]) {
    if let Some(addr) = listen.first() {
        write(&config.router_addr_file(), &addr.to_string());
    }
}

/// Replaces a small file as a whole.
pub(crate) fn write(path: &Path, text: &str) {
    let tmp = path.with_extension("tmp");
    if let Err(e) = std::fs::write(&tmp, text).and_then(|()| std::fs::rename(&tmp, path)) {
        tracing::warn!("can't write {}: {e}", path.display());
    }
}

/// The listening sockets that systemd gave this process; none when it did not.
///
/// # Errors
/// The environment says so, but they are not there.
pub fn inherited() -> anyhow::Result<Vec<TcpListener>> {
    let fds = sd_notify::listen_fds()?;
    // SAFETY: by the protocol they are this process's own, and this is called once, before any other descriptor is used.
    Ok(fds
        .map(|fd| unsafe { TcpListener::from_raw_fd(fd) })
        .collect())
}

/// Program and arguments of the router that takes over from this one, which is in its folder and has given up root.
pub fn heir(program: PathBuf, listen: &[SocketAddr], threads: Option<usize>) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![program.into()];
    command.extend(["router", "--dir", ".", "--take-over"].map(OsString::from));
    for address in listen {
        command.extend(["--listen".into(), address.to_string().into()]);
    }
    if let Some(threads) = threads {
        command.extend(["--threads".into(), threads.to_string().into()]);
    }
    command
}
