//! Ruby: gems in `vendor/bundle` by Bundler, or linked from the cache; Rails' assets.

use super::{
    context::{Context, mistake},
    fetch::{self, At, Kind, Runtime},
    layer::{Layer, key},
    out, spawn, tool,
};
use anyhow::Context as _;
use hokku_buildpacks::{
    VERSION,
    ruby::{self, Plan},
    source::Source,
    tree::{self, How},
    version::Version,
};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

const BUNDLE: &str = "vendor/bundle";

/// `bin/compile` of the Ruby buildpack.
pub fn compile(c: &Context) -> anyhow::Result<()> {
    let source = Source::read(&c.build)?;
    let last_file = c.cache.join("ruby-version");
    let last = fs::read_to_string(&last_file)
        .ok()
        .and_then(|t| t.parse::<Version>().ok());
    let plan = match ruby::plan(&source, &c.all(), last) {
        Ok(p) => p,
        Err(e) => return mistake(e),
    };
    for w in &plan.warnings {
        out::warning(w);
    }
    let runtime = fetch::find(Kind::Ruby, &plan.ruby, c)?;
    match &plan.ruby.from {
        Some(f) => out::step(&format!("Using Ruby {} specified in {f}", runtime.version)),
        None if last.is_some() => out::step(&format!(
            "Using Ruby {}, as the last build did",
            runtime.version
        )),
        None => out::step(&format!(
            "Using Ruby {}: neither Gemfile.lock nor .ruby-version asks for one",
            runtime.version
        )),
    }
    let build = Build {
        c,
        plan: &plan,
        version: runtime.version,
        path: install_ruby(c, &runtime)?,
        secret: secret(c, &plan)?,
    };
    build.gems(&runtime)?;
    if plan.wants_node && tool::on_host(&["node", "nodejs"]).is_none() {
        out::warning(
            "Gemfile.lock has gems that run JavaScript, and this machine has no Node.js. Put heroku/nodejs before heroku/ruby.",
        );
    }
    build.assets()?;
    fs::write(&last_file, runtime.version.to_string())?;
    c.write_profile("ruby.sh", &build.profile("$HOME"), &build.export())?;
    if plan.system_gems && c.build.join(".bundle").is_dir() {
        out::detail("The app's .bundle/config is used as it is");
    }
    Ok(())
}

/// `/app/.heroku/ruby`: links to the host's programs, or the whole runtime. Gives the folders for the path.
fn install_ruby(c: &Context, runtime: &Runtime) -> anyhow::Result<Vec<PathBuf>> {
    let at = c.build.join(".heroku/ruby");
    match &runtime.at {
        At::Folder(dir) => {
            fs::create_dir_all(c.build.join(".heroku"))?;
            tree::replicate(dir, &c.link.join(".heroku/ruby"), How::Link)?;
        }
        At::Host(program) => {
            let beside = program.parent().unwrap_or(Path::new("/usr/bin")).to_owned();
            let suffix = program
                .file_name()
                .and_then(|n| n.to_str())
                .and_then(|n| n.strip_prefix("ruby"))
                .unwrap_or_default()
                .to_owned();
            let mut links = vec![("ruby", program.clone())];
            for name in ["bundle", "bundler", "gem", "irb", "rake", "erb"] {
                // Debian names those of a version `irb3.1`
                let own = beside.join(format!("{name}{suffix}"));
                let plain = beside.join(name);
                links.push((name, if own.exists() { own } else { plain }));
            }
            tool::link_programs(&at.join("bin"), &links)?;
            if !at.join("bin/bundle").exists() {
                return mistake(format!(
                    "{} is installed on this machine, but Bundler is not.\n\nThe operator can mend it: apt-get install bundler",
                    program.display()
                ));
            }
        }
    }
    Ok(vec![c.build.join(BUNDLE).join("bin"), at.join("bin")])
}

/// Rails' secret, made once and kept with the cache.
fn secret(c: &Context, plan: &Plan) -> anyhow::Result<Option<String>> {
    if !plan.rails || c.config.contains_key("SECRET_KEY_BASE") {
        return Ok(None);
    }
    let file = c.cache.join("secret_key_base");
    if let Ok(text) = fs::read_to_string(&file) {
        return Ok(Some(text.trim().to_owned()));
    }
    let mut bytes = [0u8; 64];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    fs::write(&file, &text)?;
    Ok(Some(text))
}

struct Build<'a> {
    c: &'a Context,
    plan: &'a Plan,
    version: Version,
    path: Vec<PathBuf>,
    secret: Option<String>,
}

impl Build<'_> {
    /// Variables that are the same while building and running.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("BUNDLE_WITHOUT", self.plan.without.clone())];
        if !self.plan.system_gems {
            all.push(("BUNDLE_PATH", BUNDLE.into()));
            all.push(("BUNDLE_BIN", format!("{BUNDLE}/bin")));
            all.push(("BUNDLE_DEPLOYMENT", "1".into()));
            all.push(("BUNDLE_GLOBAL_PATH_APPENDS_RUBY_SCOPE", "1".into()));
        }
        all
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut p = tool::command(self.c, "bundle", &self.path, &["BUNDLE_PATH", "BUNDLE_BIN"]);
        p.args(args).envs(self.variables());
        for (k, v) in [("RACK_ENV", "production"), ("RAILS_ENV", "production")] {
            if !self.c.config.contains_key(k) {
                p.env(k, v);
            }
        }
        p.env("BUNDLE_SILENCE_ROOT_WARNING", "1")
            .env("NOKOGIRI_USE_SYSTEM_LIBRARIES", "true")
            .env("DISABLE_SPRING", "1");
        // downloads stay with the cache, so that one new gem does not fetch all
        p.env("BUNDLE_USER_HOME", self.c.cache.join("bundler"))
            .env("BUNDLE_GLOBAL_GEM_CACHE", "true");
        p
    }

    fn gems(&self, runtime: &Runtime) -> anyhow::Result<()> {
        let (c, plan) = (self.c, self.plan);
        let vendor = c.build.join(BUNDLE);
        if plan.committed_bundle {
            tree::remove(&vendor)?;
        }
        if plan.system_gems {
            out::step("Using the host's gems (HOKKU_SYSTEM_GEMS is set)");
            let mut p = self.command(&["check"]);
            p.env("BUNDLE_FROZEN", "true");
            let (status, _) = spawn::heard(p, "       ")?;
            if status.success() {
                return Ok(());
            }
            return mistake(
                "The gems of Gemfile.lock are not all installed on this machine; Bundler's words are above.\n\n\
                 Lock the versions that the host has (\"bundle lock --local\" there), let the operator install the\n\
                 missing packages, or unset HOKKU_SYSTEM_GEMS.",
            );
        }
        let identity = runtime.identity.as_bytes();
        let place = c.build.display().to_string();
        let mut parts: Vec<(&str, &[u8])> = vec![
            ("buildpack", VERSION.as_bytes()),
            ("runtime", identity),
            ("place", place.as_bytes()),
            ("without", plan.without.as_bytes()),
        ];
        parts.extend(plan.key.iter().map(|(n, b)| (n.as_str(), b.as_slice())));
        let layer = Layer::new(c, "gems", &key(parts));
        let to = c.link.join(BUNDLE);
        let how = if c.copies() || plan.always_install {
            How::Copy
        } else {
            How::Link
        };
        let started = Instant::now();
        if layer.restore(&to, how)? && !plan.always_install {
            out::step(&format!(
                "Using cached dependencies: Gemfile.lock did not change ({} ms)",
                started.elapsed().as_millis()
            ));
            return Ok(());
        }
        let mut args = vec!["install", "-j4", "--retry", "2"];
        if plan.vendored {
            // what is committed is all that is needed
            args.push("--local");
        }
        out::step(&format!(
            "Installing dependencies using 'bundle install'{}",
            if plan.vendored {
                " from vendor/cache"
            } else {
                ""
            }
        ));
        out::detail(&format!(
            "BUNDLE_WITHOUT='{}' BUNDLE_PATH={BUNDLE} BUNDLE_DEPLOYMENT=1",
            plan.without
        ));
        let (status, said) = spawn::heard(self.command(&args), "       ")?;
        if !status.success() {
            return mistake(format!(
                "Unable to install the gems of Gemfile.lock using Bundler.\n\nSee the log output above for more information.{}{}",
                if said.contains("Your lockfile is out of sync")
                    || said.contains("deployment mode")
                    || said.contains("frozen")
                {
                    "\nGemfile and Gemfile.lock disagree: run \"bundle install\" and commit Gemfile.lock."
                } else {
                    ""
                },
                spawn::out_of_reach(
                    &said,
                    "rubygems.org",
                    "Commit the gems (\"bundle cache\", then vendor/cache), or set HOKKU_SYSTEM_GEMS=1 to use the host's."
                )
            ));
        }
        let mut clean = self.command(&["clean"]);
        if spawn::output(&mut clean).is_none() {
            out::detail("'bundle clean' failed; gems that are no longer used stay");
        }
        // archives and logs of compilers are of no use in a slug
        for scope in fs::read_dir(vendor.join("ruby"))
            .into_iter()
            .flatten()
            .flatten()
        {
            tree::remove(&scope.path().join("cache"))?;
        }
        fs::create_dir_all(&vendor)?;
        layer
            .store(&to, how)
            .context("can't keep the installed gems for the next build")
    }

    fn assets(&self) -> anyhow::Result<()> {
        let (c, plan) = (self.c, self.plan);
        let manifest = fs::read_dir(c.build.join("public/assets"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|e| {
                let n = e.file_name().to_string_lossy().into_owned();
                n.starts_with("manifest")
                    || n.starts_with(".sprockets-manifest")
                    || n == ".manifest.json"
            });
        if !plan.assets {
            return Ok(());
        }
        if manifest {
            out::step(
                "Assets are committed (public/assets has a manifest); they are not made again",
            );
            return Ok(());
        }
        let mut tasks = self.asset_command(&["exec", "rake", "-P"]);
        let said = tasks.output().context("Bundler can't be started")?;
        if !said.status.success() {
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            let first: Vec<&str> = text.lines().take(12).collect();
            out::warning(&format!(
                "the tasks of the Rakefile can't be listed, so assets are not made:\n{}",
                first.join("\n")
            ));
            return Ok(());
        }
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let has = |task: &str| text.lines().any(|l| l == format!("rake {task}"));
        if !has("assets:precompile") {
            return Ok(());
        }
        let kept = c.cache.join("assets");
        let tmp = c.build.join("tmp/cache/assets");
        if kept.is_dir() && !tmp.exists() {
            fs::create_dir_all(c.build.join("tmp/cache"))?;
            tree::replicate(&kept, &tmp, How::Copy)?;
        }
        out::step("Running: rake assets:precompile");
        let started = Instant::now();
        let status = spawn::indented(
            self.asset_command(&["exec", "rake", "assets:precompile"]),
            "       ",
        )?;
        if !status.success() {
            return mistake(
                "Precompiling assets failed; the output of 'rake assets:precompile' is above.",
            );
        }
        out::detail(&format!(
            "Asset precompilation completed ({:.2}s)",
            started.elapsed().as_secs_f64()
        ));
        if has("assets:clean") {
            out::step("Running: rake assets:clean");
            let clean = self.asset_command(&["exec", "rake", "assets:clean"]);
            if !spawn::indented(clean, "       ")?.success() {
                return mistake("'rake assets:clean' failed; its output is above.");
            }
        }
        if tmp.is_dir() && tree::look(&tmp)?.bytes < 512 << 20 {
            tree::remove(&kept)?;
            tree::replicate(&tmp, &kept, How::Copy)?;
        }
        Ok(())
    }

    fn asset_command(&self, args: &[&str]) -> Command {
        let mut p = self.command(args);
        p.env("RAILS_GROUPS", "assets");
        if let Some(s) = &self.secret {
            p.env("SECRET_KEY_BASE", s);
        }
        if !self.c.config.contains_key("DATABASE_URL") {
            // so that code that connects while it is loaded gets as far as it does on Heroku
            p.env("DATABASE_URL", "postgres://user:pass@127.0.0.1/dbname");
        }
        p
    }

    fn profile(&self, home: &str) -> String {
        let scope = format!("{}.{}.0", self.version.0, self.version.1);
        let mut out = format!(
            "export PATH=\"{home}/bin:{home}/{BUNDLE}/bin:{home}/{BUNDLE}/ruby/{scope}/bin:{home}/.heroku/ruby/bin:$PATH\"\n"
        );
        if !self.plan.system_gems {
            out += &format!(
                "export GEM_PATH=\"{home}/{BUNDLE}/ruby/{scope}${{GEM_PATH:+:$GEM_PATH}}\"\n"
            );
        }
        for (k, v) in self.variables() {
            out += &format!("export {k}=\"${{{k}:-{v}}}\"\n");
        }
        for (k, v) in [
            ("LANG", "en_US.UTF-8"),
            ("RACK_ENV", "production"),
            ("MALLOC_ARENA_MAX", "2"),
            ("PUMA_PERSISTENT_TIMEOUT", "95"),
            ("DISABLE_SPRING", "1"),
        ] {
            out += &format!("export {k}=\"${{{k}:-{v}}}\"\n");
        }
        if self.plan.rails {
            for (k, v) in [
                ("RAILS_ENV", "production"),
                ("RAILS_SERVE_STATIC_FILES", "enabled"),
                ("RAILS_LOG_TO_STDOUT", "enabled"),
            ] {
                out += &format!("export {k}=\"${{{k}:-{v}}}\"\n");
            }
        }
        if let Some(s) = &self.secret {
            out += &format!("export SECRET_KEY_BASE=\"${{SECRET_KEY_BASE:-{s}}}\"\n");
        }
        out
    }

    fn export(&self) -> String {
        // a later buildpack works in the same place
        self.profile(&self.c.build.display().to_string())
            .lines()
            .filter(|l| !l.contains("SECRET_KEY_BASE"))
            .map(|l| format!("{l}\n"))
            .collect()
    }
}
