//! The words between the agent and `hokku-buildpack drive`, as JSON files.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// What to build, and where. Config vars are not in it: they are files in `env_dir`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The source, writable; becomes the slug. `/app` wherever there are namespaces.
    pub build_dir: PathBuf,
    /// Kept between builds, when this one succeeds.
    pub cache_dir: PathBuf,
    /// One file per config var, exact bytes.
    pub env_dir: PathBuf,
    /// Writable and thrown away: copies of third-party buildpacks, downloads.
    pub scratch: PathBuf,
    /// `build_dir` by another path that is on one mount with `cache_dir`: hard links don't cross mounts.
    #[serde(default)]
    pub link_dir: Option<PathBuf>,
    /// Chosen or pinned buildpacks, in order; none: detect.
    #[serde(default)]
    pub buildpacks: Vec<String>,
    /// The operator's names of buildpacks, with their addresses or folders.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// The operator's build environment: proxies, CA bundles, index addresses.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `heroku-22`, …
    pub stack: String,
    /// Unique per build.
    pub request_id: String,
    /// The commit.
    pub source_version: String,
    /// A folder or address with runtimes.
    #[serde(default)]
    pub runtime_mirror: Option<String>,
    /// Take the nearest runtime where the wanted one can't be had, for all apps.
    #[serde(default)]
    pub runtime_nearest: bool,
    /// Where the [`Outcome`] goes.
    pub result: PathBuf,
}

/// How it went. Written by the build's own user, so the reader trusts nothing in it but the shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What to pin: the buildpacks that were used.
    pub buildpacks: Vec<String>,
    /// What the last buildpack's `detect` printed; empty when none was found.
    pub language: String,
    /// `default_process_types` of the last buildpack.
    pub default_types: BTreeMap<String, String>,
    /// The bytes of the Procfile after the build, if there is one.
    pub procfile: Option<Vec<u8>>,
    /// Microseconds per phase, in order.
    pub timings: Vec<(String, u64)>,
    /// What went wrong; `None` when the build succeeded.
    pub failure: Option<Failure>,
}

/// Why there is no slug.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// No buildpack fits, or one that was chosen says no.
    Undetected {
        /// Says which and why.
        message: String,
    },
    /// `compile` or `release` failed.
    Compile {
        /// Exit status, 128 plus the signal if there was one.
        status: i32,
    },
    /// A buildpack could not be had or started.
    Buildpack {
        /// Says which and why.
        message: String,
    },
}
