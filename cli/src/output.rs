//! What people and scripts read: plain text on stdout, remarks on stderr, colours only where a person looks.

use crate::fail::Fail;
use anstyle::{AnsiColor, Style};
use std::io::{self, IsTerminal, Write};

/// Colours for one stream, or none.
#[derive(Clone, Copy)]
pub struct Paint {
    on: bool,
}

fn colour_wanted(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

impl Paint {
    /// For what goes to stdout.
    pub fn stdout() -> Paint {
        Paint {
            on: colour_wanted(io::stdout().is_terminal()),
        }
    }

    /// For what goes to stderr.
    pub fn stderr() -> Paint {
        Paint {
            on: colour_wanted(io::stderr().is_terminal()),
        }
    }

    /// Colours whatever the stream is, or never.
    pub fn always(on: bool) -> Paint {
        Paint { on }
    }

    /// Are there colours at all?
    pub fn is_on(self) -> bool {
        self.on
    }

    /// `text` in `style`, or as it is.
    pub fn style(self, style: Style, text: &str) -> String {
        if self.on {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// `text` in a colour.
    pub fn colour(self, colour: AnsiColor, text: &str) -> String {
        self.style(colour.on_default(), text)
    }

    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.style(Style::new().bold(), text)
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.style(Style::new().dimmed(), text)
    }

    /// An app's name.
    pub fn app(self, text: &str) -> String {
        self.colour(AnsiColor::Magenta, text)
    }
}

/// Ends the program as the reader's leaving ends any Unix filter: by SIGPIPE, without a word.
fn end_by_pipe() -> ! {
    // SAFETY: both calls take plain numbers; restoring the default action of SIGPIPE has no other effect here.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::raise(libc::SIGPIPE);
    }
    std::process::exit(128 + libc::SIGPIPE)
}

/// Writes bytes to stdout. A reader that left ends the program quietly; a full disk is said and ends it with status 1.
pub fn bytes(data: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(e) = out.write_all(data).and_then(|()| out.flush()) {
        if e.kind() == io::ErrorKind::BrokenPipe {
            end_by_pipe();
        }
        error(&format!("The output can't be written: {e}."));
        std::process::exit(crate::fail::GENERAL);
    }
}

/// Writes text to stdout as it is.
pub fn print(text: &str) {
    bytes(text.as_bytes());
}

/// Writes one line to stdout.
pub fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// A remark for the person on stderr; scripts that read stdout never see it.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn marked(text: &str, colour: AnsiColor) -> String {
    let mark = Paint::stderr().colour(colour, "▸");
    text.trim_end()
        .lines()
        .map(|l| format!(" {mark}    {l}\n"))
        .collect()
}

/// A warning on stderr.
pub fn warning(text: &str) {
    let _ = io::stderr().write_all(marked(text, AnsiColor::Yellow).as_bytes());
}

/// An error on stderr.
pub fn error(text: &str) {
    let _ = io::stderr().write_all(marked(text, AnsiColor::Red).as_bytes());
}

/// `=== title` and an empty line.
pub fn header(title: &str) -> String {
    format!(
        "{} {}\n\n",
        Paint::stdout().dim("==="),
        Paint::stdout().bold(title)
    )
}

/// Pretty JSON and a newline, on stdout.
pub fn json<T: serde::Serialize>(value: &T) -> Result<(), Fail> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Fail::new(format!("The answer can't be shown as JSON: {e}.")))?;
    line(&text);
    Ok(())
}

/// `text` without what could steer a terminal: control characters become `?`.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Columns two blanks apart, each as wide as its widest cell, no blanks at line ends. `paint` colours a cell after its
/// width was measured; it gets the column's number.
pub fn table(rows: &[Vec<String>], paint: impl Fn(usize, &str) -> String) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|r| r.iter().map(|c| clean(c)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|i| {
            rows.iter()
                .filter_map(|r| r.get(i))
                .map(|c| width(c))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let last = row.iter().rposition(|c| !c.is_empty()).map_or(0, |i| i + 1);
        for (i, cell) in row.iter().take(last).enumerate() {
            text.push_str(&paint(i, cell));
            if i + 1 < last {
                text.push_str(&" ".repeat(widths[i] - width(cell) + 2));
            }
        }
        text.push('\n');
    }
    text
}

/// A table without colours.
pub fn plain_table(rows: &[Vec<String>]) -> String {
    table(rows, |_, c| c.to_owned())
}

/// `Key: value` lines with the values in one column. Values are printed as they are.
pub fn object<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> String {
    let paint = Paint::stdout();
    let widest = pairs
        .iter()
        .map(|(k, _)| width(k.as_ref()))
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (key, value) in pairs {
        let (key, value) = (key.as_ref(), value.as_ref());
        let gap = if value.is_empty() {
            String::new()
        } else {
            " ".repeat(widest - width(key) + 1)
        };
        text.push_str(&format!(
            "{}{gap}{value}\n",
            paint.colour(AnsiColor::Blue, &format!("{key}:"))
        ));
    }
    text
}

/// Bytes for people: `0 B`, `34.4 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|c| (*c).to_owned()).collect()
    }

    #[test]
    fn tables_align_and_end_clean() {
        let rows = [
            row(&["v1", "Initial release", "root"]),
            row(&["v10", "Désert", ""]),
            row(&[]),
        ];
        assert_eq!(
            plain_table(&rows),
            "v1   Initial release  root\nv10  Désert\n\n"
        );
    }

    #[test]
    fn tables_defuse_control_characters() {
        assert_eq!(plain_table(&[row(&["a\x1b[31m\nb", "c"])]), "a?[31m?b  c\n");
    }

    #[test]
    fn objects_align() {
        assert_eq!(
            object(&[("A", "1"), ("LONGER", "two words"), ("E", "")]),
            "A:      1\nLONGER: two words\nE:\n"
        );
    }

    #[test]
    fn sizes() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (34_400_000, "34.4 MB"),
            (999_999, "1.0 MB"),
        ] {
            assert_eq!(size(n), text);
        }
    }

    #[test]
    fn errors_are_marked_line_by_line() {
        assert_eq!(
            marked("one\ntwo\n", AnsiColor::Red),
            " ▸    one\n ▸    two\n"
        );
    }
}
