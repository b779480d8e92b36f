//! `git push`: what is built, what is refused, what the pusher reads.

use crate::support::{Host, Outcome, Settings, WhoAmI, eventually, repo::REMOTE};

/// Each of these has to come, in this order.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for p in parts {
        match rest.find(p) {
            Some(i) => rest = &rest[i + p.len()..],
            None => panic!("{p:?} is missing, or not in its place, in:\n{text}"),
        }
    }
}

#[test]
fn the_first_push_runs_and_answers() {
    let host = Host::start();
    let repo = host.create("shop");
    assert_eq!(
        host.get("shop", "/").status,
        502,
        "H81 before the first push"
    );
    repo.write_probe();
    repo.version("one");
    let pushed = repo.push().ok();
    in_order(
        &pushed.err(),
        &[
            "remote: -----> ",
            "remote: -----> Discovering process types",
            "remote:        Procfile declares types -> web, worker",
            "remote: -----> Launching...",
            "remote:        Released v",
            "deployed to ",
            "remote: Verifying deploy... done.",
            "main -> main",
        ],
    );
    // git push returns only when the new version is what the router serves.
    host.must_serve("shop", "one");
    let about = host.about("shop");
    assert_eq!(about["dyno"], "web.1");
    assert_eq!(about["home"], "/app");
    assert_eq!(about["cwd"], "/app");
    host.up("shop", &["web.1"]);
    repo.app(&["ps"]).ok().says("web.1: up");
    repo.app(&["apps:info"]).ok().says("shop");
}

#[test]
fn a_redeploy_serves_the_new_version_when_push_returns() {
    let host = Host::start();
    let repo = host.deploy("shop");
    for version in ["two", "three"] {
        repo.version(version);
        repo.push().ok();
        for _ in 0..20 {
            host.must_serve("shop", version);
        }
    }
    assert_eq!(host.dynos("shop").len(), 1, "no old dyno stays");
    repo.push().ok().says("Everything up-to-date");
}

#[test]
fn output_comes_while_it_happens() {
    let host = Host::start();
    let repo = host.create("shop");
    repo.write_probe();
    repo.write("mode", "slow:3000");
    repo.version("one");
    let mut c = repo.start_git(&["push", REMOTE, "main"]);
    let mut child = c
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("git starts");
    let mut err = child.stderr.take().expect("piped");
    let started = std::time::Instant::now();
    let (mut text, mut buf, mut early) = (String::new(), [0; 512], None);
    loop {
        use std::io::Read;
        let n = err.read(&mut buf).expect("a pipe");
        if n == 0 {
            break;
        }
        text.push_str(&String::from_utf8_lossy(&buf[..n]));
        if early.is_none() && text.contains("Discovering process types") {
            early = Some(started.elapsed());
        }
    }
    assert!(child.wait().expect("our child").success(), "{text}");
    let (early, all) = (early.expect("said"), started.elapsed());
    assert!(
        all - early > std::time::Duration::from_millis(2500),
        "said after {early:?}, done after {all:?}: {text}"
    );
}

#[test]
fn another_branch_is_taken_and_not_built() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.git(&["checkout", "-q", "-b", "idea"]).ok();
    repo.version("idea");
    let pushed = repo.git(&["push", REMOTE, "idea"]).ok();
    assert!(
        pushed.err().to_lowercase().contains("skipping build")
            || pushed.err().to_lowercase().contains("not built"),
        "{pushed}"
    );
    pushed.never_says("Launching");
    host.must_serve("shop", "one");
    let branches = repo.git(&["ls-remote", REMOTE]).ok().out();
    assert!(branches.contains("refs/heads/idea"), "{branches}");
    // Pushed to the deploy branch, it is built.
    repo.git(&["push", REMOTE, "idea:main"]).ok();
    host.must_serve("shop", "idea");
}

#[test]
fn without_procfile_or_language_the_push_is_refused_and_says_why() {
    let host = Host::start();
    let repo = host.deploy("shop");
    let before = repo.remote_head();
    repo.git(&["rm", "-q", "Procfile"]).ok();
    repo.write("notes.txt", "nothing to run here");
    repo.git(&["rm", "-q", "--cached", "probe"]).ok();
    repo.version("two");
    let pushed = repo.push().fails();
    pushed
        .says("Push rejected")
        .says("Procfile")
        .says("pre-receive hook declined");
    assert_eq!(repo.remote_head(), before, "the ref must not move");
    host.must_serve("shop", "one");
    // The same repository, put right, goes through.
    repo.write_probe();
    repo.version("three");
    repo.push().ok();
    host.must_serve("shop", "three");
}

#[test]
fn garbage_in_the_procfile_is_named_with_its_line() {
    let host = Host::start();
    let repo = host.create("shop");
    repo.write_probe();
    repo.write(
        "Procfile",
        "\u{feff}# a comment\r\n%%% garbage %%%\r\nweb: ./probe\r\n\r\n: nothing\r\n",
    );
    repo.version("one");
    repo.push().ok().says("line 2");
    host.must_serve("shop", "one");
    repo.write("Procfile", "%%%\n\u{1}\u{2}\n= = =\n");
    repo.version("two");
    repo.push().fails().says("Push rejected").says("Procfile");
    host.must_serve("shop", "one");
}

#[test]
fn the_deploy_branch_can_go_back_by_force_and_cannot_be_deleted_from_under_the_app() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.version("two");
    repo.push().ok();
    repo.git(&["reset", "-q", "--hard", "HEAD~1"]).ok();
    repo.push().fails();
    host.must_serve("shop", "two");
    repo.git(&["push", "-f", REMOTE, "main"]).ok();
    host.must_serve("shop", "one");
    let _ = repo.git(&["push", REMOTE, ":main"]);
    host.must_serve("shop", "one");
}

#[test]
fn of_two_pushes_at_once_both_know_what_became_of_them() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write("mode", "slow:1500");
    let first = repo.version("two");
    let second = repo.version("three");
    let push = |commit: &str| {
        let mut c = repo.start_git(&["push", REMOTE, &format!("{commit}:refs/heads/main")]);
        c.stdout(std::process::Stdio::null());
        std::thread::spawn(move || Outcome::of(c, b"", 60))
    };
    let a = push(&first);
    eventually("the first push has made its release", 30, || {
        let releases = host.json(&["releases", "-a", "shop"]);
        (releases.as_array()?.len() > 1
            && releases
                .as_array()?
                .iter()
                .any(|r| r["status"] == "pending"))
        .then_some(())
    });
    let b = push(&second);
    let (a, b) = (a.join().expect("no panic"), b.join().expect("no panic"));
    let served = host.serves("shop").expect("it answers");
    let head = repo.remote_head().expect("there is one");
    let said = format!("{a}\n{b}");
    match served.as_str() {
        "three" => {
            assert_eq!(head, second, "{said}");
            assert_eq!(b.status, 0, "{said}");
        }
        "two" => {
            assert_eq!(head, first, "{said}");
            assert_eq!((a.status == 0, b.status == 0), (true, false), "{said}");
        }
        other => panic!("{other} is served\n{said}"),
    }
    let waited = b.err().to_lowercase();
    assert!(
        waited.contains("wait") || waited.contains("supersede") || waited.contains("another push"),
        "the second pusher was not told:\n{said}"
    );
    // Nothing sticks: the next push goes through.
    repo.write("mode", "");
    repo.version("four");
    repo.push().ok();
    host.must_serve("shop", "four");
}

#[test]
fn a_pusher_who_leaves_blocks_nobody() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write("mode", "slow:2000");
    repo.version("two");
    let mut c = repo.start_git(&["push", REMOTE, "main"]);
    use std::os::unix::process::CommandExt;
    let mut child = c
        .process_group(0)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("git starts");
    eventually("the push is under way", 30, || {
        let releases = host.json(&["releases", "-a", "shop"]);
        releases
            .as_array()?
            .iter()
            .any(|r| r["status"] == "pending")
            .then_some(())
    });
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    let _ = child.wait();
    eventually("the push is given up", 10, || {
        let releases = host.json(&["releases", "-a", "shop"]);
        let newest = releases
            .as_array()?
            .iter()
            .max_by_key(|r| r["version"].as_u64())?;
        (newest["status"] == "failed").then_some(())
    });
    host.must_serve("shop", "one");
    repo.write("mode", "");
    repo.version("three");
    let pushed = repo.git(&["push", "-f", REMOTE, "main"]).ok();
    assert!(pushed.took.as_secs() < 20, "{pushed}");
    host.must_serve("shop", "three");
}

#[test]
fn a_wrong_password_is_refused() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.version("two");
    let url = format!("http://x:nonsense@{}/shop.git", host.api());
    let pushed = repo.git(&["-c", "credential.helper=", "push", &url, "main"]);
    assert!(
        pushed.status != 0 && pushed.err().to_lowercase().contains("auth"),
        "{pushed}"
    );
    let nobody = format!("http://{}/shop.git", host.api());
    repo.git(&["-c", "credential.helper=", "ls-remote", &nobody])
        .fails();
    host.must_serve("shop", "one");
}

#[test]
fn a_push_to_an_app_that_does_not_exist_says_so() {
    let host = Host::start();
    let repo = host.deploy("shop");
    let url = format!("http://{}/shopp.git", host.api());
    repo.git(&["remote", "add", "typo", &url]).ok();
    repo.git(&["push", "typo", "main"]).fails();
}

#[test]
fn an_ordinary_user_can_do_all_of_it() {
    let host = Host::start_with(Settings {
        who: WhoAmI::Ordinary,
        ..Settings::default()
    });
    let repo = host.deploy("shop");
    let about = host.about("shop");
    assert_eq!(about["version"], "one");
    repo.version("two");
    repo.push().ok();
    host.must_serve("shop", "two");
    host.app(&["config:set", "A=b c", "-a", "shop"]).ok();
    assert_eq!(host.get("shop", "/env/A").body, b"b c");
    host.app(&["ps:scale", "web=2", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "web.2"]);
    host.app(&["run", "-a", "shop", "--", "./probe", "exit", "3"]);
    let run = host.app(&["run", "-a", "shop", "--", "./probe", "exit", "3"]);
    assert_eq!(run.status, 3, "{run}");
    host.app(&["rollback", "-a", "shop"]).ok();
    host.app(&["apps:destroy", "-a", "shop", "--confirm", "shop"])
        .ok();
    assert_eq!(host.get("shop", "/").status, 404);
}

#[test]
fn two_apps_of_one_host_have_nothing_to_do_with_each_other() {
    let host = Host::start();
    let one = host.deploy("app1");
    let ten = host.create("app10");
    ten.write_probe();
    ten.version("ten");
    ten.push().ok();
    host.must_serve("app1", "one");
    host.must_serve("app10", "ten");
    host.app(&["config:set", "WHO=one", "-a", "app1"]).ok();
    assert_eq!(host.get("app10", "/env/WHO").status, 404);
    host.app(&["ps:scale", "web=0", "-a", "app1"]).ok();
    host.must_serve("app10", "ten");
    host.app(&["apps:destroy", "-a", "app1", "--confirm", "app1"])
        .ok();
    host.must_serve("app10", "ten");
    assert!(one.push().status != 0, "the app is gone");
    host.app(&["logs", "-a", "app10"]).ok().says("app[web.1]");
}
