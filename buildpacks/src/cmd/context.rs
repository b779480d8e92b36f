//! What a `compile` is given: three folders, the config vars, and the operator's environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// An app's author can mend this: the text says how.
#[derive(Debug)]
pub struct Mistake(pub String);

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Mistake {}

/// A failed step, in words for the author.
pub fn mistake<T>(text: impl Into<String>) -> anyhow::Result<T> {
    Err(Mistake(text.into()).into())
}

/// The folders of a build and what is set.
pub struct Context {
    /// BUILD_DIR
    pub build: PathBuf,
    /// CACHE_DIR
    pub cache: PathBuf,
    /// BUILD_DIR on the mount of CACHE_DIR, for hard links.
    pub link: PathBuf,
    /// Where `export` goes.
    pub own: Option<PathBuf>,
    /// Config vars, as bytes.
    pub config: BTreeMap<String, OsString>,
}

impl Context {
    /// Reads the config vars from their files.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn new(build: &Path, cache: &Path, env: &Path) -> anyhow::Result<Context> {
        use anyhow::Context as _;
        let mut config = BTreeMap::new();
        if env.is_dir() {
            for entry in fs::read_dir(env)
                .with_context(|| format!("can't read ENV_DIR {}", env.display()))?
            {
                let entry = entry?;
                if let (Ok(name), true) = (entry.file_name().into_string(), entry.path().is_file())
                {
                    config.insert(name, OsString::from_vec(fs::read(entry.path())?));
                }
            }
        }
        fs::create_dir_all(cache)
            .with_context(|| format!("can't make CACHE_DIR {}", cache.display()))?;
        Ok(Context {
            build: build.to_owned(),
            cache: cache.to_owned(),
            link: std::env::var_os("HOKKU_LINK_DIR")
                .filter(|d| Path::new(d).is_dir())
                .map_or(build.into(), PathBuf::from),
            own: std::env::var_os("HOKKU_BUILDPACK_DIR").map(PathBuf::from),
            config,
        })
    }

    /// A config var as text.
    pub fn config(&self, name: &str) -> Option<&str> {
        self.config.get(name).and_then(|v| v.to_str())
    }

    /// A config var, or the operator's setting of that name.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.config(name)
            .map(String::from)
            .or_else(|| std::env::var(name).ok())
    }

    /// Is a switch on?
    pub fn on(&self, name: &str) -> bool {
        self.setting(name)
            .is_some_and(|v| !matches!(v.as_str(), "" | "0" | "false"))
    }

    /// Config vars that are text, over the operator's environment: what plans look at.
    pub fn all(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        all.extend(
            self.config
                .iter()
                .filter_map(|(k, v)| Some((k.clone(), v.to_str()?.to_owned()))),
        );
        all
    }

    /// Config vars without those that would break the build itself.
    pub fn exported(&self, denied: &[&str]) -> impl Iterator<Item = (&String, &OsString)> {
        self.config
            .iter()
            .filter(move |(k, _)| !denied.contains(&k.as_str()))
    }

    /// Must what is installed be its own copy, because other programs will write there?
    pub fn copies(&self) -> bool {
        std::env::var_os("HOKKU_LAYERS").is_some_and(|v| v == "copy")
    }

    /// Writes `.profile.d/<name>` and, where there is a place for it, `export`.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_profile(&self, name: &str, profile: &str, export: &str) -> anyhow::Result<()> {
        let dir = self.build.join(".profile.d");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(name), profile)?;
        if let Some(own) = &self.own {
            fs::write(own.join("export"), export)?;
        }
        Ok(())
    }
}

/// Never exported to a Python build.
pub const PYTHON_DENIED: &[&str] = &[
    "PATH",
    "CPATH",
    "CPPATH",
    "LD_PRELOAD",
    "LIBRARY_PATH",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
];
/// Never exported to a Node build.
pub const NODE_DENIED: &[&str] = &[
    "PATH",
    "GIT_DIR",
    "CPATH",
    "CPPATH",
    "LD_PRELOAD",
    "LIBRARY_PATH",
    "LANG",
    "BUILD_DIR",
];
