//! Bodies out of their framing, whatever it is.

use super::chunk::{Chunks, NoChunk};
use super::framing::Framing;
use crate::buffers::Buf;

/// What is still to come of a body.
#[derive(Debug)]
pub(crate) enum Left {
    /// Nothing: it is over.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunks(Chunks),
    /// Everything until the connection ends.
    UntilClose,
}

impl Left {
    pub fn of(framing: Framing) -> Left {
        match framing {
            Framing::Nothing | Framing::Length(0) => Left::Nothing,
            Framing::Length(n) => Left::Length(n),
            Framing::Chunks => Left::Chunks(Chunks::new()),
            Framing::UntilClose => Left::UntilClose,
        }
    }

    /// How many bytes are left, where that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Left::Nothing => Some(0),
            Left::Length(n) => Some(*n),
            Left::Chunks(_) | Left::UntilClose => None,
        }
    }

    /// Uses up what belongs to the body; tells where in the buffer's memory its bytes are now. With the last of them it
    /// becomes [`Left::Nothing`], and the trailers, if there are any, go to `trailers`.
    ///
    /// # Errors
    /// When the chunks are not formed as they have to be.
    pub fn take(
        &mut self,
        buf: &mut Buf,
        trailers: &mut Vec<u8>,
    ) -> Result<(usize, usize), NoChunk> {
        let place = buf.place();
        let have = buf.data().len();
        match self {
            Left::Nothing => Ok((place, place)),
            Left::UntilClose => {
                buf.consume(have);
                Ok((place, place + have))
            }
            Left::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(have);
                buf.consume(n);
                *left -= n as u64;
                if *left == 0 {
                    *self = Left::Nothing;
                }
                Ok((place, place + n))
            }
            Left::Chunks(chunks) => {
                let found = chunks.take(buf.data_mut())?;
                buf.consume(found.used);
                if found.over {
                    trailers.extend_from_slice(chunks.trailers());
                    *self = Left::Nothing;
                }
                Ok((place + found.from, place + found.to))
            }
        }
    }
}
