//! `app.json` of a checked-out source.

use super::source;
use hokku_core::parse::app_json::{MAX_BYTES, NAME, parse};
use hokku_model::health::AppJson;
use std::path::Path;

/// Reads what the source says, and what the pusher is to be told about it; nothing when it has no such file.
///
/// # Errors
/// For the pusher, in Heroku's form (` !     …`), with line ends: what is wrong, and where.
pub(super) async fn read(source: &Path) -> Result<(AppJson, String), String> {
    let Some(bytes) = source::read(source, NAME, MAX_BYTES).await? else {
        return Ok(Default::default());
    };
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
