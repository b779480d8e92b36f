//! Running programs with their output indented.

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
};

/// Runs a program; stdout and stderr go to our stdout in the order they were written, each line behind `prefix`.
///
/// # Errors
/// The program can't be started.
pub fn indented(mut command: Command, prefix: &str) -> anyhow::Result<ExitStatus> {
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
    loop {
        let n = match reader.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
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
    Ok(child.wait()?)
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
