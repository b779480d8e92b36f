//! Rust: what an app needs, by the rules of emk/heroku-buildpack-rust, the one that Rust apps on Heroku use.

use crate::{
    runtime::Request,
    source::Source,
    version::{Range, Version},
};
use std::collections::BTreeMap;

/// Any of these at the root makes it a Rust app.
pub const SIGNS: &[&str] = &[
    "Cargo.toml",
    "RustConfig",
    "rust-toolchain",
    "rust-toolchain.toml",
];

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which Rust.
    pub rust: Request,
    /// The version is exact, and a newer one does as well.
    pub newer_does: bool,
    /// Folder of the crate or workspace, relative to the app; empty for the root.
    pub path: String,
    /// Arguments of `cargo build`.
    pub flags: Vec<String>,
    /// The profile's folder below `target`.
    pub profile: String,
    /// Cargo does not run: RUST_SKIP_BUILD=1.
    pub skip: bool,
    /// There is a Cargo.lock.
    pub locked: bool,
    /// For the build's output.
    pub warnings: Vec<String>,
}

/// Plans a build. `env` is what the build sees: the operator's environment and the config vars.
///
/// # Errors
/// Why the app can't be built, for its author.
pub fn plan(source: &Source, env: &BTreeMap<String, String>) -> Result<Plan, String> {
    let mut warnings = vec![];
    let config = assignments(&source.text("RustConfig").unwrap_or_default());
    let get = |k: &str| {
        config
            .get(k)
            .or_else(|| env.get(k))
            .map(|v| v.trim())
            .filter(|v| !v.is_empty())
    };
    let path = get("BUILD_PATH").unwrap_or_default().trim_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path).to_owned();
    if path.split('/').any(|p| p == "..") {
        return Err(format!(
            "BUILD_PATH in RustConfig is {path:?}; it must be a folder of the app."
        ));
    }
    if path.is_empty() && !source.has("Cargo.toml") {
        return Err("There is no Cargo.toml in the root folder of the app.\n\n\
             If the crate is in another folder, name it in a file RustConfig:\n    BUILD_PATH=server"
            .into());
    }
    let locked = !path.is_empty() || source.has("Cargo.lock");
    if !locked {
        warnings.push("There is no Cargo.lock: the versions of dependencies may change between builds. Commit it.".into());
    }
    if get("RUST_INSTALL_DIESEL").is_some_and(|v| v == "1") {
        warnings.push("RUST_INSTALL_DIESEL is not supported: commit what diesel needs, or add it as a binary of the workspace.".into());
    }
    let flags: Vec<String> = get("RUST_CARGO_BUILD_FLAGS")
        .unwrap_or("--release")
        .split_whitespace()
        .map(String::from)
        .collect();
    let profile = match flags.iter().position(|f| f == "--profile") {
        Some(i) => flags.get(i + 1).cloned().unwrap_or_default(),
        None => match flags.iter().find_map(|f| f.strip_prefix("--profile=")) {
            Some(p) => p.to_owned(),
            None if flags.iter().any(|f| f == "--release" || f == "-r") => "release".into(),
            None => "debug".into(),
        },
    };
    let profile = if profile == "dev" {
        "debug".into()
    } else {
        profile
    };
    let (rust, newer_does) = request(source, &config)?;
    Ok(Plan {
        rust,
        newer_does,
        path,
        flags,
        profile,
        skip: get("RUST_SKIP_BUILD").is_some_and(|v| v == "1"),
        locked,
        warnings,
    })
}

/// `NAME=value` of a shell script, quotes removed; the script itself is never run.
fn assignments(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|l| {
            let l = l.trim();
            let (k, v) = l.strip_prefix("export ").unwrap_or(l).split_once('=')?;
            let named = !k.is_empty()
                && k.bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            let v = v.trim();
            let v = match v.chars().next() {
                Some(q @ ('"' | '\'')) => v[1..].split(q).next().unwrap_or_default(),
                _ => v.split(" #").next().unwrap_or_default().trim(),
            };
            named.then(|| (k.to_owned(), v.to_owned()))
        })
        .collect()
}

fn request(source: &Source, config: &BTreeMap<String, String>) -> Result<(Request, bool), String> {
    let channel = |text: &str| -> Result<Option<String>, String> {
        let table: toml::Table = text
            .parse()
            .map_err(|e| format!("rust-toolchain.toml is not valid TOML: {e}"))?;
        Ok(table
            .get("toolchain")
            .and_then(|t| t.get("channel"))
            .and_then(|c| c.as_str())
            .map(String::from))
    };
    let mut found = None;
    // rustup reads the one without an end first
    for file in ["rust-toolchain", "rust-toolchain.toml"] {
        if let Some(text) = source.text(file)
            && found.is_none()
        {
            let one_line = text.trim().lines().count() == 1 && !text.contains('[');
            let c = if one_line {
                Some(text.trim().to_owned())
            } else {
                channel(&text)?
            };
            found = c.map(|c| (c, file));
        }
    }
    let found = found.or_else(|| config.get("VERSION").map(|v| (v.clone(), "RustConfig")));
    let Some((text, file)) = found else {
        return Ok((Request::any(), false));
    };
    // 1.75.0-x86_64-unknown-linux-gnu
    let bare = text.split('-').next().unwrap_or(&text);
    let n: Option<Vec<u32>> = bare.split('.').map(|p| p.parse().ok()).collect();
    let make = |range: Range| Request {
        range,
        text: bare.to_owned(),
        from: Some(file.to_owned()),
    };
    match (bare, n.as_deref()) {
        ("stable" | "beta", _) => Ok((make(Range::any()), false)),
        ("nightly", _) => Err(format!(
            "{file} asks for a nightly Rust, which can't be had here.\n\nAsk for a stable one, such as 1.75."
        )),
        (_, Some([a, b])) => Ok((make(Range::prefix(*a, *b, None)), true)),
        (_, Some([a, b, c])) => Ok((make(Range::prefix(*a, *b, Some(*c))), true)),
        _ => Err(format!(
            "{file} asks for Rust {text:?}, which is no version.\n\nExpected something like 1.75 or stable."
        )),
    }
}

/// Any Rust that builds what was written for this one or an older one.
pub fn or_newer(request: &Request) -> Request {
    let low = request.range.low();
    Request {
        range: Range::npm(&format!(">={low}")).unwrap_or_else(|_| Range::any()),
        ..request.clone()
    }
}

/// The oldest Rust that a package of Cargo.toml says it needs (`rust-version`).
pub fn least(source: &Source) -> Option<Version> {
    let table: toml::Table = source.text("Cargo.toml")?.parse().ok()?;
    let of = |t: &toml::Value| t.get("rust-version")?.as_str().map(String::from);
    let text = table.get("package").and_then(of).or_else(|| {
        table
            .get("workspace")
            .and_then(|w| w.get("package"))
            .and_then(of)
    })?;
    let mut n = text.split('.').map(|p| p.parse::<u32>().ok());
    Some(Version(
        n.next()??,
        n.next()??,
        n.next().flatten().unwrap_or(0),
    ))
}

/// The default process type: the one program that was built, without a Procfile.
pub fn types(programs: &[String], profile: &str) -> BTreeMap<String, String> {
    match programs {
        [one] => BTreeMap::from([("web".to_owned(), format!("./target/{profile}/{one}"))]),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> Result<Plan, String> {
        plan(&Source::of(files.iter().copied()), &BTreeMap::new())
    }

    #[test]
    fn which_rust() {
        let of = |file: &str, text: &str| {
            with(&[("Cargo.toml", ""), (file, text)])
                .map(|p| (p.rust.text, p.rust.from, p.newer_does))
        };
        let some = |t: &str, f: &str, n| Ok((t.to_owned(), Some(f.to_owned()), n));
        assert_eq!(
            of("rust-toolchain", "1.75.0\n"),
            some("1.75.0", "rust-toolchain", true)
        );
        assert_eq!(
            of("rust-toolchain.toml", "[toolchain]\nchannel = \"1.75\"\n"),
            some("1.75", "rust-toolchain.toml", true)
        );
        assert_eq!(
            of("rust-toolchain", "stable"),
            some("stable", "rust-toolchain", false)
        );
        assert_eq!(
            of("RustConfig", "VERSION=\"1.70.0\" # old\n"),
            some("1.70.0", "RustConfig", true)
        );
        assert_eq!(of("README", ""), Ok((String::new(), None, false)));
        assert!(
            of("rust-toolchain", "nightly-2024-01-01")
                .unwrap_err()
                .contains("nightly")
        );
        assert!(of("rust-toolchain", "new").unwrap_err().contains("\"new\""));
        assert!(
            of("rust-toolchain.toml", "[toolchain\nx")
                .unwrap_err()
                .contains("TOML")
        );
        // the toolchain file before RustConfig
        let p = with(&[
            ("Cargo.toml", ""),
            ("RustConfig", "VERSION=1.60.0"),
            ("rust-toolchain", "1.61.0"),
        ])
        .unwrap();
        assert_eq!(p.rust.text, "1.61.0");
        let newer = or_newer(&p.rust).range;
        assert!(newer.holds(Version(1, 95, 0)) && !newer.holds(Version(1, 60, 9)));
    }

    #[test]
    fn rust_config() {
        let p = with(&[
            ("Cargo.toml", ""),
            ("Cargo.lock", ""),
            (
                "RustConfig",
                "# as on Heroku\nBUILD_PATH=\"./server/\"\nexport RUST_CARGO_BUILD_FLAGS='--release -p api --bin api'\nVERSION=stable\nfoo() { :; }\n",
            ),
        ])
        .unwrap();
        assert_eq!(p.path, "server");
        assert_eq!(p.flags, ["--release", "-p", "api", "--bin", "api"]);
        assert_eq!(p.profile, "release");
        assert!(!p.skip && p.locked && p.warnings.is_empty());
        let profile = |flags: &str| {
            with(&[
                ("Cargo.toml", ""),
                ("RustConfig", &format!("RUST_CARGO_BUILD_FLAGS={flags}")),
            ])
            .unwrap()
            .profile
        };
        assert_eq!(profile("'--profile dist'"), "dist");
        assert_eq!(profile("--profile=dev"), "debug");
        assert_eq!(profile("--locked"), "debug");
        assert!(
            with(&[("RustConfig", "BUILD_PATH=../x")])
                .unwrap_err()
                .contains("BUILD_PATH")
        );
        assert!(
            with(&[("RustConfig", "VERSION=stable")])
                .unwrap_err()
                .contains("Cargo.toml")
        );
    }

    #[test]
    fn defaults() {
        let s = |p: &[&str]| p.iter().map(|p| p.to_string()).collect::<Vec<_>>();
        assert_eq!(
            types(&s(&["shop"]), "release")["web"],
            "./target/release/shop"
        );
        assert!(types(&s(&["a", "b"]), "release").is_empty());
        let src = Source::of([(
            "Cargo.toml",
            "[workspace.package]\nrust-version = \"1.64\"\n",
        )]);
        assert_eq!(least(&src), Some(Version(1, 64, 0)));
    }
}
