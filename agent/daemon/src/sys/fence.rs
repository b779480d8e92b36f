//! The fence in the network: one table of nftables that is hokku's own, made whole again at each change.
//!
//! Rules go by the user of a process, so there is a fence only where each app has its own. The table is replaced in one
//! transaction; what was there before does not matter, so a crash at any place leaves a whole table, old or new.

use anyhow::{Context, bail};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tokio::sync::watch;

/// Users above the highest known one that are fenced too, so that an app that was just made is never outside.
const AHEAD: u32 = 1000;

/// The pause before a table that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// The file in the data folder that names the table, for whoever takes it away.
const NOTE: &str = "run/fence";

/// What the table is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The first user id of apps; the router has the one below.
    pub first_uid: u32,
    /// The users of all apps.
    pub apps: BTreeSet<u32>,
    /// Those of them that may reach the instance's metadata.
    pub imds: BTreeSet<u32>,
    /// Ports of private dynos, and whose they are.
    pub private: BTreeMap<u16, u32>,
}

/// The handle; cheap to clone.
#[derive(Clone, Debug)]
pub struct Fence {
    wanted: watch::Sender<(u64, Wanted)>,
    tried: watch::Receiver<u64>,
    missing: Option<String>,
}

impl Fence {
    /// A host that can have none, and why.
    pub fn none(why: impl Into<String>) -> Fence {
        Fence {
            wanted: watch::channel((0, Wanted::default())).0,
            tried: watch::channel(u64::MAX).1,
            missing: Some(why.into()),
        }
    }

    /// Puts the first table up and keeps it as it is wanted from here on. `data` is the data folder. Where it can't be
    /// put up, [`Fence::missing`] says why.
    pub async fn start(data: &Path, first: Wanted) -> Fence {
        let table = name(first.first_uid);
        let (text, note) = (render(&table, &first), data.join(NOTE));
        let noted = table.clone();
        let put_up = tokio::task::spawn_blocking(move || {
            fs::write(&note, noted).with_context(|| format!("can't write {}", note.display()))?;
            apply(&text)
        });
        match put_up.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Fence::none(format!("{e:#}")),
            Err(e) => return Fence::none(e.to_string()),
        }
        let (wanted, change) = watch::channel((0, first));
        let (done, tried) = watch::channel(0);
        tokio::spawn(keep(table, change, done));
        Fence {
            wanted,
            tried,
            missing: None,
        }
    }

    /// Why this host has no fence.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Says what is wanted from now on; nothing happens when it is so already.
    pub fn want(&self, wanted: Wanted) {
        if self.missing.is_none() {
            self.wanted.send_if_modified(|(n, old)| {
                let new = *old != wanted;
                if new {
                    *n += 1;
                    *old = wanted;
                }
                new
            });
        }
    }

    /// Waits until what is wanted now was put up, or refused (which is logged).
    pub async fn settled(&self) {
        let n = self.wanted.borrow().0;
        let mut tried = self.tried.clone();
        // an error means that the agent is ending
        let _ = tried.wait_for(|t| *t >= n).await;
    }
}

async fn keep(table: String, mut change: watch::Receiver<(u64, Wanted)>, done: watch::Sender<u64>) {
    let mut refused = false;
    loop {
        let changed = change.changed();
        let again = tokio::time::sleep(AGAIN);
        tokio::select! {
            end = changed => if end.is_err() { return },
            () = again, if refused => {}
        }
        let (n, text) = {
            let now = change.borrow_and_update();
            (now.0, render(&table, &now.1))
        };
        let r = tokio::task::spawn_blocking(move || apply(&text)).await;
        refused = !matches!(r, Ok(Ok(())));
        if let Ok(Err(e)) = r {
            tracing::error!("the fence around apps can't be changed, the last one stays: {e:#}");
        }
        done.send_replace(n);
    }
}

/// Two agents on one machine have users of their own, and so tables.
fn name(first_uid: u32) -> String {
    format!("hokku_{first_uid}")
}

/// The whole table in nft's words, with what removes an older one before.
fn render(table: &str, w: &Wanted) -> String {
    let top = w.apps.last().copied().unwrap_or(0).max(w.first_uid);
    let mut users: Vec<String> = w
        .apps
        .iter()
        .filter(|u| **u < w.first_uid)
        .map(u32::to_string)
        .collect();
    users.push(format!("{}-{}", w.first_uid, top.saturating_add(AHEAD)));
    let users = users.join(", ");
    let list = |items: Vec<String>| {
        if items.is_empty() {
            String::new()
        } else {
            format!(" elements = {{ {} }};", items.join(", "))
        }
    };
    let free = list(w.imds.iter().map(u32::to_string).collect());
    let ports = list(w.private.keys().map(u16::to_string).collect());
    let own = w.private.iter().map(|(p, u)| format!("{p} . {u}"));
    let own = list(own.collect());
    let router = w.first_uid.saturating_sub(1);
    let mut text = format!("add table inet {table}\ndelete table inet {table}\n");
    let _ = write!(
        text,
        "table inet {table} {{
  set imds {{ typeof meta skuid;{free} }}
  set private {{ type inet_service;{ports} }}
  set own {{ typeof tcp dport . meta skuid;{own} }}
  chain output {{
    type filter hook output priority 0; policy accept;
    ip daddr 169.254.169.254 goto metadata
    ip6 daddr fd00:ec2::254 goto metadata
    oif lo tcp dport @private tcp flags & (syn | ack) == syn goto ports
  }}
  chain metadata {{
    meta skuid @imds accept
    meta skuid {{ {users} }} meta l4proto tcp reject with tcp reset
    meta skuid {{ {users} }} reject
  }}
  chain ports {{
    meta skuid {{ 0, {router} }} accept
    tcp dport . meta skuid @own accept
    reject with tcp reset
  }}
  chain input {{
    type filter hook input priority 0; policy accept;
    iif != lo tcp dport @private tcp flags & (syn | ack) == syn reject with tcp reset
  }}
}}
"
    );
    text
}

/// One transaction.
fn apply(text: &str) -> anyhow::Result<()> {
    let mut nft = Command::new(program().context(
        "the program nft is missing (apt install nftables): apps can reach the instance's metadata service, and none \
         can be private",
    )?)
    .args(["-f", "-"])
    .stdin(Stdio::piped())
    .stdout(Stdio::null())
    .stderr(Stdio::piped())
    .spawn()
    .context("can't start nft")?;
    if let Some(mut to) = nft.stdin.take() {
        // one that ends at once says why on the other pipe
        let _ = to.write_all(text.as_bytes());
    }
    let out = nft.wait_with_output().context("can't wait for nft")?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let said = said.lines().next().unwrap_or("no word").trim();
        bail!(
            "nft refuses the fence around apps, so they can reach the instance's metadata service: {said}"
        );
    }
    Ok(())
}

/// Where it is; a service's PATH may have no folder of root's.
fn program() -> Option<PathBuf> {
    ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"]
        .map(PathBuf::from)
        .into_iter()
        .find(|p| p.exists())
}

/// Takes the table of a data folder away, if there is one.
///
/// # Errors
/// nft refuses.
pub fn remove(data: &Path) -> anyhow::Result<()> {
    let note = data.join(NOTE);
    let Ok(table) = fs::read_to_string(&note) else {
        return Ok(());
    };
    // only a name that is one of ours: it becomes part of an order
    let number = table.strip_prefix("hokku_").and_then(|n| n.parse().ok());
    if let Some(first_uid) = number
        && program().is_some()
    {
        let table = name(first_uid);
        apply(&format!(
            "add table inet {table}\ndelete table inet {table}\n"
        ))?;
    }
    fs::remove_file(&note).with_context(|| format!("can't remove {}", note.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            first_uid: 300_000,
            apps: [300_000, 300_007].into(),
            imds: [300_007].into(),
            private: [(5001, 300_000), (5002, 300_007)].into(),
        }
    }

    #[test]
    fn the_words() {
        let text = render("hokku_300000", &wanted());
        for part in [
            "add table inet hokku_300000\ndelete table inet hokku_300000\n",
            "set imds { typeof meta skuid; elements = { 300007 }; }",
            "set private { type inet_service; elements = { 5001, 5002 }; }",
            "elements = { 5001 . 300000, 5002 . 300007 }; }",
            "meta skuid { 300000-301007 } reject\n",
            "meta skuid { 0, 299999 } accept",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let lower = Wanted {
            apps: [5, 300_000].into(),
            ..wanted()
        };
        assert!(render("x", &lower).contains("meta skuid { 5, 300000-301000 } reject"));
    }

    #[tokio::test]
    async fn without_a_fence_nothing_waits() {
        let f = Fence::none("no nft");
        f.want(wanted());
        f.settled().await;
        assert_eq!(f.missing(), Some("no nft"));
    }

    #[test]
    fn only_tables_of_ours_are_taken_away() {
        let d = tempfile::tempdir().unwrap();
        fs::create_dir(d.path().join("run")).unwrap();
        remove(d.path()).unwrap();
        fs::write(d.path().join(NOTE), "filter; flush ruleset").unwrap();
        remove(d.path()).unwrap();
        assert!(!d.path().join(NOTE).exists());
    }
}
