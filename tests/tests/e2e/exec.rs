//! `app ps:exec` and `app ps:copy`: commands inside a dyno that runs, and files out of it.

use crate::support::{Host, Settings, WhoAmI, eventually, http::Connection, terminal::Terminal};
use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt};

fn exec<'a>(host: &Host, dyno: &'a str, words: &[&'a str]) -> crate::support::Outcome {
    let mut all = vec!["ps:exec", dyno, "-a", "shop", "--"];
    all.extend(words);
    host.app(&all)
}

/// Is a process with this on its command line on the machine?
fn runs(mark: &str) -> bool {
    let all = fs::read_dir("/proc").expect("proc is mounted").flatten();
    let mut lines = all.filter_map(|e| fs::read(e.path().join("cmdline")).ok());
    lines.any(|l| String::from_utf8_lossy(&l).contains(mark))
}

fn sees_what_the_dyno_sees(host: &Host) {
    let repo = host.deploy("shop");
    repo.write(".profile.d/tool.sh", "export TOOL=of-the-slug\n");
    repo.version("two");
    repo.push().ok();
    host.app(&["config:set", "SECRET=it's $HOME", "-a", "shop"])
        .ok();
    host.must_serve("shop", "two");
    let shown = "echo \"$SECRET|$TOOL|$DYNO|$PORT|$HOME|$PWD\"; id -u; hostname; cat version";
    let o = exec(host, "web.1", &[shown]).ok();
    let about = host.about("shop");
    let port = about["port"].as_str().expect("it has one");
    let lines: Vec<String> = o.out().lines().map(String::from).collect();
    assert_eq!(
        lines[0],
        format!("it's $HOME|of-the-slug|web.1|{port}|/app|/app"),
        "{o}"
    );
    assert_eq!(lines[1], about["uid"].to_string(), "{o}");
    assert_eq!(
        (lines[2].as_str(), lines[3].trim()),
        ("web.1", "two"),
        "{o}"
    );

    // the same file system and processes: not those of another dyno of the app
    let to: SocketAddr = format!("127.0.0.1:{port}").parse().expect("a port");
    let mut c = Connection::open(to).expect("the dyno listens");
    c.send(
        "POST",
        "shop.localhost",
        "/write/tmp/note",
        &[],
        b"from the app",
    )
    .expect("it takes it");
    c.receive("POST").expect("it answers");
    exec(host, "web.1", &["cat", "/tmp/note"])
        .ok()
        .says("from the app");
    exec(host, "web.1", &["echo left > /tmp/answer"]).ok();
    assert_eq!(host.get("shop", "/read/tmp/answer").text(), "left\n");
    let seen = exec(host, "web.1", &["cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).ok();
    assert!(seen.out().contains("probe"), "{seen}");

    let words = [
        "./probe",
        "argv",
        "two words",
        "",
        "$HOME",
        "it's",
        "*",
        "ż",
    ];
    let o = exec(host, "web.1", &words).ok();
    let hex = |w: &&str| w.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    let wanted: Vec<String> = words[2..].iter().map(hex).collect();
    assert_eq!(o.out().lines().collect::<Vec<_>>(), wanted, "{o}");
    for status in [0, 1, 3, 127, 255] {
        let o = exec(host, "web.1", &["./probe", "exit", &status.to_string()]);
        assert_eq!(o.status, status, "{o}");
    }
    assert_eq!(
        exec(host, "web.1", &["./probe", "kill-me", "9"]).status,
        137
    );
    assert_eq!(exec(host, "web.1", &["no-such-program"]).status, 127);
    host.must_serve("shop", "two");
}

#[test]
fn a_command_sees_what_the_dyno_sees() {
    sees_what_the_dyno_sees(&Host::start());
}

#[test]
fn a_command_sees_what_the_dyno_of_an_ordinary_user_sees() {
    let who = WhoAmI::Ordinary;
    sees_what_the_dyno_sees(&Host::start_with(Settings {
        who,
        ..Settings::default()
    }));
}

#[test]
fn bytes_go_in_and_come_out_unchanged_and_files_are_copied() {
    let host = Host::start();
    host.deploy("shop");
    let mut x = 0x2545_f491_4f6c_dd1du64;
    let input: Vec<u8> = (0..5 << 20)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect();
    let tee = "mkdir -p /tmp/all/deep && tee /tmp/all/deep/data && echo small > /tmp/all/small && ln -s small /tmp/all/link && chmod 700 /tmp/all/small";
    let all = ["ps:exec", "-d", "web.1", "-a", "shop", "--", tee];
    let o = host.app_with(&all, &input).ok();
    assert!(o.stdout == input, "{} bytes came back", o.stdout.len());

    let here = host.dir().join("copies");
    fs::create_dir(&here).expect("a folder");
    let at = |n: &str| here.join(n).display().to_string();
    let copy = |from: &str, to: &str| host.app(&["ps:copy", from, to, "-a", "shop"]);
    copy("web.1:/tmp/all/deep/data", &here.display().to_string())
        .ok()
        .says("Copied web.1:/tmp/all/deep/data to");
    assert!(fs::read(at("data")).expect("it was copied") == input);
    copy("web.1:/tmp/all", &at("folder")).ok();
    assert!(fs::read(at("folder/deep/data")).expect("it was copied") == input);
    assert_eq!(
        fs::read(at("folder/link")).expect("it was copied"),
        b"small\n"
    );
    let mode = fs::metadata(at("folder/small")).expect("it was copied");
    assert_eq!(mode.permissions().mode() & 0o700, 0o700);
    assert!(copy("web.1:/tmp/all/deep/data", "-").ok().stdout == input);
    // below /app unless it begins with /
    copy("version", &at("version")).ok();
    assert_eq!(
        fs::read_to_string(at("version"))
            .expect("it was copied")
            .trim(),
        "one"
    );
    // into a folder that is there, and not over what is in it
    copy("web.1:/tmp/all", &at("folder")).ok();
    assert!(fs::read(at("folder/all/deep/data")).expect("it was copied") == input);
    copy("web.1:/tmp/all", &at("folder"))
        .fails()
        .says("is there already");
    let none = copy("web.1:/nowhere", &at("none")).fails();
    none.says("No such file").says("can't be copied from web.1");
    assert!(!here.join("none").exists());
}

#[test]
fn a_terminal_has_its_size_and_hangs_up() {
    let host = Host::start();
    host.deploy("shop");
    let mark = format!("86{}", host.api().port());
    let mut c = host.command("app");
    c.args(["ps:exec", "web.1", "-a", "shop"]);
    let mut t = Terminal::start(c, 30, 100);
    t.wait_for("$");
    t.type_in(b"stty size; echo D=$DYNO T=$TERM\r");
    t.wait_for("30 100");
    t.wait_for("D=web.1");
    t.resize(40, 120);
    t.type_in(b"stty size\r");
    t.wait_for("40 120");
    // Ctrl-C is the command's, not ours
    t.type_in(format!("sleep {mark}1\r").as_bytes());
    eventually("it sleeps", 20, || runs(&format!("{mark}1")).then_some(()));
    t.type_in(b"\x03");
    eventually("it was interrupted", 20, || {
        (!runs(&format!("{mark}1"))).then_some(())
    });
    t.type_in(b"exit 7\r");
    assert_eq!(t.ends(), 7);

    let mut c = host.command("app");
    c.args([
        "ps:exec",
        "web.1",
        "-a",
        "shop",
        "--",
        "sleep",
        &format!("{mark}2"),
    ]);
    let mut child = c.spawn().expect("it starts");
    eventually("it sleeps", 20, || {
        runs(&format!("sleep\0{mark}2")).then_some(())
    });
    child.kill().expect("it lives");
    let _ = child.wait();
    eventually("the command got SIGHUP", 20, || {
        (!runs(&format!("sleep\0{mark}2"))).then_some(())
    });
    host.up("shop", &["web.1"]);
}

#[test]
fn it_ends_with_its_dyno_and_a_new_agent_goes_on() {
    let host = Host::start();
    host.deploy("shop");
    let start = |script: &str| {
        let mut c = host.command("app");
        c.args(["ps:exec", "web.1", "-a", "shop", "--", script]);
        Terminal::start(c, 24, 80)
    };
    let mut t = start("echo is-on; sleep 1000");
    t.wait_for("is-on");
    let before = host.dynos("shop");
    host.app(&["ps:restart", "web.1", "-a", "shop"]).ok();
    t.wait_for("the dyno is told to end (signal 15)");
    assert!(t.ends() > 128);
    eventually("a new dyno", 20, || {
        let now = host.dynos("shop");
        (now.len() == 1 && now[0].1 == "up" && now != before).then_some(())
    });

    // The agent dies in the middle: the command is hung up on, the dyno is not touched, and the next agent can do it too.
    let before = host.dynos("shop");
    let mark = format!("87{}", host.api().port());
    let mut t = start(&format!("echo is-on; exec sleep {mark}"));
    t.wait_for("is-on");
    eventually("it sleeps", 20, || {
        runs(&format!("sleep\0{mark}")).then_some(())
    });
    host.kill_agent();
    assert_ne!(t.ends(), 0);
    eventually("the command got SIGHUP", 20, || {
        (!runs(&format!("sleep\0{mark}"))).then_some(())
    });
    host.start_agent();
    exec(&host, "web.1", &["echo", "again"]).ok().says("again");
    assert_eq!(host.dynos("shop"), before, "the dyno was touched");
}

#[test]
fn what_cant_be_done_is_said() {
    let host = Host::start();
    let repo = host.deploy("shop");
    exec(&host, "web.7", &["ls"])
        .fails()
        .says("Couldn't find the dyno");
    host.app(&["ps:exec", "-d", "web", "-a", "shop", "--", "ls"])
        .fails()
        .says("no name of a dyno");
    repo.write("Procfile", "web: ./probe\nworker: false\n");
    repo.version("two");
    repo.push().ok();
    host.app(&["ps:scale", "worker=1", "-a", "shop"]).ok();
    host.logged("shop", "heroku[worker.1]: State changed from");
    eventually("it is refused in words", 20, || {
        let o = exec(&host, "worker.1", &["ls"]);
        (o.status != 0 && o.text().contains("does not run")).then_some(())
    });
}
