//! Python: what an app needs, by Heroku's rules first.

pub mod requirements;

use crate::{
    runtime::Request,
    source::Source,
    version::{Range, Version},
};
use std::collections::BTreeMap;

/// Any of these at the root makes it a Python app, those that say most first.
pub const SIGNS: &[&str] = &[
    "requirements.txt",
    "Pipfile.lock",
    "Pipfile",
    "poetry.lock",
    "uv.lock",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    ".python-version",
    "runtime.txt",
    "manage.py",
    "app.py",
    "main.py",
    "server.py",
    "__init__.py",
];

/// What installs the dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// requirements.txt
    Pip,
    /// uv.lock
    Uv,
    /// poetry.lock
    Poetry,
    /// Pipfile.lock
    Pipenv,
    /// Nothing to install.
    None,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Who installs.
    pub manager: Manager,
    /// Which Python.
    pub python: Request,
    /// Texts that decide what gets installed, by name: the cache key.
    pub key: Vec<(String, Vec<u8>)>,
    /// Must the installer run even when nothing of the key changed? Local paths and repositories change unseen.
    pub always_install: bool,
    /// `manage.py`, when Django's static files are to be collected if Django gets installed.
    pub manage_py: Option<String>,
    /// `bin/pre_compile` is there.
    pub pre_compile: bool,
    /// `bin/post_compile` is there.
    pub post_compile: bool,
    /// Packages of `nltk.txt`.
    pub nltk: Vec<String>,
    /// For the build's output.
    pub warnings: Vec<String>,
}

/// Plans a build. `config` are the config vars, `last` is the Python version of the last build.
///
/// # Errors
/// Why the app can't be built, for its author.
pub fn plan(
    source: &Source,
    config: &BTreeMap<String, String>,
    last: Option<Version>,
) -> Result<Plan, String> {
    let mut warnings = vec![];
    if source.has(".heroku/python") {
        return Err("The folder .heroku/python is committed to the app's git repository.\n\n\
             It is where the build puts Python itself; remove it:\n    git rm -r --cached .heroku/python"
            .into());
    }
    let manager = manager(source, &mut warnings)?;
    let python = request(source, manager, last, &mut warnings)?;
    let mut key: Vec<(String, Vec<u8>)> = vec![];
    let mut always_install = false;
    match manager {
        Manager::Pip => {
            let mut todo = vec!["requirements.txt".to_owned()];
            while let Some(file) = todo.pop() {
                let (Some(bytes), false) =
                    (source.bytes(&file), key.iter().any(|(n, _)| *n == file))
                else {
                    continue;
                };
                let read = requirements::read(&String::from_utf8_lossy(bytes));
                always_install |= read.unseen;
                let folder = file
                    .rsplit_once('/')
                    .map_or(String::new(), |(f, _)| format!("{f}/"));
                todo.extend(read.includes.iter().map(|i| format!("{folder}{i}")));
                // names that `Source` folded: take every text file it followed
                key.push((file, bytes.to_vec()));
            }
            for (name, bytes) in source.files() {
                if name.ends_with(".txt")
                    && name != "runtime.txt"
                    && name != "nltk.txt"
                    && !key.iter().any(|(n, _)| n == name)
                {
                    always_install |= requirements::read(&String::from_utf8_lossy(bytes)).unseen;
                    key.push((name.into(), bytes.to_vec()));
                }
            }
            key.sort();
        }
        Manager::Uv => {
            let project = source.text("pyproject.toml").unwrap_or_default();
            let lock = source.text("uv.lock").unwrap_or_default();
            // the project itself is installed too when it says how it is built
            always_install = project.contains("[build-system]")
                || lock.contains("source = { editable = \".")
                || lock.contains("source = { directory =")
                || lock.contains("source = { path =");
            key.push(("pyproject.toml".into(), project.into_bytes()));
            key.push(("uv.lock".into(), lock.into_bytes()));
        }
        Manager::Poetry => {
            let project = source.text("pyproject.toml").unwrap_or_default();
            let lock = source.text("poetry.lock").unwrap_or_default();
            // the project itself is installed too, unless it is no package
            let no_package = project.lines().any(|l| {
                let l: String = l.split_whitespace().collect();
                l == "package-mode=false"
            });
            always_install = !no_package
                || lock.contains("type = \"directory\"")
                || lock.contains("type = \"file\"");
            key.push(("pyproject.toml".into(), project.into_bytes()));
            key.push(("poetry.lock".into(), lock.into_bytes()));
        }
        Manager::Pipenv => {
            let lock = source.text("Pipfile.lock").unwrap_or_default();
            always_install = lock.contains("\"path\":") || lock.contains("\"file\":");
            for file in ["Pipfile", "Pipfile.lock"] {
                if let Some(b) = source.bytes(file) {
                    key.push((file.into(), b.to_vec()));
                }
            }
        }
        Manager::None => {}
    }
    let on = |k: &str| config.get(k).is_some_and(|v| v != "0");
    let collect = !on("DISABLE_COLLECTSTATIC") && !source.has(".heroku/collectstatic_disabled");
    Ok(Plan {
        manager,
        python,
        key,
        always_install,
        manage_py: source
            .paths()
            .find(|p| *p == "manage.py" || p.ends_with("/manage.py"))
            .filter(|_| collect)
            .map(String::from),
        pre_compile: source.has("bin/pre_compile"),
        post_compile: source.has("bin/post_compile"),
        nltk: source
            .text("nltk.txt")
            .map(|t| {
                t.split_whitespace()
                    .filter(|w| {
                        w.bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
                    })
                    .map(String::from)
                    .collect()
            })
            .unwrap_or_default(),
        warnings,
    })
}

fn manager(source: &Source, warnings: &mut Vec<String>) -> Result<Manager, String> {
    let found: Vec<&str> = ["Pipfile.lock", "requirements.txt", "poetry.lock", "uv.lock"]
        .into_iter()
        .filter(|f| source.has(f))
        .collect();
    // where Heroku refuses two, its older versions took the first of this order
    if let Some(file) = found.first().copied() {
        let m = match file {
            "Pipfile.lock" => Manager::Pipenv,
            "requirements.txt" => Manager::Pip,
            "poetry.lock" => Manager::Poetry,
            _ => Manager::Uv,
        };
        let others: Vec<&str> = found.into_iter().filter(|f| *f != file).collect();
        if !others.is_empty() {
            warnings.push(format!(
                "{file} is used; {} is ignored. Keep one of them only.",
                others.join(" and ")
            ));
        }
        return Ok(m);
    }
    if source.has("Pipfile") {
        return Err("There is a Pipfile, but no Pipfile.lock.\n\n\
             Run \"pipenv lock\" and commit Pipfile.lock."
            .into());
    }
    if let Some(p) = source.text("pyproject.toml") {
        let wants = p.parse::<toml::Table>().ok().and_then(|t| {
            let project = t
                .get("project")?
                .get("dependencies")?
                .as_array()
                .map(|d| !d.is_empty());
            let poetry = t.get("tool").and_then(|t| t.get("poetry")).is_some();
            project.map(|p| p || poetry)
        });
        if wants == Some(true) {
            return Err(
                "pyproject.toml names dependencies, but there is no lock file.\n\n\
                 Run \"uv lock\" and commit uv.lock, or commit a requirements.txt."
                    .into(),
            );
        }
    }
    if source.has("setup.py") {
        return Err("There is a setup.py, but no requirements.txt.\n\n\
             To install the app's own package with its dependencies, commit a requirements.txt with the one line\n    -e ."
            .into());
    }
    warnings
        .push("There is no requirements.txt and no uv.lock: no dependencies are installed.".into());
    Ok(Manager::None)
}

fn request(
    source: &Source,
    manager: Manager,
    last: Option<Version>,
    warnings: &mut Vec<String>,
) -> Result<Request, String> {
    if let Some(bytes) = source.bytes("runtime.txt") {
        let text = utf8(bytes, "runtime.txt")?;
        let text = text.trim();
        if source.has(".python-version") {
            warnings.push("runtime.txt and .python-version are both there; runtime.txt is used, as on Heroku.".into());
        }
        return match text.strip_prefix("python-").and_then(numbers) {
            Some(r) => Ok(r.from("runtime.txt", &text["python-".len()..])),
            None => Err(format!(
                "runtime.txt holds {:?}, which is no Python version.\n\n\
                 It must be one line such as:\n    python-3.11\n\
                 Better: delete runtime.txt and write a .python-version with:\n    3.11",
                short(text)
            )),
        };
    }
    if let Some(bytes) = source.bytes(".python-version") {
        return python_version(bytes);
    }
    for (name, right) in [
        (".python_version", ".python-version"),
        ("python-version", ".python-version"),
        ("Runtime.txt", "runtime.txt"),
    ] {
        if source.has(name) {
            warnings.push(format!("{name:?} is not read; did you mean {right:?}?"));
        }
    }
    if manager == Manager::Pipenv
        && let Some(r) = pipfile_lock(source)?
    {
        return Ok(r);
    }
    if matches!(manager, Manager::Uv | Manager::Poetry) {
        let requires = source
            .text("pyproject.toml")
            .and_then(|t| t.parse::<toml::Table>().ok())
            .and_then(|t| {
                let project = t.get("project").and_then(|p| p.get("requires-python"));
                let poetry = || {
                    t.get("tool")?
                        .get("poetry")?
                        .get("dependencies")?
                        .get("python")
                };
                project.or_else(poetry)?.as_str().map(String::from)
            });
        if let Some(text) = requires {
            // Poetry writes ranges as npm does, too
            let range = Range::pep440(&text)
                .or_else(|_| Range::npm(&text.replace(',', " ")))
                .map_err(|e| format!("requires-python in pyproject.toml: {e}"))?;
            return Ok(Request {
                range,
                text,
                from: Some("pyproject.toml (requires-python)".into()),
            });
        }
    }
    let tools = source.text(".tool-versions").unwrap_or_default();
    if let Some(v) = tools.lines().find_map(|l| {
        l.trim()
            .strip_prefix("python ")
            .map(|v| v.trim().to_owned())
    }) && let Some(r) = numbers(&v)
    {
        return Ok(r.from(".tool-versions", &v));
    }
    if let Some(Version(a, b, _)) = last {
        return Ok(Request {
            range: Range::prefix(a, b, None),
            text: format!("{a}.{b}"),
            from: None,
        });
    }
    Ok(Request::any())
}

/// What Pipenv locked: `python_full_version`, else `python_version`.
fn pipfile_lock(source: &Source) -> Result<Option<Request>, String> {
    let text = source.text("Pipfile.lock").unwrap_or_default();
    let lock: serde_json::Value = serde_json::from_str(&text).map_err(|e| {
        format!("Pipfile.lock is not valid JSON: {e}.\n\nRun \"pipenv lock\" and commit it.")
    })?;
    for name in ["python_full_version", "python_version"] {
        if let Some(v) = lock
            .pointer(&format!("/_meta/requires/{name}"))
            .and_then(serde_json::Value::as_str)
        {
            return numbers(v)
                .map(|n| Some(n.from("Pipfile.lock", v)))
                .ok_or_else(|| {
                    format!(
                        "Pipfile.lock asks for Python {:?}, which is no version.",
                        short(v)
                    )
                });
        }
    }
    Ok(None)
}

struct Numbers(Range);
impl Numbers {
    fn from(self, file: &str, text: &str) -> Request {
        Request {
            range: self.0,
            text: text.trim().into(),
            from: Some(file.into()),
        }
    }
}

/// `N.N` or `N.N.N`.
fn numbers(s: &str) -> Option<Numbers> {
    let parts: Vec<u32> = s
        .split('.')
        .map(|p| {
            if p.is_empty() || p.len() > 6 || !p.bytes().all(|b| b.is_ascii_digit()) {
                None
            } else {
                p.parse().ok()
            }
        })
        .collect::<Option<_>>()?;
    match parts[..] {
        [a, b] => Some(Numbers(Range::prefix(a, b, None))),
        [a, b, c] => Some(Numbers(Range::prefix(a, b, Some(c)))),
        _ => None,
    }
}

fn utf8<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str, String> {
    let bad = || {
        format!(
            "{file} is not plain UTF-8 text without a byte order mark.\n\nSave it again in that form and commit it."
        )
    };
    let text = std::str::from_utf8(bytes).map_err(|_| bad())?;
    if text.starts_with('\u{feff}') || text.contains('\0') {
        Err(bad())
    } else {
        Ok(text)
    }
}

fn python_version(bytes: &[u8]) -> Result<Request, String> {
    let text = utf8(bytes, ".python-version")?;
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect();
    let hint = "It must hold one version and nothing else, such as:\n    3.11";
    match lines[..] {
        [one] => numbers(one)
            .map(|n| n.from(".python-version", one))
            .ok_or_else(|| {
                format!(
                    ".python-version holds {:?}, which is no Python version.\n\n{hint}",
                    short(one)
                )
            }),
        [] => Err(format!(
            "No Python version was found in .python-version.\n\n{hint}"
        )),
        _ => Err(format!(
            "Several versions were found in .python-version.\n\n{hint}"
        )),
    }
}

fn short(s: &str) -> String {
    s.chars().take(80).collect()
}

/// What to add to the Procfile, when it has no web process and the app looks like one that needs it.
pub fn suggestion(source: &Source, settings: Option<&str>) -> Option<String> {
    let requirements = format!(
        "{}{}",
        source.text("requirements.txt").unwrap_or_default(),
        ["uv.lock", "poetry.lock", "Pipfile.lock"]
            .iter()
            .filter_map(|f| source.text(f))
            .collect::<String>()
    )
    .to_ascii_lowercase();
    if source.has("Procfile") || !requirements.contains("gunicorn") {
        return None;
    }
    let module = match settings {
        Some(m) => m.to_owned(),
        None => ["app", "main", "server"]
            .iter()
            .find(|m| source.has(&format!("{m}.py")))
            .map(|m| format!("{m}:app"))?,
    };
    Some(format!("web: gunicorn {module}"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
