//! Headers that may be set, networks that may be named, and hashes of passwords.

use super::path::Wrong;
use std::net::IpAddr;

/// Bytes of a header's name and of its value.
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 4096;

/// The connection's and the router's own (RFC 9110, 7.6.1; the Dev Center's "HTTP Routing").
const OWN: [&str; 20] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
    "x-request-start",
];

/// The name of a header in lower case.
pub(super) fn name(text: &str) -> Result<String, Wrong> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(token) {
        return Err((
            format!("{:?} is not the name of a header", super::shorten(text)),
            "Names are letters, digits and dashes.".into(),
        ));
    }
    let name = text.to_ascii_lowercase();
    // Many servers hand "x_forwarded_for" and "x-forwarded-for" to the app as one.
    let same = name.replace('_', "-");
    if OWN.contains(&same.as_str()) || name == "proxy" {
        return Err((
            format!("the header {text} is the router's own and can't be changed"),
            String::new(),
        ));
    }
    if name == "content-encoding" || name == "content-range" {
        return Err((
            format!("the header {text} tells how the body is written, and can't be changed"),
            "Use compress = false to leave bodies as they are.".into(),
        ));
    }
    Ok(name)
}

/// The value of a header: nothing in it can end the header or begin another one.
pub(super) fn value(text: &str) -> Result<String, Wrong> {
    if text.len() > MAX_VALUE {
        return Err((
            format!("the value has more than {MAX_VALUE} bytes"),
            String::new(),
        ));
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_graphic() || matches!(c, ' ' | '\t')))
    {
        None => Ok(text.trim_matches([' ', '\t']).to_owned()),
        Some(c) => Err((
            format!("the character {c:?} can't be in a header"),
            "Headers hold printable ASCII characters, in one line.".into(),
        )),
    }
}

/// `203.0.113.0/24`, or one address.
pub(super) fn network(text: &str) -> Result<String, Wrong> {
    let bad = || {
        (
            format!("{:?} is not a network", super::shorten(text)),
            "Write it as 203.0.113.0/24, 2001:db8::/32 or 203.0.113.7.".to_owned(),
        )
    };
    let (addr, bits) = match text.split_once('/') {
        Some((a, b)) => (a, Some(b)),
        None => (text, None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| bad())?;
    let (value, width) = match addr {
        IpAddr::V4(a) => (u128::from(a.to_bits()), 32),
        IpAddr::V6(a) => (a.to_bits(), 128),
    };
    let bits: u32 = match bits {
        Some(b) if b.len() <= 3 && b.bytes().all(|b| b.is_ascii_digit()) => {
            b.parse().map_err(|_| bad())?
        }
        Some(_) => return Err(bad()),
        None => width,
    };
    if bits > width {
        return Err((
            format!("a network of this kind has at most {width} bits"),
            String::new(),
        ));
    }
    let host = width - bits;
    let base = match host {
        128 => 0,
        h => value >> h << h,
    };
    if base != value {
        let base: IpAddr = match addr {
            IpAddr::V4(_) => {
                std::net::Ipv4Addr::from_bits(u32::try_from(base).unwrap_or_default()).into()
            }
            IpAddr::V6(_) => std::net::Ipv6Addr::from_bits(base).into(),
        };
        return Err((
            format!("{text} is an address within a network, and not the network"),
            format!("Write {base}/{bits} for the network, or {addr} for the address."),
        ));
    }
    Ok(format!("{addr}/{bits}"))
}

/// The hash of a password, within bounds that the router can check in a moment and with little memory.
pub(super) fn hash(text: &str) -> Result<String, Wrong> {
    let make = "Make one with: app routing:hash";
    let known = ["$argon2id$", "$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|p| text.starts_with(p));
    if !known {
        let what = match text.starts_with('$') {
            true => "this kind of hash is not known; argon2id and bcrypt are",
            false => "a password has to be hashed, and this is none",
        };
        return Err((what.into(), make.into()));
    }
    let good = text.len() <= 256
        && match text.strip_prefix("$argon2id$") {
            Some(rest) => argon2id(rest).is_some(),
            None => bcrypt(text).is_some(),
        };
    match good {
        true => Ok(text.to_owned()),
        false => Err((
            "the hash is damaged, or costs more than the router spends on a request (argon2id: 64 MiB, 4 passes; bcrypt: 13)"
                .into(),
            make.into(),
        )),
    }
}

/// KiB that a hash may write in all: about half a second of the router's time.
const WORK: u32 = 4 * 65_536;

/// `v=19$m=19456,t=2,p=1$salt$hash`
fn argon2id(rest: &str) -> Option<()> {
    let mut parts = rest.split('$');
    let (version, cost) = (parts.next()?, parts.next()?);
    let (salt, hash) = (parts.next()?, parts.next()?);
    let b64 = |s: &str, least: usize| {
        s.len() >= least
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
    };
    if version != "v=19" || parts.next().is_some() || !b64(salt, 11) || !b64(hash, 22) {
        return None;
    }
    let mut costs = cost.split(',');
    for (name, least, most) in [("m=", 8, 65_536), ("t=", 1, 10), ("p=", 1, 4)] {
        let n: u32 = costs.next()?.strip_prefix(name)?.parse().ok()?;
        if !(least..=most).contains(&n) {
            return None;
        }
    }
    costs.next().is_none().then_some(())?;
    let cost = |name: &str| {
        cost.split(',')
            .find_map(|c| c.strip_prefix(name)?.parse::<u32>().ok())
    };
    (cost("m=")?.saturating_mul(cost("t=")?) <= WORK).then_some(())
}

/// `$2y$10$` and 53 characters.
fn bcrypt(text: &str) -> Option<()> {
    let (cost, rest) = text.get(4..)?.split_once('$')?;
    let good = cost.len() == 2
        && (4..=13).contains(&cost.parse::<u32>().ok()?)
        && rest.len() == 53
        && rest
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b));
    good.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        assert_eq!(name("X-Frame-Options").as_deref(), Ok("x-frame-options"));
        for bad in [
            "",
            "a b",
            "a:b",
            "é",
            "a\r\nb",
            "Host",
            "connection",
            "Transfer-Encoding",
            "X_Forwarded_For",
            "Proxy",
            "Content-Encoding",
        ] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert!(name(&"a".repeat(129)).is_err());
    }

    #[test]
    fn values() {
        assert_eq!(value(" a\tb ").as_deref(), Ok("a\tb"));
        for bad in ["a\r\nSet-Cookie: x", "a\nb", "a\0", "é", "\x7f"] {
            assert!(value(bad).is_err(), "{bad:?}");
        }
        assert!(value(&"a".repeat(4097)).is_err());
    }

    #[test]
    fn networks() {
        for (text, is) in [
            ("203.0.113.0/24", Ok("203.0.113.0/24")),
            ("203.0.113.7", Ok("203.0.113.7/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("::1", Ok("::1/128")),
            ("203.0.113.7/24", Err("203.0.113.0/24")),
            ("2001:db8::1/32", Err("2001:db8::/32")),
            ("10.0.0.0/33", Err("32 bits")),
            ("10.0.0/8", Err("not a network")),
            ("10.0.0.0/", Err("not a network")),
            ("10.0.0.0/+8", Err("not a network")),
            ("localhost", Err("not a network")),
            ("fe80::1%eth0", Err("not a network")),
        ] {
            match (network(text), is) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err((m, h)), Err(part)) => {
                    assert!(format!("{m} {h}").contains(part), "{text}: {m} {h}")
                }
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn hashes() {
        let tail = "c29tZXNhbHQxMjM$HkRAcwq5oQO8Ea9VWjO1GxPPgFE2uU3ckXq5wBl8pA8";
        let argon = |head: &str| hash(&format!("$argon2id${head}${tail}"));
        assert!(argon("v=19$m=19456,t=2,p=1").is_ok());
        for bad in [
            "v=16$m=19456,t=2,p=1",
            "v=19$m=4194304,t=2,p=1",
            "v=19$m=65536,t=5,p=1",
            "v=19$m=19456,t=99,p=1",
            "v=19$m=19456,t=2",
            "v=19$m=19456,t=2,p=1,x=1",
        ] {
            assert!(argon(bad).is_err(), "{bad}");
        }
        let crypt = |cost: &str| hash(&format!("$2y${cost}${}", "a".repeat(53)));
        assert!(crypt("10").is_ok());
        assert!(crypt("31").is_err() && crypt("1").is_err());
        for bad in ["", "hunter2", "$1$abc$def", "$argon2id$", "$2y$10$short"] {
            let (what, hint) = hash(bad).unwrap_err();
            assert!(
                hint.contains("app routing:hash") && (bad.is_empty() || !what.contains(bad)),
                "{what}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(s in ".{0,40}", n in "[0-9a-f.:/]{0,20}", h in "\\$(argon2id|2y)\\$[a-z0-9=,$é]{0,40}") {
            let _ = (name(&s), value(&s), network(&n), hash(&h));
            if let Ok(v) = value(&s) {
                prop_assert!(!v.contains(['\r', '\n', '\0']));
            }
            if let Ok(net) = network(&n) {
                prop_assert_eq!(network(&net), Ok(net.clone()));
            }
        }
    }
}
