//! Sets of networks: trusted load balancers, allow lists.

use ipnet::IpNet;
use std::net::IpAddr;

/// IPv4 and IPv6 addresses, as sorted ranges that do not touch. IPv4 addresses written as IPv6 (`::ffff:10.0.0.1`) are
/// IPv4 addresses, in the list and when asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Nets {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Nets {
    /// Reads networks (`10.0.0.0/8`, `2001:db8::/32`) and single addresses. Also gives back what is neither.
    pub fn read<S: AsRef<str>>(list: &[S]) -> (Nets, Vec<&str>) {
        let (mut nets, mut refused) = (Nets::default(), Vec::new());
        for text in list.iter().map(AsRef::as_ref) {
            let net = text.parse::<IpNet>().ok();
            match net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) {
                Some(net) => nets.add(net),
                None => refused.push(text),
            }
        }
        nets.v4 = joined(nets.v4, |n| n.checked_add(1));
        nets.v6 = joined(nets.v6, |n| n.checked_add(1));
        (nets, refused)
    }

    fn add(&mut self, net: IpNet) {
        match (net.network(), net.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.v4.push((first.into(), last.into())),
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                if let (96.., Some(first), Some(last)) = (
                    net.prefix_len(),
                    first.to_ipv4_mapped(),
                    last.to_ipv4_mapped(),
                ) {
                    self.v4.push((first.into(), last.into()));
                } else {
                    self.v6.push((first.into(), last.into()));
                }
            }
            // a network is of one family
            _ => {}
        }
    }

    /// Is the address in one of the networks?
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => in_ranges(&self.v4, ip.into()),
            IpAddr::V6(ip) => in_ranges(&self.v6, ip.into()),
        }
    }
}

fn in_ranges<N: Ord + Copy>(ranges: &[(N, N)], n: N) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= n);
    after > 0 && n <= ranges[after - 1].1
}

fn joined<N: Ord + Copy>(mut ranges: Vec<(N, N)>, next: impl Fn(N) -> Option<N>) -> Vec<(N, N)> {
    ranges.sort_unstable();
    let mut all: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match all.last_mut() {
            Some(before) if next(before.1).is_none_or(|n| first <= n) => {
                before.1 = before.1.max(last);
            }
            _ => all.push((first, last)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn networks_and_addresses() {
        let list = [
            "10.0.0.0/8",
            "192.168.1.7",
            "172.16.9.9/12",
            "2001:db8::/32",
            "::1",
            "::ffff:203.0.113.0/120",
        ];
        let (nets, refused) = Nets::read(&list);
        assert!(refused.is_empty());
        for ip in [
            "10.255.255.255",
            "::ffff:10.0.0.1",
            "192.168.1.7",
            "172.31.0.1",
            "2001:db8:ffff::1",
            "::1",
            "203.0.113.200",
        ] {
            assert!(nets.contains(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "11.0.0.0",
            "9.255.255.255",
            "192.168.1.8",
            "172.32.0.0",
            "2001:db9::",
            "::2",
            "::10.0.0.1",
            "203.0.114.0",
        ] {
            assert!(!nets.contains(ip.parse().unwrap()), "{ip}");
        }
        let (everyone, _) = Nets::read(&["0.0.0.0/0", "::/0"]);
        for ip in [
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "ffff::ffff",
            "::ffff:1.2.3.4",
        ] {
            assert!(everyone.contains(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn what_is_no_network_is_given_back() {
        let list = [
            "10.0.0.0/33",
            "",
            "x",
            "10.0.0.0/8",
            "1.2.3",
            "::1/129",
            "10.0.0.0/8 ",
        ];
        let (nets, refused) = Nets::read(&list);
        assert_eq!(
            refused,
            ["10.0.0.0/33", "", "x", "1.2.3", "::1/129", "10.0.0.0/8 "]
        );
        assert!(nets.contains("10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn the_same_as_asking_each(
            nets in proptest::collection::vec((any::<[u8; 4]>(), 0u8..=32), 0..8),
            ip: [u8; 4],
        ) {
            let all: Vec<IpNet> = nets.iter().map(|(a, l)| IpNet::new(IpAddr::from(*a), *l).unwrap()).collect();
            let text: Vec<String> = all.iter().map(IpNet::to_string).collect();
            let ip = IpAddr::from(ip);
            prop_assert_eq!(Nets::read(&text).0.contains(ip), all.iter().any(|n| n.contains(&ip)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let list = [text];
            let (nets, refused) = Nets::read(&list);
            prop_assert_eq!(refused.is_empty(), nets != Nets::default());
        }
    }
}
