//! No room.

use super::*;

fn noise(bytes: usize) -> Vec<u8> {
    let mut x = 88_172_645_463_325_252u64;
    (0..bytes)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect()
}

struct Mounted(PathBuf);
impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// On a small file system of its own, where the right to mount one is there.
#[tokio::test]
async fn a_full_disk_refuses_with_numbers_and_leaves_nothing() {
    let outer = tempfile::tempdir().unwrap();
    let mounted = nix::mount::mount(
        Some("tmpfs"),
        outer.path(),
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        Some("size=12m"),
    );
    if let Err(e) = mounted {
        eprintln!(
            "skipped: needs root to mount a small file system ({e}); see the test with a limit on file sizes"
        );
        return;
    }
    let mounted = Mounted(outer.path().to_owned());
    let slugs = Slugs::open(mounted.0.clone()).unwrap();
    let tree = mounted.0.join("tree");
    let build = |bytes| {
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("noise"), noise(bytes)).unwrap();
    };
    // 7 MB of tree leave no room for 7 MB of archive.
    build(7_000_000);
    let e = slugs.store(APP, tree.clone()).await.unwrap_err();
    let text = format!("{e:#}");
    assert!(
        text.starts_with("no room for the slug of 7.0 MB: 5."),
        "{text}"
    );
    assert!(
        text.contains(" MB are free on the file system of ") && text.contains("delete apps"),
        "{text}"
    );
    assert!(
        !tree.exists() && slugs.used() < 100_000,
        "something was left behind"
    );
    // The archive finds room, a second tree does not.
    build(4_000_000);
    let digest = slugs.store(APP, tree.clone()).await.unwrap().digest;
    slugs.places.drop_tree(APP, &digest);
    fs::write(mounted.0.join("ballast"), noise(6_500_000)).unwrap();
    let e = slugs.unpacked(APP, me(), &digest).await.unwrap_err();
    let text = format!("{e:#}");
    assert!(text.starts_with("no room for the unpacked slug"), "{text}");
    assert_eq!(fs::read_dir(slugs.places.trees(APP)).unwrap().count(), 0);
    fs::remove_file(mounted.0.join("ballast")).unwrap();
    slugs.unpacked(APP, me(), &digest).await.unwrap();
}

/// The child of the next test.
#[tokio::test]
#[ignore = "run by a_limit_on_file_sizes_is_a_full_disk"]
async fn limited_child() {
    use nix::sys::{resource, signal};
    let Ok(dir) = std::env::var("HOKKU_TEST_DIR") else {
        return;
    };
    let slugs = Slugs::open(dir.clone().into()).unwrap();
    let tree = Path::new(&dir).join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("noise"), noise(3_000_000)).unwrap();
    // SAFETY: ignoring a signal installs no handler.
    unsafe { signal::signal(signal::Signal::SIGXFSZ, signal::SigHandler::SigIgn) }.unwrap();
    resource::setrlimit(resource::Resource::RLIMIT_FSIZE, 1_000_000, 1_000_000).unwrap();
    let e = slugs.store(APP, tree.clone()).await.unwrap_err();
    assert!(
        format!("{e:#}").starts_with("no room for the slug of 3.0 MB: "),
        "{e:#}"
    );
    assert!(!tree.exists());
    assert_eq!(fs::read_dir(slugs.places.archives(APP)).unwrap().count(), 0);
}

/// Needs no rights.
#[test]
fn a_limit_on_file_sizes_is_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["slug::tests::full::limited_child", "--exact", "--ignored"])
        .env("HOKKU_TEST_DIR", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}
