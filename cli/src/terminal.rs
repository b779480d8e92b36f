//! The terminal: questions, raw mode, and the way back from it whatever happens.

use crate::fail::{Fail, Result};
use crossterm::terminal as tty;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::Once;

/// Does a person sit at both stdin and stdout?
pub fn both() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Rows and columns, when the terminal knows them.
pub fn size() -> Option<(u16, u16)> {
    tty::size()
        .ok()
        .filter(|(cols, rows)| *cols > 0 && *rows > 0)
        .map(|(cols, rows)| (rows, cols))
}

/// What a program in a terminal there should know about the terminal here.
pub fn environment() -> Vec<(String, String)> {
    let mut env = Vec::new();
    if let Some(term) = std::env::var("TERM").ok().filter(|t| !t.is_empty()) {
        env.push(("TERM".to_owned(), term));
    }
    if let Some((rows, cols)) = size() {
        env.push(("COLUMNS".to_owned(), cols.to_string()));
        env.push(("LINES".to_owned(), rows.to_string()));
    }
    env
}

/// Raw mode for as long as this lives. A panic restores the terminal before it is reported.
pub struct Raw {}

impl Raw {
    /// Switches to raw mode.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter() -> Result<Raw> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        tty::enable_raw_mode().map_err(|e| {
            Fail::new(format!(
                "The terminal can't be prepared: {e}. Try --no-tty."
            ))
        })?;
        Ok(Raw {})
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was; harmless when it is.
pub fn restore() {
    let _ = tty::disable_raw_mode();
}

/// Asks on stderr and reads a line; `None` when nothing was said.
///
/// # Errors
/// The terminal can't be read.
pub fn ask(question: &str) -> Result<Option<String>> {
    let _ = write!(io::stderr(), "{question}");
    let mut line = String::new();
    io::stdin()
        .lock()
        .take(4096)
        .read_line(&mut line)
        .map_err(|e| Fail::new(format!("The answer can't be read: {e}.")))?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

/// Asks on stderr and reads a line that is not shown.
///
/// # Errors
/// The terminal can't be read; Ctrl-C (status 130).
pub fn ask_secret(question: &str) -> Result<String> {
    let _ = write!(io::stderr(), "{question}");
    let raw = Raw::enter()?;
    let answer = read_hidden(io::stdin().lock());
    drop(raw);
    let _ = writeln!(io::stderr());
    answer
}

fn read_hidden(from: impl BufRead) -> Result<String> {
    let mut typed: Vec<u8> = Vec::new();
    for byte in from.bytes() {
        match byte.map_err(|e| Fail::new(format!("The answer can't be read: {e}.")))? {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => {
                return Err(Fail {
                    status: 130,
                    text: "Stopped.".into(),
                    http: 0,
                });
            }
            0x15 => typed.clear(),
            0x08 | 0x7f => {
                typed.pop();
            }
            byte if typed.len() < 4096 => typed.push(byte),
            _ => {}
        }
    }
    String::from_utf8(typed).map_err(|_| Fail::usage("What was typed is not UTF-8 text."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_lines() {
        let read = |b: &[u8]| read_hidden(b);
        assert_eq!(read(b"secret\rrest").unwrap(), "secret");
        assert_eq!(read(b"wrong\x15righx\x7ft").unwrap(), "right");
        assert_eq!(read(b"no end").unwrap(), "no end");
        assert_eq!(read(b"ab\x03").unwrap_err().status, 130);
    }
}
