//! `hokkud ssh`: the forced command of the system's sshd. It takes git's two commands and nothing else, and pipes
//! them to the agent.

use super::{
    client,
    frames::{self, Frame},
    tunnel::{APP_HEADER, KEY_HEADER, PROTOCOL_HEADER, SERVICE_HEADER, UPGRADE},
};
use anyhow::{Context, Result, bail};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use hokku_model::AppName;
use hyper_util::rt::TokioIo;
use std::{io::Write, path::Path, process::ExitCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What somebody asked for over SSH.
#[derive(Debug, PartialEq)]
pub enum Wish {
    /// No command: a login.
    Shell,
    /// `git push` or `git clone`.
    Git {
        /// `git-receive-pack` or `git-upload-pack`.
        service: &'static str,
        /// The app.
        app: AppName,
    },
}

/// Reads the command that the SSH client sent: `git-receive-pack 'myapp.git'`, with or without a leading slash and
/// the ending.
///
/// # Errors
/// In a sentence for the person at the other end.
pub fn parse_command(command: &str) -> Result<Wish> {
    if command.trim().is_empty() {
        return Ok(Wish::Shell);
    }
    let refuse = || {
        let shown: String = command.chars().take(80).collect();
        anyhow::anyhow!(
            "hokku can't run {shown:?}: only git push, fetch and clone work over SSH. Use `app run` for commands"
        )
    };
    let words = shell_words::split(command).map_err(|_| refuse())?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (service, path) = match words[..] {
        ["git-receive-pack", path] | ["git", "receive-pack", path] => ("git-receive-pack", path),
        ["git-upload-pack", path] | ["git", "upload-pack", path] => ("git-upload-pack", path),
        _ => return Err(refuse()),
    };
    let name = path.strip_prefix('/').unwrap_or(path);
    let name = name.strip_suffix('/').unwrap_or(name);
    let name = name.strip_suffix(".git").unwrap_or(name);
    let app = name
        .parse()
        .map_err(|e| anyhow::anyhow!("{e} The remote looks like ssh://git@host/myapp.git"))?;
    Ok(Wish::Git { service, app })
}

/// Runs the forced command for the holder of the key with this id, over the agent's Unix socket; the result is the
/// exit status. What the client wants is in `SSH_ORIGINAL_COMMAND`.
pub fn main(socket: &Path, key: &str) -> ExitCode {
    ExitCode::from(run(socket, key))
}

pub(super) fn run(socket: &Path, key: &str) -> u8 {
    let run = || -> Result<u8> {
        let wish = parse_command(&std::env::var("SSH_ORIGINAL_COMMAND").unwrap_or_default())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("can't start")?;
        let code = runtime.block_on(serve(socket, key, wish));
        // a read of standard input may still be under way in a thread of its own
        runtime.shutdown_background();
        code
    };
    run().unwrap_or_else(|e| {
        let _ = writeln!(std::io::stderr(), "hokku: {e:#}.");
        1
    })
}

async fn serve(socket: &Path, key: &str, wish: Wish) -> Result<u8> {
    let mut request = http::Request::post("/hokku/git/ssh")
        .header(http::header::HOST, "hokku")
        .header(KEY_HEADER, key);
    if let Wish::Git { service, app } = &wish {
        request = request
            .header(SERVICE_HEADER, *service)
            .header(APP_HEADER, app.as_str())
            .header(http::header::CONNECTION, "Upgrade")
            .header(http::header::UPGRADE, UPGRADE);
        if let Ok(protocol) = std::env::var("GIT_PROTOCOL") {
            request = request.header(PROTOCOL_HEADER, protocol);
        }
    }
    let answer = client::ask(socket, request.body(Body::empty())?).await?;
    if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        bail!(client::refusal(answer).await);
    }
    let stream = hyper::upgrade::on(answer)
        .await
        .context("the agent closed the connection")?;
    let (mut from, mut to) = tokio::io::split(TokioIo::new(stream));
    tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut buf = vec![0; frames::MAX];
        loop {
            let frame = match stdin.read(&mut buf).await {
                Ok(n) if n > 0 => Frame::Input(Bytes::copy_from_slice(&buf[..n])),
                _ => Frame::InputEnd,
            };
            if frames::write(&mut to, &frame).await.is_err() || frame == Frame::InputEnd {
                // the writing half stays open: its end would mean that this side is gone
                return std::future::pending::<()>().await;
            }
        }
    });
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut buf = BytesMut::new();
    loop {
        match frames::read(&mut from, &mut buf).await {
            Ok(Some(Frame::Output(b))) => {
                stdout.write_all(&b).await?;
                stdout.flush().await?;
            }
            Ok(Some(Frame::Errors(b))) => {
                stderr.write_all(&b).await?;
                stderr.flush().await?;
            }
            Ok(Some(Frame::End(code))) => return Ok(code),
            _ => bail!("the agent stopped in the middle of this; try again in a moment"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn git_commands_are_taken_and_nothing_else() {
        let git = |service, app: &str| Wish::Git {
            service,
            app: app.parse().unwrap(),
        };
        for (line, wish) in [
            ("", Wish::Shell),
            (
                "git-receive-pack 'myapp.git'",
                git("git-receive-pack", "myapp"),
            ),
            (
                "git-receive-pack '/myapp.git'",
                git("git-receive-pack", "myapp"),
            ),
            ("git-upload-pack 'myapp'", git("git-upload-pack", "myapp")),
            ("git upload-pack '/myapp/'", git("git-upload-pack", "myapp")),
            ("git-upload-pack myapp.git", git("git-upload-pack", "myapp")),
        ] {
            assert_eq!(parse_command(line).unwrap(), wish, "{line}");
        }
        for line in [
            "sh",
            "git-upload-archive 'myapp.git'",
            "git-receive-pack",
            "git-receive-pack 'a' 'b'",
            "git-receive-pack --strict 'myapp.git'",
            "git-receive-pack '../../etc'",
            "git-receive-pack 'my app.git'",
            "git-receive-pack 'myapp.git'; id",
            "git-receive-pack 'myapp.git",
            "scp -t /",
        ] {
            let e = parse_command(line).unwrap_err().to_string();
            assert!(e.len() > 30, "{line}: {e}");
        }
    }

    proptest! {
        #[test]
        fn no_command_panics(s in ".{0,60}") { let _ = parse_command(&s); }
    }
}
