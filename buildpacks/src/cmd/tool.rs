//! What the buildpacks of compiled and scripted languages share: programs with the app's config vars, and hooks.

use super::{
    context::{Context, mistake},
    out, spawn,
};
use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// Never exported to any build: they would break the build itself.
pub const DENIED: &[&str] = &[
    "PATH",
    "GIT_DIR",
    "CPATH",
    "CPPATH",
    "LD_PRELOAD",
    "LIBRARY_PATH",
    "LD_LIBRARY_PATH",
    "IFS",
    "HOME",
    "PWD",
    "OLDPWD",
    "STACK",
    "REQUEST_ID",
    "DYNO",
    "BUILD_DIR",
];

/// A program in the app's folder, with config vars (but for [`DENIED`] and `denied`), and `path` first on the path.
pub fn command(
    c: &Context,
    program: impl AsRef<OsStr>,
    path: &[PathBuf],
    denied: &[&str],
) -> Command {
    let mut p = Command::new(program);
    p.current_dir(&c.build).envs(
        c.exported(DENIED)
            .filter(|(k, _)| !denied.contains(&k.as_str())),
    );
    p.env("PATH", joined(path));
    p
}

/// These folders, then the build's own path.
pub fn joined(path: &[PathBuf]) -> String {
    let mut all: Vec<String> = path.iter().map(|d| d.display().to_string()).collect();
    all.push(std::env::var("PATH").unwrap_or_default());
    all.join(":")
}

/// Runs a script of the app, if it is there; without a first line that says by what, bash runs it.
///
/// # Errors
/// It failed.
pub fn hook(
    c: &Context,
    name: &str,
    path: &[PathBuf],
    more: &[(&str, &OsStr)],
) -> anyhow::Result<()> {
    let file = c.build.join(name);
    if !file.is_file() {
        return Ok(());
    }
    out::step(&format!("Running {name} hook"));
    let mode = fs::metadata(&file)?.permissions().mode();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode | 0o111))?;
    let mut p = if fs::read(&file)?.starts_with(b"#!") {
        command(c, &file, path, &[])
    } else {
        let mut p = command(c, "bash", path, &[]);
        p.arg(&file);
        p
    };
    p.env("BUILD_DIR", &c.build).env("CACHE_DIR", &c.cache);
    p.envs(more.iter().copied());
    let status = spawn::indented(p, "       ")?;
    if status.success() {
        return Ok(());
    }
    mistake(format!(
        "The {name} hook failed with status {}; its output is above.",
        spawn::code(status)
    ))
}

/// The first of these programs in folders of the system.
pub fn on_host(names: &[&str]) -> Option<PathBuf> {
    let dirs: Vec<PathBuf> = match std::env::var_os("HOKKU_HOST_RUNTIMES") {
        Some(d) => std::env::split_paths(&d).collect(),
        None => [
            "/usr/local/bin",
            "/usr/local/sbin",
            "/usr/bin",
            "/usr/sbin",
            "/bin",
        ]
        .iter()
        .map(PathBuf::from)
        .collect(),
    };
    names
        .iter()
        .flat_map(|n| dirs.iter().map(move |d| d.join(n)))
        .find(|p| p.is_file())
}

/// Makes `dir/<name>` links to programs of the host, those that exist.
///
/// # Errors
/// The disk's.
pub fn link_programs(dir: &Path, programs: &[(&str, PathBuf)]) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, target) in programs {
        if target.exists() {
            let at = dir.join(name);
            let _ = fs::remove_file(&at);
            symlink(target, at)?;
        }
    }
    Ok(())
}
