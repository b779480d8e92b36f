//! Python: the interpreter's prefix at `/app/.heroku/python`, filled by pip or uv, or linked from the cache.

use super::{
    context::{Context, PYTHON_DENIED, mistake},
    fetch::{self, At, Kind, Runtime},
    layer::{Layer, key},
    out, spawn,
};
use anyhow::Context as _;
use hokku_buildpacks::{
    VERSION,
    python::{self, Manager, Plan},
    source::Source,
    tree::{self, How},
    version::Version,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// As Heroku's buildpack pins them (heroku-buildpack-python, `requirements/`).
const PIP: &str = "26.2.1";
const UV: &str = "0.12.5";
const POETRY: &str = "2.4.1";
const PIPENV: &str = "2026.7.1";

const PREFIX: &str = ".heroku/python";

/// `bin/compile` of the Python buildpack.
pub fn compile(c: &Context) -> anyhow::Result<()> {
    let mut source = Source::read(&c.build)?;
    if source.has("bin/pre_compile") {
        out::step("Running bin/pre_compile hook");
        hook(c, "bin/pre_compile")?;
        source = Source::read(&c.build)?;
    }
    let last_file = c.cache.join("python-version");
    let last = fs::read_to_string(&last_file)
        .ok()
        .and_then(|t| t.parse::<Version>().ok());
    let plan = match python::plan(&source, &c.all(), last) {
        Ok(p) => p,
        Err(e) => return mistake(e),
    };
    for w in &plan.warnings {
        out::warning(w);
    }
    let runtime = fetch::find(Kind::Python, &plan.python, c)?;
    match &plan.python.from {
        Some(f) => out::step(&format!(
            "Using Python {} specified in {f}",
            runtime.version
        )),
        None if last.is_some() => out::step(&format!(
            "No Python version was specified. Using the same version as the last build: Python {}",
            runtime.version
        )),
        None => out::step(&format!(
            "No Python version was specified. Using the host's: Python {}",
            runtime.version
        )),
    }
    if runtime.version < Version(3, 10, 0) {
        out::warning(&format!(
            "Python {} no longer gets security fixes; Heroku refuses to build with it.",
            runtime.version
        ));
    }
    dependencies(c, &plan, &runtime)?;
    nltk(c, &plan)?;
    collectstatic(c, &plan)?;
    if plan.post_compile {
        out::step("Running bin/post_compile hook");
        hook(c, "bin/post_compile")?;
    }
    fs::write(&last_file, runtime.version.to_string())?;
    let standalone = matches!(runtime.at, At::Folder(_));
    c.write_profile("python.sh", &profile(standalone), &export(c, standalone))?;
    if let Some(line) = python::suggestion(&source, wsgi(&source, c).as_deref()) {
        out::warning(&format!(
            "there is no Procfile, so nothing will run. This line may be what it needs:\n    {line}"
        ));
    }
    Ok(())
}

/// The module named by `WSGI_APPLICATION` in Django's settings.
fn wsgi(source: &Source, c: &Context) -> Option<String> {
    let manage = source.paths().find(|p| *p == "manage.py")?;
    let text = fs::read_to_string(c.build.join(manage)).ok()?;
    let settings = text
        .split("DJANGO_SETTINGS_MODULE")
        .nth(1)?
        .split(['"', '\''])
        .nth(2)?
        .replace('.', "/");
    let text = fs::read_to_string(c.build.join(format!("{settings}.py"))).ok()?;
    let value = text.lines().find_map(|l| {
        l.trim()
            .strip_prefix("WSGI_APPLICATION")?
            .split(['"', '\''])
            .nth(1)
            .map(String::from)
    })?;
    value.strip_suffix(".application").map(String::from)
}

fn dependencies(c: &Context, plan: &Plan, runtime: &Runtime) -> anyhow::Result<()> {
    let relocatable = c.build != Path::new("/app");
    let all = c.all();
    let identity = runtime.identity.as_bytes();
    let place: &[u8] = if relocatable { b"anywhere" } else { b"/app" };
    let manager = format!("{:?} {PIP} {UV} {POETRY} {PIPENV}", plan.manager);
    let mut parts: Vec<(&str, &[u8])> = vec![
        ("buildpack", VERSION.as_bytes()),
        ("runtime", identity),
        ("place", place),
        ("manager", manager.as_bytes()),
    ];
    parts.extend(plan.key.iter().map(|(n, b)| (n.as_str(), b.as_slice())));
    for (k, v) in all
        .iter()
        .filter(|(k, _)| (k.starts_with("PIP_") || k.starts_with("UV_")) && !k.contains("CERT"))
    {
        parts.push((k, v.as_bytes()));
    }
    let layer = Layer::new(c, "python", &key(parts));
    let to = c.link.join(PREFIX);
    let own_copy = plan.always_install || plan.post_compile || c.copies();
    let how = if own_copy { How::Copy } else { How::Link };
    let started = Instant::now();
    if layer.restore(&to, how)? {
        if !plan.always_install {
            let ms = started.elapsed().as_millis();
            out::step(&format!(
                "Using cached dependencies: {} did not change ({ms} ms)",
                what(plan)
            ));
            return Ok(());
        }
    } else {
        base(c, runtime, &to)?;
    }
    install(c, plan)?;
    if relocatable {
        relocate(&c.build.join(PREFIX))?;
    }
    compile_bytecode(c);
    layer
        .store(&to, how)
        .context("can't keep the installed dependencies for the next build")
}

fn what(plan: &Plan) -> &'static str {
    match plan.manager {
        Manager::Pip => "requirements.txt",
        Manager::Uv => "uv.lock",
        Manager::Poetry => "poetry.lock",
        Manager::Pipenv => "Pipfile.lock",
        Manager::None => "Python",
    }
}

/// The interpreter with pip, before anything of the app.
fn base(c: &Context, runtime: &Runtime, to: &Path) -> anyhow::Result<()> {
    tree::remove(to)?;
    let place = c.build.join(PREFIX).display().to_string();
    let layer = Layer::new(
        c,
        "pybase",
        &key([
            ("buildpack", VERSION.as_bytes()),
            ("runtime", runtime.identity.as_bytes()),
            ("pip", PIP.as_bytes()),
            ("at", place.as_bytes()),
        ]),
    );
    if layer.restore(to, How::Link)? {
        return Ok(());
    }
    let prefix = c.build.join(PREFIX);
    match &runtime.at {
        At::Folder(dir) => {
            out::step(&format!("Installing Python {}", runtime.version));
            fs::create_dir_all(to.parent().unwrap_or(to))?;
            tree::replicate(dir, to, How::Link)?;
            for name in ["python", "python3"] {
                if !prefix.join("bin").join(name).exists() {
                    symlink(
                        format!("python{}.{}", runtime.version.0, runtime.version.1),
                        prefix.join("bin").join(name),
                    )?;
                }
            }
            return Ok(());
        }
        At::Host(program) => host_prefix(&prefix, program, runtime.version)?,
    }
    out::step(&format!("Installing pip {PIP}"));
    let wheel = bundled_pip(&stdlib(program_of(runtime))?);
    let setuptools = if runtime.version < Version(3, 13, 0) {
        &["setuptools<81", "wheel"][..]
    } else {
        &[]
    };
    let mut pip = python_command(c);
    let bundled: Vec<String> = match &wheel {
        Some(w) => vec![format!("{}/pip", w.display())],
        None => {
            // Debian's own pip can fill another prefix
            let host = Command::new(program_of(runtime))
                .args(["-m", "pip", "--version"])
                .output()
                .is_ok_and(|o| o.status.success());
            if !host {
                return mistake(format!(
                    "Python {} on this machine has no pip to begin with.\n\nThe operator can mend it: apt-get install python3-venv",
                    runtime.version
                ));
            }
            pip = Command::new(program_of(runtime));
            vec![
                "-m".into(),
                "pip".into(),
                "--python".into(),
                prefix.join("bin/python").display().to_string(),
            ]
        }
    };
    pip.args(&bundled).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-input",
        "--no-compile",
    ]);
    let pinned = format!("pip=={PIP}");
    pip.arg(&pinned).args(setuptools);
    let done = spawn::output(&mut pip).is_some();
    if !done {
        let Some(w) = &wheel else {
            return mistake(format!(
                "pip {PIP} can't be installed: the package index can't be reached."
            ));
        };
        out::detail("That version can't be had; using the one that came with Python");
        let mut pip = python_command(c);
        pip.args(&bundled)
            .args([
                "install",
                "--quiet",
                "--no-index",
                "--no-input",
                "--no-compile",
            ])
            .arg(w);
        let status = spawn::indented(pip, "       ")?;
        if !status.success() {
            return mistake("pip can't be installed; its own words are above.");
        }
    }
    layer.store(to, How::Link)
}

fn program_of(r: &Runtime) -> PathBuf {
    match &r.at {
        At::Host(p) => p.clone(),
        At::Folder(d) => d.join("bin/python3"),
    }
}

fn stdlib(program: PathBuf) -> anyhow::Result<PathBuf> {
    spawn::output(Command::new(&program).args([
        "-I",
        "-S",
        "-c",
        "import os; print(os.path.dirname(os.__file__))",
    ]))
    .map(PathBuf::from)
    .with_context(|| format!("{} does not say where its library is", program.display()))
}

fn bundled_pip(stdlib: &Path) -> Option<PathBuf> {
    // Its own first: Debian's wheel is made for Debian's Python, and does not run on a newer one.
    [
        stdlib.join("ensurepip/_bundled"),
        PathBuf::from("/usr/share/python-wheels"),
    ]
    .iter()
    .find_map(|dir| {
        fs::read_dir(dir)
            .ok()?
            .flatten()
            .map(|e| e.path())
            .find(|p| {
                p.file_name()
                    .and_then(|n| n.to_str())
                    .is_some_and(|n| n.starts_with("pip-") && n.ends_with(".whl"))
            })
    })
}

/// A prefix around an interpreter of the host: what `venv` makes, and the library linked in, so that it also stands on
/// its own when an app sets PYTHONHOME to it, as Heroku does.
fn host_prefix(prefix: &Path, program: &Path, v: Version) -> anyhow::Result<()> {
    let (bin, lib) = (
        prefix.join("bin"),
        prefix.join(format!("lib/python{}.{}", v.0, v.1)),
    );
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(lib.join("site-packages"))?;
    symlink(program, bin.join("python"))?;
    symlink("python", bin.join("python3"))?;
    symlink("python", bin.join(format!("python3.{}", v.1)))?;
    symlink("lib", prefix.join("lib64"))?;
    let home = program.parent().unwrap_or(Path::new("/usr/bin")).display();
    fs::write(
        prefix.join("pyvenv.cfg"),
        format!("home = {home}\ninclude-system-site-packages = false\nversion = {v}\n"),
    )?;
    let stdlib = stdlib(program.into())?;
    for entry in fs::read_dir(&stdlib)? {
        let name = entry?.file_name();
        let skip = [
            "site-packages",
            "dist-packages",
            "__pycache__",
            "EXTERNALLY-MANAGED",
            "sitecustomize.py",
        ];
        if !skip.iter().any(|s| name == *s) {
            symlink(stdlib.join(&name), lib.join(&name))?;
        }
    }
    // where Debian's Python looks when it does not know that it is in a venv
    let local = prefix.join(format!("local/lib/python{}.{}", v.0, v.1));
    fs::create_dir_all(&local)?;
    symlink(
        format!("../../../lib/python{}.{}/site-packages", v.0, v.1),
        local.join("dist-packages"),
    )?;
    Ok(())
}

fn python_command(c: &Context) -> Command {
    let prefix = c.build.join(PREFIX);
    let mut p = Command::new(prefix.join("bin/python"));
    let path = std::env::var("PATH").unwrap_or_default();
    p.current_dir(&c.build)
        .env("PATH", format!("{}:{path}", prefix.join("bin").display()));
    p.env_remove("PYTHONHOME").env("PYTHONUNBUFFERED", "1");
    p.envs(
        c.config
            .iter()
            .filter(|(k, _)| k.starts_with("PIP_") || k.starts_with("UV_")),
    );
    p
}

fn install(c: &Context, plan: &Plan) -> anyhow::Result<()> {
    let status = match plan.manager {
        Manager::None => return Ok(()),
        Manager::Pip => {
            out::step("Installing dependencies using 'pip install -r requirements.txt'");
            let mut pip = python_command(c);
            pip.args([
                "-m",
                "pip",
                "install",
                "-r",
                "requirements.txt",
                "--exists-action=w",
                "--no-cache-dir",
                "--no-input",
            ]);
            pip.args([
                "--progress-bar",
                "off",
                "--disable-pip-version-check",
                "--no-compile",
            ]);
            spawn::indented(pip, "       ")?
        }
        Manager::Uv => {
            let uv = uv(c)?;
            out::step("Installing dependencies using 'uv sync --locked --no-default-groups'");
            let python = python_command(c);
            let mut sync = Command::new(uv);
            sync.current_dir(&c.build).args([
                "sync",
                "--locked",
                "--no-default-groups",
                "--no-progress",
                "--no-cache",
            ]);
            sync.envs(python.get_envs().filter_map(|(k, v)| Some((k, v?))));
            sync.env("UV_PROJECT_ENVIRONMENT", c.build.join(PREFIX))
                .env("UV_PYTHON", c.build.join(PREFIX).join("bin/python"));
            sync.env("UV_PYTHON_DOWNLOADS", "never")
                .env("UV_NO_MANAGED_PYTHON", "1")
                .env("UV_LINK_MODE", "copy");
            spawn::indented(sync, "       ")?
        }
        Manager::Poetry => {
            let poetry = tool(c, "poetry", POETRY)?;
            out::step("Installing dependencies using 'poetry sync --only main'");
            let mut p = into_prefix(c, &poetry);
            p.args(["sync", "--only", "main", "--no-ansi", "--no-interaction"]);
            spawn::indented(p, "       ")?
        }
        Manager::Pipenv => {
            let pipenv = tool(c, "pipenv", PIPENV)?;
            out::step("Installing dependencies using 'pipenv install --deploy'");
            let mut p = into_prefix(c, &pipenv);
            p.args(["install", "--deploy"]);
            spawn::indented(p, "       ")?
        }
    };
    if status.success() {
        return Ok(());
    }
    mistake(match plan.manager {
        Manager::Uv => {
            "Unable to install dependencies using uv.\n\nSee the log output above for more information.\nIf it says that the lock file is out of date, run \"uv lock\" and commit uv.lock."
        }
        Manager::Poetry => {
            "Unable to install dependencies using Poetry.\n\nSee the log output above for more information.\nIf it says that pyproject.toml changed, run \"poetry lock\" and commit poetry.lock.\nIf it wants to install the app itself and can't, set package-mode = false in [tool.poetry]."
        }
        Manager::Pipenv => {
            "Unable to install dependencies using Pipenv.\n\nSee the log output above for more information.\nIf it says that Pipfile.lock is out of date, run \"pipenv lock\" and commit it."
        }
        _ => {
            "Unable to install dependencies using pip.\n\nSee the log output above for more information."
        }
    })
}

/// A package manager that works on the app's prefix as on a virtual environment.
fn into_prefix(c: &Context, program: &Path) -> Command {
    let python = python_command(c);
    let mut p = Command::new(program);
    p.current_dir(&c.build);
    p.envs(python.get_envs().filter_map(|(k, v)| Some((k, v?))));
    p.envs(
        c.exported(PYTHON_DENIED)
            .filter(|(k, _)| k.starts_with("POETRY_") || k.starts_with("PIPENV_")),
    );
    p.env_remove("PYTHONPATH")
        .env("VIRTUAL_ENV", c.build.join(PREFIX))
        .env("POETRY_VIRTUALENVS_CREATE", "false")
        .env("POETRY_VIRTUALENVS_USE_POETRY_PYTHON", "false")
        .env("POETRY_CACHE_DIR", c.cache.join("poetry"))
        .env("POETRY_NO_INTERACTION", "1")
        .env("PIPENV_SYSTEM", "1")
        .env("PIPENV_VERBOSITY", "-1")
        .env("PIPENV_NOSPIN", "1")
        .env("PIPENV_CACHE_DIR", c.cache.join("pipenv"))
        .env("PIP_NO_COMPILE", "1");
    p
}

/// Poetry or Pipenv in an environment of its own, kept in the cache: its dependencies are not the app's.
fn tool(c: &Context, name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let python = c.build.join(PREFIX).join("bin/python");
    let real = python.canonicalize()?;
    let tag = key([("python", real.to_string_lossy().as_bytes())]);
    let dir = c
        .cache
        .join(format!("tools/{name}-{version}-{}", &tag[..8]));
    let program = dir.join("bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    out::step(&format!("Installing {name} {version}"));
    tree::remove(&dir)?;
    let mut venv = python_command(c);
    venv.args(["-m", "venv", "--without-pip"]).arg(&dir);
    if !spawn::indented(venv, "       ")?.success() {
        return mistake(format!(
            "An environment for {name} can't be made; Python's words are above."
        ));
    }
    // the app's own Python goes away with the build
    for link in ["python", "python3"] {
        let at = dir.join("bin").join(link);
        let _ = fs::remove_file(&at);
        symlink(&real, at)?;
    }
    let mut pip = python_command(c);
    pip.args(["-m", "pip", "--python"])
        .arg(dir.join("bin/python"))
        .args([
            "install",
            "--quiet",
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
        ])
        .arg(format!("{name}=={version}"));
    if !spawn::indented(pip, "       ")?.success() {
        // half an environment must not be taken for a whole one
        tree::remove(&dir)?;
        return mistake(format!(
            "{name} {version} can't be installed from the package index; pip's own words are above."
        ));
    }
    Ok(program)
}

/// The host's uv, or one from the package index, kept in the cache.
fn uv(c: &Context) -> anyhow::Result<PathBuf> {
    for dir in ["/usr/local/bin", "/usr/bin"] {
        if Path::new(dir).join("uv").is_file() {
            return Ok(Path::new(dir).join("uv"));
        }
    }
    let dir = c.cache.join(format!("tools/uv-{UV}"));
    let program = dir.join("bin/uv");
    if !program.is_file() {
        out::step(&format!("Installing uv {UV}"));
        let tmp = c.cache.join("tools/tmp");
        tree::remove(&tmp)?;
        let mut pip = python_command(c);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
            "--target",
        ]);
        pip.arg(&tmp).arg(format!("uv=={UV}"));
        if !spawn::indented(pip, "       ")?.success() {
            return mistake(format!(
                "uv {UV} can't be installed from the package index; its own words are above."
            ));
        }
        tree::remove(&dir)?;
        fs::rename(&tmp, &dir)?;
    }
    Ok(program)
}

/// Compiled code that does not look at the time of its source: times change when a slug is unpacked elsewhere.
fn compile_bytecode(c: &Context) {
    let mut p = python_command(c);
    p.args([
        "-m",
        "compileall",
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
    ]);
    // tools of the build: half of all files, and nothing that an app imports
    p.args(["-x", "/site-packages/(pip|wheel)/"]);
    p.arg(site_packages(c));
    // a package may hold files of another Python's grammar; they stay uncompiled
    let _ = spawn::output(&mut p);
}

fn site_packages(c: &Context) -> PathBuf {
    let lib = c.build.join(PREFIX).join("lib");
    fs::read_dir(&lib)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("site-packages"))
        .find(|p| p.is_dir())
        .unwrap_or(lib)
}

/// Makes installed scripts find their interpreter beside themselves, for where the app is not at `/app`.
fn relocate(prefix: &Path) -> anyhow::Result<()> {
    let start = format!("#!{}/bin/python", prefix.display());
    let long = format!("'''exec' {}/bin/python", prefix.display());
    for entry in fs::read_dir(prefix.join("bin"))?.flatten() {
        if !entry.file_type()?.is_file() {
            continue;
        }
        let path = entry.path();
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let body = if text.starts_with(&start) {
            text.split_once('\n').map_or("", |(_, b)| b)
        } else if text.starts_with("#!/bin/sh\n")
            && text
                .lines()
                .nth(1)
                .is_some_and(|l| l.replace('"', "").starts_with(&long))
        {
            text.splitn(4, '\n').nth(3).unwrap_or_default()
        } else {
            continue;
        };
        let new = format!(
            "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")/python\" \"$0\" \"$@\"\n' '''\n{body}"
        );
        let mode = fs::metadata(&path)?.permissions();
        // a new file: the old one may be linked elsewhere
        fs::remove_file(&path)?;
        fs::write(&path, new)?;
        fs::set_permissions(&path, mode)?;
    }
    Ok(())
}

/// The environment of the app's own code at build time: config vars, and Python first on the path.
fn app_command(c: &Context, program: &Path) -> Command {
    let mut p = Command::new(program);
    p.current_dir(&c.build).envs(c.exported(PYTHON_DENIED));
    let path = std::env::var("PATH").unwrap_or_default();
    p.env(
        "PATH",
        format!("{}:{path}", c.build.join(PREFIX).join("bin").display()),
    );
    p.env("PYTHONUNBUFFERED", "1")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    p
}

fn hook(c: &Context, name: &str) -> anyhow::Result<()> {
    let path = c.build.join(name);
    let mode = fs::metadata(&path)?.permissions().mode();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o111))?;
    let mut p = app_command(c, &path);
    if !fs::read(&path)?.starts_with(b"#!") {
        p = app_command(c, Path::new("bash"));
        p.arg(&path);
    }
    p.env("BUILD_DIR", &c.build).env("CACHE_DIR", &c.cache);
    let status = spawn::indented(p, "")?;
    if status.success() {
        return Ok(());
    }
    mistake(format!(
        "Failed to run the {name} script.\n\nIt exited with status {}; its output is above.",
        spawn::code(status)
    ))
}

fn nltk(c: &Context, plan: &Plan) -> anyhow::Result<()> {
    if plan.nltk.is_empty() || !site_packages(c).join("nltk").is_dir() {
        return Ok(());
    }
    out::step("Downloading NLTK packages");
    out::detail(&plan.nltk.join(" "));
    let mut p = app_command(c, &c.build.join(PREFIX).join("bin/python"));
    p.args(["-m", "nltk.downloader", "-d"])
        .arg(c.build.join(PREFIX).join("nltk_data"))
        .args(&plan.nltk);
    if spawn::indented(p, "       ")?.success() {
        return Ok(());
    }
    mistake("Unable to download the NLTK packages of nltk.txt; the downloader's words are above.")
}

fn collectstatic(c: &Context, plan: &Plan) -> anyhow::Result<()> {
    let Some(manage) = &plan.manage_py else {
        return Ok(());
    };
    if !site_packages(c).join("django").is_dir() {
        return Ok(());
    }
    out::step(&format!("$ python {manage} collectstatic --noinput"));
    let mut p = app_command(c, &c.build.join(PREFIX).join("bin/python"));
    p.args([manage.as_str(), "collectstatic", "--noinput", "--traceback"]);
    if spawn::indented(p, "       ")?.success() {
        return Ok(());
    }
    mistake(
        "Unable to generate Django static files.\n\n\
         The 'python manage.py collectstatic' command failed; its words are above.\n\
         If the app has no static files to collect, set the config var DISABLE_COLLECTSTATIC=1.",
    )
}

fn profile(standalone: bool) -> String {
    let home = if standalone {
        "export PYTHONHOME=\"$HOME/.heroku/python\"\n\
         export LIBRARY_PATH=\"$HOME/.heroku/python/lib${LIBRARY_PATH:+:$LIBRARY_PATH}\"\n\
         export LD_LIBRARY_PATH=\"$HOME/.heroku/python/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\n"
    } else {
        ""
    };
    format!(
        r#"export PATH="$HOME/.heroku/python/bin:$PATH"
export PYTHONUNBUFFERED=true
{home}export PYTHONPATH="${{PYTHONPATH:-$HOME}}"
export LANG="${{LANG:-en_US.UTF-8}}"
export PIP_DISABLE_PIP_VERSION_CHECK=1
export FORWARDED_ALLOW_IPS="${{FORWARDED_ALLOW_IPS-*}}"
export GUNICORN_CMD_ARGS="${{GUNICORN_CMD_ARGS:---access-logfile -}}"
[ -d "$HOME/.heroku/python/nltk_data" ] && export NLTK_DATA="$HOME/.heroku/python/nltk_data"
{MEMORY}if [ -z "${{WEB_CONCURRENCY:-}}" ]; then
  _cores=$(nproc 2>/dev/null || echo 1)
  _most=$((2 * _cores + 1))
  WEB_CONCURRENCY=$((_mib / 256))
  [ "$WEB_CONCURRENCY" -gt "$_most" ] && WEB_CONCURRENCY=$_most
  [ "$WEB_CONCURRENCY" -lt 1 ] && WEB_CONCURRENCY=1
  export WEB_CONCURRENCY WEB_CONCURRENCY_SET_BY=heroku/python
  unset _cores _most
fi
export DYNO_RAM="$_mib"
unset _mib
"#
    )
}

/// Sets `_mib` to the memory of the dyno, 512 when nothing limits it, with the shell's own means only.
pub const MEMORY: &str = r#"_mib=
for _file in /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; do
  if [ -z "$_mib" ] && [ -r "$_file" ]; then
    read -r _bytes < "$_file"
    case "$_bytes" in *[!0-9]*|"") ;; *) [ ${#_bytes} -lt 13 ] && _mib=$((_bytes / 1048576)) ;; esac
  fi
done
[ -n "$_mib" ] || _mib=512
unset _file _bytes
"#;

fn export(c: &Context, standalone: bool) -> String {
    let prefix = c.build.join(PREFIX);
    let p = prefix.display();
    let mut out = format!(
        "export PATH=\"{p}/bin:$PATH\"\nexport PYTHONUNBUFFERED=true\nexport PYTHONPATH=\"${{PYTHONPATH:-{}}}\"\n",
        c.build.display()
    );
    if standalone {
        out += &format!(
            "export PYTHONHOME=\"{p}\"\nexport LD_LIBRARY_PATH=\"{p}/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n"
        );
    }
    out
}
