//! Headers on their way through: hop-by-hop ones go, the router's own come (Dev Center "HTTP Routing", RFC 9110 7.6).

use crate::clock;
use crate::pick::Dice;
use crate::wire::Wire;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Becomes the variable HTTP_PROXY in CGI-like apps, which HTTP clients in them obey.
const PROXY: HeaderName = HeaderName::from_static("proxy");
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

const VIA_US: &str = "1.1 hokku-router";

/// What the log line and the answer need to know about the headers that were sent on.
pub(crate) struct Forwarded {
    pub request_id: HeaderValue,
    /// The whole `X-Forwarded-For`.
    pub fwd: HeaderValue,
    /// TLS ended before us.
    pub https: bool,
    /// The protocol to switch to, when the client asks for one.
    pub upgrade: Option<HeaderValue>,
}

/// The name of the host that is asked: lower case, without port and final dot.
///
/// # Errors
/// In words, when there is none or when it cannot be a host name.
pub(crate) fn host(uri: &Uri, headers: &HeaderMap) -> Result<String, &'static str> {
    let text = match (uri.authority(), headers.get(HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(value)) => value
            .to_str()
            .map_err(|_| "The request's Host is not a host name.")?,
        (None, None) => {
            return Err("The request has no Host, so there is no telling which app is meant.");
        }
    };
    let name = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            if !port.bytes().all(|b| b.is_ascii_digit()) {
                return Err("The port in the request's Host is not a number.");
            }
            name
        }
        _ => text,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']' | b'%')
    };
    if name.is_empty() || name.len() > 253 || !name.bytes().all(fits) {
        return Err("The request's Host is not a host name.");
    }
    Ok(name.to_ascii_lowercase())
}

/// Rewrites a request's headers for the app.
pub(crate) fn prepare_request(
    headers: &mut HeaderMap,
    version: Version,
    wire: &Wire,
    trusted: bool,
    dice: &Dice,
) -> Forwarded {
    let upgrade = wanted_upgrade(headers, version);
    let trailers = headers.get_all(TE).iter().any(|v| has_token(v, "trailers"));
    strip_hop_by_hop(headers);
    headers.remove(HTTP2_SETTINGS);
    headers.remove(PROXY);
    strip_look_alikes(headers);
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }

    let fwd = appended(headers, &FORWARDED_FOR, &wire.peer_text);
    headers.insert(FORWARDED_FOR, fwd.clone());
    let proto = headers.remove(FORWARDED_PROTO).filter(|_| trusted);
    let https = proto.as_ref().map_or(wire.tls.is_some(), |p| {
        p.as_bytes().eq_ignore_ascii_case(b"https")
    });
    headers.insert(
        FORWARDED_PROTO,
        HeaderValue::from_static(if https { "https" } else { "http" }),
    );
    let port = headers
        .remove(FORWARDED_PORT)
        .filter(|p| trusted && is_port(p.as_bytes()));
    let port = port.unwrap_or_else(|| {
        if https && wire.tls.is_none() {
            HeaderValue::from_static("443")
        } else {
            wire.port_text.clone()
        }
    });
    headers.insert(FORWARDED_PORT, port);
    headers.insert(REQUEST_START, HeaderValue::from(clock::wall_ms()));
    let request_id = match headers.get(REQUEST_ID) {
        Some(id) if is_request_id(id.as_bytes()) => id.clone(),
        _ => {
            let id = fresh_id(dice);
            headers.insert(REQUEST_ID, id.clone());
            id
        }
    };
    let via = appended(headers, &VIA, &HeaderValue::from_static(VIA_US));
    headers.insert(VIA, via);
    Forwarded {
        request_id,
        fwd,
        https,
        upgrade,
    }
}

/// Rewrites an answer's headers for the client. `upgraded`: the answer switches protocols.
pub(crate) fn prepare_response(headers: &mut HeaderMap, upgraded: bool) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let protocol = headers.get(UPGRADE).filter(|_| upgraded).cloned();
    strip_hop_by_hop(headers);
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    let via = appended(headers, &VIA, &HeaderValue::from_static(VIA_US));
    headers.insert(VIA, via);
}

fn wanted_upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let asked = headers
        .get_all(CONNECTION)
        .iter()
        .any(|v| has_token(v, "upgrade"));
    // a tunnel that speaks HTTP/2 would carry requests past every rule here
    let plain = !has_token(protocol, "h2c");
    (version == Version::HTTP_11 && asked && plain).then(|| protocol.clone())
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|b| *b == b',')
        .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for token in value
            .as_bytes()
            .split(|b| *b == b',')
            .map(<[u8]>::trim_ascii)
        {
            let usual = [&b"keep-alive"[..], b"close", b"upgrade", b"te", b""];
            if usual.iter().any(|u| token.eq_ignore_ascii_case(u)) {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(token)
                && ![HOST, CONTENT_LENGTH].contains(&name)
            {
                named.push(name);
            }
        }
    }
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// `X_Forwarded_For` arrives in CGI-like apps under the same name as ours: such doubles of our headers go.
fn strip_look_alikes(headers: &mut HeaderMap) {
    let ours = [
        FORWARDED_FOR,
        FORWARDED_PROTO,
        FORWARDED_PORT,
        REQUEST_START,
        REQUEST_ID,
    ];
    let double = |name: &HeaderName| {
        name.as_str().starts_with("x")
            && name.as_str().contains('_')
            && ours
                .iter()
                .any(|o| o.as_str() == name.as_str().replace('_', "-"))
    };
    let found: Vec<HeaderName> = headers.keys().filter(|n| double(n)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// All values of `name` and then `last`, separated by commas.
fn appended(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> HeaderValue {
    let mut joined: Option<Vec<u8>> = None;
    for value in headers.get_all(name) {
        let joined = joined.get_or_insert_with(Vec::new);
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    match joined {
        None => last.clone(),
        Some(mut all) => {
            all.extend_from_slice(last.as_bytes());
            HeaderValue::from_bytes(&all).unwrap_or_else(|_| last.clone())
        }
    }
}

fn is_port(text: &[u8]) -> bool {
    (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// Is the client's request id one to keep: 20 to 200 of `A-Za-z0-9+/=-`?
fn is_request_id(id: &[u8]) -> bool {
    (20..=200).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-'))
}

fn fresh_id(dice: &Dice) -> HeaderValue {
    let (high, low) = (dice.roll().to_be_bytes(), dice.roll().to_be_bytes());
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high);
    bytes[8..].copy_from_slice(&low);
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
        .unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut m = HeaderMap::new();
        for (k, v) in pairs {
            m.append(
                HeaderName::from_bytes(k.as_bytes()).unwrap(),
                HeaderValue::from_str(v).unwrap(),
            );
        }
        m
    }

    #[test]
    fn hosts() {
        let of = |h: &str| host(&Uri::from_static("/"), &map(&[("host", h)]));
        for (given, name) in [
            ("a.example.com", "a.example.com"),
            ("A.Example.COM:8080", "a.example.com"),
            ("a.example.com.", "a.example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:5000", "127.0.0.1"),
        ] {
            assert_eq!(of(given).as_deref(), Ok(name));
        }
        for bad in ["", ":80", "a b", "a/b", "a:b", "a@b", "a\"b", "."] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(host(&Uri::from_static("/"), &HeaderMap::new()).is_err());
        let absolute = Uri::from_static("http://b.example.com:81/x");
        assert_eq!(
            host(&absolute, &map(&[("host", "a.example.com")])).as_deref(),
            Ok("b.example.com")
        );
    }

    #[test]
    fn hop_by_hop_headers_go() {
        let mut h = map(&[
            ("connection", "keep-alive, X-Secret, host"),
            ("x-secret", "1"),
            ("host", "a"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut h);
        assert_eq!(h, map(&[("host", "a"), ("accept", "*/*")]));
    }

    #[test]
    fn look_alikes_go() {
        let mut h = map(&[
            ("x_forwarded_for", "1.2.3.4"),
            ("x-request_id", "x"),
            ("x_other", "kept"),
        ]);
        strip_look_alikes(&mut h);
        assert_eq!(h, map(&[("x_other", "kept")]));
    }

    #[test]
    fn upgrades() {
        let asks = |u: &str, c: &str| {
            wanted_upgrade(&map(&[("upgrade", u), ("connection", c)]), Version::HTTP_11)
        };
        assert!(asks("websocket", "Upgrade").is_some());
        assert!(asks("websocket", "keep-alive, Upgrade").is_some());
        assert!(asks("websocket", "keep-alive").is_none());
        assert!(asks("h2c", "upgrade, http2-settings").is_none());
        assert!(
            wanted_upgrade(
                &map(&[("upgrade", "x"), ("connection", "upgrade")]),
                Version::HTTP_10
            )
            .is_none()
        );
    }

    #[test]
    fn answers_with_two_framings_keep_none_of_the_lengths() {
        let mut h = map(&[
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("via", "1.0 x"),
        ]);
        prepare_response(&mut h, false);
        assert_eq!(h, map(&[("via", "1.0 x, 1.1 hokku-router")]));
    }

    #[test]
    fn fresh_ids_are_uuids_and_would_be_kept() {
        let dice = Dice::new();
        let (a, b) = (fresh_id(&dice), fresh_id(&dice));
        assert_ne!(a, b);
        assert_eq!(
            uuid::Uuid::parse_str(a.to_str().unwrap())
                .unwrap()
                .get_version_num(),
            4
        );
        assert!(is_request_id(a.as_bytes()));
    }

    proptest! {
        #[test]
        fn kept_ids_are_harmless(id in "[ -~]{0,220}") {
            let plain = id.len() >= 20 && id.len() <= 200 && id.chars().all(|c| c.is_ascii_alphanumeric() || "+/=-".contains(c));
            prop_assert_eq!(is_request_id(id.as_bytes()), plain);
        }

        #[test]
        fn any_host_is_taken_or_refused_without_panic(h in "[ -~]{0,40}") {
            if let Ok(name) = host(&Uri::from_static("/"), &map(&[("host", &h)])) {
                prop_assert!(!name.contains([' ', '/', '"', '@']) && !name.is_empty());
            }
        }
    }
}
