//! A git repository with an app in it.

use super::{Host, Outcome, host::probe};
use std::{fs, path::PathBuf};

/// The repository of one app.
pub struct Repo<'a> {
    host: &'a Host,
    /// Where it is.
    pub dir: PathBuf,
    /// The app's name.
    pub app: String,
}

impl<'a> Repo<'a> {
    /// A directory that is to be a repository.
    pub fn new(host: &'a Host, dir: PathBuf, app: &str) -> Repo<'a> {
        Repo {
            host,
            dir,
            app: app.to_owned(),
        }
    }

    /// `git …` in it.
    pub fn git(&self, args: &[&str]) -> Outcome {
        let mut c = self.host.command("git");
        c.args(args).current_dir(&self.dir);
        Outcome::of(c, b"", 200)
    }

    /// Starts `git …` in it and does not wait.
    pub fn start_git(&self, args: &[&str]) -> std::process::Command {
        let mut c = self.host.command("git");
        c.args(args).current_dir(&self.dir);
        c
    }

    /// `app …` in it, without `-a`: the app is found by the remote.
    pub fn app(&self, args: &[&str]) -> Outcome {
        let mut c = self.host.command("app");
        c.args(args).current_dir(&self.dir);
        Outcome::of(c, b"", 100)
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.host
            .write(self.dir.join(path), content.as_ref(), 0o644);
    }

    /// Writes an executable file.
    pub fn write_executable(&self, path: &str, content: impl AsRef<[u8]>) {
        self.host
            .write(self.dir.join(path), content.as_ref(), 0o755);
    }

    /// Puts the probe into it, with a Procfile.
    pub fn write_probe(&self) {
        self.write_executable(
            "probe",
            fs::read(probe()).expect("the probe was built with this test"),
        );
        self.write("Procfile", "web: ./probe\nworker: ./probe worker\n");
    }

    /// Copies one of the sample apps of `tests/apps` into it.
    pub fn write_sample(&self, name: &str) {
        let from = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/apps")).join(name);
        let mut folders = vec![from.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)
                .expect("the sample is there")
                .flatten()
            {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mode = {
                    use std::os::unix::fs::PermissionsExt;
                    entry.metadata().expect("a file").permissions().mode() & 0o777
                };
                let name = path.strip_prefix(&from).expect("below it");
                self.host
                    .write(self.dir.join(name), &fs::read(&path).expect("a file"), mode);
            }
        }
    }

    /// Writes which version this is, and commits all; the commit.
    pub fn version(&self, version: &str) -> String {
        self.write("version", version);
        self.commit(&format!("Version {version}"))
    }

    /// Commits all; the commit.
    #[track_caller]
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]).ok();
        self.git(&["commit", "-q", "--allow-empty", "-m", message])
            .ok();
        self.git(&["rev-parse", "HEAD"])
            .ok()
            .out()
            .trim()
            .to_owned()
    }

    /// `git push` to the app's remote, in the way its first lines of `app create` say.
    pub fn push(&self) -> Outcome {
        self.git(&["push", super::repo::REMOTE, "main"])
    }

    /// Where the deploy branch stands on the remote.
    #[track_caller]
    pub fn remote_head(&self) -> Option<String> {
        let o = self
            .git(&["ls-remote", super::repo::REMOTE, "refs/heads/main"])
            .ok()
            .out();
        o.split('\t')
            .next()
            .filter(|c| c.len() == 40)
            .map(str::to_owned)
    }
}

/// What `app create` calls the remote.
pub const REMOTE: &str = "hokku";
