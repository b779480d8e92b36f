//! A plain HTTP client over TCP and over the Unix socket.

use super::World;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, BodyStream};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn message(&self) -> String {
        let json = self.json();
        assert!(json["id"].is_string(), "{json}");
        json["message"].as_str().unwrap().to_owned()
    }
}

/// Where a client asks, and as whom.
pub struct Client<'a> {
    pub world: &'a World,
    pub unix: bool,
    pub authorization: Option<String>,
}

impl Client<'_> {
    pub async fn open(&self, request: Request<Body>) -> http::Response<Incoming> {
        if self.unix {
            let stream = tokio::net::UnixStream::connect(self.world.config.socket()).await;
            talk(stream.unwrap(), request).await
        } else {
            talk(
                tokio::net::TcpStream::connect(self.world.addr)
                    .await
                    .unwrap(),
                request,
            )
            .await
        }
    }

    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let mut r = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("host", self.world.addr.to_string());
        if let Some(a) = &self.authorization {
            r = r.header("authorization", a);
        }
        r
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.open(request).await;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Answer {
            status,
            headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).body(Body::empty()).unwrap())
            .await
    }

    pub async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = Body::from(body.to_string());
        self.send(self.request(method, path).body(body).unwrap())
            .await
    }

    /// The JSON of an answer that has to be a success.
    pub async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, body).await;
        assert!(
            answer.status.is_success(),
            "{method} {path}: {}",
            answer.text
        );
        answer.json()
    }
}

async fn talk<S>(stream: S, request: Request<Body>) -> http::Response<Incoming>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.unwrap()
}

/// Reads on until the text has been seen.
pub async fn read_until(body: &mut BodyStream<Incoming>, text: &str) -> String {
    use futures_util::StreamExt;
    let mut seen = String::new();
    while !seen.contains(text) {
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), body.next());
        let frame = next
            .await
            .unwrap_or_else(|_| panic!("{text:?} does not come: {seen}"));
        let data = frame
            .expect("the stream has ended")
            .unwrap()
            .into_data()
            .unwrap();
        seen.push_str(std::str::from_utf8(&data).unwrap());
    }
    seen
}

impl Client<'_> {
    pub async fn get_stream(&self, path: &str) -> http::Response<Incoming> {
        self.open(self.request("GET", path).body(Body::empty()).unwrap())
            .await
    }
}
