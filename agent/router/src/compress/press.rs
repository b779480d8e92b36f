//! The compressors of one thread: one for bodies that are there as a whole, some for bodies that come piece by piece.
//!
//! A body that comes for the second time is kept as it was made for this client, and offered to the background thread
//! ([`maker`]), whose better form is sent from then on. Nobody waits for it.

use super::Encoding;
use super::cache::{Cache, Found};
use super::level::Levels;
use super::maker::{self, Done, Job};
use super::rules::Wanted;
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use hokku_model::routing::Compress as Setting;
use libdeflater::{CompressionLvl, Compressor};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use zstd::zstd_safe::{
    self, CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, zstd_sys::ZSTD_EndDirective,
};

/// Bytes of the thread's cache.
const CACHE: usize = 16 * 1024 * 1024;
/// Bodies of this thread that are in the background at once.
const PENDING: usize = 16;
/// Bodies that are compressed piece by piece at once; each takes up to about 0.6 MB.
const STREAMS: usize = 128;
/// Idle stream compressors kept for the next one, of each kind.
const IDLE: usize = 4;
/// Output is made in steps of this.
const STEP: usize = 16 * 1024;
/// Logarithms of the window: what a compressor looks back at, and what its memory grows with.
const ZSTD_WINDOW: u32 = 16;
const ZSTD_WINDOW_EVENTS: u32 = 14;

/// Compressors and cache. Owned by one thread.
pub(crate) struct Press {
    /// With its level; there are two levels.
    gzip: Vec<(i32, Compressor)>,
    zstd: Option<CCtx<'static>>,
    cache: Cache,
    /// Jobs whose result did not come yet.
    pending: usize,
    done: Receiver<Done>,
    reply: SyncSender<Done>,
    idle_gzip: Vec<(u32, Compress)>,
    idle_zstd: Vec<CCtx<'static>>,
    open: usize,
    scratch: Vec<u8>,
}

impl Press {
    pub fn new() -> Press {
        // there is room for all that is asked for
        let (reply, done) = sync_channel(PENDING);
        Press {
            gzip: Vec::new(),
            zstd: None,
            cache: Cache::new(CACHE),
            pending: 0,
            done,
            reply,
            idle_gzip: Vec::new(),
            idle_zstd: Vec::new(),
            open: 0,
            scratch: Vec::new(),
        }
    }

    /// Compresses a body at once, or finds it compressed. `None` when it would not get smaller, or when the client takes
    /// only what there is not yet.
    pub fn whole(
        &mut self,
        wanted: Wanted,
        setting: Setting,
        body: &[u8],
    ) -> Option<(Encoding, Bytes)> {
        self.take_done();
        let levels = Levels::of(setting);
        let hash = self.cache.hash(body);
        match self.cache.find(hash, body) {
            Found::New => self.make(wanted.now?, body, levels),
            Found::Again => {
                let made = match wanted.now {
                    Some(now) => Some(self.make(now, body, levels)?),
                    None => None,
                };
                self.cache.keep(hash, body, made.clone());
                self.improve(hash, wanted.best, levels);
                made
            }
            Found::Kept => {
                self.improve(hash, wanted.best, levels);
                for encoding in [Some(wanted.best), wanted.now].into_iter().flatten() {
                    if let Some(bytes) = self.cache.form(hash, encoding) {
                        return Some((encoding, bytes));
                    }
                }
                let made = self.make(wanted.now?, body, levels)?;
                self.cache.keep(hash, body, Some(made.clone()));
                Some(made)
            }
        }
    }

    fn make(
        &mut self,
        encoding: Encoding,
        body: &[u8],
        levels: &Levels,
    ) -> Option<(Encoding, Bytes)> {
        let made = match encoding {
            Encoding::Gzip => self.gzip(body, levels.gzip),
            Encoding::Zstd => self.zstd(body, levels.zstd),
            // only the background has the time
            Encoding::Brotli => None,
        }?;
        (made < body.len()).then(|| (encoding, Bytes::copy_from_slice(&self.scratch[..made])))
    }

    /// Asks the background for a better form, once for each grade.
    fn improve(&mut self, hash: u64, encoding: Encoding, levels: &'static Levels) {
        if self.pending >= PENDING {
            return;
        }
        let (reply, pending) = (&self.reply, &mut self.pending);
        self.cache.ask(hash, encoding, levels.grade, |original| {
            let taken = maker::offer(Job {
                hash,
                original,
                encoding,
                levels,
                reply: reply.clone(),
            });
            *pending += usize::from(taken);
            taken
        });
    }

    fn take_done(&mut self) {
        while self.pending > 0
            && let Ok(done) = self.done.try_recv()
        {
            self.take_in(done);
        }
    }

    fn take_in(&mut self, done: Done) {
        self.pending -= 1;
        self.cache.improve(
            done.hash,
            &done.original,
            done.encoding,
            done.made,
            done.grade,
        );
    }

    fn gzip(&mut self, body: &[u8], level: i32) -> Option<usize> {
        let place = match self.gzip.iter().position(|(l, _)| *l == level) {
            Some(place) => place,
            None => {
                let new = Compressor::new(CompressionLvl::new(level).ok()?);
                self.gzip.push((level, new));
                self.gzip.len() - 1
            }
        };
        let gzip = &mut self.gzip[place].1;
        room(&mut self.scratch, gzip.gzip_compress_bound(body.len()));
        gzip.gzip_compress(body, &mut self.scratch).ok()
    }

    fn zstd(&mut self, body: &[u8], level: i32) -> Option<usize> {
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
    /// small. `None` when there are too many already, and for brotli.
    pub fn begin(&mut self, encoding: Encoding, setting: Setting, events: bool) -> Option<Stream> {
        if self.open >= STREAMS {
            return None;
        }
        let levels = Levels::of(setting);
        let stream = match encoding {
            Encoding::Gzip => {
                let level = levels.gzip_stream;
                let idle = self.idle_gzip.iter().position(|(l, _)| *l == level);
                let gzip = match idle {
                    Some(place) => self.idle_gzip.swap_remove(place).1,
                    None => Compress::new_gzip(Compression::new(level), 15),
                };
                Stream::Gzip(gzip, level)
            }
            Encoding::Zstd => {
                let mut zstd = self.idle_zstd.pop().or_else(CCtx::try_create)?;
                let window = if events {
                    ZSTD_WINDOW_EVENTS
                } else {
                    ZSTD_WINDOW
                };
                // a higher level takes its memory by tables, which would be as large as the window allows
                let level = if events { 1 } else { levels.zstd_stream };
                zstd.set_parameter(CParameter::CompressionLevel(level))
                    .ok()?;
                zstd.set_parameter(CParameter::WindowLog(window)).ok()?;
                Stream::Zstd(zstd)
            }
            Encoding::Brotli => return None,
        };
        self.open += 1;
        Some(stream)
    }

    /// Takes a compressor back, whatever state it is in.
    pub fn end(&mut self, stream: Stream) {
        self.open -= 1;
        match stream {
            Stream::Gzip(mut gzip, level) if self.idle_gzip.len() < IDLE => {
                gzip.reset();
                self.idle_gzip.push((level, gzip));
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
    /// With its level.
    Gzip(Compress, u32),
    Zstd(CCtx<'static>),
}

impl Stream {
    /// Takes all of `input` and appends what comes out to `out`.
    ///
    /// # Errors
    /// When the compressor reports what should not happen: memory is gone, or its state is damaged.
    pub fn press(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), Jammed> {
        match self {
            Stream::Gzip(gzip, _) => press_gzip(gzip, input, then, out),
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
    use Encoding::{Brotli, Gzip, Zstd};
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
            Brotli => {
                let mut d = brotli_decompressor::Decompressor::new(bytes, 4096);
                d.read_to_end(&mut out).unwrap();
            }
        }
        out
    }

    /// What a reader gets that has only this much.
    fn peek(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reader: Box<dyn Read> = match encoding {
            Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
            Zstd => Box::new(zstd::stream::Decoder::new(bytes).unwrap()),
            Brotli => unreachable!("no stream is brotli"),
        };
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = reader.read(&mut part) {
            out.extend_from_slice(&part[..n]);
        }
        out
    }

    const BALANCED: Setting = Setting::Balanced;

    impl Press {
        /// Waits for the background.
        fn settle(&mut self) {
            while self.pending > 0 {
                let done = self.done.recv().unwrap();
                self.take_in(done);
            }
        }

        /// Asks until the answer is such a one: the background's queue may be full of other tests' bodies.
        fn until(
            &mut self,
            wanted: Wanted,
            setting: Setting,
            body: &[u8],
            is_it: impl Fn(Encoding, usize) -> bool,
        ) -> (Encoding, Bytes) {
            for _ in 0..100_000 {
                if let Some((encoding, bytes)) = self.whole(wanted, setting, body)
                    && is_it(encoding, bytes.len())
                {
                    return (encoding, bytes);
                }
                self.settle();
                std::thread::yield_now();
            }
            panic!("the background made nothing of it");
        }
    }

    fn only(encoding: Encoding) -> Wanted {
        Wanted {
            now: (encoding != Brotli).then_some(encoding),
            best: encoding,
        }
    }

    fn page(n: usize) -> Vec<u8> {
        let mut x = 1u64;
        let mut text = Vec::new();
        while text.len() < n {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1);
            let word =
                ["<p>", "some ", "text of ", "a page ", "</p>\n", "and "][(x >> 60) as usize % 6];
            text.extend_from_slice(word.as_bytes());
            text.extend_from_slice(format!("{:x}", x >> 56).as_bytes());
        }
        text
    }

    #[test]
    fn whole_bodies_new_again_and_kept() {
        for setting in [Setting::Fast, Setting::Balanced, Setting::Small] {
            let mut press = Press::new();
            let body = page(20_000);
            for encoding in [Gzip, Zstd] {
                let wanted = only(encoding);
                let (_, first) = press.whole(wanted, setting, &body).unwrap();
                let (_, again) = press.whole(wanted, setting, &body).unwrap();
                let better = |_, n| n < first.len();
                let (_, kept) = press.until(wanted, setting, &body, better);
                for made in [&first, &again, &kept] {
                    assert_eq!(open(encoding, made), body);
                }
                let (_, cached) = press.whole(wanted, setting, &body).unwrap();
                assert_eq!(kept.as_ptr(), cached.as_ptr(), "out of the cache");
            }
        }
    }

    #[test]
    fn brotli_comes_out_of_the_cache_only() {
        let mut press = Press::new();
        let body = page(20_000);
        let wanted = Wanted {
            now: Some(Gzip),
            best: Brotli,
        };
        let ask = |press: &mut Press| press.whole(wanted, BALANCED, &body).unwrap();
        let first = ask(&mut press);
        let second = ask(&mut press);
        assert_eq!((first.0, second.0), (Gzip, Gzip));
        let third = press.until(wanted, BALANCED, &body, |e, _| e == Brotli);
        assert_eq!((third.0, open(Brotli, &third.1)), (Brotli, body.clone()));
        assert!(third.1.len() < second.1.len());
        // one that takes nothing else gets it, or the plain body
        assert_eq!(
            press.whole(only(Brotli), BALANCED, &body).unwrap().0,
            Brotli
        );
        let other = page(10_000);
        assert_eq!(press.whole(only(Brotli), BALANCED, &other), None);
        press.until(only(Brotli), BALANCED, &other, |e, _| e == Brotli);
        // and one that takes only gzip gets that of the same body
        assert_eq!(press.whole(only(Gzip), BALANCED, &other).unwrap().0, Gzip);
    }

    #[test]
    fn a_higher_setting_makes_it_again() {
        let mut press = Press::new();
        let body = page(60_000);
        let first = press
            .whole(only(Zstd), Setting::Fast, &body)
            .unwrap()
            .1
            .len();
        let fast = press.until(only(Zstd), Setting::Fast, &body, |_, n| n < first);
        let small = press.until(only(Zstd), Setting::Small, &body, |_, n| n < fast.1.len());
        assert_eq!(open(Zstd, &small.1), body);
        let again = press.whole(only(Zstd), Setting::Fast, &body).unwrap();
        assert_eq!(again.1.len(), small.1.len(), "the better one is for all");
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
        for encoding in [Gzip, Zstd, Brotli, Gzip, Zstd, Brotli, Brotli] {
            press.settle();
            assert_eq!(press.whole(only(encoding), BALANCED, &noise), None);
        }
    }

    #[test]
    fn streams_are_bounded_in_number_and_memory() {
        let mut press = Press::new();
        let text = b"memory is only taken when there is something to compress ".repeat(5000);
        let mut all = Vec::new();
        for i in 0..STREAMS {
            let (encoding, events) = (if i % 2 == 0 { Gzip } else { Zstd }, i % 4 == 1);
            let mut stream = press.begin(encoding, BALANCED, events).unwrap();
            if i < 8 {
                stream.press(&text, Then::Flush, &mut Vec::new()).unwrap();
            }
            if let Stream::Zstd(zstd) = &stream {
                let most = if events { 256 } else { 600 } * 1024;
                assert!(zstd.sizeof() < most, "{} of {most}", zstd.sizeof());
            }
            all.push(stream);
        }
        assert!(press.begin(Gzip, BALANCED, false).is_none());
        all.into_iter().for_each(|s| press.end(s));
        assert_eq!(
            (press.open, press.idle_gzip.len(), press.idle_zstd.len()),
            (0, IDLE, IDLE)
        );
        assert!(press.begin(Gzip, BALANCED, false).is_some());
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
            let mut given_up = press.begin(encoding, BALANCED, events).unwrap();
            given_up.press(b"half a body", if finished { Then::Flush } else { Then::Hold }, &mut Vec::new()).unwrap();
            press.end(given_up);
            for body in bodies {
                let mut stream = press.begin(encoding, BALANCED, events).unwrap();
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
                prop_assert!(press.whole(only(encoding), BALANCED, &plain).is_none_or(|(e, w)| open(e, &w) == plain));
            }
        }
    }
}
