//! SIGHUP: the settings are read again, and what needs no restart is in force.

use super::ReadSettings;
use crate::{config::Config, control::Handle};
use sd_notify::NotifyState;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Reload {
    /// From the first moment on: without a handler SIGHUP would end the agent.
    asked: Signal,
    /// The settings as they were read at the start.
    started_with: Config,
    read: ReadSettings,
}

impl Reload {
    pub fn new(config: &Config, read: ReadSettings) -> anyhow::Result<Reload> {
        Ok(Reload {
            asked: signal(SignalKind::hangup())?,
            started_with: config.clone(),
            read,
        })
    }

    /// Reads again at each SIGHUP. Settings that are not valid change nothing.
    pub async fn keep(mut self, config: Arc<Config>, control: Handle) {
        while self.asked.recv().await.is_some() {
            let mut word = vec![NotifyState::Reloading];
            // systemd from version 253 on wants the time beside it
            word.extend(NotifyState::monotonic_usec_now());
            let _ = sd_notify::notify(&word);
            let said = match (self.read)() {
                Ok(new) => {
                    let changes = config.take(&self.started_with, &new);
                    control.reread().await;
                    tracing::info!("{changes}");
                    "the settings were read again".to_owned()
                }
                Err(e) => {
                    tracing::error!(
                        "the settings were not taken over, those before stay in force: {e:#}"
                    );
                    format!("the settings file is not valid, those before stay in force: {e:#}")
                        .replace('\n', " ")
                }
            };
            let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&said)]);
        }
    }
}
