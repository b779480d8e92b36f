//! The real git, as a child process in a process group of its own.

use super::{Git, repository};
use anyhow::{Context, Result};
use std::{fs::File, os::fd::AsRawFd, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

/// What the other end wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A push.
    ReceivePack,
    /// A fetch or clone.
    UploadPack,
}

impl Service {
    /// `git-receive-pack` and `git-upload-pack`; `None` for anything else.
    pub fn parse(name: &str) -> Option<Service> {
        match name {
            "git-receive-pack" => Some(Service::ReceivePack),
            "git-upload-pack" => Some(Service::UploadPack),
            _ => None,
        }
    }

    /// `receive-pack` or `upload-pack`.
    pub fn command(self) -> &'static str {
        match self {
            Service::ReceivePack => "receive-pack",
            Service::UploadPack => "upload-pack",
        }
    }
}

/// A running git. Dropped before its end, it and all it has started get SIGTERM, and SIGKILL five seconds later.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    lock: Option<File>,
}

/// The three pipes of a running git.
#[derive(Debug)]
pub struct Pipes {
    /// To write the client's bytes to.
    pub stdin: ChildStdin,
    /// For the client.
    pub stdout: ChildStdout,
    /// For the client over SSH, for the agent's log over HTTP.
    pub stderr: ChildStderr,
}

/// Starts `git <service> <args> <repository>` with a clean environment plus `env`.
///
/// # Errors
/// There is no git on the PATH, or the machine is out of processes.
pub async fn start(
    git: &Git,
    service: Service,
    args: &[&str],
    repository: &Path,
    protocol: Option<&str>,
    env: &[(&str, &str)],
) -> Result<(Running, Pipes)> {
    let lock = match service {
        Service::UploadPack => None,
        Service::ReceivePack => {
            let repository = repository.to_owned();
            let lock = tokio::task::spawn_blocking(move || repository::occupy(&repository));
            Some(
                lock.await
                    .context("the agent is stopping")?
                    .context("can't lock the git repository")?,
            )
        }
    };
    let mut command = bare(git);
    if service == Service::ReceivePack {
        // for repositories made before there were any options, too
        command.args(["-c", "receive.advertisePushOptions=true"]);
    }
    command.arg(service.command()).args(args).arg(repository);
    if let Some(p) = protocol.filter(|p| plain(p)) {
        command.env("GIT_PROTOCOL", p);
    }
    command
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(fd) = lock.as_ref().map(AsRawFd::as_raw_fd) {
        // SAFETY: between fork and exec only fcntl is called, which is async-signal-safe; the descriptor is open in
        // the child, which is a copy of this process, and stays so because `lock` outlives the call of spawn.
        unsafe {
            command.pre_exec(move || match libc::fcntl(fd, libc::F_SETFD, 0) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
    }
    let mut child = command.spawn().context("can't start git")?;
    let pipes = Pipes {
        stdin: child.stdin.take().context("git has no input")?,
        stdout: child.stdout.take().context("git has no output")?,
        stderr: child.stderr.take().context("git has no error output")?,
    };
    let running = Running {
        child: Some(child),
        lock,
    };
    Ok((running, pipes))
}

/// `git` with nothing of the agent's environment and of the machine's settings in its way.
fn bare(git: &Git) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env(
            "PATH",
            std::env::var_os("PATH").unwrap_or_else(|| {
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()
            }),
        )
        .env("LANG", "C.UTF-8")
        .env("HOME", git.config().data_dir.join("git"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Is this pushed object a commit? `env` leads git to the quarantine.
///
/// # Errors
/// Git can't be run or does not know the object.
pub async fn object_type(git: &Git, env: &[(String, String)], object: &str) -> Result<String> {
    let run = bare(git)
        .envs(env.iter().map(|(k, v)| (k, v)))
        .args(["cat-file", "-t", object])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let out = tokio::time::timeout(Duration::from_secs(30), run)
        .await
        .context("git cat-file hangs")?
        .context("can't start git")?;
    anyhow::ensure!(
        out.status.success(),
        "git does not know the pushed commit {object}: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn plain(protocol: &str) -> bool {
    protocol.len() <= 100
        && protocol
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"=:.-_".contains(&b))
}

/// The last 4 kB of git's error output, for the log.
pub async fn last_words(mut stderr: ChildStderr) -> String {
    let (mut kept, mut buf) = (Vec::new(), [0; 1024]);
    while let Ok(n) = stderr.read(&mut buf).await {
        if n == 0 {
            break;
        }
        kept.extend_from_slice(&buf[..n]);
        if kept.len() > 8192 {
            kept.drain(..kept.len() - 4096);
        }
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

impl Running {
    /// Waits for its end; the exit status as a shell would show it.
    pub async fn wait(&mut self) -> u8 {
        use std::os::unix::process::ExitStatusExt;
        let Some(child) = self.child.as_mut() else {
            return 1;
        };
        let status = child.wait().await;
        self.child = None;
        self.lock = None;
        match status {
            Ok(s) => s
                .code()
                .or_else(|| s.signal().map(|n| 128 + n))
                .and_then(|c| u8::try_from(c).ok())
                .unwrap_or(1),
            Err(_) => 1,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let Some(pid) = child.id().and_then(|p| i32::try_from(p).ok()) else {
            return;
        };
        let group = nix::unistd::Pid::from_raw(pid);
        // the group's number can't be anybody else's: its leader is not reaped yet
        let signal = move |s| {
            let _ = nix::sys::signal::killpg(group, s);
        };
        signal(nix::sys::signal::SIGTERM);
        let lock = self.lock.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if tokio::time::timeout(Duration::from_secs(5), child.wait())
                    .await
                    .is_err()
                {
                    signal(nix::sys::signal::SIGKILL);
                    let _ = child.wait().await;
                }
                drop(lock);
            });
        } else {
            signal(nix::sys::signal::SIGKILL);
        }
    }
}
