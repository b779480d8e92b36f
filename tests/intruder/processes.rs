//! Ways to other processes: those of other apps, of the agent, and the shim.

use super::{Facts, OPEN, Verdict, Way, any, gained, last, refused};
use std::{ffi::CString, fs, io::Read, ptr};

pub const WAYS: &[Way] = &[
    Way("see processes of others", |f| {
        let mark = f.get("victim-command");
        for e in fs::read_dir("/proc").map_err(|e| e.to_string())?.flatten() {
            let line = fs::read(e.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if !mark.is_empty() && line.contains(mark) && !line.contains("victim-command") {
                return Ok(line);
            }
        }
        Err("only its own".into())
    }),
    Way("read the other app's environment", |f| victim(f, "environ")),
    Way("read the other app's memory map", |f| victim(f, "maps")),
    Way("read the other app's memory", |f| victim(f, "mem")),
    Way("read the other app's files through its root", |f| {
        victim(f, "root/app/treasure")
    }),
    Way("read the shim's environment", |_| proc_file(1, "environ")),
    Way("read the shim's memory map", |_| proc_file(1, "maps")),
    Way("open the shim's memory", |_| {
        gained(fs::File::open("/proc/1/mem"), "opened")
    }),
    Way("see the shim's system call", |_| {
        any(["syscall", "stack", "io"], |n| proc_file(1, n))
    }),
    Way("copy memory of foreign processes", |f| {
        let mut buf = [0u8; 8];
        let local = libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: 8,
        };
        let remote = libc::iovec {
            iov_base: 0x40_0000 as *mut _,
            iov_len: 8,
        };
        any(foreign(f), |p| {
            // SAFETY: the local part is an array of that length; the remote part is checked by the kernel
            refused(unsafe {
                libc::process_vm_readv(p, &raw const local, 1, &raw const remote, 1, 0)
            } as i64)
        })
    }),
    Way("debug foreign processes", |f| {
        any(foreign(f), |p| {
            // SAFETY: takes no pointers
            refused(unsafe { libc::ptrace(libc::PTRACE_SEIZE, p, 0, 0) })
        })
    }),
    Way("signal foreign processes", |f| {
        any(foreign(f).into_iter().filter(|p| *p != 1), |p| {
            // SAFETY: takes no pointers
            refused(i64::from(unsafe { libc::kill(p, 0) }))
        })
    }),
    Way("kill the other app", |f| {
        let pid = f.number("victim") as i32;
        if inside(pid) {
            return Err("that number is another process here".into());
        }
        // SAFETY: takes no pointers
        refused(i64::from(unsafe { libc::kill(pid, libc::SIGKILL) }))
    }),
    Way("stop the shim with signals", |_| {
        for s in [
            libc::SIGSTOP,
            libc::SIGSEGV,
            libc::SIGTERM,
            libc::SIGKILL,
            libc::SIGHUP,
        ] {
            // SAFETY: takes no pointers
            unsafe { libc::kill(1, s) };
        }
        let state = fs::read_to_string("/proc/1/stat").unwrap_or_default();
        match state.rsplit_once(") ").map(|(_, r)| r.chars().next()) {
            Some(Some('T' | 'Z' | 'X')) => Ok("the shim stands still".into()),
            _ => Err("it does not mind".into()),
        }
    }),
    Way("take a descriptor out of the shim", |_| {
        // SAFETY: takes no pointers
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, 1, 0);
            any(0..16, |n| {
                refused(libc::syscall(libc::SYS_pidfd_getfd, fd, n, 0))
            })
        }
    }),
    Way("use a descriptor that was left open", |_| {
        let mut found = vec![];
        for fd in 3..256 {
            let path = fs::read_link(format!("/proc/self/fd/{fd}"));
            match path {
                Ok(p) if !p.to_string_lossy().starts_with("pipe:") && !p.starts_with("/proc") => {
                    found.push(p.display().to_string());
                }
                _ => {}
            }
        }
        if found.is_empty() {
            Err("none is open".into())
        } else {
            Ok(found.join(" "))
        }
    }),
    Way("be told of signals of foreign processes", |f| {
        any(foreign(f).into_iter().filter(|p| *p != 1), |p| {
            // SAFETY: descriptor 0 is open or the call fails
            refused(i64::from(unsafe { libc::fcntl(0, libc::F_SETOWN, p) }))
        })
    }),
    Way("limit foreign processes", |f| {
        let limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        any(foreign(f), |p| {
            // SAFETY: the struct outlives the call
            refused(i64::from(unsafe {
                libc::prlimit(p, libc::RLIMIT_NOFILE, &raw const limit, ptr::null_mut())
            }))
        })
    }),
    Way(
        "move foreign processes to another processor or priority",
        |f| {
            any(foreign(f), |p| {
                // SAFETY: take no pointers but to a set that outlives the call
                unsafe {
                    let set: libc::cpu_set_t = std::mem::zeroed();
                    if libc::setpriority(libc::PRIO_PROCESS, p as u32, 19) == 0 {
                        return Ok(format!("priority of {p}"));
                    }
                    refused(i64::from(libc::sched_setaffinity(
                        p,
                        size_of_val(&set),
                        &raw const set,
                    )))
                }
            })
        },
    ),
    Way("become root", |_| {
        // SAFETY: take no pointers
        unsafe {
            libc::setgid(0);
            refused(i64::from(libc::setuid(0)))
        }
    }),
    Way("join a group of root's", |_| {
        let groups = [0, 4, 6, 42];
        // SAFETY: pointer and length of one array
        refused(i64::from(unsafe {
            libc::setgroups(groups.len(), groups.as_ptr())
        }))
    }),
    Way("become another app's user", |f| {
        if f.get("walls") != "root" {
            return Err(format!("{OPEN}all apps have the same"));
        }
        // SAFETY: takes no pointers
        refused(i64::from(unsafe {
            libc::setuid(f.number("victim-uid").max(1) as u32)
        }))
    }),
    Way("become root by a set-user-id program", |_| {
        any(
            [
                ["su", "-c", "id -u"],
                ["sudo", "-n", "id"],
                ["newgrp", "root", ""],
                ["pkexec", "id", "-u"],
                ["mount", "--bind", "/tmp"],
            ],
            |words| {
                let out = std::process::Command::new(words[0])
                    .args(&words[1..])
                    .stdin(std::process::Stdio::null())
                    .output()
                    .map_err(|e| e.to_string())?;
                let text = String::from_utf8_lossy(&out.stdout);
                if out.status.success() && (text.trim() == "0" || text.contains("uid=0")) {
                    Ok(format!("{}: {text}", words[0]))
                } else {
                    Err(format!("{}: {}", words[0], out.status))
                }
            },
        )
    }),
    Way("take capabilities", |_| {
        let header = [0x2008_0522u32, 0];
        let all = [[u32::MAX; 3]; 2];
        // SAFETY: both have the layout of version 3 of the call
        refused(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), all.as_ptr()) })
    }),
    Way("take ambient capabilities", |_| {
        any(0..41u64, |c| {
            // SAFETY: takes no pointers
            refused(i64::from(unsafe {
                libc::prctl(
                    libc::PR_CAP_AMBIENT,
                    libc::PR_CAP_AMBIENT_RAISE as u64,
                    c,
                    0,
                    0,
                )
            }))
        })
    }),
    Way("allow new rights again", |_| {
        // SAFETY: take no pointers
        unsafe {
            let r = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 0u64, 0u64, 0u64, 0u64);
            if libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0u64, 0u64, 0u64, 0u64) == 1 {
                return Err(format!("they stay refused ({r})"));
            }
        }
        Ok("new rights may be had".into())
    }),
    Way("take the filter off", |_| {
        // SAFETY: takes no pointers; mode 0 is "none"
        let r = unsafe { libc::prctl(libc::PR_SET_SECCOMP, 0u64, 0u64, 0u64, 0u64) };
        refused(i64::from(r))
    }),
    Way("be spared when memory runs out", |f| {
        if f.get("no-oom-wall") == "yes" {
            return Err(format!(
                "{OPEN}only root with CAP_SYS_RESOURCE can set the lowest value"
            ));
        }
        let now = || fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        let before: i32 = now().trim().parse().unwrap_or(0);
        let _ = fs::write("/proc/self/oom_score_adj", "-1000");
        let _ = fs::write("/proc/self/oom_score_adj", "0");
        let after: i32 = now().trim().parse().unwrap_or(0);
        if after < before || after <= 0 {
            Ok(format!("{before} became {after}"))
        } else {
            Err(format!("it stays at {after}"))
        }
    }),
    Way("run before all others", |_| {
        // SAFETY: the struct outlives the call
        unsafe {
            if libc::setpriority(libc::PRIO_PROCESS, 0, -5) == 0 {
                return Ok("a higher priority".into());
            }
            let p = libc::sched_param { sched_priority: 50 };
            refused(i64::from(libc::sched_setscheduler(
                0,
                libc::SCHED_FIFO,
                &raw const p,
            )))
        }
    }),
    Way("raise its limits", |_| {
        any([libc::RLIMIT_NOFILE, libc::RLIMIT_CORE], |what| {
            let mut now = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: the structs outlive the calls
            unsafe {
                libc::getrlimit(what, &raw mut now);
                let before = now.rlim_max;
                let more = libc::rlimit {
                    rlim_cur: before + 1,
                    rlim_max: before + 1,
                };
                libc::setrlimit(what, &raw const more);
                let error = last();
                libc::getrlimit(what, &raw mut now);
                if now.rlim_max > before {
                    Ok(format!("{before} became {}", now.rlim_max))
                } else {
                    Err(error)
                }
            }
        })
    }),
    Way("fork without end", bomb),
    Way("find shared memory of the host", |f| {
        let key = f.number("shm") as libc::key_t;
        // SAFETY: takes no pointers
        refused(i64::from(unsafe { libc::shmget(key, 0, 0) }))
    }),
    Way("find a message queue of the host", |f| {
        let name = CString::new(f.get("queue")).unwrap_or_default();
        // SAFETY: a C string
        refused(i64::from(unsafe {
            libc::mq_open(name.as_ptr(), libc::O_RDONLY)
        }))
    }),
    Way("leave a crashed process's memory with the host", |_| {
        // SAFETY: a child that kills itself; the number outlives the call
        let status = unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::raise(libc::SIGSEGV);
                libc::_exit(0);
            }
            let mut status = 0;
            libc::waitpid(pid, &raw mut status, 0);
            status
        };
        if libc::WCOREDUMP(status) {
            Ok("a core was written".into())
        } else {
            Err("no core was written".into())
        }
    }),
];

/// Process ids of the host that are none in here: the victim's, the agent's, the router's, the shim's own parent.
fn foreign(f: &Facts) -> Vec<i32> {
    let all = ["victim", "victim-shim", "agent", "router"].map(|n| f.number(n) as i32);
    all.into_iter()
        .filter(|p| *p > 1 && !inside(*p))
        .chain([1])
        .collect()
}

fn inside(pid: i32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

fn victim(f: &Facts, file: &str) -> Verdict {
    let pid = f.number("victim") as i32;
    if inside(pid) {
        return Err("that number is another process here".into());
    }
    proc_file(pid, file)
}

fn proc_file(pid: i32, file: &str) -> Verdict {
    let mut text = Vec::new();
    fs::File::open(format!("/proc/{pid}/{file}"))
        .and_then(|f| f.take(4096).read_to_end(&mut text))
        .map_err(|e| e.to_string())?;
    if text.is_empty() {
        Err("it is empty".into())
    } else {
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// A bound has to be there; that it holds is shown with a smaller one, because the machine has other work.
fn bomb(f: &Facts) -> Verdict {
    let mut now = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structs outlive the calls; the children wait for a signal and are killed and reaped below
    unsafe {
        libc::getrlimit(libc::RLIMIT_NPROC, &raw mut now);
        if now.rlim_max > 32_768 {
            if f.get("walls") != "root" {
                return Err(format!(
                    "{OPEN}processes are counted by user, and all apps have the same"
                ));
            }
            return Ok(format!("no bound: {}", now.rlim_max));
        }
        let small = libc::rlimit {
            rlim_cur: 100,
            rlim_max: 100,
        };
        libc::setrlimit(libc::RLIMIT_NPROC, &raw const small);
        let mut children = vec![];
        for _ in 0..200 {
            match libc::fork() {
                0 => loop {
                    libc::pause();
                },
                p if p < 0 => break,
                p => children.push(p),
            }
        }
        let error = last();
        for c in &children {
            libc::kill(*c, libc::SIGKILL);
        }
        for c in &children {
            libc::waitpid(*c, ptr::null_mut(), 0);
        }
        if children.len() < 200 {
            Err(format!(
                "at most {} (tried with 100: {} children, then {error})",
                now.rlim_max,
                children.len()
            ))
        } else {
            Ok("200 children with a limit of 100".into())
        }
    }
}
