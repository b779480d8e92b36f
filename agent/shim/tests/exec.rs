//! Commands run inside a dyno that runs already.
#![allow(missing_docs)]

mod support;
use hokku_model::{
    dyno::Exit,
    exec::ExecOrder,
    shim::{Frame, Isolation},
};
use std::{io::Write, time::Instant};
use support::{Bench, Conn, Dyno, alive, processes, until, ways};

/// A dyno that waits, and says so.
fn at_rest(way: support::Way) -> (Bench, Dyno) {
    let mut b = Bench::new(
        way,
        "echo $$ > pid; trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done",
    );
    b.spec.env.push(("CONFIG".into(), "a secret".into()));
    b.spec.limits.nofile = Some(512);
    let d = b.start().unwrap();
    b.wait_log("ready");
    (b, d)
}

fn order(script: &str) -> ExecOrder {
    ExecOrder {
        argv: ["/bin/bash", "-c", script].map(String::from).to_vec(),
        grace_ms: 30_000,
        ..ExecOrder::default()
    }
}

fn ask(d: &Dyno, order: &ExecOrder) -> Conn {
    let mut c = d.connect();
    let text = serde_json::to_vec(order).unwrap();
    // in pieces, as a long one comes
    for part in text.chunks(7) {
        c.send(Frame::Order(part.to_vec()));
    }
    c.send(Frame::Exec);
    c
}

fn exec(d: &Dyno, order: &ExecOrder) -> Conn {
    let mut c = ask(d, order);
    assert_eq!(c.next(), Some(Frame::Executing));
    c
}

#[test]
fn a_command_is_behind_the_same_walls_as_the_dyno() {
    for way in ways() {
        let (b, d) = at_rest(way);
        let show = "id -u; pwd; echo $CONFIG; ulimit -n; ulimit -Hc; \
            grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd|CapPrm):' /proc/self/status; \
            for n in mnt pid ipc uts user; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup";
        let (inside, err, exit) = exec(&d, &order(show)).finish();
        assert_eq!((&*err, exit), (&b""[..], Exit::Code(0)), "{way:?}");
        let inside = String::from_utf8(inside).unwrap();
        let mut own = b;
        own.spec.argv = ["/bin/bash", "-c", show].map(String::from).to_vec();
        drop(d);
        let dir = own.path("dyno2");
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, way.user, way.user).unwrap();
        own.spec.dir = dir;
        let log = own.path("logs/two.log");
        own.spec.output = hokku_model::shim::Output::Log {
            file: log.clone(),
            source: "app[web.1]".into(),
            max_bytes: 1 << 20,
        };
        own.start().unwrap().exit();
        let mut as_dyno = support::texts(&log).join("\n");
        let mut as_exec = inside.trim_end().to_owned();
        for text in [&mut as_dyno, &mut as_exec] {
            // other namespaces, another folder: but namespaces of its own, both times
            assert!(
                text.contains("a secret") && text.contains("NoNewPrivs:\t1"),
                "{text}"
            );
            let kept: Vec<&str> = text
                .lines()
                .filter(|l| !l.contains(":[") && !l.contains("/dyno"))
                .collect();
            *text = kept.join("\n");
        }
        assert_eq!(as_exec, as_dyno, "{way:?}");
        if way.isolation != Isolation::Plain {
            for ns in ["mnt", "pid", "ipc", "uts"] {
                let host = std::fs::read_link(format!("/proc/self/ns/{ns}")).unwrap();
                assert!(!inside.contains(&*host.to_string_lossy()), "{way:?} {ns}");
            }
        }
    }
}

#[test]
fn it_sees_the_dyno_and_may_signal_it() {
    for way in ways() {
        let (_b, d) = at_rest(way);
        let (out, err, exit) =
            exec(&d, &order("cat hello; kill -TERM $(cat pid); sleep 20")).finish();
        assert!(
            out.starts_with(b"from the slug"),
            "{way:?} {}",
            String::from_utf8_lossy(&err)
        );
        // the dyno ended, and so it did
        assert_eq!(
            exit,
            Exit::Signal(9),
            "{way:?} {}",
            String::from_utf8_lossy(&err)
        );
        assert_eq!(
            String::from_utf8_lossy(&err),
            "hokku: the dyno ends, and this command with it.\n"
        );
        assert_eq!(d.exit(), Exit::Code(0), "{way:?}");
    }
}

#[test]
fn bytes_pass_both_ways_unchanged_and_the_status_comes_back() {
    for way in ways() {
        let (_b, d) = at_rest(way);
        let mut c = exec(&d, &order("cat; echo oops >&2; exit 9"));
        let mut s = c.s.try_clone().unwrap();
        let data: Vec<u8> = (0..3_000_000u64)
            .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8)
            .collect();
        let sent = std::thread::spawn(move || {
            for part in data.chunks(60_000) {
                s.write_all(&Frame::Stdin(part.to_vec()).encode()).unwrap();
            }
            s.write_all(&Frame::StdinEof.encode()).unwrap();
            data
        });
        let (out, err, exit) = c.finish();
        assert!(out == sent.join().unwrap(), "{way:?}: {} bytes", out.len());
        assert_eq!((&*err, exit), (&b"oops\n"[..], Exit::Code(9)));
        let (_, _, exit) = exec(&d, &order("kill -SEGV $$")).finish();
        assert_eq!(exit, Exit::Signal(11));
        let (out, _, exit) = exec(&d, &order("sleep 300 & echo left")).finish();
        assert_eq!(
            (&*out, exit),
            (&b"left\n"[..], Exit::Code(0)),
            "what holds the pipe open is not waited for"
        );
        assert!(!d.dir.join("exit.json").exists() && alive(d.pid));
    }
}

#[test]
fn a_terminal_of_its_own_with_size_and_signals() {
    for way in ways() {
        let (_b, d) = at_rest(way);
        let mut o = order(
            "tty; stty size; trap 'stty size' WINCH; trap 'echo usr; exit 4' USR1; echo ready; while :; do read -t 0.05 x; done",
        );
        o.pty = Some((24, 80));
        o.env = vec![("TERM".into(), "xterm".into())];
        let mut c = exec(&d, &o);
        let seen = c.expect("ready");
        assert!(
            seen.contains("/dev/pts/") && seen.contains("24 80\r\n"),
            "{way:?} {seen:?}"
        );
        c.send(Frame::Resize(40, 132));
        c.expect("40 132");
        c.send(Frame::Signal(libc::SIGUSR1));
        let (out, _, exit) = c.finish();
        assert!(String::from_utf8_lossy(&out).contains("usr"), "{way:?}");
        assert_eq!(exit, Exit::Code(4), "{way:?}");
    }
}

#[test]
fn a_client_that_hangs_up_ends_its_command_and_nothing_else() {
    for (i, way) in ways().into_iter().enumerate() {
        let (_b, d) = at_rest(way);
        let mark = format!("53{}{i}", std::process::id());
        let mut c = exec(
            &d,
            &order(&format!(
                "trap 'echo bye > /tmp/bye; exit 0' HUP; echo on; sleep {mark}1 & wait"
            )),
        );
        c.expect("on");
        until("the command's child", || {
            !processes(&format!("sleep\0{mark}1")).is_empty()
        });
        drop(c);
        until("the end of its session", || {
            processes(&format!("{mark}1")).is_empty()
        });
        // one that does not listen to SIGHUP is killed after its grace
        let mut o = order(&format!("trap '' HUP; echo on; sleep {mark}2"));
        o.grace_ms = 50;
        let mut c = exec(&d, &o);
        c.expect("on");
        drop(c);
        until("its end by SIGKILL", || {
            processes(&format!("{mark}2")).is_empty()
        });
        let (out, _, _) = exec(&d, &order("echo still here")).finish();
        assert_eq!(out, b"still here\n", "{way:?}");
    }
}

#[test]
fn no_more_than_eight_and_what_cant_be_run_is_told() {
    for way in ways() {
        let (_b, d) = at_rest(way);
        let refused = |o: &ExecOrder| match ask(&d, o).next() {
            Some(Frame::Refused(text)) => text,
            f => panic!("{f:?}"),
        };
        assert!(refused(&ExecOrder::default()).contains("names no program"));
        let mut o = order("");
        o.argv = vec!["no-such-program".into()];
        let (_, err, exit) = exec(&d, &o).finish();
        assert!(String::from_utf8_lossy(&err).starts_with("no-such-program: command not found"));
        assert_eq!(exit, Exit::Code(127));
        let mut all: Vec<Conn> = (0..8).map(|_| exec(&d, &order("cat; exit 3"))).collect();
        assert!(refused(&order("true")).contains("8 commands run in this dyno already"));
        // a check has room of its own
        let mut check = order("exit 5");
        check.check = true;
        assert_eq!(exec(&d, &check).finish().2, Exit::Code(5));
        for c in &mut all {
            c.send(Frame::StdinEof);
            assert_eq!(c.finish().2, Exit::Code(3), "{way:?}");
        }
        assert_eq!(exec(&d, &order("exit 6")).finish().2, Exit::Code(6));
        // an order without end
        let mut c = d.connect();
        let part = Frame::Order(vec![b' '; 60_000]).encode();
        let begun = Instant::now();
        while c.s.write_all(&part).is_ok() {
            assert!(
                begun.elapsed().as_secs() < 20,
                "{way:?}: it takes everything"
            );
        }
    }
}
