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
