//! Runtimes: what this machine has, then the operator's mirror, then the makers', with checksums.

use super::{
    context::{Context, mistake},
    out, upstream,
};
use anyhow::{Context as _, bail};
use hokku_buildpacks::{
    runtime::{self, Candidate, Origin, Request},
    tree,
    version::{Range, Version},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

pub use super::kind::Kind;

/// A runtime that is here.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Exact version.
    pub version: Version,
    /// The program on this machine, or the unpacked folder (with `bin/`).
    pub at: At,
    /// Tells this very runtime from any other, for cache keys.
    pub identity: String,
}

/// Where a runtime is.
#[derive(Clone, Debug)]
pub enum At {
    /// Installed on the machine: its program.
    Host(PathBuf),
    /// Unpacked in the cache: its folder.
    Folder(PathBuf),
}

/// What was learnt of programs, so that they need not be started in each build.
#[derive(Default, Serialize, Deserialize)]
struct Probes(BTreeMap<String, (String, String)>);

/// Folders where packages of the system, and operators, install programs. Homes are not among them: what lies there
/// belongs to a person and is not visible to apps.
const HOST_DIRS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

fn host(kind: Kind, c: &Context) -> Vec<Candidate> {
    let file = c.cache.join("probes.json");
    let mut probes: Probes = fs::read(&file)
        .ok()
        .and_then(|b| serde_json::from_slice(&b).ok())
        .unwrap_or_default();
    let (mut found, mut changed, mut seen) = (vec![], false, vec![]);
    let dirs: Vec<PathBuf> = match std::env::var_os("HOKKU_HOST_RUNTIMES") {
        Some(d) => std::env::split_paths(&d).collect(),
        None => HOST_DIRS
            .iter()
            .map(PathBuf::from)
            .chain(kind.more_dirs())
            .collect(),
    };
    for dir in dirs {
        for program in kind.programs(&dir) {
            let Ok(real) = program.canonicalize() else {
                continue;
            };
            if real.starts_with("/home") || real.starts_with("/root") || seen.contains(&real) {
                continue;
            }
            let Ok(meta) = fs::metadata(&real) else {
                continue;
            };
            let stamp = format!("{}:{}:{}", meta.len(), meta.mtime(), meta.mtime_nsec());
            let known = probes
                .0
                .get(&*real.to_string_lossy())
                .filter(|(s, _)| *s == stamp)
                .map(|(_, v)| v.clone());
            let text = match known {
                Some(v) => v,
                None => {
                    let v = kind.probe(&real).unwrap_or_default();
                    probes
                        .0
                        .insert(real.to_string_lossy().into_owned(), (stamp, v.clone()));
                    changed = true;
                    v
                }
            };
            if let Ok(version) = text.parse() {
                found.push(Candidate {
                    version,
                    origin: Origin::Host(real.clone()),
                });
            }
            seen.push(real);
        }
    }
    if changed && let Ok(json) = serde_json::to_vec(&probes) {
        // a lost note is only slower
        let _ = fs::write(&file, json);
    }
    found
}

fn arch() -> (&'static str, &'static [&'static str]) {
    match std::env::consts::ARCH {
        "aarch64" => ("arm64", &["arm64", "aarch64"]),
        _ => ("x64", &["amd64", "x86_64", "x64"]),
    }
}

fn is_url(s: &str) -> bool {
    s.contains("://")
}

/// Gets a file by curl; the text of an error says why it can't be had.
pub(super) fn curl(url: &str, to: Option<&Path>) -> Result<Vec<u8>, String> {
    let limit = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let mut c = Command::new("curl");
    c.args(["--fail", "--silent", "--show-error", "--location"]);
    c.args([
        "--connect-timeout",
        &limit("CURL_CONNECT_TIMEOUT", "30"),
        "--max-time",
        &limit("CURL_TIMEOUT", "180"),
    ]);
    if let Some(to) = to {
        c.arg("--output").arg(to);
    }
    let out = c
        .arg(url)
        .output()
        .map_err(|e| format!("curl can't be started: {e}"))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        let first = text.lines().next().unwrap_or("it failed without a word");
        Err(first.trim_start_matches("curl: ").to_owned())
    }
}

/// Lines of a checksum file: 64 hex digits, blanks, a file name.
fn checksums(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|l| {
        let (sum, name) = l.split_once(char::is_whitespace)?;
        let name = name.trim().trim_start_matches('*');
        (sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit())).then_some((sum, name))
    })
}

fn mirror(kind: Kind, at: &str) -> Result<Vec<Candidate>, String> {
    let text = if is_url(at) {
        String::from_utf8_lossy(&curl(
            &format!("{}/SHA256SUMS", at.trim_end_matches('/')),
            None,
        )?)
        .into_owned()
    } else {
        fs::read_to_string(Path::new(at).join("SHA256SUMS"))
            .map_err(|e| format!("{at}/SHA256SUMS: {e}"))?
    };
    Ok(checksums(&text)
        .filter_map(|(sum, name)| {
            let stem = [".tar.gz", ".tar.zst", ".tar.xz"]
                .iter()
                .find_map(|e| name.strip_suffix(e))?;
            let rest = stem.strip_prefix(kind.file_name())?.strip_prefix('-')?;
            let (version, arch_name) = rest.split_once('-')?;
            if name.contains('/') || !arch().1.contains(&arch_name) {
                return None;
            }
            Some(Candidate {
                version: version.parse().ok()?,
                origin: Origin::Mirror {
                    file: name.into(),
                    sha256: sum.to_ascii_lowercase(),
                },
            })
        })
        .collect())
}

fn makers(kind: Kind, range: &Range) -> Result<Vec<Candidate>, String> {
    let base = |var: &str, default: &str| {
        std::env::var(var)
            .unwrap_or_else(|_| default.into())
            .trim_end_matches('/')
            .to_owned()
    };
    match kind {
        Kind::Go => upstream::go(),
        Kind::Java => upstream::java(range),
        Kind::Rust => upstream::rust(range),
        Kind::Ruby | Kind::Php => Ok(vec![]),
        Kind::Node => {
            let base = base("HOKKU_NODE_DIST", "https://nodejs.org/dist");
            let index = curl(&format!("{base}/index.json"), None)?;
            let list: Vec<NodeIndex> =
                serde_json::from_slice(&index).map_err(|e| format!("{base}/index.json: {e}"))?;
            let mut all: Vec<Candidate> = list
                .into_iter()
                .filter_map(|n| {
                    let version: Version = n.version.parse().ok()?;
                    let lts = n.lts.as_str().is_some();
                    Some(Candidate {
                        version,
                        origin: Origin::Upstream {
                            url: format!("{base}/v{version}"),
                            sha256: String::new(),
                            lts,
                        },
                    })
                })
                .collect();
            // the checksum is in a file per version: ask for the one that will be taken
            if let Some(best) = runtime::best(range, &all).map(|c| c.version) {
                let name = format!("node-v{best}-linux-{}.tar.xz", arch().0);
                let sums = curl(&format!("{base}/v{best}/SHASUMS256.txt"), None)?;
                let text = String::from_utf8_lossy(&sums).into_owned();
                let sum = checksums(&text)
                    .find(|(_, n)| *n == name)
                    .map(|(s, _)| s.to_owned());
                let sum = sum.ok_or_else(|| format!("{base} has no {name}"))?;
                for c in all.iter_mut().filter(|c| c.version == best) {
                    if let Origin::Upstream { url, sha256, .. } = &mut c.origin {
                        *url = format!("{base}/v{best}/{name}");
                        *sha256 = sum.clone();
                    }
                }
            }
            Ok(all)
        }
        Kind::Python => {
            let base = base(
                "HOKKU_PYTHON_DIST",
                "https://github.com/astral-sh/python-build-standalone/releases/latest/download",
            );
            let sums = curl(&format!("{base}/SHA256SUMS"), None)?;
            let machine = std::env::consts::ARCH;
            let text = String::from_utf8_lossy(&sums).into_owned();
            let tail = format!("-{machine}-unknown-linux-gnu-install_only_stripped.tar.gz");
            Ok(checksums(&text)
                .filter_map(|(sum, name)| {
                    let version = name
                        .strip_prefix("cpython-")?
                        .strip_suffix(&tail)?
                        .split('+')
                        .next()?
                        .parse()
                        .ok()?;
                    Some(Candidate {
                        version,
                        origin: Origin::Upstream {
                            url: format!("{base}/{name}"),
                            sha256: sum.to_ascii_lowercase(),
                            lts: false,
                        },
                    })
                })
                .collect())
        }
    }
}

#[derive(Deserialize)]
struct NodeIndex {
    version: String,
    #[serde(default)]
    lts: serde_json::Value,
}

/// Finds a runtime for the request and brings it here.
///
/// # Errors
/// None fits, naming what does; or the one that fits can't be fetched or has the wrong checksum.
pub fn find(kind: Kind, request: &Request, c: &Context) -> anyhow::Result<Runtime> {
    let mut have = host(kind, c);
    if let Some(best) = runtime::best(&request.range, &have) {
        return bring(kind, best, c);
    }
    let mut notes = vec![];
    if let Some(at) = std::env::var("HOKKU_RUNTIME_MIRROR")
        .ok()
        .filter(|m| !m.is_empty())
    {
        match mirror(kind, &at) {
            Ok(list) => {
                if let Some(best) = runtime::best(&request.range, &list) {
                    return bring(kind, best, c);
                }
                have.extend(list);
            }
            Err(e) => notes.push(format!("The runtime mirror can't be read: {e}.")),
        }
    }
    let Some(name) = kind.makers() else {
        return nearest_or_not(kind, request, &have, &notes, c);
    };
    // the nearest of what is at hand is asked for exactly so that nothing is downloaded
    match makers(kind, &request.range) {
        Ok(list) => {
            if let Some(best) = runtime::best(&request.range, &list) {
                return bring(kind, best, c);
            }
            if have.is_empty() {
                have.extend(list);
                notes.push(format!("{name} does not have it either."));
            } else {
                let newest = list.iter().map(|c| c.version).max();
                notes.push(format!(
                    "{name} does not have it either{}.",
                    newest
                        .map(|v| format!("; the newest there is {v}"))
                        .unwrap_or_default()
                ));
            }
        }
        Err(e) => notes.push(format!("{name} can't be asked: {e}.")),
    }
    nearest_or_not(kind, request, &have, &notes, c)
}

/// The same, of what is on this machine or in the mirror only.
///
/// # Errors
/// None fits, or the one that fits can't be fetched.
pub fn find_here(kind: Kind, request: &Request, c: &Context) -> anyhow::Result<Runtime> {
    let mut have = host(kind, c);
    if let Ok(at) = std::env::var("HOKKU_RUNTIME_MIRROR") {
        have.extend(mirror(kind, &at).unwrap_or_default());
    }
    match runtime::best(&request.range, &have) {
        Some(best) => bring(kind, best, c),
        None => mistake(runtime::unavailable(kind.label(), request, &have, "")),
    }
}

fn nearest_or_not(
    kind: Kind,
    request: &Request,
    have: &[Candidate],
    notes: &[String],
    c: &Context,
) -> anyhow::Result<Runtime> {
    if c.on("HOKKU_RUNTIME_NEAREST")
        && let Some(near) = runtime::nearest(&request.range, have)
        && !matches!(&near.origin, Origin::Upstream { sha256, .. } if sha256.is_empty())
    {
        out::warning(&format!(
            "{} {} can't be had here; {} is used, because HOKKU_RUNTIME_NEAREST is set.",
            kind.label(),
            request.text,
            near.version
        ));
        return bring(kind, near, c);
    }
    mistake(runtime::unavailable(
        kind.label(),
        request,
        have,
        &notes.join("\n"),
    ))
}

fn bring(kind: Kind, found: &Candidate, c: &Context) -> anyhow::Result<Runtime> {
    let version = found.version;
    let (file, sha256) = match &found.origin {
        Origin::Host(program) => {
            let identity = format!("{} {version} {}", program.display(), std::env::consts::ARCH);
            return Ok(Runtime {
                version,
                at: At::Host(program.clone()),
                identity,
            });
        }
        Origin::Mirror { file, sha256 } => (file.clone(), sha256.clone()),
        Origin::Upstream { url, sha256, .. } => (url.clone(), sha256.clone()),
    };
    let dir =
        c.cache
            .join("runtimes")
            .join(format!("{}-{version}-{}", kind.file_name(), &sha256[..16]));
    let runtime = Runtime {
        version,
        at: At::Folder(dir.clone()),
        identity: format!("{} {version} {sha256}", kind.file_name()),
    };
    if dir.join("bin").is_dir() {
        return Ok(runtime);
    }
    out::step(&format!("Downloading {} {version}", kind.label()));
    let parent = c.cache.join("runtimes");
    fs::create_dir_all(&parent)?;
    let (archive, tmp) = (parent.join("download"), parent.join("tmp"));
    tree::remove(&tmp)?;
    let url = match std::env::var("HOKKU_RUNTIME_MIRROR") {
        Ok(m) if matches!(found.origin, Origin::Mirror { .. }) => {
            format!("{}/{file}", m.trim_end_matches('/'))
        }
        _ => file,
    };
    if is_url(&url) {
        if let Err(e) = curl(&url, Some(&archive)) {
            return mistake(format!(
                "{url} can't be downloaded: {e}.\n\nTry again; nothing was changed."
            ));
        }
    } else {
        fs::copy(&url, &archive)
            .with_context(|| format!("can't read {url} of the runtime mirror"))?;
    }
    let sum = sha256_of(&archive)?;
    if sum != sha256 {
        tree::remove(&archive)?;
        return mistake(format!(
            "{url} has the SHA-256 {sum}, but {sha256} was announced.\n\nIt is damaged or was tampered with, and is not used."
        ));
    }
    fs::create_dir_all(&tmp)?;
    let status = Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .args(["--strip-components=1", "--no-same-owner", "-C"])
        .arg(&tmp)
        .status()?;
    tree::remove(&archive)?;
    if status.success() && kind == Kind::Rust && tmp.join("components").is_file() {
        assemble(&tmp)?;
    }
    if !status.success() || !tmp.join("bin").is_dir() {
        bail!("{url} can't be unpacked, or holds no folder \"bin\"");
    }
    tree::remove(&dir)?;
    fs::rename(&tmp, &dir)?;
    drop_others(&parent, kind, &dir)?;
    Ok(runtime)
}

/// Rust's archives hold a folder for each component: those that a build needs become one tree.
fn assemble(dir: &Path) -> anyhow::Result<()> {
    let whole = dir.with_extension("whole");
    tree::remove(&whole)?;
    for name in fs::read_to_string(dir.join("components"))?.lines() {
        if name == "rustc" || name == "cargo" || name.starts_with("rust-std-") {
            tree::replicate(&dir.join(name), &whole, tree::How::Link)?;
        }
    }
    tree::remove(dir)?;
    fs::rename(&whole, dir)?;
    Ok(())
}

/// Keeps the newest two runtimes of a kind.
fn drop_others(parent: &Path, kind: Kind, keep: &Path) -> anyhow::Result<()> {
    let mut all: Vec<(SystemTime, PathBuf)> = vec![];
    for e in fs::read_dir(parent)?.flatten() {
        if e.file_name()
            .to_string_lossy()
            .starts_with(kind.file_name())
            && e.path() != keep
        {
            all.push((e.metadata()?.modified()?, e.path()));
        }
    }
    all.sort();
    for (_, p) in all.iter().rev().skip(1) {
        tree::remove(p)?;
    }
    Ok(())
}

fn sha256_of(file: &Path) -> anyhow::Result<String> {
    let mut f = fs::File::open(file)?;
    let (mut h, mut buf) = (Sha256::new(), vec![0; 128 * 1024]);
    loop {
        let n = f.read(&mut buf)?;
        if n == 0 {
            break;
        }
        h.update(&buf[..n]);
    }
    Ok(h.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
