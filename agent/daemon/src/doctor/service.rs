//! The agent, its units, and the programs and files that it needs.

use super::{Check, Ground, output};
use std::{fs, os::unix::fs::MetadataExt, path::Path};

pub(super) fn agent(g: &Ground) -> Check {
    match &g.status {
        Ok(s) if s.router_up => Check::ok(
            "agent",
            format!(
                "The agent answers, with {} apps and {} running dynos; so does the router.",
                s.apps, s.dynos
            ),
        ),
        Ok(_) => Check::fail(
            "agent",
            "The agent answers, but the router takes no connections.",
            "systemctl restart hokku-router; journalctl -u hokku-router",
        ),
        Err(e) => Check::fail(
            "agent",
            super::sentence(e),
            "systemctl restart hokkud; journalctl -u hokkud -n 50",
        ),
    }
}

/// The units that the package brings; beside systemd, or started by hand, there are none to look at.
pub(super) fn units(g: &Ground) -> Check {
    if !g.systemd {
        return Check::ok(
            "units",
            "This host is not run by systemd; hokkud was started by other means.",
        );
    }
    let names = [
        "hokkud.service",
        "hokku-router.service",
        "hokku-router.socket",
        "hokku-dynos.service",
    ];
    let Some(text) = output(
        "systemctl",
        &[
            &[
                "show",
                "--property=Id,ActiveState,LoadState,NeedDaemonReload",
            ],
            &names[..],
        ]
        .concat(),
    ) else {
        return Check::warn(
            "units",
            "systemctl does not answer.",
            "journalctl -b -p err",
        );
    };
    let wrong = inactive(&text);
    match wrong.is_empty() {
        true => Check::ok("units", format!("{} are active.", names.join(", "))),
        false => {
            let fix = format!(
                "systemctl daemon-reload && systemctl restart {}; journalctl -u {}",
                wrong.join(" "),
                wrong[0]
            );
            Check::fail(
                "units",
                format!("Not active as they are on disk: {}.", wrong.join(", ")),
                fix,
            )
        }
    }
}

/// The units of `systemctl show` that are loaded, or should be, and don't run as they are on disk.
fn inactive(text: &str) -> Vec<String> {
    text.split("\n\n")
        .filter_map(|unit| {
            let of = |key: &str| {
                unit.lines()
                    .find_map(|l| l.strip_prefix(key)?.strip_prefix('='))
            };
            let right =
                of("ActiveState") == Some("active") && of("NeedDaemonReload") != Some("yes");
            (!right).then(|| of("Id").unwrap_or_default().to_owned())
        })
        .filter(|id| !id.is_empty())
        .collect()
}

/// Agent, router and this program are of one version.
pub(super) fn versions(g: &Ground) -> Check {
    let mine = env!("CARGO_PKG_VERSION");
    let Ok(status) = &g.status else {
        return Check::ok("versions", format!("This is hokkud {mine}."));
    };
    if status.version != mine {
        return Check::warn(
            "versions",
            format!(
                "The agent that runs is {}, and this program is {mine}.",
                status.version
            ),
            "systemctl restart hokkud",
        );
    }
    let (Ok(own), Some(pid)) = (
        fs::metadata("/proc/self/exe"),
        router_pid(&g.config.data_dir),
    ) else {
        return Check::ok("versions", format!("The agent is hokkud {mine}."));
    };
    match fs::metadata(format!("/proc/{pid}/exe")) {
        Ok(theirs) if (theirs.dev(), theirs.ino()) != (own.dev(), own.ino()) => Check::warn(
            "versions",
            format!(
                "The router (process {pid}) runs another program file than the one that is installed: it has not handed over."
            ),
            "systemctl reload hokku-router",
        ),
        _ => Check::ok("versions", format!("Agent and router are hokkud {mine}.")),
    }
}

/// The process of the router of this data folder. Its socket is the agent's: who else connects there takes the wire.
fn router_pid(data: &Path) -> Option<i32> {
    let dir = data.join("router").display().to_string();
    let all = fs::read_dir("/proc").ok()?.flatten();
    all.filter_map(|e| e.file_name().to_str()?.parse().ok())
        .find(|pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
            words.get(1) == Some(&&b"router"[..]) && words.contains(&dir.as_bytes())
        })
}

/// The git that Debian 11 has; older ones lack options that are used.
const OLDEST_GIT: (u32, u32) = (2, 30);

pub(super) fn git() -> Check {
    let Some(said) = output("git", &["--version"]) else {
        return Check::fail(
            "git",
            "git is missing, so nothing can be pushed.",
            "apt-get install git",
        );
    };
    let said = said.trim().to_owned();
    match git_version(&said) {
        Some(v) if v < OLDEST_GIT => Check::fail(
            "git",
            format!("{said} is older than 2.30."),
            "apt-get install git, from a release of Debian that is still supported",
        ),
        _ => Check::ok("git", format!("{said}.")),
    }
}

fn git_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(2)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn journal(g: &Ground) -> Check {
    let there = Path::new("/run/systemd/journal/socket").exists();
    match (g.config.journal.dynos, there) {
        (true, false) => Check::fail(
            "journal",
            "journal.dynos is on, and journald does not run here.",
            "Set dynos = false below [journal] in /etc/hokku/hokku.toml, then: systemctl reload hokkud",
        ),
        (true, true) => Check::ok(
            "journal",
            "Lines of dynos go to journald too: journalctl HOKKU_APP=NAME.",
        ),
        (false, _) => Check::ok(
            "journal",
            "Lines of dynos are in app logs alone; [journal] dynos = true hands them to journald too.",
        ),
    }
}

pub(super) fn authorities() -> Check {
    match Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
        true => Check::ok(
            "authorities",
            "The system's certificate authorities are installed.",
        ),
        false => Check::warn(
            "authorities",
            "There are no certificate authorities: builds can't fetch packages, and no certificate can be ordered.",
            "apt-get install ca-certificates",
        ),
    }
}

pub(super) fn time_zones() -> Check {
    match Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
        true => Check::ok("time-zones", "The time zone database is installed."),
        false => Check::warn(
            "time-zones",
            "There is no time zone database: an app with TZ=Europe/Berlin gets UTC.",
            "apt-get install tzdata",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_and_git_say() {
        let text = "Id=hokkud.service\nLoadState=loaded\nActiveState=active\nNeedDaemonReload=no\n\n\
                    Id=hokku-router.service\nActiveState=failed\n\nId=x.socket\nActiveState=active\nNeedDaemonReload=yes\n";
        assert_eq!(inactive(text), ["hokku-router.service", "x.socket"]);
        assert_eq!(git_version("git version 2.39.5"), Some((2, 39)));
        assert_eq!(git_version("git version 2.47.3.dirty"), Some((2, 47)));
        assert_eq!(git_version("nonsense"), None);
    }
}
