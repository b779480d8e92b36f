//! The filter between a dyno and the kernel: builds it from [`denied`], and installs it.
//!
//! It is made by hand, because it says no in four ways (EPERM, ENOSYS, "no such family", "no such protocol"), refuses
//! the x32 calls that share a processor's name with the 64-bit ones, and can ask the shim, which the crates for this do
//! not do in one filter. Source: seccomp(2), linux/filter.h.

use crate::{
    call::{self, Why},
    denied,
};
use libc::{c_long, sock_filter};
use nix::{
    cmsg_space,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixDatagram,
    },
};

/// AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64 of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

/// Calls of the x32 kind have this bit.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const OF_ARCH: u32 = 4;

/// The low half of an argument; both processors are little-endian. The kernel looks at no more of those compared here.
const fn low(arg: u32) -> u32 {
    16 + 8 * arg
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
#[cfg(target_arch = "x86_64")]
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const HAS_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

fn op(code: u16, k: u32, jt: usize, jf: usize) -> sock_filter {
    // every list here is far shorter than a jump can be long; the test of the whole program checks each jump
    let short = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
    sock_filter {
        code,
        jt: short(jt),
        jf: short(jf),
        k,
    }
}

fn load(at: u32) -> sock_filter {
    op(LOAD, at, 0, 0)
}

fn give(k: u32) -> sock_filter {
    op(RETURN, k, 0, 0)
}

fn allow() -> sock_filter {
    give(libc::SECCOMP_RET_ALLOW)
}

fn refuse(errno: i32) -> sock_filter {
    give(libc::SECCOMP_RET_ERRNO | errno as u32)
}

/// Is the loaded word one of these? Falls through when it is, and leaps over `past` instructions when not.
fn one_of(words: &[u32], past: usize) -> Vec<sock_filter> {
    let n = words.len();
    let test = |(i, k): (usize, &u32)| {
        let last = i + 1 == n;
        op(EQUAL, *k, n - 1 - i, if last { past } else { 0 })
    };
    words.iter().enumerate().map(test).collect()
}

/// The words lead to the answer, all others to the next instruction.
fn answer(words: &[u32], with: sock_filter) -> Vec<sock_filter> {
    let mut p = one_of(words, 1);
    p.push(with);
    p
}

/// A call whose arguments decide; `body` ends with an answer in any case.
fn of_call(nr: c_long, body: &[sock_filter]) -> Vec<sock_filter> {
    let mut p = vec![op(EQUAL, nr as u32, 0, body.len())];
    p.extend(body);
    p
}

/// `clone`, `unshare`: no new namespaces. A new user namespace is asked of the shim when it can answer, because a browser
/// that wants one needs a word of explanation; it says no.
fn namespaces(flags: u32, user: sock_filter) -> Vec<sock_filter> {
    vec![
        load(low(0)),
        op(HAS_BITS, denied::NEW_USER, 0, 1),
        user,
        op(HAS_BITS, flags, 0, 1),
        refuse(libc::EPERM),
        allow(),
    ]
}

/// Unix and Internet sockets, and of netlink what tells a program its addresses.
fn socket() -> Vec<sock_filter> {
    let no_protocol = || refuse(libc::EPROTONOSUPPORT);
    let mut internet = vec![load(low(2))];
    internet.extend(answer(&denied::PROTOCOLS, allow()));
    internet.push(no_protocol());
    let mut netlink = vec![load(low(2))];
    netlink.extend(answer(&[libc::NETLINK_ROUTE as u32], allow()));
    netlink.push(no_protocol());
    let mut p = vec![load(low(0))];
    p.extend(answer(&[libc::AF_UNIX as u32], allow()));
    p.extend(one_of(
        &[libc::AF_INET as u32, libc::AF_INET6 as u32],
        internet.len(),
    ));
    p.extend(internet);
    p.extend(one_of(&[libc::AF_NETLINK as u32], netlink.len()));
    p.extend(netlink);
    p.push(refuse(libc::EAFNOSUPPORT));
    p
}

/// PID 1 is refused; others lead to the next instruction.
fn not_the_shim(pid: u32) -> Vec<sock_filter> {
    let mut p = vec![load(low(pid))];
    p.extend(answer(&[1], refuse(libc::EPERM)));
    p
}

/// The limit for core dumps stays as it is (see [`crate::launch`]): with a handler of cores on the host, 0 would let one
/// out. Programs with secrets set it to 0 and end when they may not, so they are told that it was done.
fn core_limit(resource: u32, value: Option<u32>) -> Vec<sock_filter> {
    let done = || refuse(0);
    let mut p = vec![
        load(low(resource)),
        op(EQUAL, libc::RLIMIT_CORE, 1, 0),
        allow(),
    ];
    let Some(value) = value else {
        p.push(done());
        return p;
    };
    // a question has no new value: both halves of the pointer are 0
    p.extend([
        load(low(value)),
        op(EQUAL, 0, 0, 3),
        load(low(value) + 4),
        op(EQUAL, 0, 0, 1),
        allow(),
        // who asks for the old value too would find none
        load(low(value + 1)),
        op(EQUAL, 0, 0, 3),
        load(low(value + 1) + 4),
        op(EQUAL, 0, 0, 1),
        done(),
        refuse(libc::EINVAL),
    ]);
    p
}

/// The whole filter. With `ask` a new user namespace is a question to whoever holds the listener.
pub fn program(ask: bool) -> Vec<sock_filter> {
    let user = if ask {
        give(libc::SECCOMP_RET_USER_NOTIF)
    } else {
        refuse(libc::EPERM)
    };
    let mut p = vec![load(OF_ARCH), op(EQUAL, ARCH, 1, 0)];
    // calls of the 32-bit kind, which no runtime here makes
    p.push(refuse(libc::ENOSYS));
    p.push(load(NR));
    #[cfg(target_arch = "x86_64")]
    p.extend([
        // a debugger cancels calls of its process by this number
        op(EQUAL, u32::MAX, 2, 0),
        op(AT_LEAST, X32, 0, 1),
        refuse(libc::ENOSYS),
    ]);
    let numbers = |list: &[c_long]| list.iter().map(|n| *n as u32).collect::<Vec<_>>();
    p.extend(answer(&numbers(denied::FORBIDDEN), refuse(libc::EPERM)));
    p.extend(answer(&numbers(denied::UNKNOWN), refuse(libc::ENOSYS)));
    p.extend(of_call(
        libc::SYS_clone,
        &namespaces(denied::NAMESPACES, user),
    ));
    p.extend(of_call(
        libc::SYS_unshare,
        &namespaces(denied::NAMESPACES_OF_UNSHARE, user),
    ));
    p.extend(of_call(libc::SYS_socket, &socket()));
    let mut ioctl = vec![load(low(1))];
    ioctl.extend(answer(&denied::TERMINAL, refuse(libc::EPERM)));
    ioctl.push(allow());
    p.extend(of_call(libc::SYS_ioctl, &ioctl));
    let mut personality = vec![load(low(0))];
    personality.extend(answer(&denied::PERSONALITIES, allow()));
    personality.push(refuse(libc::EPERM));
    p.extend(of_call(libc::SYS_personality, &personality));
    p.extend(of_call(libc::SYS_setrlimit, &core_limit(0, None)));
    let mut prlimit = not_the_shim(0);
    prlimit.extend(core_limit(1, Some(2)));
    p.extend(of_call(libc::SYS_prlimit64, &prlimit));
    for (nr, pid) in denied::OF_PROCESSES {
        let mut body = not_the_shim(pid);
        body.push(allow());
        p.extend(of_call(nr, &body));
    }
    p.push(allow());
    p
}

/// Does this kernel have filters?
pub fn available() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the number outlives the call
    let r = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    };
    r == 0
}

/// Puts the filter on this process for good; new rights have to be refused before. Gives the listener where the kernel
/// (5.0 and later) has one.
///
/// # Errors
/// The kernel refuses.
pub fn install() -> io::Result<Option<OwnedFd>> {
    // the processor's guard against a leak of speculation costs runtimes a lot, and a filter is no reason for it
    let plain = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if let Ok(fd) = set(
        &program(true),
        plain | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
    ) {
        // SAFETY: the kernel gives a new descriptor that nobody else owns
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }));
    }
    let p = program(false);
    set(&p, plain).or_else(|_| set(&p, 0)).map(|_| None)
}

fn set(program: &[sock_filter], flags: libc::c_ulong) -> io::Result<i64> {
    let p = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which outlives the call
    call::check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const p,
        )
    })
}

/// Sends the listener to the shim. A filter allows that, and the process forgets its own copy by `execve`.
///
/// # Errors
/// The kernel refuses.
pub fn hand_over(to: &UnixDatagram, listener: &OwnedFd) -> io::Result<()> {
    let fds = [listener.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let byte = [IoSlice::new(&[0])];
    sendmsg::<()>(to.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)?;
    Ok(())
}

/// Takes what [`hand_over`] sent, if it was sent.
pub fn take(from: &UnixDatagram) -> Option<OwnedFd> {
    let mut byte = [0];
    let mut byte = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let m = recvmsg::<()>(from.as_raw_fd(), &mut byte, Some(&mut space), flags).ok()?;
    let fd = m.cmsgs().ok()?.find_map(|c| match c {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    })?;
    // SAFETY: the kernel has just given this descriptor to this process, and nobody else owns it
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one question for a user namespace off the listener and says no. False when there was none.
///
/// # Errors
/// The listener is broken, or nobody is left behind the filter.
pub fn say_no(listener: &OwnedFd) -> Result<bool, String> {
    // SAFETY: all-zero is what the kernel asks for
    let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let fd = listener.as_raw_fd();
    // SAFETY: the struct is of the size that is coded in the request, and outlives the call
    match call::check(unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut question) })
    {
        // the asker was killed meanwhile
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
        r => r.why(|| "can't read a question of the filter".into())?,
    };
    let answer = libc::seccomp_notif_resp {
        id: question.id,
        val: 0,
        error: -libc::EPERM,
        flags: 0,
    };
    // SAFETY: as above; an asker that is gone needs no answer
    unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer; the machine of socket(7) filters, as far as it is used.
    fn run(program: &[sock_filter], arch: u32, nr: u32, args: [u64; 4]) -> u32 {
        let (mut at, mut a) = (0, 0u32);
        loop {
            let i = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
            match i.code {
                LOAD => {
                    a = match i.k {
                        NR => nr,
                        OF_ARCH => arch,
                        k => {
                            let arg = args[(k as usize - 16) / 8];
                            (if k % 8 == 0 { arg } else { arg >> 32 }) as u32
                        }
                    }
                }
                EQUAL => at += jump(a == i.k),
                HAS_BITS => at += jump(a & i.k != 0),
                #[cfg(target_arch = "x86_64")]
                AT_LEAST => at += jump(a >= i.k),
                RETURN => return i.k,
                c => panic!("{c}"),
            }
        }
    }

    fn ask(nr: c_long, args: [u64; 4]) -> Result<(), i32> {
        match run(&program(false), ARCH, nr as u32, args) {
            libc::SECCOMP_RET_ALLOW => Ok(()),
            r => Err((r & 0xFFFF) as i32),
        }
    }

    #[test]
    fn the_answers() {
        use libc::*;
        let no = [0; 4];
        for nr in denied::FORBIDDEN {
            assert_eq!(ask(*nr, no), Err(EPERM), "{nr}");
        }
        for nr in denied::UNKNOWN {
            assert_eq!(ask(*nr, no), Err(ENOSYS), "{nr}");
        }
        for nr in [
            SYS_read,
            SYS_write,
            SYS_openat,
            SYS_mmap,
            SYS_execve,
            SYS_ptrace,
            SYS_futex,
            SYS_bind,
            SYS_seccomp,
            SYS_prctl,
            SYS_rseq,
            SYS_memfd_create,
            SYS_epoll_pwait,
        ] {
            assert_eq!(ask(nr, no), Ok(()), "{nr}");
        }
        let flags = |f: i32| [f as u64, 0, 0, 0];
        assert_eq!(
            ask(SYS_clone, flags(CLONE_VM | CLONE_THREAD | SIGCHLD)),
            Ok(())
        );
        assert_eq!(ask(SYS_unshare, flags(CLONE_FS | CLONE_FILES)), Ok(()));
        for f in [
            CLONE_NEWNS,
            CLONE_NEWUSER,
            CLONE_NEWPID,
            CLONE_NEWNET,
            CLONE_NEWIPC,
            CLONE_NEWUTS,
            CLONE_NEWCGROUP,
            CLONE_NEWUSER | SIGCHLD,
        ] {
            assert_eq!(ask(SYS_clone, flags(f)), Err(EPERM), "{f:x}");
            assert_eq!(ask(SYS_unshare, flags(f)), Err(EPERM), "{f:x}");
        }
        assert_eq!(ask(SYS_unshare, flags(0x80)), Err(EPERM));
        // the upper half of an argument hides nothing
        assert_eq!(ask(SYS_ioctl, [0, 0x1_0000_5412, 0, 0]), Err(EPERM));
        assert_eq!(ask(SYS_ioctl, [0, TIOCGWINSZ, 0, 0]), Ok(()));
        for p in denied::PERSONALITIES {
            assert_eq!(ask(SYS_personality, [u64::from(p), 0, 0, 0]), Ok(()));
        }
        assert_eq!(ask(SYS_personality, [0x0040_0000, 0, 0, 0]), Err(EPERM));
        for (nr, pid) in denied::OF_PROCESSES.into_iter().chain([(SYS_prlimit64, 0)]) {
            let mut args = [0; 4];
            assert_eq!(ask(nr, args), Ok(()));
            args[pid as usize] = 1;
            assert_eq!(ask(nr, args), Err(EPERM), "{nr}");
        }
    }

    #[test]
    fn sockets() {
        use libc::*;
        let socket = |family: i32, kind: i32, protocol: i32| {
            ask(SYS_socket, [family as u64, kind as u64, protocol as u64, 0])
        };
        for family in [AF_INET, AF_INET6] {
            for p in [0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_MPTCP, IPPROTO_ICMPV6] {
                assert_eq!(socket(family, SOCK_STREAM, p), Ok(()));
            }
            assert_eq!(
                socket(family, SOCK_STREAM, IPPROTO_SCTP),
                Err(EPROTONOSUPPORT)
            );
            assert_eq!(socket(family, SOCK_RAW, IPPROTO_RAW), Err(EPROTONOSUPPORT));
        }
        assert_eq!(socket(AF_UNIX, SOCK_STREAM, 0), Ok(()));
        assert_eq!(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), Ok(()));
        for p in [
            NETLINK_AUDIT,
            NETLINK_SOCK_DIAG,
            NETLINK_NETFILTER,
            NETLINK_KOBJECT_UEVENT,
        ] {
            assert_eq!(socket(AF_NETLINK, SOCK_RAW, p), Err(EPROTONOSUPPORT));
        }
        for f in [
            AF_PACKET,
            AF_VSOCK,
            AF_ALG,
            AF_BLUETOOTH,
            AF_CAN,
            AF_TIPC,
            AF_XDP,
            -1,
        ] {
            assert_eq!(socket(f, SOCK_RAW, 0), Err(EAFNOSUPPORT), "{f}");
        }
    }

    #[test]
    fn the_limit_for_cores_can_be_read_and_seems_to_be_set() {
        use libc::*;
        let core = u64::from(RLIMIT_CORE);
        let limit = |r: u64, new: u64, old: u64| ask(SYS_prlimit64, [0, r, new, old]);
        assert_eq!(limit(core, 0, 0x7fff_0000_1000), Ok(()));
        assert_eq!(limit(core, 0x7fff_0000_1000, 0), Err(0));
        // no pointer is taken for none because one half of it is
        assert_eq!(limit(core, 0x7fff_0000_0000, 0), Err(0));
        assert_eq!(limit(core, 0x1000, 0), Err(0));
        assert_eq!(limit(core, 0x1000, 0x7fff_0000_0000), Err(EINVAL));
        assert_eq!(limit(core, 0x1000, 0x1000), Err(EINVAL));
        assert_eq!(limit(u64::from(RLIMIT_NOFILE), 0x1000, 0), Ok(()));
        assert_eq!(ask(SYS_setrlimit, [core, 0x1000, 0, 0]), Err(0));
        assert_eq!(
            ask(SYS_setrlimit, [u64::from(RLIMIT_NOFILE), 0x1000, 0, 0]),
            Ok(())
        );
    }

    #[test]
    fn other_kinds_of_calls_are_unknown() {
        let no = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        // AUDIT_ARCH_I386
        assert_eq!(run(&program(true), 0x4000_0003, 1, [0; 4]), no);
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(run(&program(true), ARCH, X32 | 1, [0; 4]), no);
            let cancelled = run(&program(true), ARCH, u32::MAX, [0; 4]);
            assert_eq!(cancelled, libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn a_user_namespace_is_a_question_and_the_others_are_not() {
        let clone = |f: i32| {
            run(
                &program(true),
                ARCH,
                libc::SYS_clone as u32,
                [f as u64, 0, 0, 0],
            )
        };
        assert_eq!(clone(libc::CLONE_NEWUSER), libc::SECCOMP_RET_USER_NOTIF);
        assert_eq!(
            clone(libc::CLONE_NEWNET),
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32
        );
    }

    #[test]
    fn every_jump_stays_inside() {
        let p = program(true);
        for (at, i) in p.iter().enumerate() {
            if [EQUAL, HAS_BITS].contains(&i.code) {
                for to in [i.jt, i.jf] {
                    assert!(to < u8::MAX && at + 1 + usize::from(to) < p.len(), "{at}");
                }
            }
        }
        assert!(p.len() < 250, "{}", p.len());
    }
}
