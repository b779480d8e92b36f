//! Where slugs lie, which trees may be trusted, and how things vanish.
//!
//! Beside a tree lies `<digest>.ok`. It holds a token of the boot in which the tree was written: until the machine
//! stops, the page cache makes such a tree whole. Behind the callers' backs the file system is synced, and then the
//! marker says [`LASTING`] instead. After a power cut in between the marker tells of another boot, or is empty, and the
//! tree is unpacked again from its archive. So nobody waits for 1,500 files to reach the disk.

use anyhow::Context;
use hokku_model::{AppId, release::SlugDigest};
use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

const ARCHIVE: &str = ".tar.zst";
const MARKER: &str = ".ok";
const TEMPORARY: &str = ".tmp";
/// The marker of a tree that is on disk with all its bytes.
const LASTING: &str = "on disk\n";

type Lock = Arc<Mutex<()>>;
type Locks = HashMap<(AppId, SlugDigest), Weak<Mutex<()>>>;

/// The two folders, and a lock for each slug that is being worked on.
#[derive(Debug)]
pub struct Places {
    pub slugs: PathBuf,
    pub releases: PathBuf,
    /// Where the router reads folders that it serves.
    pub public: PathBuf,
    boot: String,
    next: AtomicU64,
    locks: Mutex<Locks>,
}

/// Takes a lock. What it guards is on disk, in one piece at each step, so a holder that panicked harms nothing.
pub fn hold(lock: &Lock) -> MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A path that is gone at the end, unless it was renamed.
pub struct Temporary {
    pub path: PathBuf,
}

impl Temporary {
    pub fn new(path: PathBuf) -> Temporary {
        Temporary { path }
    }
}
impl Drop for Temporary {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Makes a folder's entries last.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Deletes a file or a whole tree, also one with folders that forbid it. A failure is logged.
pub fn remove(path: &Path) {
    let Ok(m) = fs::symlink_metadata(path) else {
        return;
    };
    let done = if m.is_dir() {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                allow(path);
                fs::remove_dir_all(path)
            }
            other => other,
        }
    } else {
        fs::remove_file(path)
    };
    match done {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            tracing::warn!("can't delete {}: {e}", path.display());
        }
        _ => {}
    }
}

fn allow(path: &Path) {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o700));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            entries
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .map(|e| e.path()),
        );
    }
}

/// The entries' names of a folder; none when there is no such folder.
pub(super) fn names(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|e| Ok(e?.file_name())).collect(),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(e),
    }
}

fn digest_of(name: &OsStr, ending: &str) -> Option<SlugDigest> {
    name.to_str()?.strip_suffix(ending)?.parse().ok()
}

impl Places {
    pub fn open(data_dir: &Path) -> anyhow::Result<Places> {
        // Without the kernel's id of this boot no tree of an earlier process is trusted before it is synced.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|b| b.trim().to_owned())
            .unwrap_or_else(|_| {
                format!(
                    "unknown-{:?}-{}",
                    std::time::SystemTime::now(),
                    std::process::id()
                )
            });
        let places = Places {
            slugs: data_dir.join("slugs"),
            releases: data_dir.join("releases"),
            public: data_dir.join("router/files"),
            boot,
            next: AtomicU64::new(0),
            locks: Mutex::default(),
        };
        for folder in [&places.slugs, &places.releases] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)))
                .with_context(|| format!("can't make the folder {}", folder.display()))?;
        }
        places
            .clean()
            .with_context(|| format!("can't clean the slugs in {}", data_dir.display()))?;
        super::public::clean(&places);
        Ok(places)
    }

    fn clean(&self) -> io::Result<()> {
        for app in names(&self.slugs)? {
            let folder = self.slugs.join(app);
            for name in names(&folder)? {
                if name.to_str().is_some_and(|n| n.ends_with(TEMPORARY)) {
                    remove(&folder.join(name));
                }
            }
        }
        for app in names(&self.releases)? {
            let folder = self.releases.join(&app);
            let app: Option<AppId> = app.to_str().and_then(|a| a.parse().ok());
            for name in names(&folder)? {
                let path = folder.join(&name);
                let tree = digest_of(&name, "").or_else(|| digest_of(&name, MARKER));
                match (app, tree) {
                    (Some(app), Some(digest)) if !self.trusted(app, &digest) => {
                        self.drop_tree(app, &digest);
                    }
                    _ if path.extension().is_some_and(|e| e == &TEMPORARY[1..]) => remove(&path),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    pub fn archives(&self, app: AppId) -> PathBuf {
        self.slugs.join(app.to_string())
    }
    pub fn archive(&self, app: AppId, digest: &SlugDigest) -> PathBuf {
        self.archives(app).join(format!("{digest}{ARCHIVE}"))
    }
    pub fn trees(&self, app: AppId) -> PathBuf {
        self.releases.join(app.to_string())
    }
    pub fn tree(&self, app: AppId, digest: &SlugDigest) -> PathBuf {
        self.trees(app).join(digest.as_str())
    }
    /// What a marker says of what was made since this machine started.
    pub fn boot_line(&self) -> String {
        format!("boot {}\n", self.boot)
    }
    fn marker(&self, app: AppId, digest: &SlugDigest) -> PathBuf {
        self.trees(app).join(format!("{digest}{MARKER}"))
    }

    /// A name that [`Places::open`] removes after a crash.
    pub fn temporary(&self, folder: &Path) -> PathBuf {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        folder.join(format!("{}-{n}{TEMPORARY}", std::process::id()))
    }

    /// The lock of one slug.
    pub fn lock(&self, app: AppId, digest: &SlugDigest) -> Lock {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, l| l.strong_count() > 0);
        let slot = locks.entry((app, digest.clone())).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let lock = Lock::default();
            *slot = Arc::downgrade(&lock);
            lock
        })
    }

    /// The slugs of an app that have an archive or a tree.
    pub fn digests(&self, app: AppId) -> BTreeSet<SlugDigest> {
        let archives = names(&self.archives(app)).unwrap_or_default();
        let trees = names(&self.trees(app)).unwrap_or_default();
        archives
            .iter()
            .filter_map(|n| digest_of(n, ARCHIVE))
            .chain(trees.iter().filter_map(|n| digest_of(n, "")))
            .collect()
    }

    /// The tree is there and whole.
    pub fn trusted(&self, app: AppId, digest: &SlugDigest) -> bool {
        let said = fs::read_to_string(self.marker(app, digest)).unwrap_or_default();
        (said == LASTING
            || said.starts_with(&format!("boot {} ", self.boot)) && said.ends_with('\n'))
            && self.tree(app, digest).is_dir()
    }

    fn mark(&self, app: AppId, digest: &SlugDigest, text: &str, lasting: bool) -> io::Result<()> {
        let temporary = Temporary::new(self.temporary(&self.trees(app)));
        let mut file = File::create_new(&temporary.path)?;
        file.write_all(text.as_bytes())?;
        if lasting {
            file.sync_all()?;
        }
        fs::rename(&temporary.path, self.marker(app, digest))
    }

    /// Renames a whole tree to its place and marks it; what was there without trust goes. The caller holds the lock.
    /// The token is for [`Places::make_lasting`].
    pub fn settle(&self, app: AppId, digest: &SlugDigest, tree: &Path) -> anyhow::Result<String> {
        let trees = self.trees(app);
        fs::create_dir_all(&trees)
            .with_context(|| format!("can't make the folder {}", trees.display()))?;
        self.drop_tree(app, digest);
        let place = self.tree(app, digest);
        fs::rename(tree, &place)
            .with_context(|| format!("can't move {} to {}", tree.display(), place.display()))?;
        crate::sys::fault::point("slug-settled");
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let token = format!("boot {} {}-{n}\n", self.boot, std::process::id());
        if let Err(e) = self.mark(app, digest, &token, false) {
            self.drop_tree(app, digest);
            return Err(e).with_context(|| format!("can't write in {}", trees.display()));
        }
        Ok(token)
    }

    /// Syncs the file system, then marks the tree as lasting, if it is still the one that got the token.
    pub fn make_lasting(&self, app: AppId, digest: &SlugDigest, token: &str) -> io::Result<()> {
        rustix::fs::syncfs(File::open(&self.releases)?)?;
        let lock = self.lock(app, digest);
        let _held = hold(&lock);
        if fs::read_to_string(self.marker(app, digest))? != token {
            return Ok(());
        }
        self.mark(app, digest, LASTING, true)
    }

    /// Deletes a tree, its trust first. The caller holds the lock.
    pub fn drop_tree(&self, app: AppId, digest: &SlugDigest) {
        remove(&self.marker(app, digest));
        let tree = self.tree(app, digest);
        let trash = self.temporary(&self.trees(app));
        match fs::rename(&tree, &trash) {
            Ok(()) => remove(&trash),
            Err(_) => remove(&tree),
        }
    }
}
