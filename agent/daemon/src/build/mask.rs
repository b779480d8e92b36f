//! Secrets in a build's output are replaced while it streams.

use std::collections::BTreeMap;

const SHOWN: &[u8] = b"[MASKED]";

/// Replaces the values of config vars that look like secrets. A value may be cut in two by the stream: what could be
/// its beginning is held back until more comes.
pub struct Mask {
    secrets: Vec<Vec<u8>>,
    held: Vec<u8>,
}

impl Mask {
    /// Masks the secret ones of these config vars.
    pub fn new(env: &BTreeMap<String, String>) -> Mask {
        let mut secrets: Vec<Vec<u8>> = env
            .iter()
            .filter(|(k, v)| is_secret(k, v))
            .map(|(_, v)| v.clone().into_bytes())
            .collect();
        // The longest first, so that a secret that holds another is replaced whole.
        secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        Mask {
            secrets,
            held: vec![],
        }
    }

    /// What may be shown of the output so far.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(self.held.len());
        let mut at = 0;
        'bytes: while at < self.held.len() {
            let rest = &self.held[at..];
            for secret in &self.secrets {
                if rest.starts_with(secret) {
                    out.extend_from_slice(SHOWN);
                    at += secret.len();
                    continue 'bytes;
                }
                if secret.starts_with(rest) {
                    break 'bytes;
                }
            }
            out.push(self.held[at]);
            at += 1;
        }
        self.held.drain(..at);
        out
    }

    /// The rest, at the end of the output.
    pub fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// Names that say so, or values that can't be anything else. Short values would mask half of the output.
fn is_secret(key: &str, value: &str) -> bool {
    let key = key.to_ascii_uppercase();
    let named = [
        "SECRET",
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "KEY",
        "CREDENTIAL",
        "PRIVATE",
        "AUTH",
    ]
    .iter()
    .any(|word| key.contains(word));
    let url = value.contains("://") && value.contains('@');
    let mixed = value.len() >= 20
        && !value.contains(['/', ' ', '.'])
        && value.bytes().any(|b| b.is_ascii_digit())
        && value.bytes().any(|b| b.is_ascii_alphabetic());
    value.len() > 5 && (named || url || mixed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(vars: &[(&str, &str)]) -> Mask {
        Mask::new(
            &vars
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn only_what_looks_secret_is_masked() {
        let mut m = mask(&[
            ("API_KEY", "abcdef"),
            ("NODE_ENV", "production"),
            ("DATABASE_URL", "postgres://u:p@h/d"),
        ]);
        let out = m.pass(b"production abcdef postgres://u:p@h/d end");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "production [MASKED] [MASKED] end"
        );
    }

    proptest! {
        #[test]
        fn a_secret_never_passes_however_it_is_cut(before in "[a-c]{0,9}", after in "[a-c]{0,9}", cuts in prop::collection::vec(0usize..40, 0..6)) {
            let secret = "abcabcaab";
            let text = format!("{before}{secret}{after}").into_bytes();
            let mut m = mask(&[("MY_TOKEN", secret)]);
            let mut at: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).chain([0, text.len()]).collect();
            at.sort_unstable();
            let mut out = vec![];
            for pair in at.windows(2) {
                out.extend(m.pass(&text[pair[0]..pair[1]]));
            }
            out.extend(m.end());
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.contains(secret), "{out}");
            prop_assert!(out.contains("[MASKED]"));
        }
    }
}
