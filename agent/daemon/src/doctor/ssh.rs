//! The system's sshd lets git in, by forced commands only.

use super::{Check, Ground, output};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

const NAME: &str = "ssh";

pub(super) fn check(g: &Ground) -> Check {
    let (Some(user), Some(file)) = (&g.config.git_user, &g.config.authorized_keys) else {
        return Check::ok(
            NAME,
            "git over SSH is not set up (git_user and authorized_keys); git over HTTP works.",
        );
    };
    let account = match nix::unistd::User::from_name(user) {
        Ok(Some(account)) => account,
        _ => {
            return Check::fail(
                NAME,
                format!("git_user is {user}, and there is no such user."),
                "systemd-sysusers hokku.conf",
            );
        }
    };
    let shell = account.shell.display().to_string();
    if shell.ends_with("nologin") || shell.ends_with("/false") {
        return Check::fail(
            NAME,
            format!("The shell of {user} is {shell}, which runs no forced command."),
            format!("usermod --shell /bin/sh {user}"),
        );
    }
    if let Some(c) = rights(file, account.uid.as_raw()) {
        return c;
    }
    let text = fs::read_to_string(file).unwrap_or_default();
    if let Some(line) = open_line(&text) {
        return Check::fail(
            NAME,
            format!(
                "Line {line} of {} is a key of hokku's without its forced command: who has it gets a shell.",
                file.display()
            ),
            format!(
                "Delete that line, then: systemctl restart hokkud, which writes the keys of {user} anew"
            ),
        );
    }
    // as root only: sshd reads its host keys
    let Some(settings) = output(
        "sshd",
        &[
            "-T",
            "-C",
            &format!("user={user},host=localhost,addr=127.0.0.1"),
        ],
    ) else {
        if g.root {
            return Check::fail(
                NAME,
                "sshd is missing, was never started, or finds its own settings not valid.",
                "apt-get install openssh-server && systemctl start ssh; sshd -t",
            );
        }
        return Check::ok(
            NAME,
            format!("The keys of {user} are in {}.", file.display()),
        );
    };
    if let Some((says, fix)) = refusal(&settings, user, &account.dir, file) {
        return Check::fail(NAME, says, fix);
    }
    let keys = text
        .lines()
        .filter(|l| l.contains(" ssh --socket "))
        .count();
    Check::ok(
        NAME,
        format!("sshd runs hokku's forced command for {user}; keys: {keys}."),
    )
}

/// sshd refuses a file, or a folder on its way, that others may write.
fn rights(file: &Path, uid: u32) -> Option<Check> {
    for path in file.ancestors() {
        let Ok(meta) = fs::metadata(path) else {
            continue;
        };
        let mode = meta.permissions().mode() & 0o7777;
        let owned = meta.uid() == 0 || meta.uid() == uid;
        if mode & 0o022 != 0 && mode & 0o1000 == 0 || !owned {
            return Some(Check::fail(
                NAME,
                format!(
                    "sshd refuses {}, because {} can be changed by others (mode {mode:o}, owner {}).",
                    file.display(),
                    path.display(),
                    meta.uid()
                ),
                format!(
                    "chmod go-w {0}; chown {1} {0}",
                    path.display(),
                    if path == file { uid } else { 0 }
                ),
            ));
        }
    }
    None
}

/// The number of the first line between hokku's marks that has no forced command.
fn open_line(text: &str) -> Option<usize> {
    let mut ours = false;
    for (n, line) in text.lines().enumerate() {
        match line {
            l if l.starts_with("# hokku begin") => ours = true,
            l if l.starts_with("# hokku end") => ours = false,
            l if ours && !l.trim().is_empty() && !l.starts_with("command=\"") => {
                return Some(n + 1);
            }
            _ => {}
        }
    }
    None
}

/// What of `sshd -T` keeps the user out, and the remedy.
fn refusal(settings: &str, user: &str, home: &Path, file: &Path) -> Option<(String, String)> {
    let of = |key: &str| {
        let line = settings
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_default().trim()
    };
    let fix = |line: &str| {
        format!(
            "Put \"Match User {user}\" and \"{line}\" into /etc/ssh/sshd_config.d/hokku.conf, then: systemctl reload ssh"
        )
    };
    if of("pubkeyauthentication") == "no" {
        return Some((
            "sshd takes no keys (PubkeyAuthentication no).".into(),
            fix("PubkeyAuthentication yes"),
        ));
    }
    let files = of("authorizedkeysfile");
    let found = files.split_whitespace().any(|f| {
        let path = f
            .replace("%h", &home.display().to_string())
            .replace("%u", user);
        home.join(path) == file
    });
    if !found {
        return Some((
            format!(
                "sshd reads the keys of {user} from {files}, and hokku writes {}.",
                file.display()
            ),
            fix(&format!("AuthorizedKeysFile {}", file.display())),
        ));
    }
    let forced = of("forcecommand");
    if !matches!(forced, "" | "none") {
        return Some((
            format!("sshd runs {forced:?} for {user} instead of hokku's command (ForceCommand)."),
            fix("ForceCommand none"),
        ));
    }
    let lists = |key: &str| {
        settings
            .lines()
            .filter_map(|l| l.strip_prefix(key)?.strip_prefix(' '))
            .map(str::trim)
            .collect::<Vec<_>>()
    };
    let allowed = lists("allowusers");
    if !allowed.is_empty() && !allowed.contains(&user) {
        return Some((
            format!("sshd lets only {} in (AllowUsers).", allowed.join(", ")),
            format!("Add {user} to AllowUsers in /etc/ssh/sshd_config, then: systemctl reload ssh"),
        ));
    }
    if lists("denyusers").contains(&user) {
        return Some((
            format!("sshd keeps {user} out (DenyUsers)."),
            format!(
                "Take {user} out of DenyUsers in /etc/ssh/sshd_config, then: systemctl reload ssh"
            ),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_git_out_is_found() {
        let (home, file) = (
            Path::new("/var/lib/hokku/ssh"),
            Path::new("/var/lib/hokku/ssh/.ssh/authorized_keys"),
        );
        let usual = "pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\nforcecommand none\n";
        let say = |text: &str| {
            refusal(text, "git", home, file)
                .map(|r| r.0)
                .unwrap_or_default()
        };
        assert_eq!(say(usual), "");
        assert_eq!(say(&usual.replace(".ssh/a", "%h/.ssh/a")), "");
        assert!(say(&usual.replace("yes", "no")).contains("no keys"));
        assert!(say(&usual.replace(".ssh/", "/etc/keys/")).contains("/etc/keys/"));
        assert!(say(&usual.replace("none", "/bin/false")).contains("ForceCommand"));
        assert!(say(&format!("{usual}allowusers ann\nallowusers bob\n")).contains("ann, bob"));
        assert_eq!(say(&format!("{usual}allowusers ann\nallowusers git\n")), "");
        assert!(say(&format!("{usual}denyusers git\n")).contains("DenyUsers"));
    }

    #[test]
    fn a_key_without_its_command_is_found() {
        let text = "ssh-ed25519 AAA ann\n# hokku begin: x\ncommand=\"a\",restrict ssh-ed25519 B\nssh-ed25519 C\n# hokku end\n";
        assert_eq!(open_line(text), Some(4));
        assert_eq!(open_line("ssh-ed25519 AAA ann\n"), None);
    }
}
