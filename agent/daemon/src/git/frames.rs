//! Frames between the agent and its own two subcommands, `hokkud hook` and `hokkud ssh`: one byte for the kind, a
//! big-endian u32 for the length, the payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most bytes one frame may carry.
pub const MAX: usize = 64 * 1024;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// From the agent: for standard output.
    Output(Bytes),
    /// From the agent: for standard error.
    Errors(Bytes),
    /// From the agent, the last one: the exit status.
    End(u8),
    /// To the agent: from standard input.
    Input(Bytes),
    /// To the agent: standard input has ended.
    InputEnd,
}

impl Frame {
    /// The frame as bytes. A payload above [`MAX`] becomes several frames.
    pub fn encode(&self) -> Bytes {
        let (kind, payload): (u8, &[u8]) = match self {
            Frame::Output(b) => (1, b),
            Frame::Errors(b) => (2, b),
            Frame::End(code) => (3, std::slice::from_ref(code)),
            Frame::Input(b) => (4, b),
            Frame::InputEnd => (5, &[]),
        };
        let mut out = BytesMut::with_capacity(payload.len() + 5);
        let mut rest = payload;
        loop {
            let (now, later) = rest.split_at(rest.len().min(MAX));
            out.put_u8(kind);
            out.put_u32(now.len() as u32);
            out.put_slice(now);
            rest = later;
            if rest.is_empty() {
                return out.freeze();
            }
        }
    }

    /// Takes one frame from the front of `buf`, if it is there whole.
    ///
    /// # Errors
    /// The peer does not speak this language: an unknown kind or a length that can't be.
    pub fn decode(buf: &mut BytesMut) -> io::Result<Option<Frame>> {
        if buf.len() < 5 {
            return Ok(None);
        }
        let kind = buf[0];
        let len = u32::from_be_bytes([buf[1], buf[2], buf[3], buf[4]]) as usize;
        let bad = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of kind {kind} with {len} bytes is not known here"),
            )
        };
        if !(1..=5).contains(&kind) || len > MAX {
            return Err(bad());
        }
        if buf.len() < 5 + len {
            return Ok(None);
        }
        buf.advance(5);
        let payload = buf.split_to(len).freeze();
        match (kind, len) {
            (1, _) => Ok(Some(Frame::Output(payload))),
            (2, _) => Ok(Some(Frame::Errors(payload))),
            (3, 1) => Ok(Some(Frame::End(payload[0]))),
            (4, _) => Ok(Some(Frame::Input(payload))),
            (5, 0) => Ok(Some(Frame::InputEnd)),
            _ => Err(bad()),
        }
    }
}

/// Reads the next frame; `None` at the end of the stream between two frames. Safe to cancel: what was read stays in
/// `buf`.
///
/// # Errors
/// The stream fails, ends inside a frame, or is not made of frames.
pub async fn read<R: AsyncRead + Unpin>(
    from: &mut R,
    buf: &mut BytesMut,
) -> io::Result<Option<Frame>> {
    loop {
        if let Some(f) = Frame::decode(buf)? {
            return Ok(Some(f));
        }
        buf.reserve(8 * 1024);
        if from.read_buf(buf).await? == 0 {
            return if buf.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    }
}

/// Writes one frame and flushes it.
///
/// # Errors
/// The stream fails.
pub async fn write<W: AsyncWrite + Unpin>(to: &mut W, frame: &Frame) -> io::Result<()> {
    to.write_all(&frame.encode()).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_survive_the_wire_in_pieces() {
        let frames = [
            Frame::Output(Bytes::from_static(b"a\0\xff")),
            Frame::Errors(Bytes::new()),
            Frame::Input(Bytes::from(vec![7; MAX])),
            Frame::InputEnd,
            Frame::End(128),
        ];
        let (mut buf, mut got) = (BytesMut::new(), vec![]);
        for b in frames.iter().flat_map(|f| f.encode().to_vec()) {
            buf.put_u8(b);
            got.extend(Frame::decode(&mut buf).unwrap());
        }
        assert_eq!(got, frames);
    }

    #[test]
    fn a_long_payload_is_split() {
        let long: Vec<u8> = (0..MAX * 2 + 3).map(|i| i as u8).collect();
        let mut buf = BytesMut::from(&Frame::Output(long.clone().into()).encode()[..]);
        let mut got = vec![];
        while let Some(Frame::Output(b)) = Frame::decode(&mut buf).unwrap() {
            assert!(b.len() <= MAX);
            got.extend_from_slice(&b);
        }
        assert_eq!(got, long);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(b: Vec<u8>) {
            let mut b = BytesMut::from(&b[..]);
            while let Ok(Some(_)) = Frame::decode(&mut b) {}
        }
    }
}
