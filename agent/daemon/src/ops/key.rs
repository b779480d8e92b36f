//! SSH keys of users, and the authorized_keys file made of them.

use super::{Ops, OpsError, Result, authorized_keys, public_key, token::check_text};
use crate::store::Tx;
use anyhow::Context;
use hokku_model::{KeyId, Micros};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const KEY: &str = "ssh-key";
const FINGERPRINT: &str = "ssh-key-fingerprint";

/// Keys of one user.
const MOST: usize = 100;

/// An SSH public key of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Names it in the forced command.
    pub id: KeyId,
    /// Whose.
    pub user: String,
    /// What stands behind the key; may be empty.
    pub comment: String,
    /// `SHA256:…`, as ssh-keygen shows it.
    pub fingerprint: String,
    /// Type, base64 and comment, as in authorized_keys.
    pub public_key: String,
    /// When added.
    pub created_at: Micros,
}

fn all(tx: &Tx) -> Result<Vec<Key>> {
    let docs = tx.list::<Key>(KEY)?;
    let mut keys: Vec<Key> = docs.into_iter().map(|d| d.body).collect();
    keys.sort_by_key(|k| (k.created_at, k.id));
    Ok(keys)
}

fn of(tx: &Tx, user: &str) -> Result<Vec<Key>> {
    let mut keys = all(tx)?;
    keys.retain(|k| k.user == user);
    Ok(keys)
}

fn delete(tx: &Tx, key: &Key) -> Result<()> {
    tx.delete(KEY, &key.id.to_string())?;
    Ok(tx.unclaim(FINGERPRINT, &key.fingerprint)?)
}

fn missing() -> OpsError {
    OpsError::not_found("key", "Couldn't find that key.")
}

impl Ops {
    /// Adds a key and writes authorized_keys.
    ///
    /// # Errors
    /// `Invalid` when it is no public key; `Conflict` when anybody has it already, or the user has 100.
    pub async fn add_key(&self, user: &str, public_key: &str) -> Result<Key> {
        check_text("user", user, 254)?;
        let parsed = public_key::parse(public_key).map_err(OpsError::invalid)?;
        let key = Key {
            id: KeyId(uuid::Uuid::new_v4().as_u128()),
            user: user.into(),
            comment: parsed.comment,
            fingerprint: parsed.fingerprint,
            public_key: parsed.line,
            created_at: Micros::now(),
        };
        let id = key.id.to_string();
        self.store()
            .write(|tx| {
                if of(tx, user)?.len() >= MOST {
                    return Err(OpsError::conflict(format!(
                        "{user} has {MOST} keys already; remove one that is not used any more."
                    )));
                }
                if !tx.claim(FINGERPRINT, &key.fingerprint, &id)? {
                    return Err(OpsError::conflict(
                        "Fingerprint already exists. Please use unique SSH key.",
                    ));
                }
                Ok(tx.insert(KEY, &id, &key)?)
            })
            .await?;
        tracing::info!(user, key = %key.fingerprint, "key added");
        self.write_authorized_keys().await?;
        Ok(key)
    }

    /// A user's keys, oldest first.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn keys(&self, user: &str) -> Result<Vec<Key>> {
        self.store().read(|tx| of(tx, user)).await
    }

    /// Removes a user's key, named by id, fingerprint or comment, and writes authorized_keys.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when several have that comment.
    pub async fn remove_key(&self, user: &str, which: &str) -> Result<Key> {
        let key = self
            .store()
            .write(|tx| {
                let mut keys = of(tx, user)?;
                keys.retain(|k| {
                    let named = !which.is_empty() && k.comment == which;
                    k.id.to_string() == which || k.fingerprint == which || named
                });
                match keys.as_slice() {
                    [] => Err(missing()),
                    [key] => {
                        delete(tx, key)?;
                        Ok(key.clone())
                    }
                    several => Err(OpsError::conflict(format!(
                        "{} of your keys have that comment; name the one by its fingerprint, such as {}.",
                        several.len(),
                        several[0].fingerprint
                    ))),
                }
            })
            .await?;
        tracing::info!(user, key = %key.fingerprint, "key removed");
        self.write_authorized_keys().await?;
        Ok(key)
    }

    /// Removes all keys of a user and writes authorized_keys; gives what was removed.
    ///
    /// # Errors
    /// Only of the store and the file.
    pub async fn clear_keys(&self, user: &str) -> Result<Vec<Key>> {
        let keys = self
            .store()
            .write(|tx| {
                let keys = of(tx, user)?;
                for key in &keys {
                    delete(tx, key)?;
                }
                Ok::<_, OpsError>(keys)
            })
            .await?;
        tracing::info!(user, count = keys.len(), "keys cleared");
        self.write_authorized_keys().await?;
        Ok(keys)
    }

    /// A key by its id, for the forced command.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_key(&self, id: KeyId) -> Result<Key> {
        self.store()
            .read(|tx| {
                let key = tx.get::<Key>(KEY, &id.to_string())?;
                Ok(key.ok_or_else(missing)?.body)
            })
            .await
    }

    /// Writes the keys of all users to `config.authorized_keys`, if set; the file's other lines stay.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn write_authorized_keys(&self) -> Result<()> {
        let Some(path) = self.config().authorized_keys.clone() else {
            return Ok(());
        };
        let _alone = self.inner.keys_file.lock().await;
        let keys = self.store().read(all).await?;
        let socket = self.config().socket();
        tokio::task::spawn_blocking(move || {
            let exe = executable()?;
            authorized_keys::write(&path, || authorized_keys::lines(&exe, &socket, &keys))
        })
        .await
        .context("the write of authorized_keys was cut short")??;
        Ok(())
    }
}

/// Where hokkud is installed. While a package manager has just replaced the file, Linux adds a word to its path.
fn executable() -> anyhow::Result<PathBuf> {
    let exe = std::env::current_exe().context("can't find out where hokkud is installed")?;
    let text = exe.to_str().and_then(|t| t.strip_suffix(" (deleted)"));
    Ok(text.map_or(exe.clone(), PathBuf::from))
}
