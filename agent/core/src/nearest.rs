//! What somebody may have meant.

/// Edits between two words: insertions, deletions, replacements and swaps of neighbours each count one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// The candidate nearest to `typed`, when it is near enough to have been meant.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = typed.to_lowercase().chars().take(64).collect();
    let most = (typed.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(&typed, c), c))
        .filter(|(d, _)| *d <= most)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [
            ("", "", 0),
            ("ps", "", 2),
            ("config", "confgi", 1),
            ("logs", "log", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn suggestions() {
        let all = [
            "config",
            "config:set",
            "config:get",
            "ps:scale",
            "logs",
            "releases",
            "run",
        ];
        let near = |t| nearest(t, all);
        assert_eq!(near("confg"), Some("config"));
        assert_eq!(near("config:st"), Some("config:set"));
        assert_eq!(near("ps:sacle"), Some("ps:scale"));
        assert_eq!(near("LOGS"), Some("logs"));
        assert_eq!(near("relaeses"), Some("releases"));
        assert_eq!(near("frobnicate"), None);
        assert_eq!(near("x"), None);
    }
}
