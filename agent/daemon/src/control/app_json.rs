//! `app.json` of a checked-out source.

use hokku_core::parse::app_json::{MAX_BYTES, NAME, parse};
use hokku_model::health::AppJson;
use std::path::Path;
use tokio::io::AsyncReadExt;

/// Reads what the source says, and what the pusher is to be told about it; nothing when it has no such file.
///
/// # Errors
/// For the pusher, in Heroku's form (` !     …`), with line ends: what is wrong, and where.
pub(super) async fn read(source: &Path) -> Result<(AppJson, String), String> {
    let path = source.join(NAME);
    let bad = |why: &str| Err(format!(" !     {NAME} {why}\n !\n"));
    match tokio::fs::symlink_metadata(&path).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(e) => return bad(&format!("can't be read: {e}.")),
        Ok(meta) if !meta.is_file() => {
            return bad("is no file. Commit the file itself, not a link or a folder.");
        }
        Ok(_) => {}
    }
    let mut bytes = vec![];
    let read = async {
        let file = tokio::fs::File::open(&path).await?;
        let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
        file.take(most).read_to_end(&mut bytes).await
    };
    if let Err(e) = read.await {
        return bad(&format!("can't be read: {e}."));
    }
    let lines = |all: &[String]| -> String {
        let line = |text: &String| match text.starts_with(NAME) {
            true => format!(" !     {text}\n"),
            false => format!(" !     {NAME}: {text}\n"),
        };
        all.iter().map(line).collect()
    };
    match parse(&bytes) {
        Ok(parsed) => Ok((parsed.app, lines(&parsed.warnings))),
        Err(faults) => Err(format!("{} !\n", lines(&faults))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_pusher_reads() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        assert_eq!(read(dir.path()).await, Ok(Default::default()));
        std::fs::write(
            &file,
            r#"{"healthchecks": {"web": [{"type": "startup", "timeout": "5s"}]}}"#,
        )
        .unwrap();
        assert_eq!(
            read(dir.path()).await.unwrap_err(),
            " !     app.json: healthchecks.web[0].timeout has to be a number of seconds from 0.001 to 3600, not text.\n !\n"
        );
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        let e = read(dir.path()).await.unwrap_err();
        assert!(e.contains("is no file") && !e.contains("root:"), "{e}");
    }
}
