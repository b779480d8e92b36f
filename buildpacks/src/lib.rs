//! The built-in buildpacks: what a source tree is, and what has to be done to make it run, as data.
//!
//! What it does: [`detect`] names the language of a [`source::Source`]; `python::plan`, `node::plan` and `site::plan`
//! say which runtime, which package manager, which scripts and which cache key; [`order`] are the words between the
//! agent and `hokku-buildpack drive`.
//! What it never does: run programs or reach the network; that is the executable's part (`src/cmd`). Only
//! [`source::Source::read`] and [`tree`] touch the disk.
//! Who calls it: `hokku-buildpack`, and the agent's build room. Tests are beside the code and in `tests/`.

pub mod node;
pub mod order;
pub mod python;
pub mod release_yaml;
pub mod runtime;
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
    /// package.json
    Node,
    /// requirements.txt, uv.lock, …
    Python,
    /// static.json, index.html, public/index.html
    Static,
    /// Nothing but a Procfile: a script or a committed program.
    Procfile,
}

impl Builtin {
    /// All, in the order in which they are asked (Dev Center "Buildpacks", "Detection": Ruby, Node.js, Clojure,
    /// Python, Java, Gradle, Scala, PHP, Go), then ours.
    pub const ALL: [Builtin; 4] = [
        Builtin::Node,
        Builtin::Python,
        Builtin::Static,
        Builtin::Procfile,
    ];

    /// The first argument of `hokku-buildpack`.
    pub fn arg(self) -> &'static str {
        match self {
            Builtin::Node => "node",
            Builtin::Python => "python",
            Builtin::Static => "static",
            Builtin::Procfile => "procfile",
        }
    }

    /// What is pinned to the app: Heroku's shorthand where there is one.
    pub fn pin(self) -> &'static str {
        match self {
            Builtin::Node => "heroku/nodejs",
            Builtin::Python => "heroku/python",
            Builtin::Static => "hokku/static",
            Builtin::Procfile => "hokku/procfile",
        }
    }

    /// What `detect` prints.
    pub fn label(self) -> &'static str {
        match self {
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

    /// Is this tree one for the buildpack?
    pub fn detects(self, source: &Source) -> bool {
        match self {
            Builtin::Node => node::detect(source),
            Builtin::Python => python::detect(source),
            Builtin::Static => site::detect(source),
            Builtin::Procfile => source.has("Procfile"),
        }
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
        assert_eq!(d(&["README.md"]), None);
        for b in Builtin::ALL {
            assert_eq!(Builtin::by_name(b.pin()), Some(b));
            assert_eq!(Builtin::by_name(b.arg()), Some(b));
        }
        assert_eq!(
            Builtin::by_name("https://github.com/heroku/heroku-buildpack-python.git"),
            Some(Builtin::Python)
        );
        assert_eq!(Builtin::by_name("heroku/ruby"), None);
    }
}
