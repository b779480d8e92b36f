//! Node.js: `node_modules` by npm, yarn or pnpm, or linked from the cache.

use super::{
    context::{Context, NODE_DENIED, mistake},
    fetch::{self, At, Kind, Runtime},
    layer::{Layer, key},
    out,
    python::MEMORY,
    spawn,
};
use anyhow::Context as _;
use hokku_buildpacks::{
    VERSION,
    node::{self, LIFECYCLE_AFTER, LIFECYCLE_BEFORE, Manager, Plan},
    source::Source,
    tree::{self, How},
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// The last yarn 1.
const YARN: &str = "1.22.22";

/// `bin/compile` of the Node buildpack.
pub fn compile(c: &Context) -> anyhow::Result<()> {
    let source = Source::read(&c.build)?;
    let plan = match node::plan(&source, &c.all()) {
        Ok(p) => p,
        Err(e) => return mistake(e),
    };
    for w in &plan.warnings {
        out::warning(w);
    }
    let runtime = fetch::find(Kind::Node, &plan.node, c)?;
    match &plan.node.from {
        Some(f) => out::step(&format!(
            "Using Node {} ({} in {f})",
            runtime.version, plan.node.text
        )),
        None => out::step(&format!(
            "Using Node {}: package.json asks for none (engines.node)",
            runtime.version
        )),
    }
    install_node(c, &runtime)?;
    let mut build = Build {
        c,
        plan: &plan,
        path: vec![c.build.join(".heroku/node/bin")],
    };
    build.tool(&runtime)?;
    build.dependencies(&source, &runtime)?;
    c.write_profile("nodejs.sh", &profile(&plan), &build.export())?;
    Ok(())
}

/// `/app/.heroku/node`: links to the host's node and npm, or the whole runtime.
fn install_node(c: &Context, runtime: &Runtime) -> anyhow::Result<()> {
    let at = c.build.join(".heroku/node");
    match &runtime.at {
        At::Folder(dir) => {
            fs::create_dir_all(c.build.join(".heroku"))?;
            tree::replicate(dir, &c.link.join(".heroku/node"), How::Link)?;
        }
        At::Host(program) => {
            fs::create_dir_all(at.join("bin"))?;
            symlink(program, at.join("bin/node"))?;
            let beside = program.parent().unwrap_or(Path::new("/usr/bin"));
            for tool in ["npm", "npx"] {
                let path = [
                    beside.join(tool),
                    Path::new("/usr/local/bin").join(tool),
                    Path::new("/usr/bin").join(tool),
                ];
                match path.iter().find(|p| p.exists()) {
                    Some(p) => symlink(p.canonicalize()?, at.join("bin").join(tool))?,
                    None if tool == "npm" => {
                        return mistake(format!(
                            "{} is installed on this machine, but npm is not.\n\nThe operator can mend it: apt-get install npm",
                            program.display()
                        ));
                    }
                    None => {}
                }
            }
        }
    }
    Ok(())
}

struct Build<'a> {
    c: &'a Context,
    plan: &'a Plan,
    path: Vec<PathBuf>,
}

impl Build<'_> {
    /// A program of the build: config vars, Node's defaults, our folders first on the path.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut p = Command::new(program);
        let set = |k: &str| self.c.config.contains_key(k) || std::env::var_os(k).is_some();
        for (k, v) in [
            ("NODE_ENV", "production"),
            ("NODE_OPTIONS", "--max_old_space_size=2560"),
            ("NPM_CONFIG_LOGLEVEL", "error"),
            ("NODE_VERBOSE", "false"),
        ] {
            if !set(k) {
                p.env(k, v);
            }
        }
        p.current_dir(&self.c.build)
            .envs(self.c.exported(NODE_DENIED));
        let mut path: Vec<String> = self.path.iter().map(|d| d.display().to_string()).collect();
        path.push(std::env::var("PATH").unwrap_or_default());
        path.push(self.c.build.join("node_modules/.bin").display().to_string());
        p.env("PATH", path.join(":"));
        p.env("npm_config_cache", self.c.cache.join("npm"))
            .env("npm_config_update_notifier", "false");
        p.env("npm_config_fund", "false")
            .env("npm_config_audit", "false");
        match self.plan.manager {
            Manager::Berry => {
                p.env("YARN_ENABLE_GLOBAL_CACHE", "false")
                    .env("YARN_GLOBAL_FOLDER", self.c.cache.join("yarn-global"))
                    .env("YARN_ENABLE_TELEMETRY", "0")
                    .env("YARN_ENABLE_PROGRESS_BARS", "false");
                // what Plug'n'Play loads at run time has to be in the app
                if !self.plan.pnp {
                    p.env("YARN_CACHE_FOLDER", self.c.cache.join("yarn"));
                }
            }
            Manager::Bun => {
                p.env("BUN_INSTALL_CACHE_DIR", self.c.cache.join("bun"));
            }
            Manager::Npm | Manager::Yarn | Manager::Pnpm => {
                p.env("YARN_CACHE_FOLDER", self.c.cache.join("yarn"));
            }
        }
        p
    }

    fn program(&self, name: &str) -> PathBuf {
        self.path
            .iter()
            .map(|d| d.join(name))
            .find(|p| p.exists())
            .unwrap_or_else(|| name.into())
    }

    /// yarn or pnpm, from the npm registry, kept in the cache and put into the slug (Procfiles say `yarn start`).
    fn tool(&mut self, runtime: &Runtime) -> anyhow::Result<()> {
        let (name, wanted) = match (self.plan.manager, self.plan.manager_version.as_deref()) {
            (Manager::Npm, Some(v)) => {
                out::detail(&format!(
                    "The npm that came with Node is used; package.json asks for npm {v}"
                ));
                return Ok(());
            }
            (Manager::Npm, None) => return Ok(()),
            (Manager::Yarn, v) => ("yarn", v.unwrap_or(YARN)),
            (Manager::Pnpm, v) => ("pnpm", v.unwrap_or("latest")),
            (Manager::Bun, v) => ("bun", v.unwrap_or("latest")),
            (Manager::Berry, v) => ("yarn", v.unwrap_or("latest")),
        };
        let c = self.c;
        if let Some(own) = &self.plan.yarn_path {
            return self.own_yarn(own);
        }
        let package = match self.plan.manager {
            Manager::Berry => "@yarnpkg/cli-dist",
            _ => name,
        };
        // with an older Node the newest that still runs on it must be asked for by the app itself
        let k = key([
            ("v", VERSION.as_bytes()),
            ("package", package.as_bytes()),
            ("wanted", wanted.as_bytes()),
            ("node", runtime.identity.as_bytes()),
        ]);
        let layer = Layer::new(c, name, &k);
        let place = c.link.join(".heroku").join(name);
        if !layer.restore(&place, How::Link)? {
            out::step(&format!("Installing {name} {wanted}"));
            let tmp = c.cache.join("tools-tmp");
            tree::remove(&tmp)?;
            fs::create_dir_all(&tmp)?;
            let mut npm = self.command(self.program("npm"));
            npm.args([
                "install",
                "--no-save",
                "--no-package-lock",
                "--loglevel=error",
                "--prefix",
            ])
            .arg(&tmp)
            .arg(format!("{package}@{wanted}"));
            npm.current_dir(&tmp).env_remove("NPM_CONFIG_PRODUCTION");
            if !spawn::indented(npm, "       ")?.success() {
                return mistake(format!(
                    "{name} {wanted} can't be installed from the npm registry; npm's own words are above."
                ));
            }
            fs::create_dir_all(place.join("bin"))?;
            tree::replicate(
                &tmp.join("node_modules"),
                &place.join("node_modules"),
                How::Copy,
            )?;
            tree::remove(&tmp)?;
            for e in fs::read_dir(place.join("node_modules/.bin"))
                .context("the package has no commands")?
                .flatten()
            {
                symlink(
                    Path::new("../node_modules/.bin").join(e.file_name()),
                    place.join("bin").join(e.file_name()),
                )?;
            }
            layer.store(&place, How::Link)?;
        }
        self.path
            .push(c.build.join(".heroku").join(name).join("bin"));
        Ok(())
    }

    /// A command `yarn` that runs the program in the app's own repository.
    fn own_yarn(&mut self, program: &str) -> anyhow::Result<()> {
        let c = self.c;
        if !c.build.join(program).is_file() {
            return mistake(format!(
                "yarnPath in .yarnrc.yml is {program}, which is not in the app's git repository.\n\n\
                 Commit it:\n    git add -f {program}"
            ));
        }
        let bin = c.build.join(".heroku/yarn/bin");
        fs::create_dir_all(&bin)?;
        let file = bin.join("yarn");
        fs::write(
            &file,
            format!("#!/bin/sh\nexec node \"$(dirname -- \"$0\")/../../../{program}\" \"$@\"\n"),
        )?;
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        out::step(&format!("Using the Yarn of the app: {program}"));
        self.path.push(bin);
        Ok(())
    }

    fn script(&self, name: &str, more: &[String]) -> anyhow::Result<()> {
        out::step(&format!("Running {name}"));
        let mut p = self.command(self.program(self.plan.manager.name()));
        p.args(["run", name]);
        if !more.is_empty() {
            // yarn 1 warns about the dashes, npm and pnpm need them
            if !matches!(self.plan.manager, Manager::Yarn | Manager::Berry) {
                p.arg("--");
            }
            p.args(more);
        }
        let status = spawn::indented(p, "       ")?;
        if status.success() {
            return Ok(());
        }
        mistake(format!(
            "The script {name:?} of package.json failed with status {}; its output is above.",
            spawn::code(status)
        ))
    }

    fn dependencies(&self, source: &Source, runtime: &Runtime) -> anyhow::Result<()> {
        let (c, plan) = (self.c, self.plan);
        let app_code = plan.scripts.any();
        // with no code of the app to run, what would be pruned need not come at all
        // Yarn 2 and newer installs all, and takes away afterwards
        let berry = plan.manager == Manager::Berry;
        let dev = plan.install_dev && (app_code || !plan.prune || berry);
        let kind = if dev { "all" } else { "production" };
        let mut parts: Vec<(&str, &[u8])> = vec![
            ("buildpack", VERSION.as_bytes()),
            ("runtime", runtime.identity.as_bytes()),
            ("manager", plan.manager.name().as_bytes()),
            (
                "version",
                plan.manager_version
                    .as_deref()
                    .unwrap_or_default()
                    .as_bytes(),
            ),
            ("kind", kind.as_bytes()),
        ];
        parts.extend(plan.key.iter().map(|(n, b)| (n.as_str(), b.as_slice())));
        let layer = Layer::new(c, "modules", &key(parts));
        for s in &plan.scripts.before {
            self.script(s, &[])?;
        }
        let to = c.link.join("node_modules");
        let how = if app_code || c.copies() || berry {
            How::Copy
        } else {
            How::Link
        };
        let started = Instant::now();
        let cached = match &plan.cacheable {
            Ok(()) => layer.exists() && layer.restore(&to, how)?,
            Err(why) => {
                out::detail(&format!("Not using the dependency cache: {why}"));
                false
            }
        };
        if cached {
            let file = plan.lock.unwrap_or("package.json");
            out::step(&format!(
                "Using cached dependencies: {file} did not change ({} ms)",
                started.elapsed().as_millis()
            ));
        } else {
            // the packages of Plug'n'Play: kept, unless the app brings them
            let (kept, own) = (c.cache.join("yarn-pnp"), c.build.join(".yarn/cache"));
            let keep = plan.pnp && !own.exists();
            if keep && kept.is_dir() {
                fs::create_dir_all(c.build.join(".yarn"))?;
                tree::replicate(&kept, &own, How::Copy)?;
                out::step("Using cached packages of Yarn");
            }
            self.install(source, dev)?;
            if keep && own.is_dir() && tree::look(&own)?.bytes < 512 << 20 {
                tree::remove(&kept)?;
                tree::replicate(&own, &kept, How::Copy)?;
            }
            if plan.cacheable.is_ok() && to.is_dir() {
                layer
                    .store(&to, how)
                    .context("can't keep the installed dependencies for the next build")?;
            }
        }
        for s in &plan.scripts.after {
            self.script(s, &[])?;
        }
        if let Some((s, more)) = &plan.scripts.build {
            self.script(s, more)?;
        }
        if plan.prune && dev && plan.has_dev {
            self.prune()?;
        }
        if let Some(s) = &plan.scripts.cleanup {
            self.script(s, &[])?;
        }
        Ok(())
    }

    fn install(&self, source: &Source, dev: bool) -> anyhow::Result<()> {
        let (c, plan) = (self.c, self.plan);
        let ci = plan.lock.is_some() && !plan.committed_modules && !c.on("USE_NPM_INSTALL");
        let mut p = self.command(self.program(plan.manager.name()));
        match plan.manager {
            Manager::Npm => {
                if plan.committed_modules {
                    out::step("Rebuilding node_modules using 'npm rebuild'");
                    let mut r = self.command(self.program("npm"));
                    r.arg("rebuild");
                    if !spawn::indented(r, "       ")?.success() {
                        return mistake("npm rebuild failed; its words are above.");
                    }
                }
                p.arg(if ci { "ci" } else { "install" });
                p.arg(if dev { "--include=dev" } else { "--omit=dev" });
                if source.has(".npmrc") {
                    p.arg("--userconfig").arg(c.build.join(".npmrc"));
                }
                out::step(&format!(
                    "Installing dependencies using 'npm {}'",
                    if ci { "ci" } else { "install" }
                ));
            }
            Manager::Yarn => {
                p.args([
                    "install",
                    "--frozen-lockfile",
                    "--ignore-engines",
                    "--prefer-offline",
                    "--non-interactive",
                ]);
                p.arg(format!("--production={}", !dev));
                out::step("Installing dependencies using 'yarn install --frozen-lockfile'");
            }
            Manager::Berry => {
                p.args(["install", "--immutable"]);
                out::step("Installing dependencies using 'yarn install --immutable'");
            }
            Manager::Bun => {
                // with links, what an app writes into a package would be in the cache too
                p.args([
                    "install",
                    "--frozen-lockfile",
                    "--backend=copyfile",
                    "--no-progress",
                ]);
                if !dev {
                    p.arg("--production");
                }
                out::step("Installing dependencies using 'bun install --frozen-lockfile'");
            }
            Manager::Pnpm => {
                p.args(["install", "--frozen-lockfile", "--store-dir"])
                    .arg(c.cache.join("pnpm-store"));
                p.env("CI", "true");
                if !dev {
                    p.arg("--prod");
                } else {
                    // NODE_ENV=production alone would leave devDependencies out
                    p.arg("--prod=false");
                }
                out::step("Installing dependencies using 'pnpm install --frozen-lockfile'");
            }
        }
        let manifest = Manifest::without_lifecycle(&c.build)?;
        let status = spawn::indented(p, "       ");
        manifest.put_back()?;
        if status?.success() {
            self.trim_caches();
            return Ok(());
        }
        mistake(format!(
            "Unable to install dependencies using {}.\n\nSee the log output above for more information.{}",
            plan.manager.name(),
            match (plan.manager, plan.lock) {
                (Manager::Npm, Some(_)) =>
                    "\nIf it says that package.json and the lock file disagree, run \"npm install\" and commit the lock file.",
                (_, Some(_)) =>
                    "\nIf it says that the lock file is out of date, run the package manager locally and commit the lock file.",
                _ => "",
            }
        ))
    }

    /// Download caches only make a later install faster; they may not grow for ever.
    fn trim_caches(&self) {
        for name in ["npm", "yarn", "yarn-global", "bun", "pnpm-store"] {
            let dir = self.c.cache.join(name);
            if tree::look(&dir).is_ok_and(|s| s.bytes > 512 << 20) {
                let _ = tree::remove(&dir);
            }
        }
        // logs of npm's runs are no cache
        let _ = tree::remove(&self.c.cache.join("npm/_logs"));
    }

    fn prune(&self) -> anyhow::Result<()> {
        out::step("Pruning devDependencies");
        let c = self.c;
        let mut p = self.command(self.program(self.plan.manager.name()));
        if self.plan.manager == Manager::Bun {
            tree::remove(&c.build.join("node_modules"))?;
        }
        match self.plan.manager {
            Manager::Berry => p.args(["workspaces", "focus", "--all", "--production"]),
            Manager::Bun => p.args([
                "install",
                "--frozen-lockfile",
                "--backend=copyfile",
                "--no-progress",
                "--ignore-scripts",
                "--production",
            ]),
            Manager::Npm => p.args(["prune", "--omit=dev", "--ignore-scripts"]),
            Manager::Yarn => p.args([
                "install",
                "--frozen-lockfile",
                "--ignore-engines",
                "--ignore-scripts",
                "--prefer-offline",
                "--non-interactive",
                "--production=true",
            ]),
            Manager::Pnpm => p
                .args(["prune", "--prod", "--store-dir"])
                .arg(c.cache.join("pnpm-store"))
                .env("CI", "true"),
        };
        let status = spawn::indented(p, "       ")?;
        if status.success() {
            Ok(())
        } else if self.plan.manager == Manager::Berry {
            out::warning(
                "devDependencies stay: this Yarn has no 'yarn workspaces focus' (before Yarn 4 it is a plugin).",
            );
            Ok(())
        } else {
            mistake(
                "The devDependencies could not be removed; the package manager's words are above.",
            )
        }
    }

    fn export(&self) -> String {
        let dirs: Vec<String> = self.path.iter().map(|d| d.display().to_string()).collect();
        let build = self.c.build.display();
        format!(
            "export PATH=\"{}:$PATH:{build}/node_modules/.bin\"\nexport NODE_HOME=\"{build}/.heroku/node\"\n",
            dirs.join(":")
        )
    }
}

/// package.json with the root's lifecycle scripts taken out while dependencies are installed: what gets installed, and
/// kept, must not hold what the app's own source made of it.
struct Manifest {
    path: PathBuf,
    original: Option<Vec<u8>>,
}

impl Manifest {
    fn without_lifecycle(build: &Path) -> anyhow::Result<Manifest> {
        let path = build.join("package.json");
        let bytes = fs::read(&path)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut value: serde_json::Value =
            serde_json::from_str(text.trim_start_matches('\u{feff}'))?;
        let mut changed = false;
        if let Some(scripts) = value.get_mut("scripts").and_then(|s| s.as_object_mut()) {
            for name in LIFECYCLE_BEFORE.iter().chain(&LIFECYCLE_AFTER) {
                changed |= scripts.remove(*name).is_some();
            }
        }
        if changed {
            fs::write(&path, serde_json::to_vec_pretty(&value)?)?;
        }
        Ok(Manifest {
            path,
            original: changed.then_some(bytes),
        })
    }

    fn put_back(self) -> anyhow::Result<()> {
        match self.original {
            Some(bytes) => fs::write(&self.path, bytes).context("can't put package.json back"),
            None => Ok(()),
        }
    }
}

fn profile(plan: &Plan) -> String {
    let tools = match plan.manager {
        Manager::Npm => "",
        Manager::Yarn | Manager::Berry => "$HOME/.heroku/yarn/bin:",
        Manager::Bun => "$HOME/.heroku/bun/bin:",
        Manager::Pnpm => "$HOME/.heroku/pnpm/bin:",
    };
    let pnpm = if plan.manager == Manager::Pnpm {
        "export pnpm_config_verify_deps_before_run=warn\n"
    } else {
        ""
    };
    format!(
        r#"export PATH="$HOME/.heroku/node/bin:{tools}$PATH:$HOME/bin:$HOME/node_modules/.bin"
export NODE_HOME="$HOME/.heroku/node"
export NODE_ENV="${{NODE_ENV:-production}}"
{pnpm}{MEMORY}export MEMORY_AVAILABLE="${{MEMORY_AVAILABLE:-$_mib}}"
if [ -z "${{WEB_MEMORY:-}}" ]; then
  if [ "$MEMORY_AVAILABLE" -gt 16384 ]; then WEB_MEMORY=2048; else WEB_MEMORY=512; fi
fi
if [ -z "${{WEB_CONCURRENCY:-}}" ]; then
  WEB_CONCURRENCY=$((MEMORY_AVAILABLE / WEB_MEMORY))
  [ "$WEB_CONCURRENCY" -lt 1 ] && WEB_CONCURRENCY=1
  [ "$WEB_CONCURRENCY" -gt 200 ] && WEB_CONCURRENCY=200
fi
export WEB_MEMORY WEB_CONCURRENCY
unset _mib
"#
    )
}
