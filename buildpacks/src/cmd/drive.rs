//! A whole build inside its walls: choose, detect, compile, export, release; then the result file.

use super::{out, spawn};
use hokku_buildpacks::{
    Builtin, choice, names,
    order::{Failure, Order, Outcome},
    release_yaml,
    source::Source,
    tree,
};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    io::Read,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

/// The most bytes of a Procfile that are passed on; the reader says that it is too long.
const MAX_PROCFILE: u64 = 256 * 1024 + 1;

/// `hokku-buildpack drive ORDER.json`: exit status 0 when the build succeeded.
pub fn main(file: &Path) -> ExitCode {
    let order: Order = match fs::read(file)
        .map_err(|e| e.to_string())
        .and_then(|b| serde_json::from_slice(&b).map_err(|e| e.to_string()))
    {
        Ok(o) => o,
        Err(e) => {
            eprintln!("The order {} can't be read: {e}.", file.display());
            return ExitCode::from(2);
        }
    };
    let mut drive = Drive {
        outcome: Outcome::default(),
        env: environment(&order),
        order: &order,
    };
    let failure = drive.run().err();
    let mut outcome = drive.outcome;
    let failed = failure.is_some();
    outcome.failure = failure;
    let tmp = order.result.with_extension("tmp");
    let written = serde_json::to_vec(&outcome)
        .map_err(std::io::Error::from)
        .and_then(|b| fs::write(&tmp, b))
        .and_then(|()| fs::rename(&tmp, &order.result));
    if let Err(e) = written {
        out::error(&format!("The result of the build can't be written: {e}."));
        return ExitCode::from(3);
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// What `detect`, `compile` and `release` see: nothing but this.
fn environment(o: &Order) -> BTreeMap<OsString, OsString> {
    let locale = [
        "/usr/lib/locale/locale-archive",
        "/usr/lib/locale/en_US.utf8",
        "/usr/lib/locale/en_US.UTF-8",
    ];
    let lang = if locale.iter().any(|l| Path::new(l).exists()) {
        "en_US.UTF-8"
    } else {
        "C.UTF-8"
    };
    let mut env = BTreeMap::new();
    let mut set = |k: &str, v: &OsStr| {
        env.insert(OsString::from(k), v.to_owned());
    };
    set(
        "PATH",
        OsStr::new("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    );
    set("LANG", OsStr::new(lang));
    set("CURL_CONNECT_TIMEOUT", OsStr::new("30"));
    set("CURL_TIMEOUT", OsStr::new("180"));
    set("DYNO", OsStr::new("run.1"));
    for (k, v) in &o.env {
        set(k, OsStr::new(v));
    }
    set("HOME", o.build_dir.as_os_str());
    set("STACK", OsStr::new(&o.stack));
    set("REQUEST_ID", OsStr::new(&o.request_id));
    set("SOURCE_VERSION", OsStr::new(&o.source_version));
    for never in ["GIT_DIR", "PORT"] {
        env.remove(OsStr::new(never));
    }
    env
}

/// A buildpack that can be run.
struct Pack {
    pin: String,
    /// Writable, its own for this build.
    dir: PathBuf,
    builtin: Option<Builtin>,
}

struct Drive<'a> {
    order: &'a Order,
    env: BTreeMap<OsString, OsString>,
    outcome: Outcome,
}

impl Drive<'_> {
    fn time(&mut self, what: &str, since: Instant) {
        let us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.outcome.timings.push((what.to_owned(), us));
    }

    fn run(&mut self) -> Result<(), Failure> {
        let o = self.order;
        let started = Instant::now();
        for dir in [&o.cache_dir, &o.scratch] {
            fs::create_dir_all(dir)
                .map_err(|e| buildpack(format!("{} can't be made: {e}", dir.display())))?;
        }
        let source = Source::read(&o.build_dir)
            .map_err(|e| buildpack(format!("The source can't be read: {e}")))?;
        let named = choice::named(&source, self.buildpack_url().as_deref())
            .map_err(|message| Failure::Undetected { message })?;
        let detected = named.is_none() && o.buildpacks.is_empty();
        let packs = match named {
            _ if !o.buildpacks.is_empty() => {
                if let Some((list, from)) = named
                    && list != o.buildpacks
                {
                    out::detail(&format!(
                        "The buildpacks in {from} are not used: those of the app count (app buildpacks)"
                    ));
                }
                self.chosen(&o.buildpacks)?
            }
            Some((list, from)) => {
                out::step(&format!("Using the buildpacks named in {from}"));
                self.chosen(&list)?
            }
            None => vec![self.detect(&source)?],
        };
        self.time("detect", started);
        let several = packs.len() > 1 || packs.iter().any(|p| p.builtin.is_none());
        if several {
            self.env.insert("HOKKU_LAYERS".into(), "copy".into());
        }
        self.outcome.buildpacks = packs.iter().map(|p| p.pin.clone()).collect();
        for (i, pack) in packs.iter().enumerate() {
            if !detected {
                self.agree(pack)?;
            }
            let started = Instant::now();
            let args = [&o.build_dir, &o.cache_dir, &o.env_dir];
            let mut compile = self.command(pack, "compile", &args);
            // operators' settings that only our own buildpacks know
            if pack.builtin.is_some() {
                compile.env("HOKKU_BUILDPACK_DIR", &pack.dir);
                if let Some(l) = &o.link_dir {
                    compile.env("HOKKU_LINK_DIR", l);
                }
                if let Some(m) = &o.runtime_mirror {
                    compile.env("HOKKU_RUNTIME_MIRROR", m);
                }
                if o.runtime_nearest {
                    compile.env("HOKKU_RUNTIME_NEAREST", "1");
                }
            }
            compile.stdin(Stdio::null());
            // one pipe for both, or their lines would change places
            let status = std::io::stdout()
                .as_fd_clone()
                .and_then(|fd| {
                    compile.stderr(Stdio::from(fd));
                    compile.status()
                })
                .map_err(|e| {
                    buildpack(format!("{}: bin/compile can't be started: {e}", pack.pin))
                })?;
            let label = if self.outcome.language.is_empty() {
                &pack.pin
            } else {
                &self.outcome.language
            };
            let label = if several {
                pack.pin.clone()
            } else {
                label.clone()
            };
            self.time(&format!("compile {label}"), started);
            if !status.success() {
                return Err(Failure::Compile {
                    status: spawn::code(status),
                });
            }
            if i + 1 < packs.len() {
                self.source_export(pack)?;
            }
        }
        let started = Instant::now();
        if let Some(last) = packs.last() {
            self.release(last)?;
        }
        self.time("release", started);
        self.outcome.procfile = procfile(&o.build_dir)
            .map_err(|e| buildpack(format!("The Procfile can't be read: {e}")))?;
        Ok(())
    }

    fn command(&self, pack: &Pack, step: &str, args: &[&PathBuf]) -> Command {
        let mut c = match pack.builtin {
            Some(b) => {
                let mut c = Command::new(
                    std::env::current_exe().unwrap_or_else(|_| "hokku-buildpack".into()),
                );
                c.args([b.arg(), step]);
                c
            }
            None => Command::new(pack.dir.join("bin").join(step)),
        };
        c.args(args)
            .current_dir(&pack.dir)
            .env_clear()
            .envs(&self.env);
        c
    }

    /// Runs `detect`: the name, or the text of why not.
    fn ask(&self, pack: &Pack) -> Result<String, String> {
        let out = self
            .command(pack, "detect", &[&self.order.build_dir])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("bin/detect can't be started: {e}"))?;
        if out.status.success() {
            let name = String::from_utf8_lossy(&out.stdout);
            let name: String = name
                .lines()
                .next()
                .unwrap_or_default()
                .trim()
                .chars()
                .filter(|c| !c.is_control())
                .take(60)
                .collect();
            return Ok(if name.is_empty() {
                pack.pin.clone()
            } else {
                name
            });
        }
        let mut why = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        if why.is_empty() {
            why = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        }
        Err(why.chars().take(4000).collect())
    }

    /// The config var, as a buildpack would see it.
    fn buildpack_url(&self) -> Option<String> {
        fs::read_to_string(self.order.env_dir.join("BUILDPACK_URL")).ok()
    }

    fn detect(&mut self, source: &Source) -> Result<Pack, Failure> {
        let fit: Vec<(Builtin, &str)> = Builtin::ALL
            .into_iter()
            .filter_map(|b| Some((b, b.sign(source)?)))
            .collect();
        if let [(b, sign), others @ ..] = &fit[..] {
            out::step(&format!("{} app detected", b.label()));
            if *b != Builtin::Procfile {
                out::detail(&format!("because of {sign} in the root folder"));
            }
            // a static page or a Procfile beside an app is no second language
            for (other, sign) in others
                .iter()
                .filter(|(o, _)| !matches!(o, Builtin::Static | Builtin::Procfile))
            {
                out::detail(&format!(
                    "{sign} would make it a {} app; {} is asked first. To choose: app buildpacks:set {}",
                    other.label(),
                    b.label(),
                    other.pin()
                ));
            }
            self.outcome.language = b.label().into();
            return self.builtin(*b, 0);
        }
        let files = fs::read_dir(&self.order.build_dir)
            .map(|d| d.flatten().count())
            .unwrap_or(0);
        let why = if files == 0 {
            "The repository is empty."
        } else {
            "In the root folder of the repository there is no Gemfile (Ruby), package.json (Node.js), requirements.txt or\n\
             uv.lock (Python), pom.xml (Java), build.gradle (Gradle), composer.json or index.php (PHP), go.mod (Go),\n\
             Cargo.toml (Rust), index.html or static.json (static site), and no Procfile."
        };
        Err(Failure::Undetected {
            message: format!(
                "No default language could be detected for this app.\n\n{why}\n\n\
                 Commit one of these files to the root folder, or choose a buildpack for the app."
            ),
        })
    }

    fn builtin(&self, b: Builtin, number: usize) -> Result<Pack, Failure> {
        let dir = self.order.scratch.join(format!("buildpack-{number}"));
        fs::create_dir_all(&dir)
            .map_err(|e| buildpack(format!("{} can't be made: {e}", dir.display())))?;
        Ok(Pack {
            pin: b.pin().into(),
            dir,
            builtin: Some(b),
        })
    }

    fn chosen(&self, list: &[String]) -> Result<Vec<Pack>, Failure> {
        let mut packs = vec![];
        if list.len() > 1 {
            out::step("Using buildpacks:");
            for (i, b) in list.iter().enumerate() {
                out::detail(&format!("{}. {b}", i + 1));
            }
        } else {
            out::step(&format!("Using buildpack: {}", list[0]));
        }
        for (i, name) in list.iter().enumerate() {
            // the operator's own word for a name goes before what is built in
            let own = self
                .order
                .names
                .keys()
                .any(|k| k.eq_ignore_ascii_case(name));
            let pack = match Builtin::by_name(name) {
                Some(b) if !own => self.builtin(b, i)?,
                _ => self.foreign(name, i)?,
            };
            packs.push(pack);
        }
        Ok(packs)
    }

    /// Asks a chosen buildpack, when its turn has come: the one before it may have made what it looks for.
    fn agree(&mut self, pack: &Pack) -> Result<(), Failure> {
        match self.ask(pack) {
            Ok(name) => {
                out::step(&format!("{name} app detected"));
                self.outcome.language = name;
                Ok(())
            }
            Err(why) => Err(Failure::Undetected {
                message: format!("App not compatible with buildpack: {}\n\n{why}", pack.pin),
            }),
        }
    }

    /// A third-party buildpack: a folder, an archive or a git repository, copied so that it may write into itself.
    fn foreign(&self, name: &str, number: usize) -> Result<Pack, Failure> {
        let dir = self.order.scratch.join(format!("buildpack-{number}"));
        let bad = |why: String| buildpack(format!("The buildpack {name} can't be had: {why}"));
        let whole = names::address(name, &self.order.names);
        let (address, reference) = whole.split_once('#').unwrap_or((&whole, ""));
        let folder = address.strip_prefix("file://").unwrap_or(address);
        if reference.starts_with('-') || address.starts_with('-') {
            return Err(bad("its address begins with a dash".into()));
        }
        if folder.starts_with('/') && Path::new(folder).join("bin").is_dir() {
            tree::replicate(Path::new(folder), &dir, tree::How::Copy)
                .map_err(|e| bad(e.to_string()))?;
        } else if [".tgz", ".tar.gz", ".tbz", ".tar.bz2", ".tar"]
            .iter()
            .any(|e| address.ends_with(e))
        {
            let archive = self
                .order
                .scratch
                .join(format!("buildpack-{number}.archive"));
            self.quiet(
                "curl",
                &[
                    "--fail",
                    "--silent",
                    "--show-error",
                    "--location",
                    "--max-time",
                    "90",
                    "--output",
                    &archive.display().to_string(),
                    address,
                ],
            )
            .map_err(bad)?;
            fs::create_dir_all(&dir).map_err(|e| bad(e.to_string()))?;
            let (a, d) = (archive.display().to_string(), dir.display().to_string());
            self.quiet("tar", &["-xf", &a, "-C", &d, "--no-same-owner"])
                .map_err(bad)?;
            lift(&dir).map_err(|e| bad(e.to_string()))?;
        } else if address.contains("://") || address.starts_with("git@") || folder.starts_with('/')
        {
            let d = dir.display().to_string();
            let shallow = if reference.is_empty() {
                self.quiet(
                    "git",
                    &["clone", "--quiet", "--depth", "1", "--", address, &d],
                )
            } else {
                self.quiet(
                    "git",
                    &[
                        "clone", "--quiet", "--depth", "1", "--branch", reference, "--", address,
                        &d,
                    ],
                )
            };
            if let Err(first) = shallow {
                // a commit's name can't be cloned, only checked out
                if reference.is_empty() {
                    return Err(bad(first));
                }
                tree::remove(&dir).map_err(|e| bad(e.to_string()))?;
                self.quiet("git", &["clone", "--quiet", "--", address, &d])
                    .map_err(bad)?;
                self.quiet(
                    "git",
                    &["-C", &d, "checkout", "--quiet", "--detach", reference],
                )
                .map_err(bad)?;
            }
        } else {
            return Err(buildpack(format!(
                "There is no buildpack {name:?} here.\n\n\
                 Built in are heroku/ruby, heroku/nodejs, heroku/python, heroku/java, heroku/gradle, heroku/php, heroku/go,\n\
                 hokku/rust, hokku/static and hokku/procfile. Any other is named by the\n\
                 address of its git repository or .tgz archive, or by a folder of the host."
            )));
        }
        for step in ["detect", "compile", "release"] {
            let script = dir.join("bin").join(step);
            match fs::metadata(&script) {
                Ok(m) => {
                    let _ = fs::set_permissions(
                        &script,
                        fs::Permissions::from_mode(m.permissions().mode() | 0o111),
                    );
                }
                Err(_) if step == "release" => {}
                Err(_) => {
                    return Err(bad(format!(
                        "it has no bin/{step}; it is no classic buildpack"
                    )));
                }
            }
        }
        Ok(Pack {
            pin: name.to_owned(),
            dir,
            builtin: None,
        })
    }

    fn quiet(&self, program: &str, args: &[&str]) -> Result<(), String> {
        let mut c = Command::new(program);
        c.args(args)
            .env_clear()
            .envs(&self.env)
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null());
        let out = c
            .output()
            .map_err(|e| format!("{program} can't be started: {e}"))?;
        if out.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).trim().to_owned())
        }
    }

    /// Sources `export` as bash does, and takes over what it exports.
    fn source_export(&mut self, pack: &Pack) -> Result<(), Failure> {
        let file = pack.dir.join("export");
        if !file.is_file() {
            return Ok(());
        }
        let out = Command::new("bash")
            .args(["-c", ". \"$1\" >&2; exec env -0", "bash"])
            .arg(&file)
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| buildpack(format!("bash can't be started: {e}")))?;
        if !out.status.success() {
            return Err(buildpack(format!(
                "The export file of {} failed.",
                pack.pin
            )));
        }
        let mut env = BTreeMap::new();
        for pair in out.stdout.split(|b| *b == 0) {
            if let Some(at) = pair.iter().position(|b| *b == b'=') {
                env.insert(
                    OsString::from_vec(pair[..at].to_vec()),
                    OsString::from_vec(pair[at + 1..].to_vec()),
                );
            }
        }
        for own in ["_", "SHLVL", "OLDPWD", "PWD"] {
            env.remove(OsStr::new(own));
        }
        self.env = env;
        Ok(())
    }

    fn release(&mut self, pack: &Pack) -> Result<(), Failure> {
        if pack.builtin.is_none() && !pack.dir.join("bin/release").is_file() {
            return Ok(());
        }
        // the export file is not sourced for it
        let out = self
            .command(pack, "release", &[&self.order.build_dir])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| buildpack(format!("{}: bin/release can't be started: {e}", pack.pin)))?;
        if !out.status.success() {
            return Err(Failure::Compile {
                status: spawn::code(out.status),
            });
        }
        self.outcome.default_types =
            release_yaml::default_process_types(&String::from_utf8_lossy(&out.stdout));
        Ok(())
    }
}

trait FdClone {
    fn as_fd_clone(&self) -> std::io::Result<std::os::fd::OwnedFd>;
}
impl FdClone for std::io::Stdout {
    fn as_fd_clone(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        use std::os::fd::AsFd;
        self.as_fd().try_clone_to_owned()
    }
}

fn buildpack(message: String) -> Failure {
    Failure::Buildpack { message }
}

/// An archive with one folder at its top: its content moves up.
fn lift(dir: &Path) -> std::io::Result<()> {
    if dir.join("bin").is_dir() {
        return Ok(());
    }
    let entries: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|e| e.path()).collect();
    if let [only] = &entries[..]
        && only.join("bin").is_dir()
    {
        let aside = dir.with_extension("lift");
        fs::rename(only, &aside)?;
        fs::remove_dir(dir)?;
        fs::rename(aside, dir)?;
    }
    Ok(())
}

fn procfile(build: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match fs::File::open(build.join("Procfile")) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        f => f?,
    };
    let mut bytes = vec![];
    file.take(MAX_PROCFILE).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
