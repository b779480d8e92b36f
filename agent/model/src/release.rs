//! Releases and builds: immutable records; "current" is one pointer in the app.

use crate::{
    AppId, BuildId, Micros, ProcessType, ReleaseId, health::AppJson, phase::Step, said::Said,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// The name of a slug: blake3 of its archive, 64 hex digits. Same content, same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SlugDigest(String);

impl SlugDigest {
    /// The digest as 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for SlugDigest {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        if s.len() == 64
            && s.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            Ok(SlugDigest(s.to_owned()))
        } else {
            Err(format!(
                "{:?} is no slug digest: expected 64 hex digits",
                s.chars().take(80).collect::<String>()
            ))
        }
    }
}
impl fmt::Display for SlugDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for SlugDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for SlugDigest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The immutable result of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slug {
    /// Content address of the archive.
    pub digest: SlugDigest,
    /// Bytes of the compressed archive.
    pub size: u64,
    /// Process types and their commands: the Procfile over the buildpack's defaults.
    pub process_types: BTreeMap<ProcessType, String>,
    /// What the last buildpack calls itself, such as "Python".
    pub buildpack: String,
    /// The buildpacks that made it, in order, as [`crate::app::App::buildpacks`] names them; the first build pins them.
    #[serde(default)]
    pub buildpacks: Vec<String>,
    /// The commit that was built, 40 hex digits; empty when the source was no commit.
    pub commit: String,
    /// What its `hokku.toml` says of requests.
    #[serde(default)]
    pub routing: Said,
    /// What its `app.json` says of its dynos.
    #[serde(default)]
    pub app_json: AppJson,
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseStatus {
    /// Being rolled out.
    Pending,
    /// It was promoted: it served, or serves.
    Succeeded,
    /// It was abandoned: it never served.
    Failed,
}

/// An immutable release. Its config vars are stored beside it, encrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// For the Platform API.
    pub id: ReleaseId,
    /// The app it belongs to.
    pub app: AppId,
    /// `v1`, `v2`, … without the `v`.
    pub version: u32,
    /// What runs; `None` for releases before the first build.
    pub slug: Option<Slug>,
    /// Why: "Deploy 1a2b3c4d", "Set FOO config vars", "Rollback to v3".
    pub description: String,
    /// Who, as e-mail or `root`.
    pub user: String,
    /// When.
    pub created_at: Micros,
    /// The one field that changes: pending → succeeded or failed.
    pub status: ReleaseStatus,
    /// What runs before anything switches to it, in order.
    #[serde(default)]
    pub phase: Vec<Step>,
    /// Why it was abandoned, in words for the pusher; empty otherwise.
    #[serde(default)]
    pub failure: String,
}

/// Where a build stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildStatus {
    /// Running or waiting.
    Pending,
    /// It made a slug.
    Succeeded,
    /// It made none.
    Failed,
}

/// One attempt to build a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// For the Platform API and the folder of its output.
    pub id: BuildId,
    /// The app it belongs to.
    pub app: AppId,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// Who pushed.
    pub user: String,
    /// Where it stands.
    pub status: BuildStatus,
    /// The release it became.
    #[serde(default)]
    pub release: Option<u32>,
    /// When it began to wait or run.
    pub created_at: Micros,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Micros>,
    /// The last lines of its output when it failed; config values are masked in it.
    #[serde(default)]
    pub failure: String,
}
