//! Ways through the kernel: calls that change the machine, or that have let others in before.

use super::{Facts, Verdict, Way, any, gained, last, refused};
use std::{fs, ptr};

pub const WAYS: &[Way] = &[
    Way("mount a file system", |_| {
        any(
            [
                c"proc", c"tmpfs", c"sysfs", c"cgroup2", c"cgroup", c"overlay", c"debugfs", c"bpf",
            ],
            |kind| {
                // SAFETY: C strings
                refused(i64::from(unsafe {
                    libc::mount(
                        kind.as_ptr(),
                        c"/tmp".as_ptr(),
                        kind.as_ptr(),
                        0,
                        ptr::null(),
                    )
                }))
            },
        )
    }),
    Way("make the system writable again", |_| {
        any([c"/", c"/usr", c"/etc", c"/proc/sys"], |at| {
            // SAFETY: C strings
            refused(i64::from(unsafe {
                libc::mount(
                    ptr::null(),
                    at.as_ptr(),
                    ptr::null(),
                    libc::MS_REMOUNT | libc::MS_BIND,
                    ptr::null(),
                )
            }))
        })
    }),
    Way("uncover what is covered", |_| {
        any(
            [
                c"/etc/shadow",
                c"/proc/kcore",
                c"/proc/sys",
                c"/tmp",
                c"/run",
                c"/app",
            ],
            |at| {
                // SAFETY: a C string
                refused(i64::from(unsafe {
                    libc::umount2(at.as_ptr(), libc::MNT_DETACH)
                }))
            },
        )
    }),
    Way("mount by the newer calls", |_| {
        any(
            [(libc::SYS_fsopen, 0), (libc::SYS_open_tree, 1)],
            |(nr, flags)| {
                // SAFETY: a C string, and flags
                refused(unsafe { libc::syscall(nr, c"proc".as_ptr(), flags, 0) })
            },
        )
    }),
    Way("change the root", |_| {
        // SAFETY: C strings
        refused(unsafe { libc::syscall(libc::SYS_pivot_root, c"/tmp".as_ptr(), c"/tmp".as_ptr()) })
    }),
    Way("join the shim's namespaces", |_| {
        any(["mnt", "pid", "net", "user", "cgroup"], |n| {
            use std::os::fd::AsRawFd;
            let file = fs::File::open(format!("/proc/1/ns/{n}")).map_err(|e| e.to_string())?;
            // SAFETY: takes no pointers
            refused(i64::from(unsafe { libc::setns(file.as_raw_fd(), 0) }))
        })
    }),
    Way("make namespaces", |_| {
        any(
            [
                libc::CLONE_NEWNS,
                libc::CLONE_NEWPID,
                libc::CLONE_NEWNET,
                libc::CLONE_NEWUTS,
                libc::CLONE_NEWIPC,
                libc::CLONE_NEWCGROUP,
                0x80,
            ],
            |flag| {
                // SAFETY: takes no pointers
                refused(i64::from(unsafe { libc::unshare(flag) }))
            },
        )
    }),
    Way("make a user namespace and be root in it", |_| {
        // SAFETY: takes no pointers
        refused(i64::from(unsafe { libc::unshare(libc::CLONE_NEWUSER) }))
    }),
    Way("clone into a user namespace", |_| {
        // SAFETY: no stack is given, as in fork; a child that is made ends at once
        unsafe {
            let r = libc::syscall(
                libc::SYS_clone,
                libc::CLONE_NEWUSER | libc::SIGCHLD,
                0,
                0,
                0,
                0,
            );
            if r == 0 {
                libc::_exit(0);
            }
            refused(r)
        }
    }),
    Way("clone into a user namespace by clone3", |_| {
        // struct clone_args of version 0: flags first, the signal at the end fifth
        let mut args = [
            libc::CLONE_NEWUSER as u64,
            0,
            0,
            0,
            libc::SIGCHLD as u64,
            0,
            0,
            0,
        ];
        // SAFETY: as above
        unsafe {
            let r = libc::syscall(libc::SYS_clone3, args.as_mut_ptr(), size_of_val(&args));
            if r == 0 {
                libc::_exit(0);
            }
            refused(r)
        }
    }),
    Way("change the handler of cores", |_| {
        open(&[
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe",
            "/proc/sys/fs/binfmt_misc/register",
            "/proc/sys/kernel/hotplug",
        ])
    }),
    Way("change the kernel's settings", |_| {
        open(&[
            "/proc/sys/vm/overcommit_memory",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/kernel/hostname",
            "/proc/sys/kernel/randomize_va_space",
            "/proc/irq/0/smp_affinity",
        ])
    }),
    Way("order the kernel by sysrq", |_| {
        open(&["/proc/sysrq-trigger"])
    }),
    Way("read the kernel's memory and keys", |_| {
        any(
            [
                "/proc/kcore",
                "/proc/keys",
                "/proc/kmsg",
                "/proc/kallsyms",
                "/proc/timer_list",
                "/proc/vmallocinfo",
            ],
            |p| {
                let text = fs::read(p).map_err(|e| e.to_string())?;
                if text.is_empty() {
                    Err("it is empty".into())
                } else {
                    Ok(p.into())
                }
            },
        )
    }),
    Way("read the kernel's log", |_| {
        let mut text = [0u8; 4096];
        // SAFETY: pointer and length of one array; 3 reads all
        refused(i64::from(unsafe {
            libc::klogctl(3, text.as_mut_ptr().cast(), 4096)
        }))
    }),
    Way("load a module", |_| {
        any(
            [
                libc::SYS_init_module,
                libc::SYS_finit_module,
                libc::SYS_delete_module,
            ],
            |nr| {
                // SAFETY: the kernel checks the pointers, which are none
                refused(unsafe { libc::syscall(nr, 0, 0, c"".as_ptr()) })
            },
        )
    }),
    Way("start another kernel", |_| {
        call(libc::SYS_kexec_load, [0; 5])
    }),
    Way("load a program into the kernel", |_| {
        // BPF_PROG_TYPE_SOCKET_FILTER with `r0 = 0; exit`, which needs no rights where a host allows it
        let code = [0x0000_00b7u64, 0x0000_0095];
        let license = c"GPL";
        let mut attr = [0u64; 16];
        attr[0] = 1 | (2 << 32);
        attr[1] = code.as_ptr() as u64;
        attr[2] = license.as_ptr() as u64;
        // SAFETY: pointer and size of one array, which points to others that outlive the call
        refused(unsafe { libc::syscall(libc::SYS_bpf, 5, attr.as_mut_ptr(), 64) })
    }),
    Way("watch the machine's counters", |_| {
        let mut attr = [0u64; 16];
        // PERF_TYPE_SOFTWARE, the size, PERF_COUNT_SW_CPU_CLOCK
        attr[0] = 1 | (128 << 32);
        // SAFETY: the array has the size it says
        refused(unsafe {
            libc::syscall(libc::SYS_perf_event_open, attr.as_mut_ptr(), 0, -1, -1, 0)
        })
    }),
    Way("handle the kernel's page faults", |_| {
        call(libc::SYS_userfaultfd, [1, 0, 0, 0, 0])
    }),
    Way("go round the filter with io_uring", |_| {
        let mut params = [0u8; 120];
        // SAFETY: the struct has 120 bytes
        refused(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) })
    }),
    Way("read keys of others", |_| {
        any([-1i64, -2, -3, -4, -5], |ring| {
            call(libc::SYS_keyctl, [0, ring, 1, 0, 0])
        })
    }),
    Way("leave a key for others", |_| {
        // SAFETY: C strings and a length
        refused(unsafe {
            libc::syscall(
                libc::SYS_add_key,
                c"user".as_ptr(),
                c"intruder".as_ptr(),
                c"x".as_ptr(),
                1,
                -4,
            )
        })
    }),
    Way("swap, quota, accounting", |_| {
        // SAFETY: C strings; the kernel checks the others
        unsafe {
            any(
                [
                    libc::syscall(libc::SYS_swapon, c"/tmp/swap".as_ptr(), 0),
                    libc::syscall(libc::SYS_acct, c"/tmp/acct".as_ptr()),
                    libc::syscall(libc::SYS_quotactl, 0x80_0002, c"/dev/vda".as_ptr(), 0, 0),
                ],
                |r| {
                    if r < 0 {
                        Err("not permitted".into())
                    } else {
                        Ok("one of them".into())
                    }
                },
            )
        }
    }),
    Way("switch the machine off", |_| {
        // the command that turns Ctrl-Alt-Del off: harmless, with the same check as all others
        call(libc::SYS_reboot, [0xfee1_dead, 0x2812_1969, 0, 0, 0])
    }),
    Way("set the machine's clock", |_| {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the struct outlives both calls
        refused(i64::from(unsafe {
            libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now);
            libc::clock_settime(libc::CLOCK_REALTIME, &raw const now)
        }))
    }),
    Way("rename the machine", |_| {
        // SAFETY: a C string and its length
        refused(i64::from(unsafe {
            libc::sethostname(c"intruder".as_ptr(), 8)
        }))
    }),
    #[cfg(target_arch = "x86_64")]
    Way("talk to the hardware's ports", |_| {
        any(
            [
                (libc::SYS_iopl, [3, 0, 0, 0, 0]),
                (libc::SYS_ioperm, [0x70, 1, 1, 0, 0]),
                (libc::SYS_modify_ldt, [1, 0, 0, 0, 0]),
            ],
            |(nr, a)| call(nr, a),
        )
    }),
    #[cfg(target_arch = "x86_64")]
    Way("make calls of the x32 kind", |_| {
        call(0x4000_0000 | libc::SYS_getpid, [0; 5])
    }),
    #[cfg(target_arch = "x86_64")]
    Way("make calls of the 32-bit kind", |_| {
        let r: i32;
        // SAFETY: getpid of the 32-bit table, which touches no memory; rbx is the compiler's own and is kept
        unsafe {
            std::arch::asm!("push rbx", "xor ebx, ebx", "int 0x80", "pop rbx", inout("eax") 20 => r, out("rcx") _, out("rdx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        if r < 0 {
            Err(std::io::Error::from_raw_os_error(-r).to_string())
        } else {
            Ok(format!("getpid gave {r}"))
        }
    }),
    Way("make its memory executable by personality", |_| {
        // SAFETY: takes no pointers
        refused(i64::from(unsafe { libc::personality(0x0040_0000) }))
    }),
    Way("type into its terminal", |_| {
        // SAFETY: a byte that outlives the call
        any(0..3, |fd| {
            refused(i64::from(unsafe {
                libc::ioctl(fd, libc::TIOCSTI, c"x".as_ptr())
            }))
        })
    }),
    Way("load a line discipline", |_| {
        // SAFETY: opens a terminal of its own; the number outlives the call
        unsafe {
            let fd = libc::open(c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY);
            // N_GSM0710, N_HDLC, N_SLCAN
            any([21i32, 13, 17], |n| {
                refused(i64::from(libc::ioctl(fd, libc::TIOCSETD, &raw const n)))
            })
        }
    }),
    Way("watch all files of a disk", |_| {
        call(libc::SYS_fanotify_init, [0, 0, 0, 0, 0])
    }),
    Way("be a debugger that lets refused calls through", traced),
];

fn open(files: &[&str]) -> Verdict {
    any(files, |p| {
        gained(fs::OpenOptions::new().write(true).open(p), p)
    })
}

fn call(nr: libc::c_long, a: [i64; 5]) -> Verdict {
    // SAFETY: only numbers are given; what the kernel takes for a pointer it checks
    refused(unsafe { libc::syscall(nr, a[0], a[1], a[2], a[3], a[4]) })
}

/// A child that is debugged makes a harmless call; its debugger turns that into `unshare(CLONE_NEWUSER)`.
fn traced(_: &Facts) -> Verdict {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the child only stops and makes calls; the struct for its registers outlives the calls
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            let r = libc::syscall(libc::SYS_getppid);
            libc::_exit(if r == 0 { 42 } else { 1 });
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        for _ in 0..20 {
            libc::ptrace(libc::PTRACE_SYSCALL, child, 0, 0);
            libc::waitpid(child, &raw mut status, 0);
            if libc::WIFEXITED(status) {
                break;
            }
            let mut regs: libc::user_regs_struct = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_GETREGS, child, 0, &raw mut regs);
            if regs.orig_rax == libc::SYS_getppid as u64 && regs.rax as i64 == -38 {
                regs.orig_rax = libc::SYS_unshare as u64;
                regs.rdi = libc::CLONE_NEWUSER as u64;
                libc::ptrace(libc::PTRACE_SETREGS, child, 0, &raw mut regs);
            }
        }
        if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 42 {
            return Ok("the call was made".into());
        }
        Err(format!("refused again after the debugger ({})", last()))
    }
    #[cfg(not(target_arch = "x86_64"))]
    Err("the filter is asked after the debugger on this processor too".into())
}
