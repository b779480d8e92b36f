//! HTTP/2 without TLS to a dyno, for gRPC. All requests of a thread to one dyno share a connection.

use super::dial::{Line, dial};
use super::{Heard, NoAnswer};
use crate::dyno::Dyno;
use crate::http1::head::Head;
use crate::http1::scan::Fault;
use crate::slot::Taker;
use crate::source::Source;
use http::{HeaderMap, Request};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes that may be under way to us on one stream.
const WINDOW: u32 = 256 * 1024;

/// A connection that several requests use.
#[derive(Clone)]
pub(crate) struct Link {
    sender: SendRequest<Taker>,
    pub dyno: Arc<Dyno>,
    /// It served a request before.
    pub used: bool,
}

/// Runs HTTP/2 on the thread where it began.
#[derive(Clone)]
pub(crate) struct Here;

impl<F: Future + 'static> hyper::rt::Executor<F> for Here
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn greet<S>(stream: S) -> io::Result<SendRequest<Taker>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(Here)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        // what went wrong is told to the requests that were on it
        let _ = connection.await;
    });
    Ok(sender)
}

impl Link {
    /// Makes a connection.
    ///
    /// # Errors
    /// What the system said, or that the app does not speak HTTP/2.
    pub async fn connect(dyno: &Arc<Dyno>) -> io::Result<Link> {
        let sender = match dial(&dyno.addr).await? {
            Line::Tcp(stream) => greet(stream).await?,
            Line::Unix(stream) => greet(stream).await?,
        };
        Ok(Link {
            sender,
            dyno: dyno.clone(),
            used: false,
        })
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for its answer's head.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn hear(
        mut self,
        method: &str,
        target: &str,
        authority: &str,
        headers: HeaderMap,
        body: Taker,
    ) -> Result<Heard<'static>, NoAnswer> {
        let uri = http::Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(target)
            .build();
        let (Ok(uri), Ok(method)) = (uri, http::Method::from_bytes(method.as_bytes())) else {
            return Err(NoAnswer::Malformed(Fault::form(
                "The target has bytes that HTTP/2 does not carry.",
            )));
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = headers;
        if self.sender.ready().await.is_err() {
            return Err(NoAnswer::Unseen);
        }
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut e) => {
                return Err(if e.take_message().is_some() {
                    NoAnswer::Unseen
                } else if e.error().is_parse() {
                    NoAnswer::Malformed(Fault::form("This is not HTTP/2."))
                } else {
                    NoAnswer::Silence
                });
            }
        };
        let (parts, body) = response.into_parts();
        let head = Head::of_http2_answer(parts.status.as_u16(), &parts.headers);
        let body = Source::h2(body);
        Ok(Heard {
            length: body.length(),
            head,
            body,
            reusable: true,
        })
    }
}
