//! `Doing something... done` on stderr: with a spinner for a person, as plain text without carriage returns otherwise.

use crate::output::Paint;
use anstyle::AnsiColor;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

const FRAMES: [&str; 8] = ["⣾", "⣽", "⣻", "⢿", "⡿", "⣟", "⣯", "⣷"];
const FRAME: Duration = Duration::from_millis(100);

/// One thing being done. Ends with `done`; when dropped without, it ends the line with `!`.
pub struct Progress {
    label: String,
    spinner: Option<(Sender<()>, JoinHandle<()>)>,
    ended: bool,
    quiet: bool,
}

impl Progress {
    /// Shows `label... `.
    pub fn start(label: impl Into<String>) -> Progress {
        let label = label.into();
        if !io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "{label}... ");
            return Progress {
                label,
                spinner: None,
                ended: false,
                quiet: false,
            };
        }
        let (stop, stopped) = mpsc::channel();
        let shown = label.clone();
        let thread = std::thread::Builder::new()
            .name("spinner".into())
            .spawn(move || {
                let paint = Paint::stderr();
                for frame in FRAMES.iter().cycle() {
                    let _ = write!(
                        io::stderr(),
                        "\r{shown}... {}",
                        paint.colour(AnsiColor::Magenta, frame)
                    );
                    if stopped.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            });
        Progress {
            label,
            spinner: thread.ok().map(|t| (stop, t)),
            ended: false,
            quiet: false,
        }
    }

    /// The same, but without a word when stderr is no terminal: for commands whose stderr belongs to another program.
    pub fn start_for_people(label: impl Into<String>) -> Progress {
        if io::stderr().is_terminal() {
            return Progress::start(label);
        }
        Progress {
            label: String::new(),
            spinner: None,
            ended: false,
            quiet: true,
        }
    }

    fn end(&mut self, last: &str) {
        if std::mem::replace(&mut self.ended, true) || self.quiet {
            return;
        }
        if let Some((stop, thread)) = self.spinner.take() {
            drop(stop);
            let _ = thread.join();
            let _ = write!(io::stderr(), "\r\x1b[K{}... ", self.label);
        }
        let _ = writeln!(io::stderr(), "{last}");
    }

    /// `... done`
    pub fn done(mut self) {
        self.end("done");
    }

    /// `... done, v12`
    pub fn done_with(mut self, text: &str) {
        self.end(&format!("done, {text}"));
    }

    /// Ends with other words than `done`.
    pub fn end_with(mut self, text: &str) {
        self.end(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let mark = Paint::stderr().colour(AnsiColor::Red, "!");
        self.end(&mark);
    }
}
