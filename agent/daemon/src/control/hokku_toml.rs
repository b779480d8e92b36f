//! `hokku.toml` of a checked-out source.

use super::source;
use hokku_core::parse::hokku_toml::{MAX_BYTES, NAME, parse_bytes};
use hokku_model::said::Said;
use std::path::Path;

/// Reads what the source says; nothing when it has no such file.
///
/// # Errors
/// For the pusher, in Heroku's form (` !     …`), with line ends: what is wrong, where, and what to do.
pub(super) async fn read(source: &Path) -> Result<Said, String> {
    let Some(bytes) = source::read(source, NAME, MAX_BYTES).await? else {
        return Ok(Said::default());
    };
    parse_bytes(&bytes).map_err(|faults| {
        let text = faults.render(NAME);
        let lines = text
            .lines()
            .map(|line| format!(" !     {line}").trim_end().to_owned() + "\n");
        lines.chain([" !\n".to_owned()]).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_pusher_reads() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        assert!(read(dir.path()).await.unwrap().is_empty());
        std::fs::write(&file, "[routing]\ntimeout = \"1m\"\n").unwrap();
        assert_eq!(read(dir.path()).await.unwrap().app.len(), 1);
        std::fs::write(&file, "[routing]\ntimeout = 60\n").unwrap();
        assert_eq!(
            read(dir.path()).await.unwrap_err(),
            " !     hokku.toml:2:11: timeout can't be a number
 !       2 | timeout = 60
 !         |           ^^
 !         = Write a duration with its unit (ms, s, m, h, d), in quotes: \"30s\", \"1m30s\".
 !
"
        );
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        let e = read(dir.path()).await.unwrap_err();
        assert!(e.contains("is no file") && !e.contains("root:"), "{e}");
    }
}
