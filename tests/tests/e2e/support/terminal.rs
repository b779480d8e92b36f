//! A command on a terminal of its own, as a person has it.

use nix::pty::{Winsize, openpty};
use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The terminal and what runs on it.
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, Winsize);
nix::ioctl_write_int_bad!(set_controlling, nix::libc::TIOCSCTTY);

fn winsize(rows: u16, cols: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    /// Starts a command on a new terminal.
    ///
    /// # Panics
    /// There is no terminal to be had, or the command can't be started.
    pub fn start(mut command: Command, rows: u16, cols: u16) -> Terminal {
        let pty = openpty(&winsize(rows, cols), None).expect("a terminal");
        let slave = File::from(pty.slave);
        let fd = slave.as_raw_fd();
        command
            .stdin(slave.try_clone().expect("a descriptor"))
            .stdout(slave.try_clone().expect("a descriptor"))
            .stderr(slave.try_clone().expect("a descriptor"));
        // SAFETY: only async-signal-safe system calls between fork and exec.
        unsafe {
            command.pre_exec(move || {
                nix::unistd::setsid()?;
                set_controlling(fd, 0)?;
                Ok(())
            });
        }
        let child = command.spawn().expect("the command starts");
        drop(slave);
        let keyboard = File::from(pty.master);
        let screen = Arc::new(Mutex::new(vec![]));
        let (mut reader, sink) = (
            keyboard.try_clone().expect("a descriptor"),
            Arc::clone(&screen),
        );
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buf) {
                sink.lock().expect("no panic").extend(&buf[..n]);
            }
        });
        Terminal {
            keyboard,
            screen,
            child,
        }
    }

    /// All that was shown so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no panic")).into_owned()
    }

    /// Waits until this is shown.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.shown().contains(text) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{text:?} was never shown; the screen: {}",
                self.shown()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types.
    pub fn type_in(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).expect("the terminal is open");
    }

    /// Makes the window larger or smaller.
    pub fn resize(&self, rows: u16, cols: u16) {
        // SAFETY: the descriptor is a terminal and the pointer is valid for the call.
        unsafe { set_size(self.keyboard.as_raw_fd(), &winsize(rows, cols)) }.expect("a terminal");
    }

    /// Waits for the end of the command; its exit status, or -1 when a signal ended it.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(s) = self.child.try_wait().expect("our child") {
                return s.code().unwrap_or(-1);
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "it does not end; the screen: {}",
                self.shown()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
