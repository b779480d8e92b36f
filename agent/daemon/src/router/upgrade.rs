//! A router of another version than the agent hands over to one of the agent's version, by itself, once.

use super::process;
use crate::config::Config;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{io, os::unix::fs::MetadataExt, sync::Arc};

/// What the agent has asked of the routers it met.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    /// The router that was asked to hand over, and is not asked twice.
    asked: Option<u32>,
    /// Has no other said hello since?
    under_way: bool,
}

impl Upgrade {
    /// Was a router asked that has not yet been followed by another?
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// A router said hello: has it hand over if it runs another program than this agent does.
    pub fn look(&mut self, config: &Arc<Config>, pid: u32) {
        if self.asked == Some(pid) {
            if std::mem::take(&mut self.under_way) {
                tracing::warn!(pid, "the router did not hand over; it goes on as it is");
            }
            return;
        }
        if std::mem::take(&mut self.under_way) {
            tracing::info!(pid, before = self.asked, "a new router has taken over");
        }
        match is_another(pid) {
            Ok(false) => return,
            Ok(true) => {}
            Err(e) => {
                tracing::debug!(pid, "can't see which program the router runs: {e}");
                return;
            }
        }
        if !super::dir(config).join("handover.sock").exists() {
            tracing::warn!(
                pid,
                "the router runs another program than the agent and can't hand over; a restart of it is up to you"
            );
            return;
        }
        self.asked = Some(pid);
        self.under_way = true;
        tracing::info!(
            pid,
            "the router runs another program than the agent: a new one takes over"
        );
        if config.spawn_router {
            let config = config.clone();
            tokio::spawn(async move {
                if let Err(e) = process::spawn(&config, true).await {
                    tracing::error!("no new router could be started, the old one goes on: {e:#}");
                }
            });
        } else if let Err(e) = i32::try_from(pid)
            .map_err(io::Error::other)
            .and_then(|pid| Ok(kill(Pid::from_raw(pid), Signal::SIGUSR2)?))
        {
            tracing::error!(pid, "the router could not be asked to hand over: {e}");
        }
    }
}

/// Does this process run another program file than we do? Told by the file itself, which a package's upgrade replaces
/// under the same name.
fn is_another(pid: u32) -> io::Result<bool> {
    let theirs = std::fs::metadata(format!("/proc/{pid}/exe"))?;
    let ours = std::fs::metadata("/proc/self/exe")?;
    Ok((theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_another_program_even_when_its_file_is_gone() {
        assert!(!is_another(std::process::id()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("sleep");
        std::fs::copy("/bin/sleep", &copy).unwrap();
        let mut child = std::process::Command::new(&copy).arg("60").spawn().unwrap();
        std::fs::remove_file(&copy).unwrap();
        let another = is_another(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(another.unwrap());
        assert!(is_another(child.id()).is_err(), "it is gone");
    }
}
