//! PHP: packages by Composer, and launchers with Heroku's names for PHP-FPM behind nginx or Apache.

use super::{
    context::{Context, mistake},
    fetch::{self, At, Kind, Runtime},
    layer::{Layer, key},
    out,
    python::MEMORY,
    spawn, tool,
};
use anyhow::Context as _;
use hokku_buildpacks::{
    VERSION,
    php::{self, LAUNCHER, Plan},
    source::Source,
    tree::{self, How},
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

const PREFIX: &str = ".heroku/php";

/// `bin/compile` of the PHP buildpack.
pub fn compile(c: &Context) -> anyhow::Result<()> {
    let source = Source::read(&c.build)?;
    let plan = match php::plan(&source, &c.all()) {
        Ok(p) => p,
        Err(e) => return mistake(e),
    };
    for w in &plan.warnings {
        out::warning(w);
    }
    let runtime = fetch::find(Kind::Php, &plan.php, c)?;
    match &plan.php.from {
        Some(f) => out::step(&format!(
            "Using PHP {} ({} in {f})",
            runtime.version, plan.php.text
        )),
        None => out::step(&format!(
            "Using PHP {}: composer.json asks for none (require.php)",
            runtime.version
        )),
    }
    let path = vec![c.build.join(PREFIX).join("bin")];
    install_php(c, &runtime)?;
    extensions(c, &plan, &runtime)?;
    let build = Build {
        c,
        plan: &plan,
        path,
    };
    if plan.composer {
        build.composer(&runtime)?;
    }
    launchers(c, &plan)?;
    let bin = &plan.bin_dir;
    let profile = format!(
        "export PATH=\"$HOME/{PREFIX}/bin:$HOME/{bin}:$PATH\"\n{MEMORY}export DYNO_RAM=\"${{DYNO_RAM:-$_mib}}\"\nunset _mib\n"
    );
    let at = c.build.display();
    let export = format!("export PATH=\"{at}/{PREFIX}/bin:{at}/{bin}:$PATH\"\n");
    c.write_profile("php.sh", &profile, &export)
}

/// `/app/.heroku/php/bin`: PHP, PHP-FPM and the web servers, as far as they are there.
fn install_php(c: &Context, runtime: &Runtime) -> anyhow::Result<()> {
    let at = c.build.join(PREFIX);
    let (major, minor) = (runtime.version.0, runtime.version.1);
    let mut links: Vec<(&str, PathBuf)> = vec![];
    match &runtime.at {
        At::Folder(dir) => {
            fs::create_dir_all(c.build.join(".heroku"))?;
            tree::replicate(dir, &c.link.join(PREFIX), How::Link)?;
            let fpm = at.join("sbin/php-fpm");
            if fpm.exists() {
                links.push(("php-fpm", fpm));
            }
        }
        At::Host(program) => {
            links.push(("php", program.clone()));
            let fpm = tool::on_host(&[&format!("php-fpm{major}.{minor}"), "php-fpm"]);
            links.extend(fpm.map(|p| ("php-fpm", p)));
        }
    }
    links.extend(tool::on_host(&["nginx"]).map(|p| ("nginx", p)));
    links.extend(tool::on_host(&["apache2", "httpd"]).map(|p| ("apache2", p)));
    tool::link_programs(&at.join("bin"), &links)?;
    let bin = at.join("bin");
    if !bin.join("php-fpm").exists() {
        out::warning(&format!(
            "this machine has no PHP-FPM {major}.{minor}, which heroku-php-nginx and heroku-php-apache2 need.\n\
             The operator can mend it: apt-get install php{major}.{minor}-fpm"
        ));
    }
    if !bin.join("nginx").exists() && !bin.join("apache2").exists() {
        out::warning(
            "this machine has neither nginx nor Apache, which heroku-php-nginx and heroku-php-apache2 need.\n\
             The operator can mend it: apt-get install nginx-light",
        );
    }
    Ok(())
}

/// Are all required extensions there?
fn extensions(c: &Context, plan: &Plan, runtime: &Runtime) -> anyhow::Result<()> {
    if plan.extensions.is_empty() {
        return Ok(());
    }
    let listed = spawn::output(Command::new(c.build.join(PREFIX).join("bin/php")).arg("-m"))
        .context("php -m failed")?;
    let have: BTreeSet<String> = listed
        .lines()
        .map(|l| match l.trim().to_ascii_lowercase().as_str() {
            "zend opcache" => "zend-opcache".to_owned(),
            l => l.to_owned(),
        })
        .collect();
    let missing: Vec<&String> = plan
        .extensions
        .iter()
        .filter(|e| !have.contains(*e) && !have.contains(&e.replace('-', "_")))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (a, b) = (runtime.version.0, runtime.version.1);
    let packages: Vec<String> = missing.iter().map(|m| package(m, a, b)).collect();
    mistake(format!(
        "composer.json or a package in composer.lock requires extensions of PHP that this machine does not have: {}.\n\n\
         The operator can mend it: apt-get install {}",
        missing
            .iter()
            .map(|m| format!("ext-{m}"))
            .collect::<Vec<_>>()
            .join(", "),
        packages.join(" ")
    ))
}

/// Debian's package with an extension: several come together.
fn package(extension: &str, major: u32, minor: u32) -> String {
    let name = match extension {
        "dom" | "simplexml" | "xmlreader" | "xmlwriter" | "xsl" => "xml",
        "pdo_mysql" | "mysqli" | "mysqlnd" => "mysql",
        "pdo_pgsql" => "pgsql",
        "pdo_sqlite" => "sqlite3",
        e => e,
    };
    format!("php{major}.{minor}-{name}")
}

struct Build<'a> {
    c: &'a Context,
    plan: &'a Plan,
    path: Vec<PathBuf>,
}

impl Build<'_> {
    fn command(&self, args: &[&str]) -> anyhow::Result<Command> {
        let c = self.c;
        let own = c.build.join("composer.phar");
        let program = if own.is_file() {
            own
        } else {
            match tool::on_host(&["composer"]) {
                Some(p) => p,
                None => {
                    return mistake(
                        "This machine has no Composer.\n\nThe operator can mend it: apt-get install composer\n\
                         Or commit composer.phar to the root folder of the app.",
                    );
                }
            }
        };
        let mut p = tool::command(c, "php", &self.path, &[]);
        p.arg(program).args(args);
        p.env("COMPOSER_HOME", c.cache.join("composer-home"))
            .env("COMPOSER_CACHE_DIR", c.cache.join("composer"))
            .env("COMPOSER_ALLOW_SUPERUSER", "1")
            .env("COMPOSER_NO_INTERACTION", "1")
            .env("COMPOSER_MEMORY_LIMIT", "-1");
        Ok(p)
    }

    fn composer(&self, runtime: &Runtime) -> anyhow::Result<()> {
        let (c, plan) = (self.c, self.plan);
        let identity = runtime.identity.as_bytes();
        let mut parts: Vec<(&str, &[u8])> =
            vec![("buildpack", VERSION.as_bytes()), ("runtime", identity)];
        parts.extend(plan.key.iter().map(|(n, b)| (n.as_str(), b.as_slice())));
        let layer = Layer::new(c, "vendor", &key(parts));
        let to = c.link.join(&plan.vendor_dir);
        let started = Instant::now();
        // Composer writes its list of classes, which knows the app's own, in each build: so always a copy
        let cached = !plan.committed && !plan.always_install && layer.restore(&to, How::Copy)?;
        if cached {
            out::step(&format!(
                "Using cached dependencies: composer.lock did not change ({} ms)",
                started.elapsed().as_millis()
            ));
        } else {
            out::step("Installing dependencies using 'composer install'");
        }
        let install = self.command(&[
            "install",
            "--no-dev",
            "--prefer-dist",
            "--optimize-autoloader",
            "--no-progress",
            "--no-interaction",
            "--no-ansi",
        ])?;
        let (status, said) = spawn::heard(install, "       ")?;
        if !status.success() {
            return mistake(format!(
                "Unable to install the packages of composer.lock using Composer.\n\nSee the log output above for more information.{}{}",
                if said.contains("lock file is not up to date") {
                    "\ncomposer.json and composer.lock disagree: run \"composer update --lock\" and commit composer.lock."
                } else {
                    ""
                },
                spawn::out_of_reach(
                    &said,
                    "packagist.org, or where a package lies,",
                    "Commit the folder vendor, or add a repository that can be reached to composer.json."
                )
            ));
        }
        if !cached && !plan.committed && to.is_dir() {
            layer
                .store(&to, How::Copy)
                .context("can't keep the installed packages for the next build")?;
        }
        if tree::look(&c.cache.join("composer")).is_ok_and(|s| s.bytes > 512 << 20) {
            tree::remove(&c.cache.join("composer"))?;
        }
        if plan.compile_script {
            out::step("Running 'composer run-script compile'");
            let script =
                self.command(&["run-script", "--no-dev", "--no-interaction", "compile"])?;
            if !spawn::indented(script, "       ")?.success() {
                return mistake(
                    "The script \"compile\" of composer.json failed; its output is above.",
                );
            }
        }
        Ok(())
    }
}

fn launchers(c: &Context, plan: &Plan) -> anyhow::Result<()> {
    let bin = c.build.join(PREFIX).join("bin");
    let beside = c.build.join(&plan.bin_dir);
    fs::create_dir_all(&beside)?;
    let up = "../".repeat(Path::new(&plan.bin_dir).components().count());
    for name in ["heroku-php-apache2", "heroku-php-nginx"] {
        let file = bin.join(name);
        fs::write(&file, LAUNCHER)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        // most Procfiles say vendor/bin/heroku-php-nginx
        let link = beside.join(name);
        let _ = fs::remove_file(&link);
        symlink(format!("{up}{PREFIX}/bin/{name}"), link)?;
    }
    let root_htaccess = [".htaccess", "public/.htaccess", "web/.htaccess"]
        .iter()
        .find(|f| c.build.join(f).is_file());
    if let Some(f) = root_htaccess
        && !bin.join("apache2").exists()
    {
        out::warning(&format!(
            "{f} is read by Apache only, which this machine does not have. The operator can mend it: apt-get install apache2-bin\n\
             Or say the same in a configuration of nginx: web: heroku-php-nginx -C nginx.conf"
        ));
    }
    out::step("Preparing heroku-php-apache2 and heroku-php-nginx");
    Ok(())
}

/// The default process types, where there is no Procfile.
pub fn types(build: &Path) -> Option<&'static str> {
    (!build.join("Procfile").is_file()).then_some(php::WEB)
}
