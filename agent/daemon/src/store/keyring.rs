//! The key that seals config vars, and sealing.
//!
//! XChaCha20-Poly1305 with a random 192-bit nonce in front of the sealed bytes. The place of a value (whose it is and
//! which release's) goes into the seal, so that a value moved to another row can't be opened there.

use anyhow::{Context, bail, ensure};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};
use zeroize::Zeroizing;

const KEY: usize = 32;
const NONCE: usize = 24;

/// Seals and opens. The key is wiped from memory when dropped.
pub struct Keyring {
    cipher: XChaCha20Poly1305,
}

impl Keyring {
    /// Makes a key file of 32 random bytes, mode 0600, that is either whole or not there.
    ///
    /// # Errors
    /// It can't be written, or is there already.
    pub fn create(path: &Path) -> anyhow::Result<Keyring> {
        let what = || format!("can't make the key file {}", path.display());
        let mut key = Zeroizing::new([0u8; KEY]);
        getrandom::fill(key.as_mut()).with_context(what)?;
        let half = path.with_extension("key.new");
        match std::fs::remove_file(&half) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(what);
            }
            _ => {}
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&half)
            .with_context(what)?;
        file.write_all(key.as_ref())
            .and_then(|()| file.sync_all())
            .with_context(what)?;
        // Unlike a rename, a link never replaces a key.
        std::fs::hard_link(&half, path).with_context(what)?;
        std::fs::remove_file(&half).with_context(what)?;
        if let Some(dir) = path.parent() {
            File::open(dir)
                .and_then(|d| d.sync_all())
                .with_context(what)?;
        }
        Ok(Keyring::new(&key))
    }

    /// Reads the key file.
    ///
    /// # Errors
    /// In words: others may read it, it has another size, it can't be read.
    pub fn load(path: &Path) -> anyhow::Result<Keyring> {
        let shown = path.display();
        let mut file =
            File::open(path).with_context(|| format!("can't read the key file {shown}"))?;
        let meta = file
            .metadata()
            .with_context(|| format!("can't read the key file {shown}"))?;
        let mode = meta.permissions().mode() & 0o7777;
        ensure!(
            mode & 0o077 == 0,
            "the key file {shown} may be read or changed by others (mode {mode:04o}), so it is no secret. \
             Run `chmod 600 {shown}`, and change the config vars that matter if others could log in here"
        );
        ensure!(
            meta.is_file() && meta.len() == KEY as u64,
            "the key file {shown} has {} bytes instead of {KEY}: it is not the key that hokkud made. \
             Put it back from a backup",
            meta.len()
        );
        let mut key = Zeroizing::new([0u8; KEY]);
        file.read_exact(key.as_mut())
            .with_context(|| format!("can't read the key file {shown}"))?;
        Ok(Keyring::new(&key))
    }

    fn new(key: &[u8; KEY]) -> Keyring {
        Keyring {
            cipher: XChaCha20Poly1305::new(key.into()),
        }
    }

    /// Seals a value for one place.
    ///
    /// # Errors
    /// No randomness to be had.
    pub fn seal(&self, place: &str, plain: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut nonce = [0u8; NONCE];
        getrandom::fill(&mut nonce).context("the system gives no random numbers")?;
        let payload = Payload {
            msg: plain,
            aad: place.as_bytes(),
        };
        let Ok(body) = self.cipher.encrypt(&XNonce::from(nonce), payload) else {
            bail!("can't seal {place}: it is too long");
        };
        Ok([&nonce[..], &body].concat())
    }

    /// Opens a value at its place.
    ///
    /// # Errors
    /// In words: another key sealed it, it was sealed for another place, or it was changed.
    pub fn open(&self, place: &str, sealed: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let opened = sealed
            .split_first_chunk::<NONCE>()
            .and_then(|(nonce, body)| {
                let payload = Payload {
                    msg: body,
                    aad: place.as_bytes(),
                };
                self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
            });
        opened.map(Zeroizing::new).with_context(|| {
            format!(
                "can't open the sealed {place}: it was sealed with another key or for another place, or was changed since. \
                 Is secret.key the one that belongs to this database?"
            )
        })
    }
}
