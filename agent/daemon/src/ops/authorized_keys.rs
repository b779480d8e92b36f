//! The text of an authorized_keys file: our lines between two markers, everybody else's as they were.

use super::Key;
use anyhow::Context;
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

const BEGIN: &str = "# hokku begin: hokkud writes the lines down to the end mark";
const END: &str = "# hokku end";

/// One line per key: whoever has it can run this command and nothing else.
pub(super) fn lines(exe: &Path, socket: &Path, keys: &[Key]) -> anyhow::Result<Vec<String>> {
    let words = |key: &Key| -> anyhow::Result<String> {
        let text = |p: &Path| {
            let t = p.to_str().filter(|t| !t.contains(['\n', '\r']));
            t.map(String::from)
                .with_context(|| format!("{} can't stand in an authorized_keys file", p.display()))
        };
        Ok(shell_words::join([
            &text(exe)?,
            "ssh",
            "--socket",
            &text(socket)?,
            "--key",
            &key.id.to_string(),
        ]))
    };
    keys.iter()
        .map(|key| {
            let command = words(key)?.replace('"', "\\\"");
            Ok(format!("command=\"{command}\",restrict {}", key.public_key))
        })
        .collect()
}

/// Puts our lines where they were, or at the end.
pub(super) fn merge(old: &str, ours: &[String]) -> String {
    let mut out = String::new();
    let mut put = |lines: &mut dyn Iterator<Item = &str>| {
        for l in lines {
            out.push_str(l);
            out.push('\n');
        }
    };
    let block = || {
        let some = !ours.is_empty();
        let marks = |m| some.then_some(m).into_iter();
        marks(BEGIN)
            .chain(ours.iter().map(String::as_str))
            .chain(marks(END))
    };
    // Not `lines`, which would take a carriage return off what is not ours.
    let mut theirs = old.split_terminator('\n');
    let mut done = false;
    while let Some(line) = theirs.next() {
        if line != BEGIN {
            put(&mut std::iter::once(line));
            continue;
        }
        // Without the end mark (someone cut the file) only what is surely ours goes.
        let ended = theirs.clone().any(|l| l == END);
        let rest = theirs.clone();
        let mut skipped = 0;
        for l in rest {
            let looks_ours = l.starts_with("command=\"") && l.contains(" ssh --socket ");
            if !(ended || looks_ours) {
                break;
            }
            skipped += 1;
            if l == END {
                break;
            }
        }
        if skipped > 0 {
            theirs.nth(skipped - 1);
        }
        if !done {
            put(&mut block());
            done = true;
        }
    }
    if !done {
        put(&mut block());
    }
    out
}

/// Replaces the file in one step; mode 0600, owner as before or as of its folder, since sshd reads it as that user.
pub(super) fn write(
    path: &Path,
    ours: impl FnOnce() -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<()> {
    let what = || format!("can't write {}", path.display());
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e).with_context(|| format!("can't read {}", path.display())),
    };
    let new = merge(&old, &ours()?);
    if new == old {
        return Ok(());
    }
    let dir = path.parent().with_context(what)?;
    let owner = std::fs::metadata(path)
        .or_else(|_| std::fs::metadata(dir))
        .with_context(what)?;
    let mut half = path.as_os_str().to_owned();
    half.push(".hokku-new");
    match std::fs::remove_file(&half) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).with_context(what),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&half)
        .with_context(what)?;
    let mine = file.metadata().with_context(what)?;
    if (mine.uid(), mine.gid()) != (owner.uid(), owner.gid()) && mine.uid() == 0 {
        fchown(&file, Some(owner.uid()), Some(owner.gid())).with_context(what)?;
    }
    file.write_all(new.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&half, path))
        .and_then(|()| File::open(dir)?.sync_all())
        .with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ours() -> Vec<String> {
        vec!["command=\"/usr/bin/hokkud ssh --socket /s --key 1\",restrict ssh-ed25519 AAAA".into()]
    }

    #[test]
    fn other_lines_stay_where_they_are() {
        let first = merge("ssh-rsa A\n\n# mine", &ours());
        assert_eq!(
            first,
            format!("ssh-rsa A\n\n# mine\n{BEGIN}\n{}\n{END}\n", ours()[0])
        );
        let more = first.replace("# mine\n", "") + "ssh-rsa B\n";
        let again = merge(&more, &[]);
        assert_eq!(again, "ssh-rsa A\n\nssh-rsa B\n");
    }

    #[test]
    fn a_lost_end_mark_costs_nobody_a_line() {
        let cut = format!("{BEGIN}\n{}\nssh-rsa A\n", ours()[0]);
        assert_eq!(merge(&cut, &[]), "ssh-rsa A\n");
    }

    proptest! {
        #[test]
        fn writing_twice_is_writing_once(lines in proptest::collection::vec("(ssh-rsa [AB]|#? ?|# hokku begin.*|# hokku end)", 0..8)) {
            let old = lines.join("\n");
            let once = merge(&old, &ours());
            prop_assert_eq!(merge(&once, &ours()), once.clone());
            prop_assert_eq!(merge(&once, &[]), merge(&old, &[]));
        }
    }
}
