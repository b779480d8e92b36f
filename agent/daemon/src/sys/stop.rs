//! Ending everything that belongs to a data folder: for `hokkud stop-all`, the demo and the tests.

use anyhow::{Context, bail};
use hokku_model::{route::RouterReport, shim::ShimPid};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

/// How long each kind has to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the agent, then every dyno and build, then the router, each gently first.
///
/// # Errors
/// The folder is no data folder, or something could not be ended.
pub fn everything(data: &Path) -> anyhow::Result<()> {
    if !data.join("run").is_dir() {
        bail!("{} is no data folder of hokku's", data.display());
    }
    let lock =
        fs::File::create(data.join("run/hokkud.lock")).context("can't open the agent's lock")?;
    if lock.try_lock().is_err() {
        let pid = fs::read_to_string(data.join("run/hokkud.pid"))
            .context("the agent's process id is not known")?;
        let pid = pid
            .trim()
            .parse()
            .context("the agent's process id is not known")?;
        end("the agent", &[pid], Signal::SIGTERM, || {
            lock.try_lock().is_ok()
        })?;
    }
    for sub in ["dynos", "build"] {
        shims(&data.join(sub))?;
    }
    if let Ok(wire) = UnixStream::connect(data.join("router/router.sock")) {
        wire.set_read_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        BufReader::new(wire).read_line(&mut line)?;
        if let Ok(RouterReport::Hello { pid, .. }) = serde_json::from_str(&line) {
            let pid = i32::try_from(pid)?;
            end("the router", &[pid], Signal::SIGTERM, || {
                super::proc::is_gone(pid)
            })?;
        }
    }
    // nobody is left to be fenced; a table that stays harms nobody
    if let Err(e) = super::fence::remove(data) {
        eprintln!("The fence around apps stays in nftables: {e:#}");
    }
    Ok(())
}

/// Kills every shim whose folder lies below. The shim is the init of its dyno: with it everything inside is gone.
///
/// # Errors
/// One of them can't be ended.
pub fn shims(below: &Path) -> anyhow::Result<()> {
    let files = find(below, 3);
    let dirs: Vec<_> = files
        .iter()
        .filter_map(|f| f.parent().map(|d| d.display().to_string()))
        .collect();
    let shims: Vec<i32> = files
        .into_iter()
        .filter_map(|f| serde_json::from_slice::<ShimPid>(&fs::read(f).ok()?).ok())
        .filter(super::proc::is_alive)
        .map(|s| s.pid)
        .collect();
    end("the dynos", &shims, Signal::SIGKILL, || {
        shims.iter().all(|p| super::proc::is_gone(*p))
    })?;
    // Without walls only the main process dies with its shim.
    for dir in dirs {
        super::process::kill_marked("HOKKU_DYNO_DIR", &dir);
    }
    Ok(())
}

fn end(what: &str, pids: &[i32], gentle: Signal, ended: impl Fn() -> bool) -> anyhow::Result<()> {
    for signal in [gentle, Signal::SIGKILL] {
        for pid in pids {
            let _ = kill(Pid::from_raw(*pid), signal);
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if ended() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    bail!("{what} can't be ended: {pids:?}")
}

/// Every `shim.json` below, at most `depth` folders deep.
fn find(dir: &Path, depth: u32) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return vec![];
    };
    let mut found = vec![];
    for path in entries.flatten().map(|e| e.path()) {
        if path.file_name().is_some_and(|n| n == "shim.json") {
            found.push(path);
        } else if depth > 0 && !path.is_symlink() && path.is_dir() {
            found.extend(find(&path, depth - 1));
        }
    }
    found
}
