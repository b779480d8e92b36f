//! What a dyno sees of the machine, and what it may do.
#![allow(missing_docs)]

mod support;
use hokku_model::{
    dyno::Exit,
    shim::{AppTree, Bind, Isolation},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
};
use support::{Bench, plain, walled, ways};

#[test]
fn the_app_is_writable_and_the_slug_below_never_changes() {
    for way in ways() {
        let b = Bench::new(
            way,
            "cat hello && echo && echo new > hello && echo x > top && echo y > sub/file && rm -r sub && cat hello && pwd && echo $HOME && ls -d .",
        );
        let (exit, log) = b.run();
        let app = b.app_path().display().to_string();
        assert_eq!(log, ["from the slug", "new", &app, &app, "."], "{way:?}");
        assert_eq!(exit, Exit::Code(0));
        assert_eq!(
            fs::read_to_string(b.path("slug/hello")).unwrap(),
            "from the slug"
        );
        assert!(b.path("slug/sub").exists() && !b.path("slug/top").exists());
        assert!(!b.spec.dir.join("upper").exists() && !b.spec.dir.join("copy").exists());
    }
}

#[test]
fn upper_layers_win() {
    for way in ways() {
        let mut b = Bench::new(way, "cat hello; cat other");
        fs::create_dir(b.path("over")).unwrap();
        fs::write(b.path("over/hello"), "over\n").unwrap();
        fs::write(b.path("slug/other"), "under\n").unwrap();
        b.spec.app = AppTree::Overlay {
            lower: vec![b.path("over"), b.path("slug")],
        };
        assert_eq!(b.run().1, ["over", "under"], "{way:?}");
    }
}

#[test]
fn an_app_of_no_layers_is_empty_and_writable() {
    for way in ways() {
        let mut b = Bench::new(way, "ls -A | wc -l; touch x && ls");
        b.spec.app = AppTree::Overlay { lower: vec![] };
        assert_eq!(b.run().1, ["0", "x"], "{way:?}");
    }
}

#[test]
fn a_build_works_in_the_folder_itself() {
    for way in ways() {
        let mut b = Bench::new(way, "pwd; echo built > result");
        b.spec.app = AppTree::Bind {
            path: b.path("slug"),
        };
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Code(0), "{log:?}");
        let expect = if way.isolation == Isolation::Plain {
            b.path("slug")
        } else {
            "/app".into()
        };
        assert_eq!(log, [expect.display().to_string()]);
        assert_eq!(
            fs::read_to_string(b.path("slug/result")).unwrap(),
            "built\n"
        );
    }
}

#[test]
fn nothing_else_of_the_host_is_there() {
    let secret = tempfile::tempdir().unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(secret.path().join("file"), "x").unwrap();
    for way in walled() {
        let mut b = Bench::new(way, "");
        let looked = [
            b.base.path().to_owned(),
            secret.path().into(),
            "/root".into(),
            "/var/lib".into(),
            "/boot".into(),
            "/work".into(),
            "/.old".into(),
            "/.binds".into(),
            "/dev/kmsg".into(),
            "/sys/kernel".into(),
        ];
        let list: Vec<_> = looked.iter().map(|p| p.display().to_string()).collect();
        b.spec.argv[2] = format!(
            "for f in {}; do [ -e $f ] && echo SEEN $f; done; ls -A /home /tmp /var/tmp | grep -v :; ls / | tr '\\n' ' '",
            list.join(" ")
        );
        let (_, log) = b.run();
        let log: Vec<_> = log.into_iter().filter(|l| !l.is_empty()).collect();
        assert_eq!(log.len(), 1, "{way:?} {log:?}");
        for folder in log[0].split_whitespace() {
            let known = [
                "app", "bin", "dev", "etc", "home", "opt", "proc", "run", "sbin", "sys", "tmp",
                "usr", "var",
            ];
            assert!(
                known.contains(&folder) || folder.starts_with("lib"),
                "{way:?} {folder}"
            );
        }
    }
}

#[test]
fn the_system_cannot_be_written() {
    for way in walled() {
        let b = Bench::new(
            way,
            "for d in / /usr /usr/bin /etc /opt /dev /proc/sys/kernel /sys /home /var; do touch $d/x 2>/dev/null && echo WROTE $d; done
             for d in /app /tmp /var/tmp /dev/shm /run; do touch $d/x || echo NOT $d; done
             echo x > /etc/passwd && echo WROTE passwd
             mount -t tmpfs none /tmp 2>/dev/null && echo MOUNTED
             umount /etc/passwd 2>/dev/null && echo UNMOUNTED
             hostname; grep -E 'Cap(Eff|Prm|Bnd|Inh|Amb)|NoNewPrivs|SigIgn|SigBlk' /proc/self/status | tr -s '\\t' ' '",
        );
        let (_, log) = b.run();
        let log: Vec<_> = log
            .iter()
            .filter(|l| !l.contains("/etc/passwd: "))
            .map(String::as_str)
            .collect();
        let zero = "0000000000000000";
        let mut expect = vec!["web.1".to_owned()];
        // in the kernel's order
        expect.extend(
            [
                "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
            ]
            .map(|c| format!("{c}: {zero}")),
        );
        expect.push("NoNewPrivs: 1".into());
        assert_eq!(log, expect, "{way:?}");
    }
}

#[test]
fn the_user_has_a_name_a_home_and_no_groups() {
    for way in walled() {
        let b = Bench::new(
            way,
            "id -un; id -u; id -G; getent passwd app | cut -d: -f6,7; stat -c %u /app /proc/1/environ /tmp; grep -c '^root:' /etc/passwd; umask",
        );
        let (_, log) = b.run();
        let uid = way.uid();
        let rooted = matches!(way.isolation, Isolation::Root { .. });
        assert_eq!(log[..2], ["app".to_owned(), uid.to_string()], "{way:?}");
        if rooted {
            assert_eq!(log[2], uid.to_string());
        }
        assert_eq!(log[3], "/app:/bin/bash");
        assert_eq!(log[4], uid.to_string(), "owner of /app");
        // a number without a name stands for the host's root there
        assert_eq!(log[5], if rooted { "0" } else { "65534" }, "{way:?}");
        assert_eq!(log[7..], ["1", "0022"]);
    }
}

#[test]
fn the_shim_cannot_be_read_or_killed_from_inside() {
    for way in walled() {
        let b = Bench::new(
            way,
            "cat /proc/1/environ /proc/1/maps 2>/dev/null | wc -c; ls /proc/1/fd /proc/1/root/ 2>/dev/null | wc -l
             kill -9 1 2>/dev/null; kill -STOP 1 2>/dev/null; kill -SEGV 1 2>/dev/null; kill -TERM 1 2>/dev/null; kill -HUP 1 2>/dev/null; sleep 0.2; head -c 1 /proc/1/mem 2>/dev/null | wc -c
             ls /proc | grep -c '^[0-9]*$' ; ls /proc/self/fd | tr '\\n' ' '; exit 6",
        );
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Code(6), "{way:?}");
        assert_eq!(log[..3], ["0", "0", "0"]);
        let seen: u32 = log[3].trim().parse().unwrap();
        assert!(seen <= 5, "processes of the host are seen: {seen}");
        // 3 is the folder that ls lists
        assert_eq!(log[4].trim(), "0 1 2 3");
    }
}

#[test]
fn devices_terminals_and_processors_are_there() {
    for way in walled() {
        let b = Bench::new(
            way,
            "head -c 3 /dev/zero | wc -c; echo x > /dev/null && head -c 2 /dev/urandom | wc -c; ls -l /dev/fd/ > /dev/null && echo fds
             echo to stderr > /dev/stderr; echo to stdout > /dev/stdout; nproc; [ $(nproc --all) -ge 1 ] && echo ok
             perl -MPOSIX -e 'open(my $p, \"+<\", \"/dev/ptmx\") and print \"pty\\n\"'",
        );
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Code(0), "{log:?}");
        for l in ["3", "2", "fds", "to stderr", "to stdout", "ok", "pty"] {
            assert!(log.iter().any(|x| x.trim() == l), "{way:?} {l}: {log:?}");
        }
    }
}

#[test]
fn hidden_folders_are_empty_and_binds_appear_even_in_them() {
    for way in walled() {
        let mut b = Bench::new(way, "");
        // a folder that every Debian and Amazon Linux has, in the place of the agent's data
        let data = "/usr/share/doc";
        fs::create_dir(b.path("cache")).unwrap();
        fs::write(b.path("cache/file"), "cached\n").unwrap();
        let uid = Some(way.uid());
        chown(b.path("cache"), uid, uid).unwrap();
        b.spec.hide = vec![data.into(), "/nowhere".into()];
        b.spec.binds = vec![
            Bind {
                from: b.path("cache"),
                to: format!("{data}/cache").into(),
                writable: false,
            },
            Bind {
                from: b.path("cache"),
                to: "/cache".into(),
                writable: true,
            },
            Bind {
                from: b.path("cache/file"),
                to: "/app/vendor/one".into(),
                writable: false,
            },
        ];
        b.spec.argv[2] = format!(
            "ls {data}; cat {data}/cache/file /app/vendor/one; touch {data}/x 2>/dev/null && echo WROTE; touch {data}/cache/x 2>/dev/null && echo WROTE; touch /cache/y && echo ok"
        );
        let (_, log) = b.run();
        assert_eq!(log, ["cache", "cached", "cached", "ok"], "{way:?}");
        assert!(b.path("cache/y").exists() && !b.path("cache/x").exists());
        let mut b = Bench::new(way, "true");
        b.spec.binds = vec![Bind {
            from: "/nowhere/x".into(),
            to: "/x".into(),
            writable: false,
        }];
        assert!(b.start().err().unwrap().contains("/nowhere/x"));
    }
}

#[test]
fn links_in_the_slug_lead_no_mount_out_of_the_dyno() {
    for way in walled() {
        let mut b = Bench::new(
            way,
            "cat /app/trap/made/file 2>/dev/null; cat /tmp/made/file 2>/dev/null; true",
        );
        let target = b.path("outside");
        fs::create_dir(&target).unwrap();
        for (name, to) in [
            ("trap", target.clone()),
            ("trap2", format!("/.old{}", target.display()).into()),
        ] {
            symlink(to, b.path("slug").join(name)).unwrap();
        }
        fs::create_dir(b.path("cache")).unwrap();
        for to in ["/app/trap/made", "/app/trap2/made"] {
            b.spec.binds = vec![Bind {
                from: b.path("cache"),
                to: to.into(),
                writable: true,
            }];
            let _ = b.start().map(|d| d.exit());
            assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "{way:?} {to}");
            let _ = fs::remove_file(b.spec.dir.join("exit.json"));
            let _ = fs::remove_file(b.spec.dir.join("ctl.sock"));
        }
    }
}

#[test]
fn without_overlays_the_files_are_copied() {
    for way in walled() {
        // a file as lower layer is what no overlay takes: the kernel's own refusal, on any machine
        let mut b = Bench::new(way, "cat hello; echo; stat -c %u hello; touch x && echo ok");
        // an upper layer on another overlay or on a file system without what overlays need can't be had everywhere,
        // so too many layers are asked for: the kernel's limit is 500
        b.spec.app = AppTree::Overlay {
            lower: vec![b.path("slug"); 501],
        };
        let d = b.start().unwrap();
        assert!(
            d.notices.iter().any(|n| n.contains("no overlay at /app")),
            "{:?}",
            d.notices
        );
        assert_eq!(d.exit(), Exit::Code(0));
        let uid = way.uid().to_string();
        assert_eq!(b.log(), ["from the slug", &uid, "ok"], "{way:?}");
    }
}

#[test]
fn memory_is_told_where_buildpacks_look() {
    for way in walled() {
        let mut b = Bench::new(way, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes");
        b.spec.limits.memory = Some(512 << 20);
        assert_eq!(b.run().1, ["536870912"], "{way:?}");
    }
}

#[test]
fn limits_are_set() {
    for way in ways() {
        let mut b = Bench::new(way, "ulimit -n; nice; cat /proc/self/oom_score_adj");
        b.spec.limits.nofile = Some(777);
        // SAFETY: takes no pointers
        let own = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }.to_string();
        assert_eq!(b.run().1, ["777", own.as_str(), "500"], "{way:?}");
        let mut b = Bench::new(way, "ulimit -n; nice; cat /proc/self/oom_score_adj");
        b.spec.limits.nofile = Some(777);
        b.spec.limits.cpu_weight = Some(10);
        assert_eq!(b.run().1, ["777", "11", "900"], "{way:?}");
    }
}

#[test]
fn a_build_that_forks_without_end_is_stopped() {
    for way in ways()
        .into_iter()
        .filter(|w| matches!(w.isolation, Isolation::Root { .. }))
    {
        // perl, as bash waits and tries again
        let script = "exec perl -e 'for (1..200) { $p = fork; defined $p or last; $p or sleep 60; $n++ } print \"$n\\n\"'";
        let mut b = Bench::new(way, script);
        b.spec.limits.pids = Some(50);
        let lines = b.run().1;
        let started: u32 = lines.last().and_then(|l| l.parse().ok()).unwrap_or(0);
        assert!(started < 50, "{lines:?}");
    }
}

#[test]
fn dynos_do_not_see_each_other() {
    for way in walled() {
        let one = Bench::new(
            way,
            "echo secret > /tmp/one; echo secret > /dev/shm/one; echo up; exec -a first sleep 100",
        );
        let d = one.start().unwrap();
        one.wait_log("up");
        let two = Bench::new(
            way,
            "ls -A /tmp /dev/shm /run | grep one; cat /proc/[0-9]*/cmdline | grep -ac firs[t]; ls -A /tmp | wc -l",
        );
        assert_eq!(two.run().1, ["0", "0"], "{way:?}");
        drop(d);
    }
}

#[test]
fn without_walls_the_copy_is_home() {
    let b = Bench::new(
        plain(),
        "echo $HOME; pwd; [ $PPID -gt 1 ] && echo child; grep NoNewPrivs /proc/self/status | tr -d '\\t'",
    );
    let copy = b.spec.dir.join("copy").display().to_string();
    assert_eq!(b.run().1, [&copy, &copy, "child", "NoNewPrivs:1"]);
    let m = b.path("slug/hello").metadata().unwrap();
    assert_eq!(m.len(), 13);
    assert!(m.uid() == plain().user.unwrap_or(m.uid()));
}
