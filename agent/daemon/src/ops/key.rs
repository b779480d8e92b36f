//! SSH keys of users, and the authorized_keys file made of them.

use super::{Ops, Result};
use hokku_model::{KeyId, Micros};
use serde::{Deserialize, Serialize};

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

impl Ops {
    /// Adds a key and writes authorized_keys.
    ///
    /// # Errors
    /// `Invalid` when it is no public key; `Conflict` when anybody has it already.
    pub async fn add_key(&self, _user: &str, _public_key: &str) -> Result<Key> {
        unimplemented!()
    }

    /// A user's keys, oldest first.
    ///
    /// # Errors
    /// Only of the store.
    pub async fn keys(&self, _user: &str) -> Result<Vec<Key>> {
        unimplemented!()
    }

    /// Removes a user's key, named by id, fingerprint or comment, and writes authorized_keys.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when several have that comment.
    pub async fn remove_key(&self, _user: &str, _which: &str) -> Result<Key> {
        unimplemented!()
    }

    /// Removes all keys of a user and writes authorized_keys; gives what was removed.
    ///
    /// # Errors
    /// Only of the store and the file.
    pub async fn clear_keys(&self, _user: &str) -> Result<Vec<Key>> {
        unimplemented!()
    }

    /// A key by its id, for the forced command.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find_key(&self, _id: KeyId) -> Result<Key> {
        unimplemented!()
    }

    /// Writes the keys of all users to `config.authorized_keys`, if set; the file's other lines stay.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn write_authorized_keys(&self) -> Result<()> {
        unimplemented!()
    }
}
