//! A connection to where a dyno listens.

use hokku_model::address::Address;
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

/// A Unix socket whose queue is full says so at once, where TCP waits by itself: the next attempt comes after so long.
const PAUSE: Duration = Duration::from_millis(5);

/// What came of it.
pub(crate) enum Line {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects. For how long is the caller's to say.
///
/// # Errors
/// What the system said: refused, no such socket, out of descriptors, …
pub(crate) async fn dial(to: &Address) -> io::Result<Line> {
    match to {
        Address::Tcp(addr) => {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(Line::Tcp(stream))
        }
        Address::Unix(path) => loop {
            match UnixStream::connect(path).await {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PAUSE).await,
                done => return done.map(Line::Unix),
            }
        },
    }
}
