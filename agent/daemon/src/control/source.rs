//! Files of a checked-out source that say how the app is to be handled: `app.json`, `hokku.toml`.

use std::{io::ErrorKind, path::Path};
use tokio::io::AsyncReadExt;

/// Reads such a file from the source's top folder: at most one byte more than `most`, so that its parser can tell that it
/// is too long. `None`: there is no such file.
///
/// # Errors
/// For the pusher, in Heroku's form (` !     …`), with line ends: it can't be read, or is no plain file.
pub(super) async fn read(
    source: &Path,
    name: &str,
    most: usize,
) -> Result<Option<Vec<u8>>, String> {
    let path = source.join(name);
    let bad = |why: &str| Err(format!(" !     {name} {why}\n !\n"));
    match tokio::fs::symlink_metadata(&path).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return bad(&format!("can't be read: {e}.")),
        Ok(meta) if !meta.is_file() => {
            return bad("is no file. Commit the file itself, not a link or a folder.");
        }
        Ok(_) => {}
    }
    let mut bytes = vec![];
    let read = async {
        let file = tokio::fs::File::open(&path).await?;
        let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most).read_to_end(&mut bytes).await
    };
    match read.await {
        Ok(_) => Ok(Some(bytes)),
        Err(e) => bad(&format!("can't be read: {e}.")),
    }
}
