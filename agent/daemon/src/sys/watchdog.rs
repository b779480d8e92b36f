//! systemd's watchdog: a sign of life only when what matters has turned. See `WatchdogSec=` in systemd.service(5).

use std::{future::Future, time::Duration};

/// Tells systemd that we live, three times in each of its periods, but only after `turned` has answered true; one that
/// does not answer gets no sign of life sent, and systemd ends the process. Returns at once where systemd has no
/// watchdog on us.
pub async fn keep<F: Future<Output = bool>>(turned: impl Fn() -> F) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    tracing::info!(seconds = period.as_secs_f64(), "systemd's watchdog is on");
    signs(period / 3, turned, || {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    })
    .await;
}

async fn signs<F: Future<Output = bool>>(
    pause: Duration,
    turned: impl Fn() -> F,
    alive: impl Fn(),
) {
    while turned().await {
        alive();
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_loop_that_is_stuck_gives_no_sign() {
        let (asked, told) = (Cell::new(0), Cell::new(0));
        let turned = || {
            asked.set(asked.get() + 1);
            let stuck = asked.get() > 3;
            async move {
                if stuck {
                    std::future::pending::<()>().await;
                }
                true
            }
        };
        let signs = signs(Duration::from_millis(1), turned, || {
            told.set(told.get() + 1)
        });
        let ended = tokio::time::timeout(Duration::from_millis(300), signs).await;
        assert!(ended.is_err());
        assert_eq!((asked.get(), told.get()), (4, 3));
    }
}
