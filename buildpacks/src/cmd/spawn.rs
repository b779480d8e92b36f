//! Running programs with their output indented.

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
};

/// The most bytes that are kept of what a program said last.
const TAIL: usize = 16 * 1024;

/// Runs a program; stdout and stderr go to our stdout in the order they were written, each line behind `prefix`.
///
/// # Errors
/// The program can't be started.
pub fn indented(command: Command, prefix: &str) -> anyhow::Result<ExitStatus> {
    Ok(heard(command, prefix)?.0)
}

/// The same, and the end of what it said, for hints.
///
/// # Errors
/// The program can't be started.
pub fn heard(mut command: Command, prefix: &str) -> anyhow::Result<(ExitStatus, String)> {
    let (mut reader, writer) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .spawn()
        .map_err(|e| anyhow::anyhow!("{name} can't be started: {e}"))?;
    // or the pipe would never end
    drop(command);
    let mut buf = vec![0; 16 * 1024];
    let mut fresh = true;
    let mut tail: Vec<u8> = vec![];
    loop {
        let n = match reader.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        tail.extend_from_slice(&buf[..n]);
        if tail.len() > TAIL {
            tail.drain(..tail.len() - TAIL);
        }
        let mut out = Vec::with_capacity(n + 64);
        for b in &buf[..n] {
            if fresh && *b != b'\n' {
                out.extend_from_slice(prefix.as_bytes());
            }
            out.push(*b);
            fresh = *b == b'\n';
        }
        let mut std = std::io::stdout().lock();
        let _ = std.write_all(&out).and_then(|()| std.flush());
    }
    if !fresh {
        super::out::plain("\n");
    }
    let said = String::from_utf8_lossy(&tail).into_owned();
    Ok((child.wait()?, said))
}

/// What package managers say when they can't reach their registry.
const UNREACHABLE: [&str; 15] = [
    "could not reach host",
    "network error while fetching",
    "could not resolve host",
    "name or service not known",
    "temporary failure in name resolution",
    "no such host",
    "dial tcp",
    "could not transfer artifact",
    "unknownhostexception",
    "connection refused",
    "connection timed out",
    "failed to connect to",
    "curl error 6",
    "curl error 7",
    "network is unreachable",
];

/// One more sentence for an error, when what a program said tells that a registry was out of reach.
pub fn out_of_reach(said: &str, registry: &str, instead: &str) -> String {
    let low = said.to_ascii_lowercase();
    if UNREACHABLE.iter().any(|u| low.contains(u)) {
        format!(
            "\n\nIt looks as if {registry} can't be reached from this machine. {instead}\n\
             The operator can let builds use a proxy or a mirror (build environment of the agent)."
        )
    } else {
        String::new()
    }
}

/// The status as a shell shows it.
pub fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Runs a program and gives its stdout; `None` when it fails.
pub fn output(command: &mut Command) -> Option<String> {
    let out = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
