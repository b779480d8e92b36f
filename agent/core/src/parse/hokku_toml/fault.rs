//! What is wrong in the file, where, and what to do: as data, and as the text that people read.

use std::{fmt::Write, ops::Range};

/// Characters of a line that are shown.
const SHOWN: usize = 100;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
    /// The line; what may be a password is replaced by `*`, control characters by `?`, and a long line is cut.
    excerpt: String,
    /// Where in `excerpt` the mark begins, and how long it is, in characters.
    mark: (usize, usize),
}

/// Everything that is wrong, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// The text for people: `file:line:column: message`, the line with a mark below it, the hint; each fault so.
    pub fn render(&self, file: &str) -> String {
        let mut text = String::new();
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            fault.render(file, &mut text);
        }
        text
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.render(super::NAME).trim_end())
    }
}
impl std::error::Error for Faults {}

impl Fault {
    fn render(&self, file: &str, to: &mut String) {
        let (line, column) = (self.line, self.column);
        let _ = writeln!(to, "{file}:{line}:{column}: {}", self.message);
        let number = line.to_string();
        let gap = " ".repeat(number.len());
        let (at, width) = self.mark;
        let _ = writeln!(to, "  {number} | {}", self.excerpt);
        let _ = writeln!(to, "  {gap} | {}{}", " ".repeat(at), "^".repeat(width));
        for hint in self.hint.lines() {
            let _ = writeln!(to, "  {gap} = {hint}");
        }
    }
}

/// A fault by its place in the text, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub span: Range<usize>,
    pub message: String,
    pub hint: String,
    /// What the span covers may be a password.
    pub secret: bool,
}

/// The faults with their places in words.
pub(super) fn locate(text: &str, mut raw: Vec<Raw>, most: usize) -> Faults {
    raw.sort_by_key(|r| r.span.start);
    let more = raw.len().saturating_sub(most);
    raw.truncate(most);
    let mut faults: Vec<Fault> = raw.into_iter().map(|r| place(text, r)).collect();
    if more > 0
        && let Some(last) = faults.last_mut()
    {
        let _ = write!(last.hint, "\nThere are {more} more faults after this one.");
    }
    Faults(faults)
}

fn place(text: &str, raw: Raw) -> Fault {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (floor(raw.span.start), floor(raw.span.end));
    let begin = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let stop = text[begin..].find('\n').map_or(text.len(), |i| begin + i);
    let line = 1 + text[..begin].bytes().filter(|b| *b == b'\n').count();
    let column = text[begin..start].chars().count();
    let width = text[start..end.clamp(start, stop)].chars().count().max(1);
    let marked = column..column + width;
    let from = (column + width.min(SHOWN / 2)).saturating_sub(SHOWN);
    let excerpt: String = text[begin..stop]
        .chars()
        .enumerate()
        .skip(from)
        .take(SHOWN)
        .map(|(i, c)| match c {
            _ if raw.secret && marked.contains(&i) => '*',
            '\t' => ' ',
            c if c.is_control() => '?',
            c => c,
        })
        .collect();
    Fault {
        line,
        column: column + 1,
        message: raw.message,
        hint: raw.hint,
        excerpt,
        mark: (
            column - from,
            width.min(SHOWN - (column - from).min(SHOWN - 1)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, span: Range<usize>, secret: bool) -> String {
        let raw = Raw {
            span,
            message: "is bad".into(),
            hint: "Do better.".into(),
            secret,
        };
        locate(text, vec![raw], 5).render("f")
    }

    #[test]
    fn the_mark_is_below_what_is_meant() {
        assert_eq!(
            at("a = 1\n\tżó = 22\n", 14..16, false),
            "f:2:7: is bad\n  2 |  żó = 22\n    |       ^^\n    = Do better.\n"
        );
        assert!(at("pw = \"hunter2\"", 5..14, true).contains("1 | pw = *********\n"));
        assert!(at("", 0..0, false).starts_with("f:1:1: "));
        assert!(
            at("ż", 1..9, false).starts_with("f:1:1: "),
            "a span off a boundary"
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let text = format!("{}{}BAD", "x".repeat(500), "y".repeat(500));
        let shown = at(&text, 1000..1003, false);
        assert!(shown.lines().all(|l| l.len() < 110), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[2].find('^').unwrap();
        assert_eq!(&lines[1][caret..], "BAD");
    }

    #[test]
    fn many_are_counted() {
        let raw = |i| Raw {
            span: i..i + 1,
            message: i.to_string(),
            hint: String::new(),
            secret: false,
        };
        let shown = locate("abcdef", (0..6).rev().map(raw).collect(), 2);
        assert_eq!(shown.0.len(), 2);
        assert!(shown.0[1].hint.contains("4 more"));
        assert_eq!(shown.0[0].message, "0");
    }
}
