//! What no process of a dyno may ask of the kernel, as data. Everything else is allowed: runtimes use calls that no list
//! foresees. What needs a capability is refused by the kernel already, because a dyno has none; it is listed all the same
//! where the code behind the check has a history.

use libc::{c_long, *};

/// Refused with EPERM: the answer that programs know from other hosts of containers.
pub const FORBIDDEN: &[c_long] = &[
    // mounts, and ways to other mount trees
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    // statmount, listmount, open_tree_attr: too new to have names everywhere; numbers are the same on all processors
    457,
    458,
    467,
    SYS_setns,
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    // disks
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    // the kernel itself; `syslog` reads the log of the whole host
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_syslog,
    SYS_reboot,
    SYS_vhangup,
    // keyrings are not in any namespace
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    // the host's clock
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    // processors, old doors
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    SYS_sysfs,
];

/// Refused with ENOSYS, as by a kernel that does not know them, so that libraries take the older way without a word.
///
/// `clone3` hides its flags in memory where no filter can look; the C library then uses `clone`. What io_uring does is
/// seen by no filter (it opens files and makes sockets by itself), and it has had more holes than any other call; Node's
/// libuv and others do without.
pub const UNKNOWN: &[c_long] = &[
    SYS_clone3,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_nfsservctl,
    SYS_lookup_dcookie,
];

/// Flags of `clone` for new namespaces: mount, cgroup, UTS, IPC, user, PID, network.
pub const NAMESPACES: u32 = 0x7E02_0000;

/// The same for `unshare`, which knows time namespaces too (the bit is a signal's in `clone`).
pub const NAMESPACES_OF_UNSHARE: u32 = NAMESPACES | 0x80;

/// The flag for a new user namespace, which browsers ask for to build walls of their own.
pub const NEW_USER: u32 = CLONE_NEWUSER as u32;

/// Terminal requests that are refused: typing into a terminal that others read (TIOCSTI, TIOCLINUX), and line disciplines
/// (TIOCSETD), each of which is a module of the kernel with a history.
pub const TERMINAL: [u32; 3] = [0x5412, 0x541C, 0x5423];

/// `personality` as programs use it: Linux, without address randomisation, the 32-bit and old-version names, a question.
pub const PERSONALITIES: [u32; 5] = [0, 0x0004_0000, 0x0008, 0x0002_0000, 0xFFFF_FFFF];

/// Protocols of Internet sockets: the usual one, ICMP, TCP, UDP, ICMPv6, MPTCP (Go asks for it). Any other would load a
/// module of the kernel, such as SCTP.
pub const PROTOCOLS: [u32; 6] = [0, 1, 6, 17, 58, 262];

/// Calls that change how another process runs, and which argument names it. The kernel asks only for the same user here,
/// and without root the shim has the app's: its own shim, PID 1 inside, is nobody's to change.
pub const OF_PROCESSES: [(c_long, u32); 6] = [
    (SYS_setpriority, 1),
    (SYS_ioprio_set, 1),
    (SYS_sched_setaffinity, 0),
    (SYS_sched_setscheduler, 0),
    (SYS_sched_setparam, 0),
    (SYS_sched_setattr, 0),
];
