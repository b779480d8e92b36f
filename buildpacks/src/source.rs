//! What a source tree holds, as far as detection and planning need to know.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

/// The most bytes of one file that is read. Lock files of large apps have a few MiB.
pub const MAX_FILE: u64 = 32 << 20;

/// Files whose text matters to detection or planning.
const READ: &[&str] = &[
    ".buildpacks",
    ".java-version",
    ".node-version",
    ".npmrc",
    ".nvmrc",
    ".pnpmfile.cjs",
    ".python-version",
    ".ruby-version",
    ".sdkmanrc",
    ".tool-versions",
    ".yarnrc",
    ".yarnrc.yml",
    "Cargo.lock",
    "Cargo.toml",
    "Gemfile",
    "Gemfile.lock",
    "Pipfile",
    "Pipfile.lock",
    "Procfile",
    "RustConfig",
    "app.json",
    "build.gradle",
    "build.gradle.kts",
    "bun.lock",
    "bun.lockb",
    "composer.json",
    "composer.lock",
    "go.mod",
    "go.sum",
    "nltk.txt",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "package.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "poetry.lock",
    "pom.xml",
    "pyproject.toml",
    "requirements.txt",
    "runtime.txt",
    "rust-toolchain",
    "rust-toolchain.toml",
    "schema.prisma",
    "static.json",
    "system.properties",
    "uv.lock",
    "yarn.lock",
];

/// A source tree: the paths that exist, and the contents of those that are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    paths: BTreeSet<String>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Source {
    /// Made from paths and texts, for tests.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Source {
        let mut s = Source::default();
        for (path, text) in files {
            for (i, _) in path.match_indices('/') {
                s.paths.insert(path[..i].to_owned());
            }
            s.paths.insert(path.to_owned());
            s.files.insert(path.to_owned(), text.as_bytes().to_vec());
        }
        s
    }

    /// Looks at a tree on disk: the names of the first levels, and the contents of the files that matter.
    ///
    /// # Errors
    /// The folder or one of those files can't be read, or is larger than [`MAX_FILE`].
    pub fn read(root: &Path) -> io::Result<Source> {
        let mut s = Source::default();
        for entry in fs::read_dir(root)? {
            if let Ok(name) = entry?.file_name().into_string() {
                s.paths.insert(name);
            }
        }
        for name in READ
            .iter()
            .filter(|n| s.paths.contains(**n))
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
        {
            if root.join(&name).is_file() {
                s.take(root, &name)?;
            }
        }
        for path in [
            ".heroku/collectstatic_disabled",
            ".mvn/wrapper/maven-wrapper.properties",
            "gradle/wrapper/gradle-wrapper.jar",
            "vendor/autoload.php",
            "vendor/bundle",
            "vendor/cache",
            "vendor/composer",
            "vendor/modules.txt",
            ".heroku/node",
            ".heroku/python",
            "bin/pre_compile",
            "bin/post_compile",
            "public/index.html",
        ] {
            if root.join(path).exists() {
                s.paths.insert(path.into());
            }
        }
        if let Some(p) = find_manage_py(root, 3) {
            s.paths.insert(p);
        }
        for folder in ["patches", "prisma"] {
            s.take_folder(root, folder)?;
        }
        s.take_ruby(root)?;
        s.take_requirements(root)?;
        Ok(s)
    }

    fn take(&mut self, root: &Path, path: &str) -> io::Result<()> {
        let full = root.join(path);
        let len = fs::metadata(&full)?.len();
        if len > MAX_FILE {
            return Err(io::Error::other(format!(
                "{path} has {len} bytes, more than the {MAX_FILE} that are read"
            )));
        }
        self.files.insert(path.to_owned(), fs::read(&full)?);
        self.paths.insert(path.to_owned());
        Ok(())
    }

    fn take_folder(&mut self, root: &Path, folder: &str) -> io::Result<()> {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            return Ok(());
        };
        for entry in entries.take(500) {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                self.take(root, &format!("{folder}/{name}"))?;
            }
        }
        Ok(())
    }

    /// What decides which gems are installed: specifications at the root, and the names of committed gems.
    fn take_ruby(&mut self, root: &Path) -> io::Result<()> {
        if !self.has("Gemfile") {
            return Ok(());
        }
        let specs: Vec<String> = self
            .paths
            .iter()
            .filter(|p| p.ends_with(".gemspec"))
            .cloned()
            .collect();
        for p in specs {
            if root.join(&p).is_file() {
                self.take(root, &p)?;
            }
        }
        let cached = fs::read_dir(root.join("vendor/cache"));
        for entry in cached.into_iter().flatten().flatten().take(5000) {
            if let Ok(name) = entry.file_name().into_string() {
                self.paths.insert(format!("vendor/cache/{name}"));
            }
        }
        Ok(())
    }

    /// Follows `-r other.txt` and `-c constraints.txt`, as far as they lie in the tree.
    fn take_requirements(&mut self, root: &Path) -> io::Result<()> {
        let mut todo = vec!["requirements.txt".to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(path) = todo.pop() {
            if !seen.insert(path.clone()) || seen.len() > 50 {
                continue;
            }
            if path != "requirements.txt" && root.join(&path).is_file() {
                self.take(root, &path)?;
            }
            let Some(text) = self.text(&path) else {
                continue;
            };
            let folder = path.rsplit_once('/').map_or("", |(f, _)| f);
            for inner in crate::python::requirements::read(&text).includes {
                let joined = if folder.is_empty() {
                    inner
                } else {
                    format!("{folder}/{inner}")
                };
                if let Some(p) = normal(&joined) {
                    todo.push(p);
                }
            }
        }
        Ok(())
    }

    /// Does this file or folder exist? Paths below the first level are only known where detection asks for them.
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The bytes of a file that was read.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// The text of a file that was read, wrong bytes replaced.
    pub fn text(&self, path: &str) -> Option<String> {
        self.bytes(path)
            .map(|b| String::from_utf8_lossy(b).into_owned())
    }

    /// All files that were read, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(k, v)| (k.as_str(), v.as_slice()))
    }

    /// All known paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }
}

/// Folds `.` and `..`; `None` when it leads out of the tree.
fn normal(path: &str) -> Option<String> {
    let mut out: Vec<&str> = vec![];
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                out.pop()?;
            }
            p => out.push(p),
        }
    }
    Some(out.join("/"))
}

/// The nearest `manage.py`, at most `depth` levels deep; of two at one level the first by name.
fn find_manage_py(root: &Path, depth: usize) -> Option<String> {
    let mut level = vec![String::new()];
    for _ in 0..depth {
        let mut next = vec![];
        for folder in &level {
            let full = root.join(folder);
            let path = if folder.is_empty() {
                "manage.py".to_owned()
            } else {
                format!("{folder}/manage.py")
            };
            if root.join(&path).is_file() {
                return Some(path);
            }
            for e in fs::read_dir(full).ok()?.flatten() {
                if let (Ok(t), Ok(n)) = (e.file_type(), e.file_name().into_string())
                    && t.is_dir()
                    && !n.starts_with('.')
                    && n != "node_modules"
                {
                    next.push(if folder.is_empty() {
                        n
                    } else {
                        format!("{folder}/{n}")
                    });
                }
            }
        }
        next.sort();
        next.truncate(2000);
        level = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_on_disk() {
        let d = tempfile::tempdir().unwrap();
        let write = |p: &str, t: &str| {
            let f = d.path().join(p);
            fs::create_dir_all(f.parent().unwrap()).unwrap();
            fs::write(f, t).unwrap();
        };
        write("requirements.txt", "-r requirements/base.txt\nflask\n");
        write(
            "requirements/base.txt",
            "-c ../c.txt\n-r ../../etc/passwd\ndjango\n",
        );
        write("c.txt", "x==1");
        write("site/manage.py", "");
        write("bin/post_compile", "");
        write("big/other.txt", "");
        let s = Source::read(d.path()).unwrap();
        assert_eq!(
            s.text("requirements/base.txt").as_deref(),
            Some("-c ../c.txt\n-r ../../etc/passwd\ndjango\n")
        );
        assert_eq!(s.text("c.txt").as_deref(), Some("x==1"));
        assert!(s.has("site/manage.py") && s.has("bin/post_compile") && !s.has("bin/pre_compile"));
        assert!(s.bytes("big/other.txt").is_none() && s.has("big"));
    }
}
