//! Ports and who has them, the fence, the instance's metadata.

use super::{Check, Ground, output};
use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Who listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    pid: i32,
    command: String,
}

/// Ports for requests, for git over SSH and for the API.
pub(super) fn ports(g: &Ground) -> Check {
    let listening = listening();
    let mut wrong = vec![];
    let mut said = vec![];
    // the ports are 80 and 443, wherever else the sockets' units may say: the agent has told which
    let router: Vec<u16> = match &g.status {
        Ok(s) if g.config.spawn_router => s
            .router
            .iter()
            .filter_map(|a| a.parse::<SocketAddr>().ok())
            .map(|a| a.port())
            .collect(),
        _ => g
            .config
            .router_listen
            .iter()
            .map(SocketAddr::port)
            .collect(),
    };
    let tls: Vec<u16> = g
        .config
        .router_listen_tls
        .iter()
        .map(SocketAddr::port)
        .collect();
    for (port, what) in router
        .iter()
        .map(|p| (*p, "requests"))
        .chain(tls.iter().map(|p| (*p, "requests over TLS")))
        .filter(|p| p.0 != 0)
    {
        match listening.get(&port) {
            None => wrong.push((format!("Nobody listens on port {port}, where {what} come in"), "systemctl restart hokku-router.socket hokku-router-tls.socket hokku-router; journalctl -u hokku-router".to_owned())),
            Some(Some(h)) if !is_ours(h) => wrong.push((
                format!("Port {port}, for {what}, is held by {} (process {})", h.command, h.pid),
                format!("{}, then: systemctl restart hokku-router", end(h.pid)),
            )),
            Some(_) => said.push(format!("{port} ({what})")),
        }
    }
    if g.config.git_user.is_some() && !listening.contains_key(&22) {
        wrong.push((
            "Nobody listens on port 22, so git can't push over SSH".into(),
            "apt-get install openssh-server && systemctl enable --now ssh".into(),
        ));
    }
    match wrong.is_empty() {
        true => Check::ok(
            "ports",
            format!("The router has the ports {}.", said.join(" and ")),
        ),
        false => {
            let (says, fixes): (Vec<_>, Vec<_>) = wrong.into_iter().unzip();
            Check::fail("ports", format!("{}.", says.join(". ")), fixes.join("; "))
        }
    }
}

/// How a process is ended for good: by its unit, where it has one.
fn end(pid: i32) -> String {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    match unit(&cgroups) {
        Some(unit) => format!("systemctl disable --now {unit}"),
        None => format!("kill {pid}"),
    }
}

/// The service in `/proc/<pid>/cgroup`.
fn unit(cgroups: &str) -> Option<&str> {
    let mut parts = cgroups.lines().flat_map(|l| l.split('/'));
    parts.find(|p| p.ends_with(".service") && !p.starts_with("user@"))
}

/// The router itself, or systemd, which holds the sockets for it.
fn is_ours(h: &Holder) -> bool {
    h.pid == 1 || h.command.starts_with("hokkud")
}

/// Listening TCP ports of this network, and who has them as far as that can be seen.
fn listening() -> BTreeMap<u16, Option<Holder>> {
    let mut ports: BTreeMap<u64, u16> = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        ports.extend(text.lines().skip(1).filter_map(socket));
    }
    let mut all: BTreeMap<u16, Option<Holder>> = ports.values().map(|p| (*p, None)).collect();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()) {
        for fd in fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(target) = fs::read_link(fd.path()) else {
                continue;
            };
            let inode = target
                .to_str()
                .and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            let Some(port) = inode.and_then(|i: u64| ports.get(&i)) else {
                continue;
            };
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let holder = Holder {
                pid,
                command: command.trim().to_owned(),
            };
            // systemd holds a socket beside the service that it is for: the service is who has it
            match all.get(port) {
                Some(Some(h)) if h.pid != 1 => {}
                _ => {
                    all.insert(*port, Some(holder));
                }
            }
        }
    }
    all
}

/// Inode and port of a line of `/proc/net/tcp` that listens.
fn socket(line: &str) -> Option<(u64, u16)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let port = u16::from_str_radix(words.get(1)?.rsplit_once(':')?.1, 16).ok()?;
    (*words.get(3)? == "0A").then_some((words.get(9)?.parse().ok()?, port))
}

/// Apps are kept from the instance's metadata and from private apps.
pub(super) fn fence(g: &Ground) -> Check {
    let install = "apt-get install nftables && systemctl restart hokkud";
    let Some(version) = output("nft", &["--version"]) else {
        return Check::warn(
            "fence",
            "nft is missing: every app reaches the instance's metadata and the ports of private apps.",
            install,
        );
    };
    let version = version.split(' ').nth(1).unwrap_or_default().to_owned();
    if !g.root || g.status.is_err() {
        return Check::ok(
            "fence",
            format!("nftables {version} is here; the agent puts the fence up as root."),
        );
    }
    let table = format!("hokku_{}", g.config.first_uid);
    match output("nft", &["list", "table", "inet", &table]) {
        Some(_) => Check::ok(
            "fence",
            format!(
                "The table {table} keeps apps from the instance's metadata (nftables {version})."
            ),
        ),
        None => Check::fail(
            "fence",
            format!(
                "The table {table} is not in nftables, so every app reaches the instance's metadata and the ports of private apps."
            ),
            "systemctl restart hokkud; journalctl -u hokkud -p warning",
        ),
    }
}

/// Whether there is a metadata service, which holds the instance's credentials.
pub(super) fn metadata(g: &Ground) -> Check {
    let at: SocketAddr = ([169, 254, 169, 254], 80).into();
    match TcpStream::connect_timeout(&at, Duration::from_millis(500)) {
        Ok(_) if !g.root => Check::warn(
            "metadata",
            "The instance's metadata answers, and without root no app can be kept from it.",
            "Run hokkud as root, or: aws ec2 modify-instance-metadata-options --http-endpoint disabled",
        ),
        Ok(_) => Check::ok(
            "metadata",
            "The instance's metadata answers; apps reach it where app isolation:set imds=on was said.",
        ),
        Err(_) => Check::ok(
            "metadata",
            "No metadata service answers at 169.254.169.254: this is no instance, or it is turned off.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_with_their_process() {
        let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = l.local_addr().unwrap().port();
        let found = listening();
        let holder = found[&port].clone().unwrap();
        assert_eq!(holder.pid, std::process::id() as i32);
        assert!(!is_ours(&holder));
        drop(l);
        assert!(!listening().contains_key(&port));
        let cgroups = "0::/system.slice/nginx.service\n";
        assert_eq!(unit(cgroups), Some("nginx.service"));
        assert_eq!(
            unit("0::/user.slice/user@0.service/session-3.scope\n"),
            None
        );
        assert_eq!(
            socket("0: 00000000:0050 00000000:0000 0A 0:0 0:0 0 0 0 4711 1 0"),
            Some((4711, 80))
        );
        assert_eq!(
            socket("0: 00000000:0050 00000000:0000 01 0:0 0:0 0 0 0 4711 1 0"),
            None
        );
    }
}
