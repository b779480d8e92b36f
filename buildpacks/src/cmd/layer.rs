//! Installed dependencies, kept by key: a build whose key is known links the files in place and installs nothing.
//!
//! `CACHE_DIR/layers/<name>-<key>/` holds `tree/`, never changed after it was stored, and `seal`, the fingerprint of
//! `tree/`: whatever wrote into a linked file spoils the seal, and the layer is not used again.

use super::context::Context;
use hokku_buildpacks::tree::{self, How};
use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How many layers of one name are kept, so that going back one commit is fast too.
const KEPT: usize = 2;

/// One layer: a name and a key.
pub struct Layer {
    dir: PathBuf,
    all: PathBuf,
    name: String,
}

/// A key over named parts.
pub fn key<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut h = blake3::Hasher::new();
    for (name, bytes) in parts {
        for b in [name.as_bytes(), bytes] {
            h.update(&(b.len() as u64).to_le_bytes());
            h.update(b);
        }
    }
    h.finalize().to_hex()[..32].to_owned()
}

impl Layer {
    /// The layer of this name and key, there or not.
    pub fn new(context: &Context, name: &str, key: &str) -> Layer {
        let all = context.cache.join("layers");
        Layer {
            dir: all.join(format!("{name}-{key}")),
            all,
            name: name.to_owned(),
        }
    }

    /// Is it there?
    pub fn exists(&self) -> bool {
        self.dir.join("seal").is_file()
    }

    /// Puts the layer at `to` (which must not exist). `false`: it was not there, or spoiled; nothing is at `to` then.
    ///
    /// # Errors
    /// The disk's.
    pub fn restore(&self, to: &Path, how: How) -> anyhow::Result<bool> {
        let Ok(seal) = fs::read_to_string(self.dir.join("seal")) else {
            return Ok(false);
        };
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        let seen = tree::replicate(&self.dir.join("tree"), to, how)?;
        if format!("{:016x}", seen.fingerprint) != seal.trim() {
            tree::remove(to)?;
            tree::remove(&self.dir)?;
            return Ok(false);
        }
        // its age decides what is kept
        fs::File::open(&self.dir)?.set_modified(SystemTime::now())?;
        Ok(true)
    }

    /// Stores what is at `from` under the key and drops the oldest layers of this name.
    ///
    /// # Errors
    /// The disk's.
    pub fn store(&self, from: &Path, how: How) -> anyhow::Result<()> {
        let tmp = self.all.join(format!("tmp-{}", std::process::id()));
        tree::remove(&tmp)?;
        tree::remove(&self.dir)?;
        fs::create_dir_all(&tmp)?;
        let at = tmp.join("tree");
        let mut seen = tree::replicate(from, &at, how)?;
        if seen.copied > 0 {
            seen = tree::look(&at)?;
        }
        fs::write(tmp.join("seal"), format!("{:016x}\n", seen.fingerprint))?;
        fs::rename(&tmp, &self.dir)?;
        self.drop_oldest()
    }

    fn drop_oldest(&self) -> anyhow::Result<()> {
        let mut mine = vec![];
        for e in fs::read_dir(&self.all)?.flatten() {
            let name = e.file_name().to_string_lossy().into_owned();
            if name
                .strip_prefix(&format!("{}-", self.name))
                .is_some_and(|k| !k.contains('-'))
            {
                mine.push((e.metadata()?.modified()?, e.path()));
            }
        }
        mine.sort();
        for (_, path) in mine.iter().rev().skip(KEPT) {
            tree::remove(path)?;
        }
        Ok(())
    }
}
