//! PHP: what an app needs, by Heroku's rules first (Dev Center "Heroku PHP Support").

use crate::{runtime::Request, source::Source, version::Range};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Starts PHP and a web server: `heroku-php-nginx`, `heroku-php-apache2`, by the name it is called with.
pub const LAUNCHER: &str = include_str!("launch.sh");

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which PHP.
    pub php: Request,
    /// There is a composer.json: Composer runs.
    pub composer: bool,
    /// Extensions that are required, without `ext-`.
    pub extensions: BTreeSet<String>,
    /// Where packages go, relative to the app.
    pub vendor_dir: String,
    /// Where their programs go.
    pub bin_dir: String,
    /// The script `compile` is defined.
    pub compile_script: bool,
    /// Texts that decide what gets installed, by name: the cache key.
    pub key: Vec<(String, Vec<u8>)>,
    /// Packages from folders of the tree change unseen.
    pub always_install: bool,
    /// The folder of packages is in git.
    pub committed: bool,
    /// For the build's output.
    pub warnings: Vec<String>,
}

/// Plans a build. `env` is what the build sees: the operator's environment and the config vars.
///
/// # Errors
/// Why the app can't be built, for its author.
pub fn plan(source: &Source, env: &BTreeMap<String, String>) -> Result<Plan, String> {
    let mut warnings = vec![];
    let manifest = read(source, "composer.json")?;
    let lock = read(source, "composer.lock")?;
    let requires: BTreeMap<String, String> =
        strings(manifest.as_ref().and_then(|m| m.get("require")));
    let packages = requires.keys().any(|k| !is_platform(k));
    if packages && lock.is_none() {
        return Err(
            "composer.json requires packages, but there is no composer.lock.\n\n\
             Run \"composer update\" locally, and commit it:\n    git add composer.lock"
                .into(),
        );
    }
    if manifest.is_none() {
        warnings.push("There is no composer.json; the files are served as they are. Better: echo '{}' > composer.json, and commit it.".into());
    }
    // the lock has what all packages need, too
    let mut platform = strings(lock.as_ref().and_then(|l| l.get("platform")));
    for (k, v) in &requires {
        if is_platform(k) {
            platform.entry(k.clone()).or_insert_with(|| v.clone());
        }
    }
    let mut extensions: BTreeSet<String> = BTreeSet::new();
    let mut take = |m: &BTreeMap<String, String>| {
        extensions.extend(
            m.keys()
                .filter_map(|k| k.strip_prefix("ext-").map(str::to_owned)),
        );
    };
    take(&platform);
    let locked = lock
        .as_ref()
        .and_then(|l| l.get("packages"))
        .and_then(Value::as_array);
    let mut provided: BTreeSet<String> = BTreeSet::new();
    for p in locked.into_iter().flatten() {
        take(&strings(p.get("require")));
        // a polyfill stands in for an extension
        for k in ["provide", "replace"] {
            provided.extend(
                strings(p.get(k))
                    .keys()
                    .filter_map(|k| k.strip_prefix("ext-").map(str::to_owned)),
            );
        }
    }
    extensions.retain(|e| !provided.contains(e));
    let php = match platform.get("php").or_else(|| platform.get("php-64bit")) {
        Some(text) => Request {
            range: range(text).map_err(|e| {
                format!("require.php in composer.json can't be used: {e}.\n\nWrite something like \"^8.2\".")
            })?,
            text: text.clone(),
            from: Some(if lock.is_some() { "composer.lock" } else { "composer.json" }.into()),
        },
        None => Request::any(),
    };
    let config = |k: &str| {
        manifest
            .as_ref()
            .and_then(|m| m.pointer(&format!("/config/{k}")))
            .and_then(Value::as_str)
            .map(|d| d.trim_end_matches('/').to_owned())
    };
    let vendor_dir = env
        .get("COMPOSER_VENDOR_DIR")
        .cloned()
        .or_else(|| config("vendor-dir"))
        .unwrap_or_else(|| "vendor".into());
    let bin_dir = env
        .get("COMPOSER_BIN_DIR")
        .cloned()
        .or_else(|| config("bin-dir"))
        .map(|d| d.replace("{$vendor-dir}", &vendor_dir))
        .unwrap_or_else(|| format!("{vendor_dir}/bin"));
    for (what, dir) in [("vendor-dir", &vendor_dir), ("bin-dir", &bin_dir)] {
        if dir.is_empty() || dir.starts_with('/') || dir.split('/').any(|p| p == "..") {
            return Err(format!(
                "{what} in composer.json is {dir:?}; it must be a folder of the app."
            ));
        }
    }
    let committed = source.has(&format!("{vendor_dir}/autoload.php"))
        || source.has(&format!("{vendor_dir}/composer"));
    if committed {
        warnings.push(format!(
            "The folder {vendor_dir} is committed to git; Composer may change it. Better: git rm -r --cached {vendor_dir}"
        ));
    }
    let mut key: Vec<(String, Vec<u8>)> = ["composer.json", "composer.lock"]
        .iter()
        .filter_map(|f| Some((f.to_string(), source.bytes(f)?.to_vec())))
        .collect();
    for (k, v) in env {
        if k.starts_with("COMPOSER_") && k != "COMPOSER_AUTH" {
            key.push((format!("env {k}"), v.clone().into_bytes()));
        }
    }
    let paths = locked
        .into_iter()
        .flatten()
        .any(|p| p.pointer("/dist/type").and_then(Value::as_str) == Some("path"));
    Ok(Plan {
        php,
        composer: manifest.is_some(),
        extensions,
        vendor_dir,
        bin_dir,
        compile_script: manifest
            .as_ref()
            .and_then(|m| m.pointer("/scripts/compile"))
            .is_some(),
        key,
        always_install: paths,
        committed,
        warnings,
    })
}

fn read(source: &Source, file: &str) -> Result<Option<Value>, String> {
    let Some(text) = source.text(file) else {
        return Ok(None);
    };
    // an empty file is what Heroku's own guide has people commit
    if text.trim().is_empty() && file == "composer.json" {
        return Err("composer.json is empty; it must hold at least {}.".into());
    }
    let value: Value =
        serde_json::from_str(&text).map_err(|e| format!("{file} is not valid JSON: {e}."))?;
    if value.is_object() {
        Ok(Some(value))
    } else {
        Err(format!(
            "{file} is not valid: it must hold one object, {{…}}."
        ))
    }
}

fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| Some((k.to_ascii_lowercase(), v.as_str()?.to_owned())))
        .collect()
}

/// PHP itself, its extensions, libraries and Composer: not packages (Composer docs, "Platform packages").
fn is_platform(name: &str) -> bool {
    name == "php"
        || name.starts_with("php-")
        || name.starts_with("ext-")
        || name.starts_with("lib-")
        || name.starts_with("composer-")
        || matches!(name, "composer" | "hhvm")
}

/// Composer's constraints (Composer docs, "Versions and constraints"): `^8.1`, `~8.1` (up to 9), `8.1.*`,
/// `^7.4|^8.0`, `>=8.0,<8.4`, `7.4 - 8.1`, `^8.2@stable`.
///
/// # Errors
/// What is no constraint.
pub fn range(text: &str) -> Result<Range, String> {
    let alternatives: Vec<String> = text
        .replace("||", "|")
        .split('|')
        .map(|a| {
            let a = a.replace(',', " ");
            let words: Vec<String> = a
                .split_whitespace()
                .filter(|w| !w.starts_with("!="))
                .map(|w| {
                    let w = w.split('@').next().unwrap_or_default();
                    let w = w.trim_end_matches("-dev");
                    match w.strip_prefix('~') {
                        // the last number that is given may grow
                        Some(v) if v.split('.').count() == 2 => {
                            let major: u32 = v
                                .split('.')
                                .next()
                                .and_then(|m| m.parse().ok())
                                .unwrap_or(0);
                            format!(">={v} <{}", major + 1)
                        }
                        _ if w.starts_with("==") => w.replacen("==", "=", 1),
                        _ => w.to_owned(),
                    }
                })
                .collect();
            words.join(" ")
        })
        .collect();
    Range::npm(&alternatives.join(" || ")).map_err(|_| {
        format!(
            "{:?} is no version constraint that Composer understands",
            text.chars().take(80).collect::<String>()
        )
    })
}

/// The default web process (heroku-buildpack-php, `bin/compile`: it writes this into a Procfile where there is none).
pub const WEB: &str = "heroku-php-apache2";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(files: &[(&str, &str)]) -> Result<Plan, String> {
        plan(&Source::of(files.iter().copied()), &BTreeMap::new())
    }

    #[test]
    fn constraints() {
        for (text, yes, no) in [
            ("^8.1", "8.1.0 8.4.2", "9.0.0 8.0.30"),
            ("~8.1", "8.1.0 8.9.0", "9.0.0"),
            ("~8.1.2", "8.1.2 8.1.9", "8.2.0"),
            ("8.2.*", "8.2.36", "8.3.0"),
            ("^7.4|^8.0", "7.4.1 8.2.0", "7.3.0 9.0.0"),
            ("^7.4 || ^8.0", "7.4.1 8.2.0", "7.3.0"),
            (">=8.0,<8.3", "8.2.36", "8.3.0"),
            (">=7.2", "8.2.36", "7.1.0"),
            ("^8.2@stable", "8.2.36", "8.1.0"),
            ("7.4 - 8.2", "8.2.36", "8.3.0"),
            ("*", "5.3.0 8.2.36", ""),
        ] {
            let r = range(text).unwrap();
            for v in yes.split(' ') {
                assert!(r.holds(v.parse().unwrap()), "{v} in {text}");
            }
            for v in no.split(' ').filter(|v| !v.is_empty()) {
                assert!(!r.holds(v.parse().unwrap()), "{v} not in {text}");
            }
        }
        assert!(range("dev-master").is_err());
    }

    #[test]
    fn what_is_planned() {
        let p = with(&[("index.php", "")]).unwrap();
        assert!(!p.composer && p.warnings.len() == 1 && p.extensions.is_empty());
        let p = with(&[
            (
                "composer.json",
                r#"{"require":{"php":"^8.0","ext-gd":"*","a/b":"^1"},"config":{"bin-dir":"bin/"},"scripts":{"compile":["x"]}}"#,
            ),
            (
                "composer.lock",
                r#"{"platform":{"php":"^8.1","ext-gd":"*"},"packages":[{"name":"a/b","require":{"ext-mbstring":"*","ext-ctype":"*"}},{"name":"s/p","provide":{"ext-ctype":"*"}}]}"#,
            ),
        ])
        .unwrap();
        assert_eq!(p.php.text, "^8.1");
        assert_eq!(p.php.from.as_deref(), Some("composer.lock"));
        assert_eq!(
            p.extensions.into_iter().collect::<Vec<_>>(),
            ["gd", "mbstring"]
        );
        assert_eq!(
            (p.bin_dir.as_str(), p.vendor_dir.as_str()),
            ("bin", "vendor")
        );
        assert!(p.compile_script && p.composer && !p.always_install);
        // platform packages alone need no lock
        assert!(
            with(&[(
                "composer.json",
                r#"{"require":{"php":">=8","ext-json":"*"}}"#
            )])
            .is_ok()
        );
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            (r#"{"require":{"a/b":"^1"}}"#, "no composer.lock"),
            ("{", "not valid JSON"),
            ("[]", "one object"),
            ("", "empty"),
            (r#"{"require":{"php":"dev-x"}}"#, "require.php"),
            (r#"{"config":{"vendor-dir":"/etc"}}"#, "vendor-dir"),
        ] {
            let e = with(&[("composer.json", text)]).unwrap_err();
            assert!(e.contains(want), "{e}");
        }
    }

    proptest! {
        #[test]
        fn any_constraint_is_read_or_refused(s in "[0-9xv*.|<>=~^@a-z, -]{0,30}") {
            let _ = range(&s);
        }
    }
}
