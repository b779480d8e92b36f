//! The process's standard input, output and error.

use crate::call::{self, Why};
use std::{
    fs::File,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

/// The process's ends; they become its descriptors 0, 1, 2.
pub struct Theirs {
    /// In, out, err.
    pub fds: [OwnedFd; 3],
    /// They are a terminal, which the process is to have as its own.
    pub terminal: bool,
}

/// The shim's ends. `None` where there is none, or its end was seen.
#[derive(Default)]
pub struct Ours {
    /// Their standard input. With a terminal it is a second descriptor of the same thing as `out`.
    pub stdin: Option<OwnedFd>,
    /// Their standard output.
    pub out: Option<OwnedFd>,
    /// Their standard error.
    pub err: Option<OwnedFd>,
}

/// Output only; standard input is empty. The pipes are pipes (not sockets) and belong to the process's user, so that
/// programs may open `/dev/stdout` again.
///
/// # Errors
/// No descriptors are left.
pub fn output(uid: Option<u32>) -> Result<(Theirs, Ours), String> {
    let null =
        call::open(Path::new("/dev/null"), libc::O_RDONLY).why(|| "can't open /dev/null".into())?;
    let (out, their_out) = pipe(uid)?;
    let (err, their_err) = pipe(uid)?;
    nonblock(&out)?;
    nonblock(&err)?;
    Ok((
        Theirs {
            fds: [null, their_out, their_err],
            terminal: false,
        },
        Ours {
            stdin: None,
            out: Some(out),
            err: Some(err),
        },
    ))
}

/// Three pipes.
///
/// # Errors
/// No descriptors are left.
pub fn pipes(uid: Option<u32>) -> Result<(Theirs, Ours), String> {
    let (mut theirs, mut ours) = output(uid)?;
    let (their_in, stdin) = pipe(uid)?;
    nonblock(&stdin)?;
    theirs.fds[0] = their_in;
    ours.stdin = Some(stdin);
    Ok((theirs, ours))
}

/// A terminal of this many rows and columns.
///
/// # Errors
/// No terminals are left.
pub fn terminal(uid: Option<u32>, size: (u16, u16)) -> Result<(Theirs, Ours), String> {
    let say = || "can't make a terminal".to_string();
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let master = call::open(Path::new("/dev/ptmx"), flags).why(say)?;
    let unlocked: libc::c_int = 0;
    // SAFETY: the pointer is to an int that outlives the call
    call::check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })
        .why(say)?;
    let mut n: libc::c_uint = 0;
    // SAFETY: the pointer is to an int that outlives the call
    call::check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut n) }).why(say)?;
    let slave = call::open(Path::new(&format!("/dev/pts/{n}")), flags).why(say)?;
    call::give(&slave, uid).why(say)?;
    resize(&master, size);
    nonblock(&master)?;
    let copy = |fd: &OwnedFd| fd.try_clone().why(say);
    Ok((
        Theirs {
            fds: [copy(&slave)?, copy(&slave)?, slave],
            terminal: true,
        },
        Ours {
            stdin: Some(copy(&master)?),
            out: Some(master),
            err: None,
        },
    ))
}

/// Tells a terminal its size; the kernel sends SIGWINCH.
pub fn resize(terminal: &OwnedFd, (rows, cols): (u16, u16)) {
    let w = libc::winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointer is to a struct that outlives the call
    unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const w) };
}

/// The byte that means "end of input" on a terminal; Ctrl-D unless the process chose another. `None` when the terminal
/// is raw and no byte means that.
pub fn end_of_input(terminal: &OwnedFd) -> Option<u8> {
    let mut t = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: read only when the call has filled it
    let t = unsafe {
        (libc::tcgetattr(terminal.as_raw_fd(), t.as_mut_ptr()) == 0).then(|| t.assume_init())?
    };
    (t.c_lflag & libc::ICANON != 0).then_some(t.c_cc[libc::VEOF])
}

fn nonblock(fd: &OwnedFd) -> Result<(), String> {
    call::nonblocking(fd).why(|| "can't set up a pipe".into())
}

/// A pipe; the side of the process belongs to its user.
fn pipe(uid: Option<u32>) -> Result<(OwnedFd, OwnedFd), String> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors, which nobody else owns afterwards
    let (r, w) = unsafe {
        call::check(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC))
            .why(|| "can't make a pipe".into())?;
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    };
    // both ends are one inode
    call::give(&w, uid).why(|| "can't give a pipe to the app's user".into())?;
    Ok((r, w))
}

/// A pipe through which the forked child says why it could not become the program: (read end, write end).
///
/// # Errors
/// No descriptors are left.
pub fn word_pipe() -> Result<(File, File), String> {
    let (r, w) = pipe(None)?;
    Ok((File::from(r), File::from(w)))
}
