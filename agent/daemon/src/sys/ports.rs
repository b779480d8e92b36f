//! Free loopback ports for web dynos, found without ever binding one: an app may use `SO_REUSEPORT`, and then a
//! listener of ours would take its connections.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::net::TcpStream;

/// How long a port may take to refuse a connection. Loopback answers at once; who does not answer is there.
const ANSWER: Duration = Duration::from_millis(200);

/// A range of ports, given out in turn so that a port is not used again soon after its dyno ended.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    last: u16,
    next: AtomicU32,
}

impl Ports {
    /// A range, first and last port. It should lie outside of `net.ipv4.ip_local_port_range`, or an outgoing
    /// connection may take a port between the look and the app's bind.
    pub fn new((first, last): (u16, u16)) -> Ports {
        Ports { first, last: last.max(first), next: AtomicU32::new(0) }
    }

    /// The next port that is not in `used` (those of the dynos that are known) and on which nobody listens. `None`
    /// when all are taken.
    pub async fn pick(&self, used: &BTreeSet<u16>) -> Option<u16> {
        let count = u32::from(self.last - self.first) + 1;
        let mut listening = None;
        for _ in 0..count {
            let n = self.next.fetch_add(1, Ordering::Relaxed) % count;
            let port = self.first + n as u16;
            if used.contains(&port) {
                continue;
            }
            if listening.is_none() {
                listening = Some(all_listening().await);
            }
            if listening.as_ref().is_some_and(|l| l.contains(&port)) || answers(port).await {
                continue;
            }
            return Some(port);
        }
        None
    }
}

/// Every port of this network namespace on which somebody listens.
async fn all_listening() -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = tokio::fs::read_to_string(table).await.unwrap_or_default();
        ports.extend(text.lines().skip(1).filter_map(|l| {
            let mut words = l.split_ascii_whitespace();
            let local = words.nth(1)?;
            let state = words.nth(1)?;
            let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
            (state == "0A").then_some(port)
        }));
    }
    ports
}

/// Does somebody take connections there? Also where `/proc/net` can't be read.
async fn answers(port: u16) -> bool {
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        match tokio::time::timeout(ANSWER, TcpStream::connect(SocketAddr::new(ip, port))).await {
            Ok(Ok(_)) | Err(_) => return true,
            Ok(Err(_)) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn known_and_listening_ports_are_skipped_and_the_rest_goes_round() {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let p = busy.local_addr().unwrap().port();
        assert_eq!(Ports::new((p, p)).pick(&BTreeSet::new()).await, None);
        assert!(answers(p).await && all_listening().await.contains(&p));
        // a range around it, of which nothing else is known
        let (first, last) = (p - 3, p.saturating_add(3));
        let ports = Ports::new((first, last));
        let used = BTreeSet::from([first, last]);
        let mut seen = BTreeSet::new();
        for _ in 0..4 {
            let Some(n) = ports.pick(&used).await else { break };
            assert!((first..=last).contains(&n) && n != p && !used.contains(&n));
            seen.insert(n);
        }
        assert!(seen.len() >= 2, "not always the same port: {seen:?}");
    }

    #[tokio::test]
    async fn nobody_is_disturbed_where_nobody_listens() {
        let free = {
            let l = TcpListener::bind("127.0.0.1:0").unwrap();
            l.local_addr().unwrap().port()
        };
        assert!(!answers(free).await);
    }
}
