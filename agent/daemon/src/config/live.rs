//! Which settings a running agent takes over from a changed file, and which ask for a restart.

use super::Config;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};
use tokio::sync::watch;

/// The newest settings, shared by all copies of a [`Config`]; empty until the first reload.
#[derive(Clone, Default)]
pub struct Live(Arc<Newest>);

#[derive(Default)]
struct Newest {
    config: RwLock<Option<Arc<Config>>>,
    /// How often they were taken over.
    reloads: watch::Sender<u64>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

/// What a reload did, by the names of the keys (`retain.logs`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In force now.
    pub taken: BTreeSet<String>,
    /// In force after a restart of the agent.
    pub restart: BTreeSet<String>,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(", ");
        match (self.taken.is_empty(), self.restart.is_empty()) {
            (true, true) => write!(f, "the settings were read again; nothing has changed"),
            (false, true) => write!(
                f,
                "the settings were read again; in force now: {}",
                list(&self.taken)
            ),
            (true, false) => write!(
                f,
                "the settings were read again; needs a restart (systemctl restart hokkud): {}",
                list(&self.restart)
            ),
            (false, false) => write!(
                f,
                "the settings were read again; in force now: {}; needs a restart (systemctl restart hokkud): {}",
                list(&self.taken),
                list(&self.restart)
            ),
        }
    }
}

impl Config {
    /// The settings as they are now. Keys that a reload takes over have to be read through this each time they are
    /// used; those read without it are as they were at the agent's start.
    pub fn now(self: &Arc<Config>) -> Arc<Config> {
        let newest = self
            .live
            .0
            .config
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        newest.clone().unwrap_or_else(|| self.clone())
    }

    /// Rings after each reload.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.live.0.reloads.subscribe()
    }

    /// These settings with the keys of `new` that need no restart. This is the one list of them.
    fn with_live(&self, new: &Config) -> Config {
        let new = new.clone();
        Config {
            api_url: new.api_url,
            default_app: new.default_app,
            trusted_proxies: new.trusted_proxies,
            proxy_protocol: new.proxy_protocol,
            health_path: new.health_path,
            health_app: new.health_app,
            deploy_branches: new.deploy_branches,
            boot_timeout: new.boot_timeout,
            stop_grace: new.stop_grace,
            drain_timeout: new.drain_timeout,
            release_timeout: new.release_timeout,
            memory_restart_after: new.memory_restart_after,
            build: new.build,
            retain: new.retain,
            journal: new.journal,
            ..self.clone()
        }
    }

    /// Takes the keys of `new` over that need no restart. Says what has changed: those since the last reload, and all
    /// that differ from the agent's start and wait for a restart. `started_with` are the settings as they were read
    /// then: `self` may say more, such as the port that was found.
    pub fn take(self: &Arc<Config>, started_with: &Config, new: &Config) -> Changes {
        let before = started_with.with_live(&self.now());
        let after = started_with.with_live(new);
        let changes = Changes {
            taken: differences(&before, &after),
            restart: differences(&after, new),
        };
        let merged = Config {
            live: Live::default(),
            ..self.with_live(new)
        };
        *self
            .live
            .0
            .config
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(merged));
        self.live.0.reloads.send_modify(|n| *n += 1);
        changes
    }
}

/// The keys whose values differ.
fn differences(a: &Config, b: &Config) -> BTreeSet<String> {
    let (a, b) = (flat(a), flat(b));
    let names = a.keys().chain(b.keys());
    names.filter(|k| a.get(*k) != b.get(*k)).cloned().collect()
}

/// `table.key` with its value; tables of free names, such as `build.env`, count as one key, so that no value of theirs
/// is ever part of a name.
fn flat(config: &Config) -> BTreeMap<String, toml::Value> {
    let mut all = BTreeMap::new();
    let table = toml::Table::try_from(config).unwrap_or_default();
    for (key, value) in table {
        match value {
            toml::Value::Table(t) => {
                all.extend(t.into_iter().map(|(k, v)| (format!("{key}.{k}"), v)));
            }
            value => {
                all.insert(key, value);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_needs_no_restart_is_in_force_for_every_holder() {
        let first = read("boot_timeout = 7\napi_listen = \"127.0.0.1:0\"");
        let mut running = first.clone();
        running.api_listen = ([127, 0, 0, 1], 4711).into();
        let running = Arc::new(running);
        let other = running.clone();
        let new = read(
            "boot_timeout = 8\napi_listen = \"127.0.0.1:1\"\nhealth_path = \"/h\"\n[retain]\nlogs = 5\n[build.env]\nA = \"secret\"",
        );
        let said = running.take(&first, &new);
        let set = |all: &[&str]| all.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(
            said.taken,
            set(&["boot_timeout", "build.env", "health_path", "retain.logs"])
        );
        assert_eq!(said.restart, set(&["api_listen"]));
        assert!(!said.to_string().contains("secret"), "{said}");
        assert_eq!((other.now().boot_timeout, other.boot_timeout), (8, 7));
        assert_eq!(other.now().api_listen.port(), 4711, "what runs stays");
        // the same once more: nothing is new, and the restart is still due
        let said = running.take(&first, &new);
        assert_eq!((said.taken, said.restart), (set(&[]), set(&["api_listen"])));
        let said = running.take(&first, &first);
        assert_eq!(said.taken.len(), 4);
        assert_eq!((said.restart, other.now().boot_timeout), (set(&[]), 7));
    }

    #[test]
    fn keys_that_a_reload_takes_are_read_live_everywhere() {
        let live = [
            "api_url()",
            "default_app",
            "trusted()",
            "proxy_protocol",
            "health_path",
            "health_app",
            "deploy_branches",
            "boot_timeout",
            "stop_grace",
            "drain_timeout",
            "release_timeout",
            "memory_restart_after",
            "build.",
            "retain.",
            "journal.",
        ];
        // `hokkud doctor` has read the file just now
        let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut stale = vec![];
        let mut dirs = vec![src];
        while let Some(dir) = dirs.pop() {
            for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                if path.components().any(|c| {
                    ["config", "config.rs", "doctor"]
                        .iter()
                        .any(|n| c.as_os_str() == *n)
                }) {
                    continue;
                }
                for (n, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
                    // `git.config().key` and `config.key` alike
                    let line = line.replace("config()", "config");
                    if live.iter().any(|k| line.contains(&format!("config.{k}"))) {
                        stale.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
                    }
                }
            }
        }
        assert!(
            stale.is_empty(),
            "read these through config.now():\n{}",
            stale.join("\n")
        );
    }
}
