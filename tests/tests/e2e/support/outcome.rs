//! A command that was run to its end.

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    line: String,
    /// The exit status; 128 plus the signal when it was killed.
    pub status: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub took: Duration,
}

fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = vec![];
        let _ = from.read_to_end(&mut all);
        all
    })
}

impl Outcome {
    /// Runs it with this on its standard input, at most `seconds`.
    ///
    /// # Panics
    /// It can't be started, or does not end in time.
    pub fn of(mut command: Command, input: &[u8], seconds: u64) -> Outcome {
        let line = format!("{:?} {:?}", command.get_program(), command.get_args());
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {line}: {e}"));
        let mut stdin = child.stdin.take().expect("piped");
        let stdout = drain(child.stdout.take().expect("piped"));
        let stderr = drain(child.stderr.take().expect("piped"));
        let input = input.to_vec();
        std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let (status, late) = loop {
            if let Some(s) = child.try_wait().expect("it is our child") {
                break (s, false);
            }
            if start.elapsed() > Duration::from_secs(seconds) {
                let _ = child.kill();
                break (child.wait().expect("it is our child"), true);
            }
            std::thread::sleep(Duration::from_millis(3));
        };
        let outcome = Outcome {
            line,
            status: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: stdout.join().expect("reading does not panic"),
            stderr: stderr.join().expect("reading does not panic"),
            took: start.elapsed(),
        };
        assert!(!late, "still running after {seconds} s: {outcome}");
        outcome
    }

    /// Standard output and standard error, one after the other, as text.
    pub fn text(&self) -> String {
        format!("{}{}", self.out(), self.err())
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// It has to have ended with 0.
    #[track_caller]
    pub fn ok(self) -> Outcome {
        assert_eq!(self.status, 0, "{self}");
        self
    }

    /// It has to have ended with something else.
    #[track_caller]
    pub fn fails(self) -> Outcome {
        assert_ne!(self.status, 0, "{self}");
        self
    }

    /// Its output has to have this in it.
    #[track_caller]
    pub fn says(self, what: &str) -> Outcome {
        assert!(self.text().contains(what), "expected {what:?} in {self}");
        self
    }

    /// Its output must not have this in it.
    #[track_caller]
    pub fn never_says(self, what: &str) -> Outcome {
        assert!(
            !self.text().contains(what),
            "did not expect {what:?} in {self}"
        );
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\nstatus {} after {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.status,
            self.took,
            self.out(),
            self.err()
        )
    }
}
