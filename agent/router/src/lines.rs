//! One JSON document a line, over the control socket: the reading half, with a bound.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The longest line that is taken: a table of some hundred thousand targets.
pub(crate) const LINE_MAX: usize = 64 * 1024 * 1024;

/// Reads up to the next line end into `line`, which is cleared first. False at the end of the stream.
///
/// # Errors
/// Reading, or `InvalidData` when the line is longer than `max`.
pub(crate) async fn read_line<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    line: &mut Vec<u8>,
    max: usize,
) -> io::Result<bool> {
    line.clear();
    loop {
        let part = reader.fill_buf().await?;
        if part.is_empty() {
            return Ok(false);
        }
        let end = memchr::memchr(b'\n', part);
        let taken = end.map_or(part.len(), |e| e + 1);
        if line.len() + taken > max {
            let text = format!("a line on the control socket is longer than {max} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        line.extend_from_slice(&part[..end.unwrap_or(taken)]);
        reader.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_and_bounded() {
        let mut reader = tokio::io::BufReader::with_capacity(4, &b"one\n\nlonger line\ntorn"[..]);
        let mut line = Vec::new();
        for want in ["one", "", "longer line"] {
            assert!(read_line(&mut reader, &mut line, 20).await.unwrap());
            assert_eq!(line, want.as_bytes());
        }
        assert!(!read_line(&mut reader, &mut line, 20).await.unwrap());
        let mut endless = tokio::io::BufReader::new(tokio::io::repeat(b'x'));
        let e = read_line(&mut endless, &mut line, 1000).await.unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidData);
        assert!(line.len() <= 1000);
    }
}
