//! How the probe misbehaves as a web process.
//!
//! The orders come from the file `mode` in the working directory (so that a push carries them) and from the config var
//! `PROBE_MODE`; both hold words separated by commas or blanks:
//!
//! * `exit:N`: exit with status N before listening
//! * `wrong-port:N`: listen on port N instead of `PORT`
//! * `never`: never listen
//! * `ignore-term`: ignore SIGTERM
//! * `slow:MS`: sleep so many milliseconds before listening
//! * `children:N`: start N children that ignore SIGTERM and outlive their parent, and one grandchild in a session of
//!   its own
//! * `only-host:NAME`: answer requests with another Host as Django does
//! * `chatter:MS`: write a numbered line to standard output every so many milliseconds

use std::{process::Command, time::Duration};

/// The orders, as words.
pub struct Mode(Vec<String>);

impl Mode {
    /// Reads both places.
    pub fn read() -> Mode {
        let file = std::fs::read_to_string("mode").unwrap_or_default();
        let var = std::env::var("PROBE_MODE").unwrap_or_default();
        Mode(
            [file, var]
                .iter()
                .flat_map(|s| s.split([',', ' ', '\n']))
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    /// The only Host that is answered, if there is one.
    pub fn only_host(&self) -> Option<String> {
        let mut words = self.0.iter();
        words.find_map(|w| w.strip_prefix("only-host:").map(str::to_owned))
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|w| w == word)
    }

    fn number(&self, word: &str) -> Option<u64> {
        self.0
            .iter()
            .find_map(|w| w.strip_prefix(word)?.strip_prefix(':')?.parse().ok())
    }

    /// All that is to happen first.
    pub fn before_listening(&self) {
        if self.has("ignore-term") {
            ignore_term();
        }
        if let Some(n) = self.number("children") {
            for _ in 0..n {
                start_child("child");
            }
            start_child("orphan");
        }
        if let Some(ms) = self.number("chatter") {
            std::thread::spawn(move || {
                for n in 1u64.. {
                    println!("chatter {n}");
                    std::thread::sleep(Duration::from_millis(ms.max(1)));
                }
            });
        }
        if let Some(code) = self.number("exit") {
            eprintln!("probe: exiting with status {code}, as ordered");
            std::process::exit(code as i32);
        }
        if let Some(ms) = self.number("slow") {
            std::thread::sleep(Duration::from_millis(ms));
        }
    }

    /// The port to listen on; none when it is never to listen.
    pub fn port(&self) -> Option<u16> {
        if self.has("never") {
            return None;
        }
        if let Some(p) = self.number("wrong-port") {
            return Some(p as u16);
        }
        let port = std::env::var("PORT").ok().and_then(|p| p.parse().ok());
        if port.is_none() {
            eprintln!("probe: no usable PORT in the environment");
            std::process::exit(97);
        }
        port
    }
}

/// From now on SIGTERM does nothing.
pub fn ignore_term() {
    // SAFETY: SIG_IGN is a valid disposition and no handler of ours is replaced.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

fn start_child(kind: &str) {
    let Ok(me) = std::env::current_exe() else {
        return;
    };
    if let Ok(child) = Command::new(me).arg(kind).spawn() {
        println!("probe: started {kind} {}", child.id());
    }
}
