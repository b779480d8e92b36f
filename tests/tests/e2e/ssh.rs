//! git over SSH: the system's own sshd, with the forced command that `app keys:add` writes.

use crate::support::{Host, Outcome, Settings, eventually, root};
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port")
        .port()
}

fn keygen(host: &Host, name: &str) -> std::path::PathBuf {
    let path = host.dir().join("home").join(name);
    let mut c = host.command("ssh-keygen");
    c.args(["-q", "-t", "ed25519", "-N", "", "-C", "ada@laptop", "-f"])
        .arg(&path);
    Outcome::of(c, b"", 20).ok();
    path
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn push_over_ssh_with_a_key() {
    assert!(root(), "needs root: sshd logs in as root");
    let dir = tempfile::tempdir().expect("a directory");
    let authorized = dir.path().join("authorized_keys");
    let host = Host::start_with(Settings {
        more: format!("git_user = \"root\"\nauthorized_keys = {authorized:?}\n"),
        ..Settings::default()
    });
    let repo = host.create("shop");
    repo.write_probe();
    repo.version("one");
    let key = keygen(&host, "id");
    let stranger = keygen(&host, "stranger");
    let host_key = keygen(&host, "host");
    host.app(&["keys:add", &format!("{}.pub", key.display())])
        .ok();
    host.app(&["keys"]).ok().says("ada@laptop");
    let line = eventually("the key is written out", 10, || {
        std::fs::read_to_string(&authorized)
            .ok()
            .filter(|t| t.contains("ssh-ed25519"))
    });
    assert!(
        line.contains("command=") && line.contains("restrict"),
        "{line}"
    );

    let port = free_port();
    let config = host.write(
        "sshd_config",
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPasswordAuthentication no\n\
             PermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\nPidFile none\n",
            host_key.display(),
            authorized.display()
        )
        .as_bytes(),
        0o600,
    );
    std::fs::create_dir_all("/run/sshd").expect("root may");
    let _sshd = Sshd(
        Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(host.dir().join("sshd.log")).expect("a file"))
            .spawn()
            .expect("sshd starts: install openssh-server"),
    );
    eventually("sshd listens", 10, || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let url = format!("ssh://root@127.0.0.1:{port}/shop.git");
    let ssh = |key: &std::path::Path| {
        format!(
            "ssh -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            key.display()
        )
    };
    let git = |key: &std::path::Path, args: &[&str]| {
        let mut c = repo.start_git(args);
        c.env("GIT_SSH_COMMAND", ssh(key));
        Outcome::of(c, b"", 60)
    };
    git(&key, &["push", &url, "main"])
        .ok()
        .says("Verifying deploy... done.");
    host.must_serve("shop", "one");
    git(&key, &["ls-remote", &url]).ok().says("refs/heads/main");
    git(&stranger, &["ls-remote", &url]).fails();

    // The key opens git and nothing else.
    let mut c = host.command("ssh");
    c.args(ssh(&key).split(' ').skip(1))
        .args(["-p", &port.to_string(), "root@127.0.0.1", "id"]);
    let o = Outcome::of(c, b"", 20).fails();
    assert!(!o.out().contains("uid="), "{o}");
    let bad = format!("ssh://root@127.0.0.1:{port}/../../etc/passwd");
    git(&key, &["ls-remote", &bad]).fails();

    // A build that fails rejects the push here too.
    repo.write("mode", "exit:2");
    repo.version("two");
    git(&key, &["push", &url, "main"])
        .fails()
        .says("Push rejected");
    host.must_serve("shop", "one");

    // A key that is taken away opens nothing any more.
    host.app(&["keys:remove", "ada@laptop"]).ok();
    eventually("the key is out of the file", 10, || {
        (!std::fs::read_to_string(&authorized)
            .unwrap_or_default()
            .contains("ssh-ed25519"))
        .then_some(())
    });
    git(&key, &["ls-remote", &url]).fails();
}
