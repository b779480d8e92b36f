//! Names: made-up ones for apps, and the nearest one to a typo.

use hokku_model::AppName;

const FIRST: &[&str] = &[
    "amber", "autumn", "bold", "brave", "bright", "calm", "clear", "cool", "crimson", "damp",
    "dawn", "early", "evening", "fair", "fresh", "gentle", "golden", "green", "hidden", "hollow",
    "icy", "jolly", "kind", "late", "light", "lively", "lucky", "mellow", "mild", "misty",
    "morning", "neat", "nimble", "noble", "open", "pale", "patient", "plain", "proud", "quick",
    "quiet", "rapid", "red", "rough", "round", "royal", "rustic", "safe", "secret", "shady",
    "silent", "silver", "small", "smooth", "snowy", "soft", "spring", "steady", "still", "sunny",
    "swift", "tall", "tidy", "warm", "wild", "winter", "wise", "young",
];
const SECOND: &[&str] = &[
    "bay", "beach", "bird", "bridge", "brook", "bush", "cliff", "cloud", "coast", "creek", "dale",
    "delta", "dune", "dust", "falls", "fen", "field", "fjord", "fog", "forest", "garden", "glade",
    "grass", "grove", "harbor", "haze", "heath", "hill", "island", "lagoon", "lake", "leaf",
    "marsh", "meadow", "mist", "moon", "moor", "moss", "mountain", "oak", "ocean", "orchard",
    "path", "peak", "pebble", "pine", "plain", "pond", "rain", "reef", "ridge", "river", "rock",
    "sea", "shore", "sky", "snow", "spruce", "star", "stone", "stream", "sun", "surf", "thicket",
    "tide", "tree", "valley", "water", "wave", "wind", "wood",
];

/// Such as `calm-river-12345`.
pub(super) fn made_up() -> anyhow::Result<AppName> {
    let dice = getrandom::u64()?;
    let pick = |words: &[&'static str], dice: u64| words[(dice % words.len() as u64) as usize];
    let first = pick(FIRST, dice & 0xffff);
    let second = pick(SECOND, (dice >> 16) & 0xffff);
    let number = 10_000 + (dice >> 32) % 90_000;
    Ok(format!("{first}-{second}-{number}").parse()?)
}

/// ` Did you mean worker?`, or nothing when no known name is near.
pub(super) fn suggest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> String {
    let typed: String = typed.chars().take(64).collect();
    let near = known
        .map(|k| (steps(&typed, k), k))
        .filter(|(d, k)| *d <= 1 + k.len() / 4)
        .min();
    near.map_or(String::new(), |(_, k)| format!(" Did you mean {k}?"))
}

/// How many letters must be put in, left out, changed, or swapped with the next to come from one to the other.
fn steps(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut d = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                d = d.min(rows[i - 2][j - 2] + 1);
            }
            row.push(d);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_valid_whatever_the_dice() {
        for a in FIRST {
            for b in SECOND {
                let name = format!("{a}-{b}-99999");
                assert!(name.parse::<AppName>().is_ok(), "{name}");
            }
        }
        assert_ne!(made_up().unwrap(), made_up().unwrap());
    }

    #[test]
    fn typos_get_the_nearest_name() {
        let known = ["web", "worker", "clock"];
        let say = |typed| suggest(typed, known.into_iter());
        assert_eq!(say("wroker"), " Did you mean worker?");
        assert_eq!(say("we"), " Did you mean web?");
        assert_eq!(say("workers"), " Did you mean worker?");
        assert_eq!(say("database"), "");
        assert_eq!(say(&"x".repeat(100_000)), "");
    }
}
