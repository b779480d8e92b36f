//! The header with which a load balancer tells who the client is, before the client's first byte: PROXY protocol, versions
//! 1 and 2 (haproxy's `proxy-protocol.txt`, 2020/03/05).
//!
//! Strict: what the specification forbids is refused, and then the connection is closed. Whose headers are read at all is
//! decided in `table`.

use crate::clock;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// The longest line of version 1, with its end (section 2.1).
const LINE_MAX: usize = 107;
/// What version 2 begins with (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family, length.
const FIXED: usize = 16;
/// The longest rest of version 2 that is taken: addresses (216 at most) and additions of 4 KB.
const REST_MAX: usize = 216 + 4096;
/// Bytes of two paths of Unix sockets.
const UNIX: usize = 216;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Client and the address it connected to.
    Proxied {
        client: SocketAddr,
        server: SocketAddr,
    },
    /// Nothing about TCP: the balancer itself connected (`LOCAL`), or the client has no such address (`UNKNOWN`, Unix
    /// sockets). The connection's own addresses count.
    Own,
}

/// Why a connection has no good header.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It breaks the specification, in words.
    Malformed(&'static str),
    /// The peer closed or reset the connection before the header's end.
    Left,
    /// It was not there in time.
    Timeout,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Malformed(why) => why,
            Fault::Left => "the connection ended before the header did",
            Fault::Timeout => "no whole header came in time",
        })
    }
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Fault {
        Fault::Left
    }
}

/// Reads the header from a new connection, and not one byte more.
///
/// # Errors
/// When there is none, or a bad one, or none by `deadline`. Close the connection then.
pub(crate) async fn read_header(stream: &TcpStream, deadline: Instant) -> Result<Header, Fault> {
    timeout_at(deadline, read(stream))
        .await
        .unwrap_or(Err(Fault::Timeout))
}

async fn read(stream: &TcpStream) -> Result<Header, Fault> {
    let mut have = Vec::new();
    let mut seen = [0; 512];
    loop {
        let n = stream.peek(&mut seen).await?;
        if n == 0 {
            return Err(Fault::Left);
        }
        // what was seen is taken only as far as it is the header's: the rest is TLS or HTTP
        let before = have.len();
        have.extend_from_slice(&seen[..n]);
        let (parsed, used) = match parse(&have).map_err(Fault::Malformed)? {
            Some((header, length)) => (Some(header), length),
            None => (None, have.len()),
        };
        have.truncate(used);
        let mut ours = used - before;
        while ours > 0 {
            // they are there already
            ours -= match stream.try_read(&mut seen[..ours]) {
                Ok(0) => return Err(Fault::Left),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    stream.readable().await?;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
        }
        if let Some(header) = parsed {
            return Ok(header);
        }
    }
}

/// Says that a trusted peer's connection was closed, at most once in ten seconds: a balancer that is set up otherwise than
/// the router would fill the log. Who connects and leaves at once is checking whether the port is open.
pub(crate) fn complain(peer: SocketAddr, fault: &Fault) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = clock::ms();
    let last = LAST.load(Relaxed);
    if matches!(fault, Fault::Left) || (last != 0 && now.saturating_sub(last) < 10_000) {
        return;
    }
    LAST.store(now.max(1), Relaxed);
    tracing::warn!(
        "a connection of the trusted {} was closed: {fault}. Let it send PROXY headers, or turn proxy_protocol off.",
        peer.ip()
    );
}

/// The header at the beginning of `bytes` and its length; `None` when it is not complete but may become one.
///
/// # Errors
/// Why it is none.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, &'static str> {
    let n = bytes.len().min(SIGNATURE.len());
    if bytes[..n] == SIGNATURE[..n] {
        return parse_v2(bytes);
    }
    const V1: &[u8] = b"PROXY ";
    let n = bytes.len().min(V1.len());
    if bytes[..n] == V1[..n] {
        return parse_v1(bytes);
    }
    Err("the connection does not begin with a PROXY header")
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, &'static str> {
    let seen = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if bytes.len() < LINE_MAX {
            Ok(None)
        } else {
            Err("the header's line is longer than 107 bytes")
        };
    };
    let line = seen[..end]
        .strip_suffix(b"\r")
        .ok_or("the header's line does not end with CR LF")?;
    let line = std::str::from_utf8(line).map_err(|_| "the header's line is not ASCII")?;
    let mut fields = line.split(' ').skip(1);
    let mut field = || fields.next().ok_or("the header's line is too short");
    let header = match field()? {
        // what follows is to be ignored
        "UNKNOWN" => return Ok(Some((Header::Own, end + 1))),
        kind @ ("TCP4" | "TCP6") => {
            let ip = |text: &str| -> Result<IpAddr, &'static str> {
                let parsed = if kind == "TCP4" {
                    text.parse().map(IpAddr::V4)
                } else {
                    text.parse().map(IpAddr::V6)
                };
                parsed.map_err(|_| "an address of the header is none of its family")
            };
            let (client, server) = (ip(field()?)?, ip(field()?)?);
            let (from, to) = (port(field()?)?, port(field()?)?);
            Header::Proxied {
                client: (client, from).into(),
                server: (server, to).into(),
            }
        }
        _ => return Err("the header's family is none of TCP4, TCP6, UNKNOWN"),
    };
    match fields.next() {
        Some(_) => Err("the header's line is too long"),
        None => Ok(Some((header, end + 1))),
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let leading = text.len() > 1 && text.starts_with('0');
    match text.parse() {
        Ok(port) if digits && !leading => Ok(port),
        _ => Err("a port of the header is no number from 0 to 65535"),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, &'static str> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        c if c >> 4 == 2 => return Err("the header's command is neither LOCAL nor PROXY"),
        _ => return Err("the header's version is not 2"),
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > REST_MAX {
        return Err("the header is longer than 4 KB");
    }
    let (family, transport) = (fixed[13] >> 4, fixed[13] & 0xf);
    if family > 3 || transport > 2 {
        return Err("the header's address family or transport is unknown");
    }
    if transport == 2 && !local {
        return Err("the header tells of datagrams on a TCP connection");
    }
    let addresses = match (local, family) {
        // LOCAL's addresses are to be ignored, with all that follows
        (true, _) | (_, 0) => 0,
        (_, 1) => 12,
        (_, 2) => 36,
        (_, _) => UNIX,
    };
    if length < addresses {
        return Err("the header is too short for its addresses");
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(None);
    };
    let (addresses, additions) = rest.split_at(addresses);
    // with no family the whole rest is to be ignored
    if !local && family != 0 {
        check_additions(additions)?;
    }
    Ok(Some((addressed(addresses), FIXED + length)))
}

/// Type (1 byte), length (2), value; they have to fill the space (section 2.2.1).
fn check_additions(mut rest: &[u8]) -> Result<(), &'static str> {
    while !rest.is_empty() {
        let after = match rest {
            [_, high, low, values @ ..] => {
                values.get(usize::from(u16::from_be_bytes([*high, *low]))..)
            }
            _ => None,
        };
        rest = after.ok_or("an addition of the header is longer than the header")?;
    }
    Ok(())
}

fn addressed(bytes: &[u8]) -> Header {
    fn two<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N], u16, u16)> {
        let (client, rest) = bytes.split_first_chunk::<N>()?;
        let (server, rest) = rest.split_first_chunk::<N>()?;
        let [a, b, c, d] = *rest else { return None };
        Some((
            *client,
            *server,
            u16::from_be_bytes([a, b]),
            u16::from_be_bytes([c, d]),
        ))
    }
    let proxied = |client: IpAddr, server: IpAddr, from: u16, to: u16| Header::Proxied {
        client: (client, from).into(),
        server: (server, to).into(),
    };
    match bytes.len() {
        12 => two::<4>(bytes).map(|(c, s, from, to)| {
            proxied(Ipv4Addr::from(c).into(), Ipv4Addr::from(s).into(), from, to)
        }),
        36 => two::<16>(bytes).map(|(c, s, from, to)| {
            proxied(Ipv6Addr::from(c).into(), Ipv6Addr::from(s).into(), from, to)
        }),
        _ => None,
    }
    .unwrap_or(Header::Own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn v1(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
        let kind = if client.is_ipv4() { "TCP4" } else { "TCP6" };
        format!(
            "PROXY {kind} {} {} {} {}\r\n",
            client.ip(),
            server.ip(),
            client.port(),
            server.port()
        )
        .into_bytes()
    }

    fn v2(command: u8, family: u8, addresses: &[u8], additions: &[u8]) -> Vec<u8> {
        let length = (addresses.len() + additions.len()) as u16;
        let fixed = [0x20 | command, family];
        [
            &SIGNATURE[..],
            &fixed,
            &length.to_be_bytes(),
            addresses,
            additions,
        ]
        .concat()
    }

    fn addresses(client: SocketAddr, server: SocketAddr) -> (u8, Vec<u8>) {
        let octets = |a: SocketAddr| match a.ip() {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        let ports = [client.port().to_be_bytes(), server.port().to_be_bytes()].concat();
        let family = if client.is_ipv4() { 0x11 } else { 0x21 };
        (family, [octets(client), octets(server), ports].concat())
    }

    fn pairs() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let v4 = any::<([u8; 4], [u8; 4], u16, u16)>()
            .prop_map(|(c, s, a, b)| ((c, a).into(), (s, b).into()));
        let v6 = any::<([u8; 16], [u8; 16], u16, u16)>()
            .prop_map(|(c, s, a, b)| ((c, a).into(), (s, b).into()));
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..3u8) {
            let start: &[u8] = match kind {
                0 => b"",
                1 => b"PROXY ",
                _ => &SIGNATURE,
            };
            let bytes = [start, &bytes].concat();
            if let Ok(Some((_, used))) = parse(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }

        #[test]
        fn what_was_written_is_read_however_it_is_cut(
            (client, server) in pairs(),
            values in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..5),
            second in any::<bool>(),
            after in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let additions: Vec<u8> = values
                .iter()
                .flat_map(|(kind, v)| [&[*kind][..], &(v.len() as u16).to_be_bytes(), v].concat())
                .collect();
            let header = if second {
                let (family, bytes) = addresses(client, server);
                v2(1, family, &bytes, &additions)
            } else {
                v1(client, server)
            };
            for cut in 0..header.len() {
                prop_assert_eq!(parse(&header[..cut]), Ok(None), "cut after {}", cut);
            }
            let all = [&header[..], &after].concat();
            prop_assert_eq!(parse(&all), Ok(Some((Header::Proxied { client, server }, header.len()))));
        }

        /// Deciding early must not decide otherwise: a verdict on a beginning holds for the whole.
        #[test]
        fn verdicts_are_final(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in 0..3u8, cut in 0..80usize) {
            let start: &[u8] = match kind {
                0 => b"PROXY TCP4 1.2.3.4 ",
                1 => b"PROXY ",
                _ => &SIGNATURE,
            };
            let bytes = [start, &bytes].concat();
            let cut = cut.min(bytes.len());
            let early = parse(&bytes[..cut]);
            if early != Ok(None) {
                prop_assert_eq!(early, parse(&bytes));
            }
        }
    }

    #[test]
    fn headers_that_tell_of_no_client() {
        for line in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
            "PROXY UNKNOWN whatever else\r\n",
        ] {
            assert_eq!(
                parse(line.as_bytes()),
                Ok(Some((Header::Own, line.len()))),
                "{line}"
            );
        }
        for header in [
            v2(0, 0, &[], &[]),
            // whatever LOCAL carries is passed over
            v2(0, 0x11, &[7; 12], &[1, 2]),
            v2(1, 0, &[], &[9, 9]),
            v2(1, 0x31, &[b'/'; UNIX], &[]),
        ] {
            assert_eq!(parse(&header), Ok(Some((Header::Own, header.len()))));
        }
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        for bad in [
            "GET / HTTP/1.1\r\n",
            "PROXY\r\n",
            "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            &long,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let mut version_1 = v2(1, 0x11, &[1; 12], &[]);
        version_1[12] = 0x11;
        for bad in [
            version_1,
            v2(2, 0x11, &[1; 12], &[]),
            v2(1, 0x41, &[1; 12], &[]),
            v2(1, 0x13, &[1; 12], &[]),
            v2(1, 0x12, &[1; 12], &[]),
            v2(1, 0x11, &[1; 11], &[]),
            v2(1, 0x21, &[1; 35], &[]),
            v2(1, 0x31, &[1; 215], &[]),
            v2(1, 0x11, &[1; 12], &[4, 0, 9, 1]),
            v2(1, 0x11, &[1; 12], &[4, 0]),
            v2(1, 0x11, &[1; 12], &[0; REST_MAX]),
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn nothing_behind_the_header_is_taken() {
        let (client, server): (SocketAddr, SocketAddr) = (
            "203.0.113.9:1234".parse().unwrap(),
            "[::ffff:10.0.0.1]:443".parse().unwrap(),
        );
        let big = [&[5, 0x04, 0x00][..], &[b'x'; 1024]].concat();
        let server4 = "10.0.0.1:443".parse().unwrap();
        let (family, bytes) = addresses(client, server4);
        let client6 = "[2001:db8::1]:9".parse().unwrap();
        for (header, told) in [
            (v1(client, server4), (client, server4)),
            (v1(client6, server), (client6, server)),
            (v2(1, family, &bytes, &big), (client, server4)),
        ] {
            let (mut near, mut far) = pair().await;
            let (first, second) = header.split_at(header.len() / 2);
            let reading = async {
                let header = read_header(&far, soon()).await.unwrap();
                let mut rest = [0; 4];
                far.read_exact(&mut rest).await.unwrap();
                (header, rest)
            };
            let writing = async {
                near.write_all(first).await.unwrap();
                tokio::task::yield_now().await;
                near.write_all(&[second, b"GET "].concat()).await.unwrap();
            };
            let ((header, rest), ()) = tokio::join!(reading, writing);
            let (client, server) = told;
            assert_eq!(header, Header::Proxied { client, server });
            assert_eq!(&rest, b"GET ");
        }
    }

    #[tokio::test]
    async fn torn_and_missing_headers() {
        let (mut near, far) = pair().await;
        near.write_all(b"PROXY TCP4 1.2").await.unwrap();
        drop(near);
        assert!(matches!(read_header(&far, soon()).await, Err(Fault::Left)));
        let (_near, far) = pair().await;
        let at_once = read_header(&far, Instant::now()).await;
        assert!(matches!(at_once, Err(Fault::Timeout)));
        let (mut near, far) = pair().await;
        near.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let none = read_header(&far, soon()).await;
        assert!(matches!(none, Err(Fault::Malformed(_))));
    }
}
