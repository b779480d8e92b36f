//! Requests to the API: one connection set-up, made when the first request is, and errors in words.

use crate::fail::{Fail, Result};
use crate::output;
use crate::profile::origin;
use crate::server::Server;
use crate::trouble;
use hokku_model::api::ApiError;
use reqwest::header::{ACCEPT, HeaderValue, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::io;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use url::Url;

const MEDIA_TYPE: &str = "application/vnd.heroku+json; version=3";
const CONNECT: Duration = Duration::from_secs(10);
/// The longest that one JSON answer may take.
const ANSWER: Duration = Duration::from_secs(180);
/// An agent that is being replaced is back within this; nothing was sent yet, so asking again is safe.
const RETRIES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
];
/// More than any JSON answer has, in bytes.
const LARGEST: usize = 64 << 20;

/// A server and the means to ask it.
pub struct Client {
    server: Server,
    base: Url,
    http: reqwest::Client,
    runtime: Runtime,
}

fn authority_is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

impl Client {
    /// Prepares; nothing is sent yet.
    ///
    /// # Errors
    /// A token that no header can carry; the system refuses what an HTTP client needs.
    pub fn new(server: Server) -> Result<Client> {
        let broken =
            |e: &dyn std::fmt::Display| Fail::new(format!("No connection can be prepared: {e}."));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| broken(&e))?;
        let mut http = reqwest::Client::builder()
            .http1_only()
            .connect_timeout(CONNECT)
            .tcp_keepalive(Duration::from_secs(20))
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("app/", env!("CARGO_PKG_VERSION")));
        let base = match &server {
            Server::Http { url, token } => {
                if let Some(token) = token
                    && (token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()))
                {
                    return Err(Fail::usage(
                        "The token holds characters that no token has. Check HOKKU_TOKEN, or log in again.",
                    ));
                }
                if url.scheme() == "http" {
                    // Without TLS there is nothing to check, and reading the system's certificates takes time.
                    http = http.tls_certs_only([]);
                }
                if authority_is_local(url) {
                    http = http.no_proxy();
                }
                let mut base = url.clone();
                if !base.path().ends_with('/') {
                    base.set_path(&format!("{}/", url.path()));
                }
                base.set_query(None);
                base.set_fragment(None);
                base
            }
            Server::Socket { path, .. } => {
                http = http
                    .unix_socket(path.as_path())
                    .no_proxy()
                    .tls_certs_only([]);
                "http://localhost/".parse().map_err(|e| broken(&e))?
            }
        };
        let http = http.build().map_err(|e| broken(&e))?;
        Ok(Client {
            server,
            base,
            http,
            runtime,
        })
    }

    /// Whom this talks to.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Waits for something asynchronous.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// A request for an address that the server handed out, absolute or not. The token goes along only to the server itself.
    ///
    /// # Errors
    /// The address is none.
    pub fn follow(&self, address: &str) -> Result<RequestBuilder> {
        let url = self.base.join(address).map_err(|e| {
            Fail::new(format!(
                "{} sent an address that is none, {address:?}: {e}.",
                self.server
            ))
        })?;
        if matches!(self.server, Server::Socket { .. }) {
            return Ok(self.http.get(url));
        }
        let own = origin(&url) == origin(&self.base);
        let request = self.http.get(url);
        Ok(if own { self.signed(request) } else { request })
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.server {
            Server::Http {
                token: Some(token), ..
            } => request.bearer_auth(token),
            _ => request,
        }
    }

    /// Sends, asking again for a moment when nobody listens.
    ///
    /// # Errors
    /// The server can't be reached, in words; it did not answer in time.
    pub async fn deliver(&self, request: RequestBuilder) -> Result<Response> {
        for pause in RETRIES {
            let Some(copy) = request.try_clone() else {
                break;
            };
            match copy.send().await {
                Err(e) if self.may_come_back(&e) => tokio::time::sleep(pause).await,
                other => return other.map_err(|e| trouble::unreachable(&self.server, &e)),
            }
        }
        request
            .send()
            .await
            .map_err(|e| trouble::unreachable(&self.server, &e))
    }

    /// Nobody listens, and that may change. Waiting for a socket that was only the last resort helps nobody.
    fn may_come_back(&self, e: &reqwest::Error) -> bool {
        let nobody = || {
            let kind = trouble::cause(e)
                .downcast_ref::<io::Error>()
                .map(io::Error::kind);
            matches!(
                kind,
                Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
            )
        };
        let last_resort =
            matches!(&self.server, Server::Socket { path, named: false } if !path.exists());
        e.is_connect() && !last_resort && nobody()
    }

    /// Checks the status; a refusal becomes the server's own words.
    ///
    /// # Errors
    /// Any status but 2xx and 101.
    pub async fn accept(&self, response: Response) -> Result<Response> {
        if let Some(text) = response
            .headers()
            .get("x-heroku-warning")
            .and_then(|v| v.to_str().ok())
        {
            output::warning(&output::clean(text));
        }
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let body = read(response, 1 << 20).await.unwrap_or_default();
        let said = serde_json::from_slice::<ApiError>(&body)
            .ok()
            .map(|e| e.message)
            .filter(|m| !m.is_empty());
        if status == StatusCode::UNAUTHORIZED {
            return Err(Fail::refused(
                401,
                trouble::not_logged_in(&self.server, said),
            ));
        }
        let text = said.unwrap_or_else(|| {
            format!(
                "{} answered {status}, and not as hokku's API does. Look whether this is the API's address.",
                self.server
            )
        });
        Err(Fail::refused(status.as_u16(), text))
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Option<String>, Value)> {
        let request = self
            .signed(request)
            .header(ACCEPT, MEDIA_TYPE)
            .timeout(ANSWER);
        let response = self.accept(self.deliver(request).await?).await?;
        let status = response.status();
        let next = response
            .headers()
            .get("next-range")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let broken = |why: String| {
            Fail::new(format!(
                "The answer of {} can't be read: {why}.",
                self.server
            ))
        };
        let body = read(response, LARGEST).await.map_err(broken)?;
        if body.is_empty() {
            return Ok((status, next, Value::Null));
        }
        let value = serde_json::from_slice(&body).map_err(|_| {
            Fail::new(format!(
                "{} does not answer as hokku's API does. Look whether this is the API's address.",
                self.server
            ))
        })?;
        Ok((status, next, value))
    }

    fn typed<T: DeserializeOwned>(&self, value: Value) -> Result<T> {
        serde_json::from_value(value).map_err(|e| {
            Fail::new(format!(
                "{} answered something this version of app ({}) does not understand: {e}.",
                self.server,
                env!("CARGO_PKG_VERSION")
            ))
        })
    }

    /// Asks with a body.
    ///
    /// # Errors
    /// The server can't be reached, refused, or answered something else than a `T`.
    pub fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &B,
    ) -> Result<T> {
        let request = self.http.request(method, self.url(path)).json(body);
        let (_, _, value) = self.wait(self.exchange(request))?;
        self.typed(value)
    }

    /// Asks without a body; what is answered does not matter.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn order(&self, method: Method, path: &[&str]) -> Result<()> {
        let mut request = self.http.request(method.clone(), self.url(path));
        if method == Method::POST {
            request = request.json(&serde_json::json!({}));
        }
        self.wait(self.exchange(request)).map(|_| ())
    }

    /// Reads one thing.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        let (_, _, value) = self.wait(self.exchange(self.http.get(self.url(path))))?;
        self.typed(value)
    }

    /// Reads what a query asks for.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn query<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        let (_, _, value) = self.wait(self.exchange(self.http.get(url)))?;
        self.typed(value)
    }

    /// Reads a list to its end, page by page.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn list<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut range: Option<String> = None;
        loop {
            let mut request = self.http.get(self.url(path));
            if let Some(value) = range.as_deref().and_then(|r| HeaderValue::from_str(r).ok()) {
                request = request.header(RANGE, value);
            }
            let (status, next, value) = self.wait(self.exchange(request))?;
            all.extend(self.typed::<Vec<T>>(value)?);
            if status != StatusCode::PARTIAL_CONTENT || next.is_none() || next == range {
                return Ok(all);
            }
            range = next;
        }
    }

    /// Reads the part of a list that `range` names, such as `version ..; max=15, order=desc`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn range<T: DeserializeOwned>(&self, path: &[&str], range: &str) -> Result<Vec<T>> {
        let request = self.http.get(self.url(path)).header(RANGE, range);
        let (_, _, value) = self.wait(self.exchange(request))?;
        self.typed(value)
    }

    /// Copies the text at an address that the server handed out to stdout, piece by piece, as it comes.
    ///
    /// # Errors
    /// The server can't be reached, refused, or went away in the middle.
    pub fn copy_text(&self, address: &str) -> Result<()> {
        self.wait(async {
            let request = self.follow(address)?.header(ACCEPT, "text/plain");
            let mut response = self.accept(self.deliver(request).await?).await?;
            loop {
                match response.chunk().await {
                    Ok(Some(piece)) => output::bytes(&piece),
                    Ok(None) => return Ok(()),
                    Err(e) => return Err(trouble::unreachable(&self.server, &e)),
                }
            }
        })
    }
}

async fn read(mut response: Response, most: usize) -> std::result::Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| e.to_string())? {
        if body.len() + piece.len() > most {
            return Err(format!("it is longer than {most} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
