//! `hokkud hook pre-receive`: what git runs before it moves a ref. It hands the refs to the agent, prints what the
//! agent says as it happens, and exits 0 only when the agent has accepted the push.

use super::{
    client,
    frames::{self, Frame},
    receive::{HookRequest, PUSH_HEADER, PushedRef},
};
use anyhow::{Context, Result, bail};
use axum::body::Body;
use bytes::BytesMut;
use futures_util::TryStreamExt;
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Bytes of ref lines taken; about a hundred thousand refs.
const MAX_REFS: u64 = 16 << 20;

/// Push options taken; more are not looked at.
const MAX_OPTIONS: usize = 16;

/// The variables that lead git to objects which are still in quarantine.
pub const GIT_ENV: [&str; 5] = [
    "GIT_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",
];

/// Runs the hook of this name; the result is the exit status. Reads standard input, prints to standard output, and
/// needs the variables that the agent gave to the git it started.
pub fn main(name: &str) -> ExitCode {
    ExitCode::from(run(name))
}

pub(super) fn run(name: &str) -> u8 {
    let run = || -> Result<u8> {
        if name != "pre-receive" {
            bail!("The only hook is: hokkud hook pre-receive");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("can't start")?;
        runtime.block_on(pre_receive())
    };
    run().unwrap_or_else(|e| {
        let _ = writeln!(
            std::io::stderr(),
            " !     {e:#}.\n !\n !     Push rejected: nothing was changed."
        );
        1
    })
}

async fn pre_receive() -> Result<u8> {
    let var = |name: &str| {
        std::env::var(name).with_context(|| {
            format!("{name} is not set: this repository belongs to hokku, push through its agent")
        })
    };
    let (socket, secret) = (PathBuf::from(var("HOKKU_SOCKET")?), var("HOKKU_PUSH")?);
    let mut lines = String::new();
    std::io::stdin()
        .take(MAX_REFS)
        .read_to_string(&mut lines)
        .context("can't read what git says about the push")?;
    let body = HookRequest {
        refs: lines
            .lines()
            .map(parse_line)
            .collect::<Result<_>>()
            .context("can't read what git says about the push")?,
        options: push_options(|name| std::env::var(name).ok()),
        env: git_env(&std::env::current_dir().context("the repository is gone")?),
    };
    let request = http::Request::post("/hokku/git/pre-receive")
        .header(http::header::HOST, "hokku")
        .header(PUSH_HEADER, secret)
        .body(Body::from(serde_json::to_vec(&body)?))?;
    let answer = client::ask(&socket, request).await?;
    if answer.status() != http::StatusCode::OK {
        bail!(client::refusal(answer).await);
    }
    let body =
        http_body_util::BodyDataStream::new(answer.into_body()).map_err(std::io::Error::other);
    let mut from = tokio_util::io::StreamReader::new(body);
    let mut buf = BytesMut::new();
    loop {
        match frames::read(&mut from, &mut buf).await {
            Ok(Some(Frame::Output(b) | Frame::Errors(b))) => {
                let mut out = std::io::stdout().lock();
                out.write_all(&b)
                    .and_then(|()| out.flush())
                    .context("nobody reads any more")?;
            }
            Ok(Some(Frame::End(code))) => return Ok(code),
            _ => bail!(
                "The agent stopped in the middle of this push. Push again as soon as it is back"
            ),
        }
    }
}

/// What was given with `git push -o` (githooks(5), pre-receive).
fn push_options(var: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let count = var("GIT_PUSH_OPTION_COUNT").and_then(|n| n.parse().ok());
    let count: usize = count.unwrap_or(0).min(MAX_OPTIONS);
    (0..count)
        .filter_map(|i| var(&format!("GIT_PUSH_OPTION_{i}")))
        .collect()
}

fn parse_line(line: &str) -> Result<PushedRef> {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(old), Some(new), Some(name)) => Ok(PushedRef {
            old: old.to_owned(),
            new: new.to_owned(),
            name: name.to_owned(),
        }),
        _ => bail!("not a ref line: {line:?}"),
    }
}

/// Git's variables with absolute paths: git gives some relative to the repository, its hook's working directory.
fn git_env(cwd: &Path) -> Vec<(String, String)> {
    GIT_ENV
        .iter()
        .filter_map(|name| {
            let value = std::env::var(name).ok().filter(|v| !v.is_empty())?;
            let value = if *name == "GIT_ALTERNATE_OBJECT_DIRECTORIES" {
                value
            } else {
                cwd.join(&value).to_string_lossy().into_owned()
            };
            Some(((*name).to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_push() {
        let vars = |name: &str| match name {
            "GIT_PUSH_OPTION_COUNT" => Some("2".to_owned()),
            "GIT_PUSH_OPTION_0" => Some("a".to_owned()),
            "GIT_PUSH_OPTION_1" => Some("b=c".to_owned()),
            _ => None,
        };
        assert_eq!(push_options(vars), ["a", "b=c"]);
        assert!(push_options(|_| None).is_empty());
    }

    #[test]
    fn ref_lines() {
        let r = parse_line("0000 1111 refs/heads/a b").unwrap();
        assert_eq!(
            (r.old.as_str(), r.new.as_str(), r.name.as_str()),
            ("0000", "1111", "refs/heads/a b")
        );
        assert!(parse_line("0000 1111").is_err());
    }
}
