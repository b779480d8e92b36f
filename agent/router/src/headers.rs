//! Headers on their way through: hop-by-hop ones go, the router's own come (Dev Center "HTTP Routing", RFC 9110 7.6).

use crate::clock;
use crate::http1::head::{Field, Head, has_token};
use crate::http1::name::{HOP_BY_HOP, Known};
use crate::nets::Nets;
use crate::origin::{self, Origin, Peer};
use crate::outgoing::{Outgoing, is_edited};
use crate::pick::Dice;
use crate::rules::{Edits, Effective};
use crate::wire::Wire;
use std::borrow::Cow;

const VIA_US: &[u8] = b"1.1 hokku-router";
const HSTS: &[u8] = b"strict-transport-security";

/// Fields of a client's request that the app never gets as they came.
const OF_REQUESTS: u64 = HOP_BY_HOP
    | Known::ContentLength.bit()
    | Known::Expect.bit()
    | Known::Via.bit()
    // becomes the variable HTTP_PROXY in CGI-like apps, which HTTP clients in them obey
    | Known::Proxy.bit()
    | Known::ForwardedFor.bit()
    | Known::ForwardedProto.bit()
    | Known::ForwardedPort.bit()
    | Known::RequestStart.bit()
    | Known::RequestId.bit()
    | Known::LookAlike.bit();

/// Fields of an app's answer that the client never gets as they came.
const OF_ANSWERS: u64 = HOP_BY_HOP | Known::ContentLength.bit() | Known::Via.bit();

/// A request's id: the client's, or a new one.
pub(crate) enum Id<'a> {
    Theirs(&'a [u8]),
    Ours([u8; uuid::fmt::Hyphenated::LENGTH]),
}

impl Id<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Id::Theirs(id) => id,
            Id::Ours(id) => id,
        }
    }
}

/// What is read from a request's head once, for the app, the log line and the answer.
pub(crate) struct Facts<'a> {
    pub id: Id<'a>,
    /// The whole `X-Forwarded-For`.
    pub fwd: Cow<'a, [u8]>,
    /// Who asks, and how.
    pub origin: Origin,
    /// The protocol to switch to, when the client asks for one.
    pub upgrade: Option<&'a [u8]>,
    /// The client takes trailers.
    trailers: bool,
    /// Fields that `Connection` names.
    named: Vec<&'a [u8]>,
    /// When it came, in milliseconds since 1970.
    pub wall_ms: u64,
}

impl<'a> Facts<'a> {
    /// Reads a head. `trusted`: the peers whose `X-Forwarded-*` are believed.
    pub fn of(head: &'a Head, wire: &'a Wire, trusted: &Nets, dice: &Dice) -> Facts<'a> {
        let (mut id, mut proto, mut port) = (None, None, None);
        let (mut upgrade, mut asked, mut trailers) = (None, false, false);
        let mut named = Vec::new();
        let mut fwd = Cow::Borrowed(&b""[..]);
        let told = head.has_any([
            Known::RequestId,
            Known::ForwardedFor,
            Known::ForwardedProto,
            Known::ForwardedPort,
            Known::Upgrade,
            Known::Te,
            Known::Connection,
        ]);
        for f in head.fields().take_while(|_| told) {
            match f.known {
                Known::RequestId if id.is_none() => id = Some(f.value),
                Known::ForwardedFor => {
                    let all = fwd.to_mut();
                    all.extend_from_slice(f.value);
                    all.extend_from_slice(b", ");
                }
                Known::ForwardedProto => proto = Some(f.value),
                Known::ForwardedPort => port = Some(f.value),
                Known::Upgrade if upgrade.is_none() => upgrade = Some(f.value),
                Known::Te => trailers |= has_token(f.value, b"trailers"),
                Known::Connection => {
                    asked |= has_token(f.value, b"upgrade");
                    name_all(&mut named, f.value);
                }
                _ => {}
            }
        }
        let peer = Peer {
            ip: wire.peer.ip(),
            port: wire.port,
            https: wire.tls.is_some(),
        };
        let hops = (!fwd.is_empty()).then(|| fwd.strip_suffix(b", ").unwrap_or(&fwd));
        let origin = origin::origin(trusted, peer, hops.into_iter(), proto, port);
        if fwd.is_empty() {
            fwd = Cow::Borrowed(wire.peer_text.as_bytes());
        } else {
            fwd.to_mut().extend_from_slice(wire.peer_text.as_bytes());
        }
        // a tunnel that speaks HTTP/2 would carry requests past every rule here
        let fits = |p: &&[u8]| head.minor == 1 && asked && !has_token(p, b"h2c");
        Facts {
            id: match id {
                Some(id) if is_request_id(id) => Id::Theirs(id),
                _ => Id::Ours(fresh_id(dice)),
            },
            fwd,
            origin,
            upgrade: upgrade.filter(fits),
            trailers,
            named,
            wall_ms: clock::wall_ms(),
        }
    }

    fn drops(&self, f: &Field<'_>) -> bool {
        self.named.iter().any(|n| n.eq_ignore_ascii_case(f.name))
    }
}

/// Puts the lines of a request for the app together, but for those that frame its body. `host` replaces the Host line.
pub(crate) fn request(
    out: &mut Outgoing,
    head: &Head,
    facts: &Facts<'_>,
    host: Option<&str>,
    edits: &Edits,
) {
    let plain = facts.named.is_empty() && edits.is_empty();
    let http2 = matches!(out, Outgoing::Map(_));
    if let Some(host) = host.filter(|_| !http2) {
        out.put("host", host.as_bytes());
    }
    let dropped = if host.is_none() && !http2 {
        OF_REQUESTS
    } else {
        OF_REQUESTS | Known::Host.bit()
    };
    if plain {
        out.copy_but(head, dropped);
    } else {
        out.copy(head, |f| {
            // an app's settings and the Connection line do not rule over the Host
            let host = f.known == Known::Host;
            f.known.bit() & dropped == 0 && (host || !(facts.drops(f) || is_edited(edits, f)))
        });
    }
    out.put_edits(edits);
    if http2 {
        if facts.trailers {
            out.put("te", b"trailers");
        }
    } else if let Some(protocol) = facts.upgrade {
        out.put("connection", b"upgrade");
        out.put("upgrade", protocol);
    } else if facts.trailers {
        out.put("connection", b"te");
        out.put("te", b"trailers");
    }
    out.put("x-forwarded-for", &facts.fwd);
    out.put(
        "x-forwarded-proto",
        if facts.origin.https {
            b"https"
        } else {
            b"http"
        },
    );
    out.put_number("x-forwarded-port", u64::from(facts.origin.port));
    out.put_number("x-request-start", facts.wall_ms);
    out.put("x-request-id", facts.id.bytes());
    via(out, head);
}

/// Lines of the router's own in an app's answer.
#[derive(Default)]
pub(crate) struct Added {
    /// `Strict-Transport-Security`, in place of the app's.
    pub hsts: Option<http::HeaderValue>,
    /// A cookie.
    pub cookie: Option<http::HeaderValue>,
}

/// Puts the lines of an app's answer for the client together, but for those that frame its body. `altered`: what the
/// compression made of the lines it judges.
pub(crate) fn answer(
    out: &mut Outgoing,
    head: &Head,
    settings: &Effective,
    added: &Added,
    altered: Option<&http::HeaderMap>,
) {
    let edits = &settings.response_headers;
    let mut named = Vec::new();
    for value in head.all(Known::Connection) {
        name_all(&mut named, value);
    }
    let hsts = added.hsts.as_ref();
    let plain = named.is_empty() && edits.is_empty() && altered.is_none() && hsts.is_none();
    if plain {
        out.copy_but(head, OF_ANSWERS);
    } else {
        out.copy(head, |f| {
            f.known.bit() & OF_ANSWERS == 0
                && !(altered.is_some() && f.known.is_judged()
                    || hsts.is_some() && f.name.eq_ignore_ascii_case(HSTS)
                    || named.iter().any(|n| n.eq_ignore_ascii_case(f.name))
                    || is_edited(edits, f))
        });
    }
    for (name, value) in altered.into_iter().flatten() {
        let f = Field {
            name: name.as_str().as_bytes(),
            value: value.as_bytes(),
            known: crate::http1::name::known(name.as_str().as_bytes()),
        };
        if f.known != Known::ContentLength && !is_edited(edits, &f) {
            out.put(name.as_str(), f.value);
        }
    }
    out.put_edits(edits);
    if let Some(cache) = settings.cache_control(head.status)
        && head.first(Known::CacheControl).is_none()
        && !edits
            .set
            .iter()
            .any(|(n, _)| n == http::header::CACHE_CONTROL)
    {
        out.put("cache-control", cache.as_bytes());
    }
    if let Some(hsts) = hsts {
        out.put("strict-transport-security", hsts.as_bytes());
    }
    if let Some(cookie) = &added.cookie {
        out.put("set-cookie", cookie.as_bytes());
    }
    via(out, head);
}

fn via(out: &mut Outgoing, head: &Head) {
    let mut all = head.all(Known::Via).peekable();
    if all.peek().is_none() {
        return out.put("via", VIA_US);
    }
    let mut joined = all.collect::<Vec<_>>().join(&b", "[..]);
    joined.extend_from_slice(b", ");
    joined.extend_from_slice(VIA_US);
    out.put("via", &joined);
}

/// Collects the fields that a `Connection` names, but for the usual words.
fn name_all<'a>(named: &mut Vec<&'a [u8]>, value: &'a [u8]) {
    let usual = |t: &[u8]| {
        [&b"keep-alive"[..], b"close", b"upgrade", b"te", b""]
            .iter()
            .any(|u| t.eq_ignore_ascii_case(u))
    };
    named.extend(
        value
            .split(|b| *b == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|t| !usual(t)),
    );
}

/// The name of the host that is asked: lower case, without port and final dot.
///
/// # Errors
/// In words, when it cannot be a host name.
pub(crate) fn host(text: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    const NONE: &str = "The request's Host is not a host name.";
    let name = match memchr::memrchr(b':', text).map(|i| (&text[..i], &text[i + 1..])) {
        Some((name, port)) if !port.contains(&b']') => {
            if !port.iter().all(u8::is_ascii_digit) {
                return Err("The port in the request's Host is not a number.");
            }
            name
        }
        _ => text,
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    let kinds = name
        .iter()
        .fold(0, |kinds, b| kinds | IN_HOST[usize::from(*b)]);
    if name.is_empty() || name.len() > 253 || kinds & NO_HOST != 0 {
        return Err(NONE);
    }
    let name = std::str::from_utf8(name).map_err(|_| NONE)?;
    Ok(match kinds & UPPER {
        0 => Cow::Borrowed(name),
        _ => Cow::Owned(name.to_ascii_lowercase()),
    })
}

/// A byte that stands in no host name.
const NO_HOST: u8 = 1;
/// A letter to be written small.
const UPPER: u8 = 2;

/// What each byte is to a host name.
static IN_HOST: [u8; 256] = {
    let mut kinds = [NO_HOST; 256];
    let mut b = 0;
    while b < 128 {
        let c = b as u8;
        if c.is_ascii_uppercase() {
            kinds[b] = UPPER;
        } else if c.is_ascii_alphanumeric()
            || matches!(c, b'-' | b'.' | b'_' | b':' | b'[' | b']' | b'%')
        {
            kinds[b] = 0;
        }
        b += 1;
    }
    kinds
};

/// Is the client's request id one to keep: 20 to 200 of `A-Za-z0-9+/=-`?
fn is_request_id(id: &[u8]) -> bool {
    (20..=200).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-'))
}

fn fresh_id(dice: &Dice) -> [u8; uuid::fmt::Hyphenated::LENGTH] {
    let bits = u128::from(dice.roll()) << 64 | u128::from(dice.roll());
    let id = uuid::Builder::from_u128(bits)
        .with_variant(uuid::Variant::RFC4122)
        .with_version(uuid::Version::Random)
        .into_uuid()
        .as_u128();
    let part = |shift: u32| hex((id >> shift) as u32);
    let (a, b, c, d) = (part(96), part(64), part(32), part(0));
    let mut text = [b'-'; uuid::fmt::Hyphenated::LENGTH];
    text[..8].copy_from_slice(&a);
    text[9..13].copy_from_slice(&b[..4]);
    text[14..18].copy_from_slice(&b[4..]);
    text[19..23].copy_from_slice(&c[..4]);
    text[24..28].copy_from_slice(&c[4..]);
    text[28..].copy_from_slice(&d);
    text
}

/// Eight digits, all at once: a nibble to each byte, then to each byte what makes a digit or a letter of it.
fn hex(n: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut x = u64::from(n);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((x + 6 * ONES) >> 4) & ONES;
    (x + 0x30 * ONES + 0x27 * letters).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn sent(request_lines: &str, edits: &Edits) -> String {
        let text = format!("GET / HTTP/1.1\r\n{request_lines}\r\n");
        let head = Head::request(text.as_bytes()).unwrap();
        let wire = Wire::new(-1, SocketAddr::from(([192, 0, 2, 1], 7)), 80, None);
        let facts = Facts::of(&head, &wire, &Nets::default(), &Dice::new());
        let mut out = Outgoing::Text(Vec::new());
        request(&mut out, &head, &facts, None, edits);
        let Outgoing::Text(out) = out else { panic!() };
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hosts() {
        for (given, name) in [
            ("a.example.com", "a.example.com"),
            ("A.Example.COM:8080", "a.example.com"),
            ("a.example.com.", "a.example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:5000", "127.0.0.1"),
        ] {
            assert_eq!(host(given.as_bytes()).as_deref(), Ok(name));
        }
        for bad in ["", ":80", "a b", "a/b", "a:b", "a@b", "a\"b", "."] {
            assert!(host(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(host(b"\xff").is_err());
    }

    #[test]
    fn hop_by_hop_headers_and_look_alikes_go() {
        let all = sent(
            "Connection: keep-alive, X-Secret, host\r\nX-Secret: 1\r\nHost: a\r\nKeep-Alive: timeout=5\r\nTE: gzip\r\n\
             Upgrade: h2c\r\nAccept: */*\r\nx_forwarded_for: 1.2.3.4\r\nx-request_id: x\r\nx_other: kept\r\n",
            &Edits::default(),
        );
        assert!(
            all.starts_with(
                "Host: a\r\nAccept: */*\r\nx_other: kept\r\nx-forwarded-for: 192.0.2.1\r\n"
            ),
            "{all}"
        );
        assert!(!all.contains("secret") && !all.contains("upgrade"), "{all}");
    }

    #[test]
    fn edits_cannot_touch_what_routing_and_framing_hang_on() {
        let set = [
            ("x-env", "live"),
            ("accept", "text/html"),
            ("host", "evil"),
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "evil"),
        ];
        let name = http::HeaderName::from_static;
        let edits = Edits {
            set: set
                .map(|(k, v)| (name(k), http::HeaderValue::from_static(v)))
                .into(),
            remove: ["cookie", "via", "host"].map(name).into(),
        };
        let all = sent("Host: a\r\nCookie: x\r\nAccept: */*\r\nX: y\r\n", &edits);
        assert!(
            all.starts_with(
                "Host: a\r\nX: y\r\nx-env: live\r\naccept: text/html\r\nx-forwarded-for: 192"
            ),
            "{all}"
        );
        assert!(!all.contains("evil") && !all.contains("chunked"), "{all}");
        assert!(all.ends_with("via: 1.1 hokku-router\r\n"));
    }

    #[test]
    fn upgrades() {
        let asks = |lines: &str, minor: u8| {
            let text = format!("GET / HTTP/1.{minor}\r\n{lines}\r\n");
            let head = Head::request(text.as_bytes()).unwrap();
            let wire = Wire::new(-1, SocketAddr::from(([192, 0, 2, 1], 7)), 80, None);
            Facts::of(&head, &wire, &Nets::default(), &Dice::new())
                .upgrade
                .is_some()
        };
        assert!(asks("Upgrade: websocket\r\nConnection: Upgrade\r\n", 1));
        assert!(asks(
            "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n",
            1
        ));
        assert!(!asks("Upgrade: websocket\r\nConnection: keep-alive\r\n", 1));
        assert!(!asks(
            "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\n",
            1
        ));
        assert!(!asks("Upgrade: x\r\nConnection: upgrade\r\n", 0));
    }

    #[test]
    fn fresh_ids_are_uuids_and_would_be_kept() {
        let dice = Dice::new();
        let (a, b) = (fresh_id(&dice), fresh_id(&dice));
        assert_ne!(a, b);
        let id = uuid::Uuid::try_parse_ascii(&a).unwrap();
        assert_eq!(id.get_version_num(), 4);
        assert!(is_request_id(&a));
    }

    proptest! {
        #[test]
        fn kept_ids_are_harmless(id in "[ -~]{0,220}") {
            let plain = id.len() >= 20 && id.len() <= 200 && id.chars().all(|c| c.is_ascii_alphanumeric() || "+/=-".contains(c));
            prop_assert_eq!(is_request_id(id.as_bytes()), plain);
        }

        #[test]
        fn any_host_is_taken_or_refused_without_panic(h in "[ -~]{0,40}") {
            if let Ok(name) = host(h.as_bytes()) {
                prop_assert!(!name.contains([' ', '/', '"', '@']) && !name.is_empty());
            }
        }
    }
}
