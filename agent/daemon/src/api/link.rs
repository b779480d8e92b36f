//! Links that carry their own permission: a client fetches logs and outputs, and attaches, without a token.

use super::fault::{Fault, Result};
use anyhow::Context;
use data_encoding::BASE64URL_NOPAD;
use hokku_model::{AppId, BuildId, DynoId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// What a link leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum To {
    /// Lines of an app's log.
    Logs {
        app: AppId,
        dyno: Option<String>,
        source: Option<String>,
        lines: usize,
        tail: bool,
    },
    /// What there is to say of a release.
    Release { app: AppId, version: u32 },
    /// The output of a build.
    Build { app: AppId, build: BuildId },
    /// Input and output of a one-off dyno.
    Attach { dyno: DynoId },
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    to: To,
    /// Seconds since 1970.
    until: i64,
}

/// Makes and checks links. The key is kept on disk, so that a tail outlives a restart of the agent.
pub(super) struct Links {
    key: std::result::Result<[u8; 32], String>,
}

/// The longest link taken.
const LONGEST: usize = 4096;

impl Links {
    /// Reads the key from the data folder, or makes one. Trouble shows when the first link is made.
    pub fn open(data_dir: &Path) -> Links {
        Links {
            key: key(&data_dir.join("links.key")).map_err(|e| format!("{e:#}")),
        }
    }

    fn key(&self) -> Result<&[u8; 32]> {
        self.key
            .as_ref()
            .map_err(|e| Fault::internal(&anyhow::anyhow!("no links can be made: {e}")))
    }

    /// The part of a URL that is a permission for `seconds`.
    ///
    /// # Errors
    /// There is no key.
    pub fn seal(&self, to: To, seconds: i64) -> Result<String> {
        let until = jiff::Timestamp::now().as_second() + seconds;
        let plain =
            serde_json::to_vec(&Sealed { to, until }).map_err(|e| Fault::internal(&e.into()))?;
        let mac = blake3::keyed_hash(self.key()?, &plain);
        Ok(format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(&plain),
            BASE64URL_NOPAD.encode(mac.as_bytes())
        ))
    }

    /// What a link permits.
    ///
    /// # Errors
    /// Not found: it was not made here, or its time is over. Which of them is not told.
    pub fn unseal(&self, link: &str) -> Result<To> {
        let open = || -> Option<To> {
            let (plain, mac) = link.get(..link.len().min(LONGEST))?.split_once('.')?;
            let plain = BASE64URL_NOPAD.decode(plain.as_bytes()).ok()?;
            let mac: [u8; 32] = BASE64URL_NOPAD
                .decode(mac.as_bytes())
                .ok()?
                .try_into()
                .ok()?;
            // blake3::Hash compares in constant time
            if blake3::keyed_hash(self.key.as_ref().ok()?, &plain) != blake3::Hash::from_bytes(mac)
            {
                return None;
            }
            let sealed: Sealed = serde_json::from_slice(&plain).ok()?;
            (sealed.until >= jiff::Timestamp::now().as_second()).then_some(sealed.to)
        };
        open().ok_or_else(|| {
            Fault::new(
                StatusCode::NOT_FOUND,
                "This link is not valid any more; ask for a new one.",
            )
        })
    }
}

fn key(path: &Path) -> anyhow::Result<[u8; 32]> {
    if let Ok(bytes) = fs::read(path)
        && let Ok(key) = <[u8; 32]>::try_from(bytes)
    {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
    let aside = path.with_extension("new");
    let _ = fs::remove_file(&aside);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut f| f.write_all(&key))
        .and_then(|()| fs::rename(&aside, path))
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_link_holds_until_its_time_is_over_and_no_other_does() {
        let dir = tempfile::tempdir().unwrap();
        let to = || To::Attach { dyno: DynoId(7) };
        let links = Links::open(dir.path());
        let good = links.seal(to(), 60).unwrap();
        assert_eq!(links.unseal(&good).unwrap(), to());
        // after a restart too
        assert_eq!(Links::open(dir.path()).unseal(&good).unwrap(), to());
        assert!(links.unseal(&links.seal(to(), -1).unwrap()).is_err());
        let other = tempfile::tempdir().unwrap();
        assert!(Links::open(other.path()).unseal(&good).is_err());
        let mode = fs::metadata(dir.path().join("links.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        for i in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert!(links.unseal(&forged).is_err(), "{i}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_link(s in ".{0,80}") {
            let links = Links { key: Ok([1; 32]) };
            prop_assert!(links.unseal(&s).is_err());
        }
    }
}
