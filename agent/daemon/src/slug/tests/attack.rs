//! Damaged and hostile archives.

use super::*;
use tar::{EntryType, Header};

fn entry(tar: &mut Vec<u8>, kind: EntryType, path: &[u8], link: &[u8], content: &[u8]) {
    let mut h = Header::new_gnu();
    let fields = h.as_old_mut();
    fields.name[..path.len()].copy_from_slice(path);
    fields.linkname[..link.len()].copy_from_slice(link);
    h.set_entry_type(kind);
    h.set_mode(0o755);
    h.set_uid(0);
    h.set_gid(0);
    h.set_mtime(0);
    h.set_size(content.len() as u64);
    h.set_cksum();
    tar.extend_from_slice(h.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

impl Disk {
    /// Puts a tar in place as an archive with the right digest.
    fn plant(&self, tar: &[u8]) -> SlugDigest {
        let digest: SlugDigest = blake3::hash(tar).to_hex().as_str().parse().unwrap();
        fs::create_dir_all(self.slugs.places.archives(APP)).unwrap();
        fs::write(
            self.archive(APP, &digest),
            zstd::encode_all(tar, 1).unwrap(),
        )
        .unwrap();
        digest
    }

    async fn refused(&self, digest: &SlugDigest, why: &str) {
        let e = format!("{:#}", self.unpack(APP, digest).await.unwrap_err());
        let begin = format!("Error R17 (Checksum error) -> the slug {digest} is damaged: ");
        assert!(e.starts_with(&begin) && e.contains(why), "{why}: {e}");
        assert_eq!(
            fs::read_dir(self.slugs.places.trees(APP)).unwrap().count(),
            0
        );
    }
}

#[tokio::test]
async fn hostile_entries_are_refused_and_nothing_is_left() {
    use EntryType as T;
    let disk = disk();
    let outside = disk.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let out = outside.as_os_str().as_bytes();
    type Entries<'a> = Vec<(T, &'a [u8], &'a [u8])>;
    let absolute = [out, b"/x"].concat();
    let cases: Vec<(Entries, &str)> = vec![
        (vec![(T::Regular, &absolute, b"")], "no path inside"),
        (
            vec![(T::Regular, b"../../../outside/x", b"")],
            "no path inside",
        ),
        (
            vec![(T::Directory, b"a", b""), (T::Regular, b"a/../b", b"")],
            "no path inside",
        ),
        (vec![(T::Regular, b"./x", b"")], "no path inside"),
        (vec![(T::Directory, b"", b"")], "no path inside"),
        (
            vec![(T::Symlink, b"l", out), (T::Regular, b"l/x", b"")],
            "lies in no folder",
        ),
        (
            vec![
                (T::Symlink, b"l", out),
                (T::Directory, b"l", b""),
                (T::Regular, b"l/x", b""),
            ],
            "comes twice",
        ),
        (
            vec![(T::Directory, b"d", b""), (T::Symlink, b"d", out)],
            "comes twice",
        ),
        (
            vec![(T::Symlink, b"l", &absolute), (T::Regular, b"l", b"")],
            "comes twice",
        ),
        (
            vec![(T::Regular, b"f", b""), (T::Regular, b"f", b"")],
            "comes twice",
        ),
        (
            vec![(T::Regular, b"f", b""), (T::Regular, b"f/x", b"")],
            "lies in no folder",
        ),
        (vec![(T::Regular, b"no/folder", b"")], "lies in no folder"),
        (
            vec![(T::Link, b"h", b"/etc/passwd")],
            "no file, folder or symlink",
        ),
        (vec![(T::Char, b"null", b"")], "no file, folder or symlink"),
        (vec![(T::Block, b"sda", b"")], "no file, folder or symlink"),
        (vec![(T::Fifo, b"pipe", b"")], "no file, folder or symlink"),
        (
            vec![(T::XHeader, b"pax", b"")],
            "no file, folder or symlink",
        ),
        (
            vec![(T::GNUSparse, b"sparse", b"")],
            "no file, folder or symlink",
        ),
        (vec![(T::Symlink, b"l", b"")], "symlink to nowhere"),
    ];
    for (entries, why) in cases {
        let mut tar = vec![];
        for (kind, path, link) in entries {
            let content: &[u8] = if kind == T::Regular { b"evil" } else { b"" };
            entry(&mut tar, kind, path, link, content);
        }
        tar.resize(tar.len() + 1024, 0);
        let digest = disk.plant(&tar);
        disk.refused(&digest, why).await;
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{why}");
    }
    // The same by GNU's long names.
    for (kind, long) in [
        (T::GNULongName, "../".repeat(3) + "outside/x\0"),
        (T::GNULongName, "x".repeat(9000)),
        (T::GNULongName, format!("{}\0y", "x".repeat(200))),
    ] {
        let mut tar = vec![];
        entry(&mut tar, kind, b"././@LongLink", b"", long.as_bytes());
        entry(&mut tar, T::Regular, b"f", b"", b"evil");
        tar.resize(tar.len() + 1024, 0);
        let digest = disk.plant(&tar);
        disk.refused(&digest, "path").await;
    }
}

#[tokio::test]
async fn a_good_planted_archive_is_taken() {
    let disk = disk();
    let mut tar = vec![];
    entry(&mut tar, EntryType::Directory, b"d", b"", b"");
    entry(&mut tar, EntryType::Regular, b"d/f", b"", b"good");
    tar.resize(tar.len() + 1024, 0);
    let digest = disk.plant(&tar);
    let tree = disk.unpack(APP, &digest).await.unwrap();
    assert_eq!(fs::read(tree.join("d/f")).unwrap(), b"good");
    // Entries behind the end are no part of a slug, although the digest covers them.
    entry(&mut tar, EntryType::Regular, b"late", b"", &[1; 300_000]);
    let digest = disk.plant(&tar);
    let e = disk.unpack(APP, &digest).await.unwrap_err().to_string();
    assert!(e.contains("goes on behind its end"), "{e}");
}

#[tokio::test]
async fn every_flipped_or_missing_byte_is_found() {
    let disk = disk();
    let tree = disk.tree("a");
    let noise: Vec<u8> = (0..40_000u64)
        .map(|i| ((i * i * 40_503) >> 7) as u8)
        .collect();
    disk.write(&tree, "bin/noise", &noise, 0o755);
    disk.write(&tree, "text", "word ".repeat(5000).as_bytes(), 0o644);
    let digest = disk.slugs.store(APP, tree).await.unwrap().digest;
    disk.drop_tree(APP, &digest);
    let archive = disk.archive(APP, &digest);
    let good = fs::read(&archive).unwrap();
    let step = (good.len() / 97).max(1);
    // Bits of the zstd frame's header that change nothing may flip; then the content must be right.
    let mut found = 0;
    let mut tried = 0;
    for at in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&archive, &bad).unwrap();
        tried += 1;
        match disk.unpack(APP, &digest).await {
            Err(e) => {
                assert!(
                    e.to_string().starts_with("Error R17 (Checksum error)"),
                    "{e:#}"
                );
                assert_eq!(
                    fs::read_dir(disk.slugs.places.trees(APP)).unwrap().count(),
                    0
                );
                found += 1;
            }
            Ok(tree) => {
                assert_eq!(fs::read(tree.join("bin/noise")).unwrap(), noise, "at {at}");
                disk.drop_tree(APP, &digest);
            }
        }
    }
    assert!(found > tried * 9 / 10, "{found} of {tried}");
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(&archive, &good[..cut]).unwrap();
        disk.refused(&digest, "").await;
    }
    // Another slug's archive under this name.
    fs::write(&archive, zstd::encode_all(&[0; 1024][..], 1).unwrap()).unwrap();
    disk.refused(&digest, "its content has the digest").await;
    // The same content, pushed again, heals it.
    let tree = disk.tree("again");
    disk.write(&tree, "bin/noise", &noise, 0o755);
    disk.write(&tree, "text", "word ".repeat(5000).as_bytes(), 0o644);
    assert_eq!(disk.slugs.store(APP, tree).await.unwrap().digest, digest);
    disk.drop_tree(APP, &digest);
    disk.unpack(APP, &digest).await.unwrap();
}

#[tokio::test]
async fn a_missing_archive_is_said_so() {
    let disk = disk();
    let digest = "0".repeat(64).parse().unwrap();
    let e = disk.unpack(APP, &digest).await.unwrap_err();
    assert!(format!("{e:#}").contains("is not on this node"), "{e:#}");
    disk.assert_clean().await;
}
