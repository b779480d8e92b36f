//! What the makers of Go, OpenJDK and Rust offer, with checksums. Python and Node are in `fetch`.

use super::{fetch::curl, kind::three};
use hokku_buildpacks::{
    runtime::{Candidate, Origin},
    version::Range,
};
use serde::Deserialize;

fn base(var: &str, default: &str) -> String {
    std::env::var(var)
        .unwrap_or_else(|_| default.into())
        .trim_end_matches('/')
        .to_owned()
}

fn json<T: serde::de::DeserializeOwned>(url: &str) -> Result<T, String> {
    serde_json::from_slice(&curl(url, None)?).map_err(|e| format!("{url}: {e}"))
}

#[derive(Deserialize)]
struct GoRelease {
    version: String,
    files: Vec<GoFile>,
}

#[derive(Deserialize)]
struct GoFile {
    filename: String,
    os: String,
    arch: String,
    sha256: String,
    kind: String,
}

/// All stable releases (go.dev, "?mode=json&include=all").
pub fn go() -> Result<Vec<Candidate>, String> {
    let base = base("HOKKU_GO_DIST", "https://go.dev/dl");
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let all: Vec<GoRelease> = json(&format!("{base}/?mode=json&include=all"))?;
    Ok(all
        .into_iter()
        .filter_map(|r| {
            let text = r.version.strip_prefix("go")?.to_owned();
            // betas and candidates
            if text.contains(|c: char| c.is_ascii_alphabetic()) {
                return None;
            }
            let f = r
                .files
                .into_iter()
                .find(|f| f.os == "linux" && f.arch == arch && f.kind == "archive")?;
            Some(Candidate {
                version: three(false, &text).parse().ok()?,
                origin: Origin::Upstream {
                    url: format!("{base}/{}", f.filename),
                    sha256: f.sha256.to_ascii_lowercase(),
                    lts: false,
                },
            })
        })
        .collect())
}

#[derive(Deserialize)]
struct Asset {
    binary: Binary,
    version: AssetVersion,
}

#[derive(Deserialize)]
struct Binary {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    link: String,
    checksum: String,
}

#[derive(Deserialize)]
struct AssetVersion {
    major: u32,
    minor: u32,
    security: u32,
}

/// The newest Temurin of the wanted major version (Adoptium API v3, "assets/latest").
pub fn java(range: &Range) -> Result<Vec<Candidate>, String> {
    let base = base("HOKKU_JDK_DIST", "https://api.adoptium.net/v3");
    let arch = match std::env::consts::ARCH {
        "aarch64" => "aarch64",
        _ => "x64",
    };
    // with no wish, the newest with long-term support
    let major = match range.low().0 {
        0 => 25,
        m => m,
    };
    let all: Vec<Asset> = json(&format!(
        "{base}/assets/latest/{major}/hotspot?architecture={arch}&image_type=jdk&os=linux&vendor=eclipse"
    ))?;
    Ok(all
        .into_iter()
        .map(|a| Candidate {
            version: hokku_buildpacks::version::Version(
                a.version.major,
                a.version.minor,
                a.version.security,
            ),
            origin: Origin::Upstream {
                url: a.binary.package.link,
                sha256: a.binary.package.checksum.to_ascii_lowercase(),
                lts: false,
            },
        })
        .collect())
}

/// The release that is asked for, or the current stable one, from the channel's manifest.
pub fn rust(range: &Range) -> Result<Vec<Candidate>, String> {
    let base = base("HOKKU_RUST_DIST", "https://static.rust-lang.org/dist");
    let low = range.low();
    let channel = match (range.is_wide(), low.2) {
        (true, _) => "stable".to_owned(),
        (false, 0) => format!("{}.{}", low.0, low.1),
        _ => low.to_string(),
    };
    let url = format!("{base}/channel-rust-{channel}.toml");
    let text = String::from_utf8_lossy(&curl(&url, None)?).into_owned();
    let manifest: toml::Table = text.parse().map_err(|e| format!("{url}: {e}"))?;
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let find = || {
        let rust = manifest.get("pkg")?.get("rust")?;
        let file = rust.get("target")?.get(&target)?;
        let version = rust.get("version")?.as_str()?.split(' ').next()?;
        Some(Candidate {
            version: three(false, version).parse().ok()?,
            origin: Origin::Upstream {
                url: file.get("xz_url")?.as_str()?.to_owned(),
                sha256: file.get("xz_hash")?.as_str()?.to_ascii_lowercase(),
                lts: false,
            },
        })
    };
    find()
        .map(|c| vec![c])
        .ok_or_else(|| format!("{url} names no release for {target}"))
}
