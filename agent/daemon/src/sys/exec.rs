//! Running a command inside a dyno that runs, through its shim.

use super::shim::{self, Found, ShimConn};
use anyhow::{Context, bail};
use hokku_model::{
    exec::{ExecOrder, MAX_ORDER},
    shim::{Frame, MAX_FRAME},
};
use std::{path::Path, time::Duration};
use tokio::time::timeout;

/// How long the shim may take until the command runs: a fork and an execve.
const START: Duration = Duration::from_secs(20);

/// Runs the command in the dyno of this folder. What comes back is the command's own connection: its streams, its exit as
/// the last frame; dropping the sender hangs up on it.
///
/// # Errors
/// In sentences: the dyno has ended, its shim is too old, or does not take the order.
pub async fn start(dir: &Path, order: &ExecOrder) -> anyhow::Result<ShimConn> {
    let text = serde_json::to_vec(order).context("The order can't be written")?;
    if text.len() > MAX_ORDER {
        bail!("The command and its environment are longer than {MAX_ORDER} bytes.");
    }
    let mut conn = match shim::connect(dir).await? {
        Found::Alive(conn) => conn,
        Found::Ended(exit) => bail!("The dyno has ended: {exit}."),
    };
    let asking = async {
        for part in text.chunks(MAX_FRAME) {
            conn.tx.send(&Frame::Order(part.to_vec())).await.ok();
        }
        conn.tx.send(&Frame::Exec).await.ok();
        loop {
            match conn.rx.recv().await {
                Ok(Some(Frame::Executing)) => return Ok(()),
                Ok(Some(Frame::Refused(text))) => bail!("{text}"),
                Ok(Some(Frame::Exited(exit))) => bail!("The dyno has ended: {exit}."),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        // one that does not know the frames hangs up
        match timeout(Duration::from_millis(500), conn.process.gone()).await {
            Ok(()) => bail!("The dyno has just ended."),
            Err(_) => bail!(
                "This dyno was started by an earlier version of hokku, which can't run a command inside: restart the dyno first (app ps:restart)."
            ),
        }
    };
    timeout(START, asking).await.with_context(|| {
        format!(
            "The dyno did not take the command within {} s.",
            START.as_secs()
        )
    })??;
    Ok(conn)
}
