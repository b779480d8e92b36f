//! Which server a command talks to, and with which token.

use crate::fail::{Fail, Result};
use crate::profile::{Profile, Profiles, origin};
use crate::remote::Place;
use std::fmt;
use std::path::{Path, PathBuf};
use url::Url;

/// Where an agent listens for people on its own machine.
pub const SOCKET: &str = "/run/hokku/hokkud.sock";

/// A server to talk to.
#[derive(Clone, PartialEq)]
pub enum Server {
    /// Over TCP, with a token.
    Http {
        /// Its address.
        url: Url,
        /// The secret, when there is one.
        token: Option<String>,
    },
    /// On this machine; the kernel tells the agent who asks.
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// Did the person name it, or is it only the last resort?
        named: bool,
    },
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Http { url, .. } => f.write_str(url.as_str().trim_end_matches('/')),
            Server::Socket { path, .. } => write!(f, "the socket {}", path.display()),
        }
    }
}

/// Everything that has a say.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// `-H`: a URL, the name of a profile, or `unix:/path`.
    pub host: Option<&'a str>,
    /// `HOKKU_URL`
    pub env_url: Option<&'a str>,
    /// `HOKKU_TOKEN`
    pub env_token: Option<&'a str>,
    /// `HOKKU_SOCKET`
    pub env_socket: Option<&'a Path>,
    /// What the git remote says.
    pub remote: Option<&'a (String, Place)>,
    /// Is the app known from the remote alone? Then another server must not be asked about it.
    pub remote_decides: bool,
}

/// Reads the address of a server.
///
/// # Errors
/// It is no `http://` or `https://` URL with a host.
pub fn parse_url(text: &str) -> Result<Url> {
    let url: Url = text.parse().map_err(|e| {
        Fail::usage(format!(
            "{text:?} is no URL: {e}. Expected something like https://hokku.example.com."
        ))
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Fail::usage(format!(
            "{text:?} can't be a server's URL. Expected something like https://hokku.example.com."
        )));
    }
    Ok(url)
}

fn from_profile(profile: &Profile) -> Result<Server> {
    Ok(Server::Http {
        url: parse_url(&profile.url)?,
        token: profile.token.clone(),
    })
}

fn from_text(text: &str, sources: &Sources<'_>, profiles: &Profiles) -> Result<Server> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok(Server::Socket {
            path: path.into(),
            named: true,
        });
    }
    if let Some(profile) = profiles.named(text) {
        return from_profile(profile);
    }
    let url = parse_url(text)?;
    let stored = || {
        profiles
            .at_origin(&origin(&url))
            .and_then(|p| p.token.clone())
    };
    let token = sources.env_token.map(str::to_owned).or_else(stored);
    Ok(Server::Http { url, token })
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// Decides: what the command line says, then the environment, then the git remote, then the default login, then the
/// socket of this machine.
///
/// # Errors
/// An address that is none; a git remote on a server for which there is no login.
pub fn resolve(sources: &Sources<'_>, profiles: &Profiles) -> Result<Server> {
    if let Some(text) = sources.host.or(sources.env_url) {
        return from_text(text, sources, profiles);
    }
    if let Some(path) = sources.env_socket {
        return Ok(Server::Socket {
            path: path.into(),
            named: true,
        });
    }
    if let Some((name, place)) = sources.remote {
        let login = match &place.origin {
            Some(origin) => profiles.at_origin(origin),
            None => profiles.at_host(&place.host),
        };
        if let Some(profile) = login {
            return from_profile(profile);
        }
        if sources.remote_decides && !is_loopback(&place.host) {
            let at = place
                .origin
                .clone()
                .unwrap_or_else(|| format!("https://{}", place.host));
            return Err(Fail::new(format!(
                "The git remote {name} belongs to {at}, and there is no login for it.\nRun: app login {at}"
            )));
        }
    }
    match profiles.default() {
        Some((_, profile)) if !(sources.remote_decides && sources.remote.is_some()) => {
            from_profile(profile)
        }
        _ => Ok(Server::Socket {
            path: SOCKET.into(),
            named: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(list: &[(&str, &str)]) -> (tempfile::TempDir, Profiles) {
        let dir = tempfile::tempdir().unwrap();
        let mut all = Profiles::load(dir.path().join("config.toml")).unwrap();
        for (name, url) in list {
            all.put(
                name,
                Profile {
                    url: (*url).into(),
                    token: Some(format!("token-of-{name}")),
                },
                false,
            );
        }
        (dir, all)
    }

    fn told(server: Result<Server>) -> (String, Option<String>) {
        match server.unwrap() {
            s @ Server::Http { .. } => {
                let Server::Http { token, .. } = &s else {
                    unreachable!()
                };
                (s.to_string(), token.clone())
            }
            s => (s.to_string(), None),
        }
    }

    fn remote(url: &str) -> (String, Place) {
        ("hokku".into(), crate::remote::parse(url).unwrap())
    }

    #[test]
    fn the_order_of_the_sources() {
        let (_dir, all) = profiles(&[
            ("main", "https://main.example"),
            ("lab", "http://10.0.0.1:5000"),
        ]);
        let lab = remote("http://10.0.0.1:5000/shop.git");
        let mut s = Sources {
            remote: Some(&lab),
            remote_decides: true,
            ..Sources::default()
        };
        let own = |n: &str| Some(format!("token-of-{n}"));
        assert_eq!(
            told(resolve(&s, &all)),
            ("http://10.0.0.1:5000".into(), own("lab"))
        );
        s.env_socket = Some(Path::new("/tmp/s"));
        assert_eq!(told(resolve(&s, &all)).0, "the socket /tmp/s");
        s.env_url = Some("http://env:1");
        s.env_token = Some("e");
        assert_eq!(
            told(resolve(&s, &all)),
            ("http://env:1".into(), Some("e".into()))
        );
        s.host = Some("main");
        assert_eq!(
            told(resolve(&s, &all)),
            ("https://main.example".into(), own("main")),
            "a profile brings its own token"
        );
        s.host = Some("unix:///x/y");
        assert_eq!(told(resolve(&s, &all)).0, "the socket /x/y");
        assert_eq!(
            told(resolve(&Sources::default(), &all)).0,
            "https://main.example"
        );
        let (_dir, none) = profiles(&[]);
        assert_eq!(
            told(resolve(&Sources::default(), &none)).0,
            format!("the socket {SOCKET}")
        );
    }

    #[test]
    fn an_app_of_one_server_is_never_looked_up_on_another() {
        let (_dir, all) = profiles(&[("main", "https://main.example")]);
        let other = remote("https://other.example/shop.git");
        let mut s = Sources {
            remote: Some(&other),
            remote_decides: true,
            ..Sources::default()
        };
        let said = resolve(&s, &all).unwrap_err().text;
        assert!(said.contains("app login https://other.example"), "{said}");
        let here = remote("http://127.0.0.1:5000/shop.git");
        s.remote = Some(&here);
        assert_eq!(told(resolve(&s, &all)).0, format!("the socket {SOCKET}"));
        s.remote_decides = false;
        assert_eq!(told(resolve(&s, &all)).0, "https://main.example");
        let ssh = remote("hokku@main.example:shop.git");
        s = Sources {
            remote: Some(&ssh),
            remote_decides: true,
            ..Sources::default()
        };
        assert_eq!(told(resolve(&s, &all)).0, "https://main.example");
    }

    #[test]
    fn addresses_that_are_none() {
        let (_dir, all) = profiles(&[]);
        for bad in ["", "nope", "ftp://x", "http://", "host:5000"] {
            let s = Sources {
                host: Some(bad),
                ..Sources::default()
            };
            assert_eq!(
                resolve(&s, &all).unwrap_err().status,
                crate::fail::REFUSED,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        let s = Server::Http {
            url: "http://a".parse().unwrap(),
            token: Some("t0p".into()),
        };
        assert!(!format!("{s:?}").contains("t0p"));
    }
}
