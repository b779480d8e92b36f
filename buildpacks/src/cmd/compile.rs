//! The classic interface of the built-in buildpacks.

use super::{
    context::{Context, Mistake},
    golang, java, node, out, php, python, ruby, rust, site,
};
use hokku_buildpacks::{Builtin, java::Tool, release_yaml, source::Source};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, process::ExitCode};

/// `bin/detect BUILD_DIR`
pub fn detect(b: Builtin, build: &Path) -> ExitCode {
    match Source::read(build) {
        Ok(s) if b.detects(&s) => {
            println!("{}", b.label());
            ExitCode::SUCCESS
        }
        Ok(_) => {
            eprintln!("{}", why_not(b));
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("The source can't be read: {e}.");
            ExitCode::FAILURE
        }
    }
}

fn why_not(b: Builtin) -> &'static str {
    match b {
        Builtin::Ruby => "There is no Gemfile in the root folder of the app.",
        Builtin::Java => "There is no pom.xml in the root folder of the app.",
        Builtin::Gradle => {
            "There is no build.gradle, build.gradle.kts or gradlew in the root folder of the app."
        }
        Builtin::Php => "There is no composer.json or index.php in the root folder of the app.",
        Builtin::Go => "There is no go.mod in the root folder of the app.",
        Builtin::Rust => {
            "There is no Cargo.toml, RustConfig or rust-toolchain in the root folder of the app."
        }
        Builtin::Node => "There is no package.json in the root folder of the app.",
        Builtin::Python => {
            "There is no requirements.txt, uv.lock, .python-version or other sign of a Python app in the root folder of the app."
        }
        Builtin::Static => "There is no static.json, index.html or public/index.html in the app.",
        Builtin::Procfile => "There is no Procfile in the root folder of the app.",
    }
}

/// `bin/compile BUILD_DIR CACHE_DIR ENV_DIR`
pub fn compile(b: Builtin, build: &Path, cache: &Path, env: &Path) -> ExitCode {
    let done = Context::new(build, cache, env).and_then(|c| match b {
        Builtin::Ruby => ruby::compile(&c),
        Builtin::Java => java::compile(&c, Tool::Maven),
        Builtin::Gradle => java::compile(&c, Tool::Gradle),
        Builtin::Php => php::compile(&c),
        Builtin::Go => golang::compile(&c),
        Builtin::Rust => rust::compile(&c),
        Builtin::Python => python::compile(&c),
        Builtin::Node => node::compile(&c),
        Builtin::Static => site::compile(&c),
        Builtin::Procfile => procfile(&c),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            match e.downcast_ref::<Mistake>() {
                Some(m) => out::error(&m.0),
                None => out::error(&format!("{e:#}.")),
            }
            ExitCode::FAILURE
        }
    }
}

/// `bin/release BUILD_DIR`
pub fn release(b: Builtin, build: &Path) -> ExitCode {
    print!("{}", release_yaml::write(&types(b, build)));
    ExitCode::SUCCESS
}

/// The default process types of what `compile` made. Where Heroku's buildpack writes a Procfile if there is none, they
/// are given only then.
fn types(b: Builtin, build: &Path) -> BTreeMap<String, String> {
    let web = |command: Option<String>| -> BTreeMap<String, String> {
        command.map(|w| ("web".to_owned(), w)).into_iter().collect()
    };
    let own_procfile = build.join("Procfile").is_file();
    match b {
        // npm knows nothing of Plug'n'Play
        Builtin::Node if build.join(".pnp.cjs").is_file() => web(Some("yarn start".into())),
        Builtin::Node => web(Some("npm start".into())),
        Builtin::Static => web(Some(site::COMMAND.into())),
        Builtin::Ruby => Source::read(build)
            .map(|s| hokku_buildpacks::ruby::types(&s))
            .unwrap_or_default(),
        Builtin::Php => web(php::types(build).map(String::from)),
        Builtin::Java | Builtin::Gradle => web(java::web(build)),
        Builtin::Go if !own_procfile => hokku_buildpacks::go::types(&golang::programs(build)),
        Builtin::Rust if !own_procfile => {
            let (programs, profile) = rust::programs(build);
            hokku_buildpacks::rust::types(&programs, &profile)
        }
        Builtin::Go | Builtin::Rust | Builtin::Python | Builtin::Procfile => BTreeMap::new(),
    }
}

/// Nothing to install; a script that was committed without its x bit is the usual mistake.
fn procfile(c: &Context) -> anyhow::Result<()> {
    let text = fs::read(c.build.join("Procfile")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    out::step("Using the app as it is");
    out::detail(
        "No language was found; the commands of the Procfile run what is in the repository.",
    );
    for line in text.lines().filter(|l| !l.trim_start().starts_with('#')) {
        let Some((_, command)) = line.split_once(':') else {
            continue;
        };
        let Some(word) = command.split_whitespace().next() else {
            continue;
        };
        let path = word.strip_prefix("./").unwrap_or(word);
        if !word.contains('/')
            || word.starts_with('/')
            || path.split('/').any(|p| p == "..")
            || word.contains('$')
        {
            continue;
        }
        let full = c.build.join(path);
        match full.symlink_metadata() {
            Err(_) => out::warning(&format!(
                "the Procfile runs {word}, but there is no such file in the repository."
            )),
            Ok(m) if m.is_file() && m.permissions().mode() & 0o111 == 0 => {
                fs::set_permissions(
                    &full,
                    fs::Permissions::from_mode(m.permissions().mode() | 0o111),
                )?;
                out::warning(&format!(
                    "{word} was not executable and has been made so. Better: git update-index --chmod=+x {path}"
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}
