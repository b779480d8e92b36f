//! Whether a name leads to this machine.

use std::{
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    sync::mpsc,
    time::Duration,
};

/// How long the resolver, and an address, may take.
const RESOLVER: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(2);

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// To an address of this machine, or to one that answers for it.
    Here(Vec<IpAddr>),
    /// Elsewhere: nothing takes connections there.
    Elsewhere(Vec<IpAddr>),
    /// Nowhere.
    Nowhere(String),
}

/// Follows several names at once; `port` is where requests come in.
pub(super) fn follow(names: &[String], port: u16) -> Vec<(String, Leads)> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = names
            .iter()
            .map(|n| scope.spawn(move || (n.clone(), lead(n, port))))
            .collect();
        asked.into_iter().filter_map(|t| t.join().ok()).collect()
    })
}

fn lead(name: &str, port: u16) -> Leads {
    let (to, answer) = mpsc::channel();
    let host = name.to_owned();
    // not waited for: the resolver has no time limit of its own
    std::thread::spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let _ = to.send(found.map(|all| all.map(|a| a.ip()).collect::<Vec<_>>()));
    });
    let found = match answer.recv_timeout(RESOLVER) {
        Err(_) => return Leads::Nowhere("the resolver does not answer".into()),
        Ok(Err(e)) => return Leads::Nowhere(e.to_string()),
        Ok(Ok(found)) => found,
    };
    if found.iter().any(|ip| is_own(*ip) || answers(*ip, port)) {
        return Leads::Here(found);
    }
    Leads::Elsewhere(found)
}

/// Only an own address can be bound to.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// An instance has its public address not itself, and a load balancer has another: then what counts is that it takes
/// connections.
fn answers(ip: IpAddr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(ip, port), ANSWER).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_followed() {
        let names = ["localhost".to_owned(), "nothing.invalid".to_owned()];
        let found = follow(&names, 9);
        assert!(matches!(found[0].1, Leads::Here(_)), "{found:?}");
        assert!(matches!(found[1].1, Leads::Nowhere(_)), "{found:?}");
        assert!(!is_own([203, 0, 113, 7].into()));
    }
}
