//! The built-in buildpacks: what a source tree is, and what has to be done to make it run, as data.
//!
//! What it does: [`detect`] names the language of a [`source::Source`]; `python::plan`, `node::plan` and `site::plan`
//! say which runtime, which package manager, which scripts and which cache key; [`order`] are the words between the
//! agent and `hokku-buildpack drive`.
//! What it never does: run programs or reach the network; that is the executable's part (`src/cmd`). Only
//! [`source::Source::read`] and [`tree`] touch the disk.
//! Who calls it: `hokku-buildpack`, and the agent's build room. Tests are beside the code and in `tests/`.

pub mod choice;
pub mod go;
pub mod java;
pub mod names;
pub mod node;
pub mod order;
pub mod php;
pub mod python;
pub mod release_yaml;
pub mod ruby;
pub mod runtime;
pub mod rust;
pub mod site;
pub mod source;
pub mod tree;
pub mod version;

/// The version of the built-in buildpacks: part of every cache key, so that a new one starts afresh.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

use source::Source;

/// A buildpack that is part of hokku.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// Gemfile
    Ruby,
    /// package.json
    Node,
    /// requirements.txt, uv.lock, …
    Python,
    /// pom.xml
    Java,
    /// build.gradle, gradlew
    Gradle,
    /// composer.json, index.php
    Php,
    /// go.mod
    Go,
    /// Cargo.toml
    Rust,
    /// static.json, index.html, public/index.html
    Static,
    /// Nothing but a Procfile: a script or a committed program.
    Procfile,
}

impl Builtin {
    /// All, in the order in which they are asked (Dev Center "Buildpacks", "Detection": Ruby, Node.js, Clojure,
    /// Python, Java, Gradle, Scala, PHP, Go), then ours.
    pub const ALL: [Builtin; 10] = [
        Builtin::Ruby,
        Builtin::Node,
        Builtin::Python,
        Builtin::Java,
        Builtin::Gradle,
        Builtin::Php,
        Builtin::Go,
        Builtin::Rust,
        Builtin::Static,
        Builtin::Procfile,
    ];

    /// The first argument of `hokku-buildpack`.
    pub fn arg(self) -> &'static str {
        match self {
            Builtin::Ruby => "ruby",
            Builtin::Java => "java",
            Builtin::Gradle => "gradle",
            Builtin::Php => "php",
            Builtin::Go => "go",
            Builtin::Rust => "rust",
            Builtin::Node => "node",
            Builtin::Python => "python",
            Builtin::Static => "static",
            Builtin::Procfile => "procfile",
        }
    }

    /// What is pinned to the app: Heroku's shorthand where there is one.
    pub fn pin(self) -> &'static str {
        match self {
            Builtin::Ruby => "heroku/ruby",
            Builtin::Java => "heroku/java",
            Builtin::Gradle => "heroku/gradle",
            Builtin::Php => "heroku/php",
            Builtin::Go => "heroku/go",
            Builtin::Rust => "hokku/rust",
            Builtin::Node => "heroku/nodejs",
            Builtin::Python => "heroku/python",
            Builtin::Static => "hokku/static",
            Builtin::Procfile => "hokku/procfile",
        }
    }

    /// What `detect` prints.
    pub fn label(self) -> &'static str {
        match self {
            Builtin::Ruby => "Ruby",
            Builtin::Java => "Java",
            Builtin::Gradle => "Gradle",
            Builtin::Php => "PHP",
            Builtin::Go => "Go",
            Builtin::Rust => "Rust",
            Builtin::Node => "Node.js",
            Builtin::Python => "Python",
            Builtin::Static => "Static",
            Builtin::Procfile => "Procfile",
        }
    }

    /// Finds a built-in by what people write: `heroku/python`, `python`, `heroku/nodejs`, `node`, the official git
    /// addresses, …
    pub fn by_name(name: &str) -> Option<Builtin> {
        let name = name.trim().to_ascii_lowercase();
        let name = name
            .strip_prefix("https://github.com/")
            .map_or(name.as_str(), |n| {
                n.trim_end_matches('/').trim_end_matches(".git")
            });
        Some(match name {
            "heroku/ruby" | "ruby" | "hokku/ruby" | "heroku/heroku-buildpack-ruby" => Builtin::Ruby,
            "heroku/java" | "java" | "hokku/java" | "heroku/heroku-buildpack-java" => Builtin::Java,
            "heroku/gradle" | "gradle" | "hokku/gradle" | "heroku/heroku-buildpack-gradle" => {
                Builtin::Gradle
            }
            "heroku/php" | "php" | "hokku/php" | "heroku/heroku-buildpack-php" => Builtin::Php,
            "heroku/go" | "go" | "golang" | "hokku/go" | "heroku/heroku-buildpack-go" => {
                Builtin::Go
            }
            "hokku/rust" | "rust" | "emk/rust" | "emk/heroku-buildpack-rust" => Builtin::Rust,
            "heroku/python" | "python" | "hokku/python" | "heroku/heroku-buildpack-python" => {
                Builtin::Python
            }
            "heroku/nodejs"
            | "nodejs"
            | "node"
            | "node.js"
            | "hokku/node"
            | "heroku/heroku-buildpack-nodejs" => Builtin::Node,
            "hokku/static"
            | "static"
            | "heroku-community/static"
            | "heroku/heroku-buildpack-static" => Builtin::Static,
            "hokku/procfile" | "procfile" | "heroku/procfile" => Builtin::Procfile,
            _ => return None,
        })
    }

    /// Why it is one: the file that decides. `None` when it is none.
    pub fn sign(self, source: &Source) -> Option<&'static str> {
        let files: &[&'static str] = match self {
            Builtin::Ruby => &["Gemfile"],
            Builtin::Node => &["package.json"],
            Builtin::Python => python::SIGNS,
            Builtin::Java => java::MAVEN,
            Builtin::Gradle => java::GRADLE,
            Builtin::Php => &["composer.json", "index.php"],
            Builtin::Go => &["go.mod"],
            Builtin::Rust => rust::SIGNS,
            Builtin::Static => &["static.json", "index.html", "public/index.html"],
            Builtin::Procfile => &["Procfile"],
        };
        files.iter().copied().find(|f| source.has(f))
    }

    /// Is this tree one for the buildpack?
    pub fn detects(self, source: &Source) -> bool {
        self.sign(source).is_some()
    }
}

/// The first built-in whose turn it is.
pub fn detect(source: &Source) -> Option<Builtin> {
    Builtin::ALL.into_iter().find(|b| b.detects(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_names() {
        let d = |files: &[&str]| {
            detect(&Source::of(files.iter().map(|f| (*f, "{}")))).map(Builtin::pin)
        };
        assert_eq!(
            d(&["package.json", "requirements.txt", "Procfile"]),
            Some("heroku/nodejs")
        );
        assert_eq!(
            d(&["requirements.txt", "index.html"]),
            Some("heroku/python")
        );
        assert_eq!(d(&["index.html", "Procfile"]), Some("hokku/static"));
        assert_eq!(d(&["public/index.html"]), Some("hokku/static"));
        assert_eq!(d(&["run.sh", "Procfile"]), Some("hokku/procfile"));
        for (file, pin) in [
            ("Gemfile", "heroku/ruby"),
            ("pom.xml", "heroku/java"),
            ("build.gradle.kts", "heroku/gradle"),
            ("composer.json", "heroku/php"),
            ("index.php", "heroku/php"),
            ("go.mod", "heroku/go"),
            ("Cargo.toml", "hokku/rust"),
            ("RustConfig", "hokku/rust"),
        ] {
            assert_eq!(d(&[file, "index.html", "Procfile"]), Some(pin), "{file}");
        }
        assert_eq!(d(&["Gemfile", "package.json"]), Some("heroku/ruby"));
        assert_eq!(d(&["README.md"]), None);
        for b in Builtin::ALL {
            assert_eq!(Builtin::by_name(b.pin()), Some(b));
            assert_eq!(Builtin::by_name(b.arg()), Some(b));
        }
        assert_eq!(
            Builtin::by_name("https://github.com/heroku/heroku-buildpack-python.git"),
            Some(Builtin::Python)
        );
        assert_eq!(Builtin::by_name("heroku/scala"), None);
    }
}
