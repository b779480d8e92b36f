//! The names of fields that the router does something about, recognised once when a head is read.

/// A field by its name. Everything the router only passes on is [`Known::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Upgrade,
    Http2Settings,
    Expect,
    Via,
    Proxy,
    Cookie,
    SetCookie,
    ForwardedFor,
    ForwardedProto,
    ForwardedPort,
    RequestStart,
    RequestId,
    /// Reads like one of the five above to a CGI-like app: `X_Forwarded_For`.
    LookAlike,
    ContentType,
    ContentEncoding,
    ContentRange,
    CacheControl,
    Etag,
    Vary,
    AcceptRanges,
    ContentMd5,
    Digest,
    ContentDigest,
    ReprDigest,
    AccelBuffering,
}

const BY_NAME: [(&str, Known); 32] = [
    ("host", Known::Host),
    ("content-length", Known::ContentLength),
    ("transfer-encoding", Known::TransferEncoding),
    ("connection", Known::Connection),
    ("keep-alive", Known::KeepAlive),
    ("proxy-connection", Known::ProxyConnection),
    ("te", Known::Te),
    ("upgrade", Known::Upgrade),
    ("http2-settings", Known::Http2Settings),
    ("expect", Known::Expect),
    ("via", Known::Via),
    ("proxy", Known::Proxy),
    ("cookie", Known::Cookie),
    ("set-cookie", Known::SetCookie),
    ("x-forwarded-for", Known::ForwardedFor),
    ("x-forwarded-proto", Known::ForwardedProto),
    ("x-forwarded-port", Known::ForwardedPort),
    ("x-request-start", Known::RequestStart),
    ("x-request-id", Known::RequestId),
    ("content-type", Known::ContentType),
    ("content-encoding", Known::ContentEncoding),
    ("content-range", Known::ContentRange),
    ("cache-control", Known::CacheControl),
    ("etag", Known::Etag),
    ("vary", Known::Vary),
    ("accept-ranges", Known::AcceptRanges),
    ("content-md5", Known::ContentMd5),
    ("digest", Known::Digest),
    ("content-digest", Known::ContentDigest),
    ("repr-digest", Known::ReprDigest),
    ("x-accel-buffering", Known::AccelBuffering),
    ("", Known::Other),
];

/// No name of the table.
const NONE: u8 = 31;

/// The place in [`BY_NAME`] of the only name with this hash.
static BY_HASH: [u8; 128] = by_hash();

/// Of length, first and last letter. No two names of the table share one: the build fails if they did.
const fn hash(len: usize, first: u8, last: u8) -> usize {
    (len + (first | 0x20) as usize + 30 * (last | 0x20) as usize) & 127
}

const fn by_hash() -> [u8; 128] {
    let mut places = [NONE; 128];
    let mut i = 0;
    while i < NONE {
        let name = BY_NAME[i as usize].0.as_bytes();
        let at = hash(name.len(), name[0], name[name.len() - 1]);
        assert!(places[at] == NONE, "two names have the same hash");
        places[at] = i;
        i += 1;
    }
    places
}

/// Recognises a name, in any case.
pub(crate) fn known(name: &[u8]) -> Known {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return Known::Other;
    };
    let (text, known) = &BY_NAME[usize::from(BY_HASH[hash(name.len(), *first, *last)])];
    if text.len() == name.len() && reads(name, text.as_bytes()) {
        return *known;
    }
    if first | 0x20 == b'x' && is_look_alike(name) {
        return Known::LookAlike;
    }
    Known::Other
}

/// Is `name` this `text` of the table, which is as long, in any case? Eight bytes at a time, all but the bit that makes
/// letters small. What else differs in it from a byte of the table (`\r` from `-`) stands in no name.
fn reads(name: &[u8], text: &[u8]) -> bool {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let odd = |a: &[u8; 8], b: &[u8; 8]| (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)) & !CASE;
    let (Some(a), Some(b)) = (name.last_chunk(), text.last_chunk()) else {
        return name.eq_ignore_ascii_case(text);
    };
    let eights = name.as_chunks::<8>().0.iter().zip(text.as_chunks::<8>().0);
    eights.fold(odd(a, b), |odds, (a, b)| odds | odd(a, b)) == 0
}

fn is_look_alike(name: &[u8]) -> bool {
    if memchr::memchr(b'_', name).is_none() {
        return false;
    }
    let plain: Vec<u8> = name
        .iter()
        .map(|b| {
            if *b == b'_' {
                b'-'
            } else {
                b.to_ascii_lowercase()
            }
        })
        .collect();
    [
        &b"x-forwarded-for"[..],
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-request-start",
        b"x-request-id",
    ]
    .contains(&&plain[..])
}

/// The bits of the fields of one hop.
pub(crate) const HOP_BY_HOP: u64 = Known::Connection.bit()
    | Known::KeepAlive.bit()
    | Known::ProxyConnection.bit()
    | Known::Te.bit()
    | Known::TransferEncoding.bit()
    | Known::Upgrade.bit()
    | Known::Http2Settings.bit();

const _: () = assert!((Known::AccelBuffering as u8) < 64, "each name has its bit");

impl Known {
    /// Its bit in a set of names.
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Fields of one hop, which are never passed on.
    pub fn is_hop_by_hop(self) -> bool {
        self.bit() & HOP_BY_HOP != 0
    }

    /// May the settings of an app change a field of this name? Not where message framing or routing hangs on it.
    pub fn is_settable(self) -> bool {
        !self.is_hop_by_hop()
            && !matches!(
                self,
                Known::ContentLength
                    | Known::Host
                    | Known::Expect
                    | Known::ForwardedFor
                    | Known::ForwardedProto
                    | Known::ForwardedPort
                    | Known::RequestStart
                    | Known::RequestId
                    | Known::LookAlike
                    | Known::Via
            )
    }

    /// Does the compression look at it in an answer, or change it?
    pub fn is_judged(self) -> bool {
        matches!(
            self,
            Known::ContentType
                | Known::ContentEncoding
                | Known::ContentRange
                | Known::CacheControl
                | Known::Etag
                | Known::Vary
                | Known::AcceptRanges
                | Known::ContentMd5
                | Known::Digest
                | Known::ContentDigest
                | Known::ReprDigest
                | Known::AccelBuffering
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, k) in &BY_NAME[..31] {
            assert_eq!(known(name.as_bytes()), *k, "{name}");
            assert_eq!(known(name.to_uppercase().as_bytes()), *k, "{name}");
            assert_eq!(known(format!("{name}x").as_bytes()), Known::Other, "{name}");
        }
        for name in [
            "",
            "h",
            "hosu",
            "content_length",
            "x-other",
            "x_other",
            "accept",
        ] {
            assert_eq!(known(name.as_bytes()), Known::Other, "{name}");
        }
        for name in ["x_forwarded_for", "X-Request_Id", "X_FORWARDED-proto"] {
            assert_eq!(known(name.as_bytes()), Known::LookAlike, "{name}");
        }
    }
}
