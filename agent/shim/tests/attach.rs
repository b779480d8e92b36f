//! Attached dynos: three pipes or a terminal.
#![allow(missing_docs)]

mod support;
use hokku_model::{dyno::Exit, shim::Frame};
use std::{
    io::Write,
    time::{Duration, Instant},
};
use support::{Bench, Dyno, Way, alive, processes, until, ways};

#[test]
fn nothing_runs_before_somebody_attaches() {
    for way in ways() {
        let b = Bench::attached(way, "echo ran; exit 2", None);
        let d = b.start().unwrap();
        let mut watcher = d.connect();
        watcher.send(Frame::AskListening);
        assert_eq!(watcher.next(), Some(Frame::Listening(vec![])));
        assert!(!d.dir.join("exit.json").exists() && alive(d.pid));
        let mut c = d.connect();
        c.send(Frame::Attach);
        let (out, err, exit) = c.finish();
        assert_eq!(
            (&*out, &*err, exit),
            (&b"ran\n"[..], &b""[..], Exit::Code(2)),
            "{way:?}"
        );
        assert_eq!(watcher.finish(), (vec![], vec![], Exit::Code(2)));
        let b = Bench::attached(way, "true", None);
        let d = b.start().unwrap();
        d.connect().send(Frame::Signal(libc::SIGTERM));
        assert_eq!(d.exit(), Exit::Signal(15), "stopped before it began");
    }
}

#[test]
fn streams_are_apart_and_stdin_ends() {
    for way in ways() {
        let b = Bench::attached(way, "cat; echo oops >&2; exit 9", None);
        let d = b.start().unwrap();
        let mut c = d.connect();
        c.send(Frame::Attach);
        c.send(Frame::Stdin(b"one\n\0\xff".to_vec()));
        c.send(Frame::Stdin(b"two".to_vec()));
        c.send(Frame::StdinEof);
        let (out, err, exit) = c.finish();
        assert_eq!(
            (&*out, &*err, exit),
            (&b"one\n\0\xfftwo"[..], &b"oops\n"[..], Exit::Code(9)),
            "{way:?}"
        );
    }
}

#[test]
fn fifty_megabytes_come_back_unchanged() {
    for (i, way) in ways().into_iter().enumerate() {
        let size = if i == 0 { 50 << 20 } else { 5 << 20 };
        let b = Bench::attached(way, "exec cat", None);
        let d = b.start().unwrap();
        let mut c = d.connect();
        c.send(Frame::Attach);
        let mut s = c.s.try_clone().unwrap();
        let data: Vec<u8> = (0..size as u64)
            .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8)
            .collect();
        let sent = std::thread::spawn(move || {
            for part in data.chunks(60_000) {
                s.write_all(&Frame::Stdin(part.to_vec()).encode()).unwrap();
            }
            s.write_all(&Frame::StdinEof.encode()).unwrap();
            data
        });
        let (out, _, exit) = c.finish();
        let data = sent.join().unwrap();
        assert!(out == data, "{way:?}: {} bytes came back", out.len());
        assert_eq!(exit, Exit::Code(0));
    }
}

#[test]
fn a_client_that_does_not_read_holds_the_process_back_and_loses_nothing() {
    for way in ways() {
        let b = Bench::attached(
            way,
            "head -c 8000000 /dev/zero; echo done >&2; exit 1",
            None,
        );
        let d = b.start().unwrap();
        let mut c = d.connect();
        c.send(Frame::Attach);
        // the shim still answers others, and does not hoard
        let mut other = d.connect();
        let mut last = 0;
        until("the flow to stop", || {
            other.send(Frame::AskListening);
            other.next();
            let status = std::fs::read_to_string(format!("/proc/{}/status", d.pid)).unwrap();
            let rss: u64 = status
                .split("VmRSS:")
                .nth(1)
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap()
                .parse()
                .unwrap();
            let same = rss == last;
            last = rss;
            same
        });
        assert!(last < 8_000, "{last} kB");
        assert!(!d.dir.join("exit.json").exists());
        let (out, err, exit) = c.finish();
        assert_eq!(
            (out.len(), &*err, exit),
            (8_000_000, &b"done\n"[..], Exit::Code(1)),
            "{way:?}"
        );
    }
}

#[test]
fn a_terminal_has_a_size_that_changes_and_is_the_process_own() {
    for way in ways() {
        let script = "tty; stty size; trap 'stty size' WINCH; echo ready; while :; do read -t 0.05 x && break; done; echo bye $x; ps -o tty= 2>/dev/null | head -0; : > /dev/tty && echo own; exit 3";
        let b = Bench::attached(way, script, Some((24, 80)));
        let d = b.start().unwrap();
        let mut c = d.connect();
        c.send(Frame::Attach);
        let seen = c.expect("ready");
        assert!(
            seen.contains("/dev/pts/") && seen.contains("24 80\r\n"),
            "{way:?} {seen:?}"
        );
        c.send(Frame::Resize(40, 132));
        c.expect("40 132");
        c.send(Frame::Stdin(b"now\r".to_vec()));
        let (out, err, exit) = c.finish();
        let out = String::from_utf8_lossy(&out);
        assert!(
            out.contains("bye now\r\n") && out.contains("own"),
            "{out:?}"
        );
        assert_eq!((&*err, exit), (&b""[..], Exit::Code(3)));
    }
}

#[test]
fn ctrl_c_and_end_of_input_work_on_a_terminal() {
    for way in ways() {
        let b = Bench::attached(way, "echo ready; exec sleep 100", Some((24, 80)));
        let d = b.start().unwrap();
        let mut c = d.connect();
        c.send(Frame::Attach);
        c.expect("ready");
        c.send(Frame::Stdin(vec![3]));
        assert_eq!(c.finish().2, Exit::Signal(2), "{way:?}");
        for (typed, line) in [(&b"whole\n"[..], "got whole"), (b"begun", "got begun")] {
            let b = Bench::attached(
                way,
                "echo ready; x=$(cat); echo got $x; exit 4",
                Some((24, 80)),
            );
            let d = b.start().unwrap();
            let mut c = d.connect();
            c.send(Frame::Attach);
            c.expect("ready");
            c.send(Frame::Stdin(typed.to_vec()));
            c.send(Frame::StdinEof);
            let (out, _, exit) = c.finish();
            assert!(
                String::from_utf8_lossy(&out).contains(line),
                "{way:?} {typed:?}"
            );
            assert_eq!(exit, Exit::Code(4));
        }
    }
}

#[test]
fn a_client_that_hangs_up_is_told_to_the_process() {
    for way in ways() {
        for pty in [None, Some((24, 80))] {
            let b = Bench::attached(
                way,
                "trap 'exit 5' HUP; echo ready; while :; do sleep 0.02; echo x; done",
                pty,
            );
            let d = b.start().unwrap();
            let mut c = d.connect();
            c.send(Frame::Attach);
            c.expect("ready");
            c.send(Frame::HangUp);
            drop(c);
            assert_eq!(d.exit(), Exit::Code(5), "{way:?} {pty:?}");
        }
    }
}

#[test]
fn a_hang_up_counts_only_from_the_client_that_is_attached() {
    for way in ways() {
        let b = Bench::attached(way, "trap 'exit 5' HUP; echo ready; read x; exit 6", None);
        let d = b.start().unwrap();
        let (mut one, mut two) = (d.connect(), d.connect());
        one.send(Frame::Attach);
        one.expect("ready");
        two.send(Frame::Attach);
        two.send(Frame::AskListening);
        assert_eq!(two.next(), Some(Frame::Listening(vec![])));
        one.send(Frame::HangUp);
        one.send(Frame::AskListening);
        assert_eq!(one.next(), Some(Frame::Listening(vec![])));
        two.send(Frame::Stdin(b"\n".to_vec()));
        assert_eq!(two.finish().2, Exit::Code(6), "{way:?}");
    }
}

/// Writes when it is told to by SIGUSR1, after its client was lost, and says so by a process that sleeps for `mark`.
fn loses_its_client(way: Way, script: &str, pty: Option<(u16, u16)>, mark: &str) -> (Bench, Dyno) {
    let (head, tail) = mark.split_at(2);
    let begin =
        "trap 'go=1' USR1; echo ready; while [ -z \"$go\" ]; do sleep 0.01; done 2>/dev/null";
    let end =
        format!("(trap '' USR1; exec sleep $(({head}+0)){tail}) & read x; echo got $x; exit 7");
    let b = Bench::attached(way, &format!("{begin}; {script}; {end}"), pty);
    let d = b.start().unwrap();
    let mut c = d.connect();
    c.send(Frame::Attach);
    c.expect("ready");
    drop(c);
    // what is answered after the loss was seen
    let mut other = d.connect();
    other.send(Frame::AskListening);
    assert_eq!(other.next(), Some(Frame::Listening(vec![])));
    other.send(Frame::Signal(libc::SIGUSR1));
    until("it has written", || !processes(mark).is_empty());
    (b, d)
}

#[test]
fn after_a_lost_connection_another_client_gets_what_was_written_meanwhile() {
    for way in ways() {
        for (n, pty) in [None, Some((24, 80))].into_iter().enumerate() {
            let mark = format!("42{}{n}", std::process::id());
            let (_b, d) = loses_its_client(way, "seq 1 1000; echo e >&2", pty, &mark);
            let mut c = d.connect();
            c.send(Frame::Attach);
            c.send(Frame::Stdin(b"x\n".to_vec()));
            let (out, err, exit) = c.finish();
            let out = String::from_utf8(out).unwrap();
            assert!(
                out.starts_with("1\n") || out.starts_with("1\r\n"),
                "{way:?} {pty:?}: {out}"
            );
            assert!(out.contains("1000") && out.contains("got x"), "{out}");
            assert_eq!(err, if pty.is_some() { &b""[..] } else { b"e\n" });
            assert_eq!(exit, Exit::Code(7), "{way:?} {pty:?}");
        }
    }
}

#[test]
fn what_is_kept_while_nobody_is_attached_is_bounded_and_the_rest_is_counted() {
    for way in ways() {
        let mark = format!("42{}8", std::process::id());
        let script = "head -c 3000000 /dev/zero; echo end";
        let (_b, d) = loses_its_client(way, script, None, &mark);
        let mut c = d.connect();
        c.send(Frame::Attach);
        c.send(Frame::StdinEof);
        let (out, err, _) = c.finish();
        let end = b"end\ngot\n";
        assert!(
            out.len() <= 256 * 1024 + 100 && out.ends_with(end),
            "{way:?}: {}",
            out.len()
        );
        let err = String::from_utf8(err).unwrap();
        assert!(
            err.contains("bytes of output from while nobody was attached were dropped"),
            "{err}"
        );
    }
}

#[test]
fn the_newest_client_takes_over() {
    for way in ways() {
        let b = Bench::attached(
            way,
            "echo first; read a; echo got $a; read b; echo and $b",
            None,
        );
        let d = b.start().unwrap();
        let mut one = d.connect();
        one.send(Frame::Attach);
        one.expect("first");
        let mut two = d.connect();
        two.send(Frame::Attach);
        two.send(Frame::Stdin(b"x\n".to_vec()));
        two.expect("got x");
        one.send(Frame::Stdin(b"ignored\n".to_vec()));
        one.send(Frame::AskListening);
        assert_eq!(one.next(), Some(Frame::Listening(vec![])));
        two.send(Frame::Stdin(b"y\n".to_vec()));
        let (out, _, _) = two.finish();
        assert_eq!(out, b"and y\n", "{way:?}");
        assert_eq!(one.finish().0, b"");
    }
}

#[test]
fn what_cannot_be_started_says_so_to_the_client() {
    for way in ways() {
        for pty in [None, Some((24, 80))] {
            let mut b = Bench::attached(way, "", pty);
            b.spec.argv = vec!["no-such-program".into()];
            let d = b.start().unwrap();
            let mut c = d.connect();
            c.send(Frame::Attach);
            let (out, err, exit) = c.finish();
            let text = String::from_utf8([out, err].concat()).unwrap();
            assert!(
                text.starts_with("no-such-program: command not found"),
                "{text}"
            );
            assert_eq!(exit, Exit::Code(127));
        }
    }
}

#[test]
fn a_process_that_closes_its_stdin_is_not_waited_for() {
    for way in ways() {
        let b = Bench::attached(way, "exec <&-; echo closed; sleep 0.1; exit 8", None);
        let d = b.start().unwrap();
        let mut c = d.connect();
        c.send(Frame::Attach);
        c.expect("closed");
        let mut s = c.s.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            for _ in 0..100 {
                if s.write_all(&Frame::Stdin(vec![0; 60_000]).encode())
                    .is_err()
                {
                    break;
                }
            }
        });
        assert_eq!(c.finish().2, Exit::Code(8), "{way:?}");
        writer.join().unwrap();
    }
}

#[test]
fn a_shim_at_rest_uses_no_processor() {
    for way in ways() {
        let mark = format!("4242{}", std::process::id());
        let b = Bench::attached(way, &format!("exec sleep {mark}"), None);
        let d = b.start().unwrap();
        let mut c = d.connect();
        c.send(Frame::Attach);
        until("the process", || !processes(&mark).is_empty());
        let switches = || {
            let s = std::fs::read_to_string(format!("/proc/{}/status", d.pid)).unwrap();
            s.split("\nvoluntary_ctxt_switches:")
                .nth(1)
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        let (t, before) = (Instant::now(), switches());
        while t.elapsed() < Duration::from_millis(300) {
            std::thread::yield_now();
        }
        assert!(switches() <= before + 2, "{way:?}: it wakes up for nothing");
        c.send(Frame::Kill);
        c.finish();
    }
}
