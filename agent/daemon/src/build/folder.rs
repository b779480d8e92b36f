//! The folder of one build: `tree` (becomes the slug), `cache`, `env`, `scratch`, `shim`, `order.json`, `result.json`.

use super::BuildOrder;
use anyhow::Context;
use hokku_buildpacks::{
    order::{Order, Outcome},
    tree::{self, How},
};
use hokku_core::parse::slugignore::Slugignore;
use hokku_model::{AppId, shim::Isolation};
use std::{
    fs,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, lchown},
    path::{Path, PathBuf},
};

/// Where the build's folder appears inside its walls. The tree is there too: hard links do not cross mounts.
pub const INSIDE: &str = "/hokku/build";

/// Never part of a slug (Dev Center "Slug Compiler").
const REMOVED: &[&str] = &[".git", ".gitmodules", ".slugignore"];

/// The most bytes of a result that are read.
const LARGEST_RESULT: u64 = 4 << 20;

/// One build's folder. Removed by the caller of the build.
#[derive(Clone, Debug)]
pub struct Folder {
    dir: PathBuf,
    cache: PathBuf,
    /// For the pusher.
    pub warnings: Vec<String>,
}

/// Where an app's cache is.
pub fn cache(data: &Path, app: AppId) -> PathBuf {
    data.join("cache").join(app.to_string())
}

/// Ends the builds that an earlier agent left running and removes their folders. Their pushers are gone.
pub fn clean(data: &Path) -> anyhow::Result<()> {
    for sub in ["build", "cache"] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data.join(sub))?;
    }
    crate::sys::stop::shims(&data.join("build"))?;
    crate::sys::cgroup::sweep(crate::sys::cgroup::Kind::Build, |_| false);
    for entry in fs::read_dir(data.join("build"))? {
        tree::remove(&entry?.path())?;
    }
    for entry in fs::read_dir(data.join("cache"))? {
        for sub in ["next", "old"] {
            tree::remove(
                &entry
                    .as_ref()
                    .map_err(|e| anyhow::anyhow!("{e}"))?
                    .path()
                    .join(sub),
            )?;
        }
    }
    Ok(())
}

impl Folder {
    /// Lays everything out beside the source, which becomes `tree`.
    ///
    /// # Errors
    /// The disk is full, …; what was made is removed by the caller with the whole folder.
    pub fn lay(data: &Path, order: &BuildOrder) -> anyhow::Result<Folder> {
        let dir = order
            .source
            .parent()
            .context("the source lies nowhere")?
            .to_owned();
        let tree = dir.join("tree");
        fs::rename(&order.source, &tree).context("the source is gone")?;
        let mut warnings = ignore(&tree)?;
        if tree.join(".gitmodules").exists() {
            warnings.push(
                "The repository has submodules: they are not fetched, their folders stay empty."
                    .into(),
            );
        }
        for name in REMOVED {
            tree::remove(&tree.join(name))?;
        }
        for (sub, mode) in [("env", 0o700), ("scratch", 0o700), ("shim", 0o700)] {
            fs::DirBuilder::new()
                .mode(mode)
                .create(dir.join(sub))
                .with_context(|| no_room(&dir))?;
        }
        for (key, value) in &order.env {
            let mut file = fs::OpenOptions::new();
            let mut file = file
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(dir.join("env").join(key))?;
            std::io::Write::write_all(&mut file, value.as_bytes())
                .with_context(|| no_room(&dir))?;
        }
        let cache = cache(data, order.app);
        let current = cache.join("current");
        if current.exists() {
            // Built-in buildpacks never write into a layer of the cache; others may, so they get a copy of their own.
            let builtin = |b: &String| hokku_buildpacks::Builtin::by_name(b).is_some();
            let how = if order.buildpacks.iter().all(builtin) {
                How::Link
            } else {
                How::Copy
            };
            tree::replicate(&current, &dir.join("cache"), how).with_context(|| no_room(&dir))?;
        } else {
            fs::create_dir(dir.join("cache"))?;
        }
        let folder = Folder {
            dir,
            cache,
            warnings,
        };
        if let Isolation::Root { uid } = order.isolation {
            for sub in ["tree", "env", "scratch", "cache"] {
                give(&folder.dir.join(sub), uid)?;
            }
            lchown(&folder.dir, Some(uid), Some(uid))?;
        }
        Ok(folder)
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What becomes the slug.
    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// Writes the order for the driver and says where it finds it.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write_order(&self, mut order: Order, isolation: Isolation) -> anyhow::Result<PathBuf> {
        let inside = |sub: &str| match isolation {
            Isolation::Plain => self.dir.join(sub),
            _ => Path::new(INSIDE).join(sub),
        };
        order.build_dir = if isolation == Isolation::Plain {
            self.tree()
        } else {
            "/app".into()
        };
        order.link_dir = Some(inside("tree"));
        order.cache_dir = inside("cache");
        order.env_dir = inside("env");
        order.scratch = inside("scratch");
        order.result = inside("result.json");
        let file = self.dir.join("order.json");
        fs::write(&file, serde_json::to_vec(&order)?).with_context(|| no_room(&self.dir))?;
        Ok(inside("order.json"))
    }

    /// What the driver left. It ran as the app's user: nothing in it is trusted but its shape, and a link is not
    /// followed.
    pub fn outcome(&self) -> Option<Outcome> {
        let path = self.dir.join("result.json");
        let meta = fs::symlink_metadata(&path).ok()?;
        if !meta.is_file() || meta.len() > LARGEST_RESULT {
            return None;
        }
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// The build succeeded: its cache is the app's from now on. A crash between the two renames loses a cache, which
    /// costs time and nothing else.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn commit_cache(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.cache)?;
        let [next, current, old] = ["next", "current", "old"].map(|n| self.cache.join(n));
        tree::remove(&next)?;
        tree::remove(&old)?;
        fs::rename(self.dir.join("cache"), &next)?;
        if current.exists() {
            fs::rename(&current, &old)?;
        }
        fs::rename(&next, &current)?;
        std::thread::spawn(move || tree::remove(&old));
        Ok(())
    }
}

/// Removes what `.slugignore` names.
fn ignore(root: &Path) -> anyhow::Result<Vec<String>> {
    let Ok(text) = fs::read_to_string(root.join(".slugignore")) else {
        return Ok(vec![]);
    };
    let patterns = Slugignore::parse(&text);
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let is_folder = entry.file_type()?.is_dir();
            let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) else {
                continue;
            };
            if patterns.matches(name, is_folder) {
                tree::remove(&path)?;
            } else if is_folder {
                folders.push(path);
            }
        }
    }
    Ok(patterns
        .warnings
        .iter()
        .map(|w| format!(".slugignore line {}: {}", w.line, w.text))
        .collect())
}

/// Makes the user the owner of everything below, following no link.
fn give(path: &Path, uid: u32) -> anyhow::Result<()> {
    lchown(path, Some(uid), Some(uid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), uid)?;
        }
    }
    Ok(())
}

fn no_room(dir: &Path) -> String {
    match nix::sys::statvfs::statvfs(dir) {
        Ok(s) if s.blocks_available() * s.fragment_size() < 1 << 20 => {
            "the disk is full: delete old releases or make it larger".into()
        }
        _ => format!("can't write to {}", dir.display()),
    }
}
