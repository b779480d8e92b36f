//! What people see: Heroku's shapes of lines. Errors of writing are ignored: a build does not fail for a closed window.

use std::io::Write;

fn line(prefix: &str, text: &str) {
    let mut out = String::new();
    for l in text.lines() {
        out += prefix;
        out += l;
        while out.ends_with(' ') {
            out.pop();
        }
        out.push('\n');
    }
    let mut std = std::io::stdout().lock();
    let _ = std.write_all(out.as_bytes());
    let _ = std.flush();
}

/// `-----> Installing dependencies`
pub fn step(text: &str) {
    line("-----> ", text);
}

/// `       and how it goes on`
pub fn detail(text: &str) {
    line("       ", text);
}

/// ` !     Something to look at`
pub fn warning(text: &str) {
    line(" !     ", &format!("Warning: {text}"));
}

/// ` !     What broke, why, what to do`
pub fn error(text: &str) {
    line(" !     ", &format!("\nError: {text}\n\n"));
}

/// Lines that already have their shape.
pub fn plain(text: &str) {
    line("", text);
}
