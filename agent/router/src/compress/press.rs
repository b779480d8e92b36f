//! The compressors of one thread: one for bodies that are there as a whole, some for bodies that come piece by piece.

use super::cache::{Cache, Found};
use super::{Encoding, TURN};
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};
use zstd::zstd_safe::{
    self, CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, zstd_sys::ZSTD_EndDirective,
};

/// Bytes of the thread's cache.
const CACHE: usize = 16 * 1024 * 1024;
/// Bodies that are compressed piece by piece at once; each takes up to about 0.6 MB.
const STREAMS: usize = 128;
/// Idle stream compressors kept for the next one, of each kind.
const IDLE: usize = 4;
/// Output is made in steps of this.
const STEP: usize = 16 * 1024;
/// Levels for a body that is new.
const GZIP: i32 = 1;
const ZSTD: i32 = 1;
/// Levels for one that came before, and will be sent as made now for as long as it comes.
const GZIP_KEPT: i32 = 6;
const ZSTD_KEPT: i32 = 6;
/// zlib's level 1 makes bodies a quarter larger than 2 does.
const GZIP_STREAM: u32 = 2;
/// Logarithms of the window: what a compressor looks back at, and what its memory grows with.
const ZSTD_WINDOW: u32 = 16;
const ZSTD_WINDOW_EVENTS: u32 = 14;

/// Compressors and cache. Owned by one thread.
pub(crate) struct Press {
    gzip: Option<Compressor>,
    gzip_kept: Option<Compressor>,
    zstd: Option<CCtx<'static>>,
    cache: Cache,
    idle_gzip: Vec<Compress>,
    idle_zstd: Vec<CCtx<'static>>,
    open: usize,
    scratch: Vec<u8>,
}

impl Press {
    pub fn new() -> Press {
        Press {
            gzip: None,
            gzip_kept: None,
            zstd: None,
            cache: Cache::new(CACHE),
            idle_gzip: Vec::new(),
            idle_zstd: Vec::new(),
            open: 0,
            scratch: Vec::new(),
        }
    }

    /// Compresses a body at once, or finds it compressed. `None` when it would not get smaller.
    pub fn whole(&mut self, encoding: Encoding, body: &[u8]) -> Option<Bytes> {
        let hash = self.cache.hash(body);
        let again = match self.cache.find(hash, body, encoding) {
            Found::Made(bytes) => return Some(bytes),
            Found::Again => true,
            Found::New => false,
        };
        // the better level takes several times as long: not for what would hold the others up
        let better = again && body.len() <= TURN;
        let made = match encoding {
            Encoding::Gzip => self.gzip(body, better),
            Encoding::Zstd => self.zstd(body, better),
        }?;
        if made >= body.len() {
            return None;
        }
        let bytes = Bytes::copy_from_slice(&self.scratch[..made]);
        if again {
            self.cache.keep(hash, body, encoding, bytes.clone());
        }
        Some(bytes)
    }

    fn gzip(&mut self, body: &[u8], better: bool) -> Option<usize> {
        let (place, level) = if better {
            (&mut self.gzip_kept, GZIP_KEPT)
        } else {
            (&mut self.gzip, GZIP)
        };
        if place.is_none() {
            *place = Some(Compressor::new(CompressionLvl::new(level).ok()?));
        }
        let gzip = place.as_mut()?;
        room(&mut self.scratch, gzip.gzip_compress_bound(body.len()));
        gzip.gzip_compress(body, &mut self.scratch).ok()
    }

    fn zstd(&mut self, body: &[u8], better: bool) -> Option<usize> {
        let level = if better { ZSTD_KEPT } else { ZSTD };
        if self.zstd.is_none() {
            self.zstd = CCtx::try_create();
        }
        let zstd = self.zstd.as_mut()?;
        room(&mut self.scratch, zstd_safe::compress_bound(body.len()));
        zstd.set_parameter(CParameter::CompressionLevel(level))
            .ok()?;
        zstd.compress2(&mut self.scratch[..], body).ok()
    }

    /// A compressor for a body that comes piece by piece, to be given back with [`Press::end`]. `events`: its pieces are
    /// small. `None` when there are too many already.
    pub fn begin(&mut self, encoding: Encoding, events: bool) -> Option<Stream> {
        if self.open >= STREAMS {
            return None;
        }
        let stream = match encoding {
            Encoding::Gzip => Stream::Gzip(
                self.idle_gzip
                    .pop()
                    .unwrap_or_else(|| Compress::new_gzip(Compression::new(GZIP_STREAM), 15)),
            ),
            Encoding::Zstd => {
                let mut zstd = self.idle_zstd.pop().or_else(CCtx::try_create)?;
                let window = if events {
                    ZSTD_WINDOW_EVENTS
                } else {
                    ZSTD_WINDOW
                };
                zstd.set_parameter(CParameter::CompressionLevel(ZSTD))
                    .ok()?;
                zstd.set_parameter(CParameter::WindowLog(window)).ok()?;
                Stream::Zstd(zstd)
            }
        };
        self.open += 1;
        Some(stream)
    }

    /// Takes a compressor back, whatever state it is in.
    pub fn end(&mut self, stream: Stream) {
        self.open -= 1;
        match stream {
            Stream::Gzip(mut gzip) if self.idle_gzip.len() < IDLE => {
                gzip.reset();
                self.idle_gzip.push(gzip);
            }
            Stream::Zstd(mut zstd) if self.idle_zstd.len() < IDLE => {
                let reset = zstd.reset(ResetDirective::SessionOnly);
                // one that cannot be reset is dropped
                self.idle_zstd.extend(reset.is_ok().then_some(zstd));
            }
            // enough are kept
            _ => {}
        }
    }
}

fn room(scratch: &mut Vec<u8>, n: usize) {
    if scratch.len() < n {
        scratch.resize(n, 0);
    }
}

/// A compressor could not go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Jammed;

/// What is to be done besides taking the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing: output may be held back.
    Hold,
    /// All output comes out.
    Flush,
    /// All output comes out, and the body ends.
    Finish,
}

/// Compresses one body piece by piece.
pub(crate) enum Stream {
    Gzip(Compress),
    Zstd(CCtx<'static>),
}

impl Stream {
    /// Takes all of `input` and appends what comes out to `out`.
    ///
    /// # Errors
    /// When the compressor reports what should not happen: memory is gone, or its state is damaged.
    pub fn press(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), Jammed> {
        match self {
            Stream::Gzip(gzip) => press_gzip(gzip, input, then, out),
            Stream::Zstd(zstd) => press_zstd(zstd, input, then, out),
        }
    }
}

fn press_gzip(
    gzip: &mut Compress,
    mut input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> Result<(), Jammed> {
    let flush = match then {
        Then::Hold => FlushCompress::None,
        Then::Flush => FlushCompress::Sync,
        Then::Finish => FlushCompress::Finish,
    };
    loop {
        out.reserve(STEP);
        let (taken, given) = (gzip.total_in(), out.len());
        let status = gzip.compress_vec(input, out, flush).map_err(|_| Jammed)?;
        let taken = usize::try_from(gzip.total_in() - taken).map_err(|_| Jammed)?;
        input = &input[taken..];
        let done = match then {
            Then::Finish => status == Status::StreamEnd,
            // room that is left means that nothing more wants out
            Then::Hold | Then::Flush => input.is_empty() && out.len() < out.capacity(),
        };
        if done {
            return Ok(());
        }
        if taken == 0 && out.len() == given {
            return Err(Jammed);
        }
    }
}

fn press_zstd(
    zstd: &mut CCtx<'static>,
    input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> Result<(), Jammed> {
    let directive = match then {
        Then::Hold => ZSTD_EndDirective::ZSTD_e_continue,
        Then::Flush => ZSTD_EndDirective::ZSTD_e_flush,
        Then::Finish => ZSTD_EndDirective::ZSTD_e_end,
    };
    let mut input = InBuffer::around(input);
    loop {
        out.reserve(STEP);
        let (taken, given) = (input.pos(), out.len());
        let left = {
            let mut output = OutBuffer::around_pos(out, given);
            zstd.compress_stream2(&mut output, &mut input, directive)
                .map_err(|_| Jammed)?
        };
        let all = input.pos() == input.src.len();
        if all && (then == Then::Hold || left == 0) {
            return Ok(());
        }
        if input.pos() == taken && out.len() == given {
            return Err(Jammed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Encoding::{Gzip, Zstd};
    use proptest::prelude::*;
    use std::io::Read;

    fn open(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match encoding {
            Gzip => {
                let mut d = flate2::read::GzDecoder::new(bytes);
                d.read_to_end(&mut out).unwrap();
            }
            Zstd => out = zstd::stream::decode_all(bytes).unwrap(),
        }
        out
    }

    /// What a reader gets that has only this much.
    fn peek(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reader: Box<dyn Read> = match encoding {
            Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
            Zstd => Box::new(zstd::stream::Decoder::new(bytes).unwrap()),
        };
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = reader.read(&mut part) {
            out.extend_from_slice(&part[..n]);
        }
        out
    }

    #[test]
    fn whole_bodies_new_again_and_kept() {
        let mut press = Press::new();
        let body = "<p>Some text of a page.</p>\n".repeat(500).into_bytes();
        for encoding in [Gzip, Zstd] {
            let made: Vec<Bytes> = (0..4)
                .map(|_| press.whole(encoding, &body).unwrap())
                .collect();
            for m in &made {
                assert_eq!(open(encoding, m), body);
                assert!(m.len() < body.len() / 10);
            }
            assert_eq!(
                made[2].as_ptr(),
                made[3].as_ptr(),
                "the third came out of the cache"
            );
        }
    }

    #[test]
    fn what_gets_no_smaller_is_left() {
        let mut press = Press::new();
        let mut x = 1u64;
        let noise: Vec<u8> = (0..5000)
            .map(|_| {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1);
                (x >> 56) as u8
            })
            .collect();
        for encoding in [Gzip, Zstd, Gzip, Zstd] {
            assert_eq!(press.whole(encoding, &noise), None);
        }
    }

    #[test]
    fn streams_are_bounded_in_number_and_memory() {
        let mut press = Press::new();
        let text = b"memory is only taken when there is something to compress ".repeat(5000);
        let mut all = Vec::new();
        for i in 0..STREAMS {
            let (encoding, events) = (if i % 2 == 0 { Gzip } else { Zstd }, i % 4 == 1);
            let mut stream = press.begin(encoding, events).unwrap();
            if i < 8 {
                stream.press(&text, Then::Flush, &mut Vec::new()).unwrap();
            }
            if let Stream::Zstd(zstd) = &stream {
                let most = if events { 256 } else { 600 } * 1024;
                assert!(zstd.sizeof() < most, "{} of {most}", zstd.sizeof());
            }
            all.push(stream);
        }
        assert!(press.begin(Gzip, false).is_none());
        all.into_iter().for_each(|s| press.end(s));
        assert_eq!(
            (press.open, press.idle_gzip.len(), press.idle_zstd.len()),
            (0, IDLE, IDLE)
        );
        assert!(press.begin(Gzip, false).is_some());
    }

    proptest! {
        /// Any body in any pieces, flushed or not, with compressors that were used before.
        #[test]
        fn round_trip(bodies in proptest::collection::vec(
            proptest::collection::vec((proptest::collection::vec(0u8..8, 0..3000), 1usize..40, any::<bool>()), 0..8), 1..4),
            zstd in any::<bool>(), events in any::<bool>(), finished in any::<bool>())
        {
            let encoding = if zstd { Zstd } else { Gzip };
            let mut press = Press::new();
            // one that was given up half-way must leave no trace
            let mut given_up = press.begin(encoding, events).unwrap();
            given_up.press(b"half a body", if finished { Then::Flush } else { Then::Hold }, &mut Vec::new()).unwrap();
            press.end(given_up);
            for body in bodies {
                let mut stream = press.begin(encoding, events).unwrap();
                let (mut plain, mut out) = (Vec::new(), Vec::new());
                for (piece, times, flush) in body {
                    let piece = piece.repeat(times);
                    plain.extend_from_slice(&piece);
                    stream.press(&piece, if flush { Then::Flush } else { Then::Hold }, &mut out).unwrap();
                    if flush {
                        // a second flush with nothing new is harmless
                        stream.press(&[], Then::Flush, &mut out).unwrap();
                        prop_assert!(peek(encoding, &out) == plain, "flushed bytes can be read at once");
                    }
                }
                stream.press(&[], Then::Finish, &mut out).unwrap();
                press.end(stream);
                prop_assert!(open(encoding, &out) == plain);
                prop_assert!(press.whole(encoding, &plain).is_none_or(|w| open(encoding, &w) == plain));
            }
        }
    }
}
