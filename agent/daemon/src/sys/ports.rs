//! Free loopback ports. Those for web dynos are found without ever binding one: an app may use `SO_REUSEPORT`, and then
//! a listener of ours would take its connections.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// How long a port may take to refuse a connection. Loopback does at once; who does not refuse is there.
const REFUSAL: Duration = Duration::from_millis(20);

/// Where the next search begins, so that a port is not given again soon after its dyno ended.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The next port of the range (first and last) that is not in `used` (those of the dynos that are known) and on which
/// nobody listens. `None` when all are taken. The range should lie outside of `net.ipv4.ip_local_port_range`, or an
/// outgoing connection may take a port between this look and the app's bind. Takes well under a millisecond.
pub fn free((first, last): (u16, u16), used: &BTreeSet<u16>) -> Option<u16> {
    let count = u32::from(last.max(first) - first) + 1;
    let mut listening = None;
    for _ in 0..count {
        let n = NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let port = first + n as u16;
        let taken = used.contains(&port)
            || listening.get_or_insert_with(all_listening).contains(&port)
            || answers(port);
        if !taken {
            return Some(port);
        }
    }
    None
}

/// Where to listen: `wanted`, or, where that says port 0, the address of last time, which `noted` holds, if it is still
/// free. People have written it down by then, in git remotes for one.
pub fn again(wanted: SocketAddr, noted: &Path) -> SocketAddr {
    let last = || -> Option<SocketAddr> {
        let last: SocketAddr = fs::read_to_string(noted).ok()?.trim().parse().ok()?;
        (last.ip() == wanted.ip() && TcpListener::bind(last).is_ok()).then_some(last)
    };
    match wanted.port() {
        0 => last().unwrap_or(wanted),
        _ => wanted,
    }
}

/// Every port of this network namespace on which somebody listens.
fn all_listening() -> BTreeSet<u16> {
    let port = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let local = words.nth(1)?;
        let state = words.nth(1)?;
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == "0A").then_some(port)
    };
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|t| {
            let text = fs::read_to_string(t).unwrap_or_default();
            text.lines().skip(1).filter_map(port).collect::<Vec<_>>()
        })
        .collect()
}

/// Does somebody take connections there? For where `/proc/net` can't be read.
fn answers(port: u16) -> bool {
    [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ]
    .into_iter()
    .any(
        |ip| match TcpStream::connect_timeout(&SocketAddr::new(ip, port), REFUSAL) {
            Ok(_) => true,
            Err(e) => e.kind() == std::io::ErrorKind::TimedOut,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_0_is_the_port_of_last_time_while_that_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let noted = dir.path().join("api.addr");
        // an address of this test alone: other tests take free ports of 127.0.0.1
        let any: SocketAddr = "127.91.17.4:0".parse().unwrap();
        assert_eq!(again(any, &noted), any, "there was no last time");
        let listener = TcpListener::bind(any).unwrap();
        let last = listener.local_addr().unwrap();
        fs::write(&noted, last.to_string()).unwrap();
        assert_eq!(again(any, &noted), any, "somebody has it");
        drop(listener);
        assert_eq!(again(any, &noted), last);
        let elsewhere: SocketAddr = "127.0.0.2:0".parse().unwrap();
        assert_eq!(again(elsewhere, &noted), elsewhere);
        let given: SocketAddr = "127.91.17.4:5080".parse().unwrap();
        assert_eq!(again(given, &noted), given);
        fs::write(&noted, "nonsense").unwrap();
        assert_eq!(again(any, &noted), any);
    }

    #[test]
    fn known_and_listening_ports_are_skipped_and_the_rest_goes_round() {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let p = busy.local_addr().unwrap().port();
        assert_eq!(free((p, p), &BTreeSet::new()), None);
        assert!(answers(p) && all_listening().contains(&p));
        // a range around it, of which nothing else is known
        let (first, last) = (p - 5, p.saturating_add(5));
        let used = BTreeSet::from([first, last]);
        let mut seen = BTreeSet::new();
        for _ in 0..4 {
            let Some(n) = free((first, last), &used) else {
                break;
            };
            assert!((first..=last).contains(&n) && n != p && !used.contains(&n));
            seen.insert(n);
        }
        assert!(seen.len() >= 2, "not always the same port: {seen:?}");
    }

    #[test]
    fn nobody_answers_where_nobody_listens() {
        let l = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = l.local_addr().unwrap().port();
        drop(l);
        assert!(!answers(port));
    }
}
