//! What a crash or a power cut leaves.

use super::*;

#[tokio::test]
async fn half_written_leftovers_go_at_start_and_whole_things_stay() {
    let disk = disk();
    let digest = disk.small(APP, "one").await;
    let (archives, trees) = (
        disk.slugs.places.archives(APP),
        disk.slugs.places.trees(APP),
    );
    fs::write(archives.join("12-3.tmp"), "half").unwrap();
    fs::create_dir_all(trees.join("12-4.tmp/d")).unwrap();
    fs::write(trees.join("12-5.tmp"), "boot").unwrap();
    let unmarked = "1".repeat(64);
    fs::create_dir_all(trees.join(&unmarked)).unwrap();
    let orphan = format!("{}.ok", "2".repeat(64));
    fs::write(trees.join(&orphan), "on disk\n").unwrap();
    let slugs = Slugs::open(disk.dir.path().to_owned()).unwrap();
    disk.assert_clean().await;
    assert!(!trees.join(unmarked).exists() && !trees.join(orphan).exists());
    let tree = trees.join(digest.as_str());
    let inode = fs::metadata(&tree).unwrap().ino();
    assert_eq!(slugs.unpacked(APP, me(), &digest).await.unwrap(), tree);
    assert_eq!(
        fs::metadata(&tree).unwrap().ino(),
        inode,
        "it was unpacked again"
    );
}

#[tokio::test]
async fn the_folders_are_for_the_agent_alone() {
    let disk = disk();
    for folder in ["slugs", "releases"] {
        let m = fs::metadata(disk.dir.path().join(folder)).unwrap();
        assert_eq!(m.mode() & 0o777, 0o700);
    }
}

#[tokio::test]
async fn a_tree_of_another_boot_is_trusted_only_once_synced() {
    let disk = disk();
    let digest = disk.small(APP, "one").await;
    let marker = disk.slugs.places.trees(APP).join(format!("{digest}.ok"));
    disk.lasting(APP, &digest).await;
    let file = disk.slugs.places.tree(APP, &digest).join("file");
    // Whole after a reboot: it stays.
    fs::write(&file, "from before").unwrap();
    drop(Slugs::open(disk.dir.path().to_owned()).unwrap());
    disk.unpack(APP, &digest).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "from before");
    // Cut off before the sync, or the marker lost its bytes: made again.
    for said in [
        "boot 00000000-0000-0000-0000-000000000000 1-1\n",
        "",
        "on di",
    ] {
        fs::write(&file, "torn").unwrap();
        fs::write(&marker, said).unwrap();
        disk.unpack(APP, &digest).await.unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "one", "{said:?}");
        disk.lasting(APP, &digest).await;
    }
    fs::write(&marker, "").unwrap();
    let slugs = Slugs::open(disk.dir.path().to_owned()).unwrap();
    assert!(!file.exists(), "opening drops what can't be trusted");
    slugs.unpacked(APP, me(), &digest).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
}

#[tokio::test]
async fn a_late_sync_vouches_for_no_other_tree() {
    let disk = disk();
    let digest = disk.small(APP, "one").await;
    let places = &disk.slugs.places;
    let marker = places.trees(APP).join(format!("{digest}.ok"));
    disk.lasting(APP, &digest).await;
    fs::write(&marker, "boot of a tree made later\n").unwrap();
    places
        .make_lasting(APP, &digest, "boot of the tree before\n")
        .unwrap();
    assert_eq!(
        fs::read_to_string(&marker).unwrap(),
        "boot of a tree made later\n"
    );
}

/// The child of the next test: stores, and dies at the point that the environment names.
#[tokio::test]
#[ignore = "run by the_agent_can_die_at_any_point"]
async fn dying_child() {
    let Ok(dir) = std::env::var("HOKKU_TEST_DIR") else {
        return;
    };
    let slugs = Slugs::open(dir.clone().into()).unwrap();
    let tree = Path::new(&dir).join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "one").unwrap();
    let _ = slugs.store(APP, tree).await;
}

#[tokio::test]
async fn the_agent_can_die_at_any_point() {
    use std::os::unix::process::ExitStatusExt;
    let reference = disk();
    let digest = reference.small(APP, "one").await;
    for point in ["slug-archived", "slug-settled"] {
        let disk = disk();
        let dir = disk.dir.path();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["slug::tests::crash::dying_child", "--exact", "--ignored"])
            .env("HOKKU_TEST_DIR", dir)
            .env("HOKKU_FAULT", point)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{point}: {status}");
        let slugs = Slugs::open(dir.to_owned()).unwrap();
        disk.assert_clean().await;
        assert!(!slugs.places.tree(APP, &digest).exists(), "{point}");
        let tree = slugs.unpacked(APP, me(), &digest).await.unwrap();
        assert_eq!(
            fs::read_to_string(tree.join("file")).unwrap(),
            "one",
            "{point}"
        );
    }
}
