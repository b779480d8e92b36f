//! Checks of kind `command`: a program inside the dyno that has to end with status 0 within its time.

use super::{Supervisor, probe::Verdict};
use crate::sys::boot;
use hokku_model::{DynoId, dyno::Exit, exec::ExecOrder, shim::Frame};
use std::time::Duration;
use tokio::time::timeout;

/// The last bytes of the output that are kept.
const MOST_KEPT: usize = 8 * 1024;

/// The last lines of the output that are told, and the most characters of them.
const LINES: usize = 5;
const MOST_TOLD: usize = 600;

/// What a command did: how it ended, unless its time was over, and the last of what it wrote.
pub struct Ran {
    /// `None`: it was killed when its time was over.
    pub exit: Option<Exit>,
    /// Standard output and error as they came.
    pub output: Vec<u8>,
}

/// Runs it, after the slug's profile scripts, with `input` on its standard input.
///
/// # Errors
/// In sentences: it can't be run.
pub async fn run(
    owner: &Supervisor,
    dyno: DynoId,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    input: Vec<u8>,
    limit: Duration,
) -> Result<Ran, String> {
    let order = ExecOrder {
        argv: boot::argv(argv),
        env,
        check: true,
        // who does not end in time is killed at once
        grace_ms: 0,
        ..ExecOrder::default()
    };
    let mut output = Vec::new();
    let running = async {
        let mut conn = owner
            .exec(dyno, &order)
            .await
            .map_err(|e| format!("{e:#}"))?;
        if !input.is_empty() {
            let _ = conn.tx.send(&Frame::Stdin(input)).await;
        }
        let _ = conn.tx.send(&Frame::StdinEof).await;
        loop {
            match conn.rx.recv().await {
                Ok(Some(Frame::Stdout(b) | Frame::Stderr(b))) => {
                    output.extend(b);
                    let over = output.len().saturating_sub(MOST_KEPT);
                    output.drain(..over);
                }
                Ok(Some(Frame::Exited(exit))) => return Ok(exit),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Ok::<_, String>(Exit::Lost),
            }
        }
    };
    let exit = timeout(limit, running).await.ok().transpose()?;
    Ok(Ran { exit, output })
}

/// Makes the check.
pub async fn check(owner: &Supervisor, dyno: DynoId, argv: &[String], limit: Duration) -> Verdict {
    let shown = shell_words::join(argv);
    let ran = run(owner, dyno, argv.to_vec(), vec![], vec![], limit).await;
    match ran {
        Ok(Ran {
            exit: Some(Exit::Code(0)),
            ..
        }) => Verdict::Passed,
        Ok(Ran {
            exit: Some(exit),
            output,
        }) => Verdict::Failed(format!("`{shown}` ended with {exit}.{}", said(&output))),
        Ok(Ran { exit: None, output }) => Verdict::Failed(format!(
            "`{shown}` did not end within {} s and was killed.{}",
            limit.as_secs_f64(),
            said(&output)
        )),
        Err(why) => Verdict::Failed(format!("`{shown}` can't be run: {why}")),
    }
}

/// The output's last lines as a sentence, on one line.
pub fn said(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<String> = (text.lines().rev())
        .map(|l| l.chars().filter(|c| !c.is_control()).collect::<String>())
        .map(|l| l.trim().to_owned())
        .filter(|l| !l.is_empty())
        .take(LINES)
        .collect();
    if lines.is_empty() {
        return " It wrote nothing.".into();
    }
    let all: Vec<&str> = lines.iter().rev().map(String::as_str).collect();
    let all = all.join(" / ");
    let over = all.chars().count().saturating_sub(MOST_TOLD);
    let cut = if over > 0 { "…" } else { "" };
    let last: String = all.chars().skip(over).collect();
    format!(" It said: {cut}{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_an_output_are_told_on_one() {
        assert_eq!(said(b"\n \n"), " It wrote nothing.");
        assert_eq!(said(b"a\r\n\n\x1b[1mb\n"), " It said: a / [1mb");
        let many: String = (0..20).map(|i| format!("line {i}\n")).collect();
        assert_eq!(
            said(many.as_bytes()),
            " It said: line 15 / line 16 / line 17 / line 18 / line 19"
        );
        let long = said("ü".repeat(5000).as_bytes());
        assert!(
            long.starts_with(" It said: …ü") && long.chars().count() < 620,
            "{long}"
        );
    }
}
