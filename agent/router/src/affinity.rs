//! Session affinity: the cookie by which a client comes back to its dyno.
//!
//! Its value is a keyed hash of the dyno's id, so it tells nothing about the dyno. The key lies in a file beside the
//! table's snapshot: cookies stay good over new tables and restarts of the router.

use crate::dyno::Dyno;
use crate::request::Fields;
use anyhow::Context;
use data_encoding::HEXLOWER;
use hokku_model::DynoId;
use http::HeaderValue;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The cookie's name.
const COOKIE: &str = "hokku-affinity";

/// What the values are made with.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Reads the key, or makes one (mode 0600). Where neither is possible, warns and takes one that ends with the router.
    pub fn load(file: &Path) -> Key {
        match stored(file) {
            Ok(key) => Key(key),
            Err(e) => {
                tracing::warn!(
                    "the key of the affinity cookies is not kept, clients may change dynos when the router restarts: {e:#}"
                );
                Key::fresh()
            }
        }
    }

    /// One of its own.
    pub fn fresh() -> Key {
        let mut key = [0; 32];
        if getrandom::fill(&mut key).is_err() {
            // no secret then, but two random words are still not to be guessed from outside
            let dice = crate::pick::Dice::new();
            key.chunks_mut(8)
                .for_each(|c| c.copy_from_slice(&dice.roll().to_be_bytes()));
        }
        Key(key)
    }
}

fn stored(file: &Path) -> anyhow::Result<[u8; 32]> {
    let name = file.display();
    let read = || match std::fs::read(file) {
        Ok(bytes) => {
            let key: Result<[u8; 32], _> = bytes.try_into();
            match key {
                Ok(key) => Ok(Some(key)),
                Err(_) => anyhow::bail!("{name} has not 32 bytes. Remove it"),
            }
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("reading {name}")),
    };
    if let Some(key) = read()? {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).context("the system gives no random bytes")?;
    static DRAFTS: AtomicU32 = AtomicU32::new(0);
    let draft = format!(
        "{}-{}.tmp",
        std::process::id(),
        DRAFTS.fetch_add(1, Relaxed)
    );
    let draft = file.with_extension(draft);
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut open = options.open(&draft)?;
        open.write_all(&key)?;
        open.sync_all()?;
        // never replaces the key that another router made meanwhile
        std::fs::hard_link(&draft, file)
    };
    let written = write();
    // what is left of a failed attempt is written over by the next
    let _ = std::fs::remove_file(&draft);
    match written {
        Ok(()) => Ok(key),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            read()?.with_context(|| format!("{name} came and went"))
        }
        Err(e) => Err(e).with_context(|| format!("writing {name}")),
    }
}

/// Stands for a dyno in the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag([u8; 16]);

impl Tag {
    /// The same for the same key and dyno.
    pub fn of(key: &Key, dyno: DynoId) -> Tag {
        let hash = blake3::keyed_hash(&key.0, &dyno.0.to_be_bytes());
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash.as_bytes()[..16]);
        Tag(tag)
    }
}

/// The dyno that a request's cookie asks for.
pub(crate) fn read(fields: &dyn Fields) -> Option<Tag> {
    let cookies = fields.get("cookie")?.split(|b| *b == b';');
    let mut values = cookies.filter_map(|c| {
        c.trim_ascii()
            .strip_prefix(COOKIE.as_bytes())?
            .strip_prefix(b"=")
    });
    values.find_map(|value| {
        let mut tag = [0; 16];
        let fits = value.len() == 32 && HEXLOWER.decode_mut(value, &mut tag).is_ok();
        fits.then_some(Tag(tag))
    })
}

/// The `Set-Cookie` that brings a client back to this dyno. Wanted when the request went to another dyno than the one
/// that [`read`] found. `https`: the client used TLS.
pub(crate) fn cookie_for(dyno: &Dyno, https: bool) -> HeaderValue {
    let secure = if https { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax{secure}",
        HEXLOWER.encode(&dyno.tag.0)
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dyno::for_test;
    use http::HeaderMap;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn asked(cookie: &[u8]) -> Option<Tag> {
        let mut h = HeaderMap::new();
        h.insert("cookie", HeaderValue::from_bytes(cookie).unwrap());
        read(&h)
    }

    #[test]
    fn what_is_set_is_read() {
        let dyno = for_test(7);
        let set = cookie_for(&dyno, true);
        let set = set.to_str().unwrap();
        let (pair, rest) = set.split_once(';').unwrap();
        assert_eq!(rest, " Path=/; HttpOnly; SameSite=Lax; Secure");
        assert!(
            !cookie_for(&dyno, false)
                .to_str()
                .unwrap()
                .contains("Secure")
        );
        assert_eq!(asked(pair.as_bytes()), Some(dyno.tag));
        assert_eq!(asked(format!("a=b; {pair}; c").as_bytes()), Some(dyno.tag));
        assert_eq!(
            asked(format!("{COOKIE}=x; {pair}").as_bytes()),
            Some(dyno.tag)
        );
        assert_eq!(asked(format!("x{pair}").as_bytes()), None);
        assert_eq!(asked(format!("{pair}0").as_bytes()), None);
        assert_eq!(read(&HeaderMap::new()), None);
        assert!(!set.contains(&dyno.id.to_string()));
    }

    #[test]
    fn the_key_is_kept_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("affinity.key");
        let (a, b) = (Key::load(&file), Key::load(&file));
        assert_eq!(Tag::of(&a, DynoId(1)), Tag::of(&b, DynoId(1)));
        assert_ne!(Tag::of(&a, DynoId(1)), Tag::of(&a, DynoId(2)));
        assert_ne!(Tag::of(&a, DynoId(1)), Tag::of(&Key::fresh(), DynoId(1)));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        // unusable: goes on with another
        std::fs::write(&file, b"short").unwrap();
        assert_ne!(
            Tag::of(&Key::load(&file), DynoId(1)),
            Tag::of(&a, DynoId(1))
        );
        Key::load(&dir.path().join("missing/affinity.key"));
    }

    #[test]
    fn routers_that_start_together_agree() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("affinity.key");
        let keys: Vec<_> = std::thread::scope(|s| {
            let all: Vec<_> = (0..8).map(|_| s.spawn(|| stored(&file))).collect();
            all.into_iter()
                .map(|t| t.join().unwrap().unwrap())
                .collect()
        });
        assert_eq!(keys, [stored(&file).unwrap(); 8]);
    }

    proptest! {
        #[test]
        fn any_cookie_is_read_or_not(cookie in "[ -~]{0,80}") {
            _ = asked(cookie.as_bytes());
            _ = asked(format!("{COOKIE}={cookie}").as_bytes());
        }
    }
}
