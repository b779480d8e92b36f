//! What a dyno may ask of the kernel, and what it learns from it.
#![allow(missing_docs)]

mod support;
use hokku_model::{dyno::Exit, shim::Isolation};
use std::{
    io::ErrorKind,
    os::linux::net::SocketAddrExt,
    os::unix::net::{SocketAddr, UnixListener},
};
use support::{Bench, walled, ways};

/// Answers of calls, by number; perl has no names for them.
const ASK: &str = r#"
sub ask { my ($what, $nr, @args) = @_; $! = 0; my $r = syscall($nr, @args); print "$what ", ($r == -1 ? $!+0 : "got $r"), "\n" }
my $arm = `uname -m` =~ /aarch64/;
ask("mount", $arm ? 40 : 165, 0, 0, 0, 0, 0);
ask("bpf", $arm ? 280 : 321, 0, 0, 0);
ask("keyctl", $arm ? 219 : 250, 0, -3, 0);
ask("clone3", 435, 0, 0);
ask("io_uring", 425, 1, 0);
ask("unshare", $arm ? 97 : 272, 0x40000000);
ask("packet", $arm ? 198 : 41, 17, 3, 0);
ask("audit", $arm ? 198 : 41, 16, 3, 9);
ask("sctp", $arm ? 198 : 41, 2, 1, 132);
ask("syslog", $arm ? 116 : 103, 10, 0, 0);
ask("personality", $arm ? 92 : 135, 0x400000);
"#;

#[test]
fn dangerous_calls_are_refused_and_the_others_work() {
    for way in ways() {
        let b = Bench::new(way, "");
        std::fs::write(b.path("slug/ask.pl"), ASK).unwrap();
        let mut b = b;
        b.spec.argv[2] = "perl ask.pl; grep Seccomp: /proc/self/status | tr -d '\\t'".into();
        let (_, log) = b.run();
        let expect = [
            "mount 1",
            "bpf 1",
            "keyctl 1",
            "clone3 38",
            "io_uring 38",
            "unshare 1",
            "packet 97",
            "audit 93",
            "sctp 93",
            "syslog 1",
            "personality 1",
            "Seccomp:2",
        ];
        assert_eq!(log, expect, "{way:?}");
    }
}

#[test]
fn a_sandbox_inside_is_refused_with_an_explanation_once() {
    for way in ways() {
        let b = Bench::new(
            way,
            "unshare -U true; unshare -Ur true; echo $?; unshare -n true 2>/dev/null; echo end",
        );
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Code(0));
        let told = log.iter().filter(|l| l.contains("--no-sandbox")).count();
        assert_eq!(told, 1, "{way:?} {log:?}");
        let refused = log.iter().filter(|l| l.contains("Operation not permitted"));
        assert_eq!(refused.count(), 2, "{way:?} {log:?}");
        assert!(log.contains(&"1".into()) && log.contains(&"end".into()));
    }
}

#[test]
fn crashes_leave_no_core_and_programs_that_forbid_cores_go_on() {
    for way in ways() {
        let b = Bench::new(
            way,
            "bash -c 'kill -SEGV $$' 2>/dev/null; echo $?; ulimit -c 0 && echo ok; bash -c 'kill -SEGV $$' 2>/dev/null; ls | grep -c core
             grep 'Max core' /proc/self/limits | tr -s ' '",
        );
        let (_, mut log) = b.run();
        log.retain(|l| !l.contains("Segmentation fault"));
        assert_eq!(log[..3], ["139", "ok", "0"], "{way:?} {log:?}");
        // a starter whose own limit is 0 can't raise it
        assert!(
            log[3].starts_with("Max core file size 1 1")
                || log[3].starts_with("Max core file size 0 0")
        );
    }
}

#[test]
fn abstract_sockets_outside_are_out_of_reach_and_those_inside_work() {
    if !scopes() {
        eprintln!("this kernel has no scopes (Landlock of 6.12): not tested");
        return;
    }
    for way in ways() {
        let name = format!("hokku-test-{}-{way:?}", std::process::id());
        let listener =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let script = r#"
use Socket;
sub try { my ($to) = @_; socket(my $s, AF_UNIX, SOCK_STREAM, 0); print connect($s, pack("Sa*", AF_UNIX, "\0$to")) ? "in\n" : "out ".($!+0)."\n" }
socket(my $l, AF_UNIX, SOCK_STREAM, 0); bind($l, pack("Sa*", AF_UNIX, "\0$ARGV[0]-inside")); listen($l, 1);
try($ARGV[0]); try("$ARGV[0]-inside");
"#;
        let mut b = Bench::new(way, "");
        std::fs::write(b.path("slug/try.pl"), script).unwrap();
        b.spec.argv[2] = format!("perl try.pl '{name}'");
        assert_eq!(b.run().1, ["out 1", "in"], "{way:?}");
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// As the shim asks: version 6 and later.
fn scopes() -> bool {
    // SAFETY: asks for the version, which takes no pointer
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0usize,
            1u32,
        )
    };
    version >= 6
}

#[test]
fn files_move_and_link_between_folders() {
    for way in ways() {
        let b = Bench::new(
            way,
            "mkdir a b && echo x > a/f && mv a/f b/f && ln b/f a/g && mv b c && cat c/f a/g && stat -c %h a/g",
        );
        assert_eq!(b.run().1, ["x", "x", "2"], "{way:?}");
    }
}

#[test]
fn processes_of_a_dyno_may_signal_and_debug_each_other() {
    for way in ways() {
        let script = r#"
my $trace = `uname -m` =~ /aarch64/ ? 117 : 101;
my $child = fork // die; if (!$child) { sleep 60; exit }
print syscall($trace, 16, $child, 0, 0) == 0 ? "attached\n" : "no: $!\n";
kill("KILL", $child); waitpid($child, 0); print "signal ", $? & 127, "\n";
"#;
        let mut b = Bench::new(way, "");
        std::fs::write(b.path("slug/debug.pl"), script).unwrap();
        b.spec.argv[2] = "perl debug.pl".into();
        assert_eq!(b.run().1, ["attached", "signal 9"], "{way:?}");
    }
}

#[test]
fn the_host_s_own_tables_are_covered() {
    for way in walled() {
        let b = Bench::new(
            way,
            "cat /proc/kallsyms /proc/keys /proc/timer_list /proc/interrupts /proc/kcore /proc/slabinfo /etc/shadow /etc/gshadow /etc/sudoers 2>/dev/null | wc -c
             ls -A /etc/sudoers.d /etc/hokku /proc/acpi 2>/dev/null | grep -v ':$' | grep -c .
             for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches /proc/sys/net/ipv4/ip_forward; do (echo 1 > $f) 2>/dev/null && echo WROTE $f; done
             awk '$2 == \"/proc/sys\" {print substr($4, 1, 2)}' /proc/mounts
             getent passwd root | cut -d: -f1; nproc > /dev/null && cat /proc/sys/kernel/ostype; free | wc -l",
        );
        let (_, log) = b.run();
        assert_eq!(log, ["0", "0", "ro", "root", "Linux", "3"], "{way:?}");
    }
}

#[test]
fn without_walls_signals_to_the_starter_are_refused() {
    if !scopes() {
        return;
    }
    for way in ways() {
        if way.isolation != Isolation::Plain {
            continue;
        }
        let mut outside = std::process::Command::new("sleep");
        outside.arg("60");
        if let Some(u) = way.user {
            std::os::unix::process::CommandExt::uid(&mut outside, u);
        }
        let mut outside = outside.spawn().unwrap();
        let b = Bench::new(
            way,
            &format!("kill -9 {} 2>/dev/null; echo $?", outside.id()),
        );
        assert_eq!(b.run().1, ["1"]);
        assert!(outside.try_wait().unwrap().is_none(), "it was killed");
        outside.kill().unwrap();
        outside.wait().unwrap();
    }
}
