//! Whose word counts about who the client is.

use hokku_model::route::Front;
use ipnet::IpNet;
use std::net::IpAddr;

/// The load balancers in front of the router, ready to be asked per connection.
#[derive(Default)]
pub(crate) struct Trusted {
    networks: Vec<IpNet>,
    proxy_protocol: bool,
}

impl Trusted {
    /// A network that can't be read is left out, with a warning: nobody is trusted by mistake.
    pub fn new(front: &Front) -> Trusted {
        let read = |text: &String| {
            let net = text.parse().map(|n: IpNet| n.trunc());
            let net = net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            if net.is_err() {
                tracing::warn!(
                    "the trusted network {text:?} is none, and was left out: write it like 10.0.0.0/8"
                );
            }
            net.ok()
        };
        Trusted {
            networks: front.trusted.iter().filter_map(read).collect(),
            proxy_protocol: front.proxy_protocol,
        }
    }

    /// Are this peer's `X-Forwarded-*` believed?
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|n| n.contains(&peer))
    }

    /// Do this peer's connections begin with a PROXY header?
    pub fn sends_proxy_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol && self.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_networks_are_trusted() {
        let front = Front {
            trusted: [
                "10.1.2.3/8",
                "2001:db8::/32",
                "192.0.2.7",
                "10.0.0.0/33",
                "",
            ]
            .map(String::from)
            .to_vec(),
            ..Front::default()
        };
        let trusted = Trusted::new(&front);
        let is = |ip: &str| trusted.contains(ip.parse().unwrap());
        assert!(is("10.255.0.1") && is("::ffff:10.0.0.1") && is("2001:db8::9") && is("192.0.2.7"));
        assert!(!is("11.0.0.1") && !is("192.0.2.8") && !is("::1") && !is("127.0.0.1"));
        assert!(!trusted.sends_proxy_header("10.0.0.1".parse().unwrap()));
        let trusted = Trusted::new(&Front {
            proxy_protocol: true,
            ..Front::default()
        });
        assert!(trusted.sends_proxy_header("127.0.0.9".parse().unwrap()));
        assert!(!trusted.sends_proxy_header("10.0.0.1".parse().unwrap()));
    }
}
