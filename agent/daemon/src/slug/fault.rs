//! What failures say to their reader.

use std::{io, path::Path};

/// Bytes as megabytes, as people write them.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A disk, a quota or a limit on file sizes is full.
fn is_full(e: &anyhow::Error) -> bool {
    e.chain()
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .any(|e| {
            matches!(
                e.raw_os_error(),
                Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG)
            )
        })
}

/// Puts numbers over a failure for lack of room. `free` are the bytes that were free before.
pub fn explain(
    e: anyhow::Error,
    folder: &Path,
    free: u64,
    what: impl FnOnce() -> String,
) -> anyhow::Error {
    if !is_full(&e) {
        return e;
    }
    let text = format!(
        "no room for {}: {} are free on the file system of {}; delete apps or old releases, lower `slugs` under [retain] \
         in the settings, or enlarge the disk",
        what(),
        megabytes(free),
        folder.display()
    );
    e.context(text)
}
