//! How a command of an app begins: the scripts of its slug first, then the command.

/// Sources the profile scripts and then becomes the program: `$@` when there is more than one word, else the one word
/// as a shell line. Bash replaces itself by a line's last simple command, so that signals reach the program.
/// Source: Dev Center "Buildpack API", "Dynos" (order: config vars, `.profile.d`, `.profile`).
const BOOT: &str = r#"for hokku_f in "$HOME"/.profile.d/*.sh "$HOME"/.profile; do [ -r "$hokku_f" ] && . "$hokku_f"; done; unset hokku_f
if [ "$1" = line ]; then exec bash -c "$2"; fi; shift; exec "$@""#;

/// A shell command line.
pub fn line(line: impl Into<String>) -> Vec<String> {
    begin("line", [line.into()])
}

/// A program and its arguments, as they are.
pub fn argv(words: impl IntoIterator<Item = String>) -> Vec<String> {
    begin("argv", words)
}

fn begin(how: &str, words: impl IntoIterator<Item = String>) -> Vec<String> {
    let first = ["bash", "-c", BOOT, "hokku", how].map(String::from);
    first.into_iter().chain(words).collect()
}
