//! The number of jobs that wait, as the app counts them.

use crate::control::{Command, DynoView, Handle, OneoffOrder};
use anyhow::{Context, bail, ensure};
use hokku_model::{
    AppId,
    autoscale::DepthFrom,
    dyno::{Exit, Purpose},
    shim::Frame,
};
use std::{sync::LazyLock, time::Duration};

/// A command has so many seconds, an answer too.
const SECONDS: u64 = 30;

/// Bytes of output or body that are looked at.
const MOST: usize = 4096;

static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    builder
        .timeout(Duration::from_secs(SECONDS))
        .build()
        .unwrap_or_default()
});

/// Counts once. `hosts`: the app's names, its first own domain last.
///
/// # Errors
/// In words, for the app's owner.
pub async fn count(
    handle: &Handle,
    app: AppId,
    from: &DepthFrom,
    host: &str,
) -> anyhow::Result<f64> {
    let text = match from {
        DepthFrom::Command(line) => {
            let run = command(handle, app, line);
            let time = Duration::from_secs(SECONDS + 5);
            tokio::time::timeout(time, run)
                .await
                .with_context(|| format!("it took longer than {SECONDS} s"))??
        }
        DepthFrom::Path(path) => get(handle, app, path, host).await?,
    };
    number(&text)
}

async fn command(handle: &Handle, app: AppId, line: &str) -> anyhow::Result<String> {
    let order = OneoffOrder {
        app,
        user: "autoscale".into(),
        purpose: Purpose::Count,
        kind: "autoscale".parse()?,
        command: Command::Line(line.to_owned()),
        env: Default::default(),
        attach: true,
        pty: None,
        time_to_live: Some(SECONDS),
        release: None,
        quota: None,
    };
    let record = handle.run(order).await.map_err(anyhow::Error::msg)?;
    let mut dyno = handle.attach(record.id).await?;
    dyno.tx.send(&Frame::Attach).await?;
    dyno.tx.send(&Frame::StdinEof).await?;
    let (mut out, mut err) = (vec![], vec![]);
    let keep = |all: &mut Vec<u8>, bytes: Vec<u8>| {
        all.extend(bytes);
        // the number comes last
        let over = all.len().saturating_sub(MOST);
        all.drain(..over);
    };
    let exit = loop {
        match dyno.rx.recv().await? {
            Some(Frame::Stdout(bytes)) => keep(&mut out, bytes),
            Some(Frame::Stderr(bytes)) => keep(&mut err, bytes),
            Some(Frame::Exited(exit)) => break exit,
            Some(_) => {}
            None => break Exit::Lost,
        }
    };
    if exit != Exit::Code(0) {
        let said = String::from_utf8_lossy(&err);
        let last = said
            .lines()
            .rev()
            .find(|l| !l.trim().is_empty())
            .unwrap_or_default();
        bail!(
            "the command ended with {exit}{}{last}",
            if last.is_empty() { "" } else { ": " }
        );
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

async fn get(handle: &Handle, app: AppId, path: &str, host: &str) -> anyhow::Result<String> {
    let is_up = |d: &&DynoView| d.state == "up" && d.record.name.kind.is_web() && !d.record.oneoff;
    let dynos = handle.dynos(Some(app)).await;
    let port = dynos.iter().find(is_up).and_then(|d| d.record.port);
    let port = port.context("no web dyno is up to be asked")?;
    let request = CLIENT
        .get(format!("http://127.0.0.1:{port}{path}"))
        .header("host", host)
        .header("x-forwarded-proto", "https")
        .header("user-agent", "hokku-autoscale");
    let mut answer = request
        .send()
        .await
        .map_err(|e| e.without_url())
        .context("no answer")?;
    ensure!(
        answer.status().is_success(),
        "the app answered {}",
        answer.status()
    );
    let mut body = vec![];
    while let Some(part) = answer.chunk().await? {
        body.extend_from_slice(&part);
        ensure!(body.len() <= MOST, "the answer is longer than {MOST} bytes");
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The last line that is not empty.
fn number(text: &str) -> anyhow::Result<f64> {
    let line = text.lines().rev().map(str::trim).find(|l| !l.is_empty());
    let line = line.context("nothing was printed; it has to be a number")?;
    let n = line
        .parse::<f64>()
        .ok()
        .filter(|n| n.is_finite() && *n >= 0.0);
    n.with_context(|| {
        format!(
            "{:?} is no number of jobs",
            line.chars().take(80).collect::<String>()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number("connecting ...\n 12 \n\n").unwrap(), 12.0);
        assert_eq!(number("3.5").unwrap(), 3.5);
        for bad in ["", "\n", "-1", "NaN", "inf", "12 jobs", "{\"n\": 1}"] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }
}
