//! The folders that `hokku.toml` tells the router to serve: are they in what the build made?

use std::{fs, path::Path};

/// Checks each folder, relative to `tree`: a folder, with no link on the way to it, so that nothing outside the release
/// can be meant.
///
/// # Errors
/// In words, with the folder's name.
pub fn check(tree: &Path, roots: &[String]) -> Result<(), String> {
    for root in roots {
        let mut at = tree.to_owned();
        for part in Path::new(root).components() {
            at.push(part);
            let named = at.strip_prefix(tree).unwrap_or(&at).display();
            let meta = fs::symlink_metadata(&at).map_err(|_| {
                format!(
                    "hokku.toml says files = {root:?}, and the build left no folder {named}.\n\
                     It has to be in the repository or be made by the build, and .slugignore must not name it."
                )
            })?;
            if meta.is_symlink() {
                return Err(format!(
                    "hokku.toml says files = {root:?}, and {named} is a symbolic link.\n\
                     The router serves a folder of the release only: commit the folder itself, or name the one it leads to."
                ));
            }
            if !meta.is_dir() {
                return Err(format!(
                    "hokku.toml says files = {root:?}, and {named} is a file.\nName the folder that holds it."
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_release_only() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("dist/public")).unwrap();
        fs::write(tree.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", tree.join("out")).unwrap();
        std::os::unix::fs::symlink("dist", tree.join("link")).unwrap();
        let check = |root: &str| check(&tree, &[root.to_owned()]);
        assert_eq!(check("dist/public"), Ok(()));
        for (root, why) in [
            ("dist/none", "left no folder dist/none"),
            ("file", "file is a file"),
            ("file/x", "file is a file"),
            ("out", "out is a symbolic link"),
            ("out/ssl", "out is a symbolic link"),
            ("link/public", "link is a symbolic link"),
        ] {
            let e = check(root).unwrap_err();
            assert!(e.contains(why) && e.contains(&format!("{root:?}")), "{e}");
        }
    }
}
