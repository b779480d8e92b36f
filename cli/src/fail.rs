//! The one way in which a command ends badly: a text for the person and an exit status.

use std::fmt;

/// What a command returns.
pub type Result<T> = std::result::Result<T, Fail>;

/// Trouble on this side: no server reached, a file, git, the terminal.
pub const GENERAL: i32 = 1;
/// A wrong command line, or a request that the server refused.
pub const REFUSED: i32 = 2;

/// A failure as the person reads it: what happened, why, what to do next; one or more lines.
#[derive(Debug)]
pub struct Fail {
    /// The exit status of the program.
    pub status: i32,
    /// The text, without the `▸` in front.
    pub text: String,
    /// The HTTP status when the server refused; 0 otherwise.
    pub http: u16,
}

impl Fail {
    /// Trouble on this side (status 1).
    pub fn new(text: impl Into<String>) -> Fail {
        Fail {
            status: GENERAL,
            text: text.into(),
            http: 0,
        }
    }

    /// A wrong command line (status 2).
    pub fn usage(text: impl Into<String>) -> Fail {
        Fail {
            status: REFUSED,
            text: text.into(),
            http: 0,
        }
    }

    /// The server said no (status 2).
    pub fn refused(http: u16, text: impl Into<String>) -> Fail {
        Fail {
            status: REFUSED,
            text: text.into(),
            http,
        }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
