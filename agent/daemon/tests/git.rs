//! Pushes and clones with the real git, over HTTP and through a real sshd.

mod support;

use hokku_agent::ops::Actor;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio, time::Duration};
use support::{Tree, World, until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

async fn http(world: &World, app: &str) -> (String, Tree) {
    let token = world.token("ann@example.org").await;
    let url = format!("http://any:{token}@{}/{app}.git", world.addr);
    (url, Tree::new(world.path("work")).await)
}

/// The commit that a ref of the agent's repository is at; empty when there is none.
async fn at(tree: &Tree, url: &str, name: &str) -> String {
    let text = tree.ok(&["ls-remote", url, name]).await;
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// What Ctrl-C does, to git and all it has started. With SIGTERM: SIGINT is ignored where tests run in the background.
fn interrupt(push: &tokio::process::Child) {
    let group = nix::unistd::Pid::from_raw(push.id().unwrap() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::SIGTERM).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_built_and_can_be_cloned() {
    let w = World::new().await;
    let app = w.app("myapp").await;
    let (url, tree) = http(&w, "myapp").await;
    let first = tree.commit("ok").await;
    tree.ok(&["tag", "-a", "v1", "-m", "x"]).await;
    let said = tree.ok(&["push", &url, "main", "v1"]).await;
    assert!(said.contains("remote: -----> Building"), "{said}");
    assert_eq!(at(&tree, &url, "refs/heads/main").await, first);
    assert!(!at(&tree, &url, "refs/tags/v1").await.is_empty());
    let seen = w.pushed();
    assert_eq!(
        (seen[0].app, seen[0].commit.as_str()),
        (app.id, first.as_str())
    );
    assert_eq!(seen[0].user, "ann@example.org");
    tree.ok(&["clone", "-q", &url, "copy"]).await;
    assert_eq!(
        fs::read_to_string(tree.at.join("copy/order")).unwrap(),
        "ok"
    );
    // a history with enough branches that the client zips its questions
    let many: Vec<String> = (0..60).map(|i| format!("main:refs/heads/b{i}")).collect();
    for _ in 0..60 {
        tree.ok(&["commit", "-q", "--allow-empty", "-m", "more"])
            .await;
    }
    let mut args = vec!["push", "-q", &url];
    args.extend(many.iter().map(String::as_str));
    tree.ok(&args).await;
    tree.ok(&["-C", "copy", "fetch", "-q"]).await;
    tree.ok(&[
        "-c",
        "protocol.version=0",
        "clone",
        "-q",
        "--depth=1",
        &url,
        "shallow",
    ])
    .await;
    // the other deploy branch becomes what a clone checks out
    let second = tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main:master"]).await;
    tree.ok(&["clone", "-q", &url, "again"]).await;
    assert_eq!(
        tree.ok(&["-C", "again", "symbolic-ref", "HEAD"]).await,
        "refs/heads/master"
    );
    assert_eq!(tree.ok(&["-C", "again", "rev-parse", "HEAD"]).await, second);
    // pushes from a shallow clone, as CI makes them
    let ci = Tree {
        at: tree.at.join("shallow"),
        env: vec![],
    };
    let third = ci.commit("ok").await;
    ci.ok(&["push", "-q", &url, "HEAD:main", "--force"]).await;
    assert_eq!(at(&tree, &url, "refs/heads/main").await, third);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_push_streams() {
    let w = World::new().await;
    w.app("myapp").await;
    let (url, tree) = http(&w, "myapp").await;
    let mut noise = vec![0; 8 << 20];
    getrandom::fill(&mut noise).unwrap();
    fs::write(tree.at.join("noise"), &noise).unwrap();
    let commit = tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    assert_eq!(at(&tree, &url, "refs/heads/main").await, commit);
    tree.ok(&["clone", "-q", &url, "copy"]).await;
    assert!(fs::read(tree.at.join("copy/noise")).unwrap() == noise);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_rejects_the_push_and_the_ref_stays() {
    let w = World::new().await;
    w.app("myapp").await;
    let (url, tree) = http(&w, "myapp").await;
    let good = tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    for order in ["fail", "die"] {
        tree.commit(order).await;
        let (code, said) = tree.run(&["push", &url, "main", "main:other"]).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("pre-receive hook declined"), "{said}");
        let words = if order == "fail" {
            "failed to compile"
        } else {
            "The agent stopped in the middle"
        };
        assert!(said.contains(words), "{said}");
        assert_eq!(at(&tree, &url, "refs/heads/main").await, good);
        assert_eq!(
            at(&tree, &url, "refs/heads/other").await,
            "",
            "all or nothing"
        );
    }
    let good = tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    assert_eq!(at(&tree, &url, "refs/heads/main").await, good);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_arrive_while_the_build_runs() {
    let w = World::new().await;
    w.app("myapp").await;
    let (url, tree) = http(&w, "myapp").await;
    tree.commit("wait").await;
    let mut push = tree
        .command(&["push", &url, "main"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(push.stderr.take().unwrap()).lines();
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(10), lines.next_line())
            .await
            .expect("no line comes")
            .unwrap()
    };
    while !next().await.expect("no first line").contains("first") {}
    w.control.go.notify_one();
    while !next().await.expect("no second line").contains("second") {}
    assert!(push.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_cancels_the_build_and_the_next_push_works() {
    let w = World::new().await;
    let app = w.app("myapp").await;
    let (url, tree) = http(&w, "myapp").await;
    tree.commit("hang").await;
    let push = tree
        .command(&["push", &url, "main"])
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    until("the build hangs", || !w.pushed().is_empty()).await;
    interrupt(&push);
    tokio::time::timeout(Duration::from_secs(10), w.control.cancelled.notified())
        .await
        .expect("the build goes on");
    let repo = w.config.data_dir.join(format!("git/{}.git", app.id));
    let lock = fs::File::open(repo.join("hokku.lock")).unwrap();
    until("git has ended", || {
        use rustix::fs::{FlockOperation, flock};
        flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
    .await;
    drop(lock);
    fs::write(repo.join("refs/heads/main.lock"), "left by a killed git").unwrap();
    let good = tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    assert_eq!(at(&tree, &url, "refs/heads/main").await, good);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_deployed_and_what_is_refused() {
    let w = World::new().await;
    w.app("myapp").await;
    let (url, tree) = http(&w, "myapp").await;
    tree.commit("ok").await;
    let said = tree.ok(&["push", &url, "main:feature/x"]).await;
    assert!(
        said.contains("remote: Pushed to non-main branch, skipping build."),
        "{said}"
    );
    assert!(w.pushed().is_empty());
    tree.ok(&["push", &url, ":feature/x"]).await;
    let no = async |args: &[&str], words: &str| {
        let (code, said) = tree.run(args).await;
        assert_eq!(code, 1, "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    };
    no(
        &["push", &url, "main", "main:master"],
        "moves main and master at once",
    )
    .await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    no(&["push", &url, ":main"], "can't be deleted").await;
    tree.ok(&["tag", "-a", "v1", "-m", "x"]).await;
    let (code, said) = tree.run(&["push", &url, "v1:main"]).await;
    assert!(
        code != 0 && (said.contains("is a tag, not a commit") || said.contains("non-commit")),
        "{said}"
    );
    assert_eq!(w.pushed().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pushes_at_once_end_with_the_branch_at_what_was_accepted_last() {
    let w = World::new().await;
    w.app("myapp").await;
    let (url, tree) = http(&w, "myapp").await;
    tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    let slow = tree.commit("wait").await;
    let mut first = tree
        .command(&["push", &url, "main"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the first is at work", || w.pushed().len() == 2).await;
    let quick = tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    assert_eq!(at(&tree, &url, "refs/heads/main").await, quick);
    w.control.go.notify_one();
    let mut said = String::new();
    first
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .await
        .unwrap();
    assert!(first.wait().await.unwrap().success(), "{said}");
    assert!(said.contains("Another push had moved main"), "{said}");
    assert_eq!(at(&tree, &url, "refs/heads/main").await, slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_pushes_without_a_token() {
    let w = World::new().await;
    w.app("myapp").await;
    let (good, tree) = http(&w, "myapp").await;
    tree.commit("ok").await;
    for (url, words) in [
        (
            format!("http://{}/myapp.git", w.addr),
            "could not read Username",
        ),
        (
            format!("http://x:wrong@{}/myapp.git", w.addr),
            "Authentication failed",
        ),
        (good.replace("myapp", "other"), "Couldn't find that app"),
    ] {
        let (code, said) = tree.run(&["push", &url, "main"]).await;
        assert!(code != 0 && said.contains(words), "{said}");
    }
    assert!(w.pushed().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_the_clients_mistake_and_harms_nothing() {
    let w = World::new().await;
    w.app("myapp").await;
    let token = w.token("ann@example.org").await;
    for (service, body) in [
        ("git-receive-pack", "garbage, not pkt-lines"),
        ("git-receive-pack", "00ff cut off"),
        ("git-upload-pack", "\0\0\0\0"),
    ] {
        let head = format!(
            "POST /myapp.git/{service} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: \
             application/x-{service}-request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(w.addr).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("not what git sends"),
            "{service} {body:?}: {answer}"
        );
    }
    let (url, tree) = http(&w, "myapp").await;
    tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_apps_repository_is_deleted_and_no_other() {
    let w = World::new().await;
    let (one, ten) = (w.app("app1").await, w.app("app10").await);
    let (url, tree) = http(&w, "app1").await;
    tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    tree.ok(&["push", "-q", &url.replace("app1.git", "app10.git"), "main"])
        .await;
    let repo = |id| w.config.data_dir.join(format!("git/{id}.git"));
    assert!(repo(one.id).exists() && repo(ten.id).exists());
    w.ops.destroy_app(&Actor::root(), one.id).await.unwrap();
    until("it is deleted", || !repo(one.id).exists()).await;
    assert!(repo(ten.id).exists());
}

/// The system's sshd on a free port of the loopback, with its own keys and no settings of the machine.
struct Sshd {
    child: tokio::process::Child,
    port: u16,
    key: std::path::PathBuf,
}

impl Sshd {
    async fn start(dir: &Path, authorized_keys: &Path) -> Sshd {
        let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"]
            .into_iter()
            .find(|p| Path::new(p).exists())
            .expect("this test needs a real sshd: apt-get install openssh-server");
        let _ = fs::create_dir_all("/run/sshd");
        let host = dir.join("host");
        let key = dir.join("key");
        for k in [&host, &key] {
            let made = tokio::process::Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "ann's laptop", "-f"])
                .arg(k)
                .status()
                .await
                .expect("this test needs ssh-keygen: apt-get install openssh-client");
            assert!(made.success());
        }
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let config = dir.join("sshd_config");
            fs::write(
                &config,
                format!(
                    "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\n\
                     StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                     PermitRootLogin forced-commands-only\nAcceptEnv GIT_PROTOCOL\n",
                    host.display(),
                    authorized_keys.display()
                ),
            )
            .unwrap();
            let mut child = tokio::process::Command::new(sshd)
                .args(["-D", "-e", "-f"])
                .arg(&config)
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            for _ in 0..400 {
                if tokio::net::TcpStream::connect(("127.0.0.1", port))
                    .await
                    .is_ok()
                {
                    return Sshd { child, port, key };
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        panic!("sshd does not come up");
    }

    fn command(&self) -> String {
        format!(
            "ssh -F none -p {} -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o KexAlgorithms=curve25519-sha256",
            self.port,
            self.key.display()
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ssh() {
    let w = World::new().await;
    let app = w.app("myapp").await;
    let repo = w.config.data_dir.join(format!("git/{}.git", app.id));
    let repo = repo.to_str().unwrap();
    let authorized = w.path("authorized_keys");
    let mut sshd = Sshd::start(w.dir.path(), &authorized).await;
    let public = fs::read_to_string(sshd.key.with_extension("pub")).unwrap();
    let key = w
        .ops
        .add_key("ann@example.org", public.trim())
        .await
        .unwrap();
    fs::write(
        &authorized,
        format!(
            "command=\"{} ssh --socket {} --key {}\",restrict {public}",
            env!("CARGO_BIN_EXE_hokkud"),
            w.config.socket().display(),
            key.id
        ),
    )
    .unwrap();
    fs::set_permissions(&authorized, fs::Permissions::from_mode(0o644)).unwrap();
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap()
        .name;
    let mut tree = Tree::new(w.path("work")).await;
    tree.env = vec![("GIT_SSH_COMMAND".into(), sshd.command())];
    let url = format!("ssh://{me}@127.0.0.1/myapp.git");

    let good = tree.commit("ok").await;
    let said = tree.ok(&["push", &url, "main"]).await;
    assert!(said.contains("remote: -----> Building"), "{said}");
    assert_eq!(w.pushed()[0].user, "ann@example.org");
    let mut noise = vec![0; 1 << 20];
    getrandom::fill(&mut noise).unwrap();
    fs::write(tree.at.join("noise"), &noise).unwrap();
    tree.commit("fail").await;
    let (code, said) = tree.run(&["push", &url, "main"]).await;
    assert!(code == 1 && said.contains("failed to compile"), "{said}");
    assert_eq!(at(&tree, repo, "refs/heads/main").await, good);
    let good = tree.commit("ok").await;
    tree.ok(&["push", "-q", &url, "main"]).await;
    tree.ok(&["clone", "-q", &format!("{me}@127.0.0.1:myapp.git"), "copy"])
        .await;
    assert_eq!(tree.ok(&["-C", "copy", "rev-parse", "HEAD"]).await, good);
    assert!(fs::read(tree.at.join("copy/noise")).unwrap() == noise);

    let (code, said) = tree
        .run(&["ls-remote", &format!("ssh://{me}@127.0.0.1/other.git")])
        .await;
    assert!(
        code != 0 && said.contains("Couldn't find that app"),
        "{said}"
    );

    let ssh = async |words: &[&str]| {
        let line = sshd.command();
        let mut parts = line.split_whitespace();
        let out = tokio::process::Command::new(parts.next().unwrap())
            .args(parts)
            .arg(format!("{me}@127.0.0.1"))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (code, said) = ssh(&[]).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("Hi ann@example.org! You've authenticated, but hokku gives no shell."),
        "{said}"
    );
    let (code, said) = ssh(&["cat", "/etc/passwd"]).await;
    assert!(code == Some(1) && said.contains("only git push"), "{said}");

    // a hang-up cancels
    tree.commit("hang").await;
    let push = tree
        .command(&["push", &url, "main"])
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    until("the build hangs", || {
        w.pushed().iter().any(|p| p.order == "hang")
    })
    .await;
    interrupt(&push);
    tokio::time::timeout(Duration::from_secs(10), w.control.cancelled.notified())
        .await
        .expect("the build goes on");

    // a key that was removed opens nothing
    w.ops.clear_keys("ann@example.org").await.unwrap();
    let (code, said) = tree.run(&["ls-remote", &url]).await;
    assert!(code != 0 && said.contains("not known any more"), "{said}");
    sshd.child.kill().await.unwrap();
}
