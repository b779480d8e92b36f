//! Who the client is, when trusted load balancers stand in front of the router.
//!
//! Only what a trusted peer says is believed, and of its `X-Forwarded-For` only so much as trusted ones added: each
//! proxy appends the address it was called from on the right, so the rightmost address that is not a trusted proxy's is
//! the client, and what stands left of it is anybody's word.

use crate::nets::Nets;
use std::net::{IpAddr, SocketAddr};

/// Addresses that are looked at, from the right. More proxies in a row there are not.
const HOPS: usize = 64;

/// What a connection itself says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The other end; the one in the PROXY header where a trusted peer sent one.
    pub ip: IpAddr,
    /// The port it came to.
    pub port: u16,
    /// It speaks TLS.
    pub https: bool,
}

/// Who asks, and how it reached the outermost part of us that is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The client's address, an IPv4 one never written as IPv6.
    pub ip: IpAddr,
    /// It used TLS.
    pub https: bool,
    /// The port it came to.
    pub port: u16,
}

/// Finds out. `forwarded_for`: the values of all `X-Forwarded-For` lines in their order; `proto` and `port`: the last
/// lines of `X-Forwarded-Proto` and `X-Forwarded-Port`, of which the rightmost value counts.
pub(crate) fn origin<'a>(
    trusted: &Nets,
    peer: Peer,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    proto: Option<&[u8]>,
    port: Option<&[u8]>,
) -> Origin {
    let mut origin = Origin {
        ip: peer.ip.to_canonical(),
        https: peer.https,
        port: peer.port,
    };
    if !trusted.contains(peer.ip) {
        return origin;
    }
    let hops = forwarded_for
        .rev()
        .flat_map(|line| line.rsplit(|b| *b == b','));
    for hop in hops.take(HOPS) {
        // what is no address ends what can be believed
        let Some(ip) = address(hop) else { break };
        origin.ip = ip;
        if !trusted.contains(ip) {
            break;
        }
    }
    let scheme = proto.map(rightmost);
    if scheme.is_some_and(|p| p.eq_ignore_ascii_case(b"https") || p.eq_ignore_ascii_case(b"wss")) {
        origin.https = true;
    } else if scheme
        .is_some_and(|p| p.eq_ignore_ascii_case(b"http") || p.eq_ignore_ascii_case(b"ws"))
    {
        origin.https = false;
    }
    let named = port
        .and_then(|p| std::str::from_utf8(rightmost(p)).ok())
        .filter(|p| p.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|p| p.parse().ok())
        .filter(|p| *p != 0);
    if let Some(port) = named {
        origin.port = port;
    } else if origin.https != peer.https {
        origin.port = if origin.https { 443 } else { 80 };
    }
    origin
}

fn rightmost(value: &[u8]) -> &[u8] {
    value
        .rsplit(|b| *b == b',')
        .next()
        .unwrap_or(value)
        .trim_ascii()
}

/// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_ascii();
    let ip = text.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()));
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    ip.or_else(bare).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusted() -> Nets {
        Nets::read(&["10.0.0.0/8", "127.0.0.0/8", "::1", "2001:db8:1::/48"]).0
    }

    fn ask(
        peer: &str,
        lines: &[&str],
        proto: Option<&str>,
        port: Option<&str>,
    ) -> (String, bool, u16) {
        let peer = Peer {
            ip: peer.parse().unwrap(),
            port: 5000,
            https: false,
        };
        let lines = lines.iter().map(|l| l.as_bytes());
        let (proto, port) = (proto.map(str::as_bytes), port.map(str::as_bytes));
        let o = origin(&trusted(), peer, lines, proto, port);
        (o.ip.to_string(), o.https, o.port)
    }

    #[test]
    fn the_rightmost_that_is_not_ours_is_the_client() {
        for (peer, lines, client) in [
            // nobody in front, or nobody known
            ("203.0.113.7", &[][..], "203.0.113.7"),
            ("203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
            ("::ffff:203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
            // a load balancer that appends
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["10.0.0.9, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7", "1.1.1.1,2.2.2.2"], "2.2.2.2"),
            // several in a row
            (
                "10.0.0.1",
                &["6.6.6.6, 203.0.113.7, 10.0.0.3, 10.0.0.2"],
                "203.0.113.7",
            ),
            (
                "10.0.0.1",
                &["203.0.113.7, ::ffff:10.0.0.3", "2001:db8:1::2"],
                "203.0.113.7",
            ),
            // a client inside
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("127.0.0.1", &[], "127.0.0.1"),
            // ports and brackets
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            // garbage ends what is believed
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, x, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.7,,10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["[::1"], "10.0.0.1"),
            ("10.0.0.1", &["\u{e9}, 203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(ask(peer, lines, None, None).0, client, "{peer} {lines:?}");
        }
    }

    #[test]
    fn protocol_and_port_are_believed_of_trusted_peers_only() {
        for (peer, proto, port, want) in [
            ("203.0.113.7", Some("https"), Some("443"), (false, 5000)),
            ("10.0.0.1", None, None, (false, 5000)),
            ("10.0.0.1", Some("https"), None, (true, 443)),
            ("10.0.0.1", Some("HTTPS"), Some("8443"), (true, 8443)),
            ("10.0.0.1", Some("wss"), Some("443"), (true, 443)),
            ("10.0.0.1", Some("http"), Some("80"), (false, 80)),
            (
                "10.0.0.1",
                Some("http, https"),
                Some("80, 443"),
                (true, 443),
            ),
            ("10.0.0.1", Some("https, http"), None, (false, 5000)),
            ("10.0.0.1", Some("ftp"), Some("x"), (false, 5000)),
            ("10.0.0.1", Some("https"), Some("0"), (true, 443)),
            ("10.0.0.1", Some("https"), Some("+443"), (true, 443)),
            ("10.0.0.1", Some("https"), Some("70000"), (true, 443)),
        ] {
            let (_, https, got) = ask(peer, &[], proto, port);
            assert_eq!((https, got), want, "{peer} {proto:?} {port:?}");
        }
    }

    #[test]
    fn a_balancer_that_speaks_tls_to_us_may_have_been_called_without() {
        let peer = Peer {
            ip: "10.0.0.1".parse().unwrap(),
            port: 8443,
            https: true,
        };
        let o = origin(&trusted(), peer, [].into_iter(), Some(b"http"), None);
        assert_eq!((o.https, o.port), (false, 80));
        let o = origin(&trusted(), peer, [].into_iter(), None, None);
        assert_eq!((o.https, o.port), (true, 8443));
    }

    #[test]
    fn no_more_than_so_many_hops() {
        let line = format!("203.0.113.7{}", ",10.0.0.2".repeat(1000));
        assert_eq!(ask("10.0.0.1", &[&line], None, None).0, "10.0.0.2");
    }

    proptest! {
        #[test]
        fn the_untrusted_speak_for_themselves_alone(
            lines in proptest::collection::vec(any::<Vec<u8>>(), 0..4),
            proto: Vec<u8>,
            port: Vec<u8>,
            ip: [u8; 4],
        ) {
            let peer = Peer { ip: IpAddr::from(ip), port: 80, https: false };
            let o = origin(&trusted(), peer, lines.iter().map(Vec::as_slice), Some(&proto), Some(&port));
            if !trusted().contains(peer.ip) {
                prop_assert_eq!(o, Origin { ip: peer.ip, https: false, port: 80 });
            }
        }

        #[test]
        fn what_the_client_writes_on_the_left_changes_nothing(left in "[ -~]{0,40}", ip: [u8; 4]) {
            let client = IpAddr::from(ip);
            prop_assume!(!trusted().contains(client));
            let peer = Peer { ip: IpAddr::from([10, 0, 0, 1]), port: 80, https: false };
            let line = format!("{left},{client}, 10.0.0.2");
            prop_assert_eq!(origin(&trusted(), peer, [line.as_bytes()].into_iter(), None, None).ip, client);
        }
    }
}
