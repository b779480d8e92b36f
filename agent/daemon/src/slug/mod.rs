//! Slugs on the local disk, named by their content.
//!
//! What it does: packs a built tree into `slugs/<app>/<digest>.tar.zst`, keeps it unpacked at `releases/<app>/<digest>`,
//! unpacks it again when that is gone, lays folders of it out for the router (`public`), measures and deletes.
//! What it never does: decide which release runs, look into a build, share files between two apps.
//! Who calls it: `build` stores, `control` asks for trees and deletes. Where its tests are: `tests/`.
//!
//! What a power cut leaves: an archive is on disk, with its folder, before it has its name. A tree is not synced file
//! by file; beside it lies a marker, see [`place`], and a tree without a marker that can be trusted is made again.

mod fault;
mod measure;
mod pack;
mod place;
mod public;
mod unpack;

#[cfg(test)]
mod tests;

use anyhow::Context;
use hokku_model::{AppId, release::SlugDigest};
use place::Places;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Before a new tree is synced: the release that waits for it comes first, and the kernel writes meanwhile.
const PAUSE: Duration = Duration::from_secs(10);

/// What [`Slugs::store`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The slug's name.
    pub digest: SlugDigest,
    /// Bytes of the compressed archive.
    pub size: u64,
}

/// The slugs of one node. Clones are handles to the same folder.
#[derive(Clone, Debug)]
pub struct Slugs {
    places: Arc<Places>,
    pause: Duration,
}

impl Slugs {
    /// Makes `slugs/` and `releases/` in the data folder, for their owner only, and removes what a crash or a power cut
    /// left half written. No other process may use these folders.
    ///
    /// # Errors
    /// A folder can't be made, read or cleaned.
    pub fn open(data_dir: PathBuf) -> anyhow::Result<Slugs> {
        Slugs::pausing(&data_dir, PAUSE)
    }

    fn pausing(data_dir: &Path, pause: Duration) -> anyhow::Result<Slugs> {
        Ok(Slugs {
            places: Arc::new(Places::open(data_dir)?),
            pause,
        })
    }

    /// Packs a built tree and keeps it: the archive is on disk when this returns. The tree is taken in every case, also
    /// when this fails. It should lie on the file system of the data folder, and nothing may write to it any more.
    ///
    /// Kept are names, contents, permissions and symlinks. Not kept are owners, times, extended attributes, setuid and
    /// setgid bits, and that two names are one file; sockets, pipes and devices are left out with a line in the log.
    ///
    /// # Errors
    /// No room (with numbers), a file can't be read, or its path is too long.
    pub async fn store(&self, app: AppId, tree: PathBuf) -> anyhow::Result<Stored> {
        let slugs = self.clone();
        blocking(move || {
            let stored = slugs.store_now(app, &tree);
            if stored.is_err() {
                place::remove(&tree);
            }
            stored
        })
        .await
    }

    fn store_now(&self, app: AppId, tree: &Path) -> anyhow::Result<Stored> {
        let begun = Instant::now();
        let places = &self.places;
        let archives = places.archives(app);
        fs::create_dir_all(&archives)
            .with_context(|| format!("can't make the folder {}", archives.display()))?;
        let room = measure::free(&archives);
        let temporary = place::Temporary::new(places.temporary(&archives));
        let made = (|| {
            let file = File::create_new(&temporary.path)
                .with_context(|| format!("can't write {}", temporary.path.display()))?;
            let (digest, file) = pack::pack(tree, file)?;
            file.sync_all()
                .with_context(|| format!("can't write {}", temporary.path.display()))?;
            Ok((digest, file.metadata()?.len()))
        })();
        let (digest, size) = made.map_err(|e: anyhow::Error| {
            fault::explain(e, &archives, room, || {
                format!("the slug of {}", fault::megabytes(measure::content(tree)))
            })
        })?;
        let lock = places.lock(app, &digest);
        let _held = place::hold(&lock);
        // An archive of this name is replaced: the same content pushed again heals a damaged one.
        let archive = places.archive(app, &digest);
        fs::rename(&temporary.path, &archive)
            .and_then(|()| place::sync_folder(&archives))
            .and_then(|()| place::sync_folder(archives.parent().unwrap_or(&archives)))
            .with_context(|| format!("can't write {}", archive.display()))?;
        crate::sys::fault::point("slug-archived");
        let surplus = if places.trusted(app, &digest) {
            Some(tree.to_owned())
        } else {
            match places.settle(app, &digest, tree) {
                Ok(token) => {
                    self.sync_later(app, &digest, token);
                    None
                }
                Err(e) => {
                    tracing::warn!(%app, slug = %digest, "the built tree is not kept, it will be unpacked: {e:#}");
                    Some(tree.to_owned())
                }
            }
        };
        if let Some(tree) = surplus {
            let trash = places.temporary(&places.trees(app));
            let trash = match fs::rename(&tree, &trash) {
                Ok(()) => trash,
                Err(_) => tree,
            };
            in_background(move || place::remove(&trash));
        }
        tracing::debug!(%app, slug = %digest, size, ms = begun.elapsed().as_millis() as u64, "slug stored");
        Ok(Stored { digest, size })
    }

    /// The folder of a slug's unpacked tree; unpacks the archive when it is missing, for the user `uid` when the agent
    /// is root. Callers at once unpack once. The tree is shared by all dynos of the slug: nobody may write to it.
    ///
    /// # Errors
    /// The slug is not on this node, is damaged (R17), or there is no room; then nothing is left behind.
    pub async fn unpacked(
        &self,
        app: AppId,
        uid: u32,
        digest: &SlugDigest,
    ) -> anyhow::Result<PathBuf> {
        let (slugs, digest) = (self.clone(), digest.clone());
        blocking(move || slugs.unpacked_now(app, uid, &digest)).await
    }

    fn unpacked_now(&self, app: AppId, uid: u32, digest: &SlugDigest) -> anyhow::Result<PathBuf> {
        let places = &self.places;
        let lock = places.lock(app, digest);
        let _held = place::hold(&lock);
        let tree = places.tree(app, digest);
        if places.trusted(app, digest) {
            return Ok(tree);
        }
        let begun = Instant::now();
        let trees = places.trees(app);
        fs::create_dir_all(&trees)
            .with_context(|| format!("can't make the folder {}", trees.display()))?;
        let archive = places.archive(app, digest);
        let room = measure::free(&trees);
        let temporary = place::Temporary::new(places.temporary(&trees));
        let owner = nix::unistd::geteuid().is_root().then_some(uid);
        unpack::unpack(&archive, &temporary.path, owner, digest).map_err(|e| {
            fault::explain(e, &trees, room, || {
                let size = measure::content(&temporary.path);
                format!(
                    "the unpacked slug {digest}, of which {} were written",
                    fault::megabytes(size)
                )
            })
        })?;
        let token = places
            .settle(app, digest, &temporary.path)
            .with_context(|| format!("can't unpack the slug {digest}"))?;
        self.sync_later(app, digest, token);
        tracing::info!(%app, slug = %digest, ms = begun.elapsed().as_millis() as u64, "slug unpacked");
        Ok(tree)
    }

    fn sync_later(&self, app: AppId, digest: &SlugDigest, token: String) {
        let (places, digest, pause) = (self.places.clone(), digest.clone(), self.pause);
        in_background(move || {
            std::thread::sleep(pause);
            if let Err(e) = places.make_lasting(app, &digest, &token) {
                tracing::debug!(%app, slug = %digest, "the tree will be unpacked anew after a reboot: {e}");
            }
        });
    }

    /// Lays a folder of the slug out where the router can read it, unpacking the slug if need be. `root` is relative to
    /// the release, as `public` or `web/dist`, or `.` for all of it. Returns the path for [`hokku_model::routing::Files`]
    /// in the router's table: relative to the router's own folder, which is its working directory. Done once, it is only
    /// looked up; after a reboot it is done again. It goes when the slug is deleted.
    ///
    /// # Errors
    /// The release has no such folder, the slug can't be unpacked (as [`Slugs::unpacked`]), there is no room.
    pub async fn publish(
        &self,
        app: AppId,
        uid: u32,
        digest: &SlugDigest,
        root: &str,
    ) -> anyhow::Result<String> {
        let (slugs, digest, root) = (self.clone(), digest.clone(), root.to_owned());
        blocking(move || {
            slugs.unpacked_now(app, uid, &digest)?;
            let lock = slugs.places.lock(app, &digest);
            let _held = place::hold(&lock);
            public::publish(&slugs.places, app, &digest, &root)
        })
        .await
    }

    /// Bytes that archives and trees of all apps take on disk; a file with several names counts once. Blocking.
    pub fn used(&self) -> u64 {
        let mut seen = measure::Seen::default();
        measure::on_disk(&self.places.slugs, &mut seen)
            + measure::on_disk(&self.places.releases, &mut seen)
    }

    /// Bytes that are free for the agent on the file system of the slugs. Blocking. 0 when it can't be asked.
    pub fn free(&self) -> u64 {
        measure::free(&self.places.slugs)
    }

    /// Deletes a slug's archive and tree; no dyno may run from it. Blocking; a failure is logged.
    pub fn delete(&self, app: AppId, digest: &SlugDigest) {
        let lock = self.places.lock(app, digest);
        let _held = place::hold(&lock);
        public::withdraw(&self.places, app, digest);
        place::remove(&self.places.archive(app, digest));
        self.places.drop_tree(app, digest);
    }

    /// Deletes all slugs of an app. Blocking; a failure is logged.
    pub fn forget(&self, app: AppId) {
        for digest in self.places.digests(app) {
            self.delete(app, &digest);
        }
        place::remove(&self.places.public.join(app.to_string()));
        place::remove(&self.places.archives(app));
        place::remove(&self.places.trees(app));
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("the work on a slug was broken off")?
}

/// On a thread that nobody waits for, not even the end of the agent.
fn in_background(work: impl FnOnce() + Send + 'static) {
    let started = std::thread::Builder::new().name("slug".into()).spawn(work);
    if let Err(e) = started {
        tracing::warn!("can't start a thread to tidy up after a slug: {e}");
    }
}
