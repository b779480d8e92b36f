//! Stored logins: `~/.config/hokku/config.toml`, readable by its owner only.
//!
//! ```toml
//! default = "hokku.example.com"
//!
//! [profiles."hokku.example.com"]
//! url = "https://hokku.example.com"
//! token = "…"
//! ```

use crate::fail::{Fail, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use url::Url;

/// More than any honest file of logins, in bytes.
const LARGEST: u64 = 1 << 20;

/// One login.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Where the API is.
    pub url: String,
    /// The secret; absent after a logout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Document {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// All logins of this person.
#[derive(Debug)]
pub struct Profiles {
    path: PathBuf,
    document: Document,
}

/// The part of a URL that says which server it is: scheme, host and port.
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// What a profile is called when nobody names it: the host, with the port when there is one.
pub fn name_for(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.to_string(),
    }
}

/// `$XDG_CONFIG_HOME/hokku/config.toml`, else `~/.config/hokku/config.toml`; `None` without a home.
pub fn default_path() -> Option<PathBuf> {
    let dir = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let base = dir("XDG_CONFIG_HOME").or_else(|| dir("HOME").map(|h| h.join(".config")))?;
    Some(base.join("hokku/config.toml"))
}

impl Profiles {
    /// Reads the file at `path`; a file that is not there holds no logins.
    ///
    /// # Errors
    /// The file can't be read, is larger than a megabyte or is no such TOML.
    pub fn load(path: PathBuf) -> Result<Profiles> {
        let shown = path.display().to_string();
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Profiles {
                    path,
                    document: Document::default(),
                });
            }
            Err(e) => {
                return Err(Fail::new(format!(
                    "The logins in {shown} can't be read: {e}."
                )));
            }
        };
        if meta.len() > LARGEST {
            return Err(Fail::new(format!(
                "{shown} is too large to be a file of logins. Move it away and log in again."
            )));
        }
        if meta.mode() & 0o077 != 0 {
            crate::output::warning(&format!(
                "{shown} holds tokens and others can read it. Run: chmod 600 {shown}"
            ));
        }
        let text = fs::read_to_string(&path)
            .map_err(|e| Fail::new(format!("The logins in {shown} can't be read: {e}.")))?;
        // The parser's own message may quote the line, which may hold a token.
        let document = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |s| {
                text[..s.start.min(text.len())].matches('\n').count() + 1
            });
            Fail::new(format!(
                "{shown} is damaged at line {line}. Mend it, or remove it and log in again."
            ))
        })?;
        Ok(Profiles { path, document })
    }

    /// Writes the file anew, mode 0600, in one step: a crash leaves the old one.
    ///
    /// # Errors
    /// The folder or the file can't be written.
    pub fn save(&self) -> Result<()> {
        let shown = self.path.display();
        let fail = |e: io::Error| Fail::new(format!("The login can't be stored in {shown}: {e}."));
        let text = toml::to_string(&self.document)
            .map_err(|e| Fail::new(format!("The login can't be stored: {e}.")))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(fail)?;
        let fresh = self
            .path
            .with_extension(format!("toml.{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()))
            .and_then(|()| fs::rename(&fresh, &self.path));
        written.map_err(|e| {
            let _ = fs::remove_file(&fresh);
            fail(e)
        })
    }

    /// Where the logins are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The login of that name.
    pub fn named(&self, name: &str) -> Option<&Profile> {
        self.document.profiles.get(name)
    }

    /// The login used when nothing else says which, with its name: the one marked so, the one called `default`, or the only one.
    pub fn default(&self) -> Option<(&str, &Profile)> {
        let all = &self.document.profiles;
        let marked = self
            .document
            .default
            .as_deref()
            .and_then(|n| all.get_key_value(n));
        marked
            .or_else(|| all.get_key_value("default"))
            .or_else(|| all.iter().next().filter(|_| all.len() == 1))
            .map(|(n, p)| (n.as_str(), p))
    }

    /// A login for that server, given as an origin such as `https://hokku.example.com:8443`.
    pub fn at_origin(&self, wanted: &str) -> Option<&Profile> {
        let matches = |p: &&Profile| p.url.parse::<Url>().is_ok_and(|u| origin(&u) == wanted);
        let all = || self.document.profiles.values().filter(matches);
        all().find(|p| p.token.is_some()).or_else(|| all().next())
    }

    /// A login for that host name, on any port.
    pub fn at_host(&self, host: &str) -> Option<&Profile> {
        self.document.profiles.values().find(|p| {
            p.url
                .parse::<Url>()
                .is_ok_and(|u| u.host_str() == Some(host))
        })
    }

    /// Keeps a login. The first one becomes the default, as does one added with `default`.
    pub fn put(&mut self, name: &str, profile: Profile, default: bool) {
        if default || self.default().is_none() {
            self.document.default = Some(name.to_owned());
        }
        self.document.profiles.insert(name.to_owned(), profile);
    }

    /// Forgets every login at that origin; true when there was one.
    pub fn remove(&mut self, wanted: &str) -> bool {
        let before = self.document.profiles.len();
        self.document
            .profiles
            .retain(|_, p| !p.url.parse::<Url>().is_ok_and(|u| origin(&u) == wanted));
        if let Some(name) = &self.document.default
            && !self.document.profiles.contains_key(name)
        {
            self.document.default = None;
        }
        before != self.document.profiles.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn at(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("hokku/config.toml")
    }

    fn profile(url: &str) -> Profile {
        Profile {
            url: url.into(),
            token: Some("t0p-secret".into()),
        }
    }

    #[test]
    fn kept_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = Profiles::load(at(&dir)).unwrap();
        assert!(all.default().is_none());
        all.put("a:5000", profile("http://a:5000"), false);
        all.put("b", profile("https://b"), false);
        all.save().unwrap();
        all.save().unwrap();
        assert_eq!(
            fs::metadata(at(&dir)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::metadata(dir.path().join("hokku"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
        assert_eq!(fs::read_dir(dir.path().join("hokku")).unwrap().count(), 1);

        let mut again = Profiles::load(at(&dir)).unwrap();
        assert_eq!(again.default().unwrap().0, "a:5000");
        assert_eq!(again.at_origin("https://b").unwrap().url, "https://b");
        assert!(again.at_origin("http://b").is_none());
        assert_eq!(again.at_host("a").unwrap().url, "http://a:5000");
        assert!(again.remove("http://a:5000") && !again.remove("http://a:5000"));
        assert_eq!(again.default().unwrap().0, "b", "the only one left");
    }

    #[test]
    fn damage_is_told_without_showing_the_token() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("hokku")).unwrap();
        fs::write(at(&dir), "[profiles.a]\nurl = 'x'\ntoken = t0p-secret\n").unwrap();
        fs::set_permissions(at(&dir), fs::Permissions::from_mode(0o600)).unwrap();
        let said = Profiles::load(at(&dir)).unwrap_err().text;
        assert!(said.contains("line 3") && !said.contains("t0p"), "{said}");
        assert!(!format!("{:?}", profile("http://a")).contains("t0p"));
    }

    #[test]
    fn names() {
        assert_eq!(
            name_for(&"https://h.example/".parse().unwrap()),
            "h.example"
        );
        assert_eq!(
            name_for(&"http://127.0.0.1:5000".parse().unwrap()),
            "127.0.0.1:5000"
        );
    }
}
