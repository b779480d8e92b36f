//! `app run`: the command's arguments, streams, terminal and exit status, unchanged.

use crate::support::{Host, Outcome, eventually, terminal::Terminal};
use std::io::{BufRead, BufReader};

fn hex(b: &[u8]) -> String {
    b.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn arguments_arrive_unchanged() {
    let host = Host::start();
    host.deploy("shop");
    let args = [
        "plain",
        "",
        "two words",
        "it's",
        "\"quoted\"",
        "$HOME",
        "$(id); ls | cat && true",
        "new\nline",
        "back\\slash",
        "*",
        "-x",
        "--help",
        "żółć",
    ];
    let mut all = vec!["run", "-a", "shop", "--", "./probe", "argv"];
    all.extend(args);
    let o = host.app(&all).ok();
    let expected: Vec<String> = args.iter().map(|a| hex(a.as_bytes())).collect();
    let out = o.out();
    let got: Vec<&str> = out.lines().collect();
    assert_eq!(got, expected, "{o}");
}

#[test]
fn its_exit_status_is_that_of_the_command() {
    let host = Host::start();
    host.deploy("shop");
    for status in [0, 1, 3, 127, 255] {
        let o = host.app(&[
            "run",
            "-a",
            "shop",
            "--",
            "./probe",
            "exit",
            &status.to_string(),
        ]);
        assert_eq!(o.status, status, "{o}");
    }
    let o = host.app(&["run", "-a", "shop", "--", "./probe", "kill-me", "9"]);
    assert_eq!(o.status, 137, "{o}");
    let o = host.app(&["run", "-a", "shop", "--", "no-such-program-here"]);
    assert_eq!(o.status, 127, "{o}");
}

#[test]
fn ten_megabytes_of_any_bytes_go_through_and_come_back() {
    let host = Host::start();
    host.deploy("shop");
    let mut x = 0x2545_f491_4f6c_dd1du64;
    let input: Vec<u8> = (0..10 << 20)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect();
    let o = host
        .app_with(&["run", "-a", "shop", "--", "./probe", "cat"], &input)
        .ok();
    assert_eq!(o.stdout.len(), input.len(), "{}", o.err());
    assert!(o.stdout == input, "the bytes differ");
    assert!(
        o.err().contains("probe: copied 10485760 bytes"),
        "{}",
        o.err()
    );
}

#[test]
fn it_runs_in_the_release_with_a_name_of_its_own() {
    let host = Host::start();
    host.deploy("shop");
    let o = host
        .app(&[
            "run",
            "-a",
            "shop",
            "--",
            "bash",
            "-c",
            "echo $DYNO; pwd; cat version; echo ${PORT-none}",
        ])
        .ok();
    let out = o.out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("run."), "{o}");
    assert_eq!(&lines[1..], ["/app", "onenone"], "{o}");
    eventually("it is not listed any more", 10, || {
        (host.dynos("shop").len() == 1).then_some(())
    });
}

#[test]
fn a_terminal_with_its_size_resize_and_interrupt() {
    let host = Host::start();
    host.deploy("shop");
    let mut c = host.command("app");
    c.env("TERM", "xterm-256color")
        .args(["run", "-a", "shop", "--", "./probe", "tty"]);
    let mut t = Terminal::start(c, 40, 100);
    t.wait_for("terminal: true true true, TERM=xterm-256color");
    t.wait_for("size: 40x100");
    t.resize(50, 120);
    t.wait_for("size: 50x120");
    t.type_in(b"\x03");
    t.wait_for("interrupted");
    assert_eq!(t.ends(), 7, "{}", t.shown());
}

#[test]
fn a_shell_on_a_terminal() {
    let host = Host::start();
    host.deploy("shop");
    let mut c = host.command("app");
    c.env("TERM", "xterm")
        .args(["run", "-a", "shop", "--", "bash", "--norc"]);
    let mut t = Terminal::start(c, 24, 80);
    t.type_in(b"echo $((40+2)) $DYNO\r");
    t.wait_for("42 run.");
    t.type_in(b"exit 5\r");
    assert_eq!(t.ends(), 5, "{}", t.shown());
}

#[test]
fn detached_it_writes_to_the_log() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&[
        "run:detached",
        "-a",
        "shop",
        "--",
        "./probe",
        "lines",
        "3",
        "nightly",
    ])
    .ok()
    .says("run.");
    let line = host.logged("shop", "nightly 3");
    assert!(line.contains("app[run."), "{line}");
}

#[test]
fn a_client_that_is_killed_leaves_no_dyno_behind() {
    let host = Host::start();
    host.deploy("shop");
    let mut c = host.command("app");
    c.args(["run", "-a", "shop", "--", "./probe", "worker"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = c.spawn().expect("app starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut first)
        .expect("a pipe");
    assert!(first.starts_with("worker run."), "{first:?}");
    assert_eq!(host.dynos("shop").len(), 2);
    child.kill().expect("it runs");
    child.wait().expect("our child");
    eventually("its dyno is gone", 10, || {
        (host.dynos("shop").len() == 1).then_some(())
    });
}

#[test]
fn before_the_first_push_it_says_what_is_missing() {
    let host = Host::start();
    host.create("shop");
    let o = host.app(&["run", "-a", "shop", "--", "true"]).fails();
    assert!(
        o.err().to_lowercase().contains("deploy") || o.err().contains("push"),
        "{o}"
    );
}

#[test]
fn more_environment_can_be_given() {
    let host = Host::start();
    host.deploy("shop");
    let mut c = host.command("app");
    c.args([
        "run",
        "-a",
        "shop",
        "-e",
        "EXTRA=a b",
        "--",
        "./probe",
        "env",
        "EXTRA",
    ]);
    let o = Outcome::of(c, b"", 30).ok();
    assert_eq!(o.out(), "a b");
}

#[test]
fn every_exit_status_and_signal_comes_back() {
    let host = Host::start();
    host.deploy("shop");
    let codes = (0..256).map(|n| (format!("exit {n}"), n));
    // All that end a process; dash, because bash ignores SIGQUIT.
    let deadly = (1..=15).chain(24..=27).chain(29..=31).chain([34, 50, 64]);
    let signals = deadly.map(|n| (format!("kill -{n} $$"), 128 + n));
    let all: Vec<(String, i32)> = codes.chain(signals).collect();
    std::thread::scope(|s| {
        for part in all.chunks(all.len().div_ceil(4)) {
            let host = &host;
            s.spawn(move || {
                for (script, status) in part {
                    let o = host.app(&["run", "-a", "shop", "--", "dash", "-c", script]);
                    assert_eq!(o.status, *status, "{script}: {o}");
                }
            });
        }
    });
    // Each of them is remembered with its status too, up to a bound.
    eventually("the list is complete", 10, || {
        let list = host.json(&["run:list", "--all", "-a", "shop"]);
        let list = list.as_array().expect("a list").clone();
        // those that ran while others ended are kept besides
        ((200..205).contains(&list.len()) && list.iter().all(|r| r["status"].is_i64()))
            .then_some(())
    });
}

#[test]
fn it_ends_when_its_time_is_over() {
    let host = Host::start();
    host.deploy("shop");
    let o = host.app(&["run", "-a", "shop", "--timeout", "1", "--", "sleep", "1000"]);
    assert_eq!(o.status, 137, "{o}");
    host.app(&["run", "-a", "shop", "--timeout", "soon", "--", "true"])
        .fails()
        .says("90s, 10m or 2h");
}

#[test]
fn a_size_is_what_it_may_use() {
    let host = Host::start();
    host.deploy("shop");
    let limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
    let o = host
        .app(&[
            "run",
            "-a",
            "shop",
            "--size",
            "standard-2x",
            "--",
            "cat",
            limit,
        ])
        .ok();
    assert_eq!(o.out().trim(), (1u64 << 30).to_string());
    host.app(&["run", "-a", "shop", "--size", "huge", "--", "true"])
        .fails()
        .says("standard-2x");
}

#[test]
fn in_another_release_it_has_that_code_and_that_config() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["config:set", "A=new", "-a", "shop"]).ok();
    repo.version("two");
    repo.push().ok();
    let show = "cat version; echo \" ${A-unset} $HEROKU_RELEASE_VERSION\"";
    let in_release = |v: &str| {
        let o = host.app(&["run", "-a", "shop", "--release", v, show]);
        o.ok().out().trim().to_owned()
    };
    assert_eq!(in_release("v2"), "one unset v2");
    assert_eq!(in_release("3"), "one new v3");
    assert_eq!(in_release("v4"), "two new v4");
    host.app(&["run", "-a", "shop", "--release", "v1", "true"])
        .fails()
        .says("v1 has no slug");
    host.app(&["run", "-a", "shop", "--release", "v9", "true"])
        .fails()
        .says("v9");
}

#[test]
fn detached_it_is_listed_stopped_and_found_afterwards() {
    let host = Host::start();
    host.deploy("shop");
    let start = |command: &[&str]| -> String {
        let mut all = vec!["run:detached", "--json", "-a", "shop", "--"];
        all.extend(command);
        let o = host.app(&all).ok();
        let dyno: serde_json::Value = serde_json::from_slice(&o.stdout).expect("JSON");
        dyno["name"].as_str().expect("a name").to_owned()
    };
    let long = start(&["sleep", "1000"]);
    let short = start(&["bash", "-c", "echo found me; exit 3"]);
    let find = |name: &str| -> Option<serde_json::Value> {
        let list = host.json(&["run:list", "--all", "-a", "shop"]);
        let mut list = list.as_array().expect("a list").clone();
        list.retain(|r| r["name"] == name);
        list.pop()
    };
    eventually("the short one has ended", 20, || {
        (find(&short)?["status"] == 3).then_some(())
    });
    let out = host.app(&["run:list", "-a", "shop"]).ok().out();
    assert!(out.contains(&long) && !out.contains(&short), "{out}");
    let out = host.app(&["run:list", "--all", "-a", "shop"]).ok().out();
    assert!(out.contains("failed (exit status 3)"), "{out}");
    let log = host.app(&["run:logs", &short, "-a", "shop"]).ok().out();
    assert!(log.contains("found me") && !log.contains(&long), "{log}");
    host.app(&["run:attach", &short, "-a", "shop"])
        .fails()
        .says("has ended");
    host.app(&["run:attach", &long, "-a", "shop"])
        .fails()
        .says("run:logs");
    host.app(&["run:stop", &long, "-a", "shop"]).ok();
    eventually("the long one is stopped", 20, || {
        (find(&long)?["status"] == 143).then_some(())
    });
    // also over a restart of the agent
    host.kill_agent();
    host.start_agent();
    assert_eq!(find(&short).expect("it is remembered")["status"], 3);
    assert_eq!(host.dynos("shop").len(), 1);
}

#[test]
fn how_many_run_at_once_is_limited() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["limits:set", "run", "--concurrency", "1", "-a", "shop"])
        .ok();
    host.app(&["limits:set", "web", "--concurrency", "1", "-a", "shop"])
        .fails()
        .says("use the type run");
    host.app(&["run:detached", "-a", "shop", "--", "sleep", "1000"])
        .ok();
    let o = host.app(&["run", "-a", "shop", "--", "true"]).fails();
    o.says("shop already runs 1 one-off dynos, and 1 may run at once")
        .says("--concurrency 2");
    host.app(&["limits:unset", "run", "concurrency", "-a", "shop"])
        .ok();
    host.app(&["run", "-a", "shop", "--", "true"]).ok();
}

#[test]
fn one_whose_agent_was_killed_or_stopped_can_be_attached_to_again() {
    let host = Host::start();
    host.deploy("shop");
    loses_its_agent(&host, Host::kill_agent);
    loses_its_agent(&host, Host::stop_agent);
}

fn loses_its_agent(host: &Host, end: impl Fn(&Host)) {
    let mut c = host.command("app");
    let script = "echo begun $DYNO; read -r a; echo got $a; exit 5";
    c.args(["run", "-a", "shop", "--", "bash", "-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = c.spawn().expect("app starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut first)
        .expect("a pipe");
    let name = first
        .trim()
        .strip_prefix("begun ")
        .expect("its name")
        .to_owned();
    end(host);
    let out = child.wait_with_output().expect("our child");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains(&format!("app run:attach {name}")), "{said}");
    assert_ne!(out.status.code(), Some(0));
    host.start_agent();
    let listed = host.app(&["run:list", "-a", "shop"]).ok().out();
    assert!(listed.contains(&name), "{listed}");
    let o = host.app_with(&["run:attach", "-a", "shop"], b"there\n");
    assert_eq!((o.status, o.out().trim()), (5, "got there"), "{o}");
    host.app(&["run:attach", "-a", "shop"])
        .fails()
        .says("No one-off dyno of shop can be attached to");
}

#[test]
fn one_that_ends_while_the_agent_is_away_is_remembered_with_its_status() {
    let host = Host::start();
    host.deploy("shop");
    let o = host.app(&[
        "run:detached",
        "--json",
        "-a",
        "shop",
        "--",
        "bash",
        "-c",
        "sleep 0.5; exit 9",
    ]);
    let dyno: serde_json::Value = serde_json::from_slice(&o.ok().stdout).expect("JSON");
    host.kill_agent();
    eventually("it has ended", 20, || {
        let alive = host.processes().iter().any(|p| p.contains("exit 9"));
        (!alive).then_some(())
    });
    host.start_agent();
    eventually("its status is known", 20, || {
        let list = host.json(&["run:list", "--all", "-a", "shop"]);
        (list[0]["name"] == dyno["name"] && list[0]["status"] == 9).then_some(())
    });
    eventually("nothing of it is left on disk", 10, || {
        let left = std::fs::read_dir(host.data().join("dynos")).ok()?.count();
        (left == 1).then_some(())
    });
}

#[test]
fn one_that_cannot_be_started_says_why_and_is_not_listed_as_running() {
    let host = Host::start();
    let repo = host.deploy("shop");
    let old = host.json(&["releases", "-a", "shop"])[0]["slug"]["id"]
        .as_str()
        .expect("a slug")
        .to_owned();
    repo.version("two");
    repo.push().ok();
    host.up("shop", &["web.1"]);
    for (folder, ending) in [("slugs", ".tar.zst"), ("releases", "")] {
        for app in std::fs::read_dir(host.data().join(folder))
            .expect("a folder")
            .flatten()
        {
            let path = app.path().join(format!("{old}{ending}"));
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    let o = host
        .app(&["run", "-a", "shop", "--release", "v2", "--", "true"])
        .fails();
    assert!(o.err().contains("slug") || o.err().contains(&old), "{o}");
    eventually("it is not listed any more", 10, || {
        let list = host.json(&["run:list", "--all", "-a", "shop"]);
        (list[0]["status"] == 126).then_some(())
    });
}
