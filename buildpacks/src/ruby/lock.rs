//! What is read of a Gemfile.lock (Bundler's `LockfileParser`).

use std::collections::BTreeMap;

/// The parts that decide a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Gems with their locked versions.
    pub gems: BTreeMap<String, String>,
    /// As in `RUBY VERSION`: `3.1.2p20`.
    pub ruby: Option<String>,
    /// As in `BUNDLED WITH`.
    pub bundled_with: Option<String>,
    /// As in `PLATFORMS`.
    pub platforms: Vec<String>,
    /// Some gems are folders of the tree.
    pub has_path: bool,
}

impl Lock {
    /// Reads what is understood; the rest is Bundler's to judge.
    pub fn read(text: &str) -> Lock {
        let mut lock = Lock::default();
        let mut section = "";
        for line in text.lines() {
            let line = line.trim_end();
            if !line.starts_with(' ') {
                section = line;
                lock.has_path |= section == "PATH";
                continue;
            }
            let body = line.trim_start();
            let indent = line.len() - body.len();
            match section {
                "GEM" | "GIT" | "PATH" if indent == 4 => {
                    if let Some((name, version)) = body.split_once(" (") {
                        let version = version.trim_end_matches(')');
                        lock.gems.insert(name.to_owned(), version.to_owned());
                    }
                }
                "PLATFORMS" => lock.platforms.push(body.to_owned()),
                "RUBY VERSION" => {
                    lock.ruby = body.strip_prefix("ruby ").map(str::to_owned);
                }
                "BUNDLED WITH" => lock.bundled_with = Some(body.to_owned()),
                _ => {}
            }
        }
        lock
    }

    /// The locked version of a gem.
    pub fn gem(&self, name: &str) -> Option<String> {
        self.gems.get(name).cloned()
    }
}
