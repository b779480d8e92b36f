//! How a dyno starts and ends.
#![allow(missing_docs)]

mod support;
use hokku_model::{
    dyno::Exit,
    shim::{AppTree, Frame, Isolation},
};
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};
use support::{Bench, alive, processes, until, walled, ways};

#[test]
fn exit_codes_and_signals_are_kept_on_disk() {
    for way in ways() {
        for (script, exit) in [
            ("exit 0", Exit::Code(0)),
            ("exit 3", Exit::Code(3)),
            ("exit 255", Exit::Code(255)),
            ("kill -9 $$", Exit::Signal(9)),
            ("kill -TERM $$", Exit::Signal(15)),
            ("kill -SEGV $$", Exit::Signal(11)),
        ] {
            assert_eq!(Bench::new(way, script).run().0, exit, "{way:?} {script}");
        }
    }
}

#[test]
fn what_cannot_be_started_says_so_in_the_log() {
    for way in ways() {
        let mut b = Bench::new(way, "");
        b.spec.argv = vec!["no-such-program".into(), "x".into()];
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Code(127), "{way:?}");
        assert!(
            log[0].starts_with("no-such-program: command not found"),
            "{log:?}"
        );
        let mut b = Bench::new(way, "");
        b.spec.argv = vec!["./hello".into()];
        let (exit, log) = b.run();
        assert_eq!(
            (exit, &*log[0]),
            (Exit::Code(126), "./hello: Permission denied (os error 13)")
        );
        let mut b = Bench::new(way, "");
        b.spec.cwd = "/app/nowhere".into();
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Code(126));
        assert!(
            log[0].contains("can't enter the folder") && log[0].contains("nowhere"),
            "{log:?}"
        );
    }
}

#[test]
fn an_order_that_cannot_be_carried_out_is_an_error_for_the_starter() {
    for way in ways() {
        let mut b = Bench::new(way, "true");
        b.spec.app = AppTree::Overlay {
            lower: vec!["/nowhere/slug".into()],
        };
        let e = b.start().err().unwrap();
        assert!(e.contains("/nowhere/slug"), "{way:?}: {e}");
        let mut b = Bench::new(way, "true");
        b.spec.env.push(("KEY".into(), "secret\0value".into()));
        let e = b.start().err().unwrap();
        assert!(e.contains("KEY") && !e.contains("secret"), "{way:?}: {e}");
        let mut b = Bench::new(way, "true");
        b.spec.argv.clear();
        assert!(b.start().is_err());
        let mut b = Bench::new(way, "true");
        b.spec.dir = b.path("absent");
        assert!(b.start().err().unwrap().contains("absent"));
    }
}

#[test]
fn a_script_without_interpreter_line_runs_in_sh() {
    for way in ways() {
        let mut b = Bench::new(way, "");
        b.spec.argv = vec!["./script".into(), "a b".into()];
        let file = b.path("slug/script");
        fs::write(&file, "echo \"got $1\"\n").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(
            b.run(),
            (Exit::Code(0), vec!["got a b".to_owned()]),
            "{way:?}"
        );
    }
}

#[test]
fn the_environment_arrives_byte_for_byte() {
    let vars = [
        ("EMPTY", ""),
        ("LINES", "one\ntwo\n\n"),
        ("QUOTES", "a'b\"c`d\\e"),
        ("DOLLAR", "$HOME ${X} $(id) %s #!"),
        ("UNICODE", "åß∂ 日本 \u{1f980}"),
        ("BLANKS", "  \t lead and trail \r "),
        ("EQUALS", "a=b=c"),
    ];
    for way in ways() {
        let mut b = Bench::new(way, "");
        b.spec.argv = vec!["/bin/cat".into(), "/proc/self/environ".into()];
        b.spec.env = vec![("HOME".into(), "/app".into())];
        b.spec
            .env
            .extend(vars.map(|(k, v)| (k.to_owned(), v.to_owned())));
        b.spec.output = hokku_model::shim::Output::Attached { pty: None };
        let d = b.start().unwrap();
        let mut c = d.connect();
        c.send(Frame::Attach);
        let (out, _, exit) = c.finish();
        assert_eq!(exit, Exit::Code(0));
        let got: Vec<&str> = std::str::from_utf8(&out)
            .unwrap()
            .split_terminator('\0')
            .collect();
        for (k, v) in vars {
            assert!(got.contains(&&*format!("{k}={v}")), "{way:?} {k}");
        }
        let own = if way.isolation == Isolation::Plain {
            2
        } else {
            1
        };
        assert_eq!(got.len(), vars.len() + own, "{way:?}: {got:?}");
    }
}

#[test]
fn config_vars_are_on_no_disk_and_no_command_line() {
    for way in ways() {
        let mut b = Bench::new(way, "echo up; sleep 100");
        b.spec.env.push(("TOKEN".into(), "s3cr3t-v4lue".into()));
        let d = b.start().unwrap();
        b.wait_log("up");
        assert!(processes("s3cr3t").is_empty());
        let environ = fs::read(format!("/proc/{}/environ", d.pid)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environ).contains("s3cr3t"));
        let mut look = vec![b.base.path().to_owned()];
        while let Some(p) = look.pop() {
            let m = p.symlink_metadata().unwrap();
            if m.is_dir() {
                // an overlay's work folder is closed, and empty
                let inside = fs::read_dir(&p).into_iter().flatten().flatten();
                look.extend(inside.map(|e| e.path()));
            } else if m.is_file() {
                let text = fs::read(&p).unwrap();
                assert!(
                    !text.windows(6).any(|w| w == b"s3cr3t"),
                    "in {}",
                    p.display()
                );
            }
        }
    }
}

#[test]
fn term_reaches_every_process_and_kill_ends_those_who_ignore_it() {
    for way in ways() {
        let script = "trap 'sleep 0.3; echo parent got it; exit 7' TERM
            (trap 'echo child got it' TERM; echo child up; while :; do sleep 0.05; done) &
            (trap '' TERM; echo deaf up; sleep 1000) &
            echo up; while :; do wait; done";
        let b = Bench::new(way, script);
        let d = b.start().unwrap();
        for t in ["child up", "deaf up", "up"] {
            b.wait_log(t);
        }
        let mut c = d.connect();
        c.send(Frame::Signal(libc::SIGTERM));
        assert_eq!(c.finish().2, Exit::Code(7), "{way:?}");
        let log = b.log();
        for l in ["parent got it", "child got it"] {
            assert!(log.iter().any(|x| x == l), "{way:?} {l}: {log:?}");
        }
        assert_eq!(d.exit(), Exit::Code(7));

        let b = Bench::new(way, "trap '' TERM; echo deaf; while :; do sleep 0.01; done");
        let d = b.start().unwrap();
        b.wait_log("deaf");
        let mut c = d.connect();
        c.send(Frame::Signal(libc::SIGTERM));
        // answered after the signal was sent, so the process has survived it
        c.send(Frame::AskListening);
        assert_eq!(c.next(), Some(Frame::Listening(vec![])));
        assert!(alive(d.pid));
        c.send(Frame::Kill);
        assert_eq!(c.finish().2, Exit::Signal(9), "{way:?}");
    }
}

#[test]
fn nothing_lingers_after_the_main_process() {
    for (i, way) in ways().into_iter().enumerate() {
        let mark = format!(
            "{}{i}",
            40_000_000 + std::process::id() as usize % 100_000 * 10
        );
        let script = format!(
            "(setsid sleep {mark} & ) ; (setsid bash -c '(sleep {mark} &)' &); nohup sleep {mark} & sleep 0.1; exit 5"
        );
        let b = Bench::new(way, &script);
        let d = b.start().unwrap();
        until("children", || {
            processes(&format!("sleep\0{mark}")).len() == 3 || d.dir.join("exit.json").exists()
        });
        assert_eq!(d.exit(), Exit::Code(5), "{way:?}");
        assert_eq!(processes(&mark), Vec::<i32>::new(), "{way:?}");
        let mut left: Vec<_> = fs::read_dir(&d.dir)
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["ctl.sock", "exit.json", "shim.json"], "{way:?}");
    }
}

#[test]
fn killing_the_shim_kills_everything_inside() {
    for (i, way) in ways().into_iter().enumerate() {
        let mark = format!(
            "{}{i}",
            41_000_000 + std::process::id() as usize % 100_000 * 10
        );
        // without walls only the main process is tied to the shim; the agent finds the rest by a mark
        let b = Bench::new(
            way,
            &if way.isolation == Isolation::Plain {
                format!("exec sleep {mark}")
            } else {
                format!("(setsid sleep {mark} &); sleep {mark}")
            },
        );
        let d = b.start().unwrap();
        until("children", || {
            !processes(&format!("sleep\0{mark}")).is_empty()
        });
        // SAFETY: takes no pointers
        unsafe { libc::kill(d.pid, libc::SIGKILL) };
        until("their end", || processes(&mark).is_empty());
        assert!(!d.dir.join("exit.json").exists());
    }
}

#[test]
fn a_dyno_survives_its_starter() {
    for way in ways() {
        let script = "trap 'echo still here; exit 4' USR1; echo up; while :; do sleep 0.02; done";
        let b = Bench::new(way, script);
        // a middle process starts the shim, and is killed with its whole group while the dyno runs
        let spec = b.path("spec.json");
        fs::write(&spec, serde_json::to_vec(&b.spec).unwrap()).unwrap();
        let mut middle = std::process::Command::new("/bin/bash");
        let line = format!(
            "until {} < {}; do sleep 0.01; done; sleep 1000",
            b.path("hokku-shim").display(),
            spec.display()
        );
        middle.args(["-c", &line]).stdout(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut middle, 0);
        if let Some(u) = way.user {
            std::os::unix::fs::chown(&spec, Some(u), Some(u)).unwrap();
            std::os::unix::process::CommandExt::uid(&mut middle, u);
            std::os::unix::process::CommandExt::gid(&mut middle, u);
        }
        let mut middle = middle.spawn().unwrap();
        b.wait_log("up");
        // SAFETY: takes no pointers
        unsafe { libc::kill(-(middle.id() as i32), libc::SIGKILL) };
        middle.wait().unwrap();
        let pid = serde_json::from_slice::<hokku_model::shim::ShimPid>(
            &fs::read(b.spec.dir.join("shim.json")).unwrap(),
        )
        .unwrap()
        .pid;
        let d = support::Dyno {
            pid,
            dir: b.spec.dir.clone(),
            notices: vec![],
        };
        assert!(alive(pid), "{way:?}");
        let mut c = d.connect();
        c.send(Frame::Signal(libc::SIGUSR1));
        assert_eq!(c.finish().2, Exit::Code(4), "{way:?}");
        assert!(b.log().contains(&"still here".to_owned()));
    }
}

#[test]
fn who_it_is_can_be_checked_against_proc() {
    for way in ways() {
        let b = Bench::new(way, "sleep 100");
        let d = b.start().unwrap();
        let j = d.json();
        let stat = fs::read_to_string(format!("/proc/{}/stat", d.pid)).unwrap();
        let start = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_ascii_whitespace()
            .nth(19)
            .unwrap()
            .to_owned();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(
            (j.pid, j.start_ticks.to_string(), &*j.boot_id),
            (d.pid, start, boot.trim())
        );
    }
}

#[test]
fn a_time_limit_kills() {
    for way in ways() {
        let mut b = Bench::new(way, "trap '' TERM; while :; do sleep 0.1; done");
        b.spec.limits.seconds = Some(1);
        let t = Instant::now();
        assert_eq!(b.run().0, Exit::Signal(9), "{way:?}");
        assert!(
            t.elapsed() >= Duration::from_millis(900),
            "{:?}",
            t.elapsed()
        );
    }
}

#[test]
fn every_client_is_told_the_end() {
    for way in walled() {
        let b = Bench::new(way, "echo up; sleep 100");
        let d = b.start().unwrap();
        b.wait_log("up");
        let mut all: Vec<_> = (0..5).map(|_| d.connect()).collect();
        for c in &mut all {
            c.send(Frame::AskListening);
            assert_eq!(c.next(), Some(Frame::Listening(vec![])));
        }
        all[2].send(Frame::Kill);
        for c in &mut all {
            assert_eq!(c.finish().2, Exit::Signal(9));
        }
    }
}

#[test]
fn a_host_that_shuts_down_is_passed_on() {
    for way in ways() {
        let b = Bench::new(
            way,
            "trap 'exit 9' TERM; echo up; while :; do sleep 0.02; done",
        );
        let d = b.start().unwrap();
        b.wait_log("up");
        // SAFETY: takes no pointers
        unsafe { libc::kill(d.pid, libc::SIGTERM) };
        assert_eq!(d.exit(), Exit::Code(9), "{way:?}");
    }
}

#[test]
fn listening_ports_are_those_of_the_dyno_only() {
    let mine = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let script = "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 5, LocalAddr => \"127.0.0.1\"); $| = 1; print $s->sockport, \"\\n\"; sleep 100'";
    for way in ways() {
        let b = Bench::new(way, script);
        let d = b.start().unwrap();
        until("its port", || !b.log().is_empty());
        let port: u16 = b.log()[0].parse().unwrap();
        let mut c = d.connect();
        c.send(Frame::AskListening);
        assert_eq!(c.next(), Some(Frame::Listening(vec![port])), "{way:?}");
    }
    drop(mine);
}
