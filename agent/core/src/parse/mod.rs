//! Parsers of what people write: the Procfile, `app.json`, `hokku.toml` and `.slugignore`.
//!
//! What it does: bytes or text in, validated types and warnings with line numbers out.
//! What it never does: I/O; a parser never panics and never takes more memory than a small multiple of its input.
//! Who calls it: the rooms `build`, `control` and `ops`, and `app routing:check`. Where its tests are: beside the code,
//! and over the real files of `tests/data/procfiles`.

pub mod app_json;
pub mod hokku_toml;
pub mod lines;
pub mod procfile;
pub mod slugignore;

/// Something odd that was read all the same, or skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line number, from 1.
    pub line: usize,
    /// What is odd and what was made of it.
    pub text: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}
