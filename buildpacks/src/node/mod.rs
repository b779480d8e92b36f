//! Node.js: what an app needs, by Heroku's rules first.

use crate::{runtime::Request, source::Source, version::Range};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What installs the dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// package-lock.json, npm-shrinkwrap.json or none
    Npm,
    /// yarn.lock of yarn 1
    Yarn,
    /// yarn.lock of Yarn 2 and newer
    Berry,
    /// pnpm-lock.yaml
    Pnpm,
    /// bun.lock, bun.lockb
    Bun,
}

impl Manager {
    /// The command's name.
    pub fn name(self) -> &'static str {
        match self {
            Manager::Npm => "npm",
            Manager::Yarn | Manager::Berry => "yarn",
            Manager::Pnpm => "pnpm",
            Manager::Bun => "bun",
        }
    }
}

/// Scripts of the root package that package managers run around an install. They see the app's own source, so they run
/// in each build, while what is installed comes from the cache.
pub const LIFECYCLE_BEFORE: [&str; 1] = ["preinstall"];
/// The same, after the install.
pub const LIFECYCLE_AFTER: [&str; 6] = [
    "install",
    "postinstall",
    "prepublish",
    "preprepare",
    "prepare",
    "postprepare",
];

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Who installs.
    pub manager: Manager,
    /// Which version of it, as in `packageManager` or `engines`; `None` for the default.
    pub manager_version: Option<String>,
    /// Which Node.
    pub node: Request,
    /// The lock file.
    pub lock: Option<&'static str>,
    /// Texts that decide what gets installed, by name: the cache key.
    pub key: Vec<(String, Vec<u8>)>,
    /// May an install with the same key be skipped? Else why not.
    pub cacheable: Result<(), String>,
    /// Yarn's packages are in `.yarn/cache`, and there is no node_modules (Plug'n'Play).
    pub pnp: bool,
    /// Yarn's own program that the app brings (`yarnPath`).
    pub yarn_path: Option<String>,
    /// node_modules is in git.
    pub committed_modules: bool,
    /// Scripts to run, in order: before the install, after it, before and after pruning.
    pub scripts: Scripts,
    /// Are there devDependencies?
    pub has_dev: bool,
    /// Are devDependencies to be installed for the build?
    pub install_dev: bool,
    /// Are they to be removed again?
    pub prune: bool,
    /// For the build's output.
    pub warnings: Vec<String>,
}

/// Names of scripts in package.json.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripts {
    /// Before the install.
    pub before: Vec<String>,
    /// After the install.
    pub after: Vec<String>,
    /// `heroku-postbuild`, else `build`, with its extra arguments.
    pub build: Option<(String, Vec<String>)>,
    /// `heroku-cleanup`, after pruning.
    pub cleanup: Option<String>,
}

impl Scripts {
    /// Does code of the app run after the install?
    pub fn any(&self) -> bool {
        !self.before.is_empty()
            || !self.after.is_empty()
            || self.build.is_some()
            || self.cleanup.is_some()
    }
}

/// Plans a build. `env` is what the build sees: the operator's environment and the config vars.
///
/// # Errors
/// Why the app can't be built, for its author.
pub fn plan(source: &Source, env: &BTreeMap<String, String>) -> Result<Plan, String> {
    let text = source.text("package.json").unwrap_or_default();
    let package: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|e| format!("package.json is not valid JSON: {e}."))?;
    if !package.is_object() {
        return Err("package.json is not valid: it must hold one object, {…}.".into());
    }
    if source.has(".heroku/node") {
        return Err("The folder .heroku/node is committed to the app's git repository.\n\n\
             It is where the build puts Node itself; remove it:\n    git rm -r --cached .heroku/node"
            .into());
    }
    let mut warnings = vec![];
    let (mut manager, lock) = manager(source)?;
    let mut manager_version = manager_version(&package, manager, &mut warnings)?;
    if manager == Manager::Pnpm && manager_version.is_none() {
        let (major, why) = pnpm_of(&source.text("pnpm-lock.yaml").unwrap_or_default());
        warnings.push(format!(
            "package.json names no version of pnpm (packageManager); {major} is used, {why}."
        ));
        manager_version = Some(major.into());
    }
    if manager == Manager::Yarn {
        let berry = source.has(".yarnrc.yml")
            || source
                .text("yarn.lock")
                .is_some_and(|l| l.contains("__metadata:"))
            || manager_version
                .as_deref()
                .is_some_and(|v| v.starts_with(|c: char| ('2'..='9').contains(&c)));
        if berry {
            manager = Manager::Berry;
        }
    }
    let (mut pnp, mut yarn_path) = (false, None);
    if manager == Manager::Berry {
        let rc = source.text(".yarnrc.yml").unwrap_or_default();
        let said = |key: &str| {
            rc.lines()
                .find_map(|l| l.strip_prefix(key)?.trim_start().strip_prefix(':'))
                .map(|v| v.trim().trim_matches(['"', '\'']).to_owned())
        };
        pnp = said("nodeLinker").is_none_or(|l| l == "pnp");
        yarn_path = said("yarnPath").filter(|p| !p.starts_with('/') && !p.contains(".."));
        if manager_version.is_none() && yarn_path.is_none() {
            let (version, why) = yarn_of(&source.text("yarn.lock").unwrap_or_default());
            warnings.push(format!(
                "package.json names no version of Yarn (packageManager); {version} is used, {why}."
            ));
            manager_version = Some(version.into());
        }
    }
    let node = node_request(source, &package, &mut warnings)?;
    let scripts = scripts(&package, env);
    let get = |k: &str| env.get(k).map(String::as_str);
    let node_env = get("NODE_ENV").unwrap_or("production");
    let production_set = ["NPM_CONFIG_PRODUCTION", "YARN_PRODUCTION"]
        .iter()
        .find_map(|k| get(k));
    let install_dev = production_set != Some("true");
    let skip_pruning = ["PNPM_SKIP_PRUNING", "YARN2_SKIP_PRUNING"]
        .iter()
        .any(|k| get(k) == Some("true"));
    let has_dev = package
        .get("devDependencies")
        .and_then(Value::as_object)
        .is_some_and(|d| !d.is_empty());
    let committed_modules = source.has("node_modules");
    if committed_modules {
        warnings.push("node_modules is committed to git: it is rebuilt, not cached. Better: git rm -r --cached node_modules".into());
    }
    if lock.is_none() && !committed_modules {
        warnings.push("There is no lock file: the versions of dependencies may change between builds. Commit package-lock.json.".into());
    }
    Ok(Plan {
        key: key(source, &package, lock, env),
        cacheable: if pnp {
            Err("Yarn keeps packages in .yarn/cache (Plug'n'Play)".into())
        } else {
            cacheable(&package, env, committed_modules)
        },
        pnp,
        yarn_path,
        prune: node_env == "production" && production_set.is_none() && !skip_pruning,
        manager,
        manager_version,
        node,
        lock,
        committed_modules,
        scripts,
        has_dev,
        install_dev,
        warnings,
    })
}

fn manager(source: &Source) -> Result<(Manager, Option<&'static str>), String> {
    let locks = [
        "npm-shrinkwrap.json",
        "package-lock.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "bun.lock",
        "bun.lockb",
    ];
    let found: Vec<&'static str> = locks.into_iter().filter(|l| source.has(l)).collect();
    match found[..] {
        [] => Ok((Manager::Npm, None)),
        [l @ "yarn.lock"] => Ok((Manager::Yarn, Some(l))),
        [l @ "pnpm-lock.yaml"] => Ok((Manager::Pnpm, Some(l))),
        [l @ ("bun.lock" | "bun.lockb")] => Ok((Manager::Bun, Some(l))),
        // the text is what Bun reads when both are there
        ["bun.lock", "bun.lockb"] => Ok((Manager::Bun, Some("bun.lock"))),
        [l] => Ok((Manager::Npm, Some(l))),
        _ => Err(format!(
            "Build failed because there are several lock files: {}.\n\n\
             Each belongs to another package manager, and they may disagree. Keep the one that you use:\n{}",
            found.join(", "),
            found
                .iter()
                .map(|f| format!("    git rm {f}"))
                .collect::<Vec<_>>()
                .join("\n")
        )),
    }
}

/// Text that is safe to hand to a package manager as a version or range.
fn is_version(s: &str) -> bool {
    !s.is_empty()
        && s.len() < 60
        && s.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b" .^~<>=*|-+".contains(&b))
}

fn manager_version(
    package: &Value,
    manager: Manager,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, String> {
    if let Some(text) = package.get("packageManager").and_then(Value::as_str) {
        let (name, version) = text.split_once('@').unwrap_or((text, ""));
        let version = version.split('+').next().unwrap_or_default();
        if name == manager.name() {
            if !is_version(version) {
                return Err(format!(
                    "packageManager in package.json is {text:?}; expected something like \"{name}@1.2.3\"."
                ));
            }
            return Ok(Some(version.to_owned()));
        }
        warnings.push(format!(
            "packageManager says {text}, but the lock file is {}'s; {} is used.",
            manager.name(),
            manager.name()
        ));
    }
    match package
        .pointer(&format!("/engines/{}", manager.name()))
        .and_then(Value::as_str)
    {
        Some(v) if Range::npm(v).is_ok() => Ok(Some(v.to_owned())),
        Some(v) => Err(format!(
            "engines.{} in package.json is {v:?}, which is no version range.",
            manager.name()
        )),
        None => Ok(None),
    }
}

/// The pnpm that wrote such a lock file, and how one knows: another one may refuse it, or write it anew.
fn pnpm_of(lock: &str) -> (&'static str, &'static str) {
    let version = lock
        .lines()
        .find_map(|l| l.strip_prefix("lockfileVersion:"));
    let version = version.unwrap_or_default().trim().trim_matches(['\'', '"']);
    match version.split('.').next().unwrap_or_default() {
        "5" => ("7", "which its lock file is for"),
        "6" => ("8", "which its lock file is for"),
        "9" => ("10", "which its lock file is for"),
        _ => ("latest", "because its lock file does not tell"),
    }
}

/// The Yarn that wrote such a lock file (`__metadata`, `version`).
fn yarn_of(lock: &str) -> (&'static str, &'static str) {
    let version = lock
        .split("__metadata:")
        .nth(1)
        .and_then(|r| r.lines().find_map(|l| l.trim().strip_prefix("version:")))
        .and_then(|v| v.trim().parse::<u32>().ok());
    match version {
        Some(..=5) => ("2", "which its lock file is for"),
        Some(6 | 7) => ("3", "which its lock file is for"),
        Some(8 | 9) => ("4", "which its lock file is for"),
        _ => ("latest", "because its lock file does not tell"),
    }
}

fn node_request(
    source: &Source,
    package: &Value,
    warnings: &mut Vec<String>,
) -> Result<Request, String> {
    match package.pointer("/engines/node") {
        Some(Value::String(text)) if !text.trim().is_empty() => {
            let range = Range::npm(text).map_err(|e| {
                format!("engines.node in package.json can't be used: {e}.\n\nWrite a version or a range, such as \"20.x\".")
            })?;
            if range.is_wide() {
                warnings.push(format!("engines.node {text:?} has no upper end; a future Node may break the app. Better: \"22.x\"."));
            }
            return Ok(Request {
                range,
                text: text.clone(),
                from: Some("package.json (engines.node)".into()),
            });
        }
        Some(Value::String(_) | Value::Null) | None => {}
        Some(v) => {
            return Err(format!(
                "engines.node in package.json is {v}; expected a text such as \"20.x\"."
            ));
        }
    }
    for file in [".nvmrc", ".node-version"] {
        if let Some(text) = source.text(file)
            && let Some(range) = nvm(text.trim())
        {
            return Ok(Request {
                range,
                text: text.trim().into(),
                from: Some(file.into()),
            });
        }
    }
    let tools = source.text(".tool-versions").unwrap_or_default();
    let tool = tools.lines().find_map(|l| {
        l.trim()
            .strip_prefix("nodejs ")
            .or(l.trim().strip_prefix("node "))
    });
    if let Some(v) = tool
        && let Some(range) = nvm(v.trim())
    {
        return Ok(Request {
            range,
            text: v.trim().into(),
            from: Some(".tool-versions".into()),
        });
    }
    Ok(Request::any())
}

/// What nvm understands: versions, `node`, `lts/*`, `lts/iron`.
fn nvm(text: &str) -> Option<Range> {
    const LTS: [(&str, &str); 11] = [
        ("argon", "4"),
        ("boron", "6"),
        ("carbon", "8"),
        ("dubnium", "10"),
        ("erbium", "12"),
        ("fermium", "14"),
        ("gallium", "16"),
        ("hydrogen", "18"),
        ("iron", "20"),
        ("jod", "22"),
        ("krypton", "24"),
    ];
    match text {
        "node" | "stable" | "latest" | "lts/*" | "lts" => Some(Range::any()),
        t => match t.strip_prefix("lts/") {
            Some(name) => LTS
                .iter()
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .and_then(|(_, v)| Range::npm(v).ok()),
            None if t.is_empty() => None,
            None => Range::npm(t).ok(),
        },
    }
}

fn scripts(package: &Value, env: &BTreeMap<String, String>) -> Scripts {
    let has: BTreeSet<&str> = package
        .get("scripts")
        .and_then(Value::as_object)
        .map(|o| {
            o.iter()
                .filter(|(_, v)| v.as_str().is_some_and(|s| !s.trim().is_empty()))
                .map(|(k, _)| k.as_str())
                .collect()
        })
        .unwrap_or_default();
    let those = |names: &[&str]| {
        names
            .iter()
            .filter(|n| has.contains(*n))
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
    };
    let flags: Vec<String> = env
        .get("NODE_BUILD_FLAGS")
        .map(|f| f.split_whitespace().map(String::from).collect())
        .unwrap_or_default();
    let mut before = those(&["heroku-prebuild"]);
    before.extend(those(&LIFECYCLE_BEFORE));
    Scripts {
        before,
        after: those(&LIFECYCLE_AFTER),
        build: if has.contains("heroku-postbuild") {
            Some(("heroku-postbuild".into(), vec![]))
        } else {
            has.contains("build").then(|| ("build".into(), flags))
        },
        cleanup: has
            .contains("heroku-cleanup")
            .then(|| "heroku-cleanup".into()),
    }
}

/// Variables that change what an install does. Tokens are not among them: they change nothing but access.
fn shapes_install(name: &str) -> bool {
    let n = name.to_ascii_uppercase();
    let prefixes = [
        "NPM_CONFIG_",
        "YARN_",
        "PNPM_",
        "PUPPETEER_",
        "PLAYWRIGHT_",
        "CYPRESS_",
        "PRISMA_",
        "ELECTRON_",
        "SHARP_",
        "SENTRYCLI_",
    ];
    (prefixes.iter().any(|p| n.starts_with(p)) && !n.contains("TOKEN") && !n.contains("AUTH"))
        || n == "NODE_ENV"
        || n == "USE_NPM_INSTALL"
}

const DEPENDENCY_FIELDS: [&str; 12] = [
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bundleDependencies",
    "bundledDependencies",
    "overrides",
    "resolutions",
    "pnpm",
    "packageManager",
    "engines",
];

fn key(
    source: &Source,
    package: &Value,
    lock: Option<&str>,
    env: &BTreeMap<String, String>,
) -> Vec<(String, Vec<u8>)> {
    let mut out: Vec<(String, Vec<u8>)> = vec![];
    for f in DEPENDENCY_FIELDS {
        if let Some(v) = package.get(f) {
            out.push((format!("package.json {f}"), v.to_string().into_bytes()));
        }
    }
    for (name, bytes) in source.files() {
        let counts = lock == Some(name)
            || matches!(
                name,
                ".npmrc"
                    | ".yarnrc"
                    | ".yarnrc.yml"
                    | ".pnpmfile.cjs"
                    | "pnpm-workspace.yaml"
                    | "schema.prisma"
            )
            || name.starts_with("patches/")
            || name.starts_with("prisma/");
        if counts {
            out.push((name.into(), bytes.to_vec()));
        }
    }
    for (k, v) in env.iter().filter(|(k, _)| shapes_install(k)) {
        out.push((format!("env {k}"), v.clone().into_bytes()));
    }
    out
}

fn cacheable(
    package: &Value,
    env: &BTreeMap<String, String>,
    committed: bool,
) -> Result<(), String> {
    if committed {
        return Err("node_modules is committed".into());
    }
    if env.get("NODE_MODULES_CACHE").is_some_and(|v| v == "false") {
        return Err("NODE_MODULES_CACHE=false".into());
    }
    if package.get("workspaces").is_some() {
        return Err("the package has workspaces".into());
    }
    for f in &DEPENDENCY_FIELDS[..3] {
        for (name, v) in package
            .get(f)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let v = v.as_str().unwrap_or_default();
            if ["file:", "link:", "portal:", "workspace:", ".", "/", "~/"]
                .iter()
                .any(|p| v.starts_with(p))
            {
                return Err(format!("{name} comes from a local folder"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
