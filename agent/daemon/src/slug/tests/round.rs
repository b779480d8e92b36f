//! What goes in comes out.

use super::*;
use std::os::unix::fs::symlink;

fn sample(disk: &Disk, name: &str, backwards: bool) -> PathBuf {
    let tree = disk.tree(name);
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let big: Vec<u8> = (0..700_000u32).flat_map(|i| i.to_le_bytes()).collect();
    let mut files: Vec<(&str, &[u8], u32)> = vec![
        ("Procfile", b"web: x\n", 0o644),
        ("bin/run", b"#!/bin/sh\n", 0o755),
        ("bin/.hidden", b"", 0o600),
        ("sch\u{f6}n/\u{1f98a} file", b"fox", 0o444),
        ("read only/file", b"r", 0o640),
        ("exactly", &[7; 512], 0o644),
        ("big", &big, 0o644),
        (&long, b"long", 0o644),
    ];
    if backwards {
        files.reverse();
    }
    for (path, content, mode) in files {
        disk.write(&tree, path, content, mode);
    }
    for folder in ["empty", "empty/er", "sticky"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    fs::write(tree.join(std::ffi::OsStr::from_bytes(b"not\xffutf8")), "x").unwrap();
    let deep = "../".repeat(60) + "x";
    for (name, target) in [
        ("absolute", "/etc/passwd"),
        ("odd", "./a/../b//c/"),
        ("dangling", "no\u{e9}"),
        ("deep", deep.as_str()),
    ] {
        symlink(target, tree.join(name)).unwrap();
    }
    for (path, mode) in [("read only", 0o555), ("sticky", 0o1777), ("bin", 0o750)] {
        fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    tree
}

#[tokio::test]
async fn a_tree_comes_back_as_it_was() {
    let disk = disk();
    let tree = sample(&disk, "a", false);
    let before = look(&tree);
    assert!(before.len() > 18);
    let stored = disk.slugs.store(APP, tree.clone()).await.unwrap();
    assert!(!tree.exists(), "the tree was not taken");
    let archive = fs::metadata(disk.archive(APP, &stored.digest)).unwrap();
    assert_eq!(archive.len(), stored.size);
    let kept = disk.unpack(APP, &stored.digest).await.unwrap();
    assert_eq!(look(&kept), before, "the kept tree");
    assert_eq!(
        kept,
        disk.dir
            .path()
            .join(format!("releases/{APP}/{}", stored.digest))
    );
    disk.drop_tree(APP, &stored.digest);
    assert!(!kept.exists());
    let again = disk.unpack(APP, &stored.digest).await.unwrap();
    assert_eq!(look(&again), before, "the unpacked tree");
    assert_eq!(fs::metadata(&again).unwrap().mode() & 0o7777, 0o755);
    disk.assert_clean().await;
}

#[tokio::test]
async fn the_digest_is_of_the_content_alone() {
    let disk = disk();
    let one = disk
        .slugs
        .store(APP, sample(&disk, "a", false))
        .await
        .unwrap();
    let two = sample(&disk, "b", true);
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(two.join("big"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    // Two names of one file are as two files.
    fs::remove_file(two.join("bin/.hidden")).unwrap();
    fs::write(disk.dir.path().join("other"), "").unwrap();
    fs::set_permissions(
        disk.dir.path().join("other"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    fs::hard_link(disk.dir.path().join("other"), two.join("bin/.hidden")).unwrap();
    let two = disk.slugs.store(APP, two).await.unwrap();
    assert_eq!(one, two);

    let three = sample(&disk, "c", false);
    fs::set_permissions(three.join("big"), fs::Permissions::from_mode(0o755)).unwrap();
    let three = disk.slugs.store(APP, three).await.unwrap();
    assert_ne!(one.digest, three.digest, "permissions count");
}

#[tokio::test]
async fn the_digest_is_blake3_of_a_tar_that_others_can_read() {
    let disk = disk();
    let stored = disk
        .slugs
        .store(APP, sample(&disk, "a", false))
        .await
        .unwrap();
    let tree = disk.unpack(APP, &stored.digest).await.unwrap();
    let file = fs::File::open(disk.archive(APP, &stored.digest)).unwrap();
    let tar = zstd::decode_all(file).unwrap();
    assert_eq!(blake3::hash(&tar).to_hex().as_str(), stored.digest.as_str());
    let names: BTreeMap<OsString, Option<OsString>> = tar::Archive::new(&tar[..])
        .entries()
        .unwrap()
        .map(|e| {
            let e = e.unwrap();
            assert_eq!(
                (e.header().uid().unwrap(), e.header().gid().unwrap()),
                (0, 0)
            );
            let link = e.link_name().unwrap().map(|l| l.into_owned().into());
            (e.path().unwrap().into_owned().into(), link)
        })
        .collect();
    let expected: BTreeMap<OsString, Option<OsString>> = look(&tree)
        .into_iter()
        .map(|(path, seen)| match seen {
            Seen::Link(to) => (path, Some(to)),
            _ => (path, None),
        })
        .collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn an_empty_tree_is_a_slug() {
    let disk = disk();
    let stored = disk.slugs.store(APP, disk.tree("none")).await.unwrap();
    disk.drop_tree(APP, &stored.digest);
    let tree = disk.unpack(APP, &stored.digest).await.unwrap();
    assert!(look(&tree).is_empty());
}

#[tokio::test]
async fn what_no_slug_may_hold_is_gone_from_tree_and_archive() {
    let disk = disk();
    let tree = disk.tree("a");
    disk.write(&tree, "su", b"x", 0o6755);
    fs::create_dir(tree.join("sgid")).unwrap();
    fs::set_permissions(tree.join("sgid"), fs::Permissions::from_mode(0o2755)).unwrap();
    nix::unistd::mkfifo(&tree.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let digest = disk.slugs.store(APP, tree).await.unwrap().digest;
    let expected = BTreeMap::from([
        ("sgid".into(), Seen::Folder(0o755)),
        ("su".into(), Seen::File(0o755, b"x".to_vec())),
    ]);
    assert_eq!(look(&disk.unpack(APP, &digest).await.unwrap()), expected);
    disk.drop_tree(APP, &digest);
    assert_eq!(look(&disk.unpack(APP, &digest).await.unwrap()), expected);
}

#[tokio::test]
async fn root_gives_an_unpacked_tree_to_the_app() {
    if me() != 0 {
        eprintln!("skipped: needs root");
        return;
    }
    let disk = disk();
    let digest = disk
        .slugs
        .store(APP, sample(&disk, "a", false))
        .await
        .unwrap()
        .digest;
    disk.drop_tree(APP, &digest);
    let tree = disk.slugs.unpacked(APP, 200_123, &digest).await.unwrap();
    for path in look(&tree).into_keys().chain([OsString::new()]) {
        let m = fs::symlink_metadata(tree.join(&path)).unwrap();
        assert_eq!((m.uid(), m.gid()), (200_123, 200_123), "{path:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_at_once_unpack_once() {
    let disk = disk();
    let stored = disk
        .slugs
        .store(APP, sample(&disk, "a", false))
        .await
        .unwrap();
    let before = look(&disk.unpack(APP, &stored.digest).await.unwrap());
    disk.drop_tree(APP, &stored.digest);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (slugs, digest) = (disk.slugs.clone(), stored.digest.clone());
            tokio::spawn(async move {
                let tree = slugs.unpacked(APP, me(), &digest).await.unwrap();
                let inode = fs::metadata(&tree).unwrap().ino();
                (look(&tree), inode)
            })
        })
        .collect();
    let mut inodes = std::collections::BTreeSet::new();
    for call in calls {
        let (seen, inode) = call.await.unwrap();
        assert_eq!(seen, before);
        inodes.insert(inode);
    }
    assert_eq!(inodes.len(), 1, "it was unpacked more than once");
}

#[tokio::test]
async fn too_deep_and_too_long_are_refused_with_the_reason() {
    let disk = disk();
    let tree = disk.tree("deep");
    fs::create_dir_all(tree.join("d/".repeat(250))).unwrap();
    let e = disk.slugs.store(APP, tree.clone()).await.unwrap_err();
    assert!(format!("{e:#}").contains("more than 200 deep"), "{e:#}");
    assert!(!tree.exists());
    let tree = disk.tree("long");
    fs::create_dir_all(tree.join(format!("{}/", "d".repeat(250)).repeat(13))).unwrap();
    let e = disk.slugs.store(APP, tree).await.unwrap_err();
    assert!(format!("{e:#}").contains("more than 3000 bytes"), "{e:#}");
    disk.assert_clean().await;
}
