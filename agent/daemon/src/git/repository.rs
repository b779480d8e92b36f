//! Bare repositories, one per app: `<data>/git/<app id>.git`.

use anyhow::{Context, Result};
use hokku_model::AppId;
use std::{
    fs::{self, File},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What git runs before it moves a ref. The agent names itself in the environment, so an upgrade or a move of the
/// program never leaves a repository behind with an old path in it.
const PRE_RECEIVE: &str = "#!/bin/sh\nexec \"${HOKKU_PROGRAM:?this repository belongs to hokku: push through its agent}\" hook pre-receive\n";

/// Settings of each repository. Pushed objects are checked; three old flaws, that real histories have and that harm
/// nobody, are only warned of. A push from a shallow clone, as CI makes it, is taken.
const SETTINGS: [(&str, &str); 9] = [
    ("transfer.fsckObjects", "true"),
    ("receive.fsckObjects", "true"),
    ("receive.fsck.zeroPaddedFilemode", "warn"),
    ("receive.fsck.badTimezone", "warn"),
    ("receive.fsck.missingSpaceBeforeDate", "warn"),
    ("receive.shallowUpdate", "true"),
    ("receive.maxInputSize", "4g"),
    ("receive.denyDeleteCurrent", "refuse"),
    ("uploadpack.allowFilter", "true"),
];

/// Where an app's repository is, or will be.
pub fn path(data_dir: &Path, app: AppId) -> PathBuf {
    data_dir.join("git").join(format!("{app}.git"))
}

/// Makes an app's repository if it is not there, and its hook if it is not as it should be. Blocks for some
/// milliseconds.
///
/// # Errors
/// The disk.
pub fn ensure(data_dir: &Path, app: AppId) -> Result<PathBuf> {
    let to = path(data_dir, app);
    if !to.join("HEAD").exists() {
        create(&to).with_context(|| format!("can't make the git repository {}", to.display()))?;
    }
    let hook = to.join("hooks/pre-receive");
    if fs::read(&hook).ok().as_deref() != Some(PRE_RECEIVE.as_bytes()) {
        write_hook(&hook).with_context(|| format!("can't write {}", hook.display()))?;
    }
    Ok(to)
}

fn create(to: &Path) -> Result<()> {
    let parent = to.parent().context("no folder")?;
    fs::create_dir_all(parent)?;
    // made aside and renamed, so that a repository is there whole or not at all
    let aside = parent.join(format!(".new-{}", uuid::Uuid::new_v4()));
    let made = (|| -> Result<()> {
        let mut options = git2::RepositoryInitOptions::new();
        options
            .bare(true)
            .no_reinit(true)
            .external_template(false)
            .initial_head("main");
        let repo = git2::Repository::init_opts(&aside, &options)?;
        let mut config = repo.config()?.open_level(git2::ConfigLevel::Local)?;
        for (key, value) in SETTINGS {
            config.set_str(key, value)?;
        }
        fs::create_dir_all(aside.join("hooks"))?;
        write_hook(&aside.join("hooks/pre-receive"))?;
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o700))?;
        match fs::rename(&aside, to) {
            // another request was faster
            Err(_) if to.join("HEAD").exists() => Ok(()),
            r => Ok(r?),
        }
    })();
    let _ = fs::remove_dir_all(&aside);
    made
}

fn write_hook(at: &Path) -> io::Result<()> {
    use io::Write;
    let parent = at
        .parent()
        .ok_or_else(|| io::Error::other("no folder for the hook"))?;
    fs::create_dir_all(parent)?;
    let new = parent.join(format!(".{}", uuid::Uuid::new_v4()));
    let mut f = File::options()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&new)?;
    f.write_all(PRE_RECEIVE.as_bytes())?;
    drop(f);
    fs::rename(&new, at)
}

/// A lock on the repository that lives exactly as long as the processes that hold its file open: git's own processes
/// inherit it. While nobody has it, lock files and half-taken packs of processes that were killed are removed, so
/// that they can't block the next push.
///
/// # Errors
/// The disk.
pub fn occupy(repository: &Path) -> io::Result<File> {
    use rustix::fs::{FlockOperation, flock};
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(repository.join("hokku.lock"))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        sweep(repository);
    }
    flock(&file, FlockOperation::LockShared)?;
    Ok(file)
}

fn sweep(repository: &Path) {
    let entries = |at: &Path| {
        fs::read_dir(at)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect::<Vec<_>>()
    };
    let name = |p: &Path| {
        p.file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    for at in entries(&repository.join("objects")) {
        if name(&at).starts_with("tmp_objdir-") {
            let _ = fs::remove_dir_all(&at);
        }
    }
    for file in [
        "HEAD.lock",
        "packed-refs.lock",
        "config.lock",
        "shallow.lock",
    ] {
        let _ = fs::remove_file(repository.join(file));
    }
    let mut folders = vec![repository.join("refs")];
    while let Some(folder) = folders.pop() {
        for at in entries(&folder) {
            if at.is_dir() {
                folders.push(at);
            } else if name(&at).ends_with(".lock") {
                let _ = fs::remove_file(&at);
            }
        }
    }
}

/// Readies the repository for the end of an accepted push, in which git moves `branch` away from `old`: makes it the
/// branch that a clone checks out, and puts it back to `old` when another push, accepted meanwhile, has moved it.
/// Without that git would refuse to move it, and it would not be at what serves. Gives the commit that it was at then.
/// Blocks for about a millisecond.
///
/// # Errors
/// The repository is damaged or locked.
pub fn settle(repository: &Path, branch: &str, old: &str) -> Result<Option<String>> {
    let name = format!("refs/heads/{branch}");
    let repo = git2::Repository::open_bare(repository)?;
    if fs::read_to_string(repository.join("HEAD")).ok() != Some(format!("ref: {name}\n")) {
        repo.set_head(&name)?;
    }
    let old = git2::Oid::from_str(old)?;
    let now = match repo.find_reference(&name) {
        Ok(mut reference) => match reference.target() {
            Some(now) if now != old => {
                if old.is_zero() {
                    reference.delete()?;
                } else {
                    reference.set_target(old, "")?;
                }
                Some(now.to_string())
            }
            _ => None,
        },
        Err(e) if e.code() == git2::ErrorCode::NotFound => None,
        Err(e) => return Err(e.into()),
    };
    Ok(now)
}

/// Ids of the apps that have a repository.
pub fn all(data_dir: &Path) -> Vec<AppId> {
    fs::read_dir(data_dir.join("git"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| {
            let name = e.file_name();
            name.to_str()?.strip_suffix(".git")?.parse().ok()
        })
        .collect()
}

/// Deletes an app's repository. Blocks.
///
/// # Errors
/// The disk.
pub fn delete(data_dir: &Path, app: AppId) -> io::Result<()> {
    let at = path(data_dir, app);
    let aside = data_dir
        .join("git")
        .join(format!(".old-{}", uuid::Uuid::new_v4()));
    fs::rename(&at, &aside)?;
    fs::remove_dir_all(&aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn git(at: &Path, args: &[&str]) -> (bool, String) {
        let out = Command::new("git")
            .current_dir(at)
            .args(args)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        )
    }

    #[test]
    fn made_once_with_its_hook_and_settings() {
        let dir = tempfile::tempdir().unwrap();
        let app = AppId(7);
        let a = ensure(dir.path(), app).unwrap();
        let hook = a.join("hooks/pre-receive");
        fs::write(&hook, "old").unwrap();
        assert_eq!(ensure(dir.path(), app).unwrap(), a);
        assert!(
            fs::read_to_string(&hook)
                .unwrap()
                .contains("hook pre-receive")
        );
        assert_eq!(
            fs::metadata(&hook).unwrap().permissions().mode() & 0o777,
            0o755
        );
        for (key, value) in SETTINGS {
            assert_eq!(git(&a, &["config", "--get", key]), (true, value.into()));
        }
        assert_eq!(git(&a, &["symbolic-ref", "HEAD"]).1, "refs/heads/main");
        settle(&a, "master", &"0".repeat(40)).unwrap();
        assert_eq!(git(&a, &["symbolic-ref", "HEAD"]).1, "refs/heads/master");
        assert_eq!(all(dir.path()), [app]);
        delete(dir.path(), app).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("git")).unwrap().count(), 0);
    }

    #[test]
    fn what_killed_processes_left_is_removed_when_nobody_else_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let repo = ensure(dir.path(), AppId(1)).unwrap();
        let stale = repo.join("refs/heads/main.lock");
        let pack = repo.join("objects/tmp_objdir-incoming-x");
        let leave = || {
            fs::write(&stale, "").unwrap();
            fs::create_dir_all(pack.join("pack")).unwrap();
        };
        leave();
        let first = occupy(&repo).unwrap();
        assert!(!stale.exists() && !pack.exists());
        leave();
        let second = occupy(&repo).unwrap();
        assert!(
            stale.exists() && pack.exists(),
            "the first may still need them"
        );
        drop((first, second));
        drop(occupy(&repo).unwrap());
        assert!(!stale.exists() && !pack.exists());
    }
}
