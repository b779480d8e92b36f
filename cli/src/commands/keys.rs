//! SSH keys: who may push over SSH.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output;
use crate::progress::Progress;
use clap::Args;
use hokku_model::api;
use reqwest::Method;
use std::path::{Path, PathBuf};

/// The keys that ssh itself tries, best first.
const USUAL: [&str; 4] = [
    "id_ed25519.pub",
    "id_ecdsa.pub",
    "id_ed25519_sk.pub",
    "id_rsa.pub",
];

/// List your SSH keys
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app keys\n  $ app keys --json")]
pub struct List {
    /// Show the whole keys
    #[arg(short, long)]
    long: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints the keys with their fingerprints.
    pub fn run(self, cx: &Context) -> Result<()> {
        let keys: Vec<api::Key> = cx.client()?.list(&["account", "keys"])?;
        if self.json {
            return output::json(&keys);
        }
        if keys.is_empty() {
            output::line("You have no SSH keys. Add one with: app keys:add");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = keys
            .iter()
            .map(|k| match self.long {
                true => vec![k.public_key.trim().to_owned()],
                false => {
                    let kind = k.public_key.split_whitespace().next().unwrap_or_default();
                    vec![kind.to_owned(), k.fingerprint.clone(), k.comment.clone()]
                }
            })
            .collect();
        output::print(&format!(
            "{}{}",
            output::header(&format!("{} keys", keys[0].email)),
            output::plain_table(&rows)
        ));
        Ok(())
    }
}

/// Add an SSH key, so that you can push over SSH
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app keys:add\n  $ app keys:add ~/.ssh/work.pub")]
pub struct Add {
    /// The file of the public key [default: the first of ~/.ssh/id_*.pub]
    file: Option<PathBuf>,
    /// Accepted as Heroku's; nothing is asked
    #[arg(short, long, hide = true)]
    yes: bool,
}

impl Add {
    /// Reads the public key and sends it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let path = match self.file {
            Some(path) => path,
            None => usual()?,
        };
        let public_key = read(&path)?;
        let progress = Progress::start(format!("Uploading {} SSH key", path.display()));
        let _: api::Key = cx.client()?.send(
            Method::POST,
            &["account", "keys"],
            &api::CreateKey { public_key },
        )?;
        progress.done();
        Ok(())
    }
}

fn usual() -> Result<PathBuf> {
    let folder = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".ssh"));
    let found = folder
        .iter()
        .flat_map(|f| USUAL.iter().map(|n| f.join(n)))
        .find(|p| p.is_file());
    found.ok_or_else(|| Fail::new("There is no public key in ~/.ssh. Make one with: ssh-keygen -t ed25519\nor name its file: app keys:add FILE"))
}

fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let data = std::fs::read(path)
        .map_err(|e| Fail::usage(format!("The key {shown} can't be read: {e}.")))?;
    let text = String::from_utf8(data).unwrap_or_default();
    if text.contains("PRIVATE KEY") {
        return Err(Fail::usage(format!(
            "{shown} is a private key, which must stay where it is. Name the public one: {shown}.pub"
        )));
    }
    let line = text
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty() && !l.starts_with('#'))
        .unwrap_or_default();
    let kind = line.split_whitespace().next().unwrap_or_default();
    if !["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|p| kind.starts_with(p))
        || line.split_whitespace().count() < 2
        || line.len() > 16_384
    {
        return Err(Fail::usage(format!(
            "{shown} is no SSH public key. Expected a line such as: ssh-ed25519 AAAA… you@host"
        )));
    }
    Ok(line.to_owned())
}

/// Remove an SSH key
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app keys:remove you@laptop\n  $ app keys:remove SHA256:0123…"
)]
pub struct Remove {
    /// The key's comment, fingerprint or id
    key: String,
}

impl Remove {
    /// Removes the one key that is meant.
    pub fn run(self, cx: &Context) -> Result<()> {
        let client = cx.client()?;
        let keys: Vec<api::Key> = client.list(&["account", "keys"])?;
        let id = find(&keys, &self.key)?;
        let progress = Progress::start(format!("Removing {} SSH key", self.key));
        client.order(Method::DELETE, &["account", "keys", &id])?;
        progress.done();
        Ok(())
    }
}

fn find(keys: &[api::Key], wanted: &str) -> Result<String> {
    let is = |k: &&api::Key| {
        let comment = k.public_key.split_whitespace().nth(2);
        [k.id.as_str(), &k.fingerprint, &k.comment].contains(&wanted) || comment == Some(wanted)
    };
    let found: Vec<&api::Key> = keys.iter().filter(is).collect();
    match found.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(Fail::usage(format!(
            "You have no SSH key {wanted}. See: app keys"
        ))),
        many => Err(Fail::usage(format!(
            "{} keys are called {wanted}. Name one by its fingerprint; see: app keys",
            many.len()
        ))),
    }
}

/// Remove all your SSH keys
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app keys:clear")]
pub struct Clear {}

impl Clear {
    /// Removes them one by one.
    pub fn run(self, cx: &Context) -> Result<()> {
        let client = cx.client()?;
        let keys: Vec<api::Key> = client.list(&["account", "keys"])?;
        let progress = Progress::start("Removing all SSH keys");
        for key in keys {
            client.order(Method::DELETE, &["account", "keys", &key.id])?;
        }
        progress.done();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_leave_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let told = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|e| e.text)
        };
        assert_eq!(
            told("# mine\n\nssh-ed25519 AAAAC3 me@x \n"),
            Ok("ssh-ed25519 AAAAC3 me@x".into())
        );
        assert!(
            told("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
                .unwrap_err()
                .contains("private key")
        );
        for bad in ["", "hello", "ssh-ed25519", "\u{0}\u{1}"] {
            assert!(
                told(bad).unwrap_err().contains("no SSH public key"),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_key_is_found_by_its_comment_or_fingerprint() {
        let key = |id: &str, comment: &str| api::Key {
            id: id.into(),
            fingerprint: format!("SHA256:{id}"),
            public_key: format!("ssh-rsa AAAA {comment}"),
            ..api::Key::default()
        };
        let keys = [key("1", "a@x"), key("2", "b@x"), key("3", "b@x")];
        assert_eq!(find(&keys, "a@x").unwrap(), "1");
        assert_eq!(find(&keys, "SHA256:3").unwrap(), "3");
        assert!(find(&keys, "b@x").unwrap_err().text.contains("2 keys"));
        assert!(find(&keys, "c").is_err());
    }
}
