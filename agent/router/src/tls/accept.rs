//! One handshake: from a connection's first byte to an encrypted stream.

use super::Tls;
use super::counts::Cause;
use super::server::{ACME, H2};
use rustls::{HandshakeKind, ProtocolVersion};
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of every TLS connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;
/// Bytes that may wait to be written on one connection before writing has to wait.
const UNSENT: usize = 64 * 1024;
/// How long a client may take to read the page for plain HTTP, and the end of a challenge.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of a plain request that are read and thrown away.
const FAREWELL_BYTES: usize = 64 * 1024;

const PLAIN_PAGE: &str = "<!DOCTYPE html><html><head><title>This port speaks HTTPS</title></head><body>\
<h1>This port speaks HTTPS</h1><p>The request came over plain HTTP. Use an address that begins with https://.</p>\
</body></html>\n";

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The host the client named, in lower case.
    pub sni: Option<Box<str>>,
    /// The protocol that follows.
    pub alpn: Alpn,
    /// The version of TLS.
    pub version: Version,
    /// Did the client bring a session with it?
    pub resumed: bool,
}

/// Which protocol the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1, agreed on or because nothing was said.
    Http1,
}

/// The version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Version {
    /// As the request's line says it.
    pub fn name(self) -> &'static str {
        match self {
            Version::Tls12 => "tls1.2",
            Version::Tls13 => "tls1.3",
        }
    }
}

/// Why there is nothing to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoStream {
    /// A certificate authority has seen the challenge; the connection is closed.
    Challenge,
    /// It failed and was counted.
    Failed(Cause),
}

/// Runs a connection's handshake, which has to be done by `deadline`. A client that speaks plain HTTP is told so in plain
/// HTTP. Nothing is allocated before the client's first byte.
///
/// # Errors
/// When there is nothing to serve; the connection is closed then.
pub(crate) async fn accept(
    tls: &Tls,
    stream: TcpStream,
    deadline: Instant,
) -> Result<(TlsStream<TcpStream>, Handshake), NoStream> {
    let failed = |cause| NoStream::Failed(tls.counts.failed(cause));
    let mut first = [0];
    match timeout_at(deadline, stream.peek(&mut first)).await {
        Err(_) => return Err(failed(Cause::Timeout)),
        Ok(Err(_) | Ok(0)) => return Err(failed(Cause::Left)),
        Ok(Ok(_)) if first[0] == HANDSHAKE => {}
        // a method's first letter
        Ok(Ok(_)) if first[0].is_ascii_uppercase() => {
            say_plainly(stream).await;
            return Err(failed(Cause::Plain));
        }
        Ok(Ok(_)) => return Err(failed(Cause::NotTls)),
    }
    let mut stream = match timeout_at(deadline, handshake(tls, stream)).await {
        Err(_) => return Err(failed(Cause::Timeout)),
        Ok(Err(e)) => return Err(failed(Cause::of(&e))),
        Ok(Ok(stream)) => stream,
    };
    let (_, connection) = stream.get_ref();
    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    tls.counts.done(resumed);
    let alpn = match connection.alpn_protocol() {
        Some(ACME) => {
            // RFC 8737, section 3: nothing is sent, the connection is closed
            let _ = timeout(FAREWELL, stream.shutdown()).await;
            return Err(NoStream::Challenge);
        }
        Some(H2) => Alpn::H2,
        _ => Alpn::Http1,
    };
    let handshake = Handshake {
        sni: connection.server_name().map(Into::into),
        alpn,
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
            _ => Version::Tls13,
        },
        resumed,
    };
    Ok((stream, handshake))
}

/// On the heap, because it is big and soon over.
fn handshake(
    tls: &Tls,
    stream: TcpStream,
) -> impl Future<Output = std::io::Result<TlsStream<TcpStream>>> + use<> {
    let acceptor = TlsAcceptor::from(tls.config.clone());
    Box::pin(acceptor.accept_with(stream, |c| c.set_buffer_limit(Some(UNSENT))))
}

/// Answers a plain request. Closing with unread bytes would reset the connection and might destroy the answer: they are
/// read first.
async fn say_plainly(mut stream: TcpStream) {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PLAIN_PAGE}",
        PLAIN_PAGE.len()
    );
    let talk = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let (mut waste, mut read) = ([0; 4096], 0);
        while read < FAREWELL_BYTES {
            match stream.read(&mut waste).await? {
                0 => break,
                n => read += n,
            }
        }
        std::io::Result::Ok(())
    };
    // a client that is gone needs no answer
    let _ = timeout(FAREWELL, talk).await;
}
