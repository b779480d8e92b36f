//! Rust: programs by Cargo, copied to `target/release`; the target folder and the registry stay in the cache.

use super::{
    context::{Context, mistake},
    fetch::{self, At, Kind, Runtime},
    out, spawn, tool,
};
use hokku_buildpacks::{
    rust::{self, Plan},
    source::Source,
    tree,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// Where `release` finds the folder and the names of what was built.
const NAMES: &str = ".heroku/rust-programs";

/// What the target folder may hold before it starts afresh: Cargo never sweeps it.
const CACHE: u64 = 4 << 30;

/// `bin/compile` of the Rust buildpack.
pub fn compile(c: &Context) -> anyhow::Result<()> {
    let source = Source::read(&c.build)?;
    let plan = match rust::plan(&source, &c.all()) {
        Ok(p) => p,
        Err(e) => return mistake(e),
    };
    for w in &plan.warnings {
        out::warning(w);
    }
    if plan.skip {
        out::step("Skipping the build: RUST_SKIP_BUILD=1");
        return Ok(());
    }
    let runtime = runtime(c, &plan)?;
    match &plan.rust.from {
        Some(f) => out::step(&format!(
            "Using Rust {} ({} in {f})",
            runtime.version, plan.rust.text
        )),
        None => out::step(&format!("Using Rust {}", runtime.version)),
    }
    if let Some(least) = rust::least(&source)
        && least > runtime.version
    {
        return mistake(format!(
            "Cargo.toml needs Rust {least} (rust-version), and {} is what can be had.\n\n\
             Name a version in a file rust-toolchain, so that it is looked for in all places:\n    {}.{}",
            runtime.version, least.0, least.1
        ));
    }
    build(c, &plan, &runtime)?;
    c.write_profile("rust.sh", "export PATH=\"$PATH:$HOME/bin\"\n", "")
}

/// The wanted Rust; else a newer one of this machine, which builds what older ones did.
fn runtime(c: &Context, plan: &Plan) -> anyhow::Result<Runtime> {
    let exact = fetch::find(Kind::Rust, &plan.rust, c);
    if !plan.newer_does || exact.is_ok() {
        return exact;
    }
    let Ok(r) = fetch::find_here(Kind::Rust, &rust::or_newer(&plan.rust), c) else {
        return exact;
    };
    out::warning(&format!(
        "Rust {} can't be had here; the newer {} is used, which builds what older ones did.",
        plan.rust.text, r.version
    ));
    Ok(r)
}

/// The programs that `compile` built, and the folder below `target` that they are in.
pub fn programs(build: &Path) -> (Vec<String>, String) {
    let text = fs::read_to_string(build.join(NAMES)).unwrap_or_default();
    let mut lines = text.lines();
    let profile = lines.next().unwrap_or("release").to_owned();
    (lines.map(String::from).collect(), profile)
}

fn build(c: &Context, plan: &Plan, runtime: &Runtime) -> anyhow::Result<()> {
    let bin = match &runtime.at {
        At::Folder(dir) => dir.join("bin"),
        At::Host(p) => p.parent().unwrap_or(Path::new("/usr/bin")).to_owned(),
    };
    let cargo = bin.join("cargo");
    if !cargo.is_file() {
        return mistake(format!(
            "{} has rustc, but no cargo.\n\nThe operator can mend it: apt-get install cargo",
            bin.display()
        ));
    }
    if tool::on_host(&["cc", "gcc", "clang"]).is_none() {
        return mistake(
            "This machine has no C compiler, which Rust needs to link programs.\n\nThe operator can mend it: apt-get install gcc libc6-dev",
        );
    }
    let target = c.cache.join("cargo-target");
    let stamp = c.cache.join("rust-version");
    let same = fs::read_to_string(&stamp).is_ok_and(|v| v == runtime.identity);
    if !same || tree::look(&target).is_ok_and(|s| s.bytes > CACHE) {
        tree::remove(&target)?;
    } else if target.is_dir() {
        out::step(&format!(
            "Using cached dependencies: Rust is still {}",
            runtime.version
        ));
    }
    fs::write(&stamp, &runtime.identity)?;
    let dir = c.build.join(&plan.path);
    if !dir.join("Cargo.toml").is_file() {
        return mistake(format!(
            "There is no Cargo.toml in {}, which RustConfig names as BUILD_PATH.",
            plan.path
        ));
    }
    let mut p = tool::command(c, &cargo, &[bin], &["CARGO_HOME", "CARGO_TARGET_DIR"]);
    p.current_dir(&dir)
        .env("CARGO_HOME", c.cache.join("cargo-home"))
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TERM_PROGRESS_WHEN", "never")
        .arg("build")
        .args(&plan.flags);
    out::step(&format!("Running: cargo build {}", plan.flags.join(" ")));
    // what an earlier version of the app built must not be in the slug
    let made = target.join(&plan.profile);
    for old in executables(&made) {
        fs::remove_file(old)?;
    }
    let started = Instant::now();
    let (status, said) = spawn::heard(p, "       ")?;
    if !status.success() {
        return mistake(format!(
            "The app can't be compiled; Cargo's words are above.{}{}",
            if said.contains("lock file version")
                || said.contains("needs to be updated but --locked")
            {
                "\nCargo.lock and the version of Rust don't fit: name the Rust that wrote it in a file rust-toolchain."
            } else {
                ""
            },
            spawn::out_of_reach(
                &said,
                "crates.io, or where a dependency lies,",
                "Commit the dependencies (\"cargo vendor\")."
            )
        ));
    }
    let found = executables(&made);
    if found.is_empty() {
        return mistake(
            "Cargo built no program.\n\nThe crate needs a src/main.rs or a [[bin]]; of a workspace, name the folder with BUILD_PATH in RustConfig.",
        );
    }
    let to = c.build.join("target").join(&plan.profile);
    tree::remove(&c.build.join("target"))?;
    fs::create_dir_all(&to)?;
    let mut names = vec![];
    for file in found {
        let Some(name) = file.file_name().and_then(|n| n.to_str()) else {
            continue;
        };
        fs::copy(&file, to.join(name))?;
        names.push(name.to_owned());
    }
    out::detail(&format!(
        "Built {} in {:.2}s",
        names
            .iter()
            .map(|n| format!("target/{}/{n}", plan.profile))
            .collect::<Vec<_>>()
            .join(", "),
        started.elapsed().as_secs_f64()
    ));
    fs::create_dir_all(c.build.join(".heroku"))?;
    fs::write(
        c.build.join(NAMES),
        format!("{}\n{}", plan.profile, names.join("\n")),
    )?;
    Ok(())
}

/// Programs in a folder, not below it; no libraries.
fn executables(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| {
            e.metadata()
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
                && e.path()
                    .extension()
                    .is_none_or(|x| x != "so" && x != "d" && x != "rlib")
        })
        .map(|e| e.path())
        .collect();
    all.sort();
    all
}
