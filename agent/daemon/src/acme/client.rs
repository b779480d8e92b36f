//! The HTTP client under the ACME library: the settings' roots, limits, and the server's `Retry-After`.

use crate::config::AcmeConfig;
use anyhow::Context;
use bytes::Bytes;
use hokku_model::Micros;
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// Bytes of an answer; a certificate chain has some thousand.
const MOST: usize = 1 << 20;

/// One attempt's client.
#[derive(Clone)]
pub(super) struct Web {
    client: reqwest::Client,
    /// Not before this time, in microseconds; 0: nothing was said.
    retry_at: Arc<AtomicI64>,
}

impl Web {
    /// # Errors
    /// The file with the roots can't be used.
    pub fn new(config: &AcmeConfig) -> anyhow::Result<Web> {
        let mut builder = reqwest::Client::builder()
            .https_only(true)
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &config.ca_file {
            let what = || format!("acme.ca_file {} can't be used", file.display());
            let pem = std::fs::read(file).with_context(what)?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).with_context(what)?;
            builder = builder.tls_certs_only(roots);
        }
        Ok(Web {
            client: builder.build().context("no HTTP client can be made")?,
            retry_at: Arc::default(),
        })
    }

    /// When the server wants to be asked again, if it refused because of too many requests.
    pub fn retry_at(&self) -> Option<Micros> {
        Some(Micros(self.retry_at.load(Ordering::Relaxed))).filter(|t| t.0 != 0)
    }
}

impl HttpClient for Web {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let web = self.clone();
        Box::pin(async move {
            let other = |e: Box<dyn std::error::Error + Send + Sync>| Error::Other(e);
            let (parts, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let request = http::Request::from_parts(parts, body);
            let request = reqwest::Request::try_from(request).map_err(|e| other(e.into()))?;
            let mut answer = web
                .client
                .execute(request)
                .await
                .map_err(|e| other(e.into()))?;
            if matches!(answer.status().as_u16(), 429 | 503)
                && let Some(after) = answer.headers().get(http::header::RETRY_AFTER)
                && let Some(at) = after.to_str().ok().and_then(|t| retry_at(t, Micros::now()))
            {
                web.retry_at.store(at.0, Ordering::Relaxed);
            }
            let mut made = http::Response::builder().status(answer.status());
            if let Some(headers) = made.headers_mut() {
                headers.extend(answer.headers().clone());
            }
            let mut body = Vec::new();
            while let Some(piece) = answer.chunk().await.map_err(|e| other(e.into()))? {
                if body.len() + piece.len() > MOST {
                    return Err(Error::Str("an answer of at most 1 MB"));
                }
                body.extend_from_slice(&piece);
            }
            let made = made.body(Full::new(Bytes::from(body)))?;
            Ok(BytesResponse::from(made))
        })
    }
}

/// Seconds or an HTTP date (RFC 9110, section 10.2.3); a week at most, whatever the server says.
fn retry_at(text: &str, now: Micros) -> Option<Micros> {
    let most = now.plus(Duration::from_secs(7 * 24 * 3600));
    let at = match text.trim().parse::<u64>() {
        Ok(seconds) => now.plus(Duration::from_secs(seconds.min(u64::from(u32::MAX)))),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
            Micros(at.timestamp().as_microsecond())
        }
    };
    Some(at.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        let now = Micros(1_700_000_000_000_000);
        assert_eq!(retry_at("60", now), Some(now.plus(Duration::from_secs(60))));
        assert_eq!(
            retry_at("Tue, 14 Nov 2023 23:13:20 GMT", now),
            Some(now.plus(Duration::from_secs(3600)))
        );
        let week = now.plus(Duration::from_secs(7 * 24 * 3600));
        assert_eq!(retry_at("99999999999999999999", now), None);
        assert_eq!(retry_at("9999999999", now), Some(week));
        assert_eq!(retry_at("soon", now), None);
    }
}
