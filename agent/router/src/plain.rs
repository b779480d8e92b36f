//! Small answers over listeners of their own: metrics over a Unix socket and TCP, health over TCP.
//!
//! They run on a thread of their own, so a scrape delays no request. Few connections at once, short heads, short times.

use crate::reply::{Own, Reply};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Connections at once over one listener; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// To send a head, and for a whole connection to end.
const HEAD: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(120);

/// Where it listens.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What answers: method, path, query.
pub(crate) type Answer = Rc<dyn Fn(&str, &str, Option<&str>) -> Reply>;

/// Serves until `stop` says true. Must run in a `LocalSet`.
pub(crate) async fn serve(listener: Listener, answer: Answer, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let accepted = async {
            match &listener {
                Listener::Tcp(l) => l
                    .accept()
                    .await
                    .map(|(s, _)| Box::new(s) as Box<dyn Stream>),
                Listener::Unix(l) => l
                    .accept()
                    .await
                    .map(|(s, _)| Box::new(s) as Box<dyn Stream>),
            }
        };
        let stream = tokio::select! {
            // a lost sender means stop as well
            _ = stop.wait_for(|s| *s) => return,
            accepted = accepted => match accepted {
                Ok(stream) => stream,
                Err(e) => {
                    tracing::warn!("a listener for metrics or health cannot accept: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let answer = answer.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request: http::Request<Incoming>| {
                let uri = request.uri();
                let reply = answer(request.method().as_str(), uri.path(), uri.query());
                std::future::ready(Ok::<_, Infallible>(reply.map(body)))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // a client that broke off, or took too long, is no event
            let _ = timeout(WHOLE, connection).await;
            drop(place);
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// These answers are in memory.
fn body(own: Own) -> http_body_util::Full<bytes::Bytes> {
    http_body_util::Full::new(match own {
        Own::Bytes(bytes) => bytes,
        Own::File { .. } => bytes::Bytes::new(),
    })
}
