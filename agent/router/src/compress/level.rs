//! How hard, for each of the settings and each moment.

use hokku_model::routing::Compress;

/// The levels of one setting.
#[derive(Debug)]
pub(super) struct Levels {
    /// Grows with the effort. What was made at a lower one is made again for a higher one.
    pub grade: u8,
    /// While the client waits (libdeflate's scale, zstd's).
    pub gzip: i32,
    pub zstd: i32,
    /// Piece by piece, while the client waits (zlib's scale, zstd's). zlib's level 1 makes bodies a quarter larger than 2.
    pub gzip_stream: u32,
    pub zstd_stream: i32,
    /// For a body that came before, in the background: it will be sent as made now for as long as it comes.
    pub gzip_kept: i32,
    pub zstd_kept: i32,
    pub brotli_kept: u8,
}

static FAST: Levels = Levels {
    grade: 1,
    gzip: 1,
    zstd: 1,
    gzip_stream: 2,
    zstd_stream: 1,
    gzip_kept: 6,
    zstd_kept: 6,
    brotli_kept: 5,
};
static BALANCED: Levels = Levels {
    grade: 2,
    gzip_kept: 9,
    zstd_kept: 12,
    brotli_kept: 7,
    ..FAST
};
static SMALL: Levels = Levels {
    grade: 3,
    gzip: 5,
    zstd: 5,
    gzip_stream: 6,
    zstd_stream: 4,
    gzip_kept: 12,
    zstd_kept: 19,
    brotli_kept: 9,
};

impl Levels {
    /// The levels of a setting; an app that switched compression off is not compressed at all.
    pub fn of(setting: Compress) -> &'static Levels {
        match setting {
            Compress::Off | Compress::Fast => &FAST,
            Compress::Balanced => &BALANCED,
            Compress::Small => &SMALL,
        }
    }
}
