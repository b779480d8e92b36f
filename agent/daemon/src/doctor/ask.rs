//! Questions to the agent over its Unix socket.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of an answer.
const MOST: u64 = 16 << 20;

/// The answer to one GET, as JSON.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn get<T: serde::de::DeserializeOwned>(socket: &Path, path: &str) -> Result<T, String> {
    let answer = talk(socket, path)
        .map_err(|e| format!("the agent does not answer at {}: {e}", socket.display()))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("the agent's answer was cut off")?;
    if !head.split(' ').nth(1).is_some_and(|s| s.starts_with('2')) {
        let status = head.lines().next().unwrap_or_default();
        return Err(format!("the agent answered {path} with {status}"));
    }
    serde_json::from_str(body)
        .map_err(|e| format!("the agent's answer to {path} can't be read: {e}"))
}

fn talk(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut wire = UnixStream::connect(socket)?;
    wire.set_read_timeout(Some(PATIENCE))?;
    wire.set_write_timeout(Some(PATIENCE))?;
    // version 1.0: the body is not cut into chunks, and ends with the connection
    write!(
        wire,
        "GET {path} HTTP/1.0\r\nHost: hokku\r\nAccept: application/vnd.heroku+json; version=3\r\n\r\n"
    )?;
    let mut answer = String::new();
    wire.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}
