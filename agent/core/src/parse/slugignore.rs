//! `.slugignore`: what is left out of the build. Like `.gitignore`, but without `!`; patterns are parted by blanks.

use super::Warning;

/// The patterns of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slugignore {
    patterns: Vec<Pattern>,
    /// Patterns that can't be honoured.
    pub warnings: Vec<Warning>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// Path segments; `**` stands for any number of them.
    segments: Vec<String>,
    /// It ended with `/`: only folders match.
    folder: bool,
}

/// The most patterns that are read; more are dropped with a warning.
const MAX_PATTERNS: usize = 2000;

impl Slugignore {
    /// Reads the text of a `.slugignore`.
    pub fn parse(text: &str) -> Slugignore {
        let mut out = Slugignore::default();
        for (i, line) in text.lines().enumerate() {
            for word in line.split_whitespace() {
                if word.starts_with('#') {
                    break;
                }
                let mut warn = |text: String| out.warnings.push(Warning { line: i + 1, text });
                if word.starts_with('!') {
                    warn(format!(
                        "{word:?} is ignored: .slugignore has no \"!\" patterns"
                    ));
                    continue;
                }
                if out.patterns.len() == MAX_PATTERNS {
                    warn(format!("only the first {MAX_PATTERNS} patterns are read"));
                    return out;
                }
                let folder = word.ends_with('/');
                let path = word.trim_end_matches('/');
                let mut segments: Vec<String> = path
                    .split('/')
                    .filter(|s| !s.is_empty() && *s != ".")
                    .map(String::from)
                    .collect();
                if segments.is_empty() || segments.iter().any(|s| s == "..") {
                    warn(format!(
                        "{word:?} is ignored: it leads out of the app or means all of it"
                    ));
                    continue;
                }
                if !path.contains('/') {
                    segments.insert(0, "**".into());
                }
                segments.dedup_by(|a, b| a == "**" && b == "**");
                out.patterns.push(Pattern { segments, folder });
            }
        }
        out
    }

    /// Is there nothing to leave out?
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Does the file or folder at `path` (relative to the app, segments parted by `/`) stay out? What lies below an
    /// ignored folder is not asked for: the caller removes the folder whole.
    pub fn matches(&self, path: &str, is_folder: bool) -> bool {
        let path: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        self.patterns
            .iter()
            .any(|p| (is_folder || !p.folder) && segments_match(&p.segments, &path))
    }
}

fn segments_match(pattern: &[String], path: &[&str]) -> bool {
    // one row of the usual table: which lengths of `path` the pattern so far can end at
    let mut ends = vec![false; path.len() + 1];
    ends[0] = true;
    for p in pattern {
        let mut next = vec![false; path.len() + 1];
        if p == "**" {
            let mut any = false;
            for (i, e) in ends.iter().enumerate() {
                any |= *e;
                next[i] = any;
            }
        } else {
            for (i, segment) in path.iter().enumerate() {
                next[i + 1] = ends[i] && segment_matches(p, segment);
            }
        }
        ends = next;
    }
    ends[path.len()]
}

/// One segment against `*`, `?` and `[a-z]`, in time of pattern times text.
pub fn segment_matches(pattern: &str, text: &str) -> bool {
    let p: Vec<char> = pattern.chars().collect();
    let t: Vec<char> = text.chars().collect();
    let (mut i, mut j) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while j < t.len() {
        let step = match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
                continue;
            }
            Some('?') => Some(i + 1),
            Some('[') => match class(&p[i..], t[j]) {
                Some((true, len)) => Some(i + len),
                Some((false, _)) => None,
                None => (t[j] == '[').then_some(i + 1),
            },
            Some('\\') if i + 1 < p.len() => (p[i + 1] == t[j]).then_some(i + 2),
            Some(c) => (*c == t[j]).then_some(i + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                i = next;
                j += 1;
            }
            (None, Some((s, from))) => {
                star = Some((s, from + 1));
                i = s + 1;
                j = from + 1;
            }
            (None, None) => return false,
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

/// A `[...]` at the front of `p`: does it hold `c`, and how long is it? `None` when it is not closed.
fn class(p: &[char], c: char) -> Option<(bool, usize)> {
    let negated = matches!(p.get(1), Some('!' | '^'));
    let first = if negated { 2 } else { 1 };
    let mut i = first;
    let mut hit = false;
    loop {
        match *p.get(i)? {
            ']' if i > first => return Some((hit != negated, i + 1)),
            from => {
                let range = p.get(i + 1) == Some(&'-') && p.get(i + 2).is_some_and(|t| *t != ']');
                let to = if range { p[i + 2] } else { from };
                hit |= (from..=to).contains(&c);
                i += if range { 3 } else { 1 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        let s = Slugignore::parse(
            "# docs\n*.psd docs/ /top a/*/c  # rest\nsrc/**/test\nlog[0-9].tx?\n!keep\n..\n/\n",
        );
        for (path, folder, want) in [
            ("x.psd", false, true),
            ("a/b/x.psd", false, true),
            ("docs", true, true),
            ("deep/docs", true, true),
            ("docs", false, false),
            ("top", false, true),
            ("sub/top", false, false),
            ("a/b/c", false, true),
            ("a/c", false, false),
            ("z/a/b/c", false, false),
            ("src/test", true, true),
            ("src/a/b/test", true, true),
            ("log1.txt", false, true),
            ("logx.txt", false, false),
            ("keep", false, false),
            ("Procfile", false, false),
        ] {
            assert_eq!(s.matches(path, folder), want, "{path}");
        }
        assert_eq!(
            s.warnings.iter().map(|w| w.line).collect::<Vec<_>>(),
            [5, 6, 7]
        );
        assert!(Slugignore::parse("\n # x\n").is_empty());
    }

    #[test]
    fn stars_do_not_explode() {
        let p = format!("{}b", "*a".repeat(60));
        assert!(!segment_matches(&p, &"a".repeat(2000)));
        let s = Slugignore::parse(&format!("{}x", "**/a/".repeat(40)));
        assert!(!s.matches(&"a/".repeat(200), false));
    }

    proptest! {
        #[test]
        fn any_text_is_read(s in "[ -~\n]{0,80}", p in "[ -~]{0,30}") {
            let _ = Slugignore::parse(&s).matches(&p, true);
        }

        #[test]
        fn a_plain_name_matches_itself_at_any_depth(n in "[a-z0-9_.]{1,10}", d in "([a-z]{1,4}/){0,3}") {
            prop_assume!(n.chars().any(|c| c != '.'));
            let path = format!("{d}{n}");
            prop_assert!(Slugignore::parse(&n).matches(&path, false));
        }
    }
}
