//! Takes a chunked body out of its chunks (RFC 9112, section 7.1), however its bytes are cut.

/// Hexadecimal digits of a chunk's size.
const DIGITS: u8 = 15;
/// Bytes of extensions per chunk. Nobody uses them, and what is long there is an attack.
const EXTENSION: u16 = 1024;
/// Bytes of all trailers.
const TRAILERS: usize = 32 * 1024;

/// The bytes are no chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoChunk;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line after the last chunk.
    Trailer,
    InTrailer,
    TrailerLf,
    LastLf,
    End,
}

/// Follows one body.
#[derive(Debug)]
pub(crate) struct Chunks {
    at: At,
    digits: u8,
    extension: u16,
    left: u64,
    trailers: Vec<u8>,
}

/// What was found in a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The body's bytes were moved together, beginning here.
    pub from: usize,
    /// And end before here.
    pub to: usize,
    /// So many bytes of the piece are used up.
    pub used: usize,
    /// The body is over.
    pub over: bool,
}

impl Chunks {
    pub fn new() -> Chunks {
        Chunks {
            at: At::Size,
            digits: 0,
            extension: 0,
            left: 0,
            trailers: Vec::new(),
        }
    }

    /// The lines after the last chunk.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes the next piece; the body's bytes in it are moved together in place.
    ///
    /// # Errors
    /// When it is no chunked body.
    pub fn take(&mut self, piece: &mut [u8]) -> Result<Found, NoChunk> {
        let (mut from, mut to, mut i) = (0, 0, 0);
        while i < piece.len() && self.at != At::End {
            if self.at == At::Data {
                let n = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(piece.len() - i);
                if from == to {
                    (from, to) = (i, i);
                } else if to != i {
                    piece.copy_within(i..i + n, to);
                }
                to += n;
                i += n;
                self.left -= n as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            self.step(piece[i])?;
            i += 1;
        }
        Ok(Found {
            from,
            to,
            used: i,
            over: self.at == At::End,
        })
    }

    fn step(&mut self, byte: u8) -> Result<(), NoChunk> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == DIGITS {
                    return Err(NoChunk);
                }
                self.digits += 1;
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                self.left = self.left << 4 | u64::from(digit);
                At::Size
            }
            (At::Size, b'\r') if self.digits > 0 => At::SizeEnd,
            (At::Size, b';') if self.digits > 0 => At::Extension,
            (At::Extension, b'\r') => At::SizeEnd,
            (At::Extension, b'\t' | b' '..=0x7e | 0x80..) if self.extension < EXTENSION => {
                self.extension += 1;
                At::Extension
            }
            (At::SizeEnd, b'\n') => {
                (self.digits, self.extension) = (0, 0);
                if self.left == 0 {
                    At::Trailer
                } else {
                    At::Data
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::LastLf,
            (At::LastLf, b'\n') => At::End,
            (At::InTrailer, b'\r') => {
                self.trail(byte)?;
                At::TrailerLf
            }
            (At::TrailerLf, b'\n') => {
                self.trail(byte)?;
                At::Trailer
            }
            (At::Trailer | At::InTrailer, b'\t' | b' '..=0x7e | 0x80..) => {
                self.trail(byte)?;
                At::InTrailer
            }
            _ => return Err(NoChunk),
        };
        Ok(())
    }

    fn trail(&mut self, byte: u8) -> Result<(), NoChunk> {
        if self.trailers.len() == TRAILERS {
            return Err(NoChunk);
        }
        self.trailers.push(byte);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read = (Vec<u8>, Vec<u8>, Vec<u8>);

    /// Body, trailers and what is left over; the bytes come in pieces that end at `cuts`.
    fn read(text: &[u8], cuts: &[usize]) -> Result<Read, NoChunk> {
        let mut cuts: Vec<_> = cuts.iter().map(|c| (*c).min(text.len())).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let (mut chunks, mut body, mut start) = (Chunks::new(), Vec::new(), 0);
        for cut in cuts {
            let mut piece = text[start..cut].to_vec();
            let f = chunks.take(&mut piece)?;
            body.extend_from_slice(&piece[f.from..f.to]);
            if f.over {
                let left = text[start + f.used..].to_vec();
                return Ok((body, chunks.trailers().to_vec(), left));
            }
            assert_eq!(f.used, cut - start);
            start = cut;
        }
        Err(NoChunk)
    }

    #[test]
    fn sound_bodies() {
        for (text, body, trailers, left) in [
            ("0\r\n\r\n", "", "", ""),
            ("3\r\nabc\r\n0\r\n\r\nGET", "abc", "", "GET"),
            (
                "3;x=1\r\nabc\r\n00a\r\n0123456789\r\n000;y\r\n\r\n",
                "abc0123456789",
                "",
                "",
            ),
            (
                "1\r\na\r\n0\r\nX-Sum: 7\r\nY: z\r\n\r\nX",
                "a",
                "X-Sum: 7\r\nY: z\r\n",
                "X",
            ),
        ] {
            let want = (body.into(), trailers.into(), left.into());
            assert_eq!(read(text.as_bytes(), &[]), Ok(want), "{text:?}");
        }
    }

    #[test]
    fn hostile_bodies() {
        let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(2000));
        let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(40_000));
        for text in [
            "zz\r\n",
            "\r\n",
            ";x\r\n",
            "-1\r\n",
            "+1\r\na\r\n0\r\n\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            " 1\r\na\r\n0\r\n\r\n",
            "1 \r\na\r\n0\r\n\r\n",
            "1\na\n0\n\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            "1;\nx\r\na\r\n0\r\n\r\n",
            "1;x\ny\r\na\r\n0\r\n\r\n",
            "1;x\ra\r\n0\r\n\r\n",
            "1;\0\r\na\r\n0\r\n\r\n",
            "1\r\na\r\n0\r\nX: a\n\r\n",
            "1\r\na\r\n0\r\n\n",
            "1\r\na\r\n0\r\nX: a\rb\r\n\r\n",
            "ffffffffffffffff\r\n",
            "10000000000000000\r\n",
            &long,
            &trailers,
        ] {
            assert_eq!(read(text.as_bytes(), &[]), Err(NoChunk), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            parts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..40), "(;[ -~]{0,5})?"), 0..6),
            left in proptest::collection::vec(any::<u8>(), 0..10),
            cuts in proptest::collection::vec(0usize..200, 0..8),
        ) {
            let mut text = Vec::new();
            for (part, extension) in &parts {
                text.extend(format!("{:x}{extension}\r\n", part.len()).into_bytes());
                text.extend_from_slice(part);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\nX: y\r\n\r\n");
            text.extend_from_slice(&left);
            let body: Vec<u8> = parts.into_iter().flat_map(|p| p.0).collect();
            prop_assert_eq!(read(&text, &cuts), Ok((body, b"X: y\r\n".to_vec(), left)));
        }

        #[test]
        fn any_bytes_any_split(
            text in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';'), any::<u8>()], 0..60),
            cuts in proptest::collection::vec(0usize..60, 0..8),
        ) {
            prop_assert_eq!(read(&text, &cuts), read(&text, &[]));
        }
    }
}
