//! The disk is full.

use crate::support::{Host, Settings, root};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A small file system that is gone at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn of(megabytes: u32) -> Small {
        let dir = tempfile::Builder::new()
            .prefix("hokku-small-")
            .tempdir()
            .expect("a directory");
        mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some(format!("size={megabytes}m,mode=755").as_str()),
        )
        .expect("root may mount");
        Small(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn during_a_build_the_old_version_serves_and_the_pusher_reads_why() {
    assert!(root(), "needs root: it mounts a small file system");
    let small = Small::of(160);
    let host = Host::start_with(Settings {
        data: Some(small.0.path().join("data")),
        ..Settings::default()
    });
    let repo = host.deploy("shop");
    // Noise, so that nothing is saved by compressing it.
    let mut x = 88172645463325252u64;
    let noise: Vec<u8> = (0..60 << 20)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect();
    repo.write("ballast", &noise);
    repo.version("two");
    let pushed = repo.push().fails();
    let text = pushed.text().to_lowercase();
    assert!(text.contains("space") || text.contains("disk"), "{pushed}");
    host.must_serve("shop", "one");
    // The agent lives, and a smaller push goes through.
    repo.git(&["reset", "-q", "--hard", "HEAD~1"]).ok();
    repo.version("three");
    repo.push().ok();
    host.must_serve("shop", "three");
    drop(host);
}
