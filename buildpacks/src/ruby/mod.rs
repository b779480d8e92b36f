//! Ruby: what an app needs, by Heroku's rules first (Dev Center "Heroku Ruby Support").

pub mod lock;

use crate::{
    runtime::Request,
    source::Source,
    version::{Range, Version},
};
use lock::Lock;
use std::collections::BTreeMap;

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which Ruby.
    pub ruby: Request,
    /// The Bundler that wrote the lock file.
    pub bundler: Option<String>,
    /// Groups that are left out, separated by colons.
    pub without: String,
    /// Gems come from the host's packages, none are installed.
    pub system_gems: bool,
    /// Gems are committed in `vendor/cache`.
    pub vendored: bool,
    /// An older `vendor/bundle` is committed: it is removed.
    pub committed_bundle: bool,
    /// Texts that decide what gets installed, by name: the cache key.
    pub key: Vec<(String, Vec<u8>)>,
    /// `assets:precompile` is to be run if there is such a task.
    pub assets: bool,
    /// It is a Rails app: it gets a secret, and Rails' variables.
    pub rails: bool,
    /// JavaScript is run while assets are made.
    pub wants_node: bool,
    /// Gems committed to git as paths of the tree change unseen.
    pub always_install: bool,
    /// For the build's output.
    pub warnings: Vec<String>,
}

/// Plans a build. `env` is what the build sees: the operator's environment and the config vars; `last` is the Ruby of
/// the last build.
///
/// # Errors
/// Why the app can't be built, for its author.
pub fn plan(
    source: &Source,
    env: &BTreeMap<String, String>,
    last: Option<Version>,
) -> Result<Plan, String> {
    let mut warnings = vec![];
    let Some(text) = source.text("Gemfile.lock") else {
        return Err(
            "Gemfile.lock is required, and is not in the app's git repository.\n\n\
             Run \"bundle install\" locally, and commit it:\n    git add Gemfile.lock"
                .into(),
        );
    };
    let lock = Lock::read(&text);
    if text.contains("<<<<<<<") || text.contains(">>>>>>>") {
        return Err("Gemfile.lock holds marks of a merge conflict.\n\n\
             Solve it: delete the file, run \"bundle install\", and commit it."
            .into());
    }
    if !lock.platforms.is_empty()
        && !lock
            .platforms
            .iter()
            .any(|p| p == "ruby" || p.contains("linux"))
    {
        return Err(format!(
            "Gemfile.lock was made for {} only, not for Linux.\n\n\
             Add the platform, and commit Gemfile.lock:\n    bundle lock --add-platform x86_64-linux aarch64-linux",
            lock.platforms.join(", ")
        ));
    }
    let ruby = request(source, &lock, last)?;
    let get = |k: &str| env.get(k).map(String::as_str);
    let on = |k: &str| get(k).is_some_and(|v| !matches!(v, "" | "0" | "false"));
    let committed_bundle = source.has("vendor/bundle");
    if committed_bundle {
        warnings.push("vendor/bundle is committed to git; it is replaced. Better: git rm -r --cached vendor/bundle".into());
    }
    if source.has("Gemfile.lock.orig") {
        warnings.push("Gemfile.lock.orig is left of a merge; it is not read.".into());
    }
    let rails = lock.gem("railties").is_some();
    if !source.has("Procfile") && lock.gem("puma").is_none() && lock.gem("rack").is_some() {
        warnings.push("There is no Procfile and no puma in Gemfile.lock: the web server that is used then is not made for production.".into());
    }
    let mut key: Vec<(String, Vec<u8>)> = source
        .files()
        .filter(|(n, _)| {
            matches!(*n, "Gemfile" | "Gemfile.lock" | ".ruby-version") || n.ends_with(".gemspec")
        })
        .map(|(n, b)| (n.to_owned(), b.to_vec()))
        .collect();
    for path in source.paths().filter(|p| p.starts_with("vendor/cache/")) {
        key.push((path.into(), vec![]));
    }
    for (k, v) in env {
        // the access to private sources changes nothing that is installed
        let access = k.contains("__") || k.contains("TOKEN") || k.contains("PASSWORD");
        if k.starts_with("BUNDLE_") && !access {
            key.push((format!("env {k}"), v.clone().into_bytes()));
        }
    }
    Ok(Plan {
        ruby,
        bundler: lock.bundled_with.clone(),
        without: get("BUNDLE_WITHOUT")
            .unwrap_or("development:test")
            .to_owned(),
        system_gems: on("HOKKU_SYSTEM_GEMS"),
        vendored: source.has("vendor/cache"),
        committed_bundle,
        key,
        assets: source.has("Rakefile")
            && lock.gem("rake").is_some()
            && !source.has("public/assets/manifest"),
        rails,
        wants_node: ["execjs", "webpacker", "jsbundling-rails", "uglifier"]
            .iter()
            .any(|g| lock.gem(g).is_some()),
        always_install: lock.has_path,
        warnings,
    })
}

/// The default process types (heroku-buildpack-ruby's language packs Ruby, Rack and Rails).
pub fn types(source: &Source) -> BTreeMap<String, String> {
    let lock = Lock::read(&source.text("Gemfile.lock").unwrap_or_default());
    let mut types = BTreeMap::new();
    let mut set = |k: &str, v: &str| types.insert(k.to_owned(), v.to_owned());
    set("console", "bundle exec irb");
    set("rake", "bundle exec rake");
    match lock.gem("railties").and_then(|v| numbers(&v)) {
        Some(Version(0..=3, ..)) => {
            set("web", "bundle exec rails server -p ${PORT:-5000}");
            set("console", "bundle exec rails console");
        }
        Some(_) => {
            set("web", "bin/rails server -p ${PORT:-5000} -e $RAILS_ENV");
            set("console", "bin/rails console");
        }
        None if lock.gem("thin").is_some() && source.has("config.ru") => {
            set(
                "web",
                "bundle exec thin start -R config.ru -e $RACK_ENV -p ${PORT:-5000}",
            );
        }
        None if lock.gem("rack").is_some() && source.has("config.ru") => {
            set("web", "bundle exec rackup config.ru -p ${PORT:-5000}");
        }
        None => {}
    }
    types
}

/// The first three numbers of a version such as `7.1.3.2` or `3.1.2p20`.
fn numbers(text: &str) -> Option<Version> {
    let mut n = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|p| p.parse::<u32>().ok());
    Some(Version(
        n.next()??,
        n.next().flatten().unwrap_or(0),
        n.next().flatten().unwrap_or(0),
    ))
}

/// RubyGems' requirements: `3.1.2`, `~> 3.1`, `>= 3.0, < 3.3` (RubyGems guide "Patterns", pessimistic operator).
///
/// # Errors
/// What is no requirement.
pub fn gem_range(text: &str) -> Result<Range, String> {
    let parts: Vec<String> = text
        .split(',')
        .map(|p| p.trim().replace("~>", "~="))
        .map(|p| match p.strip_prefix("~=") {
            Some(v) => format!("~={}", v.trim()),
            None => p,
        })
        .collect();
    Range::pep440(&parts.join(","))
}

fn request(source: &Source, lock: &Lock, last: Option<Version>) -> Result<Request, String> {
    if let Some(text) = &lock.ruby {
        let Some(Version(a, b, c)) = numbers(text) else {
            return Err(format!(
                "Gemfile.lock asks for Ruby {text:?}, which is no version.\n\nRun \"bundle update --ruby\" and commit Gemfile.lock."
            ));
        };
        return Ok(Request {
            range: Range::prefix(a, b, Some(c)),
            text: format!("{a}.{b}.{c}"),
            from: Some("Gemfile.lock (RUBY VERSION)".into()),
        });
    }
    let gemfile = source.text("Gemfile").unwrap_or_default();
    if let Some(text) = ruby_line(&gemfile) {
        let range = gem_range(&text)
            .map_err(|e| format!("The ruby line of the Gemfile can't be used: {e}."))?;
        return Ok(Request {
            range,
            text,
            from: Some("Gemfile".into()),
        });
    }
    let tools = source.text(".tool-versions").unwrap_or_default();
    let tool = tools
        .lines()
        .find_map(|l| l.trim().strip_prefix("ruby ").map(|v| v.trim().to_owned()));
    let named = source
        .text(".ruby-version")
        .map(|t| (t.trim().to_owned(), ".ruby-version"))
        .or(tool.map(|t| (t, ".tool-versions")));
    if let Some((text, file)) = named {
        let version = text.strip_prefix("ruby-").unwrap_or(&text);
        let Some(Version(a, b, c)) = numbers(version) else {
            return Err(format!(
                "{file} holds {:?}, which is no version of Ruby.\n\nIt must be one line such as:\n    3.1.2",
                version.chars().take(80).collect::<String>()
            ));
        };
        let exact = version.split('.').count() > 2;
        return Ok(Request {
            range: Range::prefix(a, b, exact.then_some(c)),
            text: version.into(),
            from: Some(file.into()),
        });
    }
    Ok(match last {
        Some(Version(a, b, _)) => Request {
            range: Range::prefix(a, b, None),
            text: format!("{a}.{b}"),
            from: None,
        },
        None => Request::any(),
    })
}

/// The version of a line `ruby "3.1.2"`, `ruby '~> 3.1'`, `ruby ">= 3.0", "< 3.4"`. Other Ruby code is not understood.
fn ruby_line(gemfile: &str) -> Option<String> {
    let line = gemfile.lines().map(str::trim).find_map(|l| {
        l.strip_prefix("ruby ")
            .or_else(|| l.strip_prefix("ruby(").map(|l| l.trim_end_matches(')')))
    })?;
    let line = line.split('#').next()?;
    let mut parts = vec![];
    for p in line.split(',').map(str::trim) {
        match p.chars().next()? {
            q @ ('"' | '\'') => parts.push(p.strip_prefix(q)?.strip_suffix(q)?.to_owned()),
            // engine: and the like
            _ => break,
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
