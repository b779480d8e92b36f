//! The probe as a command, for `app run` and worker process types.

use std::{
    ffi::OsString,
    io::{IsTerminal, Read, Write},
    os::unix::ffi::OsStrExt,
    time::Duration,
};

/// Carries out one command; the answer is the exit status.
pub fn run(args: &[OsString]) -> i32 {
    let text = |i: usize| args.get(i).map(|a| a.to_string_lossy().into_owned());
    let number = |i: usize| text(i).and_then(|t| t.parse::<i64>().ok()).unwrap_or(0);
    match text(0).unwrap_or_default().as_str() {
        "argv" => argv(&args[1..]),
        "cat" => cat(),
        "env" => env(args.get(1)),
        "exit" => number(1) as i32,
        "kill-me" => kill_me(number(1) as i32),
        "tty" => tty(),
        "worker" => worker(),
        "lines" => lines(number(1), &text(2).unwrap_or_default()),
        "child" => linger(false),
        "orphan" => linger(true),
        other => {
            eprintln!("probe: unknown command {other:?}");
            64
        }
    }
}

/// Each argument on a line of its own, as hex, so that every byte can be compared.
fn argv(args: &[OsString]) -> i32 {
    for a in args {
        println!("{}", hex(a.as_bytes()));
    }
    0
}

fn hex(b: &[u8]) -> String {
    b.iter().map(|b| format!("{b:02x}")).collect()
}

/// Standard input to standard output, byte for byte; its length to standard error.
fn cat() -> i32 {
    let mut buf = vec![0u8; 64 * 1024];
    let mut total = 0usize;
    let (mut i, mut o) = (std::io::stdin().lock(), std::io::stdout().lock());
    loop {
        match i.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => {
                if o.write_all(&buf[..n]).is_err() {
                    return 74;
                }
                total += n;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return 74,
        }
    }
    let _ = o.flush();
    eprintln!("probe: copied {total} bytes");
    0
}

fn env(name: Option<&OsString>) -> i32 {
    match name.map(std::env::var_os) {
        Some(Some(v)) => {
            let _ = std::io::stdout().write_all(v.as_bytes());
            0
        }
        Some(None) => 1,
        None => {
            for (k, _) in std::env::vars_os() {
                println!("{}", k.to_string_lossy());
            }
            0
        }
    }
}

fn kill_me(signal: i32) -> i32 {
    // SAFETY: sends a signal to this very process.
    unsafe { libc::kill(libc::getpid(), signal) };
    std::thread::sleep(Duration::from_secs(5));
    70
}

static WINCH: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
static INT: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

extern "C" fn note(signal: libc::c_int) {
    let flag = if signal == libc::SIGINT { &INT } else { &WINCH };
    flag.store(true, std::sync::atomic::Ordering::Relaxed);
}

fn size() -> String {
    // SAFETY: a zeroed winsize is valid and the kernel fills it; fd 0 may be anything, the error is looked at.
    unsafe {
        let mut w: libc::winsize = std::mem::zeroed();
        if libc::ioctl(0, libc::TIOCGWINSZ, &mut w) != 0 {
            return "none".into();
        }
        format!("{}x{}", w.ws_row, w.ws_col)
    }
}

/// Tells about its terminal, each new size too, until Ctrl-C; then it exits with 7.
fn tty() -> i32 {
    let handler = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler only stores to an atomic.
    unsafe {
        libc::signal(libc::SIGWINCH, handler);
        libc::signal(libc::SIGINT, handler);
    }
    println!(
        "terminal: {} {} {}, TERM={}",
        std::io::stdin().is_terminal(),
        std::io::stdout().is_terminal(),
        std::io::stderr().is_terminal(),
        std::env::var("TERM").unwrap_or_default()
    );
    println!("size: {}", size());
    for _ in 0..3000 {
        if WINCH.swap(false, std::sync::atomic::Ordering::Relaxed) {
            println!("size: {}", size());
        }
        if INT.swap(false, std::sync::atomic::Ordering::Relaxed) {
            println!("interrupted");
            return 7;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    1
}

fn worker() -> i32 {
    println!(
        "worker {} has PORT={:?}",
        std::env::var("DYNO").unwrap_or_default(),
        std::env::var("PORT").ok()
    );
    loop {
        std::thread::park();
    }
}

fn lines(n: i64, text: &str) -> i32 {
    for i in 1..=n {
        println!("{text} {i}");
    }
    0
}

/// Stays after its parent is gone, and after SIGTERM; at most two minutes, should a test not end it.
fn linger(own_session: bool) -> i32 {
    super::mode::ignore_term();
    // SAFETY: plain system calls on this process; failure leaves it where it was.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        if own_session && libc::fork() != 0 {
            return 0;
        }
        if own_session {
            libc::setsid();
        }
    }
    std::thread::sleep(Duration::from_secs(120));
    0
}
