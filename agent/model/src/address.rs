//! Where a dyno listens: on a TCP port, or on a Unix socket.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

/// Bytes of the longest path that a Unix socket's address holds (unix(7): `sun_path` without its closing zero).
pub const UNIX_MAX: usize = 107;

const UNIX: &str = "unix:";

/// Where a dyno listens. As text `127.0.0.1:5000` or `unix:/path/of/a.sock`: tables of routers that know TCP alone read
/// as they did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket: an absolute path of at most [`UNIX_MAX`] bytes, in the file system that the router sees.
    Unix(String),
}

impl Address {
    /// The TCP port, where it is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Tcp(addr) => Some(addr.port()),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Address {
        Address::Tcp(addr)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => write!(f, "{addr}"),
            Address::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let Some(path) = text.strip_prefix(UNIX) else {
            return text.parse().map(Address::Tcp).map_err(|_| {
                format!(
                    "\"{text}\" is neither an address and port (127.0.0.1:5000) nor a Unix socket (unix:/path)"
                )
            });
        };
        if !Path::new(path).is_absolute() {
            return Err(format!(
                "\"{text}\" names no Unix socket: the path has to begin with a slash"
            ));
        }
        if path.len() > UNIX_MAX {
            return Err(format!(
                "\"{text}\" names no Unix socket: its path is longer than {UNIX_MAX} bytes"
            ));
        }
        if path.contains('\0') {
            return Err("the path of a Unix socket has no zero bytes".into());
        }
        Ok(Address::Unix(path.into()))
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Address, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_text_and_back() {
        for text in ["127.0.0.1:5000", "[::1]:80", "unix:/run/a b.sock"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let json = serde_json::to_string(&address).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), address);
        }
        // as tables were written before there was more than TCP
        let before: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let json = serde_json::to_string(&before).unwrap();
        let now: Address = serde_json::from_str(&json).unwrap();
        assert_eq!(now, Address::Tcp(before));
        assert_eq!(now.port(), Some(5000));
        assert_eq!(Address::Unix("/a".into()).port(), None);
    }

    #[test]
    fn what_is_no_address() {
        let longest = format!("unix:/{}", "x".repeat(UNIX_MAX - 1));
        assert!(longest.parse::<Address>().is_ok());
        for text in [
            "",
            "5000",
            "localhost:80",
            "unix:",
            "unix:a.sock",
            "/a.sock",
            "unix:/a\0b",
            &format!("{longest}x"),
        ] {
            let said = text.parse::<Address>();
            assert!(said.is_err(), "{text:?}");
        }
    }
}
