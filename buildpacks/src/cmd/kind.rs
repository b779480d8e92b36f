//! The kinds of runtimes: their names, where a host has them, and how they tell their version.

use super::spawn;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A language's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CPython
    Python,
    /// Node.js
    Node,
    /// MRI
    Ruby,
    /// The Go toolchain
    Go,
    /// PHP's command line
    Php,
    /// A JDK
    Java,
    /// rustc and cargo
    Rust,
}

impl Kind {
    /// For messages.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Python => "Python",
            Kind::Node => "Node.js",
            Kind::Ruby => "Ruby",
            Kind::Go => "Go",
            Kind::Php => "PHP",
            Kind::Java => "OpenJDK",
            Kind::Rust => "Rust",
        }
    }

    /// What its archives in a mirror begin with: `<name>-<version>-<arch>.tar.gz`.
    pub fn file_name(self) -> &'static str {
        match self {
            Kind::Python => "python",
            Kind::Node => "node",
            Kind::Ruby => "ruby",
            Kind::Go => "go",
            Kind::Php => "php",
            Kind::Java => "jdk",
            Kind::Rust => "rust",
        }
    }

    /// Who makes it, for messages; `None` when nobody offers a build for any Linux with a checksum.
    pub fn makers(self) -> Option<&'static str> {
        Some(match self {
            Kind::Python => "python-build-standalone",
            Kind::Node => "nodejs.org",
            Kind::Go => "go.dev",
            Kind::Java => "adoptium.net",
            Kind::Rust => "static.rust-lang.org",
            Kind::Ruby | Kind::Php => return None,
        })
    }

    /// Folders besides those of all programs where a host has it: distributions keep several versions apart.
    pub fn more_dirs(self) -> Vec<PathBuf> {
        let below = |at: &str| -> Vec<PathBuf> {
            let mut all: Vec<PathBuf> = fs::read_dir(at)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path().join("bin"))
                .filter(|p| p.is_dir())
                .collect();
            all.sort();
            all
        };
        match self {
            Kind::Go => {
                let mut all = vec![PathBuf::from("/usr/local/go/bin")];
                all.extend(below("/usr/lib").into_iter().filter(|p| {
                    p.parent()
                        .and_then(Path::file_name)
                        .is_some_and(|n| n.to_string_lossy().starts_with("go-"))
                }));
                all
            }
            Kind::Java => below("/usr/lib/jvm"),
            Kind::Rust => vec!["/usr/local/cargo/bin".into()],
            _ => vec![],
        }
    }

    /// Is it such a program, by its name?
    fn named(self, name: &str) -> bool {
        let digits = |prefix: &str| {
            name.strip_prefix(prefix)
                .is_some_and(|r| r.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        };
        match self {
            Kind::Python => name == "python3" || digits("python3."),
            Kind::Node => matches!(name, "node" | "nodejs"),
            Kind::Ruby => digits("ruby"),
            Kind::Go => name == "go",
            Kind::Php => digits("php"),
            // a JRE alone can't build
            Kind::Java => name == "javac",
            Kind::Rust => name == "rustc",
        }
    }

    /// Its programs in a folder.
    pub fn programs(self, dir: &Path) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| e.file_name().to_str().is_some_and(|n| self.named(n)))
            .map(|e| e.path())
            .filter(|p| p.exists())
            .collect();
        all.sort();
        all
    }

    /// Asks a program for its version.
    pub fn probe(self, program: &Path) -> Option<String> {
        let mut c = Command::new(program);
        match self {
            Kind::Node => c.arg("--version"),
            Kind::Python => c.args([
                "-I",
                "-S",
                "-c",
                "import sys; print('%d.%d.%d' % sys.version_info[:3])",
            ]),
            Kind::Ruby => c.args(["--disable=gems", "-e", "print RUBY_VERSION"]),
            Kind::Go => c.arg("version").env("GOTOOLCHAIN", "local"),
            Kind::Php => c.args(["-n", "-r", "echo PHP_VERSION;"]),
            Kind::Java => c.arg("-version"),
            Kind::Rust => c.arg("--version"),
        };
        let said = spawn::output(&mut c)?;
        tell(self, &said).or(Some(said))
    }
}

/// Three numbers in what a program says of its version.
fn tell(kind: Kind, said: &str) -> Option<String> {
    let word = match kind {
        Kind::Python | Kind::Node | Kind::Ruby => return None,
        // go version go1.22 linux/amd64
        Kind::Go => said.split_whitespace().nth(2)?.strip_prefix("go")?,
        Kind::Php => said,
        // javac 17.0.15, javac 1.8.0_392; rustc 1.75.0 (…)
        Kind::Java | Kind::Rust => said.split_whitespace().nth(1)?,
    };
    Some(three(kind == Kind::Java, word))
}

/// `17` is 17.0.0, `1.8.0_392` is 8.0.392 for Java, `8.2.36-1+deb12` is 8.2.36.
pub fn three(java: bool, text: &str) -> String {
    let text = match (java, text.strip_prefix("1.")) {
        (true, Some(rest)) => rest,
        _ => text,
    };
    let mut n: Vec<&str> = text
        .split(|c: char| !c.is_ascii_digit())
        .take(3)
        .take_while(|p| !p.is_empty())
        .collect();
    n.resize(3, "0");
    n.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_programs_tell_them() {
        for (kind, said, want) in [
            (Kind::Go, "go version go1.19.8 linux/amd64", "1.19.8"),
            (Kind::Go, "go version go1.21 linux/arm64", "1.21.0"),
            (Kind::Go, "go version go1.24rc1 linux/arm64", "1.24.0"),
            (Kind::Php, "8.2.36-1+deb12u1", "8.2.36"),
            (Kind::Java, "javac 17.0.15", "17.0.15"),
            (Kind::Java, "javac 1.8.0_392", "8.0.392"),
            (Kind::Java, "javac 25", "25.0.0"),
            (Kind::Rust, "rustc 1.75.0 (82e1608df 2023-12-21)", "1.75.0"),
        ] {
            assert_eq!(tell(kind, said).as_deref(), Some(want), "{said}");
        }
    }

    #[test]
    fn programs_by_name() {
        assert!(Kind::Ruby.named("ruby") && Kind::Ruby.named("ruby3.1"));
        assert!(Kind::Php.named("php8.2") && !Kind::Php.named("php-fpm8.2"));
        assert!(Kind::Python.named("python3") && !Kind::Python.named("python3-config"));
        assert!(!Kind::Go.named("gofmt"));
    }
}
