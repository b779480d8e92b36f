//! Go: programs of a module, built into `bin/`; modules and compiled packages stay in the cache.

use super::{
    context::{Context, mistake},
    fetch::{self, At, Kind},
    out, spawn, tool,
};
use anyhow::Context as _;
use hokku_buildpacks::{
    go::{self, Plan},
    source::Source,
    tree,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// Where `release` finds the names of the programs that were built.
const NAMES: &str = ".heroku/go-programs";

/// What the cache may hold before it starts afresh: old packages are never swept by Go itself within a day.
const CACHE: u64 = 2 << 30;

/// `bin/compile` of the Go buildpack.
pub fn compile(c: &Context) -> anyhow::Result<()> {
    let source = Source::read(&c.build)?;
    let plan = match go::plan(&source, &c.all()) {
        Ok(p) => p,
        Err(e) => return mistake(e),
    };
    for w in &plan.warnings {
        out::warning(w);
    }
    let runtime = fetch::find(Kind::Go, &plan.go, c)?;
    match &plan.go.from {
        Some(f) => out::step(&format!(
            "Using Go {} ({f} asks for {})",
            runtime.version, plan.go.text
        )),
        None => out::step(&format!("Using Go {}", runtime.version)),
    }
    let goroot = match &runtime.at {
        At::Folder(dir) => Some(dir.clone()),
        At::Host(_) => None,
    };
    let program = match &runtime.at {
        At::Folder(dir) => dir.join("bin/go"),
        At::Host(p) => p.clone(),
    };
    let build = Build {
        c,
        plan: &plan,
        path: vec![
            program.parent().unwrap_or(Path::new("/usr/bin")).to_owned(),
            c.build.join("bin"),
        ],
        program,
        goroot,
    };
    let stamp = c.cache.join("go-version");
    let same = fs::read_to_string(&stamp).is_ok_and(|v| v == runtime.identity);
    if !same {
        build.clear()?;
    } else if build.gocache().is_dir() {
        out::step(&format!(
            "Using cached modules and packages: Go is still {}",
            runtime.version
        ));
    }
    tool::hook(c, "bin/go-pre-compile", &build.path, &[])?;
    build.install()?;
    tool::hook(c, "bin/go-post-compile", &build.path, &[])?;
    if tree::look(&build.gocache()).is_ok_and(|s| s.bytes > CACHE) {
        build.clear()?;
    }
    fs::write(&stamp, &runtime.identity)?;
    let own = format!(
        "export PATH=\"{}:$PATH\"\nexport GOPATH=\"{}\"\n",
        tool_path(&build.path),
        build.gopath().display()
    );
    c.write_profile("go.sh", "export PATH=\"$PATH:$HOME/bin\"\n", &own)
}

fn tool_path(path: &[PathBuf]) -> String {
    path.iter()
        .map(|p| p.display().to_string())
        .collect::<Vec<_>>()
        .join(":")
}

/// The programs that `compile` built.
pub fn programs(build: &Path) -> Vec<String> {
    fs::read_to_string(build.join(NAMES))
        .unwrap_or_default()
        .lines()
        .map(String::from)
        .collect()
}

struct Build<'a> {
    c: &'a Context,
    plan: &'a Plan,
    program: PathBuf,
    path: Vec<PathBuf>,
    goroot: Option<PathBuf>,
}

impl Build<'_> {
    fn gopath(&self) -> PathBuf {
        self.c.cache.join("go-path")
    }

    fn gocache(&self) -> PathBuf {
        self.c.cache.join("go-build")
    }

    /// Another Go: whatever it left is of no use.
    fn clear(&self) -> anyhow::Result<()> {
        tree::remove(&self.gopath())?;
        tree::remove(&self.gocache())?;
        Ok(())
    }

    fn command(&self, args: &[&str]) -> Command {
        let c = self.c;
        let mut p = Command::new(&self.program);
        p.current_dir(&c.build).args(args);
        p.envs(
            c.config
                .iter()
                .filter(|(k, _)| go::ALLOWED.contains(&k.as_str())),
        );
        p.env("PATH", tool::joined(&self.path));
        p.env("GOPATH", self.gopath())
            .env("GOCACHE", self.gocache())
            .env("GOBIN", c.build.join("bin"))
            .env("GOTOOLCHAIN", "local")
            .env("GO111MODULE", "on");
        if let Some(root) = &self.goroot {
            p.env("GOROOT", root);
        }
        // modules that can be removed again
        let flags = c.setting("GOFLAGS").unwrap_or_default();
        if !flags.contains("-modcacherw") {
            p.env("GOFLAGS", format!("{flags} -modcacherw").trim());
        }
        // a login is a setting of git in its environment, on no command line
        p.env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_COUNT", self.plan.logins.len().to_string());
        for (i, (url, login)) in self.plan.logins.iter().enumerate() {
            let with = url.replacen("://", &format!("://{login}@"), 1);
            p.env(
                format!("GIT_CONFIG_KEY_{i}"),
                format!("url.{with}.insteadOf"),
            )
            .env(format!("GIT_CONFIG_VALUE_{i}"), url);
        }
        p
    }

    fn vendor_flag(&self) -> Option<&'static str> {
        self.plan.vendored.then_some("-mod=vendor")
    }

    /// Asks Go about packages: one line for each program, its import path and where it goes.
    fn list(&self, packages: &[String]) -> anyhow::Result<Vec<(String, String)>> {
        let mut p = self.command(&["list", "-tags", "heroku", "-find"]);
        p.args(self.vendor_flag()).args([
            "-f",
            "{{if eq .Name \"main\"}}{{.ImportPath}}\t{{.Target}}{{end}}",
            "--",
        ]);
        p.args(packages);
        let out = p.output().context("go can't be started")?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        if !out.status.success() {
            for l in said.lines() {
                out::detail(l);
            }
            return mistake(format!(
                "The packages {} can't be read; Go's words are above.{}",
                packages.join(" "),
                self.hint(&said)
            ));
        }
        Ok(String::from_utf8_lossy(&out.stdout)
            .lines()
            .filter_map(|l| {
                let (path, target) = l.split_once('\t')?;
                Some((path.to_owned(), target.to_owned()))
            })
            .collect())
    }

    fn hint(&self, said: &str) -> String {
        let inconsistent = if said.contains("inconsistent vendoring") {
            "\nThe folder vendor does not fit go.mod: run \"go mod vendor\" and commit it."
        } else if said.contains("missing go.sum entry") || said.contains("updates to go.") {
            "\ngo.mod and go.sum are out of date: run \"go mod tidy\" and commit them."
        } else {
            ""
        };
        format!(
            "{inconsistent}{}",
            spawn::out_of_reach(
                said,
                "the Go module proxy",
                "Commit the modules (\"go mod vendor\"), or set GOPROXY."
            )
        )
    }

    fn install(&self) -> anyhow::Result<()> {
        let (c, plan) = (self.c, self.plan);
        let wanted = if plan.packages.is_empty() {
            vec!["./...".to_owned()]
        } else {
            plan.packages.clone()
        };
        let found = self.list(&wanted)?;
        if found.is_empty() {
            return mistake(format!(
                "There is no program in {}: no package is called main.\n\n\
                 Name those to build in go.mod:\n    // +heroku install ./cmd/...",
                wanted.join(" ")
            ));
        }
        if plan.vendored {
            out::detail("Modules are taken from vendor/");
        }
        let mut p = self.command(&["install", "-v", "-tags", "heroku"]);
        p.args(self.vendor_flag());
        if let Some((symbol, value)) = &plan.linker {
            p.arg("-ldflags").arg(format!("-X {symbol}={value}"));
        }
        // each by its path, because a library among them would be nothing to install
        let paths: BTreeSet<&str> = found.iter().map(|(p, _)| p.as_str()).collect();
        out::step(&format!(
            "Running: go install -v -tags heroku {}{}",
            self.vendor_flag()
                .map_or(String::new(), |f| format!("{f} ")),
            wanted.join(" ")
        ));
        p.arg("--").args(paths);
        let started = Instant::now();
        let (status, said) = spawn::heard(p, "       ")?;
        if !status.success() {
            return mistake(format!(
                "The app can't be compiled; Go's words are above.{}",
                self.hint(&said)
            ));
        }
        let names: BTreeSet<&str> = found
            .iter()
            .filter_map(|(_, t)| Path::new(t).file_name()?.to_str())
            .collect();
        let names: Vec<&str> = names.into_iter().collect();
        out::detail(&format!(
            "Built {} in {:.2}s",
            names
                .iter()
                .map(|n| format!("bin/{n}"))
                .collect::<Vec<_>>()
                .join(", "),
            started.elapsed().as_secs_f64()
        ));
        fs::create_dir_all(c.build.join(".heroku"))?;
        fs::write(c.build.join(NAMES), names.join("\n"))?;
        Ok(())
    }
}
