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

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::shim::ShimPid;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{UnixListener, UnixStream},
    };

    /// A folder as a shim leaves it, with this process in the shim's place.
    fn folder(dir: &Path) -> UnixListener {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19);
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let who = ShimPid {
            pid: std::process::id() as i32,
            start_ticks: ticks.unwrap().parse().unwrap(),
            boot_id: boot.trim().into(),
        };
        let json = serde_json::to_vec(&who).unwrap();
        std::fs::write(dir.join("shim.json"), json).unwrap();
        UnixListener::bind(dir.join("ctl.sock")).unwrap()
    }

    /// Asks a shim that does this with the connection once it has heard of the order.
    async fn asked(answer: impl AsyncFnOnce(&mut UnixStream)) -> anyhow::Result<ShimConn> {
        let dir = tempfile::tempdir().unwrap();
        let listener = folder(dir.path());
        let order = ExecOrder {
            argv: vec!["x".repeat(200_000)],
            ..ExecOrder::default()
        };
        let shim = async {
            let (mut s, _) = listener.accept().await.unwrap();
            let mut first = [0];
            s.read_exact(&mut first).await.unwrap();
            answer(&mut s).await;
        };
        tokio::join!(start(dir.path(), &order), shim).0
    }

    #[tokio::test]
    async fn a_shim_from_before_this_frame_hangs_up_and_that_is_told_in_words() {
        let e = asked(async |_| {}).await.unwrap_err().to_string();
        assert!(e.contains("restart the dyno first"), "{e}");
    }

    #[tokio::test]
    async fn what_the_shim_says_is_told() {
        let refused = async |s: &mut UnixStream| {
            let no = Frame::Refused("Not now.".into()).encode();
            // answers come between others, such as those for all clients
            s.write_all(&Frame::Listening(vec![1]).encode())
                .await
                .unwrap();
            s.write_all(&no).await.unwrap();
            let mut rest = Vec::new();
            let _ = timeout(Duration::from_millis(200), s.read_to_end(&mut rest)).await;
        };
        assert_eq!(asked(refused).await.unwrap_err().to_string(), "Not now.");
        let runs = async |s: &mut UnixStream| {
            let mut heard = vec![20];
            loop {
                s.read_buf(&mut heard).await.unwrap();
                let mut copy = heard.clone();
                let mut frames = vec![];
                while let Ok(Some(f)) = Frame::decode(&mut copy) {
                    frames.push(f);
                }
                if frames.last() == Some(&Frame::Exec) {
                    assert_eq!(frames.len(), 5, "four parts, and the end");
                    break;
                }
            }
            s.write_all(&Frame::Executing.encode()).await.unwrap();
        };
        assert!(asked(runs).await.is_ok());
    }
}
