//! Folders laid out for the router: whole or not there, readable, and nothing from outside of the release.

use super::*;
use std::os::unix::fs::symlink;

impl Disk {
    async fn site(&self, app: AppId) -> SlugDigest {
        let tree = self.tree("site");
        self.write(&tree, "public/index.html", b"<h1>home</h1>", 0o644);
        self.write(&tree, "public/js/app.js", b"script", 0o640);
        self.write(&tree, "public/js/run.sh", b"#!/bin/sh", 0o755);
        self.write(&tree, "web/dist/page.html", b"page", 0o644);
        self.write(&tree, "shared/logo.svg", b"<svg/>", 0o644);
        self.write(&tree, "file", b"not public", 0o644);
        fs::set_permissions(tree.join("public/js"), fs::Permissions::from_mode(0o700)).unwrap();
        for (to, name) in [
            ("../shared/logo.svg", "public/logo.svg"),
            ("/etc/passwd", "public/passwd"),
            ("../../../../../../../../etc/passwd", "public/passwd2"),
            ("../shared", "public/shared"),
            ("nowhere", "public/dangling"),
            ("/etc", "etc"),
            ("public", "again"),
        ] {
            symlink(to, tree.join(name)).unwrap();
        }
        self.slugs.store(app, tree).await.unwrap().digest
    }
    async fn publish(
        &self,
        app: AppId,
        digest: &SlugDigest,
        root: &str,
    ) -> anyhow::Result<PathBuf> {
        let path = self.slugs.publish(app, me(), digest, root).await?;
        assert!(
            Path::new(&path).is_relative() && !path.contains(".."),
            "{path}"
        );
        Ok(self.dir.path().join("router").join(path))
    }
    fn published(&self) -> PathBuf {
        self.dir.path().join("router/files")
    }
}

#[tokio::test]
async fn a_folder_is_linked_and_readable_for_all() {
    let disk = disk();
    let digest = disk.site(APP).await;
    let place = disk.publish(APP, &digest, "public").await.unwrap();
    assert!(place.ends_with(format!("{digest}/public")));
    let seen = look(&place);
    let names: Vec<&str> = seen.keys().filter_map(|n| n.to_str()).collect();
    assert_eq!(
        names,
        ["index.html", "js", "js/app.js", "js/run.sh", "logo.svg"]
    );
    assert_eq!(seen[&OsString::from("js")], Seen::Folder(0o755));
    let copied = Seen::File(0o644, b"script".to_vec());
    assert_eq!(
        seen[&OsString::from("js/app.js")],
        copied,
        "others could not read it"
    );
    assert_eq!(
        seen[&OsString::from("logo.svg")],
        Seen::File(0o644, b"<svg/>".to_vec())
    );
    let tree = disk.unpack(APP, &digest).await.unwrap();
    let inode = |p: PathBuf| fs::metadata(p).unwrap().ino();
    assert_eq!(
        inode(place.join("index.html")),
        inode(tree.join("public/index.html"))
    );
    assert_ne!(
        inode(place.join("js/app.js")),
        inode(tree.join("public/js/app.js"))
    );
    let time = |p: PathBuf| fs::metadata(p).unwrap().modified().unwrap();
    assert_eq!(
        time(place.join("js/app.js")),
        time(tree.join("public/js/app.js"))
    );
    let mode = fs::metadata(tree.join("public/js/app.js")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o640, "the release's own file is as it was");
}

#[tokio::test]
async fn it_is_made_once_and_again_after_a_reboot() {
    let disk = disk();
    let digest = disk.site(APP).await;
    let place = disk.publish(APP, &digest, "public").await.unwrap();
    let inode = || fs::metadata(&place).unwrap().ino();
    let first = inode();
    disk.publish(APP, &digest, "public").await.unwrap();
    assert_eq!(inode(), first, "it was there");
    let slugs = Slugs::open(disk.dir.path().to_owned()).unwrap();
    slugs.publish(APP, me(), &digest, "public").await.unwrap();
    assert_eq!(inode(), first, "an agent's restart changes nothing");
    // as a power cut may leave it
    fs::write(place.with_file_name("public%ok"), "boot of another time\n").unwrap();
    fs::remove_file(place.join("index.html")).unwrap();
    disk.publish(APP, &digest, "public").await.unwrap();
    assert_ne!(inode(), first);
    assert_eq!(
        fs::read_to_string(place.join("index.html")).unwrap(),
        "<h1>home</h1>"
    );
    let left: Vec<_> = place::names(place.parent().unwrap()).unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[tokio::test]
async fn several_folders_of_one_slug_do_not_meet() {
    let disk = disk();
    let digest = disk.site(APP).await;
    let inner = disk.publish(APP, &digest, "public/js").await.unwrap();
    let outer = disk.publish(APP, &digest, "public").await.unwrap();
    let other = disk.publish(APP, &digest, "web/dist").await.unwrap();
    let all = disk.publish(APP, &digest, ".").await.unwrap();
    assert!(inner.join("app.js").exists() && outer.join("js/app.js").exists());
    assert!(other.join("page.html").exists() && all.join("web/dist/page.html").exists());
    assert!(all.join("public/logo.svg").exists() && !all.join("etc").exists());
    // a symlink to a folder may be named itself, as long as it stays inside
    let linked = disk.publish(APP, &digest, "again").await.unwrap();
    assert!(linked.join("index.html").exists() && linked.join("logo.svg").exists());
}

#[tokio::test]
async fn what_is_no_folder_of_the_release_is_refused() {
    let disk = disk();
    let digest = disk.site(APP).await;
    for (root, why) in [
        ("none", "no folder of the release"),
        ("file", "no folder of the release"),
        ("etc", "no folder of the release"),
        ("public/passwd", "no folder of the release"),
        ("../public", "no folder inside"),
        ("/etc", "no folder inside"),
        ("public/../..", "no folder inside"),
        ("public/", "no folder inside"),
        ("", "no folder inside"),
        ("a\0b", "no folder inside"),
    ] {
        let e = format!("{:#}", disk.publish(APP, &digest, root).await.unwrap_err());
        assert!(e.contains(why), "{root:?}: {e}");
    }
    let long = "x".repeat(300);
    assert!(disk.publish(APP, &digest, &long).await.is_err());
}

#[tokio::test]
async fn a_way_down_that_was_tampered_with_is_refused() {
    let disk = disk();
    let digest = disk.site(APP).await;
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(disk.dir.path().join("router")).unwrap();
    symlink(elsewhere.path(), disk.published()).unwrap();
    let e = disk.publish(APP, &digest, "public").await.unwrap_err();
    assert!(format!("{e:#}").contains("is in the way"), "{e:#}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    if nix::unistd::geteuid().is_root() {
        fs::remove_file(disk.published()).unwrap();
        fs::create_dir(disk.published()).unwrap();
        std::os::unix::fs::chown(disk.published(), Some(65_534), None).unwrap();
        let e = disk.publish(APP, &digest, "public").await.unwrap_err();
        assert!(format!("{e:#}").contains("not to the agent"), "{e:#}");
    }
}

#[tokio::test]
async fn it_goes_with_the_slug() {
    let disk = disk();
    let (one, two) = (disk.site(APP).await, disk.site(AppId(2)).await);
    assert_eq!(one, two, "two apps with the same content");
    disk.publish(APP, &one, "public").await.unwrap();
    let kept = disk.publish(AppId(2), &two, "public").await.unwrap();
    disk.slugs.delete(APP, &one);
    assert!(!disk.published().join(APP.to_string()).exists());
    assert!(kept.join("index.html").exists(), "the other app's");
    disk.slugs.forget(AppId(2));
    assert_eq!(fs::read_dir(disk.published()).unwrap().count(), 0);
    // what an agent that died half-way left
    let digest = disk.site(APP).await;
    let place = disk.publish(APP, &digest, "public").await.unwrap();
    fs::create_dir(place.with_file_name("web%tmp")).unwrap();
    fs::create_dir_all(
        disk.published()
            .join(APP.to_string())
            .join("3".repeat(64))
            .join("public"),
    )
    .unwrap();
    fs::create_dir(disk.published().join("rubbish")).unwrap();
    drop(Slugs::open(disk.dir.path().to_owned()).unwrap());
    assert!(place.join("index.html").exists());
    assert!(!place.with_file_name("web%tmp").exists());
    let app = disk.published().join(APP.to_string());
    assert_eq!(place::names(&app).unwrap().len(), 1);
}

/// The child of the next test: publishes, and dies at the point that the environment names.
#[tokio::test]
#[ignore = "run by the_agent_can_die_while_it_publishes"]
async fn dying_child() {
    let (Ok(dir), Ok(digest)) = (
        std::env::var("HOKKU_TEST_DIR"),
        std::env::var("HOKKU_TEST_DIGEST"),
    ) else {
        return;
    };
    let slugs = Slugs::open(dir.into()).unwrap();
    let _ = slugs
        .publish(APP, me(), &digest.parse().unwrap(), "public")
        .await;
}

#[tokio::test]
async fn the_agent_can_die_while_it_publishes() {
    use std::os::unix::process::ExitStatusExt;
    for (point, there) in [("public-laid", false), ("public-swapped", true)] {
        let disk = disk();
        let digest = disk.site(APP).await;
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["slug::tests::public::dying_child", "--exact", "--ignored"])
            .env("HOKKU_TEST_DIR", disk.dir.path())
            .env("HOKKU_TEST_DIGEST", digest.as_str())
            .env("HOKKU_FAULT", point)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{point}: {status}");
        let folder = disk.published().join(APP.to_string()).join(digest.as_str());
        assert_eq!(folder.join("public/index.html").exists(), there, "{point}");
        let slugs = Slugs::open(disk.dir.path().to_owned()).unwrap();
        let left = place::names(&folder).unwrap();
        assert!(
            left.iter().all(|n| !n.as_bytes().ends_with(b"%tmp")),
            "{left:?}"
        );
        slugs.publish(APP, me(), &digest, "public").await.unwrap();
        assert_eq!(look(&folder.join("public")).len(), 5, "{point}");
    }
}
