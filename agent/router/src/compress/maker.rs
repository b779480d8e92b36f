//! The thread that makes better forms of bodies that came again: brotli, and higher levels of gzip and zstd.
//!
//! One for all serving threads, at a lower priority than they. Its queue is short: what finds no room is offered again
//! when its body comes again.

use super::Encoding;
use super::level::Levels;
use brotlic::{CompressionMode, Quality, WindowSize};
use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use zstd::zstd_safe::{self, CCtx, CParameter};

/// Bodies that may wait, of 256 KB at most.
const QUEUE: usize = 32;

/// A body to compress.
pub(super) struct Job {
    pub hash: u64,
    pub original: Bytes,
    pub encoding: Encoding,
    pub levels: &'static Levels,
    pub reply: SyncSender<Done>,
}

/// What came of it.
pub(super) struct Done {
    pub hash: u64,
    pub original: Bytes,
    pub encoding: Encoding,
    /// `None`: it would get no smaller.
    pub made: Option<Bytes>,
    pub grade: u8,
}

/// Gives a job to the thread, starting it if need be; false when there is no room.
pub(super) fn offer(job: Job) -> bool {
    static THREAD: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (jobs, inbox) = sync_channel(QUEUE);
        let started = std::thread::Builder::new()
            .name("router-press".into())
            .spawn(move || work(&inbox));
        if let Err(e) = &started {
            tracing::warn!(
                "bodies that come again are not compressed better, there is no thread for it: {e}"
            );
        }
        started.is_ok().then_some(jobs)
    });
    thread
        .as_ref()
        .is_some_and(|jobs| jobs.try_send(job).is_ok())
}

fn work(inbox: &Receiver<Job>) {
    // SAFETY: a plain system call; on Linux it is about the calling thread alone. Without it, the work is only less polite.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    for job in inbox {
        let made = make(&job).filter(|made| made.len() < job.original.len());
        let done = Done {
            hash: job.hash,
            made: made.map(Bytes::from),
            original: job.original,
            encoding: job.encoding,
            grade: job.levels.grade,
        };
        // the thread that asked has ended: nobody wants it
        let _ = job.reply.try_send(done);
    }
}

/// Compressors are made anew for each body: this is rare, and their memory is better given back.
fn make(job: &Job) -> Option<Vec<u8>> {
    let (body, levels) = (&job.original[..], job.levels);
    let mut out;
    let made = match job.encoding {
        Encoding::Gzip => {
            let mut gzip = Compressor::new(CompressionLvl::new(levels.gzip_kept).ok()?);
            out = vec![0; gzip.gzip_compress_bound(body.len())];
            gzip.gzip_compress(body, &mut out).ok()?
        }
        Encoding::Zstd => {
            let mut zstd = CCtx::try_create()?;
            let level = CParameter::CompressionLevel(levels.zstd_kept);
            zstd.set_parameter(level).ok()?;
            out = vec![0; zstd_safe::compress_bound(body.len())];
            zstd.compress2(&mut out[..], body).ok()?
        }
        Encoding::Brotli => {
            let quality = Quality::new(levels.brotli_kept).ok()?;
            // 256 KB, which is as long as a body can be here
            let window = WindowSize::new(18).ok()?;
            out = vec![0; brotlic::compress_bound(body.len(), quality)?];
            brotlic::compress(body, &mut out, quality, window, CompressionMode::Generic).ok()?
        }
    };
    out.truncate(made);
    // bounds are a little over the body's length: what is kept should be no larger than it is
    out.shrink_to_fit();
    Some(out)
}
