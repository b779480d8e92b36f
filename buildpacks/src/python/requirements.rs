//! requirements.txt, as far as caching has to know it.

/// What matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Files named by `-r` and `-c`, as written.
    pub includes: Vec<String>,
    /// Does something come from where it may change without this file changing: a local path or a repository?
    pub unseen: bool,
}

/// Reads a requirements file. Whatever it holds, this never fails: pip has the last word.
pub fn read(text: &str) -> Read {
    let mut out = Read::default();
    let joined = text.replace("\r\n", "\n").replace("\\\n", " ");
    for line in joined.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let option = |names: &[&str]| {
            names.iter().find_map(|n| {
                let rest = line.strip_prefix(n)?;
                let value = rest.trim_start_matches(['=', ' ', '\t']);
                (rest.len() != value.len() || !n.starts_with("--")).then(|| value.to_owned())
            })
        };
        if let Some(file) = option(&["-r", "--requirement", "-c", "--constraint"]) {
            if file.contains("://") {
                out.unseen = true;
            } else {
                out.includes.push(file);
            }
        } else if line.starts_with("-e")
            || line.starts_with("--editable")
            || line.starts_with(['.', '/'])
            || line.contains("git+")
            || line.contains("hg+")
            || line.contains("svn+")
            || line.contains("file:")
            || (!line.starts_with('-') && line.contains('/') && !line.contains("://"))
        {
            out.unseen = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_changes_unseen() {
        for (t, unseen) in [
            ("flask==3.0\ngunicorn>=20 # -e .\n", false),
            ("flask[async]; python_version >= '3.8'", false),
            ("--extra-index-url https://x/y\nflask", false),
            ("flask @ https://x/y/flask-1.whl", false),
            ("-e .", true),
            (".", true),
            ("./vendor/x", true),
            ("vendor/x", true),
            ("git+https://github.com/a/b@main", true),
            ("b @ git+https://github.com/a/b", true),
            ("x @ file:///tmp/x", true),
        ] {
            assert_eq!(read(t).unseen, unseen, "{t}");
        }
        let r = read("-r base.txt\n--requirement=dev.txt\n-cc.txt\n--constraint \\\n more.txt\n");
        assert_eq!(r.includes, ["base.txt", "dev.txt", "c.txt", "more.txt"]);
    }

    proptest! {
        #[test]
        fn any_text(s in ".{0,200}") {
            let _ = read(&s);
        }
    }
}
