//! Slugs on real folders: round trips, damage, attacks, full disks, callers at once.

mod attack;
mod budget;
mod crash;
mod full;
mod public;
mod random;
mod round;
mod speed;

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStrExt};
use tempfile::TempDir;

const APP: AppId = AppId(1);

/// What counts of an entry: permissions and content, the target of a symlink.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Seen {
    Folder(u32),
    File(u32, Vec<u8>),
    Link(OsString),
}

fn look(root: &Path) -> BTreeMap<OsString, Seen> {
    fn walk(root: &Path, folder: &Path, seen: &mut BTreeMap<OsString, Seen>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let m = fs::symlink_metadata(&path).unwrap();
            let mode = m.mode() & 0o7777;
            let what = if m.is_dir() {
                walk(root, &path, seen);
                Seen::Folder(mode)
            } else if m.is_symlink() {
                Seen::Link(fs::read_link(&path).unwrap().into())
            } else {
                Seen::File(mode, fs::read(&path).unwrap())
            };
            seen.insert(path.strip_prefix(root).unwrap().as_os_str().into(), what);
        }
    }
    let mut seen = BTreeMap::new();
    walk(root, root, &mut seen);
    seen
}

struct Disk {
    dir: TempDir,
    slugs: Slugs,
}

fn disk() -> Disk {
    let dir = tempfile::tempdir().unwrap();
    let slugs = Slugs::pausing(dir.path(), Duration::ZERO).unwrap();
    Disk { dir, slugs }
}

impl Disk {
    fn tree(&self, name: &str) -> PathBuf {
        let tree = self.dir.path().join("builds").join(name);
        fs::create_dir_all(&tree).unwrap();
        tree
    }
    fn write(&self, tree: &Path, path: &str, content: &[u8], mode: u32) {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    /// A small slug of one file.
    async fn small(&self, app: AppId, content: &str) -> SlugDigest {
        let tree = self.tree(content);
        self.write(&tree, "file", content.as_bytes(), 0o644);
        self.slugs.store(app, tree).await.unwrap().digest
    }
    fn archive(&self, app: AppId, digest: &SlugDigest) -> PathBuf {
        self.slugs.places.archive(app, digest)
    }
    fn drop_tree(&self, app: AppId, digest: &SlugDigest) {
        let places = &self.slugs.places;
        // what makes a stored slug lasting in the background takes it too
        let lock = places.lock(app, digest);
        let _held = super::place::hold(&lock);
        places.drop_tree(app, digest);
    }
    async fn unpack(&self, app: AppId, digest: &SlugDigest) -> anyhow::Result<PathBuf> {
        self.slugs.unpacked(app, me(), digest).await
    }
    /// Nothing half-written stays, once what runs in the background is done.
    async fn assert_clean(&self) {
        until("no half-written file is there", || {
            ["slugs", "releases"].into_iter().all(|folder| {
                fs::read_dir(self.dir.path().join(folder))
                    .unwrap()
                    .flat_map(|app| fs::read_dir(app.unwrap().path()).unwrap())
                    .all(|e| !e.unwrap().file_name().as_bytes().ends_with(b".tmp"))
            })
        })
        .await;
    }
    /// Waits for the work in the background.
    async fn lasting(&self, app: AppId, digest: &SlugDigest) {
        let marker = self.slugs.places.trees(app).join(format!("{digest}.ok"));
        until("the tree is synced", || {
            fs::read_to_string(&marker).unwrap() == "on disk\n"
        })
        .await;
        self.assert_clean().await;
    }
}

fn me() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Waits until something holds; fails after 10 seconds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 30, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
